"""Pictures with boxes: where the lines lie, what is drawn, how files are written."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from DOTA_devkit.task_files import ImageDetections
from tools.drawing import class_color, draw_boxes, write_picture

QUAD = np.array([[20.5, 30.5], [60.5, 30.5], [60.5, 50.5], [20.5, 50.5]])


def _boxes(*scores: float) -> ImageDetections:
    return ImageDetections(np.stack([QUAD] * len(scores)), np.array(scores), np.zeros(len(scores), np.int64))


def test_the_line_lies_on_the_box_and_the_picture_is_not_changed():
    picture = np.zeros((80, 100, 3), np.uint8)
    drawn = draw_boxes(picture, _boxes(0.9), ["car"], labels=False, line_width=1)
    assert not picture.any()
    rows, columns = np.nonzero(drawn.max(axis=2) > 128)  # the smoothed edge of the line is darker
    # A corner at 20.5 is the middle of pixel 20.
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (20, 60, 30, 50)
    np.testing.assert_allclose(drawn[30, 40], class_color(0), atol=30)  # smoothed, so a little darker


def test_low_scores_are_not_drawn_and_no_box_is_fine():
    picture = np.zeros((80, 100, 3), np.uint8)
    assert not draw_boxes(picture, _boxes(0.2), ["car"], min_score=0.3).any()
    nothing = ImageDetections(np.zeros((0, 4, 2)), np.zeros(0), np.zeros(0, np.int64))
    assert not draw_boxes(picture, nothing, ["car"]).any()


def test_labels_are_a_switch_and_stay_inside():
    picture = np.zeros((80, 100, 3), np.uint8)
    plain = draw_boxes(picture, _boxes(0.9), ["car"], labels=False)
    labelled = draw_boxes(picture, _boxes(0.9), ["car"])
    assert (labelled != plain).any()
    far = ImageDetections(np.stack([QUAD - 1e4]), np.array([0.9]), np.zeros(1, np.int64))
    assert draw_boxes(picture, far, ["小车"]).shape == picture.shape


def test_colours_of_twenty_classes_differ():
    assert len({class_color(label) for label in range(20)}) == 20


def test_pictures_are_written_to_paths_in_any_script(tmp_path):
    path = tmp_path / "图 1" / "b.png"
    picture = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    write_picture(path, picture)
    assert np.array_equal(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR), picture)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_picture(tmp_path / "file" / "b.png", np.zeros((2, 2, 3), np.uint8))
