"""Pictures with their truth on them: the boxes as they are labelled, where each begins, which are ignored, a legend."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from DOTA_devkit.boxes import order_clockwise
from DOTA_devkit.labels import Labels
from tools.drawing import class_color

SUBPIXEL_BITS = 4
SMALLEST = 768  # pixels; the longer side of a smaller picture is enlarged to that, or more
DASH = 5.0  # line widths, of a dash and of the gap after it
HATCH = 7.0  # pixels between the lines on an ignore region, in a picture of 700
INK, PAPER, GREY = (40, 40, 40), (255, 255, 255), (190, 190, 190)
FONT = cv2.FONT_HERSHEY_SIMPLEX
Place = tuple[int, int, int, int]


def draw_truth(picture: np.ndarray, labels: Labels, ignored: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """The picture (H, W, 3) uint8 BGR, enlarged by a whole number if it is small, with its labels and a legend below.

    ignored (N,) bool: the ignore regions, drawn grey, dashed and hatched; difficult objects are dashed. A dot marks the
    first corner, a thick line the first side (roLabelImg's w side). Names that are not in `class_names` are drawn too.
    """
    times = max(1, -(-SMALLEST // max(picture.shape[:2])))
    canvas = cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    width = max(1, round(max(canvas.shape[:2]) / 700))
    numbers = {name: number for number, name in enumerate(dict.fromkeys([*class_names, *labels.names]))}
    quads = labels.quads * times
    largest_first = np.argsort(-np.prod(np.ptp(quads, axis=1), axis=1), kind="stable").tolist() if len(quads) else []
    for row in largest_first:  # so that small ones are not hidden
        color = GREY if ignored[row] else class_color(numbers[labels.names[row]])
        if ignored[row]:
            _hatch(canvas, quads[row], color, width)
        draw_outline(canvas, quads[row], color, width, dashed=bool(ignored[row] or labels.difficult[row]))
        if not ignored[row]:
            _mark_start(canvas, quads[row], color, width)
    taken: list[Place] = []
    for row in reversed(largest_first):
        color = GREY if ignored[row] else class_color(numbers[labels.names[row]])
        _write_name(canvas, quads[row], shown_name(labels.names[row], numbers), color, taken)
    entries = []
    for name in dict.fromkeys(labels.names):
        of_name = np.array([other == name for other in labels.names])
        color = GREY if ignored[of_name].all() else class_color(numbers[name])
        entries.append((f"{shown_name(name, numbers)} {of_name.sum()}", color))
    return np.vstack([canvas, _legend(canvas.shape[1], entries)])


def draw_outline(
    canvas: np.ndarray, quad: np.ndarray, color: tuple[int, int, int], width: int, dashed: bool = False
) -> None:
    """Draw the sides of a quad (4, 2), pixels, on the canvas (H, W, 3), to a sixteenth of a pixel."""
    if not dashed:
        cv2.polylines(canvas, [_fixed_point(quad)], True, color, width, cv2.LINE_AA, SUBPIXEL_BITS)
        return
    for start, end in zip(quad, np.roll(quad, -1, axis=0), strict=True):
        num_dashes = max(1, round(float(np.hypot(*(end - start))) / (2 * DASH * width) + 0.5))
        num_dashes = min(num_dashes, 1000)
        steps = np.linspace(0, 1, 2 * num_dashes)[:, None]  # begins and ends with a dash, so that corners show
        points = start + steps * (end - start)
        dashes = [_fixed_point(points[place : place + 2]) for place in range(0, 2 * num_dashes, 2)]
        cv2.polylines(canvas, dashes, False, color, width, cv2.LINE_AA, SUBPIXEL_BITS)


def shown_name(name: str, numbers: dict[str, int]) -> str:
    """What can be drawn of a name: OpenCV's strokes know ASCII only, another name is shown by its number."""
    return name if name.isascii() and name.isprintable() else f"#{numbers[name]}"


def _fixed_point(points: np.ndarray) -> np.ndarray:
    # OpenCV counts from the middle of the first pixel, boxes from its corner.
    return np.rint((points - 0.5) * (1 << SUBPIXEL_BITS)).clip(-(2**24), 2**24).astype(np.int32)


def _mark_start(canvas: np.ndarray, quad: np.ndarray, color: tuple[int, int, int], width: int) -> None:
    """A thick first side and a dot, no bigger than the box can bear, on the first corner."""
    least = float(np.hypot(*(np.roll(quad, -1, axis=0) - quad).T).min())
    radius = min(3.0 * width, max(1.5 * width, least / 4))
    cv2.polylines(canvas, [_fixed_point(quad[:2])], False, color, 1 + 2 * width, cv2.LINE_AA, SUBPIXEL_BITS)
    (x, y), factor = _fixed_point(quad[0]).tolist(), 1 << SUBPIXEL_BITS
    for size, filling in ((radius + 1, INK), (radius, PAPER)):
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
    cv2.fillPoly(mask, [_fixed_point(order_clockwise(quad[None])[0] - low)], 255, cv2.LINE_8, SUBPIXEL_BITS)
    y, x = np.ogrid[low[1] : high[1], low[0] : high[0]]
    piece[(mask > 0) & ((x + y) % round(HATCH * width) < width)] = color


def _write_name(
    canvas: np.ndarray, quad: np.ndarray, text: str, color: tuple[int, int, int], taken: list[Place]
) -> None:
    """Write above the box, unless another name stands there: in a crowd only some are named."""
    scale = max(0.4, max(canvas.shape[:2]) / 2200)
    (width, height), baseline = cv2.getTextSize(text, FONT, scale, 1)
    top = quad[np.argmin(quad[:, 1])]
    x = int(np.clip(top[0] - width / 2, 0, max(0, canvas.shape[1] - width)))
    y = int(np.clip(top[1] - baseline, height + 1, max(height + 1, canvas.shape[0] - 1)))
    place = (x - 1, y - height - 1, x + width + 1, y + baseline)
    if any(place[0] < b[2] and b[0] < place[2] and place[1] < b[3] and b[1] < place[3] for b in taken):
        return
    taken.append(place)
    cv2.putText(canvas, text, (x, y), FONT, scale, (0, 0, 0), 2, cv2.LINE_AA)
    cv2.putText(canvas, text, (x, y), FONT, scale, color, 1, cv2.LINE_AA)


def _legend(width: int, classes: Sequence[tuple[str, tuple[int, int, int]]]) -> np.ndarray:
    """A strip (h, width, 3): the classes of the picture in their colours, and what the strokes mean."""
    scale = max(0.42, width / 2200)
    row = round(42 * scale)
    strokes = ("dot: first corner, thick: first side (w)", "dashed: difficult", "hatched: ignored")
    entries = [*classes, *((text, None) for text in strokes)]
    places, x, y = [], row // 2, row
    for text, color in entries:
        (length, _), _ = cv2.getTextSize(text, FONT, scale, 1)
        swatch = round(1.2 * row) if color else 0
        if x > row // 2 and x + swatch + length > width:
            x, y = row // 2, y + row
        places.append((x, y, swatch))
        x += swatch + length + row
    strip = np.full((y + row // 2, width, 3), PAPER, np.uint8)
    for (text, color), (x, y, swatch) in zip(entries, places, strict=True):
        if color:
            cv2.rectangle(strip, (x, y - row // 2), (x + swatch - row // 3, y), color, cv2.FILLED)
        cv2.putText(strip, text, (x + swatch, y), FONT, scale, INK, 1, cv2.LINE_AA)
    return strip
