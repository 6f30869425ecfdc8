"""The table of the benchmarks: rows under their headings, and no column that lacks a number."""

from __future__ import annotations

from tools.benchmarks.benchmark_table import format_table

COLUMNS = {"ms": ("ms", "8.1f"), "x": ("ratio", "6.2f"), "x ": ("other", "6.2f")}


def test_numbers_stand_under_their_headings():
    rows = {
        "plain": {"ms": 100.0, "ratio": 1.0, "other": 1.0},
        "a long name": {"ms": 12.34, "ratio": 0.1234, "other": 0.5},
    }
    heading, *lines = format_table(rows, COLUMNS)
    assert heading == " " * 13 + "      ms     x     x"
    assert lines == ["  plain      " + "   100.0  1.00  1.00", "  a long name" + "    12.3  0.12  0.50"]


def test_a_column_without_all_its_numbers_is_left_out():
    rows = {"a": {"ms": 1.0, "ratio": None, "other": 1.0}, "b": {"ms": 1.0, "ratio": 2.0, "other": 1.0}}
    assert [len(line.split()) for line in format_table(rows, COLUMNS)] == [2, 3, 3]
