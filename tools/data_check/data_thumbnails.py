"""Thumbnails of findings: the offending box on the piece of its picture, as text that a page can hold."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np

from datasets.picture_files.images import ImageError
from datasets.picture_files.layouts import BY_THE_FILE, Reading
from datasets.picture_files.picture_windows import read_whole
from datasets.readers import Read
from DOTA_devkit.labels import LabelError
from tools.data_check.data_checks import LABELTXT, Finding, raw_corners
from tools.data_check.data_folder import Pair
from tools.drawing import draw_quad

WIDTH, HEIGHT = 320, 240  # pixels of a thumbnail
LEAST_WINDOW = 64.0  # pixels of the picture that it shows at least
ROOM = 2.5  # side of the window by side of the box
FARTHEST = 4.0  # a window longer than so many pictures shows nothing: the whole picture is shown instead
QUALITY = 82
VOID_BGR = (48, 40, 36)  # what lies beyond the border
BOX_BGR = (60, 60, 255)
OF_PICTURES = ("both-lists", "normalised")  # the line is one of a list, or the objects are less than a pixel


class Thumbnails:
    """Draws thumbnails; the picture and the labels read last are kept, since findings come in clusters."""

    def __init__(self, dataset: str, pairs: dict[str, Pair], read: Read, reading: Reading = BY_THE_FILE) -> None:
        self._dataset = dataset
        self._pairs = pairs
        self._read_labels = read
        self._reading = reading
        self._last: tuple[Path, np.ndarray] | None = None

    def draw(self, finding: Finding) -> str:
        """A `data:` address of a JPEG of 320 x 240, "" where there is no picture to show."""
        pictures = [self._read(name) for name in (finding.picture, finding.other) if name]
        if not pictures or any(picture is None for picture in pictures):
            return ""
        if len(pictures) == 2:
            halves = [_window(picture, _whole(picture), (WIDTH // 2 - 1, HEIGHT)) for picture in pictures]
            gap = np.full((HEIGHT, 2, 3), 255, np.uint8)
            return _data_address(np.hstack([halves[0], gap, halves[1]]))
        quad = self._quad(finding)
        window = _whole(pictures[0]) if quad is None else _around(quad, pictures[0])
        if quad is not None and window[2] - window[0] > FARTHEST * max(pictures[0].shape[:2]):
            quad, window = None, _whole(pictures[0])
        thumbnail = _window(pictures[0], window, (WIDTH, HEIGHT))
        if quad is not None:
            scale = WIDTH / (window[2] - window[0])
            draw_quad(thumbnail, (quad - window[:2]) * scale, BOX_BGR, 2)
        return _data_address(thumbnail)

    def _read(self, name: str) -> np.ndarray | None:
        pair = self._pairs.get(name)
        if pair is None:
            return None
        if self._last is None or self._last[0] != pair.image_path:
            try:
                self._last = (pair.image_path, read_whole(pair.image_path, reading=self._reading))
            except ImageError:
                return None
        return self._last[1]

    def _quad(self, finding: Finding) -> np.ndarray | None:
        """The corners (4, 2) of the object on the finding's line; None where that is no object to look at."""
        path = self._pairs[finding.picture].label_path
        if path is None or not finding.line or finding.kind in OF_PICTURES:
            return None
        try:
            labels = self._read_labels(path, lambda error: None)
            rows = np.flatnonzero(labels.lines == finding.line)
            if len(rows):
                return labels.quads[rows[0]]
            lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        except (LabelError, OSError):
            return None
        if self._dataset not in LABELTXT:
            return None
        return raw_corners(lines[finding.line - 1]) if finding.line <= len(lines) else None


def _around(quad: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """The window (4,), xmin, ymin, xmax, ymax, that shows a quad (4, 2) with some room around it."""
    nearest = quad.mean(axis=0).clip(0, picture.shape[1::-1])  # so that something is seen of one that lies outside
    low, high = np.minimum(quad.min(axis=0), nearest), np.maximum(quad.max(axis=0), nearest)
    width = max(ROOM * max(high[0] - low[0], (high[1] - low[1]) * WIDTH / HEIGHT), LEAST_WINDOW)
    half = np.array([width, width * HEIGHT / WIDTH]) / 2
    return np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half])


def _whole(picture: np.ndarray) -> np.ndarray:
    """The window that shows all of the picture (H, W, 3)."""
    return np.array([0, 0, picture.shape[1], picture.shape[0]], np.float64)


def _window(picture: np.ndarray, window: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The window of the picture (H, W, 3), made to fit `size` (width, height); void where there is no picture."""
    scale = min(size[0] / (window[2] - window[0]), size[1] / (window[3] - window[1]))
    room = (np.array(size) / scale - (window[2:] - window[:2])) / 2
    window = np.concatenate([window[:2] - room, window[2:] + room])
    height, width = picture.shape[:2]
    # Cut first, with a pixel of room, and shrink by areas: a picture of gigapixels is never warped whole.
    left, top = np.floor(np.clip(window[:2] - 1, 0, [width, height])).astype(int)
    right, bottom = np.ceil(np.clip(window[2:] + 1, 0, [width, height])).astype(int)
    canvas = np.full((size[1], size[0], 3), VOID_BGR, np.uint8)
    piece = picture[top:bottom, left:right]
    if piece.size == 0:
        return canvas
    step = min(1.0, scale)
    if step < 1:
        sides = [max(1, round(side * step)) for side in piece.shape[1::-1]]
        piece = cv2.resize(piece, sides, interpolation=cv2.INTER_AREA)
    matrix = np.array([[scale / step, 0, (left - window[0]) * scale], [0, scale / step, (top - window[1]) * scale]])
    matrix[:, 2] += (scale / step - 1) / 2  # OpenCV counts from the middle of a pixel
    border = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": VOID_BGR}
    return cv2.warpAffine(piece, matrix, size, flags=cv2.INTER_LINEAR, **border)


def _data_address(picture: np.ndarray) -> str:
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
