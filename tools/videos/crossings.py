"""What crosses a line in a video, and to which side."""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

import numpy as np

# So far beyond the line the centre must come for an object to have crossed it: of its extent across the line, and at
# least in pixels, since boxes of a few pixels tremble by as much.
MARGIN, LEAST_MARGIN = 0.25, 3.0
Side = Literal["left", "right"]
SIDES: tuple[Side, ...] = ("left", "right")


class Line(NamedTuple):
    """From one point to another, in pixels of the frame; left and right are as seen by who walks along it, on the
    screen."""

    x1: float
    y1: float
    x2: float
    y2: float

    def __str__(self) -> str:
        return " ".join(f"{value:g}" for value in self)

    def distances(self, points: np.ndarray) -> np.ndarray:
        """Pixels from the endless line to points (n, 2): (n,), positive on its right."""
        along = np.array([self.x2 - self.x1, self.y2 - self.y1])
        x, y = (points - (self.x1, self.y1)).T
        return (along[0] * y - along[1] * x) / np.hypot(*along)

    def position(self, point: np.ndarray) -> float:
        """Where along the line a point (2,) lies: 0 at its start, 1 at its end."""
        along = np.array([self.x2 - self.x1, self.y2 - self.y1])
        return float((point - (self.x1, self.y1)) @ along / (along @ along))

    def part_in(self, hw: tuple[int, int]) -> Line | None:
        """The part of it that lies in a picture of this height and width, None for no part."""
        first, last = 0.0, 1.0  # positions on it, cut along one axis after the other
        for start, end, length in ((self.x1, self.x2, hw[1]), (self.y1, self.y2, hw[0])):
            if start == end:
                if not 0 <= start <= length:
                    return None
                continue
            enter, leave = sorted((-start / (end - start), (length - start) / (end - start)))
            first, last = max(first, enter), min(last, leave)
        if first > last:
            return None
        start, along = np.array(self[:2]), np.array([self.x2 - self.x1, self.y2 - self.y1])
        return Line(*(start + first * along).tolist(), *(start + last * along).tolist())


class LineCounter:
    """Counts the objects that cross a line.

    counts: by the side to which they go. An object that comes back counts again. One that stands on the line and
    trembles there does not, nor one that was on it when it was first seen.
    """

    def __init__(self, line: Line) -> None:
        self.line = line
        self.counts: Counter[Side] = Counter()
        self._clear: dict[int, tuple[float, np.ndarray]] = {}  # the last place of each object that is clearly on a side

    def see(self, number: int, quad: np.ndarray) -> Side | None:
        """The side to which the object of this number has crossed since it was seen last, None where it has not. quad:
        (4, 2), where it is now."""
        centre, across = quad.mean(axis=0), self.line.distances(quad)
        distance = float(across.mean())
        if abs(distance) <= max(MARGIN * np.ptp(across), LEAST_MARGIN):
            return None
        before, self._clear[number] = self._clear.get(number), (distance, centre)
        if before is None or (before[0] > 0) == (distance > 0):
            return None
        met = before[1] + (centre - before[1]) * (before[0] / (before[0] - distance))
        if not 0 <= self.line.position(met) <= 1:  # past its end
            return None
        side: Side = "right" if distance > 0 else "left"
        self.counts[side] += 1
        return side

    def forget(self, number: int) -> None:
        """Of an object that is gone no place need be kept."""
        self._clear.pop(number, None)
