"""Picture files: decode them whole, or refuse them with a sentence (in folders: image_folders.py)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from datasets.picture_files import tiff
from datasets.picture_files.layouts import (
    BY_THE_FILE,
    Layout,
    Reading,
    blue_first,
    is_mask,
    read_layout,
    spread_values,
)
from datasets.picture_files.tiff_blocks import damage, unreadable

# Else a line for each tag of a GeoTIFF and for each damaged picture, of which we tell in words of our own.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_FATAL)

IMAGE_SUFFIXES = frozenset({".bmp", ".jp2", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


class ImageError(ValueError):
    """A picture that is missing, damaged or not a picture; the message names the file."""


def read_image(path: Path, num_channels: int = 3, reading: Reading = BY_THE_FILE) -> np.ndarray:
    """Decode a picture to (H, W, num_channels) uint8, its pixels as stored (an EXIF rotation is not applied).

    Three channels are BGR, whatever the picture has: grey is repeated, a fourth band (alpha, near infrared) left out.
    Bands are red, green, blue and another one, unless a TIFF file says which is which (as GDAL writes it), or `reading`
    does. One channel is a grey picture's, and the brightness of one of colours; four are BGR and the fourth band.
    8 bits are taken as they are; 16 bits and floating point are spread from black to white (`spread_values`), by the
    picture's own percentiles or the same in all, as `reading` says; what a TIFF file calls transparent is no data
    there. Read through memory, so that paths in any script work on every system.

    Raises ImageError for a missing, empty, truncated or foreign file (`cv2.imread` fills the missing part of a
    truncated JPEG with grey and says nothing), for one whose bands cannot be read as colours: two, more than four, or
    stored one after the other; of one channel, for a TIFF of four bands, and of four, for one of another number.
    """
    data = _whole_bytes(path)
    layout = _readable_layout(path, data, num_channels, reading)
    is_colour = num_channels == 3 and layout.is_usual
    image = _decoded(path, data, layout, cv2.IMREAD_COLOR if is_colour else cv2.IMREAD_UNCHANGED)
    if is_colour:
        return image
    bands = image.reshape(*image.shape[:2], -1)
    is_palette = layout.num_bands == 1 < bands.shape[2]
    if layout.colours is not None and not is_palette:
        places = (0,) if layout.num_bands == 1 else (2, 1, 0, 3)  # where OpenCV has put them
        bands = bands[:, :, [places[band] for band in blue_first(layout.colours)]]
    if layout.has_opacity and num_channels == 4:
        check_fourth(path, bands[:, :, 3])
    if layout.has_opacity and num_channels == 3 and bands.dtype != np.uint8 and is_mask(bands[:, :, 3]):
        bands = without_transparent(bands, layout.no_data)
    if num_channels == 1 and bands.shape[2] == 4 and data.startswith((b"\x89PNG", b"RIFF")):
        bands = bands[:, :, :3]  # the fourth of a PNG or WebP file is opacity, or what tiles of ours keep there
    bands = wanted_bands(path, bands, num_channels, layout.no_data)
    if bands.dtype != np.uint8:
        if reading.value_range is not None and len(reading.value_range) > 2:
            bands = as_channels(bands, num_channels)  # a grey picture, too, by the pair of each channel
        bands = spread_values(bands, layout.no_data, reading.value_range)
    return as_channels(bands, num_channels)


def _whole_bytes(path: Path) -> bytes:
    """The file. Raises ImageError where it is missing, empty or cut off."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not data:
        raise ImageError(f"{path}: the file is empty; copy it again")
    if _is_truncated(data):
        raise ImageError(f"{path}: the file is cut off before its end; copy it again")
    return data


def _readable_layout(path: Path, data: bytes, num_channels: int, reading: Reading) -> Layout:
    """How the file stores its values, with the bands that were chosen. Raises ImageError where OpenCV cannot read
    them as colours."""
    layout = read_layout(data)
    if reading.bands is not None and data.startswith(tiff.MAGIC):
        check_bands(path, layout.num_bands, reading.bands)
        layout = layout._replace(colours=tuple(band - 1 for band in reading.bands), has_opacity=False)
    if layout.num_bands not in (1, 3, 4) and layout.colours is not None:
        wanted = " ".join(f"-b {band + 1}" for band in layout.colours[:num_channels])
        raise ImageError(
            f"{path}: has {layout.num_bands} bands, of which only GDAL can read some; write them into a file of their "
            f"own: gdal_translate {wanted}"
        )
    check_num_bands(path, layout.num_bands)
    if layout.is_planar and layout.num_bands > 1:
        remedy = "write them pixel by pixel, for instance with gdal_translate -co INTERLEAVE=PIXEL"
        raise ImageError(f"{path}: its bands are stored one after the other, which cannot be read whole; {remedy}")
    return layout


