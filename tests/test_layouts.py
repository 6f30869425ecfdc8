"""Which bands of a file are its colours, as it says itself, and which only tells where pixels are."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp

from datasets.picture_files import picture_windows
from datasets.picture_files.images import ImageError, read_image
from datasets.picture_files.layouts import Layout, Reading, is_mask, read_layout
from datasets.picture_files.picture_windows import PictureWindows, open_picture, read_whole

RED, GREEN, BLUE, NIR, ALPHA, NONE = (
    ColorInterp[name] for name in ("red", "green", "blue", "nir", "alpha", "undefined")
)
PLANET = (BLUE, GREEN, RED, NIR)
VALUES = {RED: 200, GREEN: 120, BLUE: 40, NIR: 90, ALPHA: 255, NONE: 10}


def write(path: Path, bands: tuple, dtype: str = "uint8", hw: tuple[int, int] = (6, 8), **options: str) -> Path:
    """A picture whose bands hold the value that VALUES has for them; 16 bits 100 times as much, from 0 to 25500."""
    levels = np.array([VALUES[band] for band in bands])
    values = np.tile(levels[:, None, None], (1, *hw)).astype(dtype)
    if dtype != "uint8":
        values = values * 100
        values[:, 0, 0], values[:, -1, -1] = 1, 25_500
        values[[band == ALPHA for band in bands]] = 65_535
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape = {"count": len(bands), "height": hw[0], "width": hw[1], "dtype": dtype}
        with rasterio.open(path, "w", driver="GTiff", **shape, **options) as file:
            file.write(values)
            file.colorinterp = bands
    return path


@pytest.mark.parametrize(
    ("bands", "colours", "has_opacity"),
    [
        ((RED, GREEN, BLUE), None, False),
        ((RED, GREEN, BLUE, NIR), None, False),
        ((RED, GREEN, BLUE, ALPHA), None, True),
        ((BLUE, GREEN, RED), (2, 1, 0), False),
        (PLANET, (2, 1, 0, 3), False),
        ((NIR, RED, GREEN, BLUE), (1, 2, 3, 0), False),
        ((NONE, BLUE, NONE, GREEN, NONE, RED, NONE, NIR), (5, 3, 1, 7), False),
        ((RED, GREEN, BLUE, NONE, NONE), (0, 1, 2, 3), False),
        ((NONE, NONE, NONE, NONE), None, False),
    ],
)
def test_a_file_says_which_of_its_bands_are_its_colours(tmp_path, bands, colours, has_opacity) -> None:
    layout = read_layout(write(tmp_path / "a.tif", bands).read_bytes())
    assert (layout.colours, layout.has_opacity) == (colours, has_opacity)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("bands", [PLANET, (NIR, RED, GREEN, BLUE), (BLUE, GREEN, RED), (RED, GREEN, BLUE, NIR)])
def test_colours_are_read_as_they_are_named_whole_and_in_windows(tmp_path, bands, dtype) -> None:
    """PlanetScope's order is blue, green, red, near infrared: red cars were blue."""
    path = write(tmp_path / "a.tif", bands, dtype)
    found = read_image(path)[3, 3]
    assert found.tolist() == pytest.approx([VALUES[BLUE], VALUES[GREEN], VALUES[RED]], abs=1)
    assert PictureWindows(path)[3:4, 3:4].tolist() == [[found.tolist()]]
    if NIR in bands:
        assert read_image(path, 4)[3, 3, 3] == pytest.approx(VALUES[NIR], abs=1)
        assert np.array_equal(PictureWindows(path, 4)[0:6, 0:8], read_image(path, 4))


