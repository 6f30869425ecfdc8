"""Which pixels of a raster hold data: the rest lies outside of what was flown, as its no-data value, opacity or mask
says (rasterio's dataset mask)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from datasets.picture_files.rasters import open_raster

LONGEST_SIDE = 8192  # of the mask, pixels; of larger pictures every so manieth pixel is looked at


class ValidPixels(NamedTuple):
    """mask (h, w) uint8: 1 where there are data. scale: pixels of the mask for one of the picture, x and y."""

    mask: np.ndarray
    scale: np.ndarray

    def share(self, outline: np.ndarray) -> float:
        """Which part of the pixels of an outline (P, 2), in pixels of the picture, hold data; 1 where it lies outside
        of the picture."""
        points = np.asarray(outline, np.float64) * self.scale
        low = np.floor(points.min(axis=0)).astype(int).clip(0)
        high = np.ceil(points.max(axis=0)).astype(int).clip(None, self.mask.shape[::-1])
        if (low >= high).any():
            return 1.0
        inside = np.zeros((high - low)[::-1], np.uint8)
        # Half a pixel to the left and up: OpenCV's whole numbers are the middles of pixels.
        cv2.fillPoly(inside, [np.rint((points - low - 0.5) * 16).astype(np.int32)], 1, shift=4)
        there = self.mask[low[1] : high[1], low[0] : high[0]][inside == 1]
        return float(there.mean()) if there.size else 1.0


def read_valid_pixels(path: Path) -> ValidPixels | None:
    """The pixels with data of a raster; None where all have some, by what the file says of them. Raises rasterio's
    RasterioError."""
    from rasterio.enums import MaskFlags

    with open_raster(path) as raster:
        if all(flags == [MaskFlags.all_valid] for flags in raster.mask_flag_enums):
            return None
        step = max(1.0, max(raster.shape) / LONGEST_SIDE)
        height, width = (max(1, round(side / step)) for side in raster.shape)
        mask = raster.dataset_mask(out_shape=(height, width))
        scale = np.array([width / raster.width, height / raster.height])
    return ValidPixels((mask > 0).astype(np.uint8), scale)
