"""TIFF files that OpenCV reads though a part is damaged, and those that it does not read though they are whole."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets.picture_files import tiff
from datasets.picture_files.images import ImageError, read_image
from datasets.picture_files.tiff_blocks import damage, unreadable

PICTURE = np.random.default_rng(0).integers(0, 64, (160, 200, 3), dtype=np.uint8).repeat(2, axis=1)
COMPRESSIONS = ("tiff_deflate", "tiff_adobe_deflate", "tiff_lzw", "packbits", "jpeg", "raw")


def saved(compression: str = "raw", picture: np.ndarray = PICTURE) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "TIFF", compression=None if compression == "raw" else compression)
    return file.getvalue()


def changed(data: bytes, tag: int, value: int) -> bytes:
    """The file with another first number of a tag."""
    field = tiff.read_tags(io.BytesIO(data))[tag]
    code = struct.pack(field.code, value)
    return data[: field.start] + code + data[field.start + len(code) :]


def filled_up(data: bytes, compression: str) -> bytes:
    """As a copy leaves it that broke off within the strips and had been given its full length before."""
    tags = tiff.read_tags(io.BytesIO(data))
    places = tiff.numbers(io.BytesIO(data), tags[tiff.STRIP_OFFSETS])
    lengths = tiff.numbers(io.BytesIO(data), tags[tiff.STRIP_LENGTHS])
    start = places[0] + lengths[0] // 2 if compression in ("tiff_deflate", "tiff_adobe_deflate", "jpeg") else places[-1]
    end = places[-1] + lengths[-1]
    return data[:start] + bytes(end - start) + data[end:]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", ["colour", "grey", "black"])
def test_a_whole_file_is_not_suspected(tmp_path: Path, compression: str, kind: str) -> None:
    picture = {"colour": PICTURE, "grey": PICTURE[..., 0], "black": np.zeros((160, 400), np.uint8)}[kind]
    data = saved(compression, picture)
    assert damage(data) is None
    (tmp_path / "a.tif").write_bytes(data)
    read = read_image(tmp_path / "a.tif", 1 if picture.ndim == 2 else 3)
    if compression != "jpeg":
        assert np.array_equal(read[..., ::-1] if picture.ndim == 3 else read[..., 0], picture)


@pytest.mark.parametrize("compression", COMPRESSIONS[:-1])
def test_a_copy_that_broke_off_and_was_filled_up_is_refused(tmp_path: Path, compression: str) -> None:
    """Half of the pixels were rubbish, and nothing was said."""
    path = tmp_path / "图 1.tif"
    path.write_bytes(filled_up(saved(compression), compression))
    with pytest.raises(ImageError, match=r"图 1\.tif: .*damaged"):
        read_image(path)


def test_what_other_programs_leave_out_is_no_damage(tmp_path: Path) -> None:
    """libtiff estimates a length that is 0, and needs no check sum; both were refused."""
    one = saved("raw", PICTURE[:2])
    assert damage(changed(one, tiff.STRIP_LENGTHS, 0)) is None
    data = saved("tiff_adobe_deflate")
    tags = tiff.read_tags(io.BytesIO(data))
    length = tiff.numbers(io.BytesIO(data), tags[tiff.STRIP_LENGTHS])[0]
    assert damage(changed(data, tiff.STRIP_LENGTHS, length - 4)) is None
    assert damage(changed(data, tiff.STRIP_LENGTHS, length // 2)) is not None


def test_a_file_that_is_cut_off_is_not_called_sparse(tmp_path: Path) -> None:
    data = saved()
    tags = tiff.read_tags(io.BytesIO(data))
    last = tiff.numbers(io.BytesIO(data), tags[tiff.STRIP_OFFSETS])[-1]
    moved = changed(data, tiff.STRIP_OFFSETS, len(data) - 5)
    assert last
    for reason in (damage(moved), unreadable(moved)):
        assert "cut off before its end" in reason


def test_opencv_itself_says_nothing_of_it() -> None:
    """Else the checks were for nothing."""
    for compression in ("tiff_adobe_deflate", "tiff_lzw"):
        data = filled_up(saved(compression), compression)
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
        assert damage(data) is not None


@pytest.mark.parametrize(
    ("tag", "value", "sentence"),
    [
        (tiff.COMPRESSION, 50000, "compressed by ZSTD; write it anew"),
        (tiff.COMPRESSION, 34887, "compressed by LERC"),
        (tiff.STRIP_OFFSETS, 0, "never written"),
    ],
)
def test_a_file_that_opencv_cannot_read_is_not_called_damaged(
    tmp_path: Path, tag: int, value: int, sentence: str
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(changed(saved("tiff_adobe_deflate"), tag, value))
    with pytest.raises(ImageError, match=rf"a\.tif: .*{sentence}"):
        read_image(path)


def test_integers_of_32_bits_are_told_of(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.ones((20, 30), np.int32)).save(file, "TIFF")
    (tmp_path / "a.tif").write_bytes(changed(file.getvalue(), tiff.SAMPLE_FORMAT, 1))  # without a sign
    with pytest.raises(ImageError, match=r"integers of 32 bits; write it anew with gdal_translate -ot UInt16"):
        read_image(tmp_path / "a.tif")


def test_what_is_no_tiff_and_what_is_cut_off_have_no_known_fault() -> None:
    for data in (b"", b"II*\0", b"\xff\xd8\xff", saved()[:9], saved("tiff_lzw")[:200]):
        assert damage(data) is None
        assert unreadable(data) is None
