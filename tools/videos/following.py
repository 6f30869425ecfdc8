"""Who is who in videos, in files: a row for every sighting of an object, for each object, for who crosses a line."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.videos import Frame, frame_name
from DOTA_devkit.atomic import atomic_write, write_csv
from DOTA_devkit.task_files import ImageDetections
from tools.videos.crossings import SIDES, LineCounter, Side
from tools.videos.tracking import Sighting, Track, Tracker
from tools.videos.tracking_flags import Tracking

TRACKS, OBJECTS, CROSSINGS = "tracks.csv", "objects.csv", "crossings.csv"
TRACK_COLUMNS = (
    *("image", "video", "object", "frame", "seconds", "class", "score"),
    *("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4"),
)
OBJECT_COLUMNS = (
    *("video", "object", "class", "frames", "first_frame", "last_frame", "first_seconds", "last_seconds"),
    *("first_x", "first_y", "last_x", "last_y", "best_score"),
)
CROSSING_COLUMNS = ("image", "video", "line", "object", "class", "frame", "seconds", "to", "x", "y")


class _Crossing(NamedTuple):
    """An object that crossed a line, counted from 1 on, to a side, and where it was seen then."""

    track: Track
    seen: Sighting
    line: int
    side: Side


class Following:
    """Context manager that follows the objects of one video after the other and writes `tracks.csv`, `objects.csv` and,
    where there are lines, `crossings.csv`.

    They appear one after the other when the block ends well, none when it breaks off. Held in memory is a row for each
    object and crossing, whose class is that of all that was seen of the object.

    Args:
        videos: all of them. least_scores: of each class, of a `Tracker`.

    Attributes:
        counts: objects by class. num_boxes: that score enough to begin an object; num_taken: those of them that are of
            one. crossed: those that crossed, of the videos that are done with. counters: of the lines, in the video
            that is looked at.
    """

    def __init__(
        self,
        folder: Path,
        videos: Sequence[Path],
        class_names: Sequence[str],
        least_scores: Sequence[float],
        how: Tracking,
    ) -> None:
        self.folder, self.videos, self.class_names = folder, videos, class_names
        self.least_scores, self.how = least_scores, how
        self.counts: Counter[str] = Counter()
        self.num_boxes = self.num_taken = 0
        self.crossed: dict[tuple[int, Side], Counter[str]] = {  # by line, from 1 on, and side
            (number, side): Counter() for number in range(1, len(how.lines) + 1) for side in SIDES
        }
        self.counters: list[LineCounter] = []
        self._objects: list[tuple[object, ...]] = []
        self._crossings: list[tuple[object, ...]] = []  # rows
        self._crossed: list[_Crossing] = []  # of the video that is looked at

    def __enter__(self) -> Following:
        with ExitStack() as stack:
            stack.push(lambda *error: None if error[0] else self._write_tables())
            file = stack.enter_context(atomic_write(self.folder / TRACKS))
            self._files = stack.pop_all()
        names = (*self.class_names, *(path.name for path in self.videos))
        if not all(map(str.isascii, names)):
            file.write("\ufeff")  # as `write_csv` begins
        self._table = csv.writer(file, lineterminator="\n")
        self._table.writerow(TRACK_COLUMNS)
        return self

    @contextmanager
    def video(self, path: Path) -> Iterator[None]:
        """A block in which the frames are of this video; its objects are numbered from 1 on. Of one that breaks off,
        what was found counts."""
        self._video, self._tracker = path, Tracker(self.least_scores, self.how.least_frames, self.how.gap)
        self.counters = [LineCounter(line) for line in self.how.lines]
        self._crossed = []
        try:
            yield
        finally:
            self._list_objects()
            self._list_crossings()

    def follow(self, frame: Frame, boxes: ImageDetections) -> np.ndarray:
        """The numbers of the objects whose boxes these are (n,) int64, 0 for none; later frames may tell of a box of
        this one that it is an object's."""
        numbers, found = self._tracker.follow(boxes, frame.number, frame.seconds)
        self.num_boxes += int(boxes.reach(self.least_scores).sum())
        strong = (np.float32(seen.score) >= np.float32(self.least_scores[seen.label]) for _, seen in found)
        self.num_taken += sum(strong)  # as `reach` has it
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
            if side := counter.see(track.number, seen.quad):
                self._crossed.append(_Crossing(track, seen, number, side))

    def _list_objects(self) -> None:
        for track in self._tracker.tracks:
            name, first, last = self.class_names[track.label], track.first, track.last
            self.counts[name] += 1
            places = (*first.quad.mean(axis=0), *last.quad.mean(axis=0))
            self._objects.append((
                *(self._video.name, track.number, name, track.num_sightings, first.frame, last.frame),
                *(f"{first.seconds:.3f}", f"{last.seconds:.3f}", *(f"{value:.1f}" for value in places)),
                f"{track.best_score:.4f}",
            ))  # fmt: skip

    def _list_crossings(self) -> None:
        """Not before all is seen: what an object was taken for when it crossed is often not what it is."""
        for track, seen, line, side in self._crossed:
            name, image = self.class_names[track.label], frame_name(self._video, seen.frame)
            when = (seen.frame, f"{seen.seconds:.3f}")
            place = (f"{value:.1f}" for value in seen.quad.mean(axis=0))
            self._crossings.append((image, self._video.name, line, track.number, name, *when, side, *place))
            self.crossed[line, side][name] += 1

    def summary(self) -> Iterator[str]:
        """How many objects of each class there were, and how many crossed the lines, for people."""
        yield f"objects that were seen in {self.how.least_frames} frames or more: {self._in_words(self.counts)}"
        for (number, side), went in self.crossed.items():
            yield f"crossed line {number} to the {side}: {self._in_words(went)}"

    def _in_words(self, counts: Mapping[str, int]) -> str:
        return ", ".join(f"{counts[name]} {name}" for name in self.class_names if counts[name]) or "none"

    def __exit__(self, *error: object) -> None:
        self._files.__exit__(*error)

    def _write_tables(self) -> None:
        write_csv(self.folder / OBJECTS, [OBJECT_COLUMNS, *self._objects])
        if self.how.lines:
            write_csv(self.folder / CROSSINGS, [CROSSING_COLUMNS, *self._crossings])
