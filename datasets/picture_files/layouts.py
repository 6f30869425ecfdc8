"""How a picture file stores its values, by its header; and values of more than eight bits as grey levels."""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import IO, NamedTuple

import numpy as np

from datasets.picture_files import tiff

SPREAD = (0.5, 99.5)  # percentiles of a deep picture that become black and white
MOST_SAMPLES = 1_000_000  # values by which the percentiles are estimated
MOST_IN_COLOURS = 4  # bands that OpenCV reads, and a PNG holds
HELD_BANDS = "BBAVECTORS_BANDS"  # GDAL's metadata of a tile of many bands: their numbers in the picture, from 1 on
BEYOND = 1e30  # of what is no data in files that do not say so: the least float32, and its like


class Reading(NamedTuple):
    """What one may choose of how a file's values become pixels, the same for all pictures of a network.

    value_range: in files of more than eight bits, the values of black and white, or such a pair for each channel, red
    before blue, as `bands` are; None: each file's own percentiles, of all bands together.
    bands: of TIFF files, the numbers of those that are read, from 1 on, as many as there are channels, in the order
    red, green, blue and others (as GDAL counts them); None: those that the file calls so, else the first. Other
    kinds of files hold colours in an order of their own.
    """

    value_range: tuple[float, ...] | None = None
    bands: tuple[int, ...] | None = None

    def num_channels(self, asked: int | None) -> int | None:
        """So many channels as are asked for, else as there are chosen bands; None where neither tells."""
        return asked or len(self.bands or ()) or None


BY_THE_FILE = Reading()


class Layout(NamedTuple):
    """How a file stores its values; what is not known has the usual value, and decoding will tell.

    bits of a value; number of bands; whether these are stored one after the other; whether the file says that its three
    or more bands are grey ones; the value that stands for no data, if the file tells; `colours`: which bands, from 0
    on, are red, green, blue and the other one, if any, where the file names them and has more than four or another
    order; whether it calls that other one opacity; `corrections`: bytes of the file, by their place, to be taken for
    others so that OpenCV gives the values as they are stored.
    """

    bits: int = 8
    num_bands: int = 3
    is_planar: bool = False
    has_grey_bands: bool = False
    no_data: float | None = None
    colours: tuple[int, ...] | None = None
    has_opacity: bool = False
    corrections: Mapping[int, int] = MappingProxyType({})

    @property
    def is_usual(self) -> bool:
        """Whether eight bits a value, in bands that are called colours, are all there is to it."""
        return self.bits <= 8 and not self.has_grey_bands and self.colours is None


def read_layout(data: bytes) -> Layout:
    """The layout of a PNG, TIFF or JPEG 2000 file; of any other the usual one."""
    try:
        if data.startswith(b"\x89PNG"):
            return Layout(bits=data[24])
        if data.startswith(tiff.MAGIC):
            return _tiff_layout(io.BytesIO(data))
        place = data.find(b"ihdr", 0, 256)  # the image header of JPEG 2000 (ISO 15444-1, annex I.5.3.1)
        if place >= 0:
            num_bands, bits = struct.unpack_from(">HB", data, place + 12)
            return Layout((bits & 0x7F) + 1, num_bands)
    except (IndexError, struct.error):  # cut off
        return Layout()
    return Layout()


class Spread(NamedTuple):
    """Which values become black and white, in all bands or (bands,) in each, and which stands for no data."""

    low: float | np.ndarray
    high: float | np.ndarray
    no_data: float | None

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """Values (H, W) or (H, W, bands) as grey levels, uint8; no data are black."""
        pixels = raw.reshape(len(raw), raw.shape[1], -1)
        extent = np.subtract(self.high, self.low)
        factor = np.where(extent > 0, 255 / np.where(extent > 0, extent, 1.0), 0.0)
        image = np.empty(pixels.shape, np.uint8)
        for row in range(0, len(image), 512):  # in strips, so that not the whole picture is held in floating point
            strip = pixels[row : row + 512]
            with np.errstate(over="ignore"):  # integers of 32 bits have more digits than a float of as many
                values = strip.astype(np.float64 if strip.dtype.kind in "iu" and strip.itemsize > 2 else np.float32)
            # Of more bands than are looked at the first, which are the colours.
            low, gain = (np.atleast_1d(part)[: pixels.shape[2]].astype(values.dtype) for part in (self.low, factor))
            np.copyto(values, low, where=~(np.abs(values) < BEYOND))
            grey = np.rint(np.clip((values - low) * gain, 0, 255)).astype(np.uint8)
            grey[_is_empty(strip, self.no_data)] = 0
            image[row : row + 512] = grey
        return image.reshape(raw.shape)


