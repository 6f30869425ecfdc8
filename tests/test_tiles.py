"""Tiles of one picture: as pictures they are all of one size."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.letterbox import letterbox_image
from datasets.tiles import TileSet
from DOTA_devkit.tiling import lay_tiles, tile_windows

FILL = (10.0, 20.6, 30.0)


def _tiles(height: int, width: int, size: int, scales: tuple[float, ...] = (1.0,)) -> TileSet:
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    windows = tile_windows(lay_tiles("a", height, width, size, 8, scales), size)
    return TileSet(picture, windows, (64, 64), FILL)


def test_a_crop_within_the_picture_is_that_part_of_it() -> None:
    tiles = _tiles(100, 90, 40)
    for row, (left, top, right, bottom) in enumerate(tiles.windows.astype(int)):
        assert np.array_equal(tiles.crop(row), tiles.picture[top:bottom, left:right])


def test_a_crop_of_a_small_picture_is_as_large_as_a_tile_and_padded_with_the_mean_colour() -> None:
    crop = _tiles(30, 90, 40).crop(0)
    assert crop.shape == (40, 40, 3)
    assert crop[30:].reshape(-1, 3).tolist() == [[10, 21, 30]] * 400


@pytest.mark.parametrize("channels", [1, 4])
def test_a_crop_has_the_channels_of_its_picture(channels: int) -> None:
    windows = tile_windows(lay_tiles("a", 30, 90, 40, 8, (1.0,)), 40)
    tiles = TileSet(np.full((30, 90, channels), 7, np.uint8), windows, (64, 64), (20.0,) * channels)
    assert tiles.crop(0).shape == (40, 40, channels)
    assert np.unique(tiles.crop(0)[30:]).tolist() == [20]


def test_the_letterbox_of_a_crop_is_the_tiles_input_but_for_the_rounded_padding() -> None:
    tiles = _tiles(50, 70, 60, (0.7, 1.0))
    for row in range(len(tiles)):
        inputs = letterbox_image(tiles.crop(row), (64, 64), FILL)
        height = int(50 * tiles.scale(row)) - 1
        np.testing.assert_allclose(inputs[:height], tiles[row][0][:height], atol=0.5)
        np.testing.assert_allclose(inputs[height + 2 :], tiles[row][0][height + 2 :], atol=0.5)
