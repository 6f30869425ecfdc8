"""Doubts about labels: each kind by itself, what is beyond doubt, and how strong they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from DOTA_devkit.truths import ImageTruth
from tools.label_review.doubts import KINDS, doubts_of

CAR, BOAT = 0, 1
LEAST = (0.3, 0.3)


def box(x: float, y: float = 50.0) -> np.ndarray:
    """A quad (4, 2) of 20 x 10 pixels about the point."""
    return boxes_to_quads(np.array([[x, y, 20.0, 10.0, 0.0]]), "le90")[0]


def truth(*objects: tuple[float, int] | tuple[float, int, int]) -> ImageTruth:
    """Objects by the place of their middle, class and difficult flag."""
    quads = np.array([box(item[0]) for item in objects]).reshape(-1, 4, 2)
    flags = [item[2] if len(item) == 3 else 0 for item in objects]
    return ImageTruth(quads, np.array([item[1] for item in objects], np.int64), np.array(flags, np.int64))


def found(*boxes: tuple[float, int, float]) -> ImageDetections:
    """Boxes by the place of their middle, class and score."""
    quads = np.array([box(item[0]) for item in boxes]).reshape(-1, 4, 2)
    scores = np.array([item[2] for item in boxes], np.float32)
    return ImageDetections(quads, scores, np.array([item[1] for item in boxes], np.int64))


def told(objects: ImageTruth, boxes: ImageDetections) -> list[tuple[str, float, int, int]]:
    return [
        (doubt.kind, round(doubt.strength, 3), doubt.label, doubt.found) for doubt in doubts_of(objects, boxes, LEAST)
    ]


def test_where_both_agree_there_is_no_doubt() -> None:
    assert told(truth((50, CAR), (100, BOAT)), found((52, CAR, 0.9), (99, BOAT, 0.4))) == []


def test_a_box_without_a_label_doubts_by_its_score() -> None:
    assert told(truth((50, CAR)), found((50, CAR, 0.9), (150, BOAT, 0.75), (250, CAR, 0.29))) == [
        ("not-labelled", 0.75, -1, 1)
    ]


def test_another_class_doubts_by_what_it_scores_more_than_the_labels_own() -> None:
    assert told(truth((50, CAR)), found((50, BOAT, 0.8))) == [("other-class", 0.8, 0, 0)]
    assert told(truth((50, CAR)), found((50, CAR, 0.2), (50, BOAT, 0.8))) == [("other-class", 0.6, 0, 1)]
    assert told(truth((50, CAR)), found((50, CAR, 0.5), (50, BOAT, 0.8))) == [("other-class", 0.3, 0, 1)]
    assert told(truth((50, CAR)), found((50, CAR, 0.8), (50, BOAT, 0.5))) == []


def test_a_label_beside_what_was_found_is_doubted_once() -> None:
    """By an overlap of 1 / 3: 10 of 20 pixels are shared."""
    assert told(truth((60, CAR)), found((50, CAR, 0.9))) == [("misplaced", 0.6, 0, 0)]
    assert told(truth((60, CAR)), found((50, CAR, 0.9), (72, CAR, 0.5)))[0] == ("misplaced", 0.6, 0, 0)
    beside = told(truth((60, CAR), (50, CAR)), found((50, CAR, 0.9)))
    assert beside == [("not-found", 1.0, 0, -1)], "the box speaks for its neighbour alone"


def test_a_label_where_nothing_speaks_is_doubted_the_more_the_less_there_is() -> None:
    assert told(truth((50, CAR)), NO_DETECTIONS) == [("not-found", 1.0, 0, -1)]
    assert told(truth((50, CAR)), found((55, BOAT, 0.2), (52, CAR, 0.1), (200, CAR, 0.29))) == [
        ("not-found", 0.8, 0, 0)
    ]


def test_a_second_label_of_an_object_is_a_double() -> None:
    """It came last, as a label at which a strong box had been found: that of the other label."""
    ((kind, strength, label, box),) = told(truth((50, CAR), (51, CAR)), found((50, CAR, 0.9)))
    assert (kind, label, box) == ("labelled-twice", 1, -1)
    assert strength == pytest.approx(19 / 21, abs=1e-3)
    assert told(truth((50, CAR), (50, BOAT)), found((50, BOAT, 0.9))) == [("labelled-twice", 1.0, 0, -1)]
    assert [item[0] for item in told(truth((50, CAR), (51, CAR)), NO_DETECTIONS)] == ["not-found"] * 2


def test_what_is_difficult_or_ignored_is_beyond_doubt() -> None:
    for flag in (1, 2):
        assert told(truth((50, CAR, flag)), NO_DETECTIONS) == []
        assert told(truth((50, CAR, flag)), found((50, CAR, 0.9))) == []
        assert told(truth((50, CAR, flag)), found((50, BOAT, 0.9))) == []
    everywhere = truth((50, -1))
    assert told(everywhere, NO_DETECTIONS) == told(everywhere, found((50, BOAT, 0.9))) == []


def test_of_several_boxes_of_another_class_the_best_speaks() -> None:
    assert told(truth((50, CAR)), found((51, BOAT, 0.5), (50, BOAT, 0.8))) == [("other-class", 0.8, 0, 1)]


def test_each_class_speaks_from_its_own_score_on() -> None:
    boxes = found((50, CAR, 0.5), (100, BOAT, 0.5))
    assert [doubt.found for doubt in doubts_of(truth(), boxes, (0.6, 0.4))] == [1]


PLACES = st.tuples(st.floats(0, 200), st.integers(0, 1))


@given(st.lists(PLACES, max_size=8), st.lists(st.tuples(PLACES, st.floats(0.0625, 1, width=32)), max_size=12))
def test_a_label_is_doubted_once_at_most_and_a_strength_is_a_share(objects, boxes) -> None:
    doubts = doubts_of(truth(*objects), found(*((x, label, score) for (x, label), score in boxes)), LEAST)
    labels = [doubt.label for doubt in doubts if doubt.label >= 0]
    assert len(labels) == len(set(labels))
    assert all(0 <= doubt.strength <= 1 and doubt.kind in KINDS for doubt in doubts)
    assert all((doubt.label < 0) == (doubt.kind == "not-labelled") for doubt in doubts)
