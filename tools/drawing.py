"""Pictures with boxes, class and score on them."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.task_files import ImageDetections

_SUBPIXEL_BITS = 4


def draw_boxes(
    picture: np.ndarray,
    boxes: ImageDetections,
    class_names: Sequence[str],
    *,
    min_score: float = 0.0,
    line_width: int = 0,
    labels: bool = True,
    in_place: bool = False,
) -> np.ndarray:
    """A copy of the picture (H, W, 3) uint8 BGR, or the picture itself with `in_place`, with the boxes that score at
    least `min_score`, the best on top.

    `line_width` in pixels; 0 chooses by the picture's size. With `labels`, class and score stand above a box where no
    better box's label does: in a crowd all boxes are drawn but only some are named (colours tell the classes apart).
    """
    canvas = picture if in_place else np.ascontiguousarray(picture).copy()
    width = line_width or max(1, round(max(canvas.shape[:2]) / 700))
    shown = np.flatnonzero(boxes.scores >= min_score)[::-1]
    for row in shown:
        # OpenCV counts from the middle of the first pixel, boxes from its corner.
        corners = np.rint((boxes.quads[row] - 0.5) * (1 << _SUBPIXEL_BITS)).clip(-(2**30), 2**30).astype(np.int32)
        color = class_color(int(boxes.labels[row]))
        cv2.polylines(canvas, [corners], True, color, width, cv2.LINE_AA, _SUBPIXEL_BITS)
    if labels:
        taken: list[tuple[int, int, int, int]] = []
        for row in shown[::-1]:
            text = _label_text(class_names, boxes, row)
            _write_label(canvas, boxes.quads[row], text, class_color(int(boxes.labels[row])), taken)
    return canvas


def class_color(label: int) -> tuple[int, int, int]:
    """A bright BGR colour of a class; neighbours in the list lie far apart on the colour circle."""
    red, green, blue = colorsys.hsv_to_rgb((0.33 + label * 0.618034) % 1.0, 0.9, 1.0)
    return round(blue * 255), round(green * 255), round(red * 255)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture, whole or not at all, coded by the suffix. Raises OSError."""
    done, data = cv2.imencode(path.suffix, picture)
    if not done:
        raise OSError(f"{path}: cannot be coded as {path.suffix}")
    with atomic_write(path, "wb", sync=False) as file:
        file.write(data.data)


def _label_text(class_names: Sequence[str], boxes: ImageDetections, row: int) -> str:
    name = class_names[boxes.labels[row]]
    # OpenCV's strokes know ASCII only; a name in another script is shown by its number in the list of classes.
    name = name if name.isascii() else f"#{boxes.labels[row]}"
    return f"{name} {boxes.scores[row]:.2f}"


def _write_label(
    canvas: np.ndarray, quad: np.ndarray, text: str, color: tuple[int, int, int], taken: list[tuple[int, int, int, int]]
) -> None:
    """Write above the box's top corner, unless another label is `taken` there: (x1, y1, x2, y2) of those so far."""
    longest = max(canvas.shape[:2])
    scale = 0.3 if longest < 500 else 0.4 if longest < 1500 else 0.5
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    top = np.nan_to_num(quad[np.argmin(quad[:, 1])])
    x = int(np.clip(top[0] - width / 2, 0, max(0, canvas.shape[1] - width)))
    y = int(np.clip(top[1] - baseline, height + 1, max(height + 1, canvas.shape[0] - 1)))
    place = (x, y - height, x + width, y + baseline // 2)
    if any(place[0] < b[2] and b[0] < place[2] and place[1] < b[3] and b[1] < place[3] for b in taken):
        return
    taken.append(place)
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 2, cv2.LINE_AA)
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, color, 1, cv2.LINE_AA)
