"""Thumbnails of findings: the offending box on the piece of its picture, as text that a page can hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datasets.picture_files.images import ImageError
from datasets.picture_files.layouts import BY_THE_FILE, Reading
from datasets.picture_files.picture_windows import PictureWindows, open_picture
from datasets.readers import Read
from DOTA_devkit.labels import LabelError
from tools.data_check.data_checks import LABELTXT, Finding, raw_corners
from tools.data_check.data_folder import Pair
from tools.drawing import draw_quad
from tools.drawings.thumbnails import HEIGHT, WIDTH, cut_window, data_address, whole_window, window_around

FARTHEST = 4.0  # a window longer than so many pictures shows nothing: the whole picture is shown instead
BOX_BGR = (60, 60, 255)
OF_PICTURES = ("both-lists", "normalised")  # the line is one of a list, or the objects are less than a pixel


class Thumbnails:
    """Draws thumbnails; the picture and the labels read last are kept, since findings come in clusters."""

    def __init__(self, dataset: str, pairs: dict[str, Pair], read: Read, reading: Reading = BY_THE_FILE) -> None:
        self._dataset = dataset
        self._pairs = pairs
        self._read_labels = read
        self._reading = reading
        self._last: tuple[Path, np.ndarray | PictureWindows] | None = None

    def draw(self, finding: Finding) -> str:
        """A `data:` address of a JPEG of 320 x 240, "" where there is no picture to show."""
        pictures = [self._read(name) for name in (finding.picture, finding.other) if name]
        if not pictures or any(picture is None for picture in pictures):
            return ""
        if len(pictures) == 2:
            halves = [cut_window(picture, whole_window(picture), (WIDTH // 2 - 1, HEIGHT)) for picture in pictures]
            gap = np.full((HEIGHT, 2, 3), 255, np.uint8)
            return data_address(np.hstack([halves[0], gap, halves[1]]))
        quad = self._quad(finding)
        window = whole_window(pictures[0]) if quad is None else window_around(quad, pictures[0])
        if quad is not None and window[2] - window[0] > FARTHEST * max(pictures[0].shape[:2]):
            quad, window = None, whole_window(pictures[0])
        thumbnail = cut_window(pictures[0], window)
        if quad is not None:
            scale = WIDTH / (window[2] - window[0])
            draw_quad(thumbnail, (quad - window[:2]) * scale, BOX_BGR, 2)
        return data_address(thumbnail)

    def _read(self, name: str) -> np.ndarray | PictureWindows | None:
        pair = self._pairs.get(name)
        if pair is None:
            return None
        if self._last is None or self._last[0] != pair.image_path:
            try:
                self._last = (pair.image_path, open_picture(pair.image_path, reading=self._reading))
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