CHOSEN = (NONE, BLUE, NONE, GREEN, NONE, RED, NONE, NIR)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    ("stored", "chosen"),
    [
        ((RED, GREEN, BLUE), (3, 1, 2)),
        ((RED, GREEN, BLUE, ALPHA), (2, 2, 1)),
        (PLANET, (4, 3, 2)),
        (PLANET, (3,)),
        (PLANET, (4, 1, 2, 3)),
        (CHOSEN, (8, 6, 4)),
        ((NONE, NIR), (2,)),
        ((NONE,), (1, 1, 1)),
        ((RED, GREEN, BLUE, ALPHA), (1, 2, 3, 4)),
    ],
)
def test_chosen_bands_are_read_whatever_the_file_calls_them(tmp_path, stored, chosen, dtype) -> None:
    path, reading = write(tmp_path / "a.tif", stored, dtype), Reading((0, 25_500), chosen)
    levels = [VALUES[stored[band - 1]] for band in chosen]
    expected = levels if len(chosen) == 1 else [levels[2], levels[1], levels[0], *levels[3:]]
    whole = read_whole(path, len(chosen), reading)
    assert (whole.shape, whole[3, 3].tolist()) == ((6, 8, len(chosen)), expected)
    assert np.array_equal(PictureWindows(path, len(chosen), reading)[0:6, 0:8], whole)
    if len(stored) in (1, 3, 4):
        assert np.array_equal(read_image(path, len(chosen), reading), whole)
    shown = read_whole(path, 3, reading)  # to be looked at
    assert shown[3, 3].tolist() == (expected * 3)[:3]


def test_bands_are_chosen_in_tiff_files_alone(tmp_path) -> None:
    """A PNG tile holds the chosen ones already, and its colours have an order of their own."""
    picture = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    assert np.array_equal(read_whole(tmp_path / "a.png", 3, Reading(bands=(5, 3, 2))), picture)
    palette = Image.fromarray(picture).quantize(16)
    palette.save(tmp_path / "b.tif")
    expected = np.asarray(palette.convert("RGB"))[..., ::-1]
    assert np.array_equal(read_whole(tmp_path / "b.tif", 3, Reading(bands=(1, 1, 1))), expected)


@pytest.mark.parametrize("stored", [(NONE,), (RED, GREEN, BLUE), PLANET, (NONE, NONE)])
def test_a_band_that_a_file_has_not_is_told(tmp_path, stored) -> None:
    path = write(tmp_path / "a.tif", stored)
    for read in (read_image, read_whole, PictureWindows):
        with pytest.raises(ImageError, match=r"a\.tif: has .* bands?, and the bands 5 3 2 are to be read"):
            read(path, 3, Reading(bands=(5, 3, 2)))


def test_of_unnamed_bands_it_is_told_how_to_choose(tmp_path, monkeypatch) -> None:
    path = write(tmp_path / "a.tif", (NONE,) * 6)
    with pytest.raises(ImageError, match=r"has 6 bands; .* --bands 1 2 3, .* gdal_translate -b 1 -b 2 -b 3"):
        read_whole(path)
    monkeypatch.setattr(picture_windows, "why_no_rasterio", lambda: "pip install it")
    with pytest.raises(ImageError, match=r"only GDAL can read.*gdal_translate -b 5 -b 3 -b 2; or .* pip install it"):
        read_whole(path, 3, Reading(bands=(5, 3, 2)))
    with pytest.raises(ImageError, match=r"more than 4 of its bands are to be read, by rasterio: pip install it$"):
        read_whole(path, 5, Reading(bands=(5, 3, 2, 1, 4)))


def test_of_eight_bands_the_named_ones_are_read_in_windows(tmp_path) -> None:
    path = write(tmp_path / "a.tif", (NONE, BLUE, NONE, GREEN, NONE, RED, NONE, NIR))
    assert open_picture(path)[2:3, 2:3].tolist() == [[[VALUES[BLUE], VALUES[GREEN], VALUES[RED]]]]
    assert open_picture(path, 4)[
        2:3,
        2:3,
    ].tolist() == [[[VALUES[BLUE], VALUES[GREEN], VALUES[RED], VALUES[NIR]]]]
    with pytest.raises(ImageError, match=r"has 8 bands, .* only GDAL can read.* gdal_translate -b 6 -b 4 -b 2"):
        read_image(path)
    unnamed = write(tmp_path / "b.tif", (NONE,) * 8)
    for read in (read_image, open_picture):
        with pytest.raises(ImageError, match="has 8 bands; pictures of 1, 3 and 4 can be read"):
            read(unnamed)


