"""How a picture file stores its values, by its header; and values of more than eight bits as grey levels."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

SPREAD = (0.5, 99.5)  # percentiles of a deep picture that become black and white
MOST_SAMPLES = 1_000_000  # values by which the percentiles are estimated


class Layout(NamedTuple):
    """How a file stores its values; what is not known has the usual value, and decoding will tell.

    bits of a value; number of bands; whether these are stored one after the other; where the file says that its three
    or more bands are grey ones, and where that its fourth is an opacity (a byte's place; None if it does not).
    """

    bits: int = 8
    num_bands: int = 3
    is_planar: bool = False
    grey_mark: int | None = None
    opacity_mark: int | None = None

    @property
    def is_usual(self) -> bool:
        """Whether eight bits a value, in bands that are called colours, are all there is to it."""
        return self.bits <= 8 and self.grey_mark is None


def read_layout(data: bytes) -> Layout:
    """The layout of a PNG, TIFF or JPEG 2000 file; of any other the usual one."""
    try:
        if data.startswith(b"\x89PNG"):
            return Layout(bits=data[24])
        if data.startswith((b"II*\0", b"MM\0*")):
            return _tiff_layout(data, "<" if data.startswith(b"II") else ">")
        place = data.find(b"ihdr", 0, 256)  # the image header of JPEG 2000 (ISO 15444-1, annex I.5.3.1)
        if place >= 0:
            num_bands, bits = struct.unpack_from(">HB", data, place + 12)
            return Layout((bits & 0x7F) + 1, num_bands)
    except (IndexError, struct.error):  # cut off
        return Layout()
    return Layout()


def spread_values(raw: np.ndarray) -> np.ndarray:
    """Values of any kind (H, W) or (H, W, bands) as uint8: spread linearly, all bands alike, so that the 0.5th and the
    99.5th percentile of what is not 0 in every band (no data) become black and white."""
    pixels = raw.reshape(len(raw), raw.shape[1], -1)
    step = max(1, int(np.sqrt(pixels.size / MOST_SAMPLES)))
    samples = pixels[::step, ::step].astype(np.float64)
    samples = samples[samples.any(axis=2)]
    samples = samples[np.isfinite(samples)]
    low, high = np.percentile(samples, SPREAD) if samples.size else (0.0, 1.0)
    factor = 255 / (high - low) if high > low else 0.0
    image = np.empty(pixels.shape, np.uint8)
    for row in range(0, len(image), 512):  # in strips, so that not the whole picture is held in floating point
        strip = np.nan_to_num(pixels[row : row + 512].astype(np.float32), nan=low)
        image[row : row + 512] = np.rint(np.clip((strip - low) * factor, 0, 255))
    return image.reshape(raw.shape)


def _tiff_layout(data: bytes, order: str) -> Layout:
    """The layout of a TIFF file, by the directory of its first picture (TIFF 6.0, section 2)."""
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    (num_entries,) = struct.unpack_from(f"{order}H", data, directory)
    bits, num_bands, planes, photometric, mark, opacity = 1, 1, 1, 2, 0, None
    for place in range(directory + 2, directory + 2 + 12 * num_entries, 12):
        tag, _, count, value = struct.unpack_from(f"{order}HHII", data, place)
        (short,) = struct.unpack_from(f"{order}H", data, place + 8)
        if tag == 258:  # for each band a number; more than two of them stand elsewhere
            bits = short if count <= 2 else struct.unpack_from(f"{order}H", data, value)[0]
        elif tag == 262:
            photometric, mark = short, place + (8 if order == "<" else 9)
        elif tag == 277:
            num_bands = short
        elif tag == 284:
            planes = short
        elif tag == 338 and count == 1 and short == 2:
            opacity = place + (8 if order == "<" else 9)
    return Layout(bits, num_bands, planes == 2, mark if num_bands >= 3 and photometric <= 1 else None, opacity)
