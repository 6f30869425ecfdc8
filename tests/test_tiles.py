"""Tiles of one picture: as pictures they are all of one size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.letterbox import letterbox_image
from datasets.tiles import TileSet, scale_picture
from DOTA_devkit.tiling import lay_tiles
from tools import split_tiles

FILL = (10.0, 20.6, 30.0)


def _tiles(height: int, width: int, size: int, scales: tuple[float, ...] = (1.0,)) -> TileSet:
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return TileSet(picture, lay_tiles("a", height, width, size, 8, scales), size, (64, 64), FILL)


def test_a_crop_within_the_picture_is_that_part_of_it() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (100, 90, 3), dtype=np.uint8)
    tiles = lay_tiles("a", 100, 90, 40, 8)
    tile_set = TileSet(picture, tiles, 40, (64, 64), FILL)
    for row, tile in enumerate(tiles):
        assert np.array_equal(tile_set.crop(row), picture[tile.y : tile.y + 40, tile.x : tile.x + 40])


def test_a_crop_of_a_small_picture_is_as_large_as_a_tile_and_padded_with_the_mean_colour() -> None:
    crop = _tiles(30, 90, 40).crop(0)
    assert crop.shape == (40, 40, 3)
    assert crop[30:].reshape(-1, 3).tolist() == [[10, 21, 30]] * 400


@pytest.mark.parametrize("channels", [1, 4])
def test_a_crop_has_the_channels_of_its_picture(channels: int) -> None:
    for scale, height in ((1.0, 30), (0.5, 15)):
        tiles = lay_tiles("a", 30, 90, 40, 8, (scale,))
        tile_set = TileSet(np.full((30, 90, channels), 7, np.uint8), tiles, 40, (64, 64), (20.0,) * channels)
        assert tile_set.crop(0).shape == (40, 40, channels)
        assert np.unique(tile_set.crop(0)[height:]).tolist() == [20]


def test_the_letterbox_of_a_crop_is_the_tiles_input_but_for_the_rounded_padding() -> None:
    tiles = _tiles(50, 70, 60, (0.9, 1.0))
    for row, shown in enumerate((45, 45, 50, 50)):  # rows of the picture in a tile
        inputs = letterbox_image(tiles.crop(row), (64, 64), FILL)
        height = int(shown * tiles.scale(row)) - 1
        np.testing.assert_allclose(inputs[:height], tiles[row][0][:height], atol=0.5)
        np.testing.assert_allclose(inputs[height + 2 :], tiles[row][0][height + 2 :], atol=0.5)


@pytest.mark.parametrize("scale", [0.5, 0.3, 1.0])
def test_a_crop_is_the_tile_that_split_tiles_writes(tmp_path: Path, scale: float) -> None:
    """Below scale 1 the picture was averaged there and sampled here, so that fine lines looked otherwise."""
    picture = np.random.default_rng(0).integers(0, 256, (150, 170, 3), dtype=np.uint8)
    (tmp_path / "data" / "images").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "data" / "images" / "a.png"), picture)
    flags = ["--size", "40", "--overlap", "8", "--scales", str(scale)]
    assert split_tiles.main([str(tmp_path / "data"), str(tmp_path / "tiles"), *flags]) == 0
    tiles = lay_tiles("a", 150, 170, 40, 8, (scale,))
    tile_set = TileSet(picture, tiles, 40, (64, 64), (104.0, 116.0, 124.0))
    for row, tile in enumerate(tiles):
        assert np.array_equal(tile_set.crop(row), cv2.imread(str(tmp_path / "tiles" / "images" / f"{tile.name}.png")))


def test_the_scale_is_exact_and_loses_no_pixel() -> None:
    """Half of 101 columns: 51, the last of which shows the last column; a ramp keeps its slope."""
    ramp = np.repeat(np.arange(101, dtype=np.uint8)[None, :, None] * 2, 11, axis=0)
    half = scale_picture(ramp, 0.5)
    assert half.shape == (6, 51, 1)
    assert half[0, :, 0].tolist() == [4 * i + 1 for i in range(50)] + [200]
    third = scale_picture(np.zeros((100, 90, 3), np.uint8), 0.3)
    assert third.shape == (30, 27, 3)
    assert scale_picture(ramp, 2.0).shape == (22, 202, 1)
