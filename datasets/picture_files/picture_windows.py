"""A picture of which windows are read when asked for, by rasterio: one that is too large to be held, or that OpenCV
cannot read. It takes the place of an array where tiles are cut."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from datasets.picture_files import tiff
from datasets.picture_files.images import (
    ImageError,
    as_channels,
    check_bands,
    check_fourth,
    check_num_bands,
    read_image,
    wanted_bands,
    without_transparent,
)
from datasets.picture_files.layouts import (
    BY_THE_FILE,
    MOST_IN_COLOURS,
    Reading,
    blue_first,
    colours_of,
    held_bands,
    is_mask,
    no_data_of,
    sample_step,
    spread_of,
)
from datasets.picture_files.rasters import open_raster, why_no_rasterio
from datasets.picture_files.scaled_windows import PIXELS_AT_ONCE, ScaledWindows, window_ends
from datasets.picture_files.tiff_blocks import FOREIGN, emptied
from DOTA_devkit.reasons import first_line

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

LEAST_PIXELS = 1 << 26  # of a picture that is read in windows; three bytes each, it would take 192 MiB
CACHE = 256 << 20  # bytes of decoded blocks that GDAL keeps, a process; left to itself it takes a part of all memory
ROWS_KEPT = 1536  # of a file whose blocks are as wide as the picture: else each tile of a row would decode it anew
# TIFF 6.0, section 3 ff.: grey with black as 0, RGB, and JPEG's own colours, which libtiff makes RGB.
_GREY, _RGB, _YCBCR = 1, 2, 6
_KINDS = {(8, 1), (16, 1), (16, 2), (32, 1), (32, 2), (32, 3), (64, 3)}  # bits of a value; its sample format


def open_picture(
    path: Path,
    num_channels: int = 3,
    reading: Reading = BY_THE_FILE,
    keeps_grey: bool = False,
) -> np.ndarray | PictureWindows:
    """A picture to cut tiles from, (H, W, num_channels) uint8, as `read_image` reads it: decoded, or, of a TIFF file of
    2^26 pixels and more and of one that only GDAL can read, in windows where rasterio is installed. With `keeps_grey`
    one of a single band that is read in windows has one channel instead of three.

    Raises ImageError as `read_image` does.
    """
    is_for_windows = _is_for_windows(path, reading.bands)
    why_not = why_no_rasterio() if is_for_windows else None
    if is_for_windows and why_not is None:
        return PictureWindows(path, num_channels, reading, keeps_grey)
    if why_not is not None and len(reading.bands or ()) > MOST_IN_COLOURS:
        raise ImageError(f"{path}: more than {MOST_IN_COLOURS} of its bands are to be read, by rasterio: {why_not}")
    try:
        return read_image(path, num_channels, reading)
    except ImageError as error:
        raise ImageError(f"{error}; or read it as it is: {why_not}" if why_not else str(error)) from error


def read_whole(path: Path, num_channels: int = 3, reading: Reading = BY_THE_FILE) -> np.ndarray:
    """A picture of which all is needed at once, (H, W, num_channels) uint8: also one that only GDAL can read, where
    rasterio is installed. Raises ImageError as `read_image` does."""
    picture = open_picture(path, num_channels, reading)
    return picture if isinstance(picture, np.ndarray) else picture[0 : picture.shape[0], 0 : picture.shape[1]]


class PictureWindows:
    """A picture file (H, W, num_channels) uint8 of which `picture[top:bottom, left:right]` is read from the file. A
    process, also one that is forked, has a file handle of its own.

    Pixels are those of `read_image` (in JPEG's colours those at edges may differ a little); of deep pictures without
    a range of values the whole file is gone through once for the percentiles. Parts that were never written (a sparse
    file) are no data, or 0. Damage is told of where GDAL sees it, and where a part begins or ends with zeros.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        path: Path,
        num_channels: int = 3,
        reading: Reading = BY_THE_FILE,
        keeps_grey: bool = False,
    ) -> None:
        """Raises ImageError for what rasterio cannot read and for bands that `read_image` refuses, too."""
        self.path = path
        self._opened: tuple[int, DatasetReader] | None = None
        facts = _look_at(path)
        if facts.fault is not None:
            raise ImageError(f"{path}: {facts.fault}")
        with _sentences(path):
            raster = self._raster()
        if reading.bands is None:
            check_num_bands(path, raster.count, are_named=facts.colours is not None)
            self._bands = _band_order(raster.count, num_channels, facts.colours)
        else:
            self._bands = blue_first(_places_of(path, reading.bands, raster.count, facts.held))
        self._num_channels = 1 if keeps_grey and raster.count == 1 and num_channels == 3 else num_channels
        self._cache = _cache_for(raster)
        self.shape = (raster.height, raster.width, self._num_channels)
        is_deep = raster.dtypes[0] != "uint8"
        self._no_data = facts.no_data if is_deep else None
        self._has_opacity = False
        num_wanted = self._wanted(np.zeros((1, 1, len(self._bands)), raster.dtypes[0])).shape[2]
        may_be_mask = num_channels == 4 and facts.has_opacity and reading.bands is None
        may_be_transparent = is_deep and facts.has_opacity and num_channels == 3 and reading.bands is None
        samples = np.zeros((0, 0, num_wanted))
        if may_be_transparent:
            samples = self._look_for_opacity(_band_order(raster.count, 4, facts.colours))
        elif may_be_mask or (is_deep and reading.value_range is None):
            samples = self._samples(num_wanted)
        if may_be_mask:
            check_fourth(path, samples[:, :, 3])
        self._spread = spread_of(samples, self._no_data, reading.value_range) if is_deep else None

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        """The pixels of the window, as far as it lies within the picture. Raises ImageError where they are damaged."""
        (top, bottom), (left, right) = window_ends(key, self.shape)
        if top >= bottom or left >= right:
            return np.zeros((max(0, bottom - top), max(0, right - left), self._num_channels), np.uint8)
        return self._as_levels(self._read(top, left, bottom - top, right - left))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}  # a handle does not travel to another process

    def overview(self, longest: int) -> tuple[np.ndarray, float]:
        """The whole picture, its longer side at most `longest` pixels, and by how much it is scaled."""
        height, width, _ = self.shape
        scale = min(1.0, longest / max(height, width))
        if scale == 1:
            return self[0:height, 0:width], 1.0
        scaled = ScaledWindows(self, scale)
        return scaled[0 : scaled.shape[0], 0 : scaled.shape[1]], scale

    def _raster(self) -> DatasetReader:
        """The open file of this process."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), open_raster(self.path)
        return self._opened[1]

    def _read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """Values (height, width, bands) as they are stored."""
        import rasterio
        from rasterio.windows import Window

        with _sentences(self.path), rasterio.Env(GDAL_CACHEMAX=self._cache):
            raw = self._raster().read(self._bands, window=Window(left, top, width, height))
        return np.moveaxis(raw, 0, 2)

    def _wanted(self, raw: np.ndarray) -> np.ndarray:
        if self._has_opacity:
            raw = without_transparent(raw, self._no_data)
        return wanted_bands(self.path, raw, self._num_channels, self._no_data)

    def _as_levels(self, raw: np.ndarray) -> np.ndarray:
        """Stored values (h, w, bands) -> pixels (h, w, num_channels) uint8."""
        bands = self._wanted(raw)
        if self._spread is not None:
            bands = self._spread(as_channels(bands, self._num_channels) if np.ndim(self._spread.low) else bands)
        return as_channels(bands, self._num_channels)

    def _look_for_opacity(self, bands: list[int]) -> np.ndarray:
        """The samples of colours, after a look at the band that the file calls opacity, the last of these."""
        colours, self._bands = self._bands, bands
        samples = self._samples(len(colours), is_raw=True)
        self._has_opacity = is_mask(samples[:, :, 3])
        if not self._has_opacity:  # near infrared, which GDAL calls so by default
            self._bands = colours
        return self._wanted(samples)

    def _samples(self, num_wanted: int, is_raw: bool = False) -> np.ndarray:
        """The values by which the picture is spread, the same as of the decoded picture; of all bands if `is_raw`."""
        height, width = self.shape[:2]
        step, num_rows = sample_step((height, width, num_wanted)), max(1, PIXELS_AT_ONCE // width)
        strips = []
        for top in range(0, height, num_rows):
            raw = self._read(top, 0, min(num_rows, height - top), width)
            part = raw[-top % step :: step, ::step]
            strips.append((part if is_raw else self._wanted(part)).copy())  # else all of it would be kept
        return np.concatenate(strips)


def _is_for_windows(path: Path, bands: tuple[int, ...] | None) -> bool:
    """Whether the file is a TIFF file that is large, or that OpenCV cannot read, and whose values are those that
    OpenCV would give: neither a palette nor white as 0. What else is wrong with it, reading will tell. `bands`: those
    that were chosen, if any."""
    try:
        str(path.absolute()).encode()  # as GDAL takes it
        with path.open("rb") as file:
            if file.read(4) not in tiff.MAGIC:
                return False
            tags = tiff.read_tags(file)
            colours, _ = colours_of(file, tags)
    except (OSError, UnicodeEncodeError, struct.error):
        return False
    height, width = (tiff.number(tags, tag, 0) for tag in (tiff.HEIGHT, tiff.WIDTH))
    num_bands, are_known = tiff.number(tags, tiff.BANDS, 1), colours is not None or bands is not None
    has_others = num_bands not in (1, 3, 4) and are_known  # than OpenCV reads
    if height * width < LEAST_PIXELS and not has_others and not _is_foreign(tags):
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


class _Facts(NamedTuple):
    """Of a TIFF file, at a glance: what is wrong with its parts, and what it says of no data and of its bands, as
    `Layout` and `held_bands` have it."""

    fault: str | None = None
    no_data: float | None = None
    colours: tuple[int, ...] | None = None
    has_opacity: bool = False
    held: tuple[int, ...] | None = None


def _look_at(path: Path) -> _Facts:
    try:
        with path.open("rb") as file:
            tags = tiff.read_tags(file)
            return _Facts(emptied(file, tags), no_data_of(tags), *colours_of(file, tags), held_bands(file, tags))
    except (OSError, struct.error):
        return _Facts()  # opening will tell


def _places_of(path: Path, bands: tuple[int, ...], num_bands: int, held: tuple[int, ...] | None) -> tuple[int, ...]:
    """Where chosen bands stand in a file, from 1 on: in a tile, which holds some of its picture's, elsewhere than in
    that. Raises ImageError for those that it has not."""
    if held is None:
        check_bands(path, num_bands, bands)
        return bands
    if not {*bands} <= {*held}:
        said, chosen = (" ".join(map(str, numbers)) for numbers in (held, bands))
        remedy = "choose among these, or cut the tiles anew"
        raise ImageError(f"{path}: is a tile of the bands {said}, and the bands {chosen} are to be read; {remedy}")
    return tuple(held.index(band) + 1 for band in bands)


def _band_order(num_bands: int, num_channels: int, colours: tuple[int, ...] | None) -> list[int]:
    """The numbers of the bands to read, from 1 on, blue before red."""
    if num_bands == 1:
        return [1]
    return blue_first([band + 1 for band in colours or range(num_bands)])[: 3 if num_channels == 3 else 4]


def _cache_for(raster: DatasetReader) -> int:
    """Bytes of decoded blocks to keep: where they are as wide as the picture, the rows of a tile and its scales."""
    if raster.block_shapes[0][1] < raster.width:
        return CACHE
    row = raster.width * sum(np.dtype(kind).itemsize for kind in raster.dtypes)
    return max(CACHE, ROWS_KEPT * row)


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Errors of rasterio as ImageError, with what GDAL says behind them."""
    from rasterio.errors import RasterioError

    try:
        yield
    except RasterioError as error:
        reason = first_line(error.__cause__ or error)
        is_unknown = "codec" in reason  # GDAL of the wheels was built without it
        remedy = "write it anew with gdal_translate -co COMPRESS=DEFLATE" if is_unknown else "copy it again"
        raise ImageError(f"{path}: cannot be read ({reason}); {remedy}") from error
