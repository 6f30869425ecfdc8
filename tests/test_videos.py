"""Frames of a video: all of them, or each n-th, by number and time; what is no video or is cut off is told of."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.videos import Video, VideoError, frame_name
from tests.video_clips import clip_frames, write_clip, write_cut_clip


@pytest.mark.parametrize(("every", "step"), [(0.0, 1), (0.1, 1), (0.6, 3), (100.0, 100)])
def test_frames_come_in_order_with_their_numbers_and_times(tmp_path: Path, every: float, step: int) -> None:
    path = write_clip(tmp_path / "飞行 1.mp4", 10, rate=5.0)
    with Video(path) as video:
        assert (video.rate, video.num_frames) == (5.0, 10)
        assert video.num_chosen(every) == len(range(0, 10, step))
        found = list(video.frames(every))
        assert not video.is_cut
        assert video.num_read == 10
    assert [frame.number for frame in found] == list(range(0, 10, step))
    assert [frame.seconds for frame in found] == pytest.approx([frame.number / 5 for frame in found])
    expected = clip_frames(10)
    for frame in found:
        distances = [np.abs(frame.picture.astype(int) - other).mean() for other in expected]
        assert np.argmin(distances) == frame.number
    assert frame_name(path, 7) == "飞行 1_000007"


def test_a_video_that_ends_before_its_end_is_cut(tmp_path: Path) -> None:
    with Video(write_cut_clip(tmp_path / "cut.avi")) as video:
        found = list(video.frames())
        assert 10 < len(found) < 30
        assert video.is_cut


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", None, "no such video file"),
        ("a.mp4", b"", "cannot be read as a video"),
        ("a.mp4", b"hello" * 1000, "cannot be read as a video"),
        ("a.png", b"hello", "a picture, not a video"),
    ],
)
def test_what_is_no_video_is_a_sentence_with_its_name(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=f"{name}: {message}"):
        Video(tmp_path / name)


def test_a_video_without_its_end_cannot_be_read(tmp_path: Path) -> None:
    data = write_clip(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])  # the index of an .mp4 stands at its end
    with pytest.raises(VideoError, match="is it damaged"):
        Video(tmp_path / "a.mp4")


class FramesOfAnyTime:
    """A capture as OpenCV has it of a file whose frames have times of their own: of .mkv and .webm it says that there
    are as many frames as the container has units of time, a thousand a second."""

    times: list[float] = []  # noqa: RUF012

    def __init__(self, *place: object) -> None:
        self._next = 0

    def isOpened(self) -> bool:
        return True

    def get(self, fact: int) -> float:
        duration = 1.5 * self.times[-1]  # the sound goes on
        return {cv2.CAP_PROP_FPS: 1000.0, cv2.CAP_PROP_FRAME_COUNT: 1000 * duration}.get(
            fact, 1000 * self.times[self._next - 1]
        )

    def grab(self) -> bool:
        self._next += 1
        return self._next <= len(self.times)

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((4, 4, 3), np.uint8)

    def release(self) -> None:
        pass


def test_frames_are_chosen_by_their_own_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten frames a second for two seconds, then one every two seconds."""
    monkeypatch.setattr(FramesOfAnyTime, "times", [*np.arange(0, 2, 0.1).tolist(), 3.9, 5.9, 7.9])
    monkeypatch.setattr(cv2, "VideoCapture", FramesOfAnyTime)
    (tmp_path / "a.mkv").touch()
    with Video(tmp_path / "a.mkv") as video:
        assert 2 < video.rate < 10
        assert video.num_frames < 100
        found = list(video.frames(1.0))
        assert [round(frame.seconds, 1) for frame in found] == [0.0, 1.0, 3.9, 5.9, 7.9]
        assert [frame.number for frame in found] == [0, 10, 20, 21, 22]
        assert not video.is_cut  # such a file does not count its frames
        assert not video.shortfall or "its sound is longer" in video.shortfall


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 0.1, 0.2, 0.3, 0, 0.1, 0.2, 0.3], [0, 2, 4, 6]),  # two clips that were put together
        ([0, 0.1, 0.2, 9e5, 0.4, 0.5, 0.6], [0, 2, 4, 6]),
        ([0.0] * 8, [0, 5]),  # no times: 25 a second
        ([5.0, 5.1, 5.2, 5.3, 5.4], [0, 2, 4]),
        ([round(0.0333667 * number, 3) for number in range(3000)], None),
    ],
)
def test_times_that_jump_or_are_none_lose_no_frames(tmp_path: Path, monkeypatch, times, expected) -> None:
    monkeypatch.setattr(FramesOfAnyTime, "times", times)
    monkeypatch.setattr(cv2, "VideoCapture", FramesOfAnyTime)
    (tmp_path / "a.ts").touch()
    with Video(tmp_path / "a.ts") as video:
        monkeypatch.setattr(video, "rate", 25.0 if not any(times) else 10.0)
        found = [frame.number for frame in video.frames(0.2 if expected else 0.3)]
    if expected is None:  # thousandths are rounded, and no two neighbours are taken for it
        assert min(np.diff(found)) >= 8
        assert len(found) == pytest.approx(100 / 0.3, abs=1)
    else:
        assert found == expected


def test_a_colon_in_a_name_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("12:30.mp4", "http:x.mp4", "50 %d.mp4", "a.b.MP4"):
        write_clip(tmp_path / "a.mp4", 3).rename(name)
        with Video(Path(name)) as video:
            assert len(list(video.frames())) == 3


def test_a_folder_is_told_from_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="a folder; name one of its files"):
        Video(tmp_path)


def test_a_video_of_which_no_frame_can_be_decoded_is_told_of(tmp_path, monkeypatch):
    """Its frames could be found and not be decoded, and it passed as one without any."""
    with Video(write_clip(tmp_path / "a.mp4", 3)) as video:
        capture = video._capture
        monkeypatch.setattr(video, "_capture", Undecodable(capture))
        with pytest.raises(VideoError, match="no frame can be decoded"):
            list(video.frames())


class Undecodable:
    def __init__(self, capture):
        self._capture = capture

    def __getattr__(self, name):
        return getattr(self._capture, name)

    def retrieve(self):
        return False, None
