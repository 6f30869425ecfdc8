"""A table for the terminal, in columns also where names hold wide characters (UAX #11)."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence


def aligned(rows: Sequence[Sequence[str]], to_the_left: Collection[int] = (0,)) -> list[str]:
    """A line for each row of cells, all of the same number; columns stand to the right but for those named."""
    widths = [max(map(num_columns, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            _padded(cell, width, i in to_the_left) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def ruled(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head and whose last one stands apart, too."""
    lines = aligned(rows)
    rule = "-" * max(map(num_columns, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def num_columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _padded(text: str, width: int, to_the_left: bool) -> str:
    blanks = " " * (width - num_columns(text))
    return text + blanks if to_the_left else blanks + text
