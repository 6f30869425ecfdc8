"""A video is written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.videos import Video
from tests.video_clips import clip_frames, write_clip
from tools.videos.video_file import VideoFile


@pytest.mark.parametrize("hw", [(96, 128), (95, 127), (1, 1)])
def test_all_rows_and_columns_of_all_frames_are_there(tmp_path: Path, hw: tuple[int, int]) -> None:
    frames = [np.full((*hw, 3), grey, np.uint8) for grey in (50, 100, 150)]
    with VideoFile(tmp_path / "new" / "a.mp4", 12.5) as file:
        for frame in frames:
            file.write(frame)
    with Video(tmp_path / "new" / "a.mp4") as video:
        found = [frame.picture for frame in video.frames()]
        assert video.rate == 12.5
    assert len(found) == 3
    for frame, expected in zip(found, frames, strict=True):
        assert frame.shape[0] >= hw[0]
        assert frame.shape[1] >= hw[1]
        assert np.abs(frame[: hw[0], : hw[1]].astype(int) - expected).max() < 8
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.mp4"]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    old = write_clip(tmp_path / "a.mp4").read_bytes()
    with pytest.raises(KeyboardInterrupt), VideoFile(tmp_path / "a.mp4", 5) as file:
        file.write(clip_frames(1)[0])
        raise KeyboardInterrupt
    assert (tmp_path / "a.mp4").read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_run_left_half_written_goes_and_nothing_else(tmp_path: Path) -> None:
    leftover = tmp_path / ".a.0123456789ab.mp4"
    for path in (leftover, tmp_path / ".a.mine.mp4", tmp_path / ".ab.0123456789ab.mp4"):
        path.touch()
    with VideoFile(tmp_path / "a.mp4", 5) as file:
        file.write(clip_frames(1)[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.mine.mp4", ".ab.0123456789ab.mp4", "a.mp4"]


def test_frames_that_mpeg_4_cannot_hold_are_told_as_such(tmp_path: Path) -> None:
    """The disk was said to be full, perhaps."""
    sentence = "frames of 9000 x 64, and MPEG-4 holds 8191 pixels a side"
    with pytest.raises(OSError, match=sentence), VideoFile(tmp_path / "a.mp4", 5) as file:
        file.write(np.zeros((64, 9000, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_without_a_frame_there_is_no_file(tmp_path: Path) -> None:
    with VideoFile(tmp_path / "a.mp4", 5):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk to be had")
def test_frames_that_the_disk_does_not_take_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV's writer says nothing of it."""
    old = write_clip(tmp_path / "a.mp4").read_bytes()
    with pytest.raises(OSError, match=r"a\.mp4") as caught, VideoFile(tmp_path / "a.mp4", 5) as file:
        file._temporary.symlink_to("/dev/full")
        for frame in clip_frames(30):
            file.write(frame)
    assert caught.value.errno in (errno.ENOSPC, None)
    assert (tmp_path / "a.mp4").read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1


def test_frames_that_are_lost_on_the_way_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Losing:
        def __init__(self, *facts: object) -> None:
            self._writer, self._count = writer(*facts), 0

        def write(self, frame: np.ndarray) -> None:
            self._count += 1
            if self._count < 3:
                self._writer.write(frame)

        def __getattr__(self, name: str) -> object:
            return getattr(self._writer, name)

    writer = cv2.VideoWriter
    monkeypatch.setattr(cv2, "VideoWriter", Losing)
    with pytest.raises(OSError, match="No space left") as caught:
        write_clip(tmp_path / "a.mp4")
    assert caught.value.filename == str(tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rate", [0.1, 23.976, 66.6667, 239.9813, 960.0])
def test_rates_that_mpeg_4_has_no_room_for_are_rounded(tmp_path: Path, rate: float) -> None:
    with VideoFile(tmp_path / "a.mp4", rate) as file:
        for frame in clip_frames(2):
            file.write(frame)
    with Video(tmp_path / "a.mp4") as video:
        assert video.rate == pytest.approx(min(rate, 300), rel=1e-3)
        assert len(list(video.frames())) == 2
