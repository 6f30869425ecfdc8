"""Picture files are decoded to three channels of uint8, refused with a sentence when damaged."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets.picture_files.image_folders import find_images
from datasets.picture_files.image_sizes import read_header
from datasets.picture_files.images import ImageError, brightness, read_image
from datasets.picture_files.layouts import Reading


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth coloured picture (H, W, 3) uint8."""
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def code(suffix: str, image: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_a_lossless_picture_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    read = read_image(write(tmp_path / f"a{suffix}", code(suffix, picture())))
    assert read.dtype == np.uint8
    assert np.array_equal(read, picture())


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".jp2"])
def test_a_lossy_picture_comes_back_nearly(tmp_path: Path, suffix: str) -> None:
    read = read_image(write(tmp_path / f"a{suffix}", code(suffix, picture())))
    assert np.abs(read.astype(float) - picture()).mean() < 3


@pytest.mark.parametrize(
    ("stored", "first_pixel"),
    [
        (np.full((5, 7), 90, np.uint8), [90, 90, 90]),
        (np.full((5, 7, 4), (10, 20, 30, 0), np.uint8), [10, 20, 30]),
        (np.full((5, 7, 3), (0x1234, 0x5678, 0xFFFF), np.uint16), [0, 73, 255]),  # spread
        (np.full((5, 7), 0x8000, np.uint16), [0, 0, 0]),  # nothing to spread
        (np.full((1, 1, 3), (1, 2, 3), np.uint8), [1, 2, 3]),
    ],
    ids=["grey", "transparent", "16-bit", "16-bit grey", "1x1"],
)
def test_every_kind_of_picture_gives_three_channels_of_uint8(
    tmp_path: Path, stored: np.ndarray, first_pixel: list[int]
) -> None:
    """The real HIT-UAV pictures have depth 1; a grey JPEG must not become (H, W)."""
    read = read_image(write(tmp_path / "a.png", code(".png", stored)))
    assert (read.shape, read.dtype) == ((*stored.shape[:2], 3), np.uint8)
    assert read[0, 0].tolist() == first_pixel


def test_a_grey_jpeg_gives_three_equal_channels(tmp_path: Path) -> None:
    read = read_image(write(tmp_path / "a.jpg", code(".jpg", picture()[..., 0])))
    assert read.shape == (48, 64, 3)
    assert np.array_equal(read[..., 0], read[..., 2])


