"""Which object of a picture each detection stands for: pairs, by score and overlap, to look at and to count."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from DOTA_devkit.iou import intersection_over_first, poly_iou
from DOTA_devkit.labels import EVERY_CLASS
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.truths import HIT_IOU, ImageTruth

BLOCK = 512  # detections whose overlaps are held at a time


class Pairing(NamedTuple):
    """Of d detections and n objects and ignore regions of a picture."""

    truth_of: np.ndarray  # (d,) int64, the object that a detection stands for; -1 for none
    is_missed: np.ndarray  # (n,) bool, objects, difficult ones too, for which no detection stands
    is_hidden: np.ndarray  # (d,) bool, detections without an object that are no false alarms either


def pair(
    boxes: ImageDetections,
    truth: ImageTruth,
    min_iou: float = HIT_IOU,
    ignore_overlap: float = 0.5,
    *,
    across_classes: bool = False,
) -> Pairing:
    """Pair detections with objects of their class: the best score chooses first, and takes the free object of the
    largest IoU, if above `min_iou`. With `across_classes` what is left over is then paired whatever its class.

    A detection without an object of its class is hidden, as in `evaluate`, where more than `ignore_overlap` of its area
    lies in an ignore region of its class, or of every class, or where the object of its class that it overlaps most
    is a difficult one, of which any number may be found.
    """
    order = np.argsort(-boxes.scores, kind="stable")
    objects, regions = np.flatnonzero(~truth.ignored), np.flatnonzero(truth.ignored)
    place, target, iou = overlapping(boxes.quads[order], truth.quads[objects], min_iou)
    row, target = order[place], objects[target]
    is_own = boxes.labels[row] == truth.labels[target]
    truth_of, is_missed, is_hidden = np.full(len(order), -1), ~truth.ignored, np.zeros(len(order), bool)

    def pair_off(chosen: np.ndarray) -> None:
        pairs = np.flatnonzero(chosen)
        for number in pairs[np.lexsort((-iou[pairs], place[pairs]))].tolist():
            if truth_of[row[number]] < 0 and is_missed[target[number]]:
                truth_of[row[number]] = target[number]
                is_missed[target[number]] = False

    pair_off(is_own)
    own = np.flatnonzero(is_own)
    own = own[np.argsort(iou[own], kind="stable")]
    is_hidden[row[own]] = truth.difficult[target[own]] > 0  # the last to be written is the largest overlap
    is_hidden &= truth_of < 0
    alone = np.flatnonzero(truth_of < 0)
    is_hidden[alone] |= _in_regions(boxes.at(alone), truth.quads[regions], truth.labels[regions], ignore_overlap)
    if across_classes:
        pair_off(~is_own & ~is_hidden[row])
    return Pairing(truth_of, is_missed, is_hidden)


def overlapping(boxes: np.ndarray, quads: np.ndarray, min_iou: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of boxes (d, 4, 2) and quads (n, 4, 2) whose IoU is above `min_iou`, box by box: the numbers of both,
    and their IoU, (p,) each."""
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for first in range(0, len(boxes), BLOCK):
        overlap = poly_iou(boxes[first : first + BLOCK], quads)
        rows, columns = np.nonzero(overlap > min_iou)  # as in `evaluate`
        found.append((rows + first, columns, overlap[rows, columns]))
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return tuple(np.concatenate(parts) for parts in zip(empty, *found, strict=True))


def _in_regions(boxes: ImageDetections, regions: np.ndarray, labels: np.ndarray, least: float) -> np.ndarray:
    """Which of the boxes lie mostly in a region (n, 4, 2) of their class, by labels (n,), or of every class."""
    hidden = np.zeros(len(boxes.scores), bool)
    for first in range(0, len(hidden), BLOCK):
        part = slice(first, first + BLOCK)
        holds = (labels[None] == boxes.labels[part][:, None]) | (labels == EVERY_CLASS)[None]
        cover = intersection_over_first(boxes.quads[part], regions)
        hidden[part] = ((cover > least) & holds).any(axis=1)
    return hidden
