"""OpenCV changes four channels at once; of any number each is changed as it would be alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from datasets.augment import warp_image
from datasets.channel_groups import by_fours
from datasets.letterbox import letterbox_image
from datasets.tiles import scale_picture

NUMBERS = (1, 3, 4, 5, 8, 13)
MATRIX = np.array([[0.7, 0.2, 9.0], [-0.2, 0.7, 11.0]])


def drawn(num_channels: int) -> tuple[np.ndarray, tuple[float, ...]]:
    """A picture (H, W, channels), and a value for each channel."""
    rng = np.random.default_rng(num_channels)
    picture = rng.integers(0, 256, (40, 50, num_channels), dtype=np.uint8)
    return picture, tuple(rng.integers(0, 256, num_channels).astype(float).tolist())


@pytest.mark.parametrize("num_channels", NUMBERS)
def test_each_channel_is_changed_as_it_would_be_alone(num_channels: int) -> None:
    """Of five OpenCV fills the fifth with the first value beyond a border, and shrinks none at all."""
    picture, fill = drawn(num_channels)
    changes = {
        "warped": lambda pixels, fill: warp_image(pixels, MATRIX, (64, 64), fill),
        "letterboxed": lambda pixels, fill: letterbox_image(pixels, (32, 64), fill),
        "shrunk": lambda pixels, _: scale_picture(pixels, 0.45),
        "enlarged": lambda pixels, _: scale_picture(pixels, 1.3),
    }
    for name, change in changes.items():
        whole = change(picture, fill)
        assert whole.shape[2] == num_channels, name
        for channel in range(num_channels):
            alone = change(picture[:, :, [channel]], (fill[channel],))
            np.testing.assert_allclose(whole[:, :, channel], alone[:, :, 0], atol=1e-3, err_msg=name)


def test_what_lies_beyond_the_border_has_the_value_of_its_channel() -> None:
    picture, fill = drawn(6)
    assert warp_image(picture, MATRIX, (64, 64), fill)[0, 0].tolist() == list(fill)


def test_the_groups_are_told_and_follow_one_another() -> None:
    seen = []

    def change(pixels: np.ndarray, channels: slice) -> np.ndarray:
        seen.append(channels)
        return cv2.flip(pixels, 1)  # drops the axis of a single channel

    picture, _ = drawn(9)
    assert np.array_equal(by_fours(picture, change), picture[:, ::-1])
    assert seen == [slice(0, 4), slice(4, 8), slice(8, 9)]
