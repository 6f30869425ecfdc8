"""Greedy non-maximum suppression of quads by exact overlap, for a hundred boxes as for a million.

Greedy suppression does not have to follow the scores from the best box of all to the worst. A box is kept as soon as
no better box that is still undecided could overlap it too much; then it suppresses its worse neighbours for good. So
the boxes are taken in the order in which they lie on the picture, where one finds its neighbours in the cache, and
an undecided better neighbour is decided first. The result is the same.

Neighbours are found in a pyramid of uniform grids: a box is filed once, in the level whose cells are just larger than
the box, in the cell of its outer box's first corner. Boxes of 1 and of 100,000 pixels may be mixed freely.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from DOTA_devkit.boxes import as_quads
from DOTA_devkit.iou import SCRATCH, Shapes, outer_box, prepare, shapes_iou
from DOTA_devkit.jit import njit

NUM_LEVELS = 2200  # binary exponents of float64, -1074 to 1024, counted from 0
FARTHEST = 2.0**55  # cells from the origin: a box that has a width in float64 is never filed farther out
SLACK = 1.0 - 1e-9  # bounds are loosened by so much that only the overlap itself decides what is at the threshold


class Grid(NamedTuple):
    """Boxes in the order of the cells in which they are filed; those of one level are together.

    shapes, labels (N,), ranks (N,): of the boxes; rank 0 is the best.
    levels: (L,) the levels in use, but for level 0, whose boxes overlap nothing.
    firsts, sizes: (NUM_LEVELS,) the first bucket and the number of buckets of a level.
    starts: (buckets + 1,) the first box of each bucket; a bucket holds the cells that hash to it.
    """

    shapes: Shapes
    labels: np.ndarray
    ranks: np.ndarray
    levels: np.ndarray
    firsts: np.ndarray
    sizes: np.ndarray
    starts: np.ndarray


def poly_nms(
    quads: np.ndarray, scores: np.ndarray, iou_threshold: float, labels: np.ndarray | None = None
) -> np.ndarray:
    """Indices (int64) of the boxes that no better kept box overlaps by more than `iou_threshold`, best first.

    quads: (N, 4, 2) pixels. scores: (N,). labels: (N,) of any kind that can be compared; boxes of different labels
    never suppress each other. Equal scores are ordered by index, so that the result is the same on every machine.
    A box with score NaN is never kept and suppresses nothing; a quad without area or with corners that are not
    finite overlaps nothing (see `iou.py`), and is therefore kept.

    Raises ValueError when the shapes do not fit or the threshold is outside [0, 1].
    """
    quads = as_quads(quads)
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != quads.shape[:1]:
        raise ValueError(f"scores must have shape {quads.shape[:1]}, one for each quad, got {scores.shape}")
    if not 0.0 <= iou_threshold <= 1.0:
        raise ValueError(f"iou_threshold must be within [0, 1], got {iou_threshold}")
    order = np.argsort(-scores, kind="stable")
    order = order[: len(order) - np.count_nonzero(np.isnan(scores))]
    labels = _label_numbers(labels, len(quads))
    return order[_greedy(quads[order], labels[order], float(iou_threshold))]


def _label_numbers(labels: np.ndarray | None, n: int) -> np.ndarray:
    if labels is None:
        return np.zeros(n, dtype=np.int64)
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise ValueError(f"labels must have shape {(n,)}, one for each quad, got {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        labels = np.unique(labels, return_inverse=True)[1]
    return labels.astype(np.int64)


@njit
def _greedy(quads: np.ndarray, labels: np.ndarray, threshold: float) -> np.ndarray:
    """Which of the quads, given best first, are kept: (N,) bool.

    The boxes on the stack get better from the bottom to the top, so it holds no box twice; and a box leaves it
    decided, so that none is pushed twice.
    """
    n = len(quads)
    grid, work = _file_boxes(quads, labels), np.empty(SCRATCH)
    kept, decided = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    rivals, met, visit = np.empty(n, np.int64), np.zeros(n, np.int64), 0
    stack = np.empty(n + 1, np.int64)
    for start in range(n):
        stack[0], depth = start, 1
        while depth > 0:
            box = stack[depth - 1]
            if decided[box]:
                depth -= 1
                continue
            visit += 1
            count = _find_rivals(grid, box, threshold, decided, met, visit, rivals)
            best = box
            for k in range(count):
                rival = rivals[k]
                if grid.ranks[rival] < grid.ranks[best]:
                    best = rival
            if best != box:
                stack[depth] = best
                depth += 1
                continue
            kept[grid.ranks[box]] = True
            decided[box] = True
            for k in range(count):
                if shapes_iou(grid.shapes, box, grid.shapes, rivals[k], work) > threshold:
                    decided[rivals[k]] = True
    return kept


@njit
def _file_boxes(quads: np.ndarray, labels: np.ndarray) -> Grid:
    """The grid of the quads, given best first; a level has as many buckets as boxes, or up to twice."""
    n = len(quads)
    levels, sizes = np.empty(n, np.int64), np.zeros(NUM_LEVELS, np.int64)
    for i in range(n):
        levels[i] = _level(quads[i])
        sizes[levels[i]] += 1
    used, num_used = np.empty(NUM_LEVELS, np.int64), 0
    firsts, num_buckets = np.zeros(NUM_LEVELS, np.int64), 0
    for level in range(NUM_LEVELS):
        if sizes[level] > 0:
            size = 1
            while size < sizes[level]:
                size *= 2
            firsts[level], sizes[level] = num_buckets, size
            num_buckets += size
            if level > 0:
                used[num_used] = level
                num_used += 1

    buckets, starts = np.empty(n, np.int64), np.zeros(num_buckets + 1, np.int64)
    for i in range(n):
        buckets[i] = firsts[levels[i]] + _home(quads[i], levels[i], labels[i], sizes[levels[i]])
        starts[buckets[i]] += 1
    end = 0
    for bucket in range(num_buckets + 1):  # from the numbers of boxes to where each bucket ends
        end += starts[bucket]
        starts[bucket] = end
    sorted_quads, sorted_labels, sorted_ranks = np.empty((n, 4, 2)), np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n - 1, -1, -1):  # a bucket fills from its end: its best box comes first, and waits for none of it
        starts[buckets[i]] -= 1  # in the end the bucket's start
        place = starts[buckets[i]]
        sorted_labels[place], sorted_ranks[place] = labels[i], i
        for k in range(4):
            sorted_quads[place, k, 0], sorted_quads[place, k, 1] = quads[i, k, 0], quads[i, k, 1]
    return Grid(prepare(sorted_quads), sorted_labels, sorted_ranks, used[:num_used], firsts, sizes, starts)


@njit
def _find_rivals(
    grid: Grid,
    box: int,
    threshold: float,
    decided: np.ndarray,
    met: np.ndarray,
    visit: int,
    rivals: np.ndarray,
) -> int:
    """Write the undecided boxes that may overlap `box` by more than the threshold into `rivals`; return how many."""
    count = 0
    if grid.shapes.areas[box] == 0.0:
        return count
    corners = grid.shapes.boxes[box]
    for level in grid.levels:
        scale = _scale(level)
        if threshold * grid.shapes.areas[box] * SLACK * scale * scale >= 1.0:
            continue  # the level's boxes are smaller than its cells, and the largest would be too small
        x0, y0 = np.floor(corners[0] * scale) - 1.0, np.floor(corners[1] * scale) - 1.0
        x1, y1 = np.floor(corners[2] * scale), np.floor(corners[3] * scale)
        first, size = grid.firsts[level], grid.sizes[level]
        if (x1 - x0 + 1.0) * (y1 - y0 + 1.0) >= size:
            start, end = grid.starts[first], grid.starts[first + size]
            count += _collect(grid, box, threshold, start, end, decided, met, visit, rivals[count:])
        elif abs(x0) < FARTHEST and abs(y0) < FARTHEST:
            for y in range(int(y0), int(y1) + 1):
                row = _row(y, grid.labels[box])
                for x in range(int(x0), int(x1) + 1):
                    bucket = first + ((row + x) & (size - 1))
                    start, end = grid.starts[bucket], grid.starts[bucket + 1]
                    if start < end:
                        count += _collect(grid, box, threshold, start, end, decided, met, visit, rivals[count:])
    return count


@njit
def _collect(
    grid: Grid,
    box: int,
    threshold: float,
    start: int,
    end: int,
    decided: np.ndarray,
    met: np.ndarray,
    visit: int,
    rivals: np.ndarray,
) -> int:
    """The same for boxes start to end; `met` keeps a box from being met again when two cells share a bucket."""
    count = 0
    corners, area = grid.shapes.boxes[box], grid.shapes.areas[box]
    for other in range(start, end):
        if decided[other] or other == box or met[other] == visit or grid.labels[other] != grid.labels[box]:
            continue
        outer = grid.shapes.boxes[other]
        width = min(corners[2], outer[2]) - max(corners[0], outer[0])
        height = min(corners[3], outer[3]) - max(corners[1], outer[1])
        if width <= 0.0 or height <= 0.0:
            continue
        # The intersection is no larger than that of the outer boxes, nor than the smaller quad.
        most = min(width * height, min(area, grid.shapes.areas[other]))
        if most > threshold * (area + grid.shapes.areas[other] - most) * SLACK:
            met[other] = visit
            rivals[count] = other
            count += 1
    return count


@njit
def _level(quad: np.ndarray) -> int:
    """The level whose cells are larger than the outer box, by a factor of 2 at most; 0 if it has no finite area."""
    left, top, right, bottom = outer_box(quad)
    if not (0.0 < right - left < np.inf and 0.0 < bottom - top < np.inf):
        return 0
    return math.frexp(max(right - left, bottom - top))[1] + 1074


@njit
def _scale(level: int) -> float:
    """Cells in a pixel."""
    return math.ldexp(1.0, 1074 - level)


@njit
def _home(quad: np.ndarray, level: int, label: int, size: int) -> int:
    """The bucket, counted from the level's first, of the cell that holds the first corner of the outer box."""
    if level == 0:
        return 0
    left, top, _, _ = outer_box(quad)
    x, y = int(np.floor(left * _scale(level))), int(np.floor(top * _scale(level)))
    return (_row(y, label) + x) & (size - 1)


@njit
def _row(y: int, label: int) -> int:
    """Where a row of cells begins among the buckets; from there on cells that are neighbours in x are neighbours."""
    mixed = np.uint64(y) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(label) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.int64((mixed ^ (mixed >> np.uint64(32))) >> np.uint64(2))
