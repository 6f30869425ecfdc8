"""Which bands of a file are its colours, as it says itself, and which only tells where pixels are."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from datasets.images import ImageError, read_image
from datasets.layouts import Layout, is_mask, read_layout
from datasets.picture_windows import PictureWindows, open_picture

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


def test_of_eight_bands_the_named_ones_are_read_in_windows(tmp_path) -> None:
    path = write(tmp_path / "a.tif", (NONE, BLUE, NONE, GREEN, NONE, RED, NONE, NIR))
    assert open_picture(path)[2:3, 2:3].tolist() == [[[VALUES[BLUE], VALUES[GREEN], VALUES[RED]]]]
    assert open_picture(path, 4)[
        2:3,
        2:3,
    ].tolist() == [[[VALUES[BLUE], VALUES[GREEN], VALUES[RED], VALUES[NIR]]]]
    with pytest.raises(ImageError, match=r"has 8 bands, .* in windows only.* gdal_translate -b 6 -b 4 -b 2"):
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
        PictureWindows(path, 4, value_range)


def test_opacity_is_no_near_infrared(tmp_path) -> None:
    """A band of 65535 took part in the percentiles, and pictures came out almost black."""
    path = write(tmp_path / "a.tif", (RED, GREEN, BLUE, ALPHA), "uint16")
    assert read_image(path)[3, 3].tolist() == pytest.approx([VALUES[BLUE], VALUES[GREEN], VALUES[RED]], abs=1)
    for read in (read_image, PictureWindows):
        with pytest.raises(ImageError, match="says where pixels are"):
            read(path, 4)


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
