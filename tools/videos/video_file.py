"""A video that is written frame by frame, whole or not at all."""

from __future__ import annotations

import errno
import glob
import os
import secrets
from pathlib import Path

import cv2
import numpy as np

from datasets.videos import Video, VideoError

FASTEST = 300.0  # frames a second
LONGEST_SIDE = 8191  # pixels of a frame in MPEG-4
_TOKEN = 6  # bytes that make a name its own
_CODEC = "mp4v"  # MPEG-4 part 2, which every build of OpenCV can write; H.264 it cannot


class VideoFile:
    """Context manager that writes an .mp4 of frames (H, W, 3) uint8 BGR, all of one size, at `rate` a second.

    The file takes the place of `path` only when the block ends well. Without any frame there is none.
    """

    def __init__(self, path: Path, rate: float) -> None:
        # Beyond 65 frames a second MPEG-4 has no room for thousandths.
        self.path, self.rate = path, round(min(rate, FASTEST), 2 if rate > 65 else 3)
        path = path.absolute()  # FFmpeg takes a relative name with a colon for an address
        self._temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(_TOKEN)}{path.suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._num_frames = 0

    def __enter__(self) -> VideoFile:
        folder = self._temporary.parent
        folder.mkdir(parents=True, exist_ok=True)
        of_any_run = f".{glob.escape(self.path.stem[:40])}.{'[0-9a-f]' * 2 * _TOKEN}{glob.escape(self.path.suffix)}"
        for leftover in folder.glob(of_any_run):  # of one that was killed
            leftover.unlink()
        return self

    def write(self, frame: np.ndarray) -> None:
        """Add a frame. A last odd row or column, which the codec would leave out, is doubled. Raises OSError."""
        even = cv2.copyMakeBorder(frame, 0, frame.shape[0] % 2, 0, frame.shape[1] % 2, cv2.BORDER_REPLICATE)
        if self._writer is None:
            if max(even.shape) > LONGEST_SIDE:
                what = f"frames of {even.shape[1]} x {even.shape[0]}, and MPEG-4 holds {LONGEST_SIDE} pixels a side"
                raise OSError(f"{self.path}: {what}")
            codec, size = cv2.VideoWriter_fourcc(*_CODEC), (even.shape[1], even.shape[0])
            self._writer = cv2.VideoWriter(str(self._temporary), cv2.CAP_FFMPEG, codec, self.rate, size)
            if not self._writer.isOpened():
                what = f"cannot be written as a video of {size[0]} x {size[1]}, {self.rate:g} frames a second"
                raise OSError(f"{self.path}: {what}; is the disk full?")
        self._writer.write(even)
        self._num_frames += 1

    def __exit__(self, *problem: object) -> None:
        try:
            if self._writer is not None:
                self._writer.release()
            if problem[0] is None and self._writer is not None:
                self._check()
                self._temporary.replace(self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _check(self) -> None:
        """Raises OSError where frames are missing: OpenCV says nothing when a disk is full."""
        try:
            with Video(self._temporary) as video:
                is_whole = video.num_frames == self._num_frames
        except VideoError:
            is_whole = False
        if not is_whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
