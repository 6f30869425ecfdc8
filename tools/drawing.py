"""Pictures with boxes, class and score on them: lines, letters and legends on pixels."""

from __future__ import annotations

import colorsys
import math
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.boxes import rectangle_sides
from DOTA_devkit.task_files import ImageDetections
from tools.command_line import SettingsError

Color = tuple[int, int, int]  # blue, green, red

WHITE, GREY, PAPER = (255, 255, 255), (190, 190, 190), (32, 32, 32)
SUBPIXEL_BITS = 4
_DASH = 5.0  # line widths, about, of a dash and of a gap
_MARK = b"Comment\0drawn, not a photograph"  # in the head of what is written here, so that it may be replaced
_EM = 29.0  # pixels of a font's em at which its capitals are as high as OpenCV's at scale 1


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
    min_score: float | Sequence[float] = 0.0,
    line_width: int = 0,
    labels: bool = True,
    in_place: bool = False,
) -> np.ndarray:
    """A copy of the picture (H, W, 3) uint8 BGR, or the picture itself with `in_place`, with the boxes that score at
    least `min_score`, or as much as it tells for their class, the best on top.

    `line_width` in pixels; 0 chooses by the sizes of picture and boxes. With `labels`, class and score stand above a
    box where no better box's label does: in a crowd all boxes are drawn but only some are named (colours tell the
    classes apart).
    """
    canvas = picture if in_place else np.ascontiguousarray(picture).copy()
    least = np.broadcast_to(np.asarray(min_score), len(class_names))
    shown = np.flatnonzero(boxes.scores >= least[boxes.labels])[::-1]
    pen = pen_for(canvas, boxes.quads[shown])
    for row in shown:
        draw_quad(canvas, boxes.quads[row], class_color(int(boxes.labels[row])), line_width or pen.width)
    if labels:
        taken: list[tuple[int, int, int, int]] = []
        for row in shown[::-1]:
            text = f"{class_text(class_names, int(boxes.labels[row]))} {boxes.scores[row]:.2f}"
            label_quad(canvas, boxes.quads[row], text, class_color(int(boxes.labels[row])), taken, pen.letters)
    return canvas


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


def class_color(label: int) -> Color:
    """A bright BGR colour of a class; neighbours in the list lie far apart on the colour circle."""
    red, green, blue = colorsys.hsv_to_rgb((0.33 + label * 0.618034) % 1.0, 0.9, 1.0)
    return round(blue * 255), round(green * 255), round(red * 255)


def class_text(class_names: Sequence[str], label: int) -> str:
    """The name of a class as it can be drawn: where no font of this machine has its letters, its number."""
    return drawable(class_names[label], f"#{label}")


def plot_names(class_names: Sequence[str]) -> list[str]:
    """The names as a figure can show them: a $ begins no formula."""
    return [class_text(class_names, label).replace("$", r"\$") for label in range(len(class_names))]


def numbered_classes(class_names: Sequence[str]) -> str:
    """The classes that are drawn as numbers, with these, for people; "" where all names can be drawn."""
    shown = [class_text(class_names, label) for label in range(len(class_names))]
    return ", ".join(f"{text} is {name}" for text, name in zip(shown, class_names, strict=True) if text != name)


def drawable(text: str, otherwise: str) -> str:
    """`text` if its letters can be drawn here, else `otherwise`."""
    has_letters = text.isprintable() if text.isascii() else _font_path(text) is not None
    return text if has_letters else otherwise


def draw_quad(canvas: np.ndarray, quad: np.ndarray, color: Color, width: int = 1, dashed: bool = False) -> None:
    """Draw the outline of a quad (4, 2), in pixels of the canvas (H, W, 3); dashes begin and end at the corners."""
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


