"""Where labels and a network disagree so much that the labels may be wrong; knows boxes, no files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from DOTA_devkit.evaluation import ImageTruth
from DOTA_devkit.iou import poly_iou
from DOTA_devkit.pairing import pair
from DOTA_devkit.task_files import ImageDetections

SAME_IOU = 0.5  # from which on a box is of an object, as the AP has it
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
    "not-found": DoubtKind(
        "labelled, and nothing was found", "remove the label where there is nothing; hard objects come here, too"
    ),
}


class Doubt(NamedTuple):
    """A label that may be wrong, or one that may be missing.

    kind: of `KINDS`. strength: from 0 to 1, how much speaks against the label. label: its number in the picture, -1
    where one may be missing. found: number of the detection, -1 where nothing was found. iou: of the two.
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
    less that of the best box of the label's own, for a misplaced label less their overlap of its score, and for one at
    which nothing speaks what the best of the weak boxes there lacks of a score of 1.
    """
    speaks = np.flatnonzero(boxes.reach(min_scores))
    loud = boxes.at(speaks)
    is_object = ~truth.ignored & (truth.difficult == 0)
    overlap = poly_iou(boxes.quads, truth.quads) if len(boxes.scores) and len(truth.labels) else None
    if overlap is None:
        overlap = np.zeros((len(boxes.scores), len(truth.labels)))
    pairing = pair(loud, truth, SAME_IOU)
    is_open = is_object & pairing.is_missed
    alone = speaks[(pairing.truth_of < 0) & ~pairing.is_hidden]
    doubts: list[Doubt] = []
    is_doubted = np.zeros(len(truth.labels), bool)
    for found in alone[np.argsort(-boxes.scores[alone], kind="stable")].tolist():
        doubt = _about_box(found, boxes, truth, overlap, is_open)
        if doubt is None:
            continue
        if doubt.label >= 0:
            if is_doubted[doubt.label]:
                continue  # a better box has said so
            is_doubted[doubt.label], is_open[doubt.label] = True, False
        doubts.append(doubt)
    return [*doubts, *_about_silence(np.flatnonzero(is_open), boxes, overlap)]


def _about_box(
    found: int, boxes: ImageDetections, truth: ImageTruth, overlap: np.ndarray, is_open: np.ndarray
) -> Doubt | None:
    """What a box without a label of its class says."""
    score, ious = float(boxes.scores[found]), overlap[found]
    label = int(ious.argmax()) if len(ious) else -1
    iou = float(ious[label]) if label >= 0 else 0.0
    if iou > SAME_IOU:
        if truth.difficult[label] or truth.ignored[label] or truth.labels[label] == boxes.labels[found]:
            return None  # beyond doubt, or another box of it is the better one
        own = (boxes.labels == truth.labels[label]) & (overlap[:, label] > SAME_IOU)
        strength = score - float(boxes.scores[own].max(initial=0))
        return Doubt("other-class", strength, label, found, iou) if strength > 0 else None
    near = np.flatnonzero(is_open & (ious > NEAR_IOU))
    if len(near):
        label = int(near[ious[near].argmax()])
        return Doubt("misplaced", score * (1 - float(ious[label])), label, found, float(ious[label]))
    if iou > NEAR_IOU and not truth.ignored[label]:
        return None  # a second box about an object that has its own
    return Doubt("not-labelled", score, -1, found, 0.0)


def _about_silence(labels: np.ndarray, boxes: ImageDetections, overlap: np.ndarray) -> Iterator[Doubt]:
    """Labels for which no box speaks: how little there is."""
    for label in labels.tolist():
        near = np.flatnonzero(overlap[:, label] > NEAR_IOU)
        best = int(near[boxes.scores[near].argmax()]) if len(near) else -1
        weak = float(boxes.scores[best]) if best >= 0 else 0.0
        yield Doubt("not-found", 1 - weak, label, best, float(overlap[best, label]) if best >= 0 else 0.0)
