"""Detection in the newest frame of a camera, again and again: who was seen, who crossed a line, how many there were."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from datasets.cameras import Camera, CameraError, next_due
from datasets.videos import Frame
from DOTA_devkit.task_files import ImageDetections
from tools.drawing import looks_of
from tools.drawings.drawing_files import write_picture
from tools.outcomes import PictureDetector, Tiling
from tools.running.messages import warn
from tools.running.stop_request import StopRequest
from tools.videos.counter_drawing import draw_followed
from tools.videos.crossings import SIDES, LineCounter, Side
from tools.videos.frame_detection import detect_in_frame
from tools.videos.growing_table import GrowingTable
from tools.videos.tracking import Sighting, Track, Tracker
from tools.videos.tracking_flags import Tracking
from tools.videos.zones import count_in_zones, zone_columns, zones_of

COUNTS, OBJECTS, CROSSINGS, LATEST = "counts.csv", "objects.csv", "crossings.csv", "latest.jpg"
OBJECT_COLUMNS = (
    *("object", "class", "frames", "first_time", "last_time"),
    *("first_x", "first_y", "last_x", "last_y", "best_score"),
)
CROSSING_COLUMNS = ("time", "line", "object", "class", "to", "x", "y")


class _Period:
    """What there was since the last row of counts: from a second on, frames that had come by then, frames looked at,
    boxes of each class in all of them, and in each zone, crossings by number of the line and side."""

    def __init__(self, began: float, num_came: int, num_classes: int, num_zones: int) -> None:
        self.began, self.num_came, self.num_looked = began, num_came, 0
        self.boxes = np.zeros((1 + num_zones, num_classes), np.int64)
        self.crossed: Counter[tuple[int, Side]] = Counter()


class CameraWatch:
    """Looks at a camera until its time is over or a stop is requested.

    In `folder`, a new one, grow `objects.csv`, with a row once an object is gone for good, `crossings.csv`, with one
    when a line is crossed, and `counts.csv`, with one every so many seconds; in the folder of all results lies
    `latest.jpg`. Times are of this machine's clock when a frame came.

    least: score of each class from which on its boxes are drawn and counted. num_looked: frames looked at so far.
    num_objects: by class, of those that are gone.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        folder: Path,
        detector: PictureDetector,
        tiling: Tiling | None,
        least: Sequence[float],
        how: Tracking,
        camera: Camera,
        hw: tuple[int, int],
    ) -> None:
        self.options, self.folder, self.detector, self.tiling = options, folder, detector, tiling
        self.least, self.camera, self.hw = least, camera, hw
        self.num_looked, self.num_objects = 0, Counter[str]()
        self._tracker = Tracker(least, how.least_frames, how.gap)
        self._counters, self._zones = [LineCounter(line) for line in how.lines], zones_of(options)
        self._is_drawn = True  # whether the newest picture could be written
        self._sides = [(number, side) for number in range(1, len(how.lines) + 1) for side in SIDES]

    def watch(self, stop: StopRequest) -> None:
        """Look. Raises CameraError once the camera is given up or its frames have another size, OSError where a row
        cannot be written; the tables hold what was seen until then."""
        options, camera, names = self.options, self.camera, self.detector.class_names
        with ExitStack() as stack:
            self._objects = stack.enter_context(GrowingTable(self.folder / OBJECTS, OBJECT_COLUMNS, names))
            crossed = (f"line_{number}_{side}" for number, side in self._sides)
            columns = ("time", "seconds", "frames", "passed_over", *names, *crossed, *zone_columns(self._zones, names))
            self._counts = stack.enter_context(GrowingTable(self.folder / COUNTS, columns, names))
            if self._counters:
                self._crossings = stack.enter_context(GrowingTable(self.folder / CROSSINGS, CROSSING_COLUMNS, names))
            began = camera.seconds
            self._period = _Period(began, camera.num_frames, len(names), len(self._zones))
            look_at = draw_at = began
            num_lost = camera.num_lost
            try:
                while not stop.is_requested and camera.seconds < began + options.seconds:
                    frame = camera.newest()
                    if camera.num_lost > num_lost:
                        num_lost = camera.num_lost
                        self._list(self._tracker.take_all())
                    if frame is not None and frame.seconds >= look_at:
                        look_at = next_due(look_at, frame.seconds, options.every)
                        is_drawn = options.picture_every > 0 and frame.seconds >= draw_at
                        self._look(frame, is_drawn)
                        draw_at = frame.seconds + options.picture_every if is_drawn else draw_at
                    if camera.seconds >= self._period.began + options.report_every:
                        self._report()
            finally:
                try:
                    self._list(self._tracker.take_all())  # are still there
                finally:
                    if self._period.num_looked:
                        self._report()

    def totals(self) -> Iterator[str]:
        """What was seen so far, for people."""
        said = ", ".join(f"{number} {name}" for name, number in self.num_objects.items()) or "none"
        yield f"looked at {self.num_looked} frames; objects that were followed: {said}"
        for number, counter in enumerate(self._counters, 1):
            for side in SIDES:
                yield f"crossed line {number} to the {side}: {counter.counts[side]}"

    def _look(self, frame: Frame, is_drawn: bool) -> None:
        if frame.picture.shape[:2] != self.hw:
            (now_h, now_w), (height, width) = frame.picture.shape[:2], self.hw
            what = f"sends frames of {now_w} x {now_h} pixels now, and sent {width} x {height}"
            raise CameraError(f"{self.camera.name}: {what}; start again, with lines that fit")
        boxes = detect_in_frame(self.detector, frame.picture, self.tiling, self.options.batch_size)
        self.num_looked += 1
        self._period.num_looked += 1
        shown, num_classes = boxes.at(boxes.reach(self.least)), len(self.detector.class_names)
        in_frame = np.bincount(shown.labels, minlength=num_classes)
        self._period.boxes += np.vstack([in_frame, count_in_zones(shown, self._zones, num_classes)])
        numbers, found = self._tracker.follow(boxes, frame.number, frame.seconds)
        for track, seen in found:
            self._look_at_lines(track, seen)
        self._list(self._tracker.take_finished())
        if is_drawn:
            self._draw(frame.picture, boxes, numbers)

    def _look_at_lines(self, track: Track, seen: Sighting) -> None:
        for number, counter in enumerate(self._counters, 1):
            if side := counter.see(track.number, seen.quad):
                self._period.crossed[number, side] += 1
                name, (x, y) = self.detector.class_names[track.label], seen.quad.mean(axis=0)
                when = self._time(seen.seconds)
                self._crossings.add(when, number, track.number, name, side, f"{x:.1f}", f"{y:.1f}")

    def _list(self, tracks: Sequence[Track]) -> None:
        for track in tracks:
            name, first, last = self.detector.class_names[track.label], track.first, track.last
            self.num_objects[name] += 1
            places = (f"{value:.1f}" for seen in (first, last) for value in seen.quad.mean(axis=0))
            times = (self._time(first.seconds), self._time(last.seconds))
            self._objects.add(track.number, name, track.num_sightings, *times, *places, f"{track.best_score:.4f}")
            for counter in self._counters:
                counter.forget(track.number)

    def _draw(self, picture: np.ndarray, boxes: ImageDetections, numbers: np.ndarray) -> None:
        looks = looks_of(self.options, self.least)
        draw_followed(picture, boxes, self.detector.class_names, numbers, self._counters, self._zones, **looks)
        try:
            write_picture(self.options.out / LATEST, picture)
            self._is_drawn = True
        except OSError as error:  # a picture less is no reason to stop counting
            if self._is_drawn:
                warn(f"{self.options.out / LATEST}: cannot be written ({error.strerror or error}); counting goes on")
            self._is_drawn = False

    def _report(self) -> None:
        """Add a row of counts, tell it to who looks on, and begin the next."""
        done, names = self._period, self.detector.class_names
        self._period = _Period(self.camera.seconds, self.camera.num_frames, len(names), len(self._zones))
        seconds, num_came = self._period.began - done.began, self._period.num_came - done.num_came
        means = done.boxes / max(done.num_looked, 1)
        passed, crossed = max(num_came - done.num_looked, 0), [done.crossed[side] for side in self._sides]
        # Of no frames nobody knows what there was.
        counts, *in_zones = ([f"{mean:.2f}" if done.num_looked else "" for mean in row] for row in means)
        frames = (self._time(done.began), f"{seconds:.1f}", done.num_looked, passed)
        self._counts.add(*frames, *counts, *crossed, *(cell for row in in_zones for cell in row))
        said = [f"{mean:.1f} {name}" for mean, name in zip(means[0], names, strict=True) if mean] or ["nothing"]
        went = [
            f"; line {number}: {', '.join(f'{done.crossed[number, side]} {side}' for side in SIDES)}"
            for number in range(1, len(self._counters) + 1)
        ]
        rate = f"{done.num_looked / max(seconds, 1e-9):.1f} frames/s, {passed} passed over"
        what = f"in a frame {', '.join(said)}" if done.num_looked else "no frames came"
        print(f"{time.strftime('%X')}: {rate}; {what}{''.join(went)}", flush=True)

    def _time(self, seconds: float) -> str:
        """As spreadsheets take it, by a clock that may have been set right in the weeks since the start."""
        ago = self.camera.seconds - seconds
        return (datetime.now() - timedelta(seconds=ago)).isoformat(sep=" ", timespec="milliseconds")
