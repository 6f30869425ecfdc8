"""A picture of which windows are read when asked for, by rasterio: one that is too large to be held, or that OpenCV
cannot read. It takes the place of an array where tiles are cut."""

from __future__ import annotations

import logging
import math
import os
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from datasets import tiff
from datasets.georeference import INSTALL
from datasets.images import ImageError, check_num_bands, read_image, wanted_bands
from datasets.layouts import sample_step, spread_of
from datasets.tiff_blocks import FOREIGN
from DOTA_devkit.reasons import first_line
from DOTA_devkit.tiling import scaled_size

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

LEAST_PIXELS = 1 << 26  # of a picture that is read in windows; three bytes each, it would take 192 MiB
CACHE = "256"  # MiB of decoded blocks that GDAL keeps, a process; left to itself it takes a part of all memory
STRIP = 512  # rows at once where the whole picture is looked at
# TIFF 6.0, section 3 ff.: grey with black as 0, RGB, and JPEG's own colours, which libtiff makes RGB.
_GREY, _RGB, _YCBCR = 1, 2, 6
_KINDS = {(8, 1), (16, 1), (16, 2), (32, 1), (32, 2), (32, 3), (64, 3)}  # bits of a value; its sample format

logging.getLogger("rasterio").addHandler(logging.NullHandler())  # what GDAL says stands in the error as well


def open_picture(
    path: Path, num_channels: int = 3, value_range: tuple[float, float] | None = None
) -> np.ndarray | PictureWindows:
    """A picture to cut tiles from, (H, W, num_channels) uint8, as `read_image` reads it: decoded, or, of a TIFF file of
    2^26 pixels and more and of one that only GDAL can read, in windows where rasterio is installed.

    Raises ImageError as `read_image` does.
    """
    is_for_windows = _is_for_windows(path)
    if is_for_windows and find_spec("rasterio") is not None:
        return PictureWindows(path, num_channels, value_range)
    try:
        return read_image(path, num_channels, value_range)
    except ImageError as error:
        raise ImageError(f"{error}; or read it as it is: {INSTALL}" if is_for_windows else str(error)) from error


class PictureWindows:
    """A picture file as an array (H, W, num_channels) uint8 of which `picture[top:bottom, left:right]` is read from the
    file. A process, also one that is forked, has a file handle of its own.

    Pixels are those of `read_image` (in JPEG's colours those at edges may differ a little); of deep pictures without
    `value_range` the whole file is gone through once for the percentiles. Parts that were never written (a sparse
    file) are no data, or 0.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path, num_channels: int = 3, value_range: tuple[float, float] | None = None) -> None:
        """Raises ImageError for what rasterio cannot read and for bands that `read_image` refuses, too."""
        self.path = path
        self._opened: tuple[int, DatasetReader] | None = None
        with _sentences(path):
            raster = self._raster()
        self.num_bands = raster.count  # of the file
        self._bands = _band_order(path, raster.count, num_channels)
        self._no_data: float | None = None if raster.dtypes[0] == "uint8" else raster.nodata
        self._num_channels = num_channels
        num_wanted = self._wanted(np.zeros((1, 1, len(self._bands)), raster.dtypes[0])).shape[2]
        self.shape = (raster.height, raster.width, num_channels)
        self._spread = None
        if raster.dtypes[0] != "uint8":
            self._spread = spread_of(self._samples(num_wanted, value_range), self._no_data, value_range)

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        """The pixels of the window, as far as it lies within the picture. Raises ImageError where they are damaged."""
        (top, bottom), (left, right) = (part.indices(side)[:2] for part, side in zip(key, self.shape, strict=False))
        return self._as_levels(self._read(top, left, max(0, bottom - top), max(0, right - left)))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}  # a handle does not travel to another process

    def overview(self, longest: int) -> tuple[np.ndarray, float]:
        """The whole picture, its longer side at most `longest` pixels, and by how much it is scaled."""
        from rasterio.enums import Resampling

        scale = min(1.0, longest / max(self.shape[:2]))
        size = tuple(max(1, round(side * scale)) for side in self.shape[:2])
        with _sentences(self.path):
            raw = self._raster().read(self._bands, out_shape=(len(self._bands), *size), resampling=Resampling.average)
        return self._as_levels(np.moveaxis(raw, 0, 2)), scale

    def _raster(self) -> DatasetReader:
        """The open file of this process."""
        if self._opened is None or self._opened[0] != os.getpid():
            os.environ.setdefault("GDAL_CACHEMAX", CACHE)
            import rasterio

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NotGeoreferencedWarning: who needs the place asks for it
                self._opened = os.getpid(), rasterio.open(self.path)
        return self._opened[1]

    def _read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Values (height, width, bands) as they are stored."""
        from rasterio.windows import Window

        with _sentences(self.path):
            raw = self._raster().read(self._bands, window=Window(left, top, width, height))
        return np.moveaxis(raw, 0, 2)

    def _wanted(self, raw: np.ndarray) -> np.ndarray:
        return wanted_bands(self.path, raw, self._num_channels, self._no_data)

    def _as_levels(self, raw: np.ndarray) -> np.ndarray:
        """Stored values (h, w, bands) -> pixels (h, w, num_channels) uint8."""
        bands = self._wanted(raw)
        if self._spread is not None:
            bands = self._spread(bands)
        missing = self._num_channels // bands.shape[2]
        return np.ascontiguousarray(bands if missing == 1 else np.repeat(bands, missing, axis=2))

    def _samples(self, num_wanted: int, value_range: tuple[float, float] | None) -> np.ndarray:
        """The values by which the picture is spread, the same as of the decoded picture; none where all is given."""
        height, width = self.shape[:2]
        if value_range is not None:
            return np.zeros((0, 0, num_wanted))
        step = sample_step((height, width, num_wanted))
        strips = []
        for top in range(0, height, STRIP):
            strip = self._wanted(self._read(top, 0, min(STRIP, height - top), width))
            strips.append(strip[-top % step :: step, ::step].copy())  # else the whole strip would be kept
        return np.concatenate(strips)


