"""How a TIFF file stores its picture, in strips or tiles, each by itself: which of them are damaged, which are missing.

libtiff tells of both, but OpenCV passes it over in pictures of 8 bits, and gives what it finds for the picture.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from datasets.picture_files import tiff

# TIFF 6.0, section 8, and the registered values of tag 259.
NONE, LZW, JPEG, DEFLATE, PACKBITS, OLD_DEFLATE = 1, 5, 7, 8, 32773, 32946
FOREIGN = {34887: "LERC", 34925: "LZMA", 50000: "ZSTD", 50001: "WebP", 50002: "JPEG XL", 34712: "JPEG 2000"}

SPARSE = "parts of it were never written (a sparse file); fill it with gdal_translate -co SPARSE_OK=FALSE"
GLANCE = 16  # bytes at both ends of a part; hardly any that is whole has so many zeros there
CUT = "is cut off before its end; copy it again"


def damage(data: bytes) -> str | None:
    """What is wrong with the first strip or tile that cannot be what was written, None where nothing looks so.

    Deflated ones are inflated whole, since they end with a check sum (RFC 1950, section 2.2); of the others begin and
    end are looked at: a copy that broke off is often of its full length, filled up with zeros.
    """
    tags = _tags(data)
    if tiff.number(tags, tiff.BITS, 1) > 8 or tiff.number(tags, tiff.FILL_ORDER, 1) != 1:
        return None  # deeper ones OpenCV refuses itself; of bits in another order nothing is known here
    is_whole = _CHECKS.get(tiff.number(tags, tiff.COMPRESSION, NONE))
    blocks = list(_blocks(io.BytesIO(data), tags))
    missing = _missing(data, blocks, is_whole is not None)
    if missing or is_whole is None:
        return missing
    for number, (offset, length) in enumerate(blocks):
        if not is_whole(memoryview(data)[offset : offset + length]):
            return f"part {number + 1} of the {len(blocks)} in which it is stored is damaged; copy it again"
    return None


def emptied(file: IO[bytes], tags: Mapping[int, tiff.Field]) -> str | None:
    """What is wrong with a file of which a part is beyond its end, or, compressed, begins or ends with zeros, as those
    of a copy that broke off do; None else. A glance at each part, for files that are not to be decoded twice."""
    blocks, size = list(_blocks(file, tags)), file.seek(0, io.SEEK_END)
    if any(offset + length > size for offset, length in blocks):
        return CUT
    compression = tiff.number(tags, tiff.COMPRESSION, NONE)
    if compression == NONE:
        return None
    for number, (offset, length) in enumerate(blocks):
        # Of others, such as ZSTD, the last pixels may stand at the end as they are.
        places = (offset, offset + length - GLANCE) if compression in _CHECKS else (offset,)
        if length > 2 * GLANCE and not all(any(_glance(file, place)) for place in places):
            return f"part {number + 1} of the {len(blocks)} in which it is stored is not whole; copy it again"
    return None


def _glance(file: IO[bytes], place: int) -> bytes:
    file.seek(place)
    return file.read(GLANCE)


def unreadable(data: bytes) -> str | None:
    """Why OpenCV cannot read a picture that may be whole, and what to do; None for no reason that is known here."""
    tags = _tags(data)
    compression, sample_format = tiff.number(tags, tiff.COMPRESSION, NONE), tiff.number(tags, tiff.SAMPLE_FORMAT, 1)
    if compression in FOREIGN:
        return f"it is compressed by {FOREIGN[compression]}; write it anew with gdal_translate -co COMPRESS=DEFLATE"
    missing = _missing(data, list(_blocks(io.BytesIO(data), tags)), compression != NONE)
    if missing:
        return missing
    if tiff.number(tags, tiff.BITS, 1) >= 32 and sample_format == 1:
        return "it holds integers of 32 bits; write it anew with gdal_translate -ot UInt16, or -ot Float32"
    if sample_format > 3:
        return "it holds complex numbers; write their amplitude"
    return None


def _tags(data: bytes) -> Mapping[int, tiff.Field]:
    try:
        return tiff.read_tags(io.BytesIO(data)) if data.startswith(tiff.MAGIC) else {}
    except struct.error:  # cut off
        return {}


def _blocks(file: IO[bytes], tags: Mapping[int, tiff.Field]) -> Iterator[tuple[int, int]]:
    """Where each strip or tile begins, and how long it is."""
    for offsets, lengths in ((tiff.STRIP_OFFSETS, tiff.STRIP_LENGTHS), (tiff.TILE_OFFSETS, tiff.TILE_LENGTHS)):
        if offsets in tags and lengths in tags:
            yield from zip(*(tiff.numbers(file, tags[tag]) for tag in (offsets, lengths)), strict=False)


def _missing(data: bytes, blocks: Sequence[tuple[int, int]], is_compressed: bool) -> str | None:
    """What to say of parts that are not there; of uncompressed ones the length may be left to the reader, as 0."""
    if any(not offset or (is_compressed and not length) for offset, length in blocks):
        return SPARSE
    return CUT if any(offset + length > len(data) for offset, length in blocks) else None


def _is_inflated(block: memoryview) -> bool:
    try:
        return _ends(zlib.decompressobj(), block) or _ends(zlib.decompressobj(-zlib.MAX_WBITS), block[2:])
    except zlib.error:
        return False


def _ends(inflating: zlib._Decompress, block: memoryview) -> bool:
    """Whether the stream comes to its end; some programs write no check sum behind it. Raises zlib.error."""
    while block and not inflating.eof:
        inflating.decompress(block, 1 << 24)  # in pieces, for a part may be the whole picture
        block = inflating.unconsumed_tail
    return inflating.eof


def _is_lzw(block: memoryview) -> bool:
    """Whether it begins with the code that clears the table: 256 in nine bits, first the highest or, before TIFF 5.0,
    the lowest."""
    head = bytes(block[:2]).ljust(2, b"\0")
    return (head[0] == 0x80 and head[1] < 0x80) or (head[0] == 0 and head[1] & 1 == 1)


def _is_jpeg(block: memoryview) -> bool:
    return bytes(block[:2]) == b"\xff\xd8" and bytes(block).rfind(b"\xff\xd9") >= 0


def _is_packed(block: memoryview) -> bool:
    """Zeros alone would be literal zeros, one by one, which no program writes so."""
    return bytes(block).strip(b"\0") != b""


_CHECKS = {LZW: _is_lzw, JPEG: _is_jpeg, DEFLATE: _is_inflated, OLD_DEFLATE: _is_inflated, PACKBITS: _is_packed}
