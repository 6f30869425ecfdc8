"""The tiles of one picture held in memory, as inputs of a network and as pictures; imports no torch."""

from __future__ import annotations

import math

import numpy as np

from datasets.letterbox import letterbox_image, letterbox_scale


class TileSet:
    """The tiles of one picture, cut when asked for: nothing but the batch is held beside the picture.

    windows (T, 4): xmin, ymin, xmax, ymax of the tiles in pixels of the picture, padding included. Items are (input
    (input_h, input_w, channels) float32, number of the tile).
    """

    def __init__(
        self,
        picture: np.ndarray,
        windows: np.ndarray,
        input_hw: tuple[int, int],
        fill_bgr: tuple[float, ...],
    ) -> None:
        self.picture = picture
        self.windows = windows
        self.input_hw = input_hw
        self.fill_bgr = fill_bgr

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        left, top, right, bottom = self._pixels(row)
        crop = self.picture[top:bottom, left:right]
        return letterbox_image(crop, self.input_hw, self.fill_bgr, self.scale(row)), row

    def crop(self, row: int) -> np.ndarray:
        """The tile as it lies in the picture (h, w, channels) uint8, as large at a border: padded with the mean colour,
        as near as whole numbers come."""
        left, top, right, bottom = self._pixels(row)
        width, height = np.ceil(self.windows[row])[2:].astype(int) - (left, top)
        if (right - left, bottom - top) == (width, height):
            return self.picture[top:bottom, left:right]
        whole = np.empty((height, width, self.picture.shape[2]), np.uint8)
        whole[:] = np.rint(self.fill_bgr)
        whole[: bottom - top, : right - left] = self.picture[top:bottom, left:right]
        return whole

    def scale(self, row: int) -> float:
        """Input pixels per pixel of the picture, the same for whole tiles and those that the border cuts."""
        window = np.ceil(self.windows[row])
        sides = window[2:] - np.floor(self.windows[row][:2])
        return letterbox_scale((sides[1], sides[0]), self.input_hw)

    def to_picture(self, row: int, quads: np.ndarray) -> np.ndarray:
        """Quads (N, 4, 2) in input pixels of a tile -> pixels of the picture."""
        left, top, _, _ = self._pixels(row)
        return quads / self.scale(row) + np.array([left, top], np.float64)

    def _pixels(self, row: int) -> tuple[int, int, int, int]:
        """The whole pixels of the picture that the tile shows: left, top, right, bottom."""
        height, width = self.picture.shape[:2]
        left, top, right, bottom = self.windows[row]
        return int(left), int(top), min(width, math.ceil(right)), min(height, math.ceil(bottom))
