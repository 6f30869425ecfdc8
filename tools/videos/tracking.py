"""Which box of a frame is which object: boxes of one frame after the other -> numbered tracks.

A track takes the box that overlaps best with where it was seen last, or should be by its speed. Strong boxes are asked
first, then weak ones (Zhang et al., ByteTrack, ECCV 2022, section 3: what is half hidden scores low), at last strong
ones from farther off. Boxes are enlarged for it (Yang et al., C-BIoU, WACV 2023, section 3.1), since small and fast
objects leave their own place between two frames. Only geometry is looked at, so that two objects that swap places while
they are not seen swap their numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from DOTA_devkit import poly_iou
from DOTA_devkit.boxes import polygon_area
from DOTA_devkit.task_files import ImageDetections

WEAK = 1 / 3  # of the score from which on a box begins a track: what continues a sure one
NEAR, FAR = 0.1, 0.7  # of its sides that a box is enlarged by, on each side
LEAST_OVERLAP = 0.2  # of enlarged boxes that are taken for one object's
OTHER_CLASS = 0.5  # what an overlap with a box of another class counts for
LATE = 0.25  # what an overlap with the last place of a track counts for that had no box in the frame before
SAME_THING = 0.5  # overlap with a better box from which on a box is of the same thing, whatever its class
NEWEST_STEP = 0.2  # least weight of the newest step in the speed; a new track's is the mean of its steps
# Frames in a row that may lack an object: one that is not sure yet, since given longer false alarms form chains, and a
# sure one, since of few frames a second two that lack it may take longer than the gap.
UNSURE_PATIENCE, SURE_PATIENCE = 1, 2


class Sighting(NamedTuple):
    """A box of an object: number of the frame, its second, score, class number, quad (4, 2) in pixels."""

    frame: int
    seconds: float
    score: float
    label: int
    quad: np.ndarray


class Track:
    """An object, as far as it was followed.

    Attributes:
        number: from 1 on, in the order in which objects are sure; 0 before. first, last: sightings. num_sightings: how
            many there were. num_missed: frames since the last. early: sightings before it was sure. speed: (2,) pixels
            a second. best_score: of all sightings.
    """

    def __init__(self, sighting: Sighting, num_classes: int) -> None:
        self.number, self.first, self.last, self.num_sightings, self.num_missed = 0, sighting, sighting, 1, 0
        self.speed, self.best_score = np.zeros(2), sighting.score
        self.early: list[Sighting] = []
        self._weights = np.zeros(num_classes)
        self._weights[sighting.label] += sighting.score

    @property
    def label(self) -> int:
        """The class that most of its sightings, weighted by their scores, have."""
        return int(self._weights.argmax())

    def add(self, sighting: Sighting) -> None:
        """Take a box of a later frame."""
        step = (sighting.quad - self.last.quad).mean(axis=0) / (sighting.seconds - self.last.seconds)
        self.speed += (step - self.speed) * max(NEWEST_STEP, 1 / self.num_sightings)
        self.last, self.num_sightings, self.num_missed = sighting, self.num_sightings + 1, 0
        self.best_score = max(self.best_score, sighting.score)
        self._weights[sighting.label] += sighting.score


class Tracker:
    """Follows the objects of one video, or of a camera, frame by frame.

    Args:
        least_scores: score of each class from which on a box may begin a track. least_frames: sightings that make an
            object sure, of which no two in a row may be missing; what has less is a false alarm. gap: seconds without a
            sighting after which it is still the same; after two missing frames it always is.

    Attributes:
        tracks: of the sure objects, by their numbers, without those that `take_finished` gave away.

    Raises:
        ValueError: for one score in place of a score for each class.
    """

    LEAST_FRAMES, GAP = 3, 1.0  # the defaults

    def __init__(self, least_scores: Sequence[float], least_frames: int = LEAST_FRAMES, gap: float = GAP) -> None:
        self.least_scores = np.asarray(least_scores, np.float64)
        if self.least_scores.ndim != 1:
            raise ValueError("least_scores must have a score for each class")
        self.least_frames, self.gap = least_frames, gap
        self.tracks: list[Track] = []
        self._live: list[Track] = []
        self._num_sure = 0
        self._seconds = -np.inf
        self._flow = np.zeros(2)  # pixels a second, of most tracks in the frame before: what a moving camera makes

    def follow(
        self, boxes: ImageDetections, frame: int, seconds: float
    ) -> tuple[np.ndarray, list[tuple[Track, Sighting]]]:
        """Take the boxes of the next frame, (n, 4, 2) in pixels, after NMS.

        Returns:
            The numbers of their objects (n,) int64, 0 for none, and the sightings of sure objects that are new: those
            of this frame and, of one that is sure from now on, those before.

        Raises:
            ValueError: for seconds that are not later than those of the frame before, and corners that are no numbers.
        """
        if not seconds > self._seconds:
            raise ValueError(f"frame {frame} is of second {seconds}, and the one before it of {self._seconds}")
        if not np.isfinite(boxes.quads).all():
            raise ValueError(f"frame {frame} has a box with a corner that is no number")
        self._seconds = seconds
        boxes = boxes._replace(quads=boxes.quads.astype(np.float64))
        self._live = [track for track in self._live if self._may_go_on(track)]
        for track in self._live:
            track.num_missed += 1  # until it is seen
        numbers, found = np.zeros(len(boxes.scores), np.int64), []
        for row, track in self._assign(boxes):
            score, label = float(boxes.scores[row]), int(boxes.labels[row])
            sighting = Sighting(frame, seconds, score, label, boxes.quads[row].copy())  # not all the frame's boxes
            if track is None:
                track = Track(sighting, len(self.least_scores))
                self._live.append(track)
            else:
                track.add(sighting)
            if not track.number and track.num_sightings >= self.least_frames:
                self._num_sure += 1
                self.tracks.append(track)
                track.number = self._num_sure
                found += [(track, early) for early in track.early]
                track.early = []
            if track.number:
                found.append((track, sighting))
            else:
                track.early.append(sighting)
            numbers[row] = track.number
        return numbers, found

    def take_finished(self) -> list[Track]:
        """The sure objects that cannot be seen again, which are forgotten: `tracks` of a camera would grow for ever."""
        finished = [track for track in self.tracks if not self._may_go_on(track)]
        self.tracks = [track for track in self.tracks if self._may_go_on(track)]
        return finished

    def take_all(self) -> list[Track]:
        """The sure objects, and all is forgotten: after a break in the frames nobody can say who is who."""
        tracks, self.tracks, self._live = self.tracks, [], []
        self._flow = np.zeros(2)
        return tracks

    def _may_go_on(self, track: Track) -> bool:
        """Whether a box of the next frame can be the track's."""
        if not track.number:
            return track.num_missed <= UNSURE_PATIENCE
        return track.num_missed <= SURE_PATIENCE or self._seconds - track.last.seconds <= self.gap

    def _assign(self, boxes: ImageDetections) -> list[tuple[int, Track | None]]:
        """Rows of boxes and their tracks, None for a new one."""
        counting = np.flatnonzero(boxes.reach(self.least_scores * WEAK))  # mostly a few of very many
        boxes = boxes.at(counting)
        is_strong = boxes.reach(self.least_scores)
        strong, weak = np.flatnonzero(is_strong), np.flatnonzero(~is_strong)
        sure = [track for track in self._live if track.number]
        owners: dict[int, Track] = {}
        is_same = poly_iou(boxes.quads, boxes.quads) >= SAME_THING
        for rows, tracks, margin in ((strong, self._live, NEAR), (weak, sure, NEAR), (strong, self._live, FAR)):
            taken = set(owners.values())
            free = [track for track in tracks if track not in taken]
            left = np.array([row for row in rows if row not in owners], np.int64)
            pairs = [(int(left[row]), free[column]) for row, column in self._pairs(boxes.at(left), free, margin)]
            for row, track in sorted(pairs, key=lambda pair: pair[1].num_missed):
                if not is_same[row, list(owners)].any():  # a second box of what is seen is not what is unseen
                    owners[row] = track
        speeds = [track.speed for track in owners.values() if track.num_sightings > 1]
        self._flow = np.median(speeds, axis=0) if speeds else np.zeros(2)
        found = [*owners.items(), *((row, None) for row in self._new(boxes.scores, is_same, list(owners), strong))]
        return [(int(counting[row]), track) for row, track in found]

    def _new(self, scores: np.ndarray, is_same: np.ndarray, owned: list[int], strong: np.ndarray) -> list[int]:
        """Rows of strong boxes, the best first, that are of no track and not a thing of which there is a box already:
        what looks like two classes has a box of each."""
        new: list[int] = []
        left = np.setdiff1d(strong, owned)
        for row in left[np.argsort(-scores[left], kind="stable")].tolist():
            if not is_same[row, [*owned, *new]].any():
                new.append(row)
        return new

    def _pairs(self, boxes: ImageDetections, tracks: Sequence[Track], margin: float) -> list[tuple[int, int]]:
        """Rows of boxes and tracks that belong together: each at most once, with the greatest sum of overlaps."""
        if not tracks or not len(boxes.scores):
            return []
        from scipy.optimize import linear_sum_assignment  # a fifth of a second that other commands need not wait

        overlaps = self._overlaps(boxes, tracks, margin)
        rows, columns = linear_sum_assignment(overlaps, maximize=True)
        return [(row, column) for row, column in zip(rows, columns, strict=True) if overlaps[row, column]]

    def _overlaps(self, boxes: ImageDetections, tracks: Sequence[Track], margin: float) -> np.ndarray:
        """How well boxes go with tracks, (n, m), 0 where they do not."""
        # One sighting tells no speed: it may stand still, or go with the others.
        speeds = np.array([track.speed if track.num_sightings > 1 else self._flow for track in tracks])
        steps = speeds * np.array([[self._seconds - track.last.seconds] for track in tracks])
        is_late = np.array([track.num_missed > 1 for track in tracks])
        last = np.array([track.last.quad for track in tracks])
        quads = enlarged(boxes.quads, margin)
        moved = poly_iou(quads, enlarged(last + steps[:, None], margin))
        stayed = poly_iou(quads, enlarged(last, margin))
        if margin == FAR:  # what would be gone by its own length has not stayed
            stayed[:, is_late & (np.hypot(*steps.T) > np.sqrt(polygon_area(last)))] = 0
        weights = np.where(boxes.labels[:, None] == [track.label for track in tracks], 1.0, OTHER_CLASS)
        is_one = np.maximum(moved, stayed) * weights >= LEAST_OVERLAP
        # At a border, or behind something, the next comes to where the one before it was seen last.
        return np.where(is_one, np.maximum(moved, stayed * np.where(is_late, LATE, 1.0)) * weights, 0)


def enlarged(quads: np.ndarray, margin: float) -> np.ndarray:
    """Quads (n, 4, 2), longer by this part of their sides at each end."""
    centres = quads.mean(axis=1, keepdims=True)
    return centres + (quads - centres) * (1 + 2 * margin)
