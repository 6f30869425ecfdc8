"""Which of many quads each quad overlaps most, in less than a look at all pairs."""

from __future__ import annotations

import numpy as np

from DOTA_devkit.iou import SCRATCH, Shapes, shapes_intersection
from DOTA_devkit.jit import njit


def largest_overlap(
    found: Shapes, group: np.ndarray, others: Shapes, starts: np.ndarray, over_union: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Of each detection the one of its group's others that it overlaps most, and by how much: (D,) and (D,).

    The first of equals, -1 and 0.0 where there is none. Others lie group by group, group g from starts[g] to
    starts[g + 1]. The intersection is measured over the union, or else over the detection.
    """
    # Those without an area, whose corners may be no numbers, come last in their group and end before everything.
    is_sound = others.areas > 0.0
    sound = others.boxes[is_sound]
    # Along the side on which they lie farther apart: of boxes in a narrow strip many share their x.
    is_tall = len(sound) > 0 and np.ptp(sound[:, 1]) > np.ptp(sound[:, 0])
    a, b = (boxes[:, [1, 0, 3, 2]] if is_tall else boxes for boxes in (found.boxes, others.boxes))
    low = np.where(is_sound, b[:, 0], np.inf)
    high = np.where(is_sound, b[:, 2], -np.inf)
    order = np.lexsort((low, np.repeat(np.arange(len(starts) - 1), np.diff(starts))))
    return _sweep(found, group, others, starts, over_union, a, b, order, low[order], high[order])


@njit
def _sweep(
    found: Shapes,
    group: np.ndarray,
    others: Shapes,
    starts: np.ndarray,
    over_union: bool,
    a: np.ndarray,
    b: np.ndarray,
    order: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """`largest_overlap` with each group's others in the order of where they begin on the axis that comes first in the
    outer boxes a (D, 4) and b (O, 4): order, low and high there, (O,) each. A detection meets those alone that begin
    before it ends, from the last of them back, and passes over all that end before it begins: these have no higher end
    between them and the next that is looked at."""
    best = np.full(group.shape[0], -1)
    overlap = np.zeros(group.shape[0])
    work = np.empty(SCRATCH)
    higher = _previous_higher(high, starts)
    for i in range(group.shape[0]):
        first = starts[group[i]]
        k = first + np.searchsorted(low[first : starts[group[i] + 1]], a[i, 2]) - 1
        while k >= first:
            if high[k] <= a[i, 0]:
                k = higher[k]
                continue
            j = order[k]
            k -= 1
            if a[i, 1] >= b[j, 3] or b[j, 1] >= a[i, 3]:
                continue
            area = shapes_intersection(found, i, others, j, work)
            if area > 0.0:
                ratio = area / (found.areas[i] + others.areas[j] - area if over_union else found.areas[i])
                if ratio > overlap[i] or (ratio == overlap[i] and j < best[i]):
                    overlap[i] = ratio
                    best[i] = j
    return best, overlap


@njit
def _previous_higher(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Of each of the values (O,) the index of the last one before it, in its group, that is higher, else -1: (O,)."""
    higher = np.full(values.shape[0], -1)
    for number in range(starts.shape[0] - 1):
        for k in range(starts[number] + 1, starts[number + 1]):
            before = k - 1
            while before >= 0 and values[before] <= values[k]:
                before = higher[before]
            higher[k] = before
    return higher
