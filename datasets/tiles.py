"""The tiles of one picture, as inputs of a network and as pictures; imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from datasets.channel_groups import by_fours
from datasets.letterbox import letterbox_image, letterbox_scale
from datasets.picture_files.picture_windows import PictureWindows
from datasets.picture_files.scaled_windows import ScaledWindows
from DOTA_devkit.tiling import Tile, scaled_size, tile_windows


class TileSet:
    """The tiles of one picture, cut when asked for. Held beside the picture are the versions of it at scales below 1,
    made as `tools.split_tiles` makes them, so that the network sees the tiles that it was trained on; at other scales,
    and of a picture that is read in windows, the batch is all that is held.

    Items are (input (input_h, input_w, channels) float32, number of the tile). A crop is the tile as it lies in the
    picture, or in the version of it at the tile's scale. A tile that shows a single colour, as where a survey has no
    data, is blank: nothing is to be found there.
    """

    def __init__(
        self,
        picture: np.ndarray | PictureWindows,
        tiles: Sequence[Tile],
        size: int,
        input_hw: tuple[int, int],
        fill_bgr: tuple[float, ...],
    ) -> None:
        scales = {tile.scale for tile in tiles}
        self._pictures = {scale: scale_picture(picture, scale) if scale < 1 else picture for scale in scales}
        self._tiles = tiles
        # In pixels of what they are cut from, which has the tile's own scale below 1.
        self._windows = tile_windows([tile._replace(scale=max(1.0, tile.scale)) for tile in tiles], size)
        self.input_hw = input_hw
        self.fill_bgr = fill_bgr

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        """Raises ImageError where the picture is read in windows and the file is damaged there."""
        return self._as_input(row, self._shown(row)), row

    def unless_blank(self, row: int) -> tuple[np.ndarray, int] | None:
        """The item; None for a blank tile. Raises ImageError as the item."""
        pixels = self._shown(row)
        return None if _is_blank(pixels) else (self._as_input(row, pixels), row)

    def crop_hw(self, row: int) -> tuple[int, int]:
        """Height and width of the crop, which is as large at a border."""
        left, top, _, _ = self._pixels(row)
        right, bottom = np.ceil(self._windows[row])[2:].astype(int).tolist()
        return bottom - top, right - left

    def crop(self, row: int) -> np.ndarray:
        """The crop (h, w, channels) uint8, padded at a border with the mean colour, as near as whole numbers come."""
        return self._padded(row, self._shown(row))

    def crop_unless_blank(self, row: int) -> np.ndarray | None:
        """The crop; None for a blank tile."""
        pixels = self._shown(row)
        return None if _is_blank(pixels) else self._padded(row, pixels)

    def scale(self, row: int) -> float:
        """Input pixels per pixel of the crop, the same for whole tiles and those that the border cuts."""
        window = np.ceil(self._windows[row])
        sides = window[2:] - np.floor(self._windows[row][:2])
        return letterbox_scale((sides[1], sides[0]), self.input_hw)

    def to_picture(self, row: int, quads: np.ndarray) -> np.ndarray:
        """Quads (N, 4, 2) in pixels of the crop -> pixels of the picture."""
        left, top, _, _ = self._pixels(row)
        return (quads + np.array([left, top], np.float64)) / min(1.0, self._tiles[row].scale)

    def _shown(self, row: int) -> np.ndarray:
        """What of the picture the tile shows, (h, w, channels) uint8."""
        left, top, right, bottom = self._pixels(row)
        return self._picture(row)[top:bottom, left:right]

    def _padded(self, row: int, pixels: np.ndarray) -> np.ndarray:
        hw = self.crop_hw(row)
        if pixels.shape[:2] == hw:
            return pixels
        whole = np.empty((*hw, pixels.shape[2]), np.uint8)
        whole[:] = np.rint(self.fill_bgr)
        whole[: pixels.shape[0], : pixels.shape[1]] = pixels
        return whole

    def _as_input(self, row: int, pixels: np.ndarray) -> np.ndarray:
        return letterbox_image(pixels, self.input_hw, self.fill_bgr, self.scale(row))

    def _picture(self, row: int) -> np.ndarray | PictureWindows | ScaledWindows:
        return self._pictures[self._tiles[row].scale]

    def _pixels(self, row: int) -> tuple[int, int, int, int]:
        """The whole pixels that the crop shows: left, top, right, bottom."""
        height, width = self._picture(row).shape[:2]
        left, top, right, bottom = self._windows[row]
        return int(left), int(top), min(width, math.ceil(right)), min(height, math.ceil(bottom))


def _is_blank(pixels: np.ndarray) -> bool:
    return bool((pixels == pixels[:1, :1]).all())


def scale_picture(picture: np.ndarray | PictureWindows, scale: float) -> np.ndarray | PictureWindows | ScaledWindows:
    """The picture (H, W, channels), scaled exactly; sides are rounded up, the last pixels repeated as needed. Of
    one that is read in windows these are scaled when they are asked for."""
    if scale == 1:
        return picture
    if isinstance(picture, PictureWindows):
        return ScaledWindows(picture, scale)
    height, width = scaled_size(*picture.shape[:2], scale)
    missing = [
        int(np.ceil(side / scale - 1e-9)) - had for side, had in zip((height, width), picture.shape[:2], strict=True)
    ]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR

    def resize(part: np.ndarray, _: slice) -> np.ndarray:
        if any(missing):
            part = cv2.copyMakeBorder(part, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
        # With fx and fy given, OpenCV samples at exactly this scale; with a size given it would bend it to the size.
        return cv2.resize(part, None, fx=scale, fy=scale, interpolation=how)[:height, :width]

    return by_fours(picture, resize)
