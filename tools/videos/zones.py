"""Zones of a frame in which objects are counted, and their flag."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from DOTA_devkit.boxes import polygon_area
from DOTA_devkit.task_files import ImageDetections
from tools.running.command_line import SettingsError
from tools.videos.tracking_flags import FARTHEST


class Zone(NamedTuple):
    """The inside of an outline: its corners, in pixels of the frame, in their order, three or more."""

    corners: tuple[tuple[float, float], ...]

    def __str__(self) -> str:
        return " ".join(f"{value:g}" for corner in self.corners for value in corner)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Which of the points (n, 2) lie in it, (n,) bool, by the even-odd rule."""
        inside = np.zeros(len(points), bool)
        x, y = points.T
        for (x1, y1), (x2, y2) in zip(self.corners, (*self.corners[1:], self.corners[0]), strict=True):
            if y1 != y2:
                inside ^= ((y1 > y) != (y2 > y)) & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
        return inside

    def is_seen(self, hw: tuple[int, int]) -> bool:
        """Whether it may reach into a picture of this height and width."""
        low, high = np.min(self.corners, axis=0), np.max(self.corners, axis=0)
        return bool((high > 0).all() and (low < (hw[1], hw[0])).all())


def add_zone_flag(parser: argparse.ArgumentParser, counted: str) -> None:
    """Add --count_zone; `counted`: where the counts are told."""
    parser.add_argument(
        "--count_zone",
        type=float,
        nargs="+",
        action="append",
        default=[],
        metavar="XY",
        help="count the boxes whose middle lies in the zone with these corners (x and y of three or more, pixels of "
        f"the frame, in their order around it), class by class, in {counted}; may be given several times",
    )


def zones_of(options: argparse.Namespace) -> tuple[Zone, ...]:
    """The zones. Raises SettingsError for numbers that are no corners of an area."""
    zones = []
    for numbers in options.count_zone:
        zone = Zone(tuple(zip(numbers[::2], numbers[1::2], strict=False)))
        is_even, is_near = len(numbers) % 2 == 0, all(abs(value) <= FARTHEST for value in numbers)
        if not (is_even and is_near and len(zone.corners) >= 3 and polygon_area(np.array(zone.corners)) >= 1):
            said = " ".join(f"{value:g}" for value in numbers)
            raise SettingsError(f"--count_zone {said}: give x and y of three corners or more, around an area")
        zones.append(zone)
    return tuple(zones)


def refuse_zones_outside(zones: Sequence[Zone], what: object, hw: tuple[int, int]) -> None:
    """Raises SettingsError for a zone that lies outside the frames of a video or camera, of this height and width."""
    for zone in zones:
        if not zone.is_seen(hw):
            raise SettingsError(f"{what}: --count_zone {zone} lies outside the frames of {hw[1]} x {hw[0]} pixels")


def zone_columns(zones: Sequence[Zone], class_names: Sequence[str]) -> list[str]:
    """The columns of tables of counts: a class after the other, zone by zone, from 1 on."""
    return [f"zone_{number}_{name}" for number in range(1, len(zones) + 1) for name in class_names]


def count_in_zones(boxes: ImageDetections, zones: Sequence[Zone], num_classes: int) -> np.ndarray:
    """How many of the boxes of each class lie in each zone, (zones, classes)."""
    middles = boxes.quads.mean(axis=1).reshape(-1, 2)
    counts = [np.bincount(boxes.labels[zone.contains(middles)], minlength=num_classes) for zone in zones]
    return np.array(counts, np.int64).reshape(len(zones), num_classes)
