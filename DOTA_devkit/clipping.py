"""Quads cut by a window: what of each is left, as a rectangle and as a fraction."""

from __future__ import annotations

import numpy as np

from DOTA_devkit.boxes import as_quads, fit_rectangle
from DOTA_devkit.iou import SCRATCH, clip_part, copy_part, fan_area, prepare
from DOTA_devkit.jit import njit


def clip_quads(quads: np.ndarray, xmin: float, ymin: float, xmax: float, ymax: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut quads (N, 4, 2) by the window, all in pixels.

    Returns the minimum-area rectangles of what is left, all of its corners counted (N, 4, 2), and the visible part of
    each area (N,), 0 to 1. A quad inside the window comes back as it was, bit for bit; one that is outside, touches
    the window at most, or has no finite area gives zeros (if it lies inside: itself) and 0. A self-crossing quad
    counts as its convex hull. The refitted rectangle of a rotated quad may reach a little beyond the window.
    """
    return _clip(as_quads(quads), float(xmin), float(ymin), float(xmax), float(ymax))


@njit
def _clip(quads: np.ndarray, xmin: float, ymin: float, xmax: float, ymax: float) -> tuple[np.ndarray, np.ndarray]:
    shapes, work = prepare(quads), np.empty(SCRATCH)
    subject, window = work[2], work[3]
    points = np.empty((2 * SCRATCH[1], 2))
    rectangles, visible = np.zeros(quads.shape), np.zeros(len(quads))
    for i in range(len(quads)):
        box, area = shapes.boxes[i], shapes.areas[i]
        if box[0] >= xmin and box[1] >= ymin and box[2] <= xmax and box[3] <= ymax:
            for k in range(4):
                rectangles[i, k, 0], rectangles[i, k, 1] = quads[i, k, 0], quads[i, k, 1]
            visible[i] = 1.0 if area > 0.0 else 0.0
            continue
        if area == 0.0 or box[0] >= xmax or box[1] >= ymax or box[2] <= xmin or box[3] <= ymin:
            continue
        x, y = shapes.corners[i, 0]
        window[0, 0], window[0, 1] = xmin - x, ymin - y
        window[1, 0], window[1, 1] = xmax - x, ymin - y
        window[2, 0], window[2, 1] = xmax - x, ymax - y
        window[3, 0], window[3, 1] = xmin - x, ymax - y
        left, num_points = 0.0, 0
        for part in range(1 if shapes.convex[i] else 2):
            copy_part(shapes.corners[i], shapes.convex[i], part, x, y, subject)
            count = clip_part(subject, window, work)
            left += fan_area(work[0], count)
            for k in range(count):  # rounding must not push a corner over the border
                points[num_points, 0] = min(max(work[0, k, 0] + x, xmin), xmax)
                points[num_points, 1] = min(max(work[0, k, 1] + y, ymin), ymax)
                num_points += 1
        if left > 0.0:
            fit_rectangle(points[:num_points], rectangles[i])
            visible[i] = min(left / area, 1.0)
    return rectangles, visible
