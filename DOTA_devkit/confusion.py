"""Which classes are taken for which: a confusion matrix of oriented boxes, with what is missed and what is invented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from DOTA_devkit.pairing import pair
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from DOTA_devkit.truths import ImageTruth


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
    ignore_overlap: float = 0.5,
) -> Confusion:
    """Pair detections with objects, both by picture name; `min_scores` (C,) is the least score of each class.

    They are paired as `pair` does: in a first round with objects of their own class, so that what the AP counts as
    found at IoU 0.5 is found here, in a second round with those of any class. Difficult objects, ignore regions, and
    false alarms that lie with more than `ignore_overlap` of their area in one, do not count, as in `evaluate`.
    """
    num_classes = len(min_scores)
    matrix, errors = np.zeros((num_classes + 1, num_classes + 1), np.int64), {}
    for name, truth in truths.items():
        boxes = detections.get(name, NO_DETECTIONS)
        boxes = boxes.at(boxes.reach(min_scores))
        part = np.zeros_like(matrix)
        _count(boxes, truth, part, ignore_overlap)
        matrix += part
        wrong = int(part.sum() - np.trace(part))
        if wrong:
            errors[name] = wrong
    return Confusion(matrix, errors)


def _count(boxes: ImageDetections, truth: ImageTruth, matrix: np.ndarray, ignore_overlap: float) -> None:
    """Add one picture."""
    nothing, counts = len(matrix) - 1, truth.difficult == 0
    truth_of, is_missed, is_hidden = pair(boxes, truth, ignore_overlap=ignore_overlap, across_classes=True)
    paired = np.flatnonzero(truth_of >= 0)
    paired = paired[counts[truth_of[paired]]]
    np.add.at(matrix, (truth.labels[truth_of[paired]], boxes.labels[paired]), 1)
    np.add.at(matrix, (truth.labels[is_missed & counts], nothing), 1)
    np.add.at(matrix, (nothing, boxes.labels[(truth_of < 0) & ~is_hidden]), 1)
