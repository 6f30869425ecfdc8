"""Exact overlap of quads: intersection over union, over the first area, and the bare intersection.

A quad is (4, 2), x then y, in pixels, in either direction of rotation. Every function here has an answer for every
input, never NaN, always within [0, 1] (areas: within [0, the smaller area]):

- simple quads are exact, convex or not; a non-convex one is the sum of the triangles beside its inner diagonal;
- a self-crossing quad (corners clicked in the wrong order) stands for its convex hull;
- a corner that is the one before it makes the quad a triangle;
- zero area (thinner than 1e-14 of its length), NaN or infinite corners, or numbers whose area overflows: overlap 0
  with everything, itself included.

Results are symmetric to the last bit and the overlap of a valid quad with itself is exactly 1. Coordinates are taken
relative to a corner of the smaller quad, so that a position far from the origin costs no accuracy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from DOTA_devkit.boxes import as_quads
from DOTA_devkit.jit import njit

THINNEST = 1e-14  # area over squared length below which rounding alone decides whether a quad has an area at all
SCRATCH = (4, 20, 2)  # four polygons; clipping by four lines makes 4 corners into 19 at most, were a quad ever so bent


class Shapes(NamedTuple):
    """Quads made ready for overlap: what depends on one quad alone is worked out once.

    corners: (N, 4, 2) clockwise on the screen, not crossing; the diagonal from corner 0 to corner 2 lies inside.
    boxes: (N, 4) xmin, ymin, xmax, ymax.
    areas: (N,) pixels squared; 0 marks a quad that overlaps nothing.
    convex: (N,) bool.
    """

    corners: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    convex: np.ndarray


def poly_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every quad of a (N, 4, 2) with every quad of b (M, 4, 2): (N, M) float64.

    Raises ValueError when an array has another shape.
    """
    return _all_pairs(as_quads(a, "a"), as_quads(b, "b"), False)


