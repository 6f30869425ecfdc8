"""Files open by rasterio as files, without warnings about their place; where it is missing the pip line is named."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.picture_files.rasters import open_raster, why_no_rasterio


def test_a_name_that_gdal_takes_for_an_address_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2.imwrite(str(tmp_path / "a.tif"), np.full((2, 3), 7, np.uint8))
    (tmp_path / "a.tif").rename(tmp_path / "http:a.tif")
    monkeypatch.chdir(tmp_path)
    with open_raster(Path("http:a.tif")) as file:
        assert file.read(1).tolist() == [[7, 7, 7], [7, 7, 7]]


def test_a_picture_without_a_place_is_no_warning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "a.tif"):
        cv2.imwrite(str(tmp_path / name), np.zeros((2, 3), np.uint8))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            open_raster(tmp_path / name).close()
    assert capfd.readouterr().err == ""


def test_without_rasterio_the_pip_line_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_no_rasterio() is None
    monkeypatch.setitem(sys.modules, "rasterio.crs", None)
    assert "pip install -r requirements-geo.txt" in str(why_no_rasterio())
