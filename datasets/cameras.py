"""Cameras and streams: the newest frame at any time, and again after the connection was lost."""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections.abc import Callable

import cv2
import numpy as np

from datasets.videos import Frame

_PATIENCE = 10_000  # milliseconds that an address may take to answer, or to give the next frame
_TRIES = 3  # of reading a frame, before it is reached anew
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0  # seconds between two tries to reach it again, each twice as long as the last


class CameraError(ValueError):
    """A camera or stream that cannot be reached; the message names it."""


class Camera:
    """An open camera or stream; closed at the end of a `with` block. A thread takes its frames as they come, so that
    whoever is slower always gets the newest one, and not those that piled up.

    Args:
        source: the number of a camera of this machine, "0", or the address of a stream, "rtsp://10.0.0.7/live".
        give_up: seconds without a frame after which it is not tried again. tell: takes sentences about it.

    Attributes:
        name: the source without names and passwords. num_frames: how many have come so far. num_lost: how often the
            connection was lost.
    """

    def __init__(self, source: str, give_up: float = math.inf, tell: Callable[[str], None] = print) -> None:
        """Reach it. Raises CameraError."""
        self.name = without_secrets(source)
        self._source, self._give_up, self._tell = source, give_up, tell
        self.num_frames, self.num_lost = 0, 0
        self._started = time.monotonic()
        self._capture = self._open()
        if not self._capture.isOpened():
            what = "no such camera here"
            if not source.isdecimal():
                what = "does not answer, wants another name or password, or sends no video"
            raise CameraError(f"{self.name}: {what}")
        self._newest: Frame | None = None
        self._failure: Exception | None = None
        self._last = self.seconds  # when a frame came
        self._changed, self._closed = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._take_frames, name="camera", daemon=True)

    def __enter__(self) -> Camera:
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._closed.set()
        self._thread.join(timeout=2.0)  # one that waits for a frame ends with the process

    @property
    def seconds(self) -> float:
        """Since it was opened."""
        return time.monotonic() - self._started

    def newest(self, timeout: float = 0.5) -> Frame | None:
        """The newest frame that was not given yet, None where none comes in so many seconds. Its number counts all that
        came, its seconds from the opening on.

        Raises CameraError once the connection is given up, and whatever else has ended the thread.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._failure is not None, timeout)
            frame, self._newest = self._newest, None
            if frame is None and self._failure is not None:
                raise self._failure
            return frame

    def _open(self) -> cv2.VideoCapture:
        if self._source.isdecimal():
            return cv2.VideoCapture(int(self._source))
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # each try would say something of its own
        patience = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _PATIENCE, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _PATIENCE)
        return cv2.VideoCapture(self._source, cv2.CAP_FFMPEG, patience)

    def _take_frames(self) -> None:
        num_failed = 0
        try:
            while not self._closed.is_set():
                asked = time.monotonic()
                done, picture = self._capture.read()
                if done:
                    self._hand_on(picture)
                    num_failed = 0
                    continue
                num_failed += 1  # of a damaged frame the next one is often sound, and of a stall the answer takes long
                if num_failed >= _TRIES or time.monotonic() - asked > 1:
                    self._reach_again()
                    num_failed = 0
        except Exception as error:  # else whoever waits for a frame would wait for ever
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        finally:
            self._capture.release()

    def _hand_on(self, picture: np.ndarray) -> None:
        with self._changed:
            self._last = self.seconds
            self._newest = Frame(self.num_frames, self._last, picture)
            self.num_frames += 1
            self._changed.notify_all()

    def _reach_again(self) -> None:
        """Try until it gives frames again, or is closed. Raises CameraError when it is given up."""
        wait = _FIRST_WAIT
        self.num_lost += 1
        self._tell(f"{self.name}: gives no more frames; trying to reach it again")
        while not self._closed.wait(min(wait, max(0.0, self._last + self._give_up - self.seconds))):
            self._capture.release()
            self._capture = self._open()
            done, picture = self._capture.read() if self._capture.isOpened() else (False, None)
            if done:
                self._tell(f"{self.name}: is back after {self.seconds - self._last:.0f} s")
                self._hand_on(picture)
                break
            if self.seconds - self._last >= self._give_up:
                raise CameraError(f"{self.name}: gave no frame for {self._give_up:g} s; given up")
            wait = min(2 * wait, _LONGEST_WAIT)


def next_due(due: float, seconds: float, every: float) -> float:
    """When the next frame is due, every so many seconds, after the one that was due and came at `seconds`: in step with
    those before, or anew where frames have failed to come for longer."""
    return due + every if due + every > seconds else seconds + every


def without_secrets(address: str) -> str:
    """An address to be told and kept: without the name and password before its host, and without what its query calls
    so."""
    scheme, slashes, rest = address.partition("://")
    shown = f"{scheme}{slashes}{rest.rpartition('@')[2]}"  # a password may hold @ and /
    return re.sub(r"(?i)([?&]\w*(?:user|login|pass|pwd|secret|token|auth|key)\w*=)[^&#]*", r"\1***", shown)
