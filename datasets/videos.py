"""Video files: their frames one after the other, and the name by which pictures, labels and results know a frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from datasets.images import IMAGE_SUFFIXES

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"})
USUAL_RATE = 25.0  # frames a second of a file that tells none


class VideoError(ValueError):
    """A file that is missing, damaged or no video; the message names it."""


class Frame(NamedTuple):
    """A frame: its number in the video, from 0 on, the second at which it is shown, and (H, W, 3) uint8 BGR."""

    number: int
    seconds: float
    picture: np.ndarray


class Video:
    """An open video file; closed at the end of a `with` block.

    Attributes:
        rate: frames a second, on the average. num_frames: as the file says, which may be wrong; 0 where it says
            nothing. num_read: frames that `frames` has passed so far.
    """

    def __init__(self, path: Path) -> None:
        """Open the file. Raises VideoError."""
        if not path.is_file():
            raise VideoError(f"{path}: no such video file")
        if path.suffix.lower() in IMAGE_SUFFIXES:
            raise VideoError(f"{path}: a picture, not a video")
        self.path = path
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise VideoError(f"{path}: cannot be read as a video; is it damaged or of another format?")
        rate, count = (self._capture.get(fact) for fact in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self.rate = rate if 0 < rate < 1e4 else USUAL_RATE
        self.num_frames = int(count) if 0 < count < 1e9 else 0
        self.num_read = 0

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *problem: object) -> None:
        self._capture.release()

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Each `every`-th frame, from the first on, upright (a phone's rotation is applied); the others are passed
        over without a picture being made of them.

        Raises VideoError where not even the first can be decoded.
        """
        while self._capture.grab():
            number, self.num_read = self.num_read, self.num_read + 1
            if number % every:
                continue
            seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            done, picture = self._capture.retrieve()
            if not done:
                break
            yield Frame(number, seconds if seconds > 0 else number / self.rate, picture)
        if not self.num_read:
            raise VideoError(f"{self.path}: no frame can be decoded; is it damaged?")

    @property
    def is_cut(self) -> bool:
        """Once `frames` has ended: whether much is missing of what the file says that it holds."""
        return self.num_read < 0.98 * self.num_frames - 1


def frame_name(video: Path, number: int) -> str:
    """`<video>_<number>`: `split_train_val --group_by '^(.+)_\\d+$'` keeps the frames of a video together."""
    return f"{video.stem}_{number:06d}"
