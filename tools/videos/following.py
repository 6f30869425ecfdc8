"""Who is who in videos, in files: a row for every sighting of an object, for each object, for who crosses a line."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from datasets.videos import Frame, frame_name
from DOTA_devkit.atomic import atomic_write, write_csv
from DOTA_devkit.task_files import ImageDetections
from tools.videos.crossings import Line, LineCounter, Side
from tools.videos.tracking import Sighting, Track, Tracker

TRACKS, OBJECTS, CROSSINGS = "tracks.csv", "objects.csv", "crossings.csv"
TRACK_COLUMNS = (
    *("image", "video", "object", "frame", "seconds", "class", "score"),
    *("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4"),
)
OBJECT_COLUMNS = (
    *("video", "object", "class", "frames", "first_frame", "last_frame", "first_seconds", "last_seconds"),
    *("first_x", "first_y", "last_x", "last_y", "best_score"),
)
CROSSING_COLUMNS = ("image", "video", "line", "object", "class", "frame", "seconds", "to")


class Following:
    """Context manager that follows the objects of one video after the other and writes `tracks.csv`, `objects.csv` and,
    where there are lines, `crossings.csv`.

    They appear one after the other when the block ends well, none when it does not. Held in memory is a row for each
    object and crossing, whose class is the one that the object had by then.

    Args:
        least, num_frames, gap: of a `Tracker`. lines: whose crossings are counted.

    Attributes:
        counts: objects by class. crossed: those that crossed, of all videos. counters: of the lines, in the video that
            is looked at.
    """

    def __init__(
        self,
        folder: Path,
        class_names: Sequence[str],
        least: Sequence[float],
        num_frames: int,
        gap: float,
        lines: Sequence[Line] = (),
    ) -> None:
        self.folder, self.class_names = folder, class_names
        self.least, self.num_frames, self.gap = least, num_frames, gap
        self.counts: Counter[str] = Counter()
        self.lines = lines
        self.crossed: dict[tuple[int, Side], Counter[str]] = {  # by line, from 1 on, and side
            (number, side): Counter() for number in range(1, len(lines) + 1) for side in ("left", "right")
        }
        self.counters: list[LineCounter] = []
        self._objects: list[tuple[object, ...]] = []
        self._crossings: list[tuple[object, ...]] = []

    def __enter__(self) -> Following:
        with ExitStack() as stack:
            stack.push(lambda *error: None if error[0] else self._write_tables())
            file = stack.enter_context(atomic_write(self.folder / TRACKS))
            self._files = stack.pop_all()
        file.write("\ufeff")  # without it Excel takes the letters of names for those of its own code page
        self._table = csv.writer(file, lineterminator="\n")
        self._table.writerow(TRACK_COLUMNS)
        return self

    @contextmanager
    def video(self, path: Path) -> Iterator[None]:
        """A block in which the frames are of this video; its objects are numbered from 1 on. Of one that breaks off,
        what was found counts."""
        self._video, self._tracker = path, Tracker(self.least, self.num_frames, self.gap)
        self.counters = [LineCounter(line) for line in self.lines]
        try:
            yield
        finally:
            self._list_objects()

    def follow(self, frame: Frame, boxes: ImageDetections) -> np.ndarray:
        """The numbers of the objects whose boxes these are (n,) int64, 0 for none; later frames may tell of a box of
        this one that it is an object's."""
        numbers, found = self._tracker.follow(boxes, frame.number, frame.seconds)
        for track, seen in found:
            self._table.writerow((
                *(frame_name(self._video, seen.frame), self._video.name, track.number, seen.frame),
                *(f"{seen.seconds:.3f}", self.class_names[seen.label], f"{seen.score:.4f}"),
                *(f"{value:.2f}" for value in seen.quad.reshape(-1)),
            ))  # fmt: skip
            self._look_at_lines(track, seen)
        return numbers

    def _look_at_lines(self, track: Track, seen: Sighting) -> None:
        for number, counter in enumerate(self.counters, 1):
            if side := counter.see(track.number, track.label, seen.quad):
                name, image = self.class_names[track.label], frame_name(self._video, seen.frame)
                where = (image, self._video.name, number, track.number, name, seen.frame, f"{seen.seconds:.3f}", side)
                self._crossings.append(where)
                self.crossed[number, side][name] += 1

    def _list_objects(self) -> None:
        for track in self._tracker.tracks:
            name, first, last = self.class_names[track.label], track.first, track.last
            self.counts[name] += 1
            places = (*first.quad.mean(axis=0), *last.quad.mean(axis=0))
            self._objects.append((
                *(self._video.name, track.number, name, track.num_frames, first.frame, last.frame),
                *(f"{first.seconds:.3f}", f"{last.seconds:.3f}", *(f"{value:.1f}" for value in places)),
                f"{track.best_score:.4f}",
            ))  # fmt: skip

    def summary(self) -> Iterator[str]:
        """How many objects of each class there were, and how many crossed the lines, for people."""
        yield f"objects that were seen in {self.num_frames} frames or more: {self._in_words(self.counts)}"
        for (number, side), went in self.crossed.items():
            yield f"crossed line {number} to the {side}: {self._in_words(went)}"

    def _in_words(self, counts: Mapping[str, int]) -> str:
        return ", ".join(f"{counts[name]} {name}" for name in self.class_names if counts[name]) or "none"

    def __exit__(self, *error: object) -> None:
        self._files.__exit__(*error)

    def _write_tables(self) -> None:
        write_csv(self.folder / OBJECTS, [OBJECT_COLUMNS, *self._objects])
        if self.lines:
            write_csv(self.folder / CROSSINGS, [CROSSING_COLUMNS, *self._crossings])
