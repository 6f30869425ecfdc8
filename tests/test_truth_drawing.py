"""Drawn truth: boxes where they are, the start of each marked, difficult and ignored ones told apart."""

from __future__ import annotations

import numpy as np
import pytest

from DOTA_devkit.labels import NO_LABELS, Labels
from tools.drawing import PAPER, class_color
from tools.drawings.truth_drawing import GREY, draw_truth

SIDE = 800  # large enough not to be enlarged
BOX = np.array([[200.0, 300.0], [600.0, 300.0], [600.0, 500.0], [200.0, 500.0]])


def draw(*, difficult: int = 0, ignored: bool = False, quad: np.ndarray = BOX, name: str = "car") -> np.ndarray:
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    labels = Labels(quad[None], [name], np.array([difficult]), np.array([1]))
    return draw_truth(picture, labels, np.array([ignored]), ["car", "boat"])[:SIDE]


def share(canvas: np.ndarray, color: tuple[int, int, int], rows: slice, columns: slice) -> float:
    return float((np.abs(canvas[rows, columns].astype(int) - color).max(axis=2) < 60).mean())


def green(canvas: np.ndarray, rows: slice, columns: slice) -> float:
    """How much there is of the colour of class 0."""
    return float(canvas[rows, columns, 1].mean())


def test_the_first_side_is_thick_and_the_others_thin():
    canvas = draw()
    top, bottom = (green(canvas, slice(y - 4, y + 4), slice(450, 550)) for y in (300, 500))
    assert top > 1.8 * bottom > 0
    turned = draw(quad=np.roll(BOX, -2, axis=0))
    assert green(turned, slice(496, 504), slice(450, 550)) == pytest.approx(top, rel=0.1)


def test_the_first_corner_is_a_white_dot():
    assert (draw()[300, 200] > 200).all()
    assert not (draw()[300, 600] > 200).all()


def test_difficult_is_dashed():
    whole, dashed = (green(draw(difficult=flag), slice(498, 502), slice(230, 570)) for flag in (0, 1))
    assert 0.35 * whole < dashed < 0.75 * whole


def test_ignored_is_grey_hatched_and_has_no_start():
    canvas = draw(difficult=2, ignored=True)
    assert share(canvas, GREY, slice(350, 450), slice(250, 550)) > 0.1
    assert share(canvas, class_color(0), slice(0, SIDE), slice(0, SIDE)) == 0
    assert share(draw(), class_color(0), slice(295, 305), slice(300, 500)) > 0
    assert share(draw(), GREY, slice(350, 450), slice(250, 550)) == 0


def test_small_pictures_are_enlarged_and_a_legend_is_below():
    drawn = draw_truth(np.zeros((100, 200, 3), np.uint8), NO_LABELS, np.zeros(0, bool), ["car"])
    assert drawn.shape[1] == 800
    assert drawn.shape[0] > 400
    assert (drawn[-1] == PAPER).all()


def test_the_given_picture_stays_as_it_was():
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    labels = Labels(BOX[None], ["car"], np.array([0]), np.array([1]))
    draw_truth(picture, labels, np.array([False]), ["car"])
    assert not picture.any()


def test_boxes_far_outside_and_strange_names_do_no_harm():
    draw(quad=BOX + 1e8, name="港口")
    draw(quad=BOX * 1e6 - 1e8, ignored=True, difficult=2, name="a\x1bb")
    draw(quad=BOX * 1e6, difficult=1)


def test_the_legend_has_the_colours_of_the_boxes():
    labels = Labels(np.stack([BOX, BOX + 50, BOX - 90]), ["car", "DontCare", "boat"], np.zeros(3, int), np.arange(3))
    ignored = np.array([False, True, False])
    drawn = draw_truth(np.zeros((SIDE, SIDE, 3), np.uint8), labels, ignored, ["car", "boat"])
    legend = drawn[SIDE:].reshape(-1, 3).tolist()
    assert all(list(color) in legend for color in (class_color(0), class_color(1), GREY))
    assert list(class_color(2)) not in legend


def test_names_in_a_script_that_a_font_here_has_are_written_and_others_are_numbers(monkeypatch):
    """They were numbers whatever fonts there were, in these pictures alone."""
    number, name = (draw(name=name)[250:300, 100:300] for name in ("#0", "Грузовик"))
    assert (number != name).any()
    monkeypatch.setattr("tools.drawings.lettering.font_path", lambda text: None)
    picture, labels = np.zeros((SIDE, SIDE, 3), np.uint8), Labels(BOX[None], ["Грузовик"], np.array([0]), np.array([1]))
    unknown = draw_truth(picture, labels, np.array([False]), ["Грузовик"])
    same = draw_truth(picture, labels._replace(names=["#0"]), np.array([False]), ["#0"])
    assert np.array_equal(unknown, same)