def _decoded(path: Path, data: bytes, layout: Layout, flags: int) -> np.ndarray:
    """The picture as OpenCV decodes it. Raises ImageError for one that is damaged, too large or of another kind."""
    values = np.frombuffer(data, np.uint8)
    if layout.corrections:
        values = values.copy()
        values[list(layout.corrections)] = list(layout.corrections.values())
    try:
        image = cv2.imdecode(values, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" in str(error):
            remedy = (
                "cut it with gdal_translate -srcwin, or set OPENCV_IO_MAX_IMAGE_PIXELS to more (TIFF files in grey or "
                "RGB are read in windows where they are cut into tiles, by --tile and python -m tools.split_tiles)"
            )
            raise ImageError(
                f"{path}: its header tells of more than 2^30 pixels, the most that OpenCV reads; {remedy}"
            ) from error
        image = None
    fault = unreadable(data) if image is None else _damage(path, data)
    if fault is not None:
        raise ImageError(f"{path}: {fault}")
    if image is None and layout.has_grey_bands:
        order = "".join(
            f"-b {band + 1} " for band in layout.colours or ()
        )  # else the copy has the old one without names
        remedy = f"write them anew with gdal_translate {order}-co PHOTOMETRIC=RGB"
        raise ImageError(f"{path}: cannot be decoded, its bands are not called colours; {remedy}")
    if image is None:
        raise ImageError(f"{path}: cannot be decoded as a picture; is it damaged or of another format?")
    return image


def check_bands(path: Path, num_bands: int, bands: Sequence[int]) -> None:
    """Raises ImageError where chosen bands, numbers from 1 on, are more than a file has."""
    if max(bands) > num_bands:
        has = "one band" if num_bands == 1 else f"{num_bands} bands"
        raise ImageError(
            f"{path}: has {has}, and the bands {' '.join(map(str, bands))} are to be read, by --bands or because the "
            "network was trained on these; leave this picture out, or choose others in training"
        )


def _damage(path: Path, data: bytes) -> str | None:
    """`damage`, of each file once: it takes as long as decoding, and a training reads it again in every epoch."""
    try:
        status = path.stat()
    except OSError:  # gone since it was read
        return damage(data)
    key = (str(path), status.st_size, status.st_mtime_ns)
    if key in _sound:
        return None
    fault = damage(data)
    if fault is None:
        _sound.add(key)
    return fault


_sound: set[tuple[str, int, int]] = set()


def wanted_bands(path: Path, bands: np.ndarray, num_channels: int, no_data: float | None) -> np.ndarray:
    """Of the bands (H, W, n) of a picture, colours as blue, green, red, those that so many channels are made of: for
    three the colours, or one that is grey; for one the grey, or the brightness; for four all four. Raises ImageError
    where there are others."""
    if num_channels == 3:
        return bands[:, :, : 3 if bands.shape[2] >= 3 else 1]
    if num_channels == 1 and bands.shape[2] == 3:
        is_grey = (bands == bands[:, :, :1]).all()
        bands = bands[:, :, :1] if is_grey else brightness(bands, no_data)
    if bands.shape[2] != num_channels:
        raise ImageError(
            f"{path}: has {bands.shape[2]} {'band' if bands.shape[2] == 1 else 'bands'}, and the network reads "
            f"{num_channels} (--in_channels); leave this picture out, or train with --in_channels 3, which reads any"
        )
    return bands


def without_transparent(bands: np.ndarray, no_data: float | None) -> np.ndarray:
    """The colours of bands (H, W, 4) of more than eight bits, the last of which is opacity: no data where that is 0.
    What stands there, such as the greatest number, would decide what is black and white."""
    colours = bands[:, :, :3].copy()
    if no_data is None:  # as `spread_of` takes it
        no_data = np.nan if colours.dtype.kind == "f" else 0
    colours[bands[:, :, 3] == 0] = no_data
    return colours


def as_channels(bands: np.ndarray, num_channels: int) -> np.ndarray:
    """Bands (H, W, n) as so many channels: a single one is repeated."""
    return np.ascontiguousarray(bands if bands.shape[2] == num_channels else np.repeat(bands, num_channels, axis=2))


def brightness(colours: np.ndarray, no_data: float | None = None) -> np.ndarray:
    """Colours (H, W, 3) in the order blue, green, red as (H, W, 1) of the same kind (ITU-R BT.601, as OpenCV's); what
    is no data in every band stays that."""
    if colours.dtype == np.uint8:
        return cv2.cvtColor(colours, cv2.COLOR_BGR2GRAY)[:, :, None]
    grey = colours @ np.array([0.114, 0.587, 0.299])
    grey = (np.rint(grey) if np.issubdtype(colours.dtype, np.integer) else grey).astype(colours.dtype)
    if no_data is not None:
        grey[(colours == no_data).all(axis=2)] = no_data
    return grey[:, :, None]


def check_num_bands(path: Path, num_bands: int, *, are_named: bool = False) -> None:
    """Raises ImageError for a number of bands of which it is not known which are the colours."""
    if num_bands not in (1, 3, 4) and not are_named:
        which = [1] if num_bands == 2 else [1, 2, 3]
        more = " (or 1 1 2, both)" if num_bands == 2 else ""
        remedy = f"choose with --bands {' '.join(map(str, which))}{more}, or write them into a file of their own: "
        remedy += f"gdal_translate {' '.join(f'-b {band}' for band in which)}"
        raise ImageError(f"{path}: has {num_bands} bands; pictures of 1, 3 and 4 can be read; {remedy}")


def check_fourth(path: Path, values: np.ndarray) -> None:
    """Raises ImageError where a band that the file calls opacity is that, and no near infrared."""
    if is_mask(values):
        remedy = "leave this picture out, or train with --in_channels 3"
        raise ImageError(
            f"{path}: the band beside its colours says where pixels are (opacity, alpha), and shows nothing; {remedy}"
        )


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