@pytest.mark.parametrize(
    ("stored", "num_channels", "first_pixel"),
    [
        (np.full((5, 7), 90, np.uint8), 1, [90]),
        (np.full((5, 7, 3), 90, np.uint8), 1, [90]),  # a grey picture stored as a coloured one
        (np.arange(35).reshape(5, 7).astype(np.uint16) * 900, 1, [0]),  # thermal, 16 bits: spread
        (np.full((5, 7, 4), (10, 20, 30, 0), np.uint8), 4, [10, 20, 30, 0]),  # the fourth band hides nothing
        (np.full((1, 1, 4), (1, 2, 3, 4), np.uint8), 4, [1, 2, 3, 4]),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_one_and_four_channels_are_the_bands_of_the_file(
    tmp_path: Path, stored: np.ndarray, num_channels: int, first_pixel: list[int], suffix: str
) -> None:
    read = read_image(write(tmp_path / f"a{suffix}", code(suffix, stored)), num_channels)
    assert (read.shape, read.dtype) == ((*stored.shape[:2], num_channels), np.uint8)
    assert read[0, 0].tolist() == first_pixel


def test_of_colours_one_channel_is_thebrightness(tmp_path: Path) -> None:
    """Cameras of a factory mix both; a colour picture stopped the training in the middle of an epoch."""
    stored = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    read = read_image(write(tmp_path / "a.png", code(".png", stored)), 1)
    assert np.array_equal(read[:, :, 0], cv2.cvtColor(stored, cv2.COLOR_BGR2GRAY))
    deep = read_image(write(tmp_path / "b.png", code(".png", stored.astype(np.uint16) * 257)), 1)[:, :, 0]
    assert np.corrcoef(deep.ravel(), read.ravel())[0, 1] > 0.99
    grey = np.random.default_rng(1).integers(0, 65536, (5, 7, 1), dtype=np.uint16)
    almost = np.repeat(grey, 3, axis=2)
    almost[0, 0] = 0, 0, 9  # else it is taken for a grey picture
    assert np.array_equal(brightness(almost, None)[1:], grey[1:])
    almost[2, 2:4] = 65535
    assert (brightness(almost, 65535.0)[2, 2:4] == 65535).all()


@pytest.mark.parametrize(("bands", "num_channels", "seen"), [(1, 4, "1 band,"), (3, 4, "3 bands,"), (4, 1, "4 bands,")])
def test_another_number_of_bands_is_told_with_the_file_the_bands_and_the_flag(
    tmp_path: Path, bands: int, num_channels: int, seen: str
) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (5, 7, bands), dtype=np.uint8)
    path = write(tmp_path / "数据" / "图 1.tif", code(".tif", stored))
    with pytest.raises(
        ImageError,
        match=rf"图 1\.tif: has {seen} and the network reads {num_channels} \(--in_channels\); .*in_channels 3",
    ):
        read_image(path, num_channels)


@pytest.mark.parametrize("num_channels", [3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
def test_near_infrared_that_a_tiff_calls_opacity_does_not_darken_the_colours(
    tmp_path: Path, num_channels: int, order: str
) -> None:
    """libtiff multiplies the colours by a fourth band that the file says is an opacity apart (ExtraSamples 2)."""
    stored = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    read = read_image(write(tmp_path / "a.tif", tiff_of_bands(stored, order)), num_channels)
    assert np.array_equal(read, stored[..., [2, 1, 0, 3][:num_channels]])


def tiff_of_bands(stored: np.ndarray, order: str) -> bytes:
    """An uncompressed TIFF of (H, W, 4) uint8 in the file's order, the fourth band marked as opacity."""
    height, width, bands = stored.shape
    entries = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, bands, 200), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 300),
        (277, 3, 1, bands), (278, 3, 1, height), (279, 4, 1, stored.size), (284, 3, 1, 1), (338, 3, 1, 2),
    ]  # fmt: skip
    data = bytearray(300 + stored.size)
    struct.pack_into(f"{order}2sHIH", data, 0, b"II" if order == "<" else b"MM", 42, 8, len(entries))
    for number, (tag, kind, count, value) in enumerate(entries):
        layout = "HHIHH" if kind == 3 and count == 1 else "HHII"
        struct.pack_into(
            f"{order}{layout}", data, 10 + 12 * number, tag, kind, count, value, *[0] * (layout[-1] == "H")
        )
    struct.pack_into(f"{order}{bands}H", data, 200, *[8] * bands)
    data[300:] = stored.tobytes()
    return bytes(data)


def saved_tiff(path: Path, stored: np.ndarray, **options: object) -> Path:
    Image.fromarray(stored).save(path, **options)
    return path


def test_a_bigtiff_is_read_as_the_same_classic_tiff(tmp_path: Path) -> None:
    """Its depth was not seen: 16 bits came out as their upper eight, nearly black."""
    stored = np.random.default_rng(0).integers(1, 3000, (48, 64), dtype=np.uint16)
    classic, big = (saved_tiff(tmp_path / f"{is_big}.tif", stored, big_tiff=is_big) for is_big in (False, True))
    assert big.read_bytes()[:4] == b"II+\0"
    assert np.array_equal(read_image(big), read_image(classic))
    assert np.ptp(read_image(big)) == 255


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (np.array([[-9999, 0, 1, 2]], np.float32), "-9999"),  # 0 is a value where another stands for no data
        (np.array([[65535, 100, 101, 102]], np.uint16), "65535"),
        (np.array([[-3.4028234663852886e38, 0.5, 1, 1.5]], np.float32), "-3.40282346638529e+38"),
        (np.array([[-3.4028234663852886e38, 0.5, 1, 1.5]], np.float32), None),
        (np.array([[np.nan, 0.5, 1, 1.5]], np.float32), "nan"),
        (np.array([[0, 7, 8, 9]], np.uint16), None),
        (np.array([[-1.7976931348623157e308, 7, 8, 9]], np.float64), "-1.7976931348623157e+308"),
        (np.array([[0, 7, 8, 9]], np.uint16), "0\0"),
    ],
)
def test_what_is_no_data_is_black_and_does_not_take_the_contrast_of_the_rest(
    tmp_path: Path, stored: np.ndarray, told: str | None
) -> None:
    tags = {} if told is None else {"tiffinfo": {42113: told}}
    read = read_image(saved_tiff(tmp_path / "a.tif", np.repeat(stored, 64, axis=0).repeat(16, axis=1), **tags), 1)
    assert read[0, ::16, 0].tolist() == [0, 0, 128, 255]


