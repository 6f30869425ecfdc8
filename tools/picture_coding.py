"""Pixels as the bytes of a picture file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from datasets.picture_files.layouts import HELD_BANDS, MOST_IN_COLOURS
from DOTA_devkit.atomic import atomic_write

JPEG_QUALITY = 95  # of what is trained on or looked at again


def encoded(path: Path, pixels: np.ndarray) -> bytes:
    """Pixels (H, W, c) uint8, BGR, as the file that the suffix of `path` asks for. Raises OSError, naming it, where
    they cannot be coded so."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix == ".jpg" else []
    done, data = cv2.imencode(path.suffix, pixels, options)
    if not done:
        height, width = pixels.shape[:2]
        raise OSError(f"{path}: a picture of {width} x {height} cannot be coded as {path.suffix}")
    return data.tobytes()


def encoded_bands(pixels: np.ndarray, bands: Sequence[int]) -> bytes:
    """Pixels (H, W, c) uint8 of more than four channels, blue first, as a TIFF file, red first, which says that they
    are these bands of a picture. rasterio must be there."""
    from rasterio.io import MemoryFile

    height, width, count = pixels.shape
    shape = {"height": height, "width": width, "count": count, "dtype": "uint8"}
    how = {"photometric": "RGB", "interleave": "pixel", "compress": "deflate", "predictor": 2, "num_threads": "1"}
    with MemoryFile() as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NotGeoreferencedWarning: the index tells where a tile lies
        with memory.open(driver="GTiff", **shape, **how) as file:
            file.write(np.moveaxis(pixels[:, :, [2, 1, 0, *range(3, count)]], 2, 0))
            file.update_tags(**{HELD_BANDS: " ".join(map(str, bands))})
            file.descriptions = [f"band {band}" for band in bands]  # as QGIS shows it
        return bytes(memory.getbuffer())


def write_pixels(path: Path, pixels: np.ndarray, bands: Sequence[int] | None = None) -> int:
    """Write them, whole or not at all, without waiting for the disk; returns the number of bytes. Of more than four
    channels `bands` says which they are. Raises OSError."""
    data = encoded(path, pixels) if bands is None or len(bands) <= MOST_IN_COLOURS else encoded_bands(pixels, bands)
    with atomic_write(path, "wb", sync=False) as file:
        file.write(data)
    return len(data)
