"""What lies outside of what was flown is no picture: by a no-data value, opacity or a mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from datasets.picture_files.valid_pixels import read_valid_pixels

SQUARE = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])


def raster(path: Path, how: str, hw: tuple[int, int] = (60, 80)) -> Path:
    """A picture whose right half holds no data, or of which nothing says so."""
    count = 4 if how == "opacity" else 3
    shape = {"height": hw[0], "width": hw[1], "count": count, "dtype": "uint8"}
    values = np.full((count, *hw), 7, np.uint8)
    values[:, :, hw[1] // 2 :] = 0
    facts = shape | {"driver": "GTiff", "photometric": "RGB", "nodata": 0 if how == "value" else None}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **facts) as file:
        if how == "opacity":
            file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        file.write(values)
        if how == "mask":
            file.write_mask(values[0] > 0)
    return path


@pytest.mark.parametrize("how", ["value", "opacity", "mask"])
def test_the_share_of_an_outline_that_holds_data_is_told(tmp_path: Path, how: str) -> None:
    valid = read_valid_pixels(raster(tmp_path / "图 1.tif", how))
    shares = [valid.share(SQUARE + np.array((left, 20))) for left in (5, 30, 35, 38, 40, 60)]
    assert shares == pytest.approx([1, 1, 0.5, 0.2, 0, 0], abs=0.1)
    assert shares[0] == shares[1] == 1
    assert shares[-1] == shares[-2] == 0
    assert valid.share(SQUARE + np.array((200, 0))) == 1, "nothing is known beyond the border"
    assert valid.share(SQUARE + np.array((-5, -5))) == 1


def test_a_large_picture_is_looked_at_by_some_of_its_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.picture_files.valid_pixels.LONGEST_SIDE", 40)
    valid = read_valid_pixels(raster(tmp_path / "a.tif", "value"))
    assert valid.mask.shape == (30, 40)
    assert [valid.share(SQUARE + np.array((left, 20))) for left in (20, 60)] == [1, 0]


def test_of_a_picture_that_says_nothing_all_pixels_are_taken_for_data(tmp_path: Path) -> None:
    assert read_valid_pixels(raster(tmp_path / "a.tif", "nothing")) is None
