"""What the network is trained on: boxes of one input -> heat map, boundary vectors, offsets and orientation.

Yi et al., BBAVectors, WACV 2021, section 3. Everything is in pixels of the stride-4 map.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from DOTA_devkit.boxes import DOWN_RATIO, encode_vectors
from DOTA_devkit.jit import njit

LEAST_OVERLAP = 0.7  # of the box with itself, moved by the radius of its Gaussian
IGNORED = -1.0


class Targets(NamedTuple):
    """Targets of one input; h, w are a quarter of its sides, M its objects.

    hm (C, h, w) float32: 1 at the centres, Gaussian around them, -1 where nothing is asked of the network;
    wh (M, 10): t, r, b, l and the outer box's width and height; reg (M, 2): centre - floor(centre);
    cls_theta (M, 1): 1 for rotated; ind (M,) int64: y * w + x of the centre's cell; mask (M,) bool: true (padding of a
    batch is false).
    """

    hm: np.ndarray
    wh: np.ndarray
    reg: np.ndarray
    cls_theta: np.ndarray
    ind: np.ndarray
    mask: np.ndarray


def make_targets(
    quads: np.ndarray, labels: np.ndarray, ignored: np.ndarray, num_classes: int, input_hw: tuple[int, int]
) -> Targets:
    """Targets of the quads (N, 4, 2), in input pixels, with labels (N,) and ignored (N,) bool.

    An object whose centre lies outside the input becomes an ignore region, for nothing else can be asked there.
    """
    map_h, map_w = input_hw[0] // DOWN_RATIO, input_hw[1] // DOWN_RATIO
    hm = np.zeros((num_classes, map_h, map_w), np.float32)
    boxes = encode_vectors(np.asarray(quads, np.float64).reshape(-1, 4, 2) / DOWN_RATIO)
    cells = np.floor(boxes.center).astype(np.int64)
    inside = ((cells >= 0) & (cells < (map_w, map_h))).all(axis=1)
    objects = inside & ~ignored
    centers, cells, vectors = boxes.center[objects], cells[objects], boxes.vectors[objects]
    if len(cells):
        height, width = _side_lengths(vectors)
        _draw_gaussians(hm, labels[objects], cells, gaussian_radius(height, width))
    if not objects.all():
        regions = np.ascontiguousarray(quads[~objects], np.float64) / DOWN_RATIO
        _draw_ignored(hm, labels[~objects], regions)
    wh = np.concatenate([vectors.reshape(-1, 8), boxes.outer[objects]], axis=1)
    return Targets(
        hm=hm,
        wh=wh.astype(np.float32),
        reg=(centers - cells).astype(np.float32),
        cls_theta=boxes.rotated[objects, None].astype(np.float32),
        ind=cells[:, 1] * map_w + cells[:, 0],
        mask=np.ones(len(cells), bool),
    )


def gaussian_radius(height: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Radius (N,) int64, in cells, of the Gaussian of boxes of this height and width (N,), in cells.

    The formula that CornerNet published and CenterNet and BBAVectors took over: sides rounded up, the smallest of
    three roots that are *not* divided by their leading coefficient, rounded down. It is not the exact solution, but
    its radius is the one that works: 6 x 12 cells get 2.2 (the exact one 0.65).
    """
    # A turned box, in numbers of 32 bits, has sides such as 3.00001, which are not to become 4.
    height, width = np.ceil(height - 1e-3), np.ceil(width - 1e-3)
    total, area = height + width, height * width
    roots = []
    for a, b, c in (
        (1.0, total, area * (1 - LEAST_OVERLAP) / (1 + LEAST_OVERLAP)),
        (4.0, 2 * total, (1 - LEAST_OVERLAP) * area),
        (4 * LEAST_OVERLAP, -2 * LEAST_OVERLAP * total, (LEAST_OVERLAP - 1) * area),
    ):
        roots.append((b + np.sqrt(b * b - 4 * a * c)) / 2)
    return np.maximum(np.min(roots, axis=0), 0).astype(np.int64)


def _side_lengths(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height |b - t| and width |r - l| of the rectangles, in cells."""
    top, right, bottom, left = (vectors[:, side] for side in range(4))
    return np.hypot(*(bottom - top).T), np.hypot(*(right - left).T)


@njit
def _draw_gaussians(hm: np.ndarray, labels: np.ndarray, cells: np.ndarray, radii: np.ndarray) -> None:
    """Raise hm (C, h, w) to a Gaussian of diameter 2r + 1 and sigma = diameter / 6 around every cell (N, 2)."""
    map_h, map_w = hm.shape[1], hm.shape[2]
    for n in range(len(labels)):
        x, y, radius = cells[n, 0], cells[n, 1], radii[n]
        sigma = (2 * radius + 1) / 6.0
        scale = -0.5 / (sigma * sigma)
        for row in range(max(0, y - radius), min(map_h, y + radius + 1)):
            for column in range(max(0, x - radius), min(map_w, x + radius + 1)):
                value = np.exp(scale * ((row - y) ** 2 + (column - x) ** 2))
                if value > hm[labels[n], row, column]:
                    hm[labels[n], row, column] = value


@njit
def _draw_ignored(hm: np.ndarray, labels: np.ndarray, quads: np.ndarray) -> None:
    """Mark the cells whose middle lies in a quad (N, 4, 2), and the cell of its centre; centres of objects stay."""
    num_classes, map_h, map_w = hm.shape
    for n in range(len(labels)):
        first = max(labels[n], 0)
        last = num_classes if labels[n] < 0 else labels[n] + 1
        quad = quads[n]
        middle_x, middle_y = int(np.floor(quad[:, 0].mean())), int(np.floor(quad[:, 1].mean()))
        for row in range(max(0, int(quad[:, 1].min())), min(map_h, int(quad[:, 1].max()) + 1)):
            for column in range(max(0, int(quad[:, 0].min())), min(map_w, int(quad[:, 0].max()) + 1)):
                if not (_contains(quad, column + 0.5, row + 0.5) or (row == middle_y and column == middle_x)):
                    continue
                for label in range(first, last):
                    if hm[label, row, column] < 1.0:
                        hm[label, row, column] = -1.0


@njit
def _contains(quad: np.ndarray, x: float, y: float) -> bool:
    """Even-odd rule."""
    inside = False
    for i in range(4):
        x1, y1 = quad[i - 1, 0], quad[i - 1, 1]
        x2, y2 = quad[i, 0], quad[i, 1]
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            inside = not inside
    return inside
