"""The one codec: quads, rectangles, boundary vectors and angle boxes, each into the others.

A quad is (4, 2), x then y, in pixels, clockwise on the screen (y grows downwards). The rectangles made here start at
the corner that is top left in the box's own frame, whose first axis points to the right, up to a quarter turn upwards:
for an axis-aligned rectangle at its top left corner, for a rotated one at its leftmost.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import NamedTuple, TypeVar

import numpy as np

from DOTA_devkit.jit import njit

DOWN_RATIO = 4  # pixels of an input per cell of the network's maps, in which boundary vectors are told
ALIGNED_ANGLE = 1e-3  # radians up to which a rectangle counts as axis-aligned: float32 gives no exact one
ROTATED_BELOW = 0.95  # a rectangle is rotated when it fills less of its outer horizontal box (Yi et al., section 3)
ANGLE_RANGES = {  # where the half-open range of angles starts, in radians, and whether w must be the long side
    "le90": (-math.pi / 2, True),
    "le135": (-math.pi / 4, True),
    "yolo": (-math.pi / 4, True),
    "rolabelimg": (0.0, False),
}
CONVENTIONS = ("oc", *ANGLE_RANGES)

Array = TypeVar("Array")  # a numpy array or a torch tensor: the decoders read the same for both


class BoundaryVectors(NamedTuple):
    """Rectangles as BBAVectors describes them, all in pixels (Yi et al., WACV 2021, section 3.2).

    center: (N, 2). vectors: (N, 4, 2) from the centre to the middles of the sides t, r, b, l.
    outer: (N, 2) width and height of the outer horizontal box. rotated: (N,) bool.
    """

    center: np.ndarray
    vectors: np.ndarray
    outer: np.ndarray
    rotated: np.ndarray


def signed_area(polygons: np.ndarray) -> np.ndarray:
    """Area of polygons (..., P, 2), positive when they run clockwise on the screen: (...), pixels squared.

    The sum of cross products is taken relative to the first corner, so that a position far from the origin costs
    no accuracy.
    """
    polygons = np.asarray(polygons, dtype=np.float64)
    spokes = polygons[..., 1:, :] - polygons[..., :1, :]
    return _cross(spokes[..., :-1, :], spokes[..., 1:, :]).sum(-1) / 2


def polygon_area(polygons: np.ndarray) -> np.ndarray:
    """Area of polygons (..., P, 2) in either direction: (...), pixels squared."""
    return np.abs(signed_area(polygons))


def self_crossing(quads: np.ndarray) -> np.ndarray:
    """Which of the quads (N, 4, 2) have two sides that cross: (N,) bool.

    Then, and only then, the turns at both pairs of opposite corners differ in sign.
    """
    quads = as_quads(quads)
    sides = np.roll(quads, -1, axis=1) - quads
    turns = np.sign(_cross(np.roll(sides, 1, axis=1), sides))
    return (turns[:, 0] * turns[:, 2] < 0) & (turns[:, 1] * turns[:, 3] < 0)


def order_clockwise(quads: np.ndarray) -> np.ndarray:
    """The quads (N, 4, 2), those that run counter-clockwise on the screen turned round; the first corner stays."""
    quads = as_quads(quads)
    return np.where(signed_area(quads)[:, None, None] < 0, quads[:, [0, 3, 2, 1]], quads)


def rectangle_sides(quads: np.ndarray) -> np.ndarray:
    """The short and the long side (N, 2) of the smallest rectangles around quads (N, 4, 2): of what is learnt of them,
    and not the sides as they are drawn, of which one may be short in a large quad."""
    rectangles = minimum_area_rectangles(quads)
    return np.sort(np.linalg.norm(rectangles[:, 1:3] - rectangles[:, 0:2], axis=2), axis=1)


def outer_quads(quads: np.ndarray, whole_pixels: bool = False) -> np.ndarray:
    """The outer horizontal boxes of quads (N, 4, 2), as quads (N, 4, 2): what Task 2 compares.

    `whole_pixels` makes them one pixel wider and higher, which gives the overlap of the published Task 2 protocol,
    where xmax and ymax are the last pixels inside.
    """
    low, high = quads.min(axis=1), quads.max(axis=1) + float(whole_pixels)
    corners = [low[:, 0], low[:, 1], high[:, 0], low[:, 1], high[:, 0], high[:, 1], low[:, 0], high[:, 1]]
    return np.stack(corners, axis=1).reshape(-1, 4, 2)


def minimum_area_rectangles(points: np.ndarray) -> np.ndarray:
    """The smallest rectangles (N, 4, 2) around sets of finite points (N, P, 2), in any order, P at least 1.

    Exact: such a rectangle has a side along an edge of the points' hull (Freeman and Shapira, CACM 1975), and every
    edge joins two of the points. Repeated points change nothing, so that sets of different sizes can be padded.
    Points on one line give a rectangle of zero area. The same under every version of OpenCV, which has no part in it.

    Raises ValueError when the shape is another.
    """
    points = np.ascontiguousarray(points, dtype=np.float64)
    if points.ndim != 3 or points.shape[1] == 0 or points.shape[2] != 2:
        raise ValueError(f"points must have shape (N, P, 2) with P at least 1, got {points.shape}")
    return _fit_rectangles(points)


def encode_vectors(quads: np.ndarray) -> BoundaryVectors:
    """The boundary vectors of quads (N, 4, 2), each replaced by its minimum-area rectangle.

    For a rotated rectangle t, r, b, l lie in the quadrants up-left, up-right, down-right, down-left; for one that is
    axis-aligned to within 1e-3 rad they point up, right, down, left (Yi et al., WACV 2021, section 3.2; here wherever
    the corners begin).
    """
    corners = minimum_area_rectangles(as_quads(quads))
    center = corners.mean(axis=1)
    vectors = (corners + np.roll(corners, -1, axis=1)) / 2 - center[:, None]
    outer = corners.max(axis=1) - corners.min(axis=1)
    rotated = polygon_area(corners) < ROTATED_BELOW * outer[:, 0] * outer[:, 1]
    return BoundaryVectors(center, vectors, outer, rotated)


def free_quads(center: Array, vectors: Array, xp: ModuleType = np) -> Array:
    """Corners c+t+l, c+t+r, c+b+r, c+b+l of centres (..., 2) and vectors t, r, b, l (..., 4, 2): (..., 4, 2).

    `xp` is numpy or torch, whichever made the arrays; so in `rectangle_quads` and `horizontal_quads`. Nothing depends
    on the values, so that all three can be traced for export.
    """
    t, r, b, l = _split(vectors)  # noqa: E741
    return xp.stack([center + t + l, center + t + r, center + b + r, center + b + l], -2)


def rectangle_quads(center: Array, vectors: Array, xp: ModuleType = np) -> Array:
    """The true rectangle of free centres (..., 2) and vectors t, r, b, l (..., 4, 2): (..., 4, 2), from c+t+l on.

    Centre c + (t+r+b+l)/2, sides |r-l| and |b-t|, direction the length-weighted mean of the two axes. Where they cancel
    out, as for four zero vectors, the rectangle is axis-aligned.
    """
    t, r, b, l = _split(vectors)  # noqa: E741
    across, down = r - l, b - t
    x = across[..., 0] + down[..., 1]
    y = across[..., 1] - down[..., 0]
    length = xp.sqrt(x * x + y * y)
    divisor = xp.where(length > 0, length, 1.0)
    cosine, sine = xp.where(length > 0, x / divisor, 1.0), y / divisor
    half_width = xp.sqrt(across[..., 0] * across[..., 0] + across[..., 1] * across[..., 1]) / 2
    half_height = xp.sqrt(down[..., 0] * down[..., 0] + down[..., 1] * down[..., 1]) / 2
    return _corners(center + (t + r + b + l) / 2, half_width, half_height, cosine, sine, xp)


def horizontal_quads(center: Array, sizes: Array, xp: ModuleType = np) -> Array:
    """Axis-aligned boxes of centres (..., 2), widths and heights (..., 2), from the top left corner on: (..., 4, 2)."""
    half_width, half_height = sizes[..., 0] / 2, sizes[..., 1] / 2
    return _corners(center, half_width, half_height, 1.0, 0.0, xp)


def quads_to_boxes(quads: np.ndarray, convention: str) -> np.ndarray:
    """The minimum-area rectangles of quads (N, 4, 2) as boxes (N, 5): cx, cy, w, h in pixels, angle in radians.

    The angle is that of the side w, clockwise on the screen from the x axis, in every convention:

    - oc: OpenCV from 4.5.1 on, (0, pi/2]; either side may be the longer;
    - le90: [-pi/2, pi/2), w the long side;
    - le135 and yolo (Ultralytics in training; its results turn w and h round to have [0, pi/2)): [-pi/4, 3 pi/4), w
      the long side;
    - rolabelimg: [0, pi), either side may be the longer.

    Raises ValueError for another convention.
    """
    _check_convention(convention)
    corners = minimum_area_rectangles(as_quads(quads))
    along, down = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    width, height = np.hypot(along[:, 0], along[:, 1]), np.hypot(down[:, 0], down[:, 1])
    axis = np.where((width > 0)[:, None], along, np.stack([down[:, 1], -down[:, 0]], -1))
    angle = np.arctan2(axis[:, 1], axis[:, 0])
    if convention == "oc":
        turned = angle <= 0
        angle = np.where(turned, np.minimum(angle + math.pi / 2, math.pi / 2), angle)
    else:
        start, long_first = ANGLE_RANGES[convention]
        turned = (width < height) & long_first
        angle = np.mod(np.where(turned, angle + math.pi / 2, angle) - start, math.pi) + start
        angle = np.where(angle < start + math.pi, angle, start)  # the remainder of -1e-20 is rounded up to pi
    width, height = np.where(turned, height, width), np.where(turned, width, height)
    return np.column_stack([corners.mean(axis=1), width, height, angle])


def boxes_to_quads(boxes: np.ndarray, convention: str) -> np.ndarray:
    """Boxes (N, 5) of a convention of `quads_to_boxes` as quads (N, 4, 2), from the corner -w/2, -h/2 on.

    All conventions measure the same angle and differ only in its range; angles beyond the range are read as they are.

    Raises ValueError for another convention or shape.
    """
    _check_convention(convention)
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.size == 0:
        return np.zeros((0, 4, 2))
    if boxes.ndim != 2 or boxes.shape[1] != 5:
        raise ValueError(f"boxes must have shape (N, 5), got {boxes.shape}")
    cosine, sine = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    return _corners(boxes[:, :2], boxes[:, 2] / 2, boxes[:, 3] / 2, cosine, sine, np)


def as_quads(quads: np.ndarray, name: str = "quads") -> np.ndarray:
    """`quads` as a contiguous float64 array (N, 4, 2); an empty list counts as no quads.

    Raises ValueError, which calls the argument `name`, when the shape is another.
    """
    array = np.ascontiguousarray(quads, dtype=np.float64)
    if array.ndim == 1 and array.size == 0:
        return array.reshape(0, 4, 2)
    if array.ndim != 3 or array.shape[1:] != (4, 2):
        raise ValueError(f"{name} must have shape (N, 4, 2), got {np.shape(quads)}")
    return array


@njit
def fit_rectangle(points: np.ndarray, rectangle: np.ndarray) -> None:
    """Write the minimum-area rectangle of points (P, 2) into `rectangle` (4, 2), both float64; for compiled code.

    Of equally small rectangles (to 1e-12) the one along the first pair of points is taken.
    """
    num_points = points.shape[0]
    mean_x, mean_y = 0.0, 0.0
    for k in range(num_points):
        mean_x += points[k, 0]
        mean_y += points[k, 1]
    mean_x, mean_y = mean_x / num_points, mean_y / num_points
    best_area, cosine, sine = np.inf, 1.0, 0.0
    for i in range(num_points):
        for j in range(i + 1, num_points):
            x, y = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1]
            length = math.hypot(x, y)
            if 0.0 < length < np.inf:  # beyond 1e308 it overflows
                left, top, right, bottom = _extent(points, mean_x, mean_y, x / length, y / length)
                area = (right - left) * (bottom - top)
                if area < best_area * (1.0 - 1e-12):
                    best_area, cosine, sine = area, x / length, y / length
    while not (cosine > 0.0 and sine >= 0.0):  # at most three quarter turns bring the axis to [0, pi/2)
        cosine, sine = sine, -cosine
    if sine > math.sin(ALIGNED_ANGLE):
        cosine, sine = sine, -cosine
    left, top, right, bottom = _extent(points, mean_x, mean_y, cosine, sine)
    for k in range(4):
        u = left if k == 0 or k == 3 else right
        v = top if k < 2 else bottom
        rectangle[k, 0] = mean_x + u * cosine - v * sine
        rectangle[k, 1] = mean_y + u * sine + v * cosine


@njit
def _extent(points: np.ndarray, x: float, y: float, cosine: float, sine: float) -> tuple[float, float, float, float]:
    """Bounds of the points in the frame at x, y whose first axis is (cosine, sine): left, top, right, bottom."""
    left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
    for k in range(points.shape[0]):
        dx, dy = points[k, 0] - x, points[k, 1] - y
        u, v = dx * cosine + dy * sine, dy * cosine - dx * sine
        left, top, right, bottom = min(left, u), min(top, v), max(right, u), max(bottom, v)
    return left, top, right, bottom


@njit
def _fit_rectangles(points: np.ndarray) -> np.ndarray:
    rectangles = np.empty((points.shape[0], 4, 2))
    for i in range(points.shape[0]):
        fit_rectangle(points[i], rectangles[i])
    return rectangles


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _split(vectors: Array) -> tuple[Array, Array, Array, Array]:
    return vectors[..., 0, :], vectors[..., 1, :], vectors[..., 2, :], vectors[..., 3, :]


def _corners(
    center: Array, half_width: Array, half_height: Array, cosine: Array | float, sine: Array | float, xp: ModuleType
) -> Array:
    across = xp.stack([half_width * cosine, half_width * sine], -1)
    down = xp.stack([half_height * -sine, half_height * cosine], -1)
    return xp.stack(
        [center - across - down, center + across - down, center + across + down, center - across + down], -2
    )


def _check_convention(convention: str) -> None:
    if convention not in CONVENTIONS:
        raise ValueError(f"unknown angle convention {convention!r}; known: {', '.join(CONVENTIONS)}")
