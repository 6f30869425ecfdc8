"""Video files: their frames one after the other, and the name by which pictures, labels and results know a frame."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from datasets.images import IMAGE_SUFFIXES

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"})
USUAL_RATE = 25.0  # frames a second of a file that tells none
_HIGHEST_RATE = 300.0  # of what is no slow motion
_PROBED = 100  # frames
_TOLERANCE = 1e-3  # seconds: times are kept in thousandths
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
            frames that `frames` has passed so far. seconds: at which the last of these is shown.
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
        due = 0.0
        while self._capture.grab():
            number, self.num_read = self.num_read, self.num_read + 1
            seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            self.seconds = seconds if number and seconds > 0 else number / self.rate
            if self.seconds < due - _TOLERANCE:
                continue
            if every > 0:
                due = (math.floor((self.seconds + _TOLERANCE) / every) + 1) * every
            done, picture = self._capture.retrieve()
            if not done:
                break
            yield Frame(number, self.seconds, picture)
        if not self.num_read:
            raise VideoError(f"{self.path}: no frame can be decoded; is it damaged?")

    def num_chosen(self, every: float = 0.0) -> int | None:
        """About how many frames `frames(every)` gives, None where nothing tells."""
        if not self.num_frames:
            return None
        return self.num_frames if every <= 1 / self.rate else math.ceil(self.num_frames / self.rate / every)

    @property
    def is_cut(self) -> bool:
        """Once `frames` has ended: whether much is missing of what the file says that it holds. Only some kinds of
        file count their frames; of the others the length is that of the sound as well."""
        counts = self.path.suffix.lower() in _COUNTING_SUFFIXES
        return counts and self.num_read < 0.98 * self.num_frames - 1


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


def find_videos(source: Path) -> list[Path]:
    """The video, or those directly in the folder, by name. Raises VideoError for none."""
    if re.match(r"[a-z]+:/", str(source)) or str(source).isdecimal():
        raise VideoError(
            f"{source}: only files are read; read a stream or a camera with cv2.VideoCapture, and hand its frames to a "
            'detector (README.md, "In a program")'
        )
    if not source.is_dir():
        return [source]
    found = sorted(path for path in source.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    if not found:
        raise VideoError(f"{source}: no video there; known suffixes: {', '.join(sorted(VIDEO_SUFFIXES))}")
    return found


def no_picture_there(folder: Path) -> str:
    """What to say of a folder in which no picture was found."""
    has_videos = any(path.suffix.lower() in VIDEO_SUFFIXES for path in folder.iterdir())
    hint = "videos, which python -m tools.detect_video takes" if has_videos else ""
    return f"no picture there{' but ' if hint else '; known suffixes: '}{hint or ', '.join(sorted(IMAGE_SUFFIXES))}"


def frame_name(video: Path, number: int) -> str:
    """`<video>_<number>`: `split_train_val --group_by '^(.+)_\\d+$'` keeps the frames of a video together."""
    return f"{video.stem}_{number:06d}"
