"""A foreign error is told in one line."""

from __future__ import annotations

import pytest

from DOTA_devkit.reasons import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("size mismatch \n  at conv1\n  at head"), "size mismatch"),
        (OSError(2, "No such file", "a.pth"), "[Errno 2] No such file: 'a.pth'"),
        (ValueError("\n\n  no channels"), "no channels"),
        (AssertionError(), "AssertionError"),
        (KeyError(""), "''"),
        (RuntimeError(" \n "), "RuntimeError"),
    ],
)
def test_the_first_line_with_words_is_told_or_the_kind_of_error(error: Exception, line: str) -> None:
    assert first_line(error) == line
