"""Where labels and a network disagree so much that the labels may be wrong; knows boxes, no files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from DOTA_devkit.pairing import overlapping, pair
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.truths import HIT_IOU, ImageTruth

NEAR_IOU = 0.1  # from which on a box may be of an object whose label lies beside it


class DoubtKind(NamedTuple):
    """title: what is doubtful, in a few words. remedy: what to do about it."""

    title: str
    remedy: str


KINDS = {
    "other-class": DoubtKind("found as another class", "look which class it is, and correct the name"),
    "not-labelled": DoubtKind(
        "found, and not labelled", "add the object, or an ignore region where nobody can tell; else leave it"
    ),
    "misplaced": DoubtKind("label beside what was found", "draw the box again where it does not lie on the object"),
    "labelled-twice": DoubtKind("labelled twice", "remove one of the two labels, of two classes the wrong one"),
    "not-found": DoubtKind(
        "labelled, and nothing was found", "remove the label where there is nothing; hard objects come here, too"
    ),
}


class Doubt(NamedTuple):
    """A label that may be wrong, or one that may be missing.

    kind: of `KINDS`. strength: from 0 to 1, how much speaks against the label. label: its number in the picture, -1
    where one may be missing. found: number of the detection, -1 where none is meant. iou: of the two, or of a label
    and its double.
    """

    kind: str
    strength: float
    label: int
    found: int
    iou: float


def doubts_of(truth: ImageTruth, boxes: ImageDetections, min_scores: Sequence[float]) -> list[Doubt]:
    """The doubts about the labels of a picture, of which `boxes` holds all that was found, weak boxes too.

    A box speaks if it scores at least as `min_scores` (C,) tells for its class. Objects that are difficult, ignore
    regions and what lies in them are beyond doubt. The strength is the score of the box that speaks; for another class
    less that of the best box of the label's own, and for a misplaced label as much of it as the two do not overlap. Of
    a double it is its overlap with the other label, and of a label for which nothing speaks what the best of the weak
    boxes there lacks of a score of 1.
    """
    return [*_Comparison(truth, boxes, min_scores).doubts()]


class _Comparison:
    """Labels and boxes of a picture. `lacks_box` (n,): of the labels that can be doubted those that no box stands for,
    and of which no doubt has been told yet."""

    def __init__(self, truth: ImageTruth, boxes: ImageDetections, min_scores: Sequence[float]) -> None:
        self.truth, self.boxes = truth, boxes
        speaking = np.flatnonzero(boxes.reach(min_scores))
        pairing = pair(boxes.at(speaking), truth, HIT_IOU)
        alone = speaking[(pairing.truth_of < 0) & ~pairing.is_hidden]
        self.alone = alone[np.argsort(-boxes.scores[alone], kind="stable")]  # that speak for no label, the best first
        self.has_label = np.zeros(len(boxes.scores), bool)
        self.has_label[speaking[pairing.truth_of >= 0]] = True
        self.can_be_doubted = ~truth.ignored & (truth.difficult == 0)
        self.lacks_box = self.can_be_doubted & pairing.is_missed
        self._box, self._label, self._iou = overlapping(boxes.quads, truth.quads, NEAR_IOU)
        self._by_label = np.argsort(self._label, kind="stable")
        self._first_of_box = np.searchsorted(self._box, np.arange(len(boxes.scores) + 1))
        self._first_of_label = np.searchsorted(self._label[self._by_label], np.arange(len(truth.labels) + 1))

    def doubts(self) -> Iterator[Doubt]:
        told: set[int] = set()
        for found in self.alone.tolist():
            doubt = self._about_box(found)
            if doubt is None or doubt.label in told:
                continue
            if doubt.label >= 0:
                told.add(doubt.label)
                self.lacks_box[doubt.label] = False
            yield doubt
        yield from self._doubles()
        for label in np.flatnonzero(self.lacks_box).tolist():
            yield self._about_silence(label)

    def _about_box(self, found: int) -> Doubt | None:
        """What a box that has no label of its class says."""
        score, rows = float(self.boxes.scores[found]), slice(*self._first_of_box[found : found + 2])
        labels, ious = self._label[rows], self._iou[rows]
        if not len(labels):
            return Doubt("not-labelled", score, -1, found, 0.0)
        label, iou = int(labels[ious.argmax()]), float(ious.max())
        if iou > HIT_IOU:
            if not self.can_be_doubted[label] or self.truth.labels[label] == self.boxes.labels[found]:
                return None  # beyond doubt, or another box of it is the better one
            strength = score - self._best_of_own_class(label)
            return Doubt("other-class", strength, label, found, iou) if strength > 0 else None
        free = self.lacks_box[labels]
        if free.any():
            label, iou = int(labels[free][ious[free].argmax()]), float(ious[free].max())
            return Doubt("misplaced", score * (1 - iou), label, found, iou)
        if self.truth.ignored[label]:
            return Doubt("not-labelled", score, -1, found, 0.0)
        return None  # a second box about an object that has its own

    def _boxes_near(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """The boxes that overlap a label, and their IoU with it."""
        rows = self._by_label[slice(*self._first_of_label[label : label + 2])]
        return self._box[rows], self._iou[rows]

    def _best_of_own_class(self, label: int) -> float:
        """The best score of a box of the label's class upon it, also of one that is too weak to speak."""
        boxes, ious = self._boxes_near(label)
        boxes = boxes[ious > HIT_IOU]
        own = boxes[self.boxes.labels[boxes] == self.truth.labels[label]]
        return float(self.boxes.scores[own].max(initial=0))

    def _doubles(self) -> Iterator[Doubt]:
        """Labels without a box of their own on an object that has another label."""
        rows, others = np.flatnonzero(self.lacks_box), np.flatnonzero(self.can_be_doubted & ~self.lacks_box)
        places, _, ious = overlapping(self.truth.quads[rows], self.truth.quads[others], HIT_IOU)
        for place in np.unique(places).tolist():
            label, iou = int(rows[place]), float(ious[places == place].max())
            self.lacks_box[label] = False
            yield Doubt("labelled-twice", iou, label, -1, iou)

    def _about_silence(self, label: int) -> Doubt:
        """A label for which no box speaks: how little there is, beside the boxes that have labels of their own."""
        boxes, ious = self._boxes_near(label)
        is_free = ~self.has_label[boxes]
        boxes, ious = boxes[is_free], ious[is_free]
        if not len(boxes):
            return Doubt("not-found", 1.0, label, -1, 0.0)
        best = int(self.boxes.scores[boxes].argmax())
        return Doubt("not-found", 1 - float(self.boxes.scores[boxes[best]]), label, int(boxes[best]), float(ious[best]))
