"""What `python -m tools` says: the commands, by the first lines of their files."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from pathlib import Path


def commands() -> dict[str, str]:
    """The commands, {name: what it does}, sorted."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if '__name__ == "__main__"' in text and path != Path(__file__):
            said = " ".join((ast.get_docstring(ast.parse(text)) or "").split("`")[0].split())
            found[path.stem] = said.removeprefix("The command that ").rstrip(":, ")
    return found


def main(arguments: Sequence[str]) -> int:
    """List the commands; 2 where something else is meant: a script would take the list for work that was done."""
    if arguments and arguments[0] not in ("-h", "--help"):
        name = arguments[0].removesuffix(".py")
        meant = f"python -m tools.{name}" if name in commands() else "python -m tools, which lists the commands"
        print(f"error: python -m tools takes no arguments, and there is {arguments[0]}; did you mean {meant}?",
              file=sys.stderr)  # fmt: skip
        return 2
    width = max(map(len, commands()))
    print("python main.py trains, tests and evaluates; python -m tools.NAME --help tells more of the others:\n")
    for name, what in commands().items():
        print(f"  {name:{width}}  {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
