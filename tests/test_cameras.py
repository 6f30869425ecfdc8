"""Cameras and streams: the newest frame and no older one, again after the connection was lost, and what is none."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

import datasets.cameras
from datasets.cameras import Camera, CameraError, next_due, without_secrets
from datasets.videos import Frame
from tests.camera_servers import camera_server
from tests.video_clips import clip_frames


def frames_of(camera: Camera, count: int, pause: float = 0.0) -> list[Frame]:
    found, deadline = [], time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        if (frame := camera.newest()) is not None:
            found.append(frame)
            time.sleep(pause)
    return found


@pytest.mark.slow
def test_who_is_slow_gets_the_newest_frame_and_not_those_that_piled_up() -> None:
    """Fifty frames a second: of who looks five times a second nine of ten are passed over."""
    shown = [np.full((48, 64, 3), 5 * number, np.uint8) for number in range(50)]
    with camera_server(shown) as address, Camera(address) as camera:
        found = frames_of(camera, 4, pause=0.2)
        assert camera.seconds > found[-1].seconds
        assert camera.num_frames > found[-1].number
    numbers = [frame.number for frame in found]
    assert min(np.diff(numbers)) >= 4
    for frame in found:
        assert frame.picture.shape == (48, 64, 3)
        behind = np.abs(np.array([picture[0, 0, 0] for picture in shown], int) - int(frame.picture[0, 0, 0])).argmin()
        assert behind == frame.number % 50  # the picture is that of its number
    assert min(np.diff([frame.seconds for frame in found])) > 0.1


@pytest.mark.slow
def test_a_frame_is_given_once() -> None:
    with camera_server(clip_frames(3), pace=0.3) as address, Camera(address) as camera:
        found = frames_of(camera, 3)
        assert [frame.number for frame in found] == [0, 1, 2]
        camera.newest()
        assert camera.newest(0.01) is None


@pytest.mark.slow
def test_a_connection_that_is_lost_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.cameras, "_FIRST_WAIT", 0.1)
    told: list[str] = []
    with camera_server(clip_frames(5), rounds=1) as address, Camera(address, tell=told.append) as camera:
        found = frames_of(camera, 12, pause=0.02)  # each connection gives five
        assert len(found) == 12
        assert np.all(np.diff([frame.number for frame in found]) > 0)
    assert told[0] == f"{address}: gives no more frames; trying to reach it again"
    assert told[1].startswith(f"{address}: is back after ")


@pytest.mark.slow
def test_a_camera_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.cameras, "_FIRST_WAIT", 0.1)
    with camera_server(clip_frames(2)) as address:
        camera = Camera(address.replace("//", "//user:secret@"), give_up=0.5, tell=lambda _: None)
    with (
        camera,
        pytest.raises(CameraError, match=r"^http://127\.0\.0\.1:\d+/live\.mjpg: gave no frame for 0.5 s; given"),
    ):
        frames_of(camera, 10_000)


def test_what_is_no_camera_is_a_sentence_with_its_name_and_without_its_password() -> None:
    with pytest.raises(CameraError, match=r"^99: no such camera here"):
        Camera("99")
    with pytest.raises(
        CameraError,
        match=r"^rtsp://127\.0\.0\.1:9/live: does not answer, wants another name or password, or sends no video$",
    ):
        Camera("rtsp://user:secret@127.0.0.1:9/live")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("0", "0"),
        ("rtsp://10.0.0.7/live", "rtsp://10.0.0.7/live"),
        ("rtsp://me:p@ss@host/live", "rtsp://host/live"),
        ("rtsp://me:pa/ss@host:554/live", "rtsp://host:554/live"),
        ("http://host/mjpg?user=admin&password=secret&size=2", "http://host/mjpg?user=***&password=***&size=2"),
        ("http://host/mjpg?size=2&userPwd=secret", "http://host/mjpg?size=2&userPwd=***"),
    ],
)
def test_passwords_are_told_to_nobody(address: str, shown: str) -> None:
    assert without_secrets(address) == shown


class BrokenCapture:
    """A camera as OpenCV has it, of which every so manieth frame cannot be read, or which breaks."""

    every, error = 0, None
    num_opened = num_read = 0

    def __init__(self, *_: object) -> None:
        type(self).num_opened += 1

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(0.005)
        type(self).num_read += 1
        if self.error is not None and self.num_read > 3:
            raise self.error
        done = not (self.every and self.num_read % self.every == 0)
        return done, np.zeros((4, 4, 3), np.uint8) if done else None

    def release(self) -> None:
        pass


def test_a_damaged_frame_is_no_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cost a second each time."""
    capture = type("Capture", (BrokenCapture,), {"every": 3})
    monkeypatch.setattr(cv2, "VideoCapture", capture)
    told: list[str] = []
    with Camera("0", tell=told.append) as camera:
        assert len(frames_of(camera, 10)) == 10
    assert (capture.num_opened, told, camera.num_lost) == (1, [], 0)


def test_whatever_ends_the_thread_reaches_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """He waited for ever."""
    capture = type("Capture", (BrokenCapture,), {"error": MemoryError("no room for a frame")})
    monkeypatch.setattr(cv2, "VideoCapture", capture)
    with Camera("0") as camera, pytest.raises(MemoryError, match="no room for a frame"):
        frames_of(camera, 100)


@pytest.mark.parametrize(
    ("times", "taken"),
    [
        ((0.02, 0.5, 1.01, 1.5, 2.02), (0.02, 1.01, 2.02)),  # in step: not later by the delay of each
        ((2.5, 2.53, 3.5, 3.51, 9.0, 9.03, 10.0), (2.5, 3.5, 9.0, 10.0)),
    ],
)
def test_one_frame_is_due_after_a_stall_and_not_two(times, taken):
    due, found = 0.0, []
    for seconds in times:
        if seconds >= due:
            found.append(seconds)
            due = next_due(due, seconds, 1.0)
    assert tuple(found) == taken
    assert next_due(5.0, 5.0, 0.0) == 5.0
