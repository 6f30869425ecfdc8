"""A data folder gone through for labels that may be wrong: the doubts of all pictures, and how they are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.class_lists import of_known_classes, unknown_class
from datasets.readers import Read, read_objects
from DOTA_devkit.labels import EVERY_CLASS, IGNORED_CLASS, LabelError, Labels
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from DOTA_devkit.truths import ImageTruth
from tools.label_review.doubts import KINDS, Doubt, doubts_of

COLUMNS = (
    *("kind", "strength", "image", "label_file", "line", "label", "found", "score", "iou"),
    *(f"{what}_{axis}{corner}" for what in ("label", "found") for corner in range(1, 5) for axis in "xy"),
)


class Item(NamedTuple):
    """A picture to look at: its file, and that of its labels."""

    name: str
    image_path: Path
    label_path: Path


class Remark(NamedTuple):
    """A doubt, told. kind, strength: of the doubt. line: of the label in its file, 0 where one may be missing. label,
    found: names of classes, "" for none; score: of what was found; iou: of the two; quads (4, 2) in pixels, or None."""

    kind: str
    strength: float
    item: Item
    line: int
    label: str
    found: str
    score: float
    iou: float
    label_quad: np.ndarray | None
    found_quad: np.ndarray | None

    @property
    def place(self) -> str:
        """The label's file and line; of one that may be missing the picture."""
        return f"{self.item.label_path}:{self.line}" if self.line else str(self.item.image_path)

    @property
    def what(self) -> str:
        """The doubt in words."""
        seen = f"{self.found} ({self.score:.2f})"
        if self.kind == "other-class":
            return f"labelled {self.label}, found as {seen}"
        if self.kind == "not-labelled":
            x, y = self.found_quad.mean(axis=0)
            return f"found {seen} at {x:.0f}, {y:.0f}, no label"
        if self.kind == "misplaced":
            return f"labelled {self.label}, found {seen} with an overlap of {self.iou:.2f}"
        if self.kind == "labelled-twice":
            return f"labelled {self.label}, on another label with an overlap of {self.iou:.2f}"
        return f"labelled {self.label}, found {seen} at most" if self.found else f"labelled {self.label}, found nothing"

    def row(self) -> list[object]:
        """With the `COLUMNS`."""
        corners = [
            [""] * 8 if quad is None else [f"{value:.2f}" for value in quad.reshape(-1)]
            for quad in (self.label_quad, self.found_quad)
        ]
        score = f"{self.score:.4f}" if self.found else ""
        iou = f"{self.iou:.4f}" if self.found or self.iou else ""
        where = (self.item.name, str(self.item.label_path), self.line or "")
        return [self.kind, f"{self.strength:.4f}", *where, self.label, self.found, score, iou, *corners[0], *corners[1]]


class Review(NamedTuple):
    """What came of a review: the doubts, kind by kind, the strongest first; how many pictures and labels were looked
    at, and how many labels of which classes the network knows nothing of."""

    remarks: list[Remark]
    num_pictures: int
    num_labels: int
    unknown: Counter[str]


def review(
    items: Iterable[Item],
    read: Read,
    missing_is_empty: bool,
    detections: Mapping[str, ImageDetections],
    class_names: Sequence[str],
    found_classes: Sequence[str],
    min_scores: Sequence[float],
    on_bad: Callable[[LabelError], None],
) -> Review:
    """Go through pictures. Labels of detections count `class_names`, and `min_scores` (C,) are from where on a box
    speaks. Labels of classes that are not among `found_classes`, of which the network knows nothing, are beyond doubt,
    and counted. A label that cannot be used goes to `on_bad`; a picture of which none can be, or that has no label file
    where it should, is left out."""
    remarks: list[Remark] = []
    num_pictures, num_labels, unknown = 0, 0, Counter[str]()
    number_of = {name: number for number, name in enumerate(class_names)} | {IGNORED_CLASS: EVERY_CLASS}
    reason, known = partial(unknown_class, class_names=class_names), {*found_classes, IGNORED_CLASS}
    for item in items:
        try:
            labels = read_objects(item.image_path, item.label_path, read, on_bad, missing_is_empty=missing_is_empty)
        except LabelError as error:  # no label file
            on_bad(error)
            continue
        if labels is None:
            continue
        labels = of_known_classes(labels, number_of, item.label_path, reason, on_bad)
        num_pictures, num_labels = num_pictures + 1, num_labels + len(labels.names)
        is_unknown = np.array([name not in known for name in labels.names], bool)
        unknown.update(labels.at(np.flatnonzero(is_unknown)).names)
        numbers = np.array([number_of[name] for name in labels.names], np.int64)
        difficult = np.maximum(labels.difficult, is_unknown)  # as of a difficult one, nothing is asked of it
        boxes = detections.get(item.name, NO_DETECTIONS)
        doubts = doubts_of(ImageTruth(labels.quads, numbers, difficult), boxes, min_scores)
        remarks += [_remark(doubt, item, labels, boxes, class_names) for doubt in doubts]
    kinds = list(KINDS)
    remarks.sort(key=lambda remark: (kinds.index(remark.kind), -remark.strength, remark.place))
    return Review(remarks, num_pictures, num_labels, unknown)


def worst_first(remarks: Sequence[Remark]) -> list[str]:
    """The pictures' names, by the strengths of all their doubts together."""
    strengths: Counter[str] = Counter()
    for remark in remarks:
        strengths[remark.item.name] += remark.strength
    return sorted(strengths, key=lambda name: (-strengths[name], name))


def _remark(doubt: Doubt, item: Item, labels: Labels, boxes: ImageDetections, class_names: Sequence[str]) -> Remark:
    """The doubt with what it is about."""
    label = doubt.label if doubt.label >= 0 else None
    found = doubt.found if doubt.found >= 0 else None
    return Remark(
        doubt.kind,
        doubt.strength,
        item,
        line=0 if label is None else int(labels.lines[label]),
        label="" if label is None else labels.names[label],
        found="" if found is None else class_names[boxes.labels[found]],
        score=0.0 if found is None else float(boxes.scores[found]),
        iou=doubt.iou,
        label_quad=None if label is None else labels.quads[label],
        found_quad=None if found is None else boxes.quads[found],
    )
