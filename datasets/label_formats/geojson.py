"""GeoJSON (RFC 7946), as GIS programs show it: oriented boxes on the map, by where each picture lies on the Earth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from datasets.label_formats.annotations import (
    AnnotatedSet,
    Ledger,
    Picture,
    names_file,
)
from datasets.picture_files.georeference import (
    LONGITUDE_LATITUDE,
    GeoreferenceError,
    between,
    read_crs,
    read_georeference,
)
from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.labels import LabelError

SUFFIXES = (".geojson", ".json")
FILE_NAME = "objects.geojson"
WGS84_A, WGS84_E2 = 6378137.0, 0.00669437999014  # half axis in metres, eccentricity squared
DIGITS = 11  # of a degree: a micrometre, a thousandth of the finest pixels (RFC 7946, section 11.2: as many as needed)
NO_PICTURE = "objects of pictures that were not found; name their folder with --images"
NO_PLACE = "objects that have no place on the map in longitude and latitude"


def write_geojson(dst: Path, annotated: AnnotatedSet, ledger: Ledger) -> None:
    """Write one file, `dst` if it is called *.geojson or *.json, else `objects.geojson` in that folder: a feature a
    line, its outline a polygon in longitude and latitude, its properties `image`, `class`, `score` (of a prediction)
    or `difficult`, and what `_measures` says. Objects of pictures that do not tell where they lie are left out, each
    picture a fault."""
    path = dst if names_file(dst, SUFFIXES) else dst / FILE_NAME
    with atomic_write(path, sync=False) as file:
        file.write('{"type": "FeatureCollection", "features": [')
        start = "\n"
        for picture in annotated.pictures:
            for feature in _features(picture, ledger):
                file.write(start + json.dumps(feature, ensure_ascii=False))
                start = ",\n"
        file.write("\n]}\n")


def _features(picture: Picture, ledger: Ledger) -> list[dict[str, Any]]:
    labels = picture.labels
    if not labels.names:
        return []
    if picture.path is None:
        ledger.left_out[NO_PICTURE] += len(labels.names)
        return []
    try:
        place = read_georeference(picture.path)
    except GeoreferenceError as error:
        ledger.faults.append(LabelError(picture.path, 1, str(error)))
        ledger.left_out[NO_PLACE] += len(labels.names)
        return []
    points = between(place.crs, read_crs(LONGITUDE_LATITUDE), place.to_map(labels.quads.reshape(-1, 2)))
    features = []
    for row, quad in enumerate(_beyond_180(points.reshape(-1, 4, 2))):
        if not np.isfinite(quad).all():
            ledger.left_out[NO_PLACE] += 1
            continue
        properties: dict[str, Any] = {
            "image": picture.own_file_name,
            "class": labels.names[row],
            **_measures(quad),
        }
        if picture.scores is None:
            properties["difficult"] = int(labels.difficult[row])
        else:
            properties["score"] = round(float(picture.scores[row]), 6)
        ring = _counter_clockwise(quad).round(DIGITS).tolist()
        geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return features


def _measures(quad: np.ndarray) -> dict[str, float]:
    """Of a box (4, 2) in longitude and latitude on the ground: `length_m` and `width_m`, its longer and shorter side in
    metres, and `azimuth`, the direction of the longer one in degrees clockwise from north, 0 to 180.

    On the plane that touches WGS 84 at the box's middle, so that no projection stretches anything, also at the poles
    (Snyder, Map Projections: A Working Manual, USGS 1395, 1987, equations 3-1 and 4-20, for points on the ellipsoid).
    """
    longitude, latitude = np.deg2rad(quad).T
    normal = WGS84_A / np.sqrt(1 - WGS84_E2 * np.sin(latitude) ** 2)
    axis = normal * np.cos(latitude)  # distance from the axis of the Earth
    places = np.stack(
        [axis * np.cos(longitude), axis * np.sin(longitude), normal * (1 - WGS84_E2) * np.sin(latitude)], axis=1
    )
    x, y, z = places.mean(axis=0)
    here, up = np.arctan2(y, x), np.arctan2(z, np.hypot(x, y) * (1 - WGS84_E2))
    east = np.array([-np.sin(here), np.cos(here), 0])
    north = np.array([-np.sin(up) * np.cos(here), -np.sin(up) * np.sin(here), np.cos(up)])
    points = (places - places[0]) @ np.stack([east, north], axis=1)
    middles = (points + np.roll(points, -1, axis=0)) / 2
    axes = middles[[0, 1]] - middles[[2, 3]]
    sides = np.hypot(*axes.T)
    to_east, to_north = axes[sides.argmax()]
    azimuth = round(float(np.rad2deg(np.arctan2(to_east, to_north))) % 180, 1) % 180
    return {"length_m": round(float(sides.max()), 2), "width_m": round(float(sides.min()), 2), "azimuth": azimuth}


def _beyond_180(quads: np.ndarray) -> np.ndarray:
    """Quads (N, 4, 2) in longitude and latitude; those across the antimeridian go on beyond 180 degrees, as QGIS draws
    them where they lie, instead of around the Earth."""
    x, y = quads[..., 0], quads[..., 1]
    is_across = np.ptp(x, axis=1, keepdims=True) > 180
    return np.stack([np.where(is_across & (x < 0), x + 360, x), y], axis=-1)


def _counter_clockwise(ring: np.ndarray) -> np.ndarray:
    """The corners (P, 2) in the order that RFC 7946, section 3.1.6, asks for."""
    x, y = (ring - ring[0]).T
    return ring if x @ np.roll(y, -1) >= y @ np.roll(x, -1) else ring[::-1]