def test_more_bands_of_a_file_that_is_called_rgb_are_read_too(tmp_path) -> None:
    """GDAL writes no names where they are what PHOTOMETRIC says anyway."""
    path = write(tmp_path / "a.tif", (RED, GREEN, BLUE, NONE, ALPHA), photometric="RGB")
    assert read_layout(path.read_bytes()).colours == (0, 1, 2, 3)
    assert open_picture(path, 4)[2:3, 2:3].tolist() == [[[VALUES[BLUE], VALUES[GREEN], VALUES[RED], VALUES[NONE]]]]


def test_the_remedy_for_colours_out_of_order_puts_them_in_order(tmp_path) -> None:
    """A copy keeps the order of the bands and forgets their names: red cars would have been blue."""
    path = write(tmp_path / "a.tif", PLANET, photometric="MINISBLACK", interleave="pixel")
    expected = [VALUES[BLUE], VALUES[GREEN], VALUES[RED]]
    try:
        assert read_image(path)[2, 2].tolist() == expected
    except ImageError as error:
        assert "gdal_translate -b 3 -b 2 -b 1 -b 4 -co PHOTOMETRIC=RGB" in str(error)  # noqa: PT017
    assert open_picture(path)[2:3, 2:3].tolist() == [[expected]]


@pytest.mark.parametrize(("dtype", "value_range"), [("uint8", None), ("uint16", (0.0, 25_500.0))])
def test_opacity_is_seen_in_windows_whatever_the_values(tmp_path, dtype, value_range) -> None:
    path = write(tmp_path / "a.tif", (RED, GREEN, BLUE, ALPHA), dtype)
    with pytest.raises(ImageError, match="says where pixels are"):
        PictureWindows(path, 4, Reading(value_range))


def test_opacity_is_no_near_infrared(tmp_path) -> None:
    """A band of 65535 took part in the percentiles, and pictures came out almost black."""
    path = write(tmp_path / "a.tif", (RED, GREEN, BLUE, ALPHA), "uint16")
    assert read_image(path)[3, 3].tolist() == pytest.approx([VALUES[BLUE], VALUES[GREEN], VALUES[RED]], abs=1)
    for read in (read_image, PictureWindows):
        with pytest.raises(ImageError, match="says where pixels are"):
            read(path, 4)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("value_range", [None, (100.0, 3000.0)])
def test_what_stands_where_a_deep_picture_is_transparent_decides_on_nothing(tmp_path, dtype, value_range) -> None:
    """Filled with 65535, as some programs do, all that is seen became black."""
    values = np.random.default_rng(0).integers(500, 2500, (4, 60, 80)).astype(dtype)
    values[3] = 65535 if dtype == "uint16" else 1
    values[3, :, :30] = 0
    seen = []
    for fill in (0, 10_000, 65_535):
        values[:3, :, :30] = fill
        path = tmp_path / f"{fill}.tif"
        facts = {"count": 4, "height": 60, "width": 80, "dtype": dtype, "photometric": "RGB", "alpha": "yes"}
        with rasterio.open(path, "w", driver="GTiff", **facts) as file:
            file.write(values)
        reading = Reading(value_range)
        seen += [read_image(path, reading=reading), PictureWindows(path, 3, reading)[0:60, 0:80]]
    assert all(np.array_equal(seen[0], other) for other in seen[1:])
    assert not seen[0][:, :30].any()
    assert seen[0][:, 30:].std() > 40


def test_near_infrared_that_is_called_opacity_takes_no_pixels_away(tmp_path) -> None:
    """GDAL calls the fourth of four bands so; where water is dark there, its colours still count."""
    values = np.random.default_rng(0).integers(500, 2500, (4, 60, 80)).astype("uint16")
    values[3, :, :30] = 0
    facts = {"count": 4, "height": 60, "width": 80, "dtype": "uint16", "photometric": "RGB", "alpha": "yes"}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", **facts) as file:
        file.write(values)
    for image in (read_image(tmp_path / "a.tif"), PictureWindows(tmp_path / "a.tif", 3)[0:60, 0:80]):
        assert image[:, :30].std() > 40


