"""What becomes of found boxes: those that score enough and survive NMS."""

from __future__ import annotations

import numpy as np
import pytest

from tools.outcomes import DetectionSettings, Tiling, is_cut, survivors, usual_tile

SQUARE = np.array([[0.0, 0], [8, 0], [8, 8], [0, 8]])
SETTINGS = DetectionSettings(conf_thresh=0.1, nms_thresh=0.3)


def test_survivors_score_enough_and_overlap_no_better_box_of_their_class() -> None:
    quads = np.stack([SQUARE, SQUARE + 1, SQUARE + 1, SQUARE + 50, SQUARE * 0])
    scores, labels = np.array([0.9, 0.8, 0.7, 0.05, 0.0]), np.array([0, 0, 1, 0, 0])
    found = survivors(quads, scores, labels, SETTINGS)
    assert found.scores.tolist() == [0.9, 0.7]
    assert found.labels.tolist() == [0, 1]
    assert np.array_equal(found.quads, quads[[0, 2]])


def test_agnostic_boxes_compete_with_those_of_other_classes() -> None:
    """One part of a factory, called whole and broken at once."""
    agnostic = DetectionSettings(conf_thresh=0.1, nms_thresh=0.3, agnostic=True)
    quads, scores, labels = np.stack([SQUARE, SQUARE + 1]), np.array([0.7, 0.8]), np.array([0, 1])
    assert survivors(quads, scores, labels, agnostic).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ((64, 64), "the overlap must lie within"),
        ((64, 8, ()), "at no scale"),
        ((64, 8, (1.0, 0.0)), "scale"),
    ],
)
def test_tiles_that_make_no_progress_are_refused(parts: tuple, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Tiling(*parts)


def test_a_picture_is_cut_where_all_of_the_peaks_that_are_kept_may_be_objects() -> None:
    """Known defect 18: 500 detections, silently."""
    settings = DetectionSettings(num_peaks=3)
    assert is_cut(np.array([0.9, 0.3, 0.2]), settings)
    assert not is_cut(np.array([0.9, 0.3, 0.05]), settings)
    assert not is_cut(np.array([0.9, 0.3]), settings)
    assert not is_cut(np.array([0.9, 0.3, 0.2]), DetectionSettings(num_peaks=3, conf_thresh=0.25))


def test_rows_of_score_zero_are_no_boxes_whatever_the_threshold() -> None:
    found = survivors(np.stack([SQUARE]), np.zeros(1), np.zeros(1, int), DetectionSettings(conf_thresh=0.0))
    assert len(found.scores) == 0


def test_a_usual_tile_is_enlarged_as_training_pictures_were() -> None:
    assert usual_tile((512, 640), (512, 640)) == 512
    assert usual_tile((1080, 1920), (608, 608)) == 1920
    assert usual_tile((256, 256), (608, 608)) == 256