def spread_values(
    raw: np.ndarray, no_data: float | None = None, value_range: tuple[float, ...] | None = None
) -> np.ndarray:
    """Values of any kind (H, W) or (H, W, bands) as uint8: spread linearly, all bands alike, so that the two of
    `value_range`, or the 0.5th and the 99.5th percentile of the data, become black and white; or each band by a pair of
    its own in `value_range` (bands are blue first then, and pairs red first, as `Reading` has them).

    No data, and black, is a pixel that is `no_data` in every band (where the file does not tell, 0, unless there are
    values below, or a range is given), and a value that is not a number or beyond 1e30.
    """
    pixels = raw.reshape(len(raw), raw.shape[1], -1)
    step = sample_step(pixels.shape)
    return spread_of(pixels[::step, ::step], no_data, value_range)(raw)


def sample_step(shape: tuple[int, int, int]) -> int:
    """Every how many pixels, either way, a picture (H, W, bands) is looked at for its percentiles."""
    return max(1, int(math.sqrt(math.prod(shape) / MOST_SAMPLES)))


def spread_of(samples: np.ndarray, no_data: float | None, value_range: tuple[float, ...] | None) -> Spread:
    """How values are spread, by samples (h, w, bands) of them; see `spread_values`."""
    if value_range is not None and len(value_range) > 2:
        pairs = np.array(value_range).reshape(-1, 2)[blue_first(range(len(value_range) // 2))]
        return Spread(*pairs.T, no_data)
    if no_data is None and value_range is None and not ((samples < 0) & (samples > -BEYOND)).any():
        no_data = 0.0  # by a range a value is the same grey in every picture, 0, too
    return Spread(*(value_range or _percentiles(samples, no_data)), no_data)


def _percentiles(samples: np.ndarray, no_data: float | None) -> tuple[float, float]:
    samples = samples[~_is_empty(samples, no_data)].astype(np.float64)
    samples = samples[np.abs(samples) < BEYOND]
    low, high = np.percentile(samples, SPREAD) if samples.size else (0.0, 1.0)
    return float(low), float(high)


def _is_empty(pixels: np.ndarray, no_data: float | None) -> np.ndarray:
    """Which of the pixels (h, w, bands) hold no data, (h, w) bool."""
    if no_data is None:
        return np.zeros(pixels.shape[:2], bool)
    if pixels.dtype.kind == "f":
        with np.errstate(over="ignore"):
            no_data = np.float64(no_data).astype(pixels.dtype)
    return (pixels == no_data).all(axis=2)


def _tiff_layout(file: IO[bytes]) -> Layout:
    """The layout of a TIFF file, by its first directory (TIFF 6.0, section 8)."""
    tags, corrections = tiff.read_tags(file), {}
    num_bands = tiff.number(tags, tiff.BANDS, 1)
    has_grey_bands = num_bands >= 3 and tiff.number(tags, tiff.PHOTOMETRIC, 2) <= 1
    if has_grey_bands:
        corrections[tags[tiff.PHOTOMETRIC].place] = 2  # red, green, blue; of several grey bands OpenCV reads one
    if tiff.OPACITY in tags and (tags[tiff.OPACITY].count, tiff.number(tags, tiff.OPACITY, 0)) == (1, 2):
        # Of colours that it is in already; else libtiff would darken them by it.
        corrections[tags[tiff.OPACITY].place] = 1
    if tiff.number(tags, tiff.ORIENTATION, 1) != 1:
        corrections[tags[tiff.ORIENTATION].place] = 1  # OpenCV turns a TIFF also where it is told not to
    return Layout(
        tiff.number(tags, tiff.BITS, 1),
        num_bands,
        tiff.number(tags, tiff.PLANES, 1) == 2,
        has_grey_bands,
        no_data_of(tags),
        *colours_of(file, tags),
        corrections,
    )


def colours_of(file: IO[bytes], tags: Mapping[int, tiff.Field]) -> tuple[tuple[int, ...] | None, bool]:
    """`colours` and `has_opacity` of a TIFF file, by what GDAL wrote of its bands (PlanetScope's are blue, green, red,
    near infrared), else by TIFF's own tag. Of several other bands one that is called near infrared is taken, else the
    first."""
    num_bands = tiff.number(tags, tiff.BANDS, 1)
    said = tiff.text(file, tags[tiff.GDAL_METADATA]) if tiff.GDAL_METADATA in tags else ""
    is_rgb = num_bands >= 3 and tiff.number(tags, tiff.PHOTOMETRIC, 1) in (2, 6)  # RGB, and JPEG's own colours
    usual = dict(enumerate(("red", "green", "blue"))) if is_rgb else {}
    if num_bands == 4 and tiff.number(tags, tiff.OPACITY, 0) in (1, 2):
        usual[3] = "alpha"
    names: dict[int, str] = {}
    for attributes, name in re.findall(r"<Item\s([^<>]*)>([^<]*)</Item>", said):
        number = re.search(r'\bsample="(\d{1,4})"', attributes)
        if number and re.search(r'\brole="colorinterp"', attributes):
            names[int(number[1])] = name.strip().lower()
    names |= {band: name for band, name in usual.items() if band not in names and name not in names.values()}
    of_colour = [[band for band, name in names.items() if name == colour] for colour in ("red", "green", "blue")]
    if any(len(bands) != 1 or bands[0] >= num_bands for bands in of_colour):  # it does not tell
        return None, num_bands == 4 and names.get(3) == "alpha"
    colours = tuple(bands[0] for bands in of_colour)
    wanted = sorted({*range(num_bands)} - {*colours}, key=lambda band: (names.get(band) == "alpha", band))
    others = sorted(wanted, key=lambda band: names.get(band) != "nir")[:1]
    colours = (*colours, *others)
    has_opacity = [names.get(band) for band in others] == ["alpha"]
    is_usual = num_bands <= 4 and colours == (0, 1, 2, 3)[:num_bands]
    return None if is_usual else colours, has_opacity


def held_bands(file: IO[bytes], tags: Mapping[int, tiff.Field]) -> tuple[int, ...] | None:
    """Which bands of a picture a TIFF file holds, one after another, as a tile of many says it; None elsewhere."""
    said = tiff.text(file, tags[tiff.GDAL_METADATA]) if tiff.GDAL_METADATA in tags else ""
    found = re.search(rf'<Item name="{HELD_BANDS}">([\d ]{{1,4000}})</Item>', said)
    held = tuple(map(int, found[1].split())) if found else ()
    return held if len(held) == tiff.number(tags, tiff.BANDS, 1) else None


def blue_first(bands: Sequence[int]) -> list[int]:
    """Bands in the order red, green, blue and others as pixels have them; of a single one, that."""
    red, *others = bands
    return [red] if not others else [others[1], others[0], red, *others[2:]]


def is_mask(values: np.ndarray) -> bool:
    """Whether there is nothing but 0 and the greatest number, or the 1 of floating point: where pixels are."""
    greatest = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    return bool(((values == 0) | (values == greatest)).all())


def no_data_of(tags: Mapping[int, tiff.Field]) -> float | None:
    """What GDAL wrote of the value that stands for no data, also one that the file's values cannot be."""
    text = tags[tiff.GDAL_NO_DATA].value if tiff.GDAL_NO_DATA in tags else b""
    if isinstance(text, bytes):
        with suppress(ValueError):
            return float(text.split(b"\0")[0].decode("ascii", "replace"))
    return None
