"""An object cut out of its picture, turned so that it stands upright."""

from __future__ import annotations

import math

import numpy as np

from datasets.augment import LONGEST_WARPED, warp_image
from datasets.picture_files.picture_windows import PictureWindows
from DOTA_devkit.boxes import boxes_to_quads, quads_to_boxes

_AROUND = 2  # pixels read beyond the cut, which the interpolation looks at


def upright_boxes(quads: np.ndarray, by_first_side: bool = False) -> np.ndarray:
    """The minimum-area rectangles of quads (n, 4, 2) as cx, cy, w, h in pixels and the angle of w, radians, clockwise
    from +x, (n, 5): w is the longer side and the angle in [-pi/2, pi/2); or, `by_first_side`, w is the side that lies
    most as the quad's first one does, from its first corner to its second, and the angle in [-pi, pi]."""
    boxes = quads_to_boxes(quads, "le90")
    for box, (start, end, *_) in zip(boxes, quads if by_first_side else (), strict=False):
        first = math.atan2(end[1] - start[1], end[0] - start[0])
        quarters = round((first - box[4]) / (math.pi / 2))
        box[4] = math.remainder(box[4] + quarters * math.pi / 2, math.tau)
        if quarters % 2:
            box[2:4] = box[3], box[2]
    return boxes


def cut_size(box: np.ndarray, margin: float = 0.0) -> tuple[int, int]:
    """Height and width in pixels of a cut of the box (5,), longer by `margin` of its sides at each end."""
    width, height = (max(1, round(float(side) * (1 + 2 * margin))) for side in box[2:4])
    return height, width


def cut_object(
    picture: np.ndarray | PictureWindows, box: np.ndarray, fill_bgr: tuple[float, ...], margin: float = 0.0
) -> np.ndarray:
    """What a picture (H, W, c) shows within a box of `upright_boxes` and its margin, w from left to right, in the
    picture's own scale: `cut_size` x c, uint8. Of a picture that is read in windows only that part is read.

    Beyond the picture is the fill. Raises ValueError for a cut that is longer than LONGEST_WARPED, ImageError where the
    picture is damaged there.
    """
    height, width = cut_size(box, margin)
    if max(height, width) > LONGEST_WARPED:
        raise ValueError(f"a cut of {width} x {height} pixels; the longest has {LONGEST_WARPED}")
    corners = boxes_to_quads(np.array([[*box[:2], width, height, box[4]]]), "le90")[0]
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - _AROUND, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + _AROUND, picture.shape[1::-1])
    if (low >= high).any():
        return np.full((height, width, picture.shape[2]), np.round(fill_bgr), np.uint8)
    part = np.ascontiguousarray(picture[low[1] : high[1], low[0] : high[0]])
    cosine, sine = math.cos(box[4]), math.sin(box[4])
    turn = np.array([[cosine, sine], [-sine, cosine]])  # back by the angle
    matrix = np.column_stack([turn, -turn @ (corners[0] - low)])
    return warp_image(part, matrix, (height, width), fill_bgr)
