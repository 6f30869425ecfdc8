"""Thumbnails show the offending box where it is, and nothing where there is nothing to show."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from DOTA_devkit.labels import read_labels
from tools.data_check.data_checks import Finding
from tools.data_check.data_folder import lay_out
from tools.data_check.data_thumbnails import Thumbnails
from tools.drawings.thumbnails import HEIGHT, VOID_BGR, WIDTH


@pytest.fixture
def folder(dota_folder):
    """One grey picture of 200 x 100 with the labels of the test."""
    data_dir = dota_folder(names=("图 1", "b"))
    (data_dir / "images" / "图 1.png").write_bytes(
        cv2.imencode(".png", np.full((100, 200, 3), 128, np.uint8))[1].tobytes()
    )
    return data_dir


def draw(
    data_dir, line: int = 1, text: str = "", picture: str = "图 1", other: str = "", kind: str = "outside"
) -> np.ndarray | None:
    (data_dir / "labelTxt" / "图 1.txt").write_text(text, encoding="utf-8")
    pairs = {pair.name: pair for pair in lay_out("dota", data_dir).pairs}
    address = Thumbnails("dota", pairs, read_labels).draw(Finding(kind, picture, "", line, "", other=other))
    if not address:
        return None
    data = np.frombuffer(base64.b64decode(address.removeprefix("data:image/jpeg;base64,")), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def red(thumbnail: np.ndarray) -> np.ndarray:
    """Bounds of what is red: left, top, right, bottom."""
    y, x = np.nonzero((thumbnail[:, :, 2] > 180) & (thumbnail[:, :, 1] < 120))
    return np.array([x.min(), y.min(), x.max(), y.max()])


def test_the_box_is_shown_in_the_middle(folder):
    thumbnail = draw(folder, text="90 40 130 40 130 60 90 60 car 0\n")
    assert thumbnail.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(red(thumbnail) - [96, 88, 224, 152]).max() <= 3  # 40 px are 2 / 5 of the width


def test_a_line_of_a_list_is_no_line_of_the_labels(folder):
    thumbnail = draw(folder, text="90 40 130 40 130 60 90 60 car 0\n", kind="both-lists")
    assert np.abs(thumbnail[HEIGHT // 2, 9:-9].astype(int) - 128).max() < 8, "the whole picture, without a box"


def test_the_corners_of_a_refused_line_are_shown(folder):
    thumbnail = draw(folder, text="90 40 130 60 130 40 90 60 car 0\n")
    assert np.abs(red(thumbnail) - [96, 88, 224, 152]).max() <= 3


def test_beyond_the_border_is_void_and_the_picture_stays_in_sight(folder):
    thumbnail = draw(folder, text="240 40 280 40 280 60 240 60 car 0\n")
    assert np.abs(thumbnail[0, -1].astype(int) - VOID_BGR).max() < 8
    assert np.abs(thumbnail[HEIGHT // 2, 5].astype(int) - 128).max() < 8
    assert red(thumbnail)[0] > 0.45 * WIDTH


@pytest.mark.parametrize("text", ["1 2 3\n", "1e8 0 2e8 0 2e8 9 1e8 9 car 0\n", ""])
def test_without_a_box_that_can_be_shown_the_whole_picture_is(folder, text):
    thumbnail = draw(folder, text=text)
    assert np.abs(thumbnail[HEIGHT // 2, 8:-8].astype(int) - 128).max() < 8
    assert np.abs(thumbnail[5].astype(int) - VOID_BGR).max() < 8


def test_twins_are_shown_side_by_side(folder):
    thumbnail = draw(folder, line=0, other="b")
    assert thumbnail.shape == (HEIGHT, WIDTH, 3)
    assert (thumbnail[:, WIDTH // 2 - 1 : WIDTH // 2 + 1] > 200).all()


def test_without_a_picture_there_is_none(folder):
    assert draw(folder, picture="") is None
    assert draw(folder, picture="nobody") is None
    (folder / "images" / "b.png").write_bytes(b"damaged")
    assert draw(folder, picture="b") is None
