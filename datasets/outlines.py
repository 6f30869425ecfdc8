"""Outlines of any number of points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from DOTA_devkit.boxes import minimum_area_rectangles
from DOTA_devkit.labels import LabelFault


def without_closing(points: Sequence[Sequence[float]]) -> Sequence[Sequence[float]]:
    """An outline (P, 2) without its last point where that is the first again, as GIS programs write it."""
    return points[:-1] if len(points) > 1 and list(points[0]) == list(points[-1]) else points


def outline_quad(points: Sequence[Sequence[float]], is_one: bool = True) -> tuple[np.ndarray, bool]:
    """An outline (P, 2) of finite points as a quad, and whether that is a rectangle instead: its four corners, or for
    another number, and where the points are those of several outlines (`is_one` False), their minimum-area rectangle.

    Raises LabelFault for fewer than three points, and for points on one line.
    """
    points = without_closing(points)
    if len(points) < 3:
        raise LabelFault("zero-area", f"an outline of {len(points)} points has no area; draw the object again")
    if is_one and len(points) == 4:
        return np.array(points, np.float64), False
    return smallest_rectangle(np.array(points, np.float64)), True


def smallest_rectangle(points: np.ndarray) -> np.ndarray:
    """The minimum-area rectangle (4, 2) of many points (P, 2), in time that even an outline of thousands allows.

    It has a side along an edge of the points' hull (Freeman and Shapira, CACM 1975). Raises LabelFault when all lie on
    one line.
    """
    import shapely  # here, so that formats without outlines do not wait for it

    origin = points.mean(axis=0)
    hull = shapely.get_coordinates(shapely.convex_hull(shapely.MultiPoint(points - origin)))[:-1]
    if len(hull) < 3:
        raise LabelFault("zero-area", "all points of the outline lie on one line; draw the object again")
    best_area, best = np.inf, hull[:1]
    for edge in np.roll(hull, -1, axis=0) - hull:
        axes = np.array([edge, (-edge[1], edge[0])]) / np.hypot(*edge)
        places = hull @ axes.T
        low, high = places.min(axis=0), places.max(axis=0)
        area = float(np.prod(high - low))
        if area < best_area:
            corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
            best_area, best = area, corners @ axes
    return minimum_area_rectangles(best[None])[0] + origin
