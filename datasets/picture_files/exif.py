"""How EXIF says that a picture is to be turned, by kind of file; viewers and OpenCV turn it, this project does not."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from typing import IO

from datasets.picture_files import tiff

PREFIX = b"Exif\0\0"  # before the form of TIFF, always in JPEG and now and then elsewhere
LONGEST = 1 << 17  # bytes at the end of a PNG file among which an eXIf chunk is looked for: EXIF has 64 KiB at most
MOST_CHUNKS = 1000  # before a picture's own


def orientation_of(tags: Mapping[int, tiff.Field]) -> int:
    """What a directory of TIFF's form says (EXIF 2.3, section 4.6.4): 1 to 8, 1 for not at all and for what EXIF does
    not know."""
    value = tiff.number(tags, tiff.ORIENTATION, 1)
    return value if 1 <= value <= 8 else 1


def orientation_at(file: IO[bytes], start: int) -> int:
    """What EXIF says that begins at byte `start`; 1 where it is damaged: the picture is whole without it."""
    file.seek(start)
    has_prefix = file.read(len(PREFIX)) == PREFIX
    try:
        return orientation_of(tiff.read_tags(file, start + len(PREFIX) * has_prefix))
    except struct.error:
        return 1


def png_orientation(file: IO[bytes]) -> int:
    """That of a PNG file: its chunk eXIf stands before the picture or after it (PNG 3, section 11.3.4.4). The hundreds
    of chunks of the picture itself are not gone through: what stands behind it is looked for from the end."""
    for kind, start in _chunks(file, 8):
        if kind == b"eXIf":
            return orientation_at(file, start)
        if kind == b"IDAT":
            break
    size = file.seek(0, os.SEEK_END)
    first = max(size - LONGEST, 0)
    file.seek(first)
    end = file.read()
    place = end.rfind(b"eXIf")
    # Those four letters may stand in the picture, too: they are a chunk where whole chunks follow as far as the end.
    if place >= 4 and [kind for kind, _ in _chunks(file, first + place - 4)][-1:] == [b"IEND"]:
        return orientation_at(file, first + place + 4)
    return 1


def webp_orientation(file: IO[bytes]) -> int:
    """That of a WebP file in the extended form: its chunk EXIF stands behind the picture (RFC 9649, section 2.7)."""
    starts = (start for kind, start in _chunks(file, 12, is_png=False) if kind == b"EXIF")
    return next((orientation_at(file, start) for start in starts), 1)


def _chunks(file: IO[bytes], place: int, is_png: bool = True) -> Iterator[tuple[bytes, int]]:
    """The chunks of a PNG or a WebP file from that byte on, as (kind, first byte of their data), those that the file
    cuts off as well."""
    for _ in range(MOST_CHUNKS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        if is_png:
            length, kind = struct.unpack(">I4s", head)
            behind = 4  # a checksum
        else:
            kind, length = struct.unpack("<4sI", head)
            behind = length % 2  # an even number of bytes
        yield kind, place + 8
        place += 8 + length + behind
