"""Pixels come out on the Earth where maps have them, and what does not tell its place is refused with a remedy."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine, from_origin

from datasets.picture_files.georeference import (
    LONGITUDE_LATITUDE,
    GeoreferenceError,
    between,
    read_crs,
    read_georeference,
)

UTM_32N = "EPSG:32632"


def geotiff(path: Path, affine: Affine | None, crs: str | None = UTM_32N, hw: tuple[int, int] = (160, 200)) -> Path:
    """A black picture in colour that lies there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {"height": hw[0], "width": hw[1], "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=affine, **shape) as file:
        file.write(np.zeros((3, *hw), np.uint8))
    return path


def latitude_on_the_central_meridian(northing: float) -> float:
    """Of UTM on WGS 84, in degrees. Snyder, Map Projections: A Working Manual (USGS 1395, 1987), equations 3-24, 3-26
    and 7-19."""
    a, e2 = 6378137.0, 0.00669437999014
    mu = northing / 0.9996 / (a * (1 - e2 / 4 - 3 * e2**2 / 64 - 5 * e2**3 / 256))
    e1 = (1 - math.sqrt(1 - e2)) / (1 + math.sqrt(1 - e2))
    terms = (3 * e1 / 2 - 27 * e1**3 / 32, 21 * e1**2 / 16 - 55 * e1**4 / 32, 151 * e1**3 / 96, 1097 * e1**4 / 512)
    return math.degrees(mu + sum(term * math.sin(2 * n * mu) for n, term in enumerate(terms, start=1)))


def test_a_pixel_of_a_geotiff_has_the_longitude_and_latitude_of_the_textbook(tmp_path: Path) -> None:
    path = geotiff(tmp_path / "图.tif", from_origin(499_990, 5_400_020, 0.25, 0.5))
    place = read_georeference(path)
    assert place.size == (160, 200)
    on_map = place.to_map(np.array([[40.0, 40.0], [0.0, 0.0]]))
    assert on_map.tolist() == [[500_000, 5_400_000], [499_990, 5_400_020]]
    (longitude, latitude), _ = between(place.crs, read_crs(LONGITUDE_LATITUDE), on_map)
    assert longitude == pytest.approx(9, abs=1e-9)
    assert latitude == pytest.approx(latitude_on_the_central_meridian(5_400_000), abs=1e-8)


def test_pixels_come_back_through_a_turned_raster(tmp_path: Path) -> None:
    affine = Affine.translation(700_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(0.1, -0.1)
    place = read_georeference(geotiff(tmp_path / "a.tif", affine))
    points = np.array([[0.0, 0.0], [200.0, 160.0], [12.5, 99.75]])
    there = between(place.crs, read_crs(LONGITUDE_LATITUDE), place.to_map(points))
    back = place.to_pixels(between(read_crs(LONGITUDE_LATITUDE), place.crs, there))
    assert np.abs(back - points).max() < 1e-3


def test_a_world_file_tells_the_place_and_aux_xml_the_system(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((160, 200, 3), np.uint8))[1].tobytes())
    path.with_suffix(".pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n5399999.75\n")  # of the middle of the first pixel
    with pytest.raises(GeoreferenceError, match=r"not in which coordinate system; .*rio edit-info --crs"):
        read_georeference(path)
    path.with_suffix(".png.aux.xml").write_text("<PAMDataset><SRS>EPSG:32632</SRS></PAMDataset>")
    place = read_georeference(path)
    assert place.to_map(np.array([[2.0, 2.0]])).tolist() == [[500_001, 5_399_999]]
    assert place.crs == read_crs(UTM_32N)


def test_what_does_not_tell_its_place_is_refused_with_a_remedy(tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    plain.write_bytes(cv2.imencode(".png", np.zeros((160, 200, 3), np.uint8))[1].tobytes())
    with pytest.raises(GeoreferenceError, match="does not tell where it lies; save it as a GeoTIFF"):
        read_georeference(plain)
    points = [GroundControlPoint(row, col, 9 + col / 1e4, 48 - row / 1e4) for row in (0, 160) for col in (0, 200)]
    path = tmp_path / "points.tif"
    shape = {"height": 160, "width": 200, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", gcps=points, crs="EPSG:4326", **shape) as file:
        file.write(np.zeros((1, 160, 200), np.uint8))
    with pytest.raises(GeoreferenceError, match="by control points only; straighten it"):
        read_georeference(path)
    damaged = tmp_path / "damaged.tif"
    damaged.write_bytes(b"II*\0 and nothing else")
    with pytest.raises(GeoreferenceError, match="cannot be opened as a raster"):
        read_georeference(damaged)
    with pytest.raises(GeoreferenceError, match="'EPSG:1' is not known"):
        read_crs("EPSG:1")


def test_without_rasterio_the_pip_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(GeoreferenceError, match=r"pip install -r requirements-geo\.txt"):
        read_georeference(tmp_path / "a.tif")


def test_points_that_a_projection_does_not_hold_are_infinite_and_cost_no_others() -> None:
    """GDAL stops at the first: one outline in metres would take the whole file along."""
    points = np.array([[9.0, 48.0], [500_000.0, 5_400_000.0], [9.5, 48.5], [99.0, 0.0]])
    found = between(read_crs(LONGITUDE_LATITUDE), read_crs(UTM_32N), points)
    assert np.isfinite(found).all(axis=1).tolist() == [True, False, True, False]
    assert found[0] == pytest.approx(between(read_crs(LONGITUDE_LATITUDE), read_crs(UTM_32N), points[:1])[0])
