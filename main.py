"""Choose the work: parse the settings, run the phase of that name."""

from __future__ import annotations

import importlib
import sys

from tools.running.command_line import exit_code
from tools.setting_flags import parse_settings


def main(arguments: list[str]) -> int:
    """Run `--phase train|test|eval` with these arguments; returns the exit code: 0 done, 2 a wrong setting, 1 anything
    else that a person can mend, 130 and 143 stopped by Ctrl-C and SIGTERM."""
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    config = parse_settings(arguments)
    # Imported only now: --help and a mistyped flag need not wait for torch.
    return importlib.import_module(f"tools.{config.phase}").run(config)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
