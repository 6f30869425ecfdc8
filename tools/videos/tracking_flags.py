"""Flags of how objects are followed from frame to frame, and of the lines at which they are counted."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import NamedTuple

from tools.running.command_line import SettingsError
from tools.running.flag_types import seconds, whole
from tools.videos.crossings import Line
from tools.videos.tracking import Tracker


class Tracking(NamedTuple):
    """How to follow: least_frames and gap of a `Tracker`, and the lines whose crossings are counted."""

    least_frames: int = Tracker.LEAST_FRAMES
    gap: float = Tracker.GAP
    lines: tuple[Line, ...] = ()


FARTHEST = 1e6  # pixels, beyond any picture
_FLAGS = {"least_frames": "track_frames", "gap": "track_gap"}


def add_tracking_flags(parser: argparse.ArgumentParser, counted: str) -> None:
    """The flags of `tracking_of`; `counted`: where crossings are told."""
    add = parser.add_argument
    add(
        "--track_frames",
        type=whole(1),
        metavar="N",
        help=f"frames in which it must be seen to be an object [default: {Tracker.LEAST_FRAMES}]",
    )
    add(
        "--track_gap",
        type=seconds,
        metavar="SECONDS",
        help="longest time unseen after which it is still the same; after two missing frames it always is "
        f"[default: {Tracker.GAP:g}]",
    )
    add(
        "--count_line",
        type=float,
        nargs=4,
        action="append",
        default=[],
        metavar=("X1", "Y1", "X2", "Y2"),
        help="count the objects that cross the line between these points, pixels of the frame, to its left and to its "
        f"right, in {counted}; may be given several times",
    )


def tracking_of(options: argparse.Namespace) -> Tracking:
    """How to follow the objects. Raises SettingsError for a line that is a point."""
    lines = tuple(Line(*ends) for ends in options.count_line)
    for line in lines:
        if not all(abs(value) <= FARTHEST for value in line) or math.dist(line[:2], line[2:]) < 1:
            raise SettingsError(f"--count_line {line} must go from one point to another")
    given = {name: getattr(options, flag) for name, flag in _FLAGS.items() if getattr(options, flag) is not None}
    return Tracking(**given, lines=lines)


def tracking_if_asked_for(options: argparse.Namespace) -> Tracking | None:
    """As `tracking_of`, None without --track and lines. Raises SettingsError for other flags of tracking then."""
    tracking = tracking_of(options)
    if options.track or tracking.lines:
        return tracking
    for flag in _FLAGS.values():
        if getattr(options, flag) is not None:
            raise SettingsError(f"--{flag} goes with --track or --count_line")
    return None


def refuse_lines_outside(lines: Sequence[Line], what: object, hw: tuple[int, int]) -> None:
    """Raises SettingsError for a line that lies outside the frames of a video or camera, of this height and width."""
    for line in lines:
        if line.part_in(hw) is None:
            raise SettingsError(f"{what}: --count_line {line} lies outside the frames of {hw[1]} x {hw[0]} pixels")