def test_zero_among_values_on_both_of_its_sides_is_a_value(tmp_path: Path) -> None:
    stored = np.linspace(-20, 20, 41, dtype=np.float32).reshape(1, 41).repeat(41, axis=0)
    grey = read_image(saved_tiff(tmp_path / "a.tif", stored), 1)[0, :, 0].astype(int)
    assert (np.diff(grey)[1:-1] > 0).all()
    assert grey[20] == 128


def test_no_data_that_the_values_cannot_hold_is_no_value(tmp_path: Path) -> None:
    stored = np.array([[55537, 60000]], np.uint16)  # -9999 in 16 bits without a sign is 55537
    for told in ("-9999", "1e400", "none", ""):
        read = read_image(saved_tiff(tmp_path / "a.tif", stored, tiffinfo={42113: told}), 1)
        assert read[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_tiff_is_not_turned_either(tmp_path: Path, orientation: int) -> None:
    """OpenCV does, also where it is told to ignore the orientation; labels and header are of the picture as stored."""
    stored = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    path = saved_tiff(tmp_path / "a.tif", stored, tiffinfo={274: orientation})
    assert np.array_equal(read_image(path), stored[..., ::-1])
    assert read_header(path) == (48, 64, orientation)


def test_a_path_in_a_foreign_script_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "数据" / "图 1.PNG", code(".png", picture()))
    assert read_image(find_images(path.parent)["图 1"]).shape == (48, 64, 3)


def test_a_range_makes_the_same_value_the_same_grey_in_every_picture(tmp_path: Path) -> None:
    """A warm day and a cold one: by their own percentiles both would go from black to white."""
    days = [np.array([[0, low, low + 100, low + 200, 5000]], np.uint16).repeat(9, axis=0) for low in (1000, 2000)]
    paths = [write(tmp_path / f"{number}.png", code(".png", day)) for number, day in enumerate(days)]
    for channels in (1, 3):
        first, second = (read_image(path, channels, Reading((1000, 2275))) for path in paths)
        assert first.shape == second.shape == (9, 5, channels)
        assert (first[0] == np.array([0, 0, 20, 40, 255])[:, None]).all(), "0 is no data, and 5000 is beyond the range"
        assert (second[0] == np.array([0, 200, 220, 240, 255])[:, None]).all()
    cold = saved_tiff(tmp_path / "cold.tif", np.array([[0, 10, -5]], np.float32).repeat(9, axis=0))
    warm = saved_tiff(tmp_path / "warm.tif", np.array([[0, 10, 20]], np.float32).repeat(9, axis=0))
    levels = [read_image(path, 1, Reading((-20, 100)))[0, :2, 0].tolist() for path in (cold, warm)]
    assert levels[0] == levels[1]
    plain = write(tmp_path / "a.png", code(".png", picture()))
    assert np.array_equal(read_image(plain, 3, Reading((0, 1))), picture()), "8 bits stay as they are"


def test_the_suffix_does_not_decide_the_format(tmp_path: Path) -> None:
    assert np.array_equal(read_image(write(tmp_path / "a.jpg", code(".png", picture()))), picture())


# -- damage


