"""Which classes are taken for which: a confusion matrix of oriented boxes, with what is missed and what is invented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from DOTA_devkit.evaluation import EVERY_CLASS, ImageTruth
from DOTA_devkit.iou import intersection_over_first, poly_iou
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections

BLOCK = 512  # detections whose overlaps are held at a time


class Confusion(NamedTuple):
    """matrix (C + 1, C + 1) int64: objects by their class (row) and by what they were taken for (column); in the last
    column those that were missed, in the last row detections where there is nothing. errors: {picture: number of its
    objects that were missed or taken for another class, and of its false alarms}, those without left out."""

    matrix: np.ndarray
    errors: dict[str, int]


def confusion(
    detections: Mapping[str, ImageDetections],
    truths: Mapping[str, ImageTruth],
    min_scores: Sequence[float],
    min_iou: float = 0.5,
    ignore_overlap: float = 0.5,
) -> Confusion:
    """Pair detections with objects, both by picture name; `min_scores` (C,) is the least score of each class.

    The best score chooses first, and takes the free object of the largest IoU, at least `min_iou`: in a first round
    one of its own class, so that what the AP counts as found is found here, in a second round one of any class.
    Difficult objects, ignore regions, and false alarms that lie with more than `ignore_overlap` of their area in one,
    do not count, as in `evaluate`.
    """
    num_classes = len(min_scores)
    matrix, errors = np.zeros((num_classes + 1, num_classes + 1), np.int64), {}
    for name, truth in truths.items():
        boxes = detections.get(name, NO_DETECTIONS)
        keep = np.flatnonzero(boxes.scores >= np.asarray(min_scores, np.float64)[boxes.labels])
        keep = keep[np.argsort(-boxes.scores[keep], kind="stable")]
        part = np.zeros_like(matrix)
        _count(boxes.at(keep), truth, part, min_iou, ignore_overlap)
        matrix += part
        wrong = int(part.sum() - np.trace(part))
        if wrong:
            errors[name] = wrong
    return Confusion(matrix, errors)


def _count(
    boxes: ImageDetections, truth: ImageTruth, matrix: np.ndarray, min_iou: float, ignore_overlap: float
) -> None:
    """Add one picture; the boxes are in the order in which they choose."""
    nothing = len(matrix) - 1
    objects = np.flatnonzero(~truth.ignored)
    quads, labels, difficult = truth.quads[objects], truth.labels[objects], truth.difficult[objects]
    box_of, truth_of, iou = _pairs(boxes.quads, quads, min_iou)
    taken = np.full(len(boxes.scores), -1)
    is_free = np.ones(len(objects), bool)
    is_own = boxes.labels[box_of] == labels[truth_of]
    for chosen in (is_own, ~is_own):
        rows = np.flatnonzero(chosen)
        for row in rows[np.lexsort((-iou[rows], box_of[rows]))].tolist():
            if taken[box_of[row]] < 0 and is_free[truth_of[row]]:
                taken[box_of[row]] = truth_of[row]
                is_free[truth_of[row]] = False
    for box, target in enumerate(taken.tolist()):
        if target >= 0 and not difficult[target]:
            matrix[labels[target], boxes.labels[box]] += 1
    np.add.at(matrix, (labels[is_free & (difficult == 0)], nothing), 1)
    false = np.flatnonzero(taken < 0)
    hidden = _in_regions(boxes, false, truth, np.flatnonzero(truth.ignored), ignore_overlap)
    np.add.at(matrix, (nothing, boxes.labels[false[~hidden]]), 1)


def _pairs(boxes: np.ndarray, quads: np.ndarray, min_iou: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes and objects that overlap enough: their numbers, and how much."""
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for first in range(0, len(boxes), BLOCK):
        overlap = poly_iou(boxes[first : first + BLOCK], quads)
        rows, columns = np.nonzero(overlap >= min_iou)
        found.append((rows + first, columns, overlap[rows, columns]))
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return tuple(np.concatenate(parts) for parts in zip(empty, *found, strict=True))


def _in_regions(
    boxes: ImageDetections, rows: np.ndarray, truth: ImageTruth, regions: np.ndarray, least: float
) -> np.ndarray:
    """Which of the boxes in these rows lie mostly in an ignore region of their class, or of every class."""
    hidden = np.zeros(len(rows), bool)
    for first in range(0, len(rows), BLOCK):
        part = rows[first : first + BLOCK]
        of_class = truth.labels[regions][None] == boxes.labels[part][:, None]
        holds = of_class | (truth.labels[regions] == EVERY_CLASS)[None]
        cover = intersection_over_first(boxes.quads[part], truth.quads[regions])
        hidden[first : first + BLOCK] = ((cover > least) & holds).any(axis=1)
    return hidden
