"""Detections and objects are paired by score and overlap, each once, and what lies in ignore regions is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DOTA_devkit import pairing
from DOTA_devkit.iou import poly_iou
from DOTA_devkit.pairing import pair
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from DOTA_devkit.truths import ImageTruth

SQUARE = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])
PLACES = st.integers(0, 40).map(float)
OBJECTS = st.lists(st.tuples(PLACES, st.integers(-1, 1), st.integers(0, 2)), max_size=8)
BOXES = st.lists(st.tuples(PLACES, st.integers(0, 1), st.sampled_from([0.2, 0.5, 0.5, 0.9])), max_size=8)


def truth(*rows: tuple[float, int, int]) -> ImageTruth:
    """Squares of 10 pixels: (x, label, difficult)."""
    quads = np.array([SQUARE + np.array([row[0], 0]) for row in rows]).reshape(-1, 4, 2)
    return ImageTruth(quads, *(np.array([row[part] for row in rows], np.int64) for part in (1, 2)))


def found(*rows: tuple[float, int, float]) -> ImageDetections:
    """Squares of 10 pixels: (x, label, score)."""
    quads = np.array([SQUARE + np.array([row[0], 0]) for row in rows]).reshape(-1, 4, 2)
    return ImageDetections(quads, np.array([row[2] for row in rows]), np.array([row[1] for row in rows], np.int64))


def test_the_best_score_chooses_first_and_takes_the_nearest_of_its_class() -> None:
    result = pair(found((2, 0, 0.5), (1, 0, 0.9), (3, 1, 1.0)), truth((0, 0, 0), (3, 0, 0)))
    assert result.truth_of.tolist() == [1, 0, -1]
    assert result.is_missed.tolist() == [False, False]


def test_an_overlap_of_the_threshold_itself_is_none_as_in_the_ap() -> None:
    """The confusion called a hit what the AP calls a false alarm."""
    half = truth((0, 0, 0))._replace(quads=np.array([[[0, 0], [10, 0], [10, 20], [0, 20]]], float))
    assert pair(found((0, 0, 0.9)), half).truth_of.tolist() == [-1]
    assert pair(found((0, 0, 0.9)), half, min_iou=0.49).truth_of.tolist() == [0]


def test_across_classes_only_what_is_left_over_is_paired() -> None:
    boxes, objects = found((0, 0, 0.9), (0, 1, 0.5)), truth((0, 1, 0), (2, 1, 0))
    assert pair(boxes, objects).truth_of.tolist() == [-1, 0]
    assert pair(boxes, objects, across_classes=True).truth_of.tolist() == [1, 0]


def test_regions_hide_what_lies_in_them_and_are_not_missed() -> None:
    objects = truth((0, 0, 2), (50, -1, 0), (100, 0, 0))
    boxes = found((4, 0, 0.9), (4, 1, 0.9), (54, 1, 0.9), (56, 1, 0.9), (100, 0, 0.9))
    result = pair(boxes, objects)
    assert result.is_hidden.tolist() == [True, False, True, False, False]
    assert result.truth_of.tolist() == [-1, -1, -1, -1, 2]
    assert result.is_missed.tolist() == [False, False, False]


def test_any_number_may_be_found_of_a_difficult_object() -> None:
    """The second one was called a false alarm, which no AP counts."""
    objects = truth((0, 0, 1), (3, 0, 0))
    boxes = found((0, 0, 0.9), (1, 0, 0.8), (4, 0, 0.7), (2, 0, 0.6), (-1, 0, 0.5), (5, 0, 0.4))
    result = pair(boxes, objects)
    assert result.truth_of.tolist() == [0, 1, -1, -1, -1, -1]
    assert result.is_hidden.tolist() == [False, False, False, False, True, False]


def test_what_is_hidden_is_not_taken_for_an_object_of_another_class() -> None:
    """A ship in a harbour that is an ignore region was called a ship taken for a harbour."""
    result = pair(found((2, 1, 0.9)), truth((0, 0, 0), (0, 1, 2)), across_classes=True)
    assert result.truth_of.tolist() == [-1]
    assert result.is_hidden.tolist() == [True]
    assert result.is_missed.tolist() == [True, False]


def test_nothing_is_paired_with_nothing() -> None:
    nobody = truth()
    assert [part.shape for part in pair(NO_DETECTIONS, nobody)] == [(0,), (0,), (0,)]
    assert pair(found((0, 0, 0.9)), nobody).truth_of.tolist() == [-1]
    assert pair(NO_DETECTIONS, truth((0, 0, 0), (0, 0, 2))).is_missed.tolist() == [True, False]


@settings(deadline=None, max_examples=80)
@given(objects=OBJECTS, boxes=BOXES)
def test_pairs_are_those_of_the_rule_written_out(objects: list, boxes: list) -> None:
    told, seen = truth(*objects), found(*boxes)
    overlap = poly_iou(seen.quads, told.quads)
    free, expected = ~told.ignored, [-1] * len(boxes)
    for row in sorted(range(len(boxes)), key=lambda row: -seen.scores[row]):
        fitting = [n for n in range(len(objects)) if free[n] and told.labels[n] == seen.labels[row]]
        best = max(fitting, key=lambda n: overlap[row, n], default=None)
        if best is not None and overlap[row, best] >= 0.5:
            expected[row], free[best] = best, False
    result = pair(seen, told)
    assert result.truth_of.tolist() == expected
    assert result.is_missed.tolist() == free.tolist()
    assert not (result.is_hidden & (result.truth_of >= 0)).any()


@pytest.mark.parametrize("across_classes", [False, True])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, across_classes: bool) -> None:
    rng = np.random.default_rng(0)
    objects = truth(*zip(np.arange(40) * 15.0, rng.integers(0, 2, 40), rng.integers(0, 3, 40), strict=True))
    boxes = found(*zip(rng.uniform(0, 600, 70), rng.integers(0, 2, 70), rng.uniform(0, 1, 70), strict=True))
    whole = pair(boxes, objects, across_classes=across_classes)
    monkeypatch.setattr(pairing, "BLOCK", 7)
    for one, other in zip(pair(boxes, objects, across_classes=across_classes), whole, strict=True):
        assert np.array_equal(one, other)
