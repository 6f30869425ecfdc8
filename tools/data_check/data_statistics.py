"""What a data set holds, in numbers: classes, sizes, angles, objects a picture; parts add up to the whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from DOTA_devkit.boxes import ROTATED_BELOW, quads_to_boxes
from tools.data_check.data_checks import Objects

SIDE_EDGES = np.array([0, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, np.inf])  # pixels
ANGLE_EDGES = np.arange(-90, 91, 10)  # degrees, of the long side, clockwise from the x axis
COUNT_EDGES = np.array([0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, np.inf])  # objects of a picture


def _zeros(edges: np.ndarray) -> np.ndarray:
    return np.zeros(len(edges) - 1, np.int64)


@dataclass
class Statistics:
    """Counts over pictures and their objects; ignore regions are counted as such and nowhere else.

    objects: {(class, list): number}, the list is "train", "val" or "" for none. pictures: {class: number of pictures
    with it}. short_side, long_side, angle, per_picture: counts between the edges above. image_sizes: {(width, height):
    number}.
    """

    num_pictures: int = 0
    num_label_files: int = 0
    num_empty: int = 0
    num_ignored: int = 0
    num_difficult: int = 0
    num_horizontal: int = 0
    most_objects: int = 0
    objects: Counter = field(default_factory=Counter)
    pictures: Counter = field(default_factory=Counter)
    image_sizes: Counter = field(default_factory=Counter)
    short_side: np.ndarray = field(default_factory=lambda: _zeros(SIDE_EDGES))
    long_side: np.ndarray = field(default_factory=lambda: _zeros(SIDE_EDGES))
    angle: np.ndarray = field(default_factory=lambda: _zeros(ANGLE_EDGES))
    per_picture: np.ndarray = field(default_factory=lambda: _zeros(COUNT_EDGES))

    @property
    def num_objects(self) -> int:
        return self.objects.total()

    @property
    def horizontal_share(self) -> float:
        """The part of the boxes that the network is told are horizontal, 0 to 1; 0 without boxes."""
        return self.num_horizontal / max(1, self.num_objects)

    def add(self, other: Statistics) -> None:
        """Add the counts of other pictures to these."""
        most = max(self.most_objects, other.most_objects)
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        self.most_objects = most

    def of_class(self, name: str) -> dict[str, int]:
        """The objects of a class by list."""
        return {part: self.objects[name, part] for part in ("train", "val", "")}


def measure_objects(objects: Objects) -> Statistics:
    """Sizes, angles and numbers of the objects of some pictures."""
    counted = ~objects.ignored
    boxes, quads = quads_to_boxes(objects.quads[counted], "le90"), objects.quads[counted]
    outer = np.prod(quads.max(axis=1) - quads.min(axis=1), axis=1) if len(quads) else np.zeros(0)
    per_picture = np.bincount(objects.owner[counted], minlength=len(objects.sizes))
    return Statistics(
        num_ignored=int(objects.ignored.sum()),
        num_difficult=int((objects.difficult[counted] == 1).sum()),
        num_horizontal=int((boxes[:, 2] * boxes[:, 3] >= ROTATED_BELOW * outer).sum()),
        most_objects=int(per_picture.max(initial=0)),
        short_side=np.histogram(boxes[:, 3], SIDE_EDGES)[0],
        long_side=np.histogram(boxes[:, 2], SIDE_EDGES)[0],
        angle=np.histogram(np.degrees(boxes[:, 4]), ANGLE_EDGES)[0],
        per_picture=np.histogram(per_picture, COUNT_EDGES)[0],
    )


def bin_names(edges: np.ndarray) -> list[str]:
    """What to write at the bars of a histogram: the lower edge, `512+` for an open end."""
    return [f"{low:g}+" if np.isinf(high) else f"{low:g}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
