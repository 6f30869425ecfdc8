"""Where a picture lies on the Earth: from its pixels to longitude and latitude and back, by rasterio."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from datasets.picture_files.rasters import open_raster, why_no_rasterio
from DOTA_devkit.reasons import first_line

if TYPE_CHECKING:
    from rasterio.crs import CRS

LONGITUDE_LATITUDE = "OGC:CRS84"  # WGS 84 with longitude first, that of RFC 7946, section 4


class GeoreferenceError(ValueError):
    """A picture of which it is not known where it lies, or a coordinate system that nobody knows; says what to do."""


class Georeference(NamedTuple):
    """affine (2, 3): from pixels, where pixel i covers [i, i + 1), to the coordinates of `crs`; size: height, width."""

    affine: np.ndarray
    crs: CRS
    size: tuple[int, int]

    def to_map(self, points: np.ndarray) -> np.ndarray:
        """Pixels (N, 2), x then y, -> coordinates (N, 2) of `crs`."""
        return points @ self.affine[:, :2].T + self.affine[:, 2]

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Coordinates (N, 2) of `crs` -> pixels (N, 2)."""
        with np.errstate(invalid="ignore"):  # of what has no place in `crs`
            return (points - self.affine[:, 2]) @ np.linalg.inv(self.affine[:, :2]).T

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Coordinates (N, 2) of `crs` -> those of the same places that are nearest to the picture: 179 degrees west is
        181 east of one that lies across the antimeridian."""
        turn = _whole_turn(self.crs)
        if turn is None:
            return points
        middle = self.to_map(np.array([self.size[::-1]]) / 2)[0, 0]
        with np.errstate(invalid="ignore"):
            return points + np.stack([np.round((middle - points[:, 0]) / turn) * turn, np.zeros(len(points))], axis=1)


def read_georeference(path: Path) -> Georeference:
    """Where the picture lies, by its own tags (GeoTIFF, JPEG 2000) or by a world file or `.aux.xml` beside it.

    Raises GeoreferenceError where rasterio is missing, the file cannot be read, or it does not tell.
    """
    rasterio = _rasterio()
    try:
        with open_raster(path) as picture:
            affine, crs, size = picture.transform, picture.crs, picture.shape
            has_points = bool(picture.gcps[0] or picture.rpcs)
    except rasterio.errors.RasterioError as error:
        raise GeoreferenceError(f"cannot be opened as a raster ({first_line(error)})") from error
    matrix = np.array(affine).reshape(3, 3)[:2]
    if has_points and affine.is_identity:
        raise GeoreferenceError("tells its place by control points only; straighten it, for instance with gdalwarp")
    if affine.is_identity or abs(np.linalg.det(matrix[:, :2])) == 0:
        raise GeoreferenceError("does not tell where it lies; save it as a GeoTIFF, or put a world file beside it")
    if crs is None:
        remedy = "tell it, for instance with: rio edit-info --crs EPSG:32632 FILE"
        raise GeoreferenceError(f"tells its place, but not in which coordinate system; {remedy}")
    return Georeference(matrix, crs, size)


def read_crs(name: str) -> CRS:
    """The coordinate system of this name, such as `EPSG:32632`, or an URN. Raises GeoreferenceError for none."""
    rasterio = _rasterio()
    try:
        return rasterio.crs.CRS.from_user_input(name)
    except rasterio.errors.CRSError as error:
        raise GeoreferenceError(f"the coordinate system {name!r} is not known; give an EPSG number") from error


def between(source: CRS, target: CRS, points: np.ndarray) -> np.ndarray:
    """Points (N, 2) in the coordinates of another system, x (or longitude) first in both; infinite where they have
    no place in it."""
    _rasterio()
    from rasterio.warp import transform

    if source == target or not len(points):
        return points
    try:
        return np.stack(transform(source, target, *points.T.tolist()), axis=1)
    except Exception:  # of GDAL, whose errors rasterio hands on as they are: one point may be the reason
        if len(points) == 1:
            return np.full((1, 2), np.inf)
        halves = np.array_split(points, 2)
        return np.concatenate([between(source, target, half) for half in halves])


@lru_cache
def _whole_turn(crs: CRS) -> float | None:
    """How far it is once round the Earth in a system in which x tells the longitude; None in any other."""
    if not (crs.is_geographic or crs.to_dict().get("proj") in ("merc", "webmerc")):
        return None
    degrees = np.array([[west + step, 0.0] for west in (-120, 0, 120) for step in (0, 1)])
    x = between(read_crs(LONGITUDE_LATITUDE), crs, degrees)[:, 0]
    return 360 * float(np.median(x[1::2] - x[::2]))  # of three degrees one may hold the seam


def _rasterio() -> ModuleType:
    why_not = why_no_rasterio()
    if why_not is not None:
        raise GeoreferenceError(f"maps need rasterio: {why_not}")
    import rasterio

    return rasterio