def test_a_fourth_band_that_is_called_opacity_by_default_and_is_none_is_read(tmp_path) -> None:
    """GDAL calls the fourth of 8-bit bands so unless it is told not to."""
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 8), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", count=4, height=6, width=8, dtype="uint8") as file:
            file.write(values)
    assert read_layout((tmp_path / "a.tif").read_bytes()).has_opacity
    assert np.array_equal(read_image(tmp_path / "a.tif", 4), values[[2, 1, 0, 3]].transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 255], np.uint8), True),
        (np.array([0, 254], np.uint8), False),
        (np.array([65_535, 65_535], np.uint16), True),
        (np.array([0.0, 1.0], np.float32), True),
        (np.array([0.0, 0.5], np.float32), False),
    ],
)
def test_a_mask_holds_nothing_but_the_least_and_the_greatest(values, expected) -> None:
    assert is_mask(values) is expected


def test_what_is_no_known_header_has_the_usual_layout() -> None:
    for data in (b"", b"II*\0", b"\x89PNG", b"GIF89a"):
        assert read_layout(data) == Layout()


@pytest.mark.parametrize("num_bands", [3, 4, 6])
def test_each_band_has_a_range_of_its_own(tmp_path, num_bands, monkeypatch) -> None:
    """Red from 0 to 100, green from 0 to 200 and so on: what is 50 in all is darker in each."""
    path = write(tmp_path / "a.tif", (NONE,) * num_bands, "uint16")
    with rasterio.open(path, "r+") as file:
        file.write(np.full((num_bands, 6, 8), 50, np.uint16))
    ranges = tuple(value for number in range(num_bands) for value in (0.0, 100.0 * (number + 1)))
    expected = [255 * 50 / (100 * (number + 1)) for number in (2, 1, 0, *range(3, num_bands))]
    reading = Reading(ranges, tuple(range(1, num_bands + 1)))
    assert read_whole(path, num_bands, reading)[3, 3].tolist() == pytest.approx(expected, abs=0.51)
    shown = read_whole(path, 3, reading)[3, 3].tolist()
    assert shown == pytest.approx(expected[:3], abs=0.51), "of more bands than are shown the colours"
    monkeypatch.setattr(picture_windows, "LEAST_PIXELS", 1)
    window = open_picture(path, num_bands, reading)[3:4, 3:4]
    assert window[0, 0].tolist() == pytest.approx(expected, abs=0.51)


def test_a_grey_picture_has_the_range_of_each_channel_too(tmp_path, monkeypatch) -> None:
    path = write(tmp_path / "a.tif", (NONE,), "uint16")
    with rasterio.open(path, "r+") as file:
        file.write(np.full((1, 6, 8), 50, np.uint16))
    for least in (1 << 26, 1):
        monkeypatch.setattr(picture_windows, "LEAST_PIXELS", least)
        picture = open_picture(path, 3, Reading((0.0, 100.0, 0.0, 50.0, 0.0, 200.0)))
        assert picture[3:4, 3:4][0, 0].tolist() == pytest.approx([63.75, 255, 127.5], abs=0.51)


def test_two_bands_of_a_radar_are_three_channels_by_naming_one_twice(tmp_path) -> None:
    path = tmp_path / "a.tif"
    levels = np.zeros((2, 6, 8), np.float32)
    levels[0], levels[1, :, 4:] = np.arange(8), 7
    with rasterio.open(path, "w", driver="GTiff", count=2, height=6, width=8, dtype="float32") as file:
        file.write(levels)
    picture = read_whole(path, 3, Reading((0.0, 7.0), (1, 1, 2)))
    assert picture[0, :, 2].tolist() == picture[0, :, 1].tolist() == [round(255 * x / 7) for x in range(8)]
    assert picture[0, :, 0].tolist() == [0] * 4 + [255] * 4
