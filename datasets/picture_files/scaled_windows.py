"""A picture that is read in windows, scaled: windows are made when they are asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from DOTA_devkit.tiling import scaled_size

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from datasets.picture_files.picture_windows import PictureWindows

PIXELS_AT_ONCE = 1 << 22  # pixels that are read at once where much of the picture is looked at


class ScaledWindows:
    """The picture scaled, of which windows are made when asked for, to within one level as of an array: below scale 1
    the mean of the area that a pixel covers, above it linear between the nearest pixels."""

    dtype = np.dtype(np.uint8)

    def __init__(self, picture: PictureWindows, scale: float) -> None:
        self._picture, self._scale = picture, scale
        self.shape = (*scaled_size(*picture.shape[:2], scale), picture.shape[2])

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        """As of `PictureWindows`."""
        (top, bottom), (left, right) = window_ends(key, self.shape)
        window = np.empty((max(0, bottom - top), max(0, right - left), self.shape[2]), np.uint8)
        num_rows = max(1, int(PIXELS_AT_ONCE * min(1.0, self._scale) ** 2 / max(1, right - left)))
        for row in range(top, bottom if right > left else top, num_rows):
            window[row - top : row - top + num_rows] = self._strip(row, min(row + num_rows, bottom), left, right)
        return window

    def _strip(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        (first_row, rows), (first_column, columns) = (
            _resampling(start, stop, self._scale, side)
            for start, stop, side in zip((top, left), (bottom, right), self._picture.shape[:2], strict=True)
        )
        ends = first_row + rows.shape[1], first_column + columns.shape[1]
        pixels = self._picture[first_row : ends[0], first_column : ends[1]].astype(np.float32)
        pixels = (rows @ pixels.reshape(len(pixels), -1)).reshape(rows.shape[0], *pixels.shape[1:])
        turned = pixels.transpose(1, 0, 2)
        pixels = (columns @ turned.reshape(len(turned), -1)).reshape(columns.shape[0], *turned.shape[1:])
        return np.rint(pixels).astype(np.uint8).transpose(1, 0, 2)


def window_ends(key: tuple[slice, slice], shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Start and stop of a window along each axis, within the picture. Raises IndexError for anything but two slices
    without steps."""
    if len(key) != 2 or any(part.step not in (None, 1) for part in key):
        raise IndexError(f"a window is picture[top:bottom, left:right], not {key}")
    return [part.indices(side)[:2] for part, side in zip(key, shape, strict=False)]


def _resampling(start: int, stop: int, scale: float, side: int) -> tuple[int, csr_array]:
    """Weights (stop - start, n) of n pixels of a side, from the first that is told on, for the scaled pixels [start,
    stop). Beyond the border its last pixel is repeated."""
    from scipy.sparse import csr_array  # every command would wait for it, and few scale windows

    numbers = np.arange(start, stop)[:, None]
    if scale < 1:
        low, high = numbers / scale, (numbers + 1) / scale
        pixels = np.floor(low).astype(int) + np.arange(math.ceil(1 / scale) + 1)
        weights = (np.minimum(high, pixels + 1) - np.maximum(low, pixels)).clip(min=0) * scale
    else:
        middle = (numbers + 0.5) / scale - 0.5
        pixels = np.floor(middle).astype(int) + np.arange(2)
        weights = 1 - np.abs(middle - pixels)
    pixels = pixels.clip(0, side - 1)
    first = int(pixels.min(initial=side))
    places = (numbers - start).repeat(pixels.shape[1], axis=1).ravel(), (pixels - first).ravel()
    shape = (len(numbers), int(pixels.max(initial=first)) - first + 1)
    return first, csr_array((weights.ravel().astype(np.float32), places), shape)
