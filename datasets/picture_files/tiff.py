"""The first directory of a TIFF file, which tells how its picture is stored: classic, BigTIFF, and EXIF's own."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import IO, NamedTuple

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two of BigTIFF, for files beyond 4 GiB
# Tags of TIFF 6.0, section 8, and GDAL's own.
WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, BANDS, PLANES, OPACITY = 256, 257, 258, 262, 274, 277, 284, 338
COMPRESSION, STRIP_OFFSETS, STRIP_LENGTHS, TILE_OFFSETS, TILE_LENGTHS = 259, 273, 279, 324, 325
FILL_ORDER, SAMPLE_FORMAT, GDAL_METADATA, GDAL_NO_DATA = 266, 339, 42112, 42113
TEXT, SHORT, LONG, LONG8 = 2, 3, 4, 16
_CODES = {TEXT: "s", SHORT: "H", LONG: "I", LONG8: "Q"}
MOST_TEXT, MOST_ENTRIES = 64, 4096  # bytes of a text that are kept; fields of a directory, more are of a damaged file
LONGEST_TEXT = 1 << 22  # bytes that `text` reads: some put all that they know of a scene there


class Field(NamedTuple):
    """What the directory says of a tag. `value`: its first number, or its text; `place`: the byte in the file of the
    least digit of that number, to write another below 256 there; `start`: the byte at which it begins; `code`: byte
    order and kind of its numbers, as `struct` has them."""

    value: int | bytes
    count: int
    place: int
    start: int
    code: str


def read_tags(file: IO[bytes], start: int = 0) -> dict[int, Field]:
    """The fields of numbers and text in the first directory of what is a TIFF file from byte `start` on (TIFF 6.0,
    section 2, and the BigTIFF of libtiff 4); of a field that stands beyond the end of the file nothing is told.

    Raises struct.error where the directory itself is cut off.
    """
    head = _read(file, start, 16)
    order = "<" if head.startswith(b"II") else ">"
    is_big = head[2:4] in (b"+\0", b"\0+")
    word, num, room, entry_size = ("Q", "Q", 8, 20) if is_big else ("I", "H", 4, 12)
    (directory,) = struct.unpack_from(f"{order}{word}", head, room)
    num_size = struct.calcsize(f"={num}")
    (num_entries,) = struct.unpack(f"{order}{num}", _read(file, start + directory, num_size))
    entries_at = start + directory + num_size
    length = entry_size * min(num_entries, MOST_ENTRIES)
    entries = _read(file, entries_at, length)
    if len(entries) < length:
        raise struct.error("the directory is cut off")
    fields = {}
    for entry in range(0, length, entry_size):
        tag, kind, count = struct.unpack_from(f"{order}HH{word}", entries, entry)
        if kind not in _CODES or not count:
            continue
        code = f"{min(count, MOST_TEXT)}s" if kind == TEXT else _CODES[kind]
        size = struct.calcsize(f"={code}")
        place = entries_at + entry + entry_size - room
        if count * struct.calcsize(f"={_CODES[kind]}") > room:  # it stands elsewhere
            place = start + struct.unpack_from(f"{order}{word}", entries, entry + entry_size - room)[0]
        raw = _read(file, place, size)
        if len(raw) == size:
            (value,) = struct.unpack(f"{order}{code}", raw)
            least = place if order == "<" else place + size - 1
            fields[tag] = Field(value, count, least, place, f"{order}{_CODES[kind]}")
    return fields


def _read(file: IO[bytes], place: int, size: int) -> bytes:
    """So many bytes from this place on, or what there is of them."""
    try:
        file.seek(place)
    except (OSError, OverflowError, ValueError):  # of a damaged file, beyond what a system may be asked for
        return b""
    return file.read(size)


def numbers(file: IO[bytes], field: Field) -> tuple[int, ...]:
    """All numbers of a field of the file; where it is cut off, those that are there."""
    size = struct.calcsize(field.code)
    raw = _read(file, field.start, field.count * size)
    count = len(raw) // size
    return struct.unpack_from(f"{field.code[0]}{count}{field.code[1]}", raw)


def text(file: IO[bytes], field: Field) -> str:
    """The text of a field of the file, as far as 4 MiB."""
    raw = _read(file, field.start, min(field.count, LONGEST_TEXT))
    return raw.split(b"\0")[0].decode("utf-8", "replace")


def number(tags: Mapping[int, Field], tag: int, usual: int) -> int:
    """The first number of a tag; the usual one where it is missing, or is a text."""
    value = tags[tag].value if tag in tags else usual
    return value if isinstance(value, int) else usual
