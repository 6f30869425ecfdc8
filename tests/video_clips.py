"""Videos for tests: a window that moves over a rough scene with bright boxes, so that no two frames are the same."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tools.videos.video_file import VideoFile


def clip_frames(num_frames: int, hw: tuple[int, int] = (96, 128), pace: int = 4) -> list[np.ndarray]:
    """Frames (h, w, 3) uint8 BGR that move to the right by `pace` pixels each."""
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.integers(60, 140, (hw[0], hw[1] + num_frames * pace, 3), dtype=np.uint8), (0, 0), 3)
    for left in range(10, wide.shape[1], 45):
        top = int(rng.integers(5, hw[0] - 30))
        cv2.rectangle(wide, (left, top), (left + 26, top + 13), tuple(map(int, rng.integers(0, 256, 3))), -1)
    return [np.ascontiguousarray(wide[:, start : start + hw[1]]) for start in range(0, num_frames * pace, pace)]


def write_cut_clip(path: Path, num_frames: int = 40) -> Path:
    """Write the first half of an .avi file of so many frames."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (128, 96))
    for frame in clip_frames(num_frames):
        writer.write(frame)
    writer.release()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def write_clip(path: Path, num_frames: int = 10, rate: float = 5.0, **options: object) -> Path:
    """Write them as a video."""
    with VideoFile(path, rate) as file:
        for frame in clip_frames(num_frames, **options):
            file.write(frame)
    return path
