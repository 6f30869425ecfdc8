"""Objects cut out upright: what was drawn turned comes back as it was drawn, at borders and in windows of big files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.augment import LONGEST_WARPED
from datasets.object_cuts import cut_object, cut_size, upright_boxes
from DOTA_devkit.boxes import boxes_to_quads
from tools.drawing import SUBPIXEL_BITS, fixed_point

FILL = (104, 116, 124)
QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)  # blue, green, red, white


def drawn(angle: float, size: tuple[int, int] = (60, 30), first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A picture with a box of four colours, blue at its own top left, turned clockwise; its corners from `first` on."""
    centre = np.array([80.3, 70.6])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    picture = np.zeros((140, 160, 3), np.uint8)
    for row, column in np.ndindex(2, 2):
        middle = (np.array([column, row]) - 0.5) * size / 2 @ turn.T + centre
        part = boxes_to_quads(np.array([[*middle, size[0] / 2, size[1] / 2, angle]]), "le90")[0]
        cv2.fillPoly(picture, [fixed_point(part)], QUARTERS[row, column].tolist(), cv2.LINE_AA, SUBPIXEL_BITS)
    quad = boxes_to_quads(np.array([[*centre, *size, angle]]), "le90")[0]
    return picture, np.roll(quad, -first, axis=0)


def quarters_of(cut: np.ndarray) -> np.ndarray:
    """The colours in the middles of the quarters of a cut."""
    height, width = cut.shape[:2]
    rows, columns = [height // 4, height - 1 - height // 4], [width // 4, width - 1 - width // 4]
    return cut[np.ix_(rows, columns)]


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("degrees", [-90, -60, -1, 0, 30, 89])
def test_the_long_side_lies_and_the_upper_end_of_it_comes_up(degrees: int, first: int) -> None:
    picture, quad = drawn(np.deg2rad(degrees), first=first)
    cut = cut_object(picture, upright_boxes(quad[None])[0], FILL)
    assert cut.shape == (30, 60, 3)
    assert np.abs(quarters_of(cut).astype(int) - QUARTERS).max() < 10


@pytest.mark.parametrize("degrees", [-150, -90, -30, 0, 40, 90, 135, 179])
@pytest.mark.parametrize("size", [(60, 30), (30, 60)])
def test_the_first_side_is_above_where_labels_tell_the_front_by_it(degrees: int, size: tuple[int, int]) -> None:
    picture, quad = drawn(np.deg2rad(degrees), size)
    cut = cut_object(picture, upright_boxes(quad[None], by_first_side=True)[0], FILL)
    assert cut.shape == (size[1], size[0], 3)
    assert np.abs(quarters_of(cut).astype(int) - QUARTERS).max() < 10


def test_pixels_of_an_upright_box_are_those_of_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    box = upright_boxes(boxes_to_quads(np.array([[20, 15, 12, 6, 0]]), "le90"))[0]
    np.testing.assert_array_equal(cut_object(picture, box, FILL), picture[12:18, 14:26])
    np.testing.assert_array_equal(cut_object(picture, box, FILL, margin=0.5), picture[9:21, 8:32])


def test_beyond_the_border_is_the_fill() -> None:
    picture = np.full((40, 50, 3), 9, np.uint8)
    box = upright_boxes(boxes_to_quads(np.array([[0, 20, 20, 10, 0]]), "le90"))[0]
    cut = cut_object(picture, box, FILL)
    np.testing.assert_array_equal(cut[:, :9], np.broadcast_to(FILL, (10, 9, 3)))
    assert (cut[:, 10:] == 9).all()
    away = upright_boxes(boxes_to_quads(np.array([[-100, 20, 20, 10, 1]]), "le90"))[0]
    np.testing.assert_array_equal(cut_object(picture, away, FILL), np.broadcast_to(FILL, (10, 20, 3)))


def test_what_is_longer_than_opencv_can_warp_is_refused() -> None:
    box = np.array([5, 5, LONGEST_WARPED + 10, 4, 0.0])
    with pytest.raises(ValueError, match="a cut of 32776 x 4 pixels; the longest has 32766"):
        cut_object(np.zeros((8, 8, 3), np.uint8), box, FILL)


@given(st.floats(-4, 4), st.floats(0.3, 80), st.floats(0.3, 80), st.integers(0, 3), st.booleans())
def test_both_ways_give_the_same_rectangle(angle: float, width: float, height: float, first: int, flips: bool) -> None:
    quad = np.roll(boxes_to_quads(np.array([[30, 40, width, height, angle]]), "le90")[0], first, axis=0)
    quad = quad[::-1] if flips else quad
    for by_first_side in (False, True):
        box = upright_boxes(quad[None], by_first_side)[0]
        corners = boxes_to_quads(box[None], "le90")[0]
        distances = np.linalg.norm(corners[:, None] - quad, axis=-1)
        assert distances.min(axis=1).max() < 1e-6
        if by_first_side:
            along, first_side = corners[1] - corners[0], quad[1] - quad[0]
            assert along @ first_side == pytest.approx(first_side @ first_side, rel=1e-6)
        else:
            assert box[2] >= box[3] - 1e-9
        assert min(cut_size(box)) >= 1
