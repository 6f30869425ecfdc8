"""Tests of cutting quads by a window, with shapely as the reference."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from DOTA_devkit.boxes import polygon_area
from DOTA_devkit.clipping import clip_quads
from DOTA_devkit.iou import paired_iou

SQUARE = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
DIAMOND = np.array([[2.0, 0], [4, 2], [2, 4], [0, 2]])


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e6]))
def test_what_is_left_is_the_smallest_rectangle_around_the_exact_intersection(seed: int, offset: float) -> None:
    """Defect 21: the old splitter drops pieces with more than five corners and bends those with five."""
    rng = np.random.default_rng(seed)
    quads = rng.uniform(-60, 60, (100, 1, 2)) + rng.uniform(-30, 30, (100, 4, 2))
    quads = quads[shapely.is_valid(shapely.polygons(quads))]
    rectangles, visible = clip_quads(quads + offset, offset - 40, offset - 30, offset + 40, offset + 30)
    whole = shapely.polygons(quads)
    left = shapely.intersection(whole, shapely.box(-40, -30, 40, 30))
    assert visible == pytest.approx(shapely.area(left) / shapely.area(whole), abs=1e-6 if offset else 1e-9)
    cut = (np.abs(quads) > [40, 30]).any(axis=(1, 2)) & (shapely.area(left) > 1e-3)
    reference = shapely.area(shapely.oriented_envelope(left[cut]))
    assert polygon_area(rectangles[cut]) == pytest.approx(reference, rel=1e-5 if offset else 1e-9)
    around = shapely.buffer(shapely.polygons(rectangles[cut] - offset), 1e-6)
    assert shapely.contains(around, left[cut]).all()


def test_a_quad_inside_comes_back_bit_for_bit() -> None:
    quads = np.random.default_rng(0).uniform(0, 1, (50, 4, 2))  # crossing and non-convex ones among them
    quads[0] = [[0, 0], [1, 0], [1, 1], [0, 1]]  # touches every border from inside
    rectangles, visible = clip_quads(quads, 0, 0, 1, 1)
    assert np.array_equal(rectangles, quads)
    assert np.array_equal(visible, np.ones(50))


@pytest.mark.parametrize("shift", [[9.0, 0], [0, -9], [4, 0], [0, 4], [4, 4]])
def test_a_quad_outside_or_touching_gives_zeros(shift: list[float]) -> None:
    rectangles, visible = clip_quads(SQUARE[None] + shift, 0, 0, 4, 4)
    assert not rectangles.any()
    assert not visible.any()


def test_an_axis_aligned_box_is_cut_at_the_border() -> None:
    rectangles, visible = clip_quads(SQUARE[None] + [1.0, 3.0], 0, 0, 4, 4)
    assert rectangles[0] == pytest.approx(np.array([[1, 3], [4, 3], [4, 4], [1, 4]]), abs=1e-12)
    assert visible == pytest.approx([3 / 16])


def test_a_five_cornered_piece_keeps_all_its_corners() -> None:
    """Defect 21. A diamond without its rightmost corner is still as wide across: the rectangle is the whole diamond."""
    rectangles, visible = clip_quads(DIAMOND[None], -9, -9, 3.5, 9)
    assert paired_iou(rectangles, DIAMOND[None]) == pytest.approx([1.0])
    assert visible == pytest.approx([1 - 0.25 / 8])


def test_an_eight_cornered_piece_becomes_its_rectangle() -> None:
    rectangles, visible = clip_quads(DIAMOND[None], 0.5, 0.5, 3.5, 3.5)
    assert paired_iou(rectangles, DIAMOND[None]) == pytest.approx([1.0])  # 8, where the upright one has area 9
    assert visible == pytest.approx([1 - 4 * 0.25 / 8])


def test_a_quad_around_the_window_becomes_the_window() -> None:
    rectangles, visible = clip_quads((DIAMOND[None] - 2) * 10, -1, -1, 1, 2)
    assert rectangles[0] == pytest.approx(np.array([[-1, -1], [1, -1], [1, 2], [-1, 2]]), abs=1e-12)
    assert visible == pytest.approx([6 / 800])


def test_a_dart_cut_in_two_has_no_corner_where_it_is_not() -> None:
    """A clipper for convex polygons would bridge the two tips along the border and find a corner in the notch."""
    dart = np.array([[0.0, 0], [4, 2], [0, 4], [3, 2]])
    rectangles, visible = clip_quads(dart[None], -1, 1, 1.5, 9)
    left = shapely.intersection(shapely.polygons(dart), shapely.box(-1, 1, 1.5, 9))
    assert visible == pytest.approx([shapely.area(left) / 2])
    assert polygon_area(rectangles) == pytest.approx([shapely.area(shapely.oriented_envelope(left))])


def test_a_self_crossing_quad_counts_as_its_hull() -> None:
    crossing, square = (clip_quads(quad[None], 0, 0, 2, 9) for quad in (SQUARE[[0, 2, 1, 3]], SQUARE))
    assert crossing[0] == pytest.approx(square[0])
    assert crossing[1] == pytest.approx(square[1])


def test_quads_without_finite_area_are_not_visible() -> None:
    line = SQUARE[[0, 1, 0, 1]]
    quads = np.stack([line, line - [1, 0], np.full((4, 2), np.nan), np.where(SQUARE == 4, np.inf, SQUARE)])
    rectangles, visible = clip_quads(quads, 0, 0, 9, 9)
    assert np.array_equal(visible, np.zeros(4))
    assert np.array_equal(rectangles[0], line)
    assert not rectangles[1:].any()


def test_no_quads_and_an_empty_window() -> None:
    rectangles, visible = clip_quads(np.zeros((0, 4, 2)), 0, 0, 4, 4)
    assert rectangles.shape == (0, 4, 2)
    assert visible.shape == (0,)
    assert not clip_quads(SQUARE[None], 2, 0, 2, 4)[1].any()
