"""Pairs of black and white: one for all bands, or one for each, and nothing else."""

from __future__ import annotations

import math

import pytest

from DOTA_devkit.value_ranges import are_ranges


@pytest.mark.parametrize(
    ("values", "num_bands", "expected"),
    [
        ((0, 1), None, True),
        ((0, 1), 5, True),
        ((0, 1, -5, 5), 2, True),
        ((0, 1, -5, 5), 3, False),
        ((0, 1, -5, 5), None, True),
        ((), None, False),
        ((1,), None, False),
        ((0, 1, 2), None, False),
        ((1, 0), None, False),
        ((1, 1), None, False),
        ((0, 1, 5, 5), 2, False),
        ((0, math.inf), None, False),
        ((math.nan, 1), None, False),
    ],
)
def test_a_range_is_a_value_and_a_larger_one(values: tuple[float, ...], num_bands: int | None, expected: bool) -> None:
    assert are_ranges(values, num_bands) == expected
