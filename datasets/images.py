"""Picture files: find them, decode them whole or refuse them with a sentence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = frozenset({".bmp", ".jp2", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


class ImageError(ValueError):
    """A picture that is missing, damaged or not a picture; the message names the file."""


def find_images(folder: Path) -> dict[str, Path]:
    """Pictures directly in `folder`, any known suffix in any case, sorted: {name without suffix: path}.

    Raises ImageError when the folder is missing, or when two pictures differ in their suffix only: labels and result
    lines name a picture without its suffix, so the two could not be told apart.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder of pictures")
    images: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file() or path.name.startswith("."):
            continue
        if path.stem in images:
            raise ImageError(f"{path}: same name as {images[path.stem].name} but for the suffix; rename one of them")
        images[path.stem] = path
    return images


def read_image(path: Path) -> np.ndarray:
    """Decode a picture to (H, W, 3) uint8 BGR, its pixels as stored (an EXIF rotation is not applied).

    Read through memory, so that paths in any script work on every system. Raises ImageError for a missing, empty,
    truncated or foreign file: `cv2.imread` fills the missing part of a truncated JPEG with grey and says nothing.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not data:
        raise ImageError(f"{path}: the file is empty; copy it again")
    if _is_truncated(data):
        raise ImageError(f"{path}: the file is cut off before its end; copy it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError(f"{path}: cannot be decoded ({error.err or error})") from error
    if image is None:
        raise ImageError(f"{path}: cannot be decoded as a picture; is it damaged or of another format?")
    return image


def _is_truncated(data: bytes) -> bool:
    """Whether a JPEG, PNG, BMP or WebP file ends before its format says that it does."""
    if data.startswith(b"\xff\xd8\xff"):
        # Entropy-coded bytes never hold a marker: an end-of-image there is the real one, whatever is appended to it.
        return data.find(b"\xff\xd9", _jpeg_scan(data)) < 0
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND" not in data
    if data.startswith(b"BM") and len(data) >= 6:
        return len(data) < int.from_bytes(data[2:6], "little")
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    return False


def _jpeg_scan(data: bytes) -> int:
    """Where a JPEG's scans start. The segments before are passed over by their lengths: thumbnails have ends, too."""
    place = 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        is_filled = data[place + 1 : place + 2] == b"\xff"  # any number of these may stand before a marker
        place += 1 if is_filled else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return place
