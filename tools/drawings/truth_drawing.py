"""Pictures with their truth on them: the boxes as they are labelled, where each begins, which are ignored, a legend."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from DOTA_devkit.boxes import order_clockwise
from DOTA_devkit.labels import Labels
from tools.drawing import (
    GREY,
    SUBPIXEL_BITS,
    WHITE,
    LegendEntry,
    class_color,
    class_text,
    draw_legend,
    draw_quad,
    fixed_point,
    label_quad,
    pen_for,
)

SMALLEST = 768  # pixels; the longer side of a smaller picture is enlarged to that, or more
HATCH = 7.0  # pixels between the lines on an ignore region, in a picture of 700
INK = (40, 40, 40)
STROKES = tuple(
    LegendEntry(text, WHITE, "none")
    for text in ("dot: first corner, thick: first side (w)", "dashed: difficult", "hatched: ignored")
)


def draw_truth(picture: np.ndarray, labels: Labels, ignored: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """The picture (H, W, 3) uint8 BGR, enlarged by a whole number if it is small, with its labels and a legend below.

    ignored (N,) bool: the ignore regions, drawn grey, dashed and hatched; difficult objects are dashed. A dot marks the
    first corner, a thick line the first side (roLabelImg's w side). Names that are not in `class_names` are drawn too.
    """
    times = max(1, -(-SMALLEST // max(picture.shape[:2])))
    canvas = cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    names = list(dict.fromkeys([*class_names, *labels.names]))
    numbers = {name: number for number, name in enumerate(names)}
    quads = labels.quads * times
    width, letters = pen_for(canvas, quads)
    largest_first = np.argsort(-np.prod(np.ptp(quads, axis=1), axis=1), kind="stable").tolist() if len(quads) else []
    for row in largest_first:  # so that small ones are not hidden
        color = GREY if ignored[row] else class_color(numbers[labels.names[row]])
        if ignored[row]:
            _hatch(canvas, quads[row], color, width)
        draw_quad(canvas, quads[row], color, width, dashed=bool(ignored[row] or labels.difficult[row]))
        if not ignored[row]:
            _mark_start(canvas, quads[row], color, width)
    taken: list[tuple[int, int, int, int]] = []
    for row in reversed(largest_first):
        number = numbers[labels.names[row]]
        color = GREY if ignored[row] else class_color(number)
        label_quad(canvas, quads[row], class_text(names, number), color, taken, letters)
    entries = []
    for name in dict.fromkeys(labels.names):
        of_name = np.array([other == name for other in labels.names])
        color = GREY if ignored[of_name].all() else class_color(numbers[name])
        entries.append(LegendEntry(f"{class_text(names, numbers[name])} {of_name.sum()}", color, "patch"))
    scale = max(0.42, canvas.shape[1] / 2200)
    return np.vstack([canvas, draw_legend([*entries, *STROKES], canvas.shape[1], scale)])


def _mark_start(canvas: np.ndarray, quad: np.ndarray, color: tuple[int, int, int], width: int) -> None:
    """A thick first side and a dot, no bigger than the box can bear, on the first corner."""
    least = float(np.hypot(*(np.roll(quad, -1, axis=0) - quad).T).min())
    radius = min(3.0 * width, max(1.5 * width, least / 4))
    cv2.polylines(canvas, [fixed_point(quad[:2])], False, color, 1 + 2 * width, cv2.LINE_AA, SUBPIXEL_BITS)
    (x, y), factor = fixed_point(quad[0]).tolist(), 1 << SUBPIXEL_BITS
    for size, filling in ((radius + 1, INK), (radius, WHITE)):
        cv2.circle(canvas, (x, y), round(size * factor), filling, cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)


def _hatch(canvas: np.ndarray, quad: np.ndarray, color: tuple[int, int, int], width: int) -> None:
    """Slanting lines on the quad."""
    height, length = canvas.shape[:2]
    low = np.floor(quad.min(axis=0)).clip(0, [length, height]).astype(int)
    high = np.ceil(quad.max(axis=0)).clip(0, [length, height]).astype(int)
    if (high <= low).any():
        return
    piece = canvas[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(piece.shape[:2], np.uint8)
    cv2.fillPoly(mask, [fixed_point(order_clockwise(quad[None])[0] - low)], 255, cv2.LINE_8, SUBPIXEL_BITS)
    y, x = np.ogrid[low[1] : high[1], low[0] : high[0]]
    piece[(mask > 0) & ((x + y) % round(HATCH * width) < width)] = color
