"""The page of truth and predictions: what agrees, what is drawn for it, and that no input breaks it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DOTA_devkit.iou import intersection_over_first
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from DOTA_devkit.truths import ImageTruth
from tools.drawings.comparison_page import FALSE_COLOR, MISSED_COLOR, PAGE_WIDTH, PageItem, draw_page, match

NOTHING = ImageTruth(np.zeros((0, 4, 2)), np.zeros(0, np.int64), np.zeros(0, np.int64))
SQUARE = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)


def _truth(*rows: tuple[float, int, int]) -> ImageTruth:
    """Squares of 10 pixels: (x, label, difficult)."""
    quads = np.array([SQUARE + np.array([x, 0]) for x, _, _ in rows]).reshape(-1, 4, 2)
    return ImageTruth(quads, np.array([row[1] for row in rows]), np.array([row[2] for row in rows]))


def _found(*rows: tuple[float, int, float]) -> ImageDetections:
    """Squares of 10 pixels: (x, label, score)."""
    quads = np.array([SQUARE + np.array([x, 0]) for x, _, _ in rows]).reshape(-1, 4, 2)
    return ImageDetections(quads, np.array([row[2] for row in rows]), np.array([row[1] for row in rows]))


def test_the_best_score_takes_an_object_once_and_of_its_class_alone():
    matches = match(_truth((0, 0, 0), (50, 1, 0)), _found((1, 0, 0.5), (2, 0, 0.9), (50, 0, 0.8)))
    assert matches.of_truth.tolist() == [1, 0]
    assert matches.of_found.tolist() == [0, 1, 0]


def test_half_an_overlap_is_enough_and_less_is_not():
    # Squares of side 10 that are moved by d overlap by (10 - d) / (10 + d).
    assert match(_truth((0, 0, 0)), _found((10 / 3 - 1e-6, 0, 0.9))).of_found.tolist() == [1]
    assert match(_truth((0, 0, 0)), _found((10 / 3 + 1e-6, 0, 0.9))).of_found.tolist() == [0]


def test_difficult_objects_and_ignore_regions_do_not_count():
    truth = _truth((0, 0, 1), (100, -1, 0), (200, 0, 2))
    matches = match(truth, _found((0, 0, 0.9), (104, 1, 0.9), (204, 0, 0.9), (204, 1, 0.9), (300, 0, 0.9)))
    assert matches.of_truth.tolist() == [-1, -1, -1]
    assert matches.of_found.tolist() == [-1, -1, -1, 0, 0]


def test_nothing_matches_nothing():
    assert [part.shape for part in match(NOTHING, NO_DETECTIONS)] == [(0,)] * 3
    assert match(NOTHING, _found((0, 0, 0.9))).of_found.tolist() == [0]
    assert match(_truth((0, 0, 0)), NO_DETECTIONS).of_truth.tolist() == [0]


@settings(deadline=None, max_examples=50)
@given(
    truth=st.lists(st.tuples(st.floats(0, 60), st.integers(-1, 1), st.integers(0, 2)), max_size=8),
    found=st.lists(st.tuples(st.floats(0, 60), st.integers(0, 1), st.floats(0, 1)), max_size=8),
)
def test_as_many_objects_are_found_as_predictions_are_right(truth, found):
    matches = match(_truth(*truth), _found(*found))
    assert (matches.of_truth == 1).sum() == (matches.of_found == 1).sum()
    assert set(matches.of_truth.tolist()) | set(matches.of_found.tolist()) <= {-1, 0, 1}


def test_how_much_of_a_false_alarm_an_ignore_region_must_hold_is_as_in_the_scores():
    """The page counted by one half whatever --ignore_overlap was, and showed other errors than it was ranked by."""
    truth, found = _truth((0, -1, 0)), _found((3, 0, 0.9))
    cover = float(intersection_over_first(found.quads, truth.quads)[0, 0])
    assert 0.5 < cover < 1
    assert match(truth, found).of_found.tolist() == [-1]
    assert match(truth, found, ignore_overlap=cover).of_found.tolist() == [0]


def _has(page: np.ndarray, color: tuple[int, int, int]) -> bool:
    """Whether the colour is somewhere below the legend."""
    return bool((np.abs(page[60:].astype(int) - color).max(axis=2) < 8).any())


def test_misses_and_false_alarms_are_marked_and_agreement_is_not():
    picture = np.zeros((120, 160, 3), np.uint8)
    truth = _truth((20, 0, 0))
    right = draw_page([PageItem("a", picture, truth, _found((20, 0, 0.9)))], ["car"])
    assert not _has(right, MISSED_COLOR)
    assert not _has(right, FALSE_COLOR)
    wrong = draw_page([PageItem("a", picture, truth, _found((90, 0, 0.9)))], ["car"])
    assert _has(wrong[:, : wrong.shape[1] // 2], MISSED_COLOR)
    assert _has(wrong[:, wrong.shape[1] // 2 :], FALSE_COLOR)


def test_low_scores_are_left_out():
    item = PageItem("a", np.zeros((120, 160, 3), np.uint8), NOTHING, _found((20, 0, 0.29)))
    assert not _has(draw_page([item], ["car"]), FALSE_COLOR)
    assert _has(draw_page([item], ["car"], min_score=0.2), FALSE_COLOR)


@pytest.mark.parametrize("hw", [(1, 1), (5, 3000), (3000, 5), (1200, 1600)])
def test_pictures_of_any_shape_fit_the_page_and_are_not_changed(hw):
    picture = np.zeros((*hw, 3), np.uint8)
    page = draw_page([PageItem("a", picture, _truth((0, 0, 0)), _found((0, 0, 0.9)))], ["car"])
    assert page.dtype == np.uint8
    assert page.shape[1] <= PAGE_WIDTH
    assert page.shape[0] < 900
    assert not picture.any()


def test_eight_pictures_are_shown_and_none_is_fine():
    items = [PageItem(str(i), np.zeros((64, 64, 3), np.uint8), NOTHING, NO_DETECTIONS) for i in range(12)]
    assert draw_page(items, ["car"]).shape == draw_page(items[:8], ["car"]).shape
    assert draw_page([], ["car"]).ndim == 3


def test_names_in_any_script_are_drawn_or_replaced():
    names = ["小车", "Грузовик", "a" * 200]
    found = _found((0, 0, 0.9), (20, 1, 0.9), (40, 2, 0.9))
    items = [PageItem(name, np.zeros((64, 64, 3), np.uint8), NOTHING, found) for name in ("图 1", "Поле", "b" * 300)]
    assert draw_page(items, names, title="эпоха 3").shape[0] > 300


def test_three_hundred_classes_do_not_fill_the_page_with_their_legend():
    found = ImageDetections(np.zeros((300, 4, 2)), np.full(300, 0.9), np.arange(300))
    page = draw_page(
        [PageItem("a", np.zeros((64, 64, 3), np.uint8), NOTHING, found)], [f"class {i}" for i in range(300)]
    )
    assert page.shape[0] < 600