def intersection_over_first(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The part of each quad of a (N, 4, 2) that each quad of b (M, 4, 2) covers: (N, M) float64.

    Raises ValueError when an array has another shape.
    """
    return _all_pairs(as_quads(a, "a"), as_quads(b, "b"), True)


def one_to_many_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of the quad a (4, 2) with each quad of b (M, 4, 2): (M,) float64.

    Raises ValueError when an array has another shape.
    """
    return _all_pairs(as_quads(np.asarray(a)[None], "a"), as_quads(b, "b"), False)[0]


def paired_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of a[i] with b[i], both (P, 4, 2): (P,) float64.

    Raises ValueError when an array has another shape or the lengths differ.
    """
    return _pairs(*_same_length(a, b), True)


def paired_intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Area of the intersection of a[i] with b[i], both (P, 4, 2): (P,) float64, pixels squared.

    Raises ValueError when an array has another shape or the lengths differ.
    """
    return _pairs(*_same_length(a, b), False)


@njit
def prepare(quads: np.ndarray) -> Shapes:
    """Work out the `Shapes` of contiguous float64 quads (N, 4, 2)."""
    n = quads.shape[0]
    shapes = Shapes(np.empty((n, 4, 2)), np.empty((n, 4)), np.empty(n), np.empty(n, np.bool_))
    for i in range(n):
        _prepare_one(quads[i], shapes, i)
    return shapes


@njit
def outer_box(quad: np.ndarray) -> tuple[float, float, float, float]:
    """The horizontal box around a quad (4, 2): xmin, ymin, xmax, ymax."""
    return (
        min(min(quad[0, 0], quad[1, 0]), min(quad[2, 0], quad[3, 0])),
        min(min(quad[0, 1], quad[1, 1]), min(quad[2, 1], quad[3, 1])),
        max(max(quad[0, 0], quad[1, 0]), max(quad[2, 0], quad[3, 0])),
        max(max(quad[0, 1], quad[1, 1]), max(quad[2, 1], quad[3, 1])),
    )


@njit
def shapes_intersection(a: Shapes, i: int, b: Shapes, j: int, work: np.ndarray) -> float:
    """Area of the intersection of quad i of a with quad j of b; `work` is float64 scratch memory of shape SCRATCH."""
    if a.areas[i] == 0.0 or b.areas[j] == 0.0:
        return 0.0
    if not _boxes_meet(a.boxes, i, b.boxes, j):
        return 0.0
    if _comes_first(a.corners[i], a.areas[i], b.corners[j], b.areas[j]):
        area = _corners_intersection(a.corners[i], a.convex[i], b.corners[j], b.convex[j], work)
    else:
        area = _corners_intersection(b.corners[j], b.convex[j], a.corners[i], a.convex[i], work)
    smaller = min(a.areas[i], b.areas[j])
    return min(area, smaller) if area > 0.0 else 0.0


@njit
def shapes_iou(a: Shapes, i: int, b: Shapes, j: int, work: np.ndarray) -> float:
    """Intersection over union of quad i of a with quad j of b; `work` is float64 scratch memory of shape SCRATCH."""
    area = shapes_intersection(a, i, b, j, work)
    return area / (a.areas[i] + b.areas[j] - area) if area > 0.0 else 0.0


@njit
def copy_part(corners: np.ndarray, convex: bool, part: int, x: float, y: float, target: np.ndarray) -> None:
    """Write convex part `part` of prepared corners (4, 2) into `target`, relative to the point x, y.

    A convex quad is its own part 0. Parts 0 and 1 of another are the triangles beside the inner diagonal, written as
    the quads (0, 1, 2, 2) and (0, 2, 3, 3).
    """
    for k in range(4):
        source = k
        if not convex:
            source = min(k, 2) if part == 0 else min(k + (k > 0), 3)
        target[k, 0] = corners[source, 0] - x
        target[k, 1] = corners[source, 1] - y


@njit
def clip_part(subject: np.ndarray, window: np.ndarray, work: np.ndarray) -> int:
    """Intersect two convex clockwise quads (Sutherland and Hodgman, CACM 1974).

    Leaves the corners in work[0] (work[1] is used too) and returns their number, 0 for none. Where two sides are
    nearly parallel, the point at which they meet is ill-defined along the side; but there the side is so close to
    the window's that the area does not notice.
    """
    count = 4
    polygon, clipped = work[0], work[1]
    for k in range(4):
        polygon[k, 0], polygon[k, 1] = subject[k, 0], subject[k, 1]
    for edge in range(4):
        x, y = window[edge, 0], window[edge, 1]
        after = (edge + 1) & 3
        dx, dy = window[after, 0] - x, window[after, 1] - y
        last_x, last_y = polygon[count - 1, 0], polygon[count - 1, 1]
        last = dx * (last_y - y) - dy * (last_x - x)
        kept = 0
        for k in range(count):
            this_x, this_y = polygon[k, 0], polygon[k, 1]
            this = dx * (this_y - y) - dy * (this_x - x)
            if (this > 0.0 and last < 0.0) or (this < 0.0 and last > 0.0):
                share = last / (last - this)
                clipped[kept, 0] = last_x + share * (this_x - last_x)
                clipped[kept, 1] = last_y + share * (this_y - last_y)
                kept += 1
            if this >= 0.0:
                clipped[kept, 0] = this_x
                clipped[kept, 1] = this_y
                kept += 1
            last_x, last_y, last = this_x, this_y, this
        if kept == 0:
            return 0
        count = kept
        polygon, clipped = clipped, polygon
    return count


@njit
def fan_area(polygon: np.ndarray, count: int) -> float:
    """Signed area of the first `count` corners, positive clockwise on the screen, summed relative to the first."""
    x, y = polygon[0, 0], polygon[0, 1]
    twice = 0.0
    for k in range(1, count - 1):
        twice += (polygon[k, 0] - x) * (polygon[k + 1, 1] - y) - (polygon[k, 1] - y) * (polygon[k + 1, 0] - x)
    return twice / 2.0


def _same_length(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = as_quads(a, "a"), as_quads(b, "b")
    if len(first) != len(second):
        raise ValueError(f"a and b must have the same number of quads, got {len(first)} and {len(second)}")
    return first, second


@njit
def _all_pairs(a: np.ndarray, b: np.ndarray, over_first: bool) -> np.ndarray:
    first, second, work = prepare(a), prepare(b), np.empty(SCRATCH)
    ratios = np.zeros((a.shape[0], b.shape[0]))
    for i in range(a.shape[0]):
        for j in range(b.shape[0]):
            if _boxes_meet(first.boxes, i, second.boxes, j):  # asked here too, since a call costs more than the answer
                area = shapes_intersection(first, i, second, j, work)
                whole = first.areas[i] if over_first else first.areas[i] + second.areas[j] - area
                ratios[i, j] = area / whole if area > 0.0 else 0.0
    return ratios


@njit
def _pairs(a: np.ndarray, b: np.ndarray, over_union: bool) -> np.ndarray:
    first, second, work = prepare(a), prepare(b), np.empty(SCRATCH)
    values = np.zeros(a.shape[0])
    for i in range(a.shape[0]):
        area = shapes_intersection(first, i, second, i, work)
        if area > 0.0:
            values[i] = area / (first.areas[i] + second.areas[i] - area) if over_union else area
    return values


@njit
def _corners_intersection(p: np.ndarray, p_convex: bool, q: np.ndarray, q_convex: bool, work: np.ndarray) -> float:
    """Intersection area of two prepared quads: the sum over their convex parts, relative to the first one's corner."""
    if work.shape[1] < SCRATCH[1]:
        raise ValueError("work is too small: make it with np.empty(SCRATCH)")
    subject, window = work[2], work[3]
    x, y = p[0, 0], p[0, 1]
    total = 0.0
    for i in range(1 if p_convex else 2):
        copy_part(p, p_convex, i, x, y, subject)
        for j in range(1 if q_convex else 2):
            copy_part(q, q_convex, j, x, y, window)
            count = clip_part(subject, window, work)
            total += fan_area(work[0], count)
    return total


@njit
def _boxes_meet(a: np.ndarray, i: int, b: np.ndarray, j: int) -> bool:
    """Whether outer box i of a (N, 4) and outer box j of b (M, 4) have an area in common."""
    return a[i, 0] < b[j, 2] and b[j, 0] < a[i, 2] and a[i, 1] < b[j, 3] and b[j, 1] < a[i, 3]


@njit
def _comes_first(p: np.ndarray, p_area: float, q: np.ndarray, q_area: float) -> bool:
    """The order of a pair, the same whichever way round it is asked: the smaller first, then by the corners."""
    if p_area != q_area:
        return p_area < q_area
    for k in range(4):
        for axis in range(2):
            if p[k, axis] != q[k, axis]:
                return p[k, axis] < q[k, axis]
    return True


@njit
def _prepare_one(quad: np.ndarray, shapes: Shapes, i: int) -> None:
    """Fill row i: untangle, make clockwise, turn the inner diagonal to corners 0 and 2, measure.

    The signs of the four corners' turns tell the kind of quad: equal for a convex one, three and one for a simple
    non-convex one, two adjacent pairs for a self-crossing one (opposite pairs add up to the same area, so they
    cannot disagree). There, the two crossing sides are the diagonals of the hull.
    """
    t0 = _turn(quad[3], quad[0], quad[1])
    t1 = _turn(quad[0], quad[1], quad[2])
    t2 = _turn(quad[1], quad[2], quad[3])
    t3 = _turn(quad[2], quad[3], quad[0])
    convex = (t0 >= 0.0 and t1 >= 0.0 and t2 >= 0.0 and t3 >= 0.0) or (
        t0 <= 0.0 and t1 <= 0.0 and t2 <= 0.0 and t3 <= 0.0
    )
    k0, k1, k2, k3 = 0, 1, 2, 3
    if not convex:
        if t1 * t3 >= 0.0:  # corners 1 and 3 lie on either side of the diagonal from 0 to 2
            pass
        elif t0 * t2 >= 0.0:
            k0, k1, k2, k3 = 1, 2, 3, 0
        else:
            convex = True
            if t1 * t2 > 0.0:  # side 0-1 crosses side 2-3
                k1, k2 = 2, 1
            else:  # side 1-2 crosses side 3-0
                k2, k3 = 3, 2
    twice = _turn(quad[k0], quad[k1], quad[k2]) + _turn(quad[k0], quad[k2], quad[k3])
    if twice < 0.0:
        k1, k3 = k3, k1
    corners = shapes.corners[i]
    for axis in range(2):
        corners[0, axis] = quad[k0, axis]
        corners[1, axis] = quad[k1, axis]
        corners[2, axis] = quad[k2, axis]
        corners[3, axis] = quad[k3, axis]
    box = outer_box(quad)
    shapes.boxes[i, 0], shapes.boxes[i, 1], shapes.boxes[i, 2], shapes.boxes[i, 3] = box
    length = max(box[2] - box[0], box[3] - box[1])
    area = abs(twice) / 2.0
    shapes.areas[i] = area if THINNEST * length * length < area < np.inf else 0.0
    shapes.convex[i] = convex


@njit
def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Twice the signed area of the triangle a, b, c: positive when it is clockwise on the screen."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
