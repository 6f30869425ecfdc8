"""What crosses a line in a video, and to which side."""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

import numpy as np

from DOTA_devkit.boxes import rectangle_sides

MARGIN = 0.25  # of an object's short side: so far beyond the line its centre must come, for it to have crossed
Side = Literal["left", "right"]


class Line(NamedTuple):
    """From one point to another, in pixels of the frame; left and right are as seen by who walks along it, on the
    screen."""

    x1: float
    y1: float
    x2: float
    y2: float

    def __str__(self) -> str:
        return " ".join(f"{value:g}" for value in self)

    def distance(self, point: np.ndarray) -> float:
        """Pixels from the endless line to a point (2,), positive on its right."""
        along = np.array([self.x2 - self.x1, self.y2 - self.y1])
        x, y = point - (self.x1, self.y1)
        return float((along[0] * y - along[1] * x) / np.hypot(*along))

    def share(self, point: np.ndarray) -> float:
        """Where along the line a point (2,) lies: 0 at its start, 1 at its end."""
        along = np.array([self.x2 - self.x1, self.y2 - self.y1])
        return float((point - (self.x1, self.y1)) @ along / (along @ along))

    def meets(self, hw: tuple[int, int]) -> bool:
        """Whether any of it lies in a picture of this height and width."""
        first, last = 0.0, 1.0  # the share of it that is left, cut along one axis after the other
        for start, end, length in ((self.x1, self.x2, hw[1]), (self.y1, self.y2, hw[0])):
            if start == end:
                if not 0 <= start <= length:
                    return False
                continue
            enter, leave = sorted((-start / (end - start), (length - start) / (end - start)))
            first, last = max(first, enter), min(last, leave)
        return first <= last


class LineCounter:
    """Counts the objects that cross a line.

    counts: by class number and the side to which they go. An object that comes back counts again. One that stands on
    the line and trembles by less than MARGIN does not: a long one may, lengthwise.
    """

    def __init__(self, line: Line) -> None:
        self.line = line
        self.counts: Counter[tuple[int, Side]] = Counter()
        self._clear: dict[int, tuple[float, np.ndarray]] = {}  # the last place of each object that is clearly on a side

    def see(self, number: int, label: int, quad: np.ndarray) -> Side | None:
        """The side to which the object of this number has crossed since it was seen last, None where it has not. quad:
        (4, 2), where it is now. label: what it counts as."""
        centre = quad.mean(axis=0)
        distance = self.line.distance(centre)
        if abs(distance) <= MARGIN * rectangle_sides(quad[None])[0, 0]:
            return None
        before, self._clear[number] = self._clear.get(number), (distance, centre)
        if before is None or (before[0] > 0) == (distance > 0):
            return None
        met = before[1] + (centre - before[1]) * (before[0] / (before[0] - distance))
        if not 0 <= self.line.share(met) <= 1:  # past its end
            return None
        side: Side = "right" if distance > 0 else "left"
        self.counts[label, side] += 1
        return side

    def total(self, side: Side) -> int:
        """How many have gone to a side."""
        return sum(count for (_, where), count in self.counts.items() if where == side)
