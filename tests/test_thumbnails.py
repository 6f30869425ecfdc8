"""Windows of pictures: what they show, where, and that they fit."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from tools.drawings.thumbnails import HEIGHT, LEAST_WINDOW, VOID_BGR, WIDTH, cut_window, data_address, window_around


def test_a_window_has_room_around_what_it_shows_and_is_no_smaller_than_the_least() -> None:
    picture = np.zeros((400, 600, 3), np.uint8)
    window = window_around(np.array([[100.0, 100], [300, 140]]), picture)
    assert window.tolist() == [-50, -67.5, 450, 307.5]
    tiny = window_around(np.array([[300.0, 200]]), picture)
    assert tiny[2] - tiny[0] == LEAST_WINDOW
    assert (tiny[2] - tiny[0]) / (tiny[3] - tiny[1]) == pytest.approx(WIDTH / HEIGHT)


def test_pixels_lie_where_the_window_says_and_void_is_where_no_picture_is() -> None:
    picture = np.full((100, 200, 3), 200, np.uint8)
    picture[40:60, 90:110] = (0, 0, 255)
    shown = cut_window(picture, np.array([60.0, 20, 140, 80]))
    assert shown.shape == (HEIGHT, WIDTH, 3)
    y, x = np.nonzero(shown[:, :, 1] < 100)
    assert (x.min(), x.max(), y.min(), y.max()) == pytest.approx((120, 199, 80, 159), abs=1)
    assert (cut_window(picture, np.array([900.0, 900, 980, 960])) == VOID_BGR).all()


def test_the_address_is_a_jpeg_of_the_picture() -> None:
    picture = np.full((20, 30, 3), 90, np.uint8)
    data = base64.b64decode(data_address(picture).removeprefix("data:image/jpeg;base64,"))
    assert np.abs(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int) - 90).max() <= 2
