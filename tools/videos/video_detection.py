"""Detection in the frames of videos -> results, counts, drawn videos, who is who."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from datasets.videos import Frame, Video, VideoError, frame_name
from DOTA_devkit.task_files import ImageDetections
from tools.detection.results import ResultFiles
from tools.drawing import looks_of
from tools.outcomes import Found, PictureDetector, Tiling
from tools.running.messages import warn
from tools.running.progress import progress_bar
from tools.running.stop_request import StopRequest
from tools.videos.counter_drawing import draw_followed
from tools.videos.following import Following
from tools.videos.frame_detection import detect_in_frame, warn_if_too_large
from tools.videos.tracking_flags import Tracking
from tools.videos.video_file import VideoFile
from tools.videos.zones import count_in_zones, zones_of

SLOWEST = 0.1  # frames a second of a drawn video


class VideoDetection:
    """Detection in one video after the other, for the same results, until a stop is requested.

    rows: of the table of counts. following: who is who, if `tracking` tells how. best: the highest score so far. least:
    score of each class from which on its boxes are drawn and counted, num_shown of them so far. is_stopped: whether
    frames were left.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        paths: Sequence[Path],
        detector: PictureDetector,
        tiling: Tiling | None,
        least: Sequence[float],
        tracking: Tracking | None,
        results: ResultFiles,
        stop: StopRequest,
    ) -> None:
        self.options, self.paths, self.detector, self.tiling = options, paths, detector, tiling
        self.least, self.results, self.stop = least, results, stop
        self.zones = zones_of(options)
        self.rows: list[tuple[object, ...]] = []
        self.best, self.num_shown, self.is_stopped = 0.0, 0, False
        self.following: Following | None = None
        if tracking is not None:
            self.following = Following(options.out, paths, detector.class_names, self.least, tracking)

    def detect(self) -> int:
        """Detect in all of them; returns how many are not whole. Of these, what was found counts."""
        with self.following or nullcontext():
            return sum(not self._detect_in(path) for path in self.paths)

    def _detect_in(self, path: Path) -> bool:
        """Whether the video is whole."""
        drawn = drawn_path(self.options.out, path)
        followed = self.following.video(path) if self.following else nullcontext()
        try:
            with Video(path) as video, VideoFile(drawn, self._rate(video)) as file, followed:
                self._detect_in_frames(video, file)
        except VideoError as error:
            warn(str(error))
            return False
        if video.shortfall and not self.is_stopped:
            warn(f"{path}: {video.shortfall}")
        return not video.is_cut or self.is_stopped

    def _rate(self, video: Video) -> float:
        """Frames a second of the drawn video, which takes as long as the video does."""
        every = self.options.every
        return video.rate if every <= 1 / video.rate else max(1 / every, SLOWEST)

    def _detect_in_frames(self, video: Video, file: VideoFile) -> None:
        options, every = self.options, self.options.every
        looks = looks_of(options, self.least)
        frames = video.frames(every)
        for frame in progress_bar(frames, total=video.num_chosen(every), unit="frame", desc=video.path.name):
            if self.stop.is_requested:
                self.is_stopped = True
                break
            boxes = self._boxes(frame, video.path)
            numbers = None if self.following is None else self.following.follow(frame, boxes)
            if options.draw:
                counters = self.following.counters if self.following else ()
                draw_followed(frame.picture, boxes, self.detector.class_names, numbers, counters, self.zones, **looks)
                file.write(frame.picture)

    def _boxes(self, frame: Frame, path: Path) -> ImageDetections:
        """The boxes of a frame, which are written and counted."""
        hw, detector = frame.picture.shape[:2], self.detector
        if frame.number == 0:
            warn_if_too_large(path.name, hw, detector, self.tiling)
        boxes = detect_in_frame(detector, frame.picture, self.tiling, self.options.batch_size)
        name = frame_name(path, frame.number)
        self.results.write(Path(f"{name}.jpg"), Found(frame.number, boxes, hw))
        shown, num_classes = boxes.at(boxes.reach(self.least)), len(detector.class_names)
        self.num_shown += len(shown.labels)
        counts = np.bincount(shown.labels, minlength=num_classes).tolist()
        in_zones = count_in_zones(shown, self.zones, num_classes).ravel().tolist()
        self.rows.append((name, path.name, frame.number, f"{frame.seconds:.3f}", *counts, *in_zones))
        self.best = max(self.best, float(boxes.scores.max(initial=0.0)))
        return boxes


def drawn_path(out: Path, video: Path) -> Path:
    """The drawn video of a video, in the folder of the results."""
    return out / f"{video.stem}_found.mp4"
