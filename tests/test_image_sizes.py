"""The size of a picture comes from its header, for every kind, as decoding tells it."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from datasets.picture_files.image_sizes import picture_size, read_header, usual_size
from datasets.picture_files.images import ImageError, read_image

EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0\0\0\0\0"  # orientation 8


def code(suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, np.zeros((48, 65, 3), np.uint8), options)[1].tobytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp", ".jp2"])
def test_every_kind_of_picture_tells_its_size(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"图 1{suffix.upper()}"
    path.write_bytes(code(suffix))
    assert picture_size(path) == read_image(path).shape[:2] == (48, 65)
    assert read_header(path).orientation == 1


def test_progressive_jpegs_and_those_with_segments_before_the_size(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    data = code(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    thumbnail = b"\xff\xe2" + (60_002).to_bytes(2, "big") + code(".jpg").ljust(60_000, b"\xff")
    path.write_bytes(data[:2] + b"\xff" * 5 + thumbnail[:2] + thumbnail[2:] + data[2:])
    assert picture_size(path) == (48, 65)


def test_the_orientation_is_told_and_not_applied(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    data = code(".jpg")
    for exif, orientation in ((EXIF, 8), (EXIF[:12], 1), (EXIF.replace(b"II*", b"MM\0"), 1)):
        path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
        assert read_header(path) == (48, 65, orientation)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


@pytest.mark.parametrize("start", [6, 0])
@pytest.mark.parametrize("is_first", [True, False])
def test_the_orientation_of_a_png_is_told_before_its_picture_and_behind_it(tmp_path: Path, start, is_first) -> None:
    """Labels that were drawn on the turned picture were taken for the stored one; OpenCV turns these files, too."""
    path, data = tmp_path / "a.png", code(".png")
    place = 33 if is_first else len(data) - 12
    path.write_bytes(data[:place] + png_chunk(b"eXIf", EXIF[start:]) + data[place:])
    assert read_header(path) == (48, 65, 8)
    assert read_image(path).shape == (48, 65, 3)
    path.write_bytes(data[:place] + png_chunk(b"eXIf", EXIF[start:][:12]) + data[place:])
    assert read_header(path) == (48, 65, 1)


def test_what_looks_like_exif_within_the_picture_of_a_png_turns_nothing(tmp_path: Path) -> None:
    path, data = tmp_path / "a.png", code(".png")
    inner = png_chunk(b"eXIf", EXIF[6:])
    path.write_bytes(data[:-12] + png_chunk(b"tEXt", b"eXIf" + inner + b"more") + data[-12:])
    assert read_header(path) == (48, 65, 1)


def test_the_orientation_of_a_webp_is_told(tmp_path: Path) -> None:
    path, exif = tmp_path / "a.webp", PIL.Image.Exif()
    exif[0x112] = 6
    PIL.Image.fromarray(np.zeros((48, 65, 3), np.uint8)).save(path, exif=exif)
    assert read_header(path) == (48, 65, 6)
    assert read_image(path).shape == (48, 65, 3)
    assert cv2.imread(str(path)).shape == (65, 48, 3)
    path.write_bytes(path.read_bytes()[:-40])
    assert read_header(path) == (48, 65, 1)


@pytest.mark.parametrize("entry", [b"\x12\x01\x02\0\x01\0\0\0\x06\0\0\0", b"\x12\x01\x03\0\x01\0\0\0\x00\x06\0\0"])
def test_an_orientation_that_is_no_number_or_none_of_the_eight_turns_nothing(tmp_path: Path, entry: bytes) -> None:
    path, data = tmp_path / "a.jpg", code(".jpg")
    exif = EXIF[:16] + entry + EXIF[28:]
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    assert read_header(path) == (48, 65, 1)


@pytest.mark.parametrize("suffix", [".webp", ".jp2"])
def test_no_picture_is_decoded_for_its_size(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("datasets.picture_files.image_sizes.read_image")
    with_alpha = np.zeros((48, 65, 4), np.uint8)
    kinds = [code(suffix), code(suffix, cv2.IMWRITE_WEBP_QUALITY, 101), cv2.imencode(suffix, with_alpha)[1].tobytes()]
    for number, data in enumerate(kinds):
        (tmp_path / f"{number}{suffix}").write_bytes(data)
        assert picture_size(tmp_path / f"{number}{suffix}") == (48, 65)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_a_header_that_is_cut_off_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"图 1{suffix}"
    for length in (0, 3, 8, 17, 20):
        path.write_bytes(code(suffix)[:length])
        with pytest.raises(ImageError, match="图 1"):
            picture_size(path)


def test_what_is_no_picture_or_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"no picture at all")
    for each in (path, tmp_path / "none.png", tmp_path):
        with pytest.raises(ImageError, match=each.name):
            picture_size(each)
    path.write_bytes(code(".png")[:16] + bytes(8) + code(".png")[24:])
    with pytest.raises(ImageError, match="a size of 0 x 0"):
        picture_size(path)


def test_the_usual_size_is_the_median_of_those_that_can_be_read(tmp_path: Path) -> None:
    paths = []
    for number, (height, width) in enumerate([(40, 60)] * 3 + [(400, 600), (40, 64)]):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(cv2.imencode(".png", np.zeros((height, width), np.uint8))[1].tobytes())
    assert usual_size([*paths, tmp_path / "gone.png"]) == (40, 60)
    assert usual_size(paths * 100) == (40, 60)
    assert usual_size([tmp_path / "gone.png"]) is usual_size([]) is None