class ScaledWindows:
    """The picture scaled, of which windows are made when asked for, to within one level as of an array: below scale 1
    the mean of the area that a pixel covers, above it linear between the nearest pixels."""

    dtype = np.dtype(np.uint8)

    def __init__(self, picture: PictureWindows, scale: float) -> None:
        self._picture, self._scale = picture, scale
        self.shape = (*scaled_size(*picture.shape[:2], scale), picture.shape[2])

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        """As of `PictureWindows`."""
        (top, rows), (left, columns) = (
            _resampling(*part.indices(side)[:2], self._scale, source_side)
            for part, side, source_side in zip(key, self.shape[:2], self._picture.shape[:2], strict=True)
        )
        pixels = self._picture[top : top + rows.shape[1], left : left + columns.shape[1]].astype(np.float32)
        pixels = (rows @ pixels.reshape(len(pixels), -1)).reshape(rows.shape[0], *pixels.shape[1:])
        turned = pixels.transpose(1, 0, 2)
        pixels = (columns @ turned.reshape(len(turned), -1)).reshape(columns.shape[0], *turned.shape[1:])
        return np.ascontiguousarray(np.rint(pixels).astype(np.uint8).transpose(1, 0, 2))


def _is_for_windows(path: Path) -> bool:
    """Whether the file is a TIFF file that is large, or that OpenCV cannot read, and whose values are those that
    OpenCV would give: neither a palette nor white as 0. What else is wrong with it, reading will tell."""
    try:
        with path.open("rb") as file:
            if file.read(4) not in tiff.MAGIC:
                return False
            tags = tiff.read_tags(file)
    except (OSError, struct.error):
        return False
    height, width = (tiff.number(tags, tag, 0) for tag in (tiff.HEIGHT, tiff.WIDTH))
    if height * width < LEAST_PIXELS and not _is_foreign(tags):
        return False
    is_plain = tiff.number(tags, tiff.PHOTOMETRIC, _RGB) in (_GREY, _RGB, _YCBCR)
    kind = tiff.number(tags, tiff.BITS, 1), tiff.number(tags, tiff.SAMPLE_FORMAT, 1)
    return is_plain and kind in _KINDS


def _is_foreign(tags: Mapping[int, tiff.Field]) -> bool:
    """Whether GDAL alone can read it: by its compression, bands one after the other or of eight bits and not called
    colours, integers of 32 bits."""
    bits, num_bands = tiff.number(tags, tiff.BITS, 1), tiff.number(tags, tiff.BANDS, 1)
    is_planar = tiff.number(tags, tiff.PLANES, 1) == 2 and num_bands > 1
    has_grey_bands = bits == 8 and num_bands >= 3 and tiff.number(tags, tiff.PHOTOMETRIC, _RGB) == _GREY
    is_long = bits == 32 and tiff.number(tags, tiff.SAMPLE_FORMAT, 1) in (1, 2)
    return is_planar or has_grey_bands or is_long or tiff.number(tags, tiff.COMPRESSION, 1) in FOREIGN


def _band_order(path: Path, num_bands: int, num_channels: int) -> list[int]:
    """The numbers of the bands to read, from 1 on, blue before red."""
    check_num_bands(path, num_bands)
    if num_bands == 1:
        return [1]
    return [3, 2, 1] if num_bands == 3 or num_channels == 3 else [3, 2, 1, 4]


def _resampling(start: int, stop: int, scale: float, side: int) -> tuple[int, csr_array]:
    """Weights (stop - start, n) of n pixels of a side, from the first that is told on, for the scaled pixels [start,
    stop). Beyond the border its last pixel is repeated."""
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


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Errors of rasterio as ImageError, with what GDAL says behind them."""
    from rasterio.errors import RasterioError

    try:
        yield
    except RasterioError as error:
        raise ImageError(f"{path}: cannot be read ({first_line(error.__cause__ or error)}); copy it again") from error