def text_size(text: str, scale: float) -> tuple[int, int, int]:
    """Width, height above the baseline, and depth below it, in pixels, of a text that `draw_text` draws."""
    if text.isascii():
        (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        return width, height, baseline
    letters, depth = _letters(text, scale)
    return letters.shape[1], letters.shape[0] - depth, depth


def draw_text(canvas: np.ndarray, text: str, place: tuple[int, int], color: Color, scale: float) -> None:
    """Write on the canvas (H, W, 3), from the left end of the baseline at `place`, x then y; dark around the letters.

    OpenCV's strokes know ASCII only; other scripts are set in a font of this machine, where it has one, and are
    question marks where not.
    """
    if text.isascii():
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 2, cv2.LINE_AA)
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, 1, cv2.LINE_AA)
        return
    letters, depth = _letters(text, scale)
    framed = cv2.copyMakeBorder(letters, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    left, top = place[0] - 1, place[1] + depth - letters.shape[0] - 1
    inside = canvas[max(0, top) : top + framed.shape[0], max(0, left) : left + framed.shape[1]]
    if not inside.size:
        return
    cut = (slice(max(0, -top), max(0, -top) + inside.shape[0]), slice(max(0, -left), max(0, -left) + inside.shape[1]))
    for cover, ink in ((cv2.dilate(framed, np.ones((3, 3), np.uint8)), (0, 0, 0)), (framed, color)):
        share = cover[cut][:, :, None] / 255.0
        inside[:] = np.rint(inside * (1 - share) + np.array(ink) * share)


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


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture, whole or not at all, coded by the suffix and, as JPEG and PNG, marked as a drawing (see
    `check_drawings`). Raises OSError."""
    done, data = cv2.imencode(path.suffix, picture)
    if not done:
        raise OSError(f"{path}: cannot be coded as {path.suffix}")
    with atomic_write(path, "wb", sync=False) as file:
        file.write(_marked(data.tobytes()))


def check_drawings(paths: Iterable[Path]) -> None:
    """Raises SettingsError when one of the files is there and no drawing of ours: it may be somebody's only copy."""
    for path in paths:
        if not path.exists():
            continue
        if not _is_drawing(path):
            raise SettingsError(f"{path} is there and is no earlier drawing; name another folder")


@contextmanager
def plot_fonts(names: Iterable[str]) -> Iterator[None]:
    """A block in which figures that are made write names in fonts of this machine that have their letters, without a
    warning of each letter that none has."""
    from matplotlib import ft2font, rc_context

    letters = sorted({letter for name in names for letter in name if not letter.isascii()})
    paths = dict.fromkeys(path for path in map(_font_path, letters) if path)
    families = dict.fromkeys(["DejaVu Sans", *(ft2font.FT2Font(path).family_name for path in paths)])
    with rc_context({"font.family": list(families)}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


def remove_drawings(folder: Path) -> None:
    """Remove the drawings of ours in a folder: beside those of other pictures or of a better network they mislead."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if _is_drawing(path):
            path.unlink()


def _is_drawing(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _MARK in file.read(2 * len(_MARK) + 40)


def _marked(data: bytes) -> bytes:
    """A JPEG or PNG file with the mark as a comment in its head; any other as it is."""
    if data.startswith(b"\xff\xd8"):
        return data[:2] + b"\xff\xfe" + (len(_MARK) + 2).to_bytes(2, "big") + _MARK + data[2:]
    if data.startswith(b"\x89PNG"):
        chunk = b"tEXt" + _MARK
        head = 33  # bytes of the signature and of the first chunk
        return data[:head] + len(_MARK).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[head:]
    return data


def fixed_point(points: np.ndarray) -> np.ndarray:
    """Points (..., 2) in pixels, as OpenCV's drawing takes them: it counts from the middle of the first pixel."""
    return np.rint((points - 0.5) * (1 << SUBPIXEL_BITS)).clip(-(2**30), 2**30).astype(np.int32)


@lru_cache(maxsize=1024)
def _letters(text: str, scale: float) -> tuple[np.ndarray, int]:
    """How much of each pixel the text covers, (h, w) uint8, and how many rows lie below the baseline."""
    from matplotlib import font_manager, ft2font

    path = _font_path(text)
    if path is None:
        path, text = font_manager.findfont("DejaVu Sans"), text.encode("ascii", "replace").decode()
    font = ft2font.FT2Font(path)
    font.set_size(_EM * scale, 72)  # at 72 dots an inch a point is a pixel
    font.set_text(text)
    font.draw_glyphs_to_bitmap(antialiased=True)
    return np.array(font.get_image(), np.uint8), round(font.get_descent() / 64)


@lru_cache(maxsize=1024)
def _font_path(text: str) -> str | None:
    """A font file of this machine that has all letters of the text, matplotlib's own first; None where there is none.
    Looked for only when a text is not plain ASCII."""
    from matplotlib import font_manager, ft2font

    paths = dict.fromkeys([font_manager.findfont("DejaVu Sans"), *(f.fname for f in font_manager.fontManager.ttflist)])
    for path in paths:
        if "LastResort" in path:  # has a box with the script's name for every letter
            continue
        try:
            font = ft2font.FT2Font(path)
        except (OSError, RuntimeError):  # removed, or not for us: a list of fonts may be older than the machine's fonts
            continue
        if all(font.get_char_index(ord(letter)) for letter in text):
            return path
    return None
