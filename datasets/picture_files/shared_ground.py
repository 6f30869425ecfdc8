"""Which pictures show the same ground, by where they lie on the Earth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import shapely

from datasets.picture_files.georeference import (
    LONGITUDE_LATITUDE,
    GeoreferenceError,
    between,
    read_crs,
    read_georeference,
)
from datasets.picture_files.image_folders import SCENE_SUFFIXES

LEAST_SHARE = 0.1  # of the smaller picture's ground; less is what adjoining pictures share


def shared_ground(
    paths: Sequence[Path],
    track: Callable[[Sequence[Path]], Iterable[Path]] = iter,
    of_all: bool = False,
    unplaced: list[Path] | None = None,
) -> np.ndarray:
    """Pairs (M, 2) of the pictures, by number, that show the same ground: more than a tenth of that of the smaller one.

    TIFF and JPEG 2000 files alone are opened, and, unless it is asked `of_all`, none where the first of them does not
    tell where it lies or rasterio is missing. Pictures across the antimeridian share ground with none. Those of which
    it is not known where they lie go to `unplaced`, if it is asked `of_all`.
    """
    places = [number for number, path in enumerate(paths) if path.suffix.lower() in SCENE_SUFFIXES]
    if not of_all and (not places or _outline(paths[places[0]]) is None):
        return np.zeros((0, 2), np.int64)
    outlines = [_outline(path) for path in track([paths[number] for number in places])]
    known = [row for row, outline in enumerate(outlines) if outline is not None]
    if unplaced is not None:
        unplaced += [paths[number] for number in sorted({*range(len(paths))} - {places[row] for row in known})]
    if not known:
        return np.zeros((0, 2), np.int64)
    polygons = shapely.polygons([outlines[row] for row in known])
    first, second = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    pairs = np.stack([first, second], axis=1)[first < second]
    areas, one, other = shapely.area(polygons), polygons[pairs[:, 0]], polygons[pairs[:, 1]]
    shared = shapely.area(shapely.intersection(one, other))
    pairs = pairs[shared > LEAST_SHARE * areas[pairs].min(axis=1)]
    return np.array(places)[np.array(known)[pairs]].reshape(-1, 2)


def _outline(path: Path) -> np.ndarray | None:
    """The corners (4, 2) of a picture in longitude and latitude; None where they are not known."""
    try:
        place = read_georeference(path)
    except GeoreferenceError:
        return None
    height, width = place.size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    points = between(place.crs, read_crs(LONGITUDE_LATITUDE), place.to_map(corners))
    is_usable = np.isfinite(points).all() and np.ptp(points[:, 0]) < 180
    return points if is_usable else None
