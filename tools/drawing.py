"""Pictures with boxes, class and score on them: lines, letters and legends on pixels."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from DOTA_devkit.boxes import rectangle_sides
from DOTA_devkit.task_files import ImageDetections
from tools.drawings.lettering import Color, draw_text, drawable, text_size

WHITE, GREY, PAPER = (255, 255, 255), (190, 190, 190), (32, 32, 32)
SUBPIXEL_BITS = 4
_DASH = 5.0  # line widths, about, of a dash and of a gap


class LegendEntry(NamedTuple):
    """A line of a legend: what it says, in which colour, and the mark before it."""

    text: str
    color: Color
    mark: Literal["line", "dashed", "patch", "none"] = "line"


class Pen(NamedTuple):
    """Width of lines in pixels, scale of letters as OpenCV has it."""

    width: int
    letters: float


def draw_boxes(
    picture: np.ndarray,
    boxes: ImageDetections,
    class_names: Sequence[str],
    *,
    objects: np.ndarray | None = None,
    min_score: float | Sequence[float] = 0.0,
    line_width: int = 0,
    labels: bool = True,
    in_place: bool = False,
) -> np.ndarray:
    """A copy of the picture (H, W, 3) uint8 BGR, or the picture itself with `in_place`, with the boxes that score at
    least `min_score`, or as much as it tells for their class, and those of numbered objects, the best on top.

    `line_width` in pixels; 0 chooses by the sizes of picture and boxes. With `labels`, class and score stand above a
    box where no better box's label does: in a crowd all boxes are drawn but only some are named (colours tell the
    classes apart). `objects` (n,) are the numbers of the objects that the boxes are of, written too where not 0.
    """
    canvas = picture if in_place else np.ascontiguousarray(picture).copy()
    objects = np.zeros(len(boxes.scores), np.int64) if objects is None else objects
    shown = np.flatnonzero(boxes.reach(min_score) | (objects > 0))[::-1]
    pen = pen_for(canvas, boxes.quads[shown])
    for row in shown:
        draw_quad(canvas, boxes.quads[row], class_color(int(boxes.labels[row])), line_width or pen.width)
    if labels:
        taken: list[tuple[int, int, int, int]] = []
        for row in shown[::-1]:
            who = f"id:{objects[row]} " if objects[row] else ""
            text = f"{who}{class_text(class_names, int(boxes.labels[row]))} {boxes.scores[row]:.2f}"
            label_quad(canvas, boxes.quads[row], text, class_color(int(boxes.labels[row])), taken, pen.letters)
    return canvas


def looks_of(flags: Any, min_score: float | Sequence[float]) -> dict[str, Any]:
    """Keywords of `draw_boxes`: from which score on, and what --line_width and --draw_labels say."""
    return {"min_score": min_score, "line_width": flags.line_width, "labels": flags.draw_labels}


def pen_for(canvas: np.ndarray, quads: np.ndarray) -> Pen:
    """What to draw with on a canvas (H, W, 3): as its size asks for, but no coarser than most of the quads (N, 4, 2)
    can bear, lest small objects of a large picture vanish beneath."""
    longest = max(canvas.shape[:2])
    typical = float(np.median(rectangle_sides(np.nan_to_num(quads))[:, 0])) if len(quads) else math.inf
    return Pen(max(1, round(min(longest / 700, typical / 8))), min(_letters_on(longest), max(0.4, typical / 30)))


def as_bgr(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, c) uint8 to look at, (H, W, 3): grey three times, or the colours without what comes after them;
    of three channels the picture itself."""
    channels = picture.shape[2]
    return picture if channels == 3 else np.ascontiguousarray(picture[:, :, :3].repeat(3 if channels == 1 else 1, 2))


SHADES = ((0.9, 1.0), (0.55, 1.0), (1.0, 0.7))  # saturation and value, bright, pale and dark
COLORS_A_SHADE = 6