JPEG = code(".jpg", picture())
PROGRESSIVE = code(".jpg", picture(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".jp2", ".tif"])
def test_a_picture_cut_off_anywhere_is_refused_by_name(tmp_path: Path, suffix: str, kept: float) -> None:
    data = code(suffix, picture())
    path = write(tmp_path / f"cut{suffix}", data[: int(len(data) * kept)])
    with pytest.raises(ImageError, match=f"cut{suffix}: "):
        read_image(path)


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE], ids=["baseline", "progressive"])
def test_half_a_jpeg_is_refused_though_opencv_reads_it(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path / "half.jpg", data[: len(data) * 3 // 4])
    assert cv2.imread(str(path)) is not None, "a picture whose lower part is grey, without an error"
    with pytest.raises(ImageError, match="cut off"):
        read_image(path)


def with_thumbnail(data: bytes) -> bytes:
    """The JPEG with an EXIF-like segment that holds a whole small JPEG, as cameras write it."""
    small = code(".jpg", picture(8, 8))
    return data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + 6 + len(small)) + b"Exif\0\0" + small + data[2:]


def test_the_end_of_a_thumbnail_is_not_taken_for_the_end_of_the_picture(tmp_path: Path) -> None:
    whole = with_thumbnail(JPEG)
    assert read_image(write(tmp_path / "whole.jpg", whole)).shape == (48, 64, 3)
    for cut in (len(whole) - len(JPEG) // 3, len(whole) - 2):
        with pytest.raises(ImageError, match="cut off"):
            read_image(write(tmp_path / "half.jpg", whole[:cut]))


def test_bytes_that_fill_up_before_a_marker_are_allowed(tmp_path: Path) -> None:
    filled = JPEG[:2] + b"\xff\xff\xff" + JPEG[2:]
    assert np.array_equal(read_image(write(tmp_path / "a.jpg", filled)), read_image(write(tmp_path / "b.jpg", JPEG)))


def test_what_a_camera_appends_to_a_jpeg_does_no_harm(tmp_path: Path) -> None:
    """Motion photos and drones append films and previews, whose bytes can look like markers."""
    for tail in (b"\0\0", b"film \xff\xda\x12\x34", JPEG[:200]):
        for data in (JPEG, PROGRESSIVE, with_thumbnail(JPEG)):
            assert read_image(write(tmp_path / "a.jpg", data + tail)).shape == (48, 64, 3)


def test_damage_within_a_png_is_refused(tmp_path: Path) -> None:
    data = bytearray(code(".png", picture()))
    data[len(data) // 2] ^= 0x55
    with pytest.raises(ImageError, match=r"a\.png: cannot be decoded"):
        read_image(write(tmp_path / "a.png", data))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty"),
        (b"This is not a picture.\n", "cannot be decoded"),
        (b"\xff\xd8\xff", "cut off"),
        (b"\x89PNG\r\n\x1a\n", "cut off"),
        (b"\xff\xd8\xff\xda\xff\xd9", "cannot be decoded"),
        (b"BM", "cannot be decoded"),
        (b"RIFF", "cannot be decoded"),
    ],
)
def test_a_file_that_is_no_picture_is_refused_with_its_name(tmp_path: Path, data: bytes, sentence: str) -> None:
    with pytest.raises(ImageError, match=rf"note\.png: .*{sentence}"):
        read_image(write(tmp_path / "note.png", data))


def test_a_missing_file_and_a_folder_are_refused_with_their_names(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"lost\.png: cannot be read"):
        read_image(tmp_path / "lost.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match=r"folder\.png: cannot be read"):
        read_image(tmp_path / "folder.png")


def test_a_picture_larger_than_opencv_allows_is_a_sentence(tmp_path: Path) -> None:
    """A header of 40000 x 40000 pixels: OpenCV raises its own error there, with a C++ file and line; ours called the
    picture damaged once."""
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 40000, 40000, 1, 24, 0, 0, 0, 0, 0, 0)
    with pytest.raises(ImageError, match=r"huge\.bmp: its header tells of more than 2\^30 pixels.*gdal") as error:
        read_image(write(tmp_path / "huge.bmp", header))
    assert ".cpp" not in str(error.value)


# -- real pictures


def test_real_geotiffs_of_any_depth_are_read(real_folder: Callable[[str], Path]) -> None:
    shapes = {name: read_image(path).shape for name, path in find_images(real_folder("geotiff")).items()}
    assert shapes["car_park"] == (2048, 2048, 3)
    assert shapes["rgba_uint16"] == (411, 634, 3)


def test_a_real_16_bit_picture_of_four_bands_gives_four_channels(real_folder: Callable[[str], Path]) -> None:
    path = real_folder("geotiff") / "rgba_uint16.tif"
    four = read_image(path, 4)
    assert (four.shape, four.dtype) == ((411, 634, 4), np.uint8)
    with pytest.raises(ImageError, match=r"rgba_uint16\.tif: has 4 bands, and the network reads 1"):
        read_image(path, 1)


def test_opacity_of_a_png_is_left_out_for_one_channel_too(tmp_path: Path) -> None:
    """Screenshots and grey pictures with opacity were refused, as pictures of four bands."""
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    grey = np.concatenate([np.repeat(colours[:, :, :1], 3, axis=2), colours[:, :, 3:]], axis=2)
    for name, picture in (("colours", colours), ("grey", grey)):
        path = tmp_path / f"{name}.png"
        path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        found = read_image(path, 1)
        assert found.shape == (20, 30, 1)
        np.testing.assert_array_equal(found, brightness(picture[:, :, :3]) if name == "colours" else grey[:, :, :1])


def test_real_thermal_pictures_are_one_channel(real_folder: Callable[[str], Path]) -> None:
    path = next(path for path in sorted(real_folder("hit-uav").rglob("*.jpg")))
    grey = read_image(path, 1)
    assert grey.shape == (512, 640, 1)
    assert np.array_equal(np.repeat(grey, 3, axis=2), read_image(path))
