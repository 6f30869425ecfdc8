"""The directory of a TIFF file: classic and big, both byte orders, whole, cut off and damaged."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datasets.picture_files import tiff
from datasets.picture_files.layouts import read_layout


def saved(is_big: bool = False) -> bytes:
    file = io.BytesIO()
    tags = {274: 6, 270: "ground truth " * 20, 42113: "-9999"}
    Image.fromarray(np.zeros((5, 7), np.uint16)).save(file, "TIFF", big_tiff=is_big, tiffinfo=tags)
    return file.getvalue()


def directory(order: str, is_big: bool, tag: int, kind: int, count: int, value: bytes) -> bytes:
    """A TIFF file of a directory alone, of one field."""
    mark = b"II" if order == "<" else b"MM"
    if is_big:
        return struct.pack(f"{order}2sHHHQQHHQ8s", mark, 43, 8, 0, 16, 1, tag, kind, count, value)
    return struct.pack(f"{order}2sHIHHHI4s", mark, 42, 8, 1, tag, kind, count, value)


@pytest.mark.parametrize("is_big", [False, True])
def test_numbers_and_texts_are_told_inside_the_directory_and_elsewhere(is_big: bool) -> None:
    tags = tiff.read_tags(io.BytesIO(saved(is_big)))
    assert [tags[tag].value for tag in (tiff.WIDTH, tiff.HEIGHT, tiff.BITS, tiff.ORIENTATION)] == [7, 5, 16, 6]
    assert tags[tiff.GDAL_NO_DATA].value == b"-9999\0"
    assert tags[270].value == (b"ground truth " * 20)[: tiff.MOST_TEXT]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize(("kind", "code"), [(tiff.SHORT, "H"), (tiff.LONG, "I")])
def test_a_number_can_be_changed_at_its_place(order: str, is_big: bool, kind: int, code: str) -> None:
    value = struct.pack(f"{order}{code}", 6)
    data = bytearray(directory(order, is_big, tiff.ORIENTATION, kind, 1, value))
    field = tiff.read_tags(io.BytesIO(data))[tiff.ORIENTATION]
    assert field.value == 6
    data[field.place] = 1
    assert tiff.read_tags(io.BytesIO(data))[tiff.ORIENTATION].value == 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("offset", [2**40, 2**45, 2**61, 2**64 - 1])
def test_a_field_that_lies_beyond_any_file_is_left_out(tmp_path: Path, order: str, offset: int) -> None:
    """Systems refuse to go there, each from another place on."""
    path = tmp_path / "a.tif"
    path.write_bytes(directory(order, True, 270, tiff.TEXT, 1000, struct.pack(f"{order}Q", offset)))
    with path.open("rb") as file:
        assert tiff.read_tags(file) == {}


def test_a_directory_within_a_file_counts_from_its_own_start() -> None:
    data = b"Exif\0\0" + saved()
    assert tiff.read_tags(io.BytesIO(data), 6)[tiff.GDAL_NO_DATA].value == b"-9999\0"


def test_a_field_beyond_the_end_is_left_out_and_a_directory_there_is_an_error() -> None:
    data = directory("<", True, 270, tiff.TEXT, 1000, struct.pack("<Q", 2**64 - 1))
    assert tiff.read_tags(io.BytesIO(data)) == {}
    for is_big in (False, True):
        with pytest.raises(struct.error):
            tiff.read_tags(io.BytesIO(directory("<", is_big, 1, 3, 1, b"")[:12]))


@given(st.data())
def test_a_damaged_header_never_ends_in_anything_but_an_unusual_layout(data: st.DataObject) -> None:
    stored = bytearray(saved(data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 8))):
        stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    with suppress(struct.error):
        tiff.read_tags(io.BytesIO(stored))
    read_layout(bytes(stored[: data.draw(st.integers(0, len(stored)))]))
