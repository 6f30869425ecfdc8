"""The size of a picture by the header of its file: thousands a second, where decoding does a hundred."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from datasets.picture_files import tiff
from datasets.picture_files.exif import PREFIX, orientation_at, orientation_of, png_orientation, webp_orientation
from datasets.picture_files.images import ImageError, read_image

HEAD = 512  # bytes that hold the size in every format but JPEG and TIFF
LOOKED_AT = 100  # pictures whose usual size is asked for
MOST_SEGMENTS = 1000  # of a JPEG before its picture starts
HAS_EXIF = 0x08  # among the flags of an extended WebP file
FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # JPEG's start-of-frame markers (ITU T.81, table B.1)


class Header(NamedTuple):
    """Height and width in pixels, as stored; how a viewer turns and mirrors the picture (EXIF 2.3, 1: not at all)."""

    height: int
    width: int
    orientation: int = 1


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture in pixels, as stored (an EXIF rotation is not applied). Raises as `read_header`."""
    return read_header(path)[:2]


def usual_size(paths: Sequence[Path]) -> tuple[int, int] | None:
    """Height and width that most pictures have about, by the headers of up to a hundred of them; None where none can be
    read."""
    sizes = []
    for path in paths[:: -(-len(paths) // LOOKED_AT) or 1]:
        with suppress(ImageError):  # told of when its turn comes
            sizes.append(picture_size(path))
    return tuple(np.median(sizes, axis=0).astype(int).tolist()) if sizes else None


def turned_size(path: Path, told: tuple[int, int] | None) -> int:
    """The EXIF orientation of a picture of which labels tell the height and width that it has only when turned: they
    were drawn on the turned picture, and lie elsewhere on the stored one. 1 for any other picture, for one that is
    square, and for one whose header cannot be read, which is told of where it is decoded."""
    if told is None or told[0] == told[1]:
        return 1
    with suppress(ImageError):
        header = read_header(path)
        if told == (header.width, header.height):
            return header.orientation
    return 1


def read_header(path: Path) -> Header:
    """What the header of a picture tells; a format whose header is not known is decoded.

    Raises ImageError for a file that is missing, empty, of another kind or whose header is cut off; whether the rest of
    it is whole, only decoding can tell.
    """
    try:
        with path.open("rb") as file:
            header = _parse(file.read(HEAD), file)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (struct.error, IndexError, KeyError):
        raise ImageError(f"{path}: the file is cut off in its header; copy it again") from None
    if header is None:
        return Header(*read_image(path).shape[:2])
    if header.height <= 0 or header.width <= 0:
        raise ImageError(f"{path}: its header tells a size of {header.width} x {header.height} pixels; copy it again")
    return header


def _parse(head: bytes, file: IO[bytes]) -> Header | None:
    if head.startswith(b"\xff\xd8\xff"):
        return _jpeg_header(file)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", head, 16)
        return Header(height, width, png_orientation(file))
    if head.startswith(b"BM") and head[14:18] == b"\x28\0\0\0":
        width, height = struct.unpack_from("<ii", head, 18)
        return Header(abs(height), width)  # negative for rows from the top down
    if head.startswith(tiff.MAGIC):
        tags = tiff.read_tags(file)
        sides = (tiff.number(tags, tag, 0) for tag in (tiff.HEIGHT, tiff.WIDTH))
        return Header(*sides, orientation_of(tags))
    place = head.find(b"ihdr", 0, 256)  # the image header of JPEG 2000 (ISO 15444-1, annex I.5.3.1)
    if place >= 0:
        return Header(*struct.unpack_from(">II", head, place + 4))
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _webp_header(head, file)
    return None


def _webp_header(head: bytes, file: IO[bytes]) -> Header | None:
    """The size by the first chunk of a WebP file (RFC 9649, sections 2.5 to 2.7)."""
    if head[12:16] == b"VP8X":
        width, height = (int.from_bytes(head[place : place + 3], "little") for place in (24, 27))
        return Header(height + 1, width + 1, webp_orientation(file) if head[20] & HAS_EXIF else 1)
    if head[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return Header((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1)
    if head[12:16] == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return Header(height & 0x3FFF, width & 0x3FFF)
    return None


def _jpeg_header(file: IO[bytes]) -> Header:
    """The size in the first start-of-frame segment (ITU T.81, B.2.2); the segments before are passed over."""
    file.seek(2)
    orientation = 1
    for _ in range(MOST_SEGMENTS):
        marker = file.read(2)
        while marker[1] == 0xFF:  # any number of these may stand before a marker
            marker = marker[1:] + file.read(1)
        if marker[0] != 0xFF or marker[1] in (0xD9, 0xDA):
            break
        start = file.tell()
        (length,) = struct.unpack(">H", file.read(2))
        if marker[1] in FRAMES:
            return Header(*struct.unpack_from(">HH", file.read(5), 1), orientation)
        if marker[1] == 0xE1 and file.read(len(PREFIX)) == PREFIX:
            orientation = orientation_at(file, start + 2)
        file.seek(start + length)
    raise IndexError
