"""Pictures with boxes: where the lines lie, and what is drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from DOTA_devkit.task_files import ImageDetections
from tools.drawing import (
    LegendEntry,
    as_bgr,
    class_color,
    class_text,
    draw_boxes,
    draw_legend,
    draw_quad,
    numbered_classes,
    pen_for,
)
from tools.drawings.lettering import drawable

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


def test_small_objects_of_a_large_picture_are_not_hidden_by_their_boxes():
    """Lines and letters went by the picture's size alone: in one of 4096 pixels six wide around a car of twelve."""
    corners = np.stack(np.meshgrid(np.arange(20), np.arange(15)), axis=-1).reshape(300, 1, 2) * 190 + 60.5
    small = corners + np.array([[0, 0], [24, 0], [24, 12], [0, 12]])
    boxes = ImageDetections(small, np.full(300, 0.9), np.zeros(300, np.int64))
    picture = np.zeros((4096, 4096, 3), np.uint8)
    assert pen_for(picture, small) == (2, 0.4)
    drawn = draw_boxes(picture, boxes, ["car"], labels=False)
    assert not drawn[tuple(small.mean(axis=1)[:, ::-1].astype(int).T)].any()
    assert pen_for(picture, small[:0]) == pen_for(picture, small * 100) == (6, pytest.approx(4096 / 2200))


def test_low_scores_are_not_drawn_and_no_box_is_fine():
    picture = np.zeros((80, 100, 3), np.uint8)
    assert not draw_boxes(picture, _boxes(0.2), ["car"], min_score=0.3).any()
    nothing = ImageDetections(np.zeros((0, 4, 2)), np.zeros(0), np.zeros(0, np.int64))
    assert not draw_boxes(picture, nothing, ["car"]).any()


def test_weak_boxes_of_numbered_objects_are_drawn():
    picture = np.zeros((80, 100, 3), np.uint8)
    weak = {"min_score": 0.5, "labels": False}
    assert not draw_boxes(picture, _boxes(0.3), ["car"], objects=np.array([0]), **weak).any()
    assert draw_boxes(picture, _boxes(0.3), ["car"], objects=np.array([7]), **weak).any()


def test_labels_are_a_switch_and_stay_inside():
    picture = np.zeros((80, 100, 3), np.uint8)
    plain = draw_boxes(picture, _boxes(0.9), ["car"], labels=False)
    labelled = draw_boxes(picture, _boxes(0.9), ["car"])
    assert (labelled != plain).any()
    far = ImageDetections(np.stack([QUAD - 1e4]), np.array([0.9]), np.zeros(1, np.int64))
    assert draw_boxes(picture, far, ["小车"]).shape == picture.shape


def test_colours_of_the_classes_of_dota_differ():
    colors = np.array([class_color(label) for label in range(18)], float)
    distances = np.linalg.norm(colors[:, None] - colors, axis=-1) + 255 * np.eye(18)
    assert distances.min() > 75  # DOTA's planes and swimming pools were 43 apart


def test_a_dashed_line_lies_on_the_same_place_with_gaps():
    solid, dashed = np.zeros((80, 100, 3), np.uint8), np.zeros((80, 100, 3), np.uint8)
    draw_quad(solid, QUAD, (255, 255, 255))
    draw_quad(dashed, QUAD, (255, 255, 255), dashed=True)
    assert not (dashed.any(axis=2) & ~cv2.dilate(solid, np.ones((3, 3))).any(axis=2)).any()
    assert 0.3 < (dashed > 128).sum() / (solid > 128).sum() < 0.8
    assert dashed[30, 20].any()  # corners are drawn


@pytest.mark.parametrize("quad", [QUAD * 0, QUAD * 1e7, QUAD - 1e7, QUAD * np.nan])
def test_boxes_that_no_picture_holds_are_drawn_without_a_crash(quad):
    draw_quad(np.zeros((80, 100, 3), np.uint8), quad, (255, 255, 255), dashed=True)


def test_a_name_that_no_font_has_is_replaced():
    private = "\ue123\U000f1234"  # private use: no font has them all
    assert drawable("car", "#0") == "car"
    assert drawable(private, "#0") == "#0"
    told = numbered_classes(["car", private, "boat", private * 2])
    assert told.endswith(f"are drawn as numbers: #1 is {private}, #3 is {private * 2}")
    assert numbered_classes(["car"]) == ""
    assert class_text(["car", private], 1) == "#1"
    assert draw_legend([LegendEntry(private, (0, 0, 255))], 200).shape[1] == 200


def test_a_legend_takes_as_many_lines_as_it_needs():
    entries = [LegendEntry(f"entry {number}", (0, 200, 0), "patch") for number in range(12)]
    assert draw_legend(entries, 300).shape[0] > 2 * draw_legend(entries, 3000).shape[0]
    assert draw_legend([], 300).shape[1] == 300


def test_pictures_of_any_channels_can_be_looked_at():
    four = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(as_bgr(four), four[..., :3])
    assert as_bgr(four).flags["C_CONTIGUOUS"]
    assert np.array_equal(as_bgr(four[..., :1]), np.stack([four[..., 0]] * 3, axis=2))
    colours = four[..., :3]
    assert as_bgr(colours) is colours
