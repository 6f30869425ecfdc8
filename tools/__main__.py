"""What `python -m tools` says: the commands, by the first lines of their files."""

from __future__ import annotations

import ast
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


if __name__ == "__main__":
    width = max(map(len, commands()))
    print("python main.py trains, tests and evaluates; python -m tools.NAME --help tells more of the others:\n")
    for name, what in commands().items():
        print(f"  {name:{width}}  {what}")
