"""Video files: their frames one after the other, and the name by which pictures, labels and results know a frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from datasets.picture_files.images import IMAGE_SUFFIXES

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"})
USUAL_RATE = 25.0  # frames a second of a file that tells none
_HIGHEST_RATE = 300.0  # of what is no slow motion
_PROBED = 100  # frames
_TOLERANCE = 1e-3  # seconds: times are kept in thousandths
_LONGEST_STEP = 60.0  # seconds between frames; what is longer is no time
_COUNTING_SUFFIXES = frozenset({".avi", ".m4v", ".mov", ".mp4"})


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
        rate: frames a second, on the average. num_frames: about how many there are, 0 where nothing tells. num_read:
            frames that `frames` has passed so far. seconds: at which the last of these is shown, after the first.
    """

    def __init__(self, path: Path) -> None:
        """Open the file. Raises VideoError."""
        if not path.is_file():
            what = "a folder; name one of its files" if path.is_dir() else "no such video file"
            raise VideoError(f"{path}: {what}")
        if path.suffix.lower() in IMAGE_SUFFIXES:
            raise VideoError(f"{path}: a picture, not a video")
        self.path = path
        self._capture = _open(path)
        told, count = (self._capture.get(fact) for fact in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        # Where frames have times of their own the container's unit of time is told for a rate, 1000 a second.
        self.rate = told if 0 < told <= _HIGHEST_RATE else _measured_rate(path)
        self.num_frames = round(count / told * self.rate) if told > 0 and 0 < count < 1e9 else 0
        self.num_read, self.seconds = 0, 0.0

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *problem: object) -> None:
        self._capture.release()

    def frames(self, every: float = 0.0) -> Iterator[Frame]:
        """The frames, upright (a phone's rotation is applied), or of every so many seconds the first; of the others
        no picture is made.

        Raises VideoError where not even the first can be decoded.
        """
        before, due, has_picture = 0.0, 0, False
        while self._capture.grab():
            told = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if self.num_read:
                # Clips that were put together begin anew, and some files tell no times.
                step = told - before
                self.seconds += step if 0 < step < _LONGEST_STEP else 1 / self.rate
            before = told
            number, self.num_read = self.num_read, self.num_read + 1
            if every > 0:
                if self.seconds < due * every - _TOLERANCE:
                    continue
                due = max(due, math.floor((self.seconds + _TOLERANCE) / every)) + 1
            done, picture = self._capture.retrieve()
            if not done:
                break
            has_picture = True
            yield Frame(number, self.seconds, picture)
        if not has_picture:
            raise VideoError(f"{self.path}: no frame can be decoded; is it damaged?")

    def num_chosen(self, every: float = 0.0) -> int | None:
        """About how many frames `frames(every)` gives, None where nothing tells."""
        if not self.num_frames:
            return None
        return self.num_frames if every <= 1 / self.rate else math.ceil(self.num_frames / self.rate / every)

    @property
    def is_cut(self) -> bool:
        """Once `frames` has ended: whether much is missing of the frames that the file counts."""
        counts = self.path.suffix.lower() in _COUNTING_SUFFIXES
        return counts and self.num_read < 0.98 * self.num_frames - 1

    @property
    def shortfall(self) -> str:
        """Once `frames` has ended: what is missing, "" for nothing. Most kinds of file do not count their frames, and
        tell a length that is that of the sound as well."""
        if self.is_cut:
            return f"ends after {self.num_read} of the {self.num_frames} frames that it tells of; copy it again"
        length = self.num_frames / self.rate
        if self.seconds + 1 / self.rate < 0.9 * length - 1:
            return f"ends at {self.seconds:.1f} of {length:.1f} s: its sound is longer, or it is cut off"
        return ""


def _open(path: Path) -> cv2.VideoCapture:
    # A relative name with a colon would be an address to FFmpeg, such as http:x.mp4.
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise VideoError(f"{path}: cannot be read as a video; is it damaged or of another format?")
    return capture


def _measured_rate(path: Path) -> float:
    """Frames a second, by the times of the first frames."""
    capture, times = _open(path), []
    while len(times) < _PROBED and capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    capture.release()
    span = times[-1] - times[0] if times else 0.0
    return (len(times) - 1) / span if span > 0 else USUAL_RATE


def frame_name(video: Path, number: int) -> str:
    """`<video>_<number>`: `split_train_val --group_by '^(.+)_\\d+$'` keeps the frames of a video together."""
    return f"{video.stem}_{number:06d}"
