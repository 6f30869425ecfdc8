"""Boxes that are found in the tiles of a picture come back to it, each object once."""

from __future__ import annotations

import numpy as np
import pytest

from DOTA_devkit.task_files import ImageDetections
from tools.detection.tiled_picture import TiledPicture
from tools.outcomes import DetectionSettings, Tiling

SQUARE = np.array([[0.0, 0], [8, 0], [8, 8], [0, 8]])
SETTINGS = DetectionSettings(conf_thresh=0.1, nms_thresh=0.3)


def cut(scale: float = 1.0) -> TiledPicture:
    """Of 100 x 60 pixels, in two tiles of 60 at scale 1, from x = 0 and from x = 40 on."""
    return TiledPicture(np.zeros((60, 100, 3), np.uint8), Tiling(60, 20, (scale,)), (64, 64), (0.0, 0.0, 0.0), "a.png")


def one(place: tuple[int, int], score: float, label: int = 0) -> ImageDetections:
    return ImageDetections(np.stack([SQUARE + place]), np.array([score]), np.array([label]))


def test_the_same_object_in_two_tiles_is_one_on_the_picture() -> None:
    picture = cut()
    assert (len(picture.tiles), picture.title) == (2, "a.png: 2 tiles")
    picture.add(0, one((46, 46), 0.5))
    picture.add(1, one((6, 46), 0.6))
    picture.add(0, one((5, 5), 0.4))
    merged = picture.merged(SETTINGS)
    assert merged.scores.tolist() == [0.6, 0.4]
    np.testing.assert_allclose(merged.quads, [SQUARE + 46, SQUARE + 5])


@pytest.mark.parametrize(("is_agnostic", "labels"), [(False, [4, 3]), (True, [4])])
def test_over_tiles_too_agnostic_boxes_compete_with_those_of_other_classes(
    is_agnostic: bool, labels: list[int]
) -> None:
    """One part of a factory, called whole and broken at once."""
    picture = cut()
    picture.add(0, one((46, 46), 0.5, label=3))
    picture.add(1, one((6, 46), 0.6, label=4))
    settings = DetectionSettings(conf_thresh=0.1, nms_thresh=0.3, agnostic=is_agnostic)
    assert picture.merged(settings).labels.tolist() == labels


def test_boxes_of_a_scaled_picture_come_back_in_pixels_of_the_whole_one() -> None:
    picture = cut(scale=0.5)
    assert len(picture.tiles) == 1
    picture.add(0, one((10, 4), 0.5))
    np.testing.assert_allclose(picture.merged(SETTINGS).quads, [2 * SQUARE + np.array([20, 8])])


def test_tiles_without_a_box_merge_to_nothing() -> None:
    assert len(cut().merged(SETTINGS).scores) == 0
