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
from DOTA_devkit.evaluation import ImageTruth
from DOTA_devkit.labels import EVERY_CLASS, IGNORED_CLASS, LabelError
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from tools.label_review.doubts import KINDS, doubts_of

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
        return f"labelled {self.label}, found {seen} at most" if self.found else f"labelled {self.label}, found nothing"

    def row(self) -> list[object]:
        """With the `COLUMNS`."""
        corners = [
            [""] * 8 if quad is None else [f"{value:.2f}" for value in quad.reshape(-1)]
            for quad in (self.label_quad, self.found_quad)
        ]
        score, iou = (f"{value:.4f}" if self.found else "" for value in (self.score, self.iou))
        where = (self.item.name, str(self.item.label_path), self.line or "")
        return [self.kind, f"{self.strength:.4f}", *where, self.label, self.found, score, iou, *corners[0], *corners[1]]


def review(
    items: Iterable[Item],
    read: Read,
    missing_is_empty: bool,
    detections: Mapping[str, ImageDetections],
    class_names: Sequence[str],
    min_scores: Sequence[float],
    on_bad: Callable[[LabelError], None],
) -> list[Remark]:
    """The doubts about the labels of all pictures, kind by kind, the strongest first. Labels of detections count
    `class_names`, and `min_scores` (C,) are from where on a box speaks. A label that cannot be used goes to `on_bad`; a
    picture of which none can be, or that has no label file where it should, is left out."""
    remarks: list[Remark] = []
    number_of = {name: number for number, name in enumerate(class_names)} | {IGNORED_CLASS: EVERY_CLASS}
    reason = partial(unknown_class, class_names=class_names)
    for item in items:
        try:
            labels = read_objects(item.image_path, item.label_path, read, on_bad, missing_is_empty=missing_is_empty)
        except LabelError as error:  # no label file
            on_bad(error)
            continue
        if labels is None:
            continue
        labels = of_known_classes(labels, number_of, item.label_path, reason, on_bad)
        truth = ImageTruth(
            labels.quads, np.array([number_of[name] for name in labels.names], np.int64), labels.difficult
        )
        boxes = detections.get(item.name, NO_DETECTIONS)
        for kind, strength, label, found, iou in doubts_of(truth, boxes, min_scores):
            has_label, has_box = label >= 0, found >= 0
            remarks.append(
                Remark(
                    kind,
                    strength,
                    item,
                    int(labels.lines[label]) if has_label else 0,
                    labels.names[label] if has_label else "",
                    class_names[boxes.labels[found]] if has_box else "",
                    float(boxes.scores[found]) if has_box else 0.0,
                    iou,
                    labels.quads[label] if has_label else None,
                    boxes.quads[found] if has_box else None,
                )
            )
    kinds = list(KINDS)
    return sorted(remarks, key=lambda remark: (kinds.index(remark.kind), -remark.strength, remark.place))


def worst_first(remarks: Sequence[Remark]) -> list[str]:
    """The pictures' names, by the strengths of all their doubts together."""
    strengths: Counter[str] = Counter()
    for remark in remarks:
        strengths[remark.item.name] += remark.strength
    return sorted(strengths, key=lambda name: (-strengths[name], name))
