"""Letters on pixels: OpenCV's strokes for ASCII, a font of this machine for every other script."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

Color = tuple[int, int, int]  # blue, green, red

_EM = 29.0  # pixels of a font's em at which its capitals are as high as OpenCV's at scale 1


def drawable(text: str, otherwise: str) -> str:
    """`text` if its letters can be drawn here, else `otherwise`."""
    has_letters = text.isprintable() if text.isascii() else font_path(text) is not None
    return text if has_letters else otherwise


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


@lru_cache(maxsize=1024)
def font_path(text: str) -> str | None:
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


@lru_cache(maxsize=1024)
def _letters(text: str, scale: float) -> tuple[np.ndarray, int]:
    """How much of each pixel the text covers, (h, w) uint8, and how many rows lie below the baseline."""
    from matplotlib import font_manager, ft2font

    path = font_path(text)
    if path is None:
        path, text = font_manager.findfont("DejaVu Sans"), text.encode("ascii", "replace").decode()
    font = ft2font.FT2Font(path)
    font.set_size(_EM * scale, 72)  # at 72 dots an inch a point is a pixel
    font.set_text(text)
    font.draw_glyphs_to_bitmap(antialiased=True)
    return np.array(font.get_image(), np.uint8), round(font.get_descent() / 64)
