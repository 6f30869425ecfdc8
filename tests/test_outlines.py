"""Outlines: their smallest rectangle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.outlines import smallest_rectangle, without_closing
from DOTA_devkit.boxes import minimum_area_rectangles, polygon_area


def test_a_last_point_that_is_the_first_again_is_left_out() -> None:
    assert without_closing([[0, 0], [1, 0], [1, 1], [0, 0]]) == [[0, 0], [1, 0], [1, 1]]
    assert without_closing([[0, 0], [1, 0], [1, 1]]) == [[0, 0], [1, 0], [1, 1]]
    assert without_closing([[0, 0]]) == [[0, 0]]


@given(points=st.lists(st.tuples(*[st.integers(0, 60)] * 2), min_size=3, max_size=20))
@settings(deadline=None, max_examples=100)
def test_the_smallest_rectangle_is_that_of_the_codec(points: list[tuple[int, int]]) -> None:
    array = np.array(points, float)
    expected = minimum_area_rectangles(array[None])
    try:
        found = smallest_rectangle(array)
    except ValueError:
        assert polygon_area(expected)[0] < 1e-6
        return
    assert polygon_area(found) == pytest.approx(polygon_area(expected)[0], rel=1e-9)
