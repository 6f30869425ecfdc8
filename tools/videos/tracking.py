"""Which box of a frame is which object: boxes of one frame after the other -> numbered tracks.

A track is carried on at its speed and takes the box that overlaps best with where it should be. Strong boxes are asked
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
from DOTA_devkit.task_files import ImageDetections

WEAK = 1 / 3  # of the score from which on a box is shown: what continues a track, but begins none
NEAR, FAR = 0.1, 0.7  # of its sides that a box is enlarged by, on each side
LEAST_OVERLAP = 0.2  # of enlarged boxes
OTHER_CLASS = 0.5  # what such an overlap counts for
LEAST_SHARE = 0.2  # of the newest step in the speed; a new track's is the mean of its steps


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
        number: from 1 on, in the order in which objects are sure; 0 before. first, last: sightings. num_frames: how
            many sightings. early: those before it was sure. speed: (2,) pixels a second. best_score: of all sightings.
    """

    def __init__(self, sighting: Sighting, num_classes: int) -> None:
        self.number, self.first, self.last, self.num_frames = 0, sighting, sighting, 1
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
        self.speed += (step - self.speed) * max(LEAST_SHARE, 1 / self.num_frames)
        self.last, self.num_frames = sighting, self.num_frames + 1
        self.best_score = max(self.best_score, sighting.score)
        self._weights[sighting.label] += sighting.score

    def quad_at(self, seconds: float, speed: np.ndarray) -> np.ndarray:
        """Where the object is, (4, 2), if it has gone on at this speed (2,)."""
        return self.last.quad + speed * (seconds - self.last.seconds)


class Tracker:
    """Follows the objects of one video, frame by frame.

    Args:
        least: score of each class from which on a box may begin a track. num_frames: sightings that make an object
            sure; what has less is no object, but a false alarm. gap: seconds without a sighting after which it is
            taken for gone (it may always be missing until the next frame).

    Attributes:
        tracks: of the sure objects, by their numbers.
    """

    NUM_FRAMES, GAP = 3, 1.0  # the defaults

    def __init__(self, least: Sequence[float], num_frames: int = NUM_FRAMES, gap: float = GAP) -> None:
        self.least, self.num_frames, self.gap = np.asarray(least, np.float64), num_frames, gap
        self.tracks: list[Track] = []
        self._live: list[Track] = []
        self._flow = np.zeros(2)  # pixels a second, of most tracks in the frame before: what a moving camera makes

    def follow(
        self, boxes: ImageDetections, frame: int, seconds: float
    ) -> tuple[np.ndarray, list[tuple[Track, Sighting]]]:
        """The numbers of the boxes' objects (n,) int64, 0 for none, and the sightings of sure objects that are new:
        those of this frame and, of one that is sure from now on, those before. Seconds must grow from call to call."""
        boxes = boxes._replace(quads=boxes.quads.astype(np.float64))
        rows, owners = self._assign(boxes, seconds)
        numbers, found = np.zeros(len(boxes.scores), np.int64), []
        for row, track in zip(rows, owners, strict=True):
            score, label = float(boxes.scores[row]), int(boxes.labels[row])
            sighting = Sighting(frame, seconds, score, label, boxes.quads[row].copy())  # not all the frame's boxes
            if track is None:
                track = Track(sighting, len(self.least))
                self._live.append(track)
            else:
                track.add(sighting)
            if not track.number and track.num_frames >= self.num_frames:
                self.tracks.append(track)
                track.number = len(self.tracks)
                found += [(track, early) for early in track.early]
                track.early = []
            if track.number:
                found.append((track, sighting))
            else:
                track.early.append(sighting)
            numbers[row] = track.number
        self._live = [track for track in self._live if seconds - track.last.seconds <= self.gap]
        return numbers, found

    def _assign(self, boxes: ImageDetections, seconds: float) -> tuple[list[int], list[Track | None]]:
        """Rows of boxes and their tracks, None for a new one."""
        is_strong = boxes.reach(self.least)
        strong, weak = np.flatnonzero(is_strong), np.flatnonzero(~is_strong & boxes.reach(self.least * WEAK))
        sure = [track for track in self._live if track.number]
        owners: dict[int, Track] = {}
        for rows, tracks, share in ((strong, self._live, NEAR), (weak, sure, NEAR), (strong, self._live, FAR)):
            taken = set(owners.values())
            free = [track for track in tracks if track not in taken]
            left = np.array([row for row in rows if row not in owners], np.int64)
            for row, column in self._pairs(boxes.at(left), free, seconds, share):
                owners[int(left[row])] = free[column]
        speeds = [track.speed for track in owners.values() if track.num_frames > 1]
        self._flow = np.median(speeds, axis=0) if speeds else np.zeros(2)
        new = [int(row) for row in strong if row not in owners]
        return [*owners, *new], [*owners.values(), *(None for _ in new)]

    def _pairs(
        self, boxes: ImageDetections, tracks: Sequence[Track], seconds: float, share: float
    ) -> list[tuple[int, int]]:
        """Rows of boxes and tracks that belong together: each at most once, with the greatest sum of overlaps."""
        if not tracks or not len(boxes.scores):
            return []
        from scipy.optimize import linear_sum_assignment  # a fifth of a second that other commands need not wait

        places = enlarged(boxes.quads, share)
        expected = np.array([track.quad_at(seconds, track.speed) for track in tracks])
        overlaps = poly_iou(places, enlarged(expected, share))
        # One sighting tells no speed: it may stand still, or go with the others.
        new = [column for column, track in enumerate(tracks) if track.num_frames == 1]
        if new and self._flow.any():
            expected = np.array([tracks[column].quad_at(seconds, self._flow) for column in new])
            overlaps[:, new] = np.maximum(overlaps[:, new], poly_iou(places, enlarged(expected, share)))
        overlaps[boxes.labels[:, None] != [track.label for track in tracks]] *= OTHER_CLASS
        overlaps[overlaps < LEAST_OVERLAP] = 0
        rows, columns = linear_sum_assignment(overlaps, maximize=True)
        return [(row, column) for row, column in zip(rows, columns, strict=True) if overlaps[row, column]]


def enlarged(quads: np.ndarray, share: float) -> np.ndarray:
    """Quads (n, 4, 2) with a margin of this share of their sides around them."""
    centres = quads.mean(axis=1, keepdims=True)
    return centres + (quads - centres) * (1 + 2 * share)
