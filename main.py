"""Choose the work: parse the settings, run the phase of that name."""

from __future__ import annotations

import importlib
import sys


def main(arguments: list[str]) -> int:
    """Run `--phase train|test|eval` with these arguments; returns the exit code: 0 done, 2 a wrong setting, 1 anything
    else that a person can mend, 130 and 143 stopped by Ctrl-C and SIGTERM."""
    from tools.config import SettingsError, parse_settings

    try:
        config = parse_settings(arguments)
        # Imported only now: --help and a mistyped flag need not wait for torch.
        return importlib.import_module(f"tools.{config.phase}").run(config)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