def class_color(label: int) -> Color:
    """A BGR colour of a class: neighbours in the list lie far apart on the colour circle, and where it begins to be
    full the next are paler, then darker. Of DOTA's 18 no two lie nearer than 75 of 255."""
    saturation, value = SHADES[label // COLORS_A_SHADE % len(SHADES)]
    red, green, blue = colorsys.hsv_to_rgb((0.33 + label * 0.618034) % 1.0, saturation, value)
    return round(blue * 255), round(green * 255), round(red * 255)


def class_text(class_names: Sequence[str], label: int) -> str:
    """The name of a class as it can be drawn: where no font of this machine has its letters, its number."""
    return drawable(class_names[label], f"#{label}")


def numbered_classes(class_names: Sequence[str]) -> str:
    """Which classes are drawn as numbers, for people; "" where all names can be drawn."""
    shown = [class_text(class_names, label) for label in range(len(class_names))]
    numbered = [f"{text} is {name}" for text, name in zip(shown, class_names, strict=True) if text != name]
    return f"classes that no font here can write are drawn as numbers: {', '.join(numbered)}" if numbered else ""


def draw_quad(canvas: np.ndarray, quad: np.ndarray, color: Color, width: int = 1, dashed: bool = False) -> None:
    """Draw the outline of a quad (4, 2), or of more corners, in pixels of the canvas (H, W, 3); dashes begin and end at
    these."""
    if not dashed:
        cv2.polylines(canvas, [fixed_point(quad)], True, color, width, cv2.LINE_AA, SUBPIXEL_BITS)
        return
    corners, dash = np.clip(np.nan_to_num(np.asarray(quad, np.float64)), -1e5, 1e5), _DASH * width
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        num_parts = 2 * int(min(np.linalg.norm(end - start) / (2 * dash), 1000)) + 1
        stops = start + (end - start) * np.linspace(0, 1, num_parts + 1)[:, None]
        for part in range(0, num_parts if num_parts > 1 else 0, 2):
            draw_line(canvas, stops[part], stops[part + 1], color, width)
        if num_parts == 1:  # too short for a gap: its first half
            draw_line(canvas, start, (start + end) / 2, color, width)


def draw_line(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, color: Color, width: int = 1) -> None:
    """Draw a line between two points (2,), in pixels of the canvas (H, W, 3)."""
    first, second = (tuple(map(int, fixed_point(point))) for point in (start, end))
    cv2.line(canvas, first, second, color, width, cv2.LINE_AA, SUBPIXEL_BITS)


def label_quad(
    canvas: np.ndarray,
    quad: np.ndarray,
    text: str,
    color: Color,
    taken: list[tuple[int, int, int, int]],
    scale: float | None = None,
) -> None:
    """Write above the quad's top corner, unless another label is `taken` there: (x1, y1, x2, y2) of those so far.
    `scale` of the letters: by the canvas's size if not given."""
    scale = _letters_on(max(canvas.shape[:2])) if scale is None else scale
    width, height, baseline = text_size(text, scale)
    top = np.nan_to_num(quad[np.argmin(quad[:, 1])])
    x = int(np.clip(top[0] - width / 2, 0, max(0, canvas.shape[1] - width)))
    y = int(np.clip(top[1] - baseline, height + 1, max(height + 1, canvas.shape[0] - 1)))
    place = (x, y - height, x + width, y + baseline // 2)
    if any(place[0] < b[2] and b[0] < place[2] and place[1] < b[3] and b[1] < place[3] for b in taken):
        return
    taken.append(place)
    draw_text(canvas, text, (x, y), color, scale)


def _letters_on(longest: int) -> float:
    """Scale of letters on a canvas whose longer side is so many pixels."""
    return 0.3 if longest < 500 else max(0.4, longest / 2200)


def draw_legend(entries: Sequence[LegendEntry], width: int, scale: float = 0.45) -> np.ndarray:
    """The entries side by side, in as many lines as they need: a strip (h, width, 3) uint8 on dark ground."""
    pitch, mark, gap = round(50 * scale), round(50 * scale), round(44 * scale)
    x, y, places = gap // 2, pitch, []
    for entry in entries:
        length = text_size(entry.text, scale)[0] + (mark + gap // 3 if entry.mark != "none" else 0)
        if x + length > width - gap // 2 and x > gap // 2:
            x, y = gap // 2, y + pitch
        places.append((x, y))
        x += length + gap
    strip = np.full((y + pitch // 2, width, 3), PAPER, np.uint8)
    for entry, (left, base) in zip(entries, places, strict=True):
        middle, half = base - 8 * scale, 9 * scale
        box = np.array([[left, middle - half], [left + mark, middle - half], [left + mark, middle + half],
                        [left, middle + half]])  # fmt: skip
        if entry.mark == "patch":
            cv2.fillPoly(strip, [fixed_point(box)], entry.color, cv2.LINE_AA, SUBPIXEL_BITS)
        elif entry.mark != "none":
            draw_quad(strip, box, entry.color, 2, dashed=entry.mark == "dashed")
        start = left if entry.mark == "none" else left + mark + gap // 3
        draw_text(strip, entry.text, (start, base), WHITE, scale)
    return strip


def fixed_point(points: np.ndarray) -> np.ndarray:
    """Points (..., 2) in pixels, as OpenCV's drawing takes them: it counts from the middle of the first pixel."""
    return np.rint((points - 0.5) * (1 << SUBPIXEL_BITS)).clip(-(2**30), 2**30).astype(np.int32)
