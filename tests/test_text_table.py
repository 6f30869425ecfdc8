"""Tables for the terminal stand in columns, in any script."""

from __future__ import annotations

from DOTA_devkit.text_table import aligned, num_columns


def test_columns_are_as_wide_as_their_widest_cell_also_in_wide_letters() -> None:
    rows = [["name", "n", "why"], ["船", "10", "one"], ["e\u0301", "7", ""]]  # the accent takes no room
    assert aligned(rows, to_the_left=(0, 2)) == ["name   n  why", "船    10  one", "e\u0301      7"]
    assert aligned(rows[:1]) == ["name  n  why"]
    assert [num_columns(text) for text in ("", "ab", "船", "e\u0301")] == [0, 2, 2, 1]
