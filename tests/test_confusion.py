"""What is taken for what: every object and every detection is counted once, in the place where it belongs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DOTA_devkit.confusion import confusion
from DOTA_devkit.evaluation import evaluate
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.truths import ImageTruth

SQUARE = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])


def truth(places: list[float], labels: list[int], difficult: list[int] | None = None) -> ImageTruth:
    """Squares of ten pixels, side by side."""
    quads = np.array([SQUARE + np.array([place, 0]) for place in places]).reshape(-1, 4, 2)
    return ImageTruth(quads, np.array(labels, np.int64), np.array(difficult or [0] * len(labels), np.int64))


def found(places: list[float], labels: list[int], scores: list[float]) -> ImageDetections:
    quads = np.array([SQUARE + np.array([place, 0]) for place in places]).reshape(-1, 4, 2)
    return ImageDetections(quads, np.array(scores, np.float64), np.array(labels, np.int64))


def matrix_of(boxes: ImageDetections, objects: ImageTruth, scores: tuple[float, ...] = (0.0, 0.0)) -> list[list[int]]:
    return confusion({"a": boxes}, {"a": objects}, scores).matrix.tolist()


def test_found_confused_missed_and_invented_have_their_places() -> None:
    objects = truth([0, 100, 200, 300], [0, 0, 1, 1])
    boxes = found([0, 101, 400], [0, 1, 1], [0.9, 0.8, 0.7])
    result = confusion({"a": boxes}, {"a": objects, "b": truth([], [])}, (0.0, 0.0))
    assert result.matrix.tolist() == [[1, 1, 0], [0, 0, 2], [0, 1, 0]]
    assert result.errors == {"a": 4}


def test_an_object_goes_to_its_own_class_first() -> None:
    """A better score of another class would take it, and the right box would be a false alarm."""
    assert matrix_of(found([0, 1], [1, 0], [0.9, 0.5]), truth([0], [0])) == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_a_second_box_on_an_object_is_invented() -> None:
    assert matrix_of(found([0, 1], [0, 0], [0.9, 0.5]), truth([0], [0])) == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_each_class_has_its_own_least_score() -> None:
    objects, boxes = truth([0, 100], [0, 1]), found([0, 100], [0, 1], [0.5, 0.5])
    assert matrix_of(boxes, objects, (0.6, 0.4)) == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert matrix_of(boxes, objects, (0.5, 2.0)) == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_difficult_objects_and_ignore_regions_do_not_count() -> None:
    objects = truth([0, 100, 200, 300], [0, 0, -1, 1], [1, 1, 0, 2])
    boxes = found([0, 200, 300, 301], [1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6])
    assert matrix_of(boxes, objects) == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize("num_boxes", [0, 3])
def test_nothing_to_find(num_boxes: int) -> None:
    boxes = found([100.0 * k for k in range(num_boxes)], [0] * num_boxes, [0.5] * num_boxes)
    assert matrix_of(boxes, truth([], [])) == [[0, 0, 0], [0, 0, 0], [num_boxes, 0, 0]]
    assert confusion({}, {}, (0.0,)).matrix.tolist() == [[0, 0], [0, 0]]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_every_object_and_every_box_is_counted_once_and_hits_are_those_of_the_ap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    objects = truth(list(np.cumsum(rng.uniform(12, 30, 6))), list(rng.integers(0, 2, 6)))
    places = objects.quads[rng.integers(0, 6, 9), 0, 0] + rng.uniform(-6, 6, 9)
    boxes = found(list(places), list(rng.integers(0, 2, 9)), list(rng.uniform(0, 1, 9)))
    result = confusion({"a": boxes}, {"a": objects}, (0.2, 0.2)).matrix
    assert result[:2].sum(axis=1).tolist() == np.bincount(objects.labels, minlength=2).tolist()
    kept = boxes.labels[boxes.scores >= 0.2]
    assert result[:, :2].sum(axis=0).tolist() == np.bincount(kept, minlength=2).tolist()
    assert result[2, 2] == 0
    scored = evaluate({"a": boxes}, {"a": objects}, ["x", "y"], (0.5,))
    for label, item in enumerate(scored.classes.values()):
        curve = item.curves[0]
        assert result[label, label] >= curve.hit[curve.scores >= 0.2].sum()
