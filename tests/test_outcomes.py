"""What becomes of found boxes: those that score enough and survive NMS; boxes of tiles on the whole picture."""

from __future__ import annotations

import numpy as np
import pytest

from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.tiling import lay_tiles, tile_windows
from tools.outcomes import DetectionSettings, TileBoxes, Tiling, is_cut, survivors, usual_tile

SQUARE = np.array([[0.0, 0], [8, 0], [8, 8], [0, 8]])
SETTINGS = DetectionSettings(conf_thresh=0.1, nms_thresh=0.3)


def test_survivors_score_enough_and_overlap_no_better_box_of_their_class() -> None:
    quads = np.stack([SQUARE, SQUARE + 1, SQUARE + 1, SQUARE + 50, SQUARE * 0])
    scores, labels = np.array([0.9, 0.8, 0.7, 0.05, 0.0]), np.array([0, 0, 1, 0, 0])
    found = survivors(quads, scores, labels, SETTINGS)
    assert found.scores.tolist() == [0.9, 0.7]
    assert found.labels.tolist() == [0, 1]
    assert np.array_equal(found.quads, quads[[0, 2]])


def test_agnostic_boxes_compete_with_those_of_other_classes_in_a_picture_and_over_tiles() -> None:
    """One part of a factory, called whole and broken at once."""
    agnostic = DetectionSettings(conf_thresh=0.1, nms_thresh=0.3, agnostic=True)
    quads, scores, labels = np.stack([SQUARE, SQUARE + 1]), np.array([0.7, 0.8]), np.array([0, 1])
    assert survivors(quads, scores, labels, agnostic).labels.tolist() == [1]
    tiles = lay_tiles("a", 60, 100, 60, 20)
    boxes = TileBoxes(tiles, tile_windows(tiles, 60))
    for row in range(2):
        boxes.add(row, ImageDetections(np.stack([SQUARE + 46]), np.array([0.5 + 0.1 * row]), np.array([3 + row])))
    assert boxes.merged(60, (60, 100), SETTINGS).labels.tolist() == [4, 3]
    assert boxes.merged(60, (60, 100), agnostic).labels.tolist() == [4]


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


def test_the_same_object_in_two_tiles_is_one_on_the_picture() -> None:
    tiles = lay_tiles("a", 60, 100, 60, 20)
    boxes = TileBoxes(tiles, tile_windows(tiles, 60))
    for row in range(2):
        boxes.add(row, ImageDetections(np.stack([SQUARE + 46]), np.array([0.5 + 0.1 * row]), np.zeros(1, np.int64)))
    boxes.add(0, ImageDetections(np.stack([SQUARE + 5]), np.array([0.4]), np.zeros(1, np.int64)))
    merged = boxes.merged(60, (60, 100), SETTINGS)
    assert merged.scores.tolist() == [0.6, 0.4]
    np.testing.assert_allclose(merged.quads, [SQUARE + 46, SQUARE + 5])


def test_tiles_without_a_box_merge_to_nothing() -> None:
    tiles = lay_tiles("a", 60, 100, 60, 20)
    assert len(TileBoxes(tiles, tile_windows(tiles, 60)).merged(60, (60, 100), SETTINGS).scores) == 0


def test_a_usual_tile_is_enlarged_as_training_pictures_were() -> None:
    assert usual_tile((512, 640), (512, 640)) == 512
    assert usual_tile((1080, 1920), (608, 608)) == 1920
    assert usual_tile((256, 256), (608, 608)) == 256
