"""Pixels as the bytes of a picture file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

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


def write_pixels(path: Path, pixels: np.ndarray) -> int:
    """Write them, whole or not at all, without waiting for the disk; returns the number of bytes. Raises OSError."""
    data = encoded(path, pixels)
    with atomic_write(path, "wb", sync=False) as file:
        file.write(data)
    return len(data)
