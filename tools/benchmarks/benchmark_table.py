"""The table that a benchmark prints: a row a setting, a column a number, in the widths that the columns name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def format_table(rows: Mapping[str, Mapping[str, Any]], columns: Mapping[str, tuple[str, str]]) -> list[str]:
    """The lines of the table. columns: heading -> (entry of a row, format with its width, such as `9.1f`); headings may
    differ by blanks at their end alone. Columns in which a row has None are left out."""
    wide = max(len(name) for name in rows)
    shown = {key: value for key, value in columns.items() if all(row[value[0]] is not None for row in rows.values())}
    heading = "".join(f"{key.strip():>{int(form.split('.')[0])}}" for key, (_, form) in shown.items())
    lines = [
        f"  {name:{wide}}" + "".join(f"{row[entry]:{form}}" for entry, form in shown.values())
        for name, row in rows.items()
    ]
    return [f"  {'':{wide}}{heading}", *lines]
