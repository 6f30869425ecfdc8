"""The flag that says which frames of a video are looked at, the same for every command: the same ones are taken."""

from __future__ import annotations

import argparse
import math

from tools.command_line import SettingsError


def add_every(parser: argparse.ArgumentParser, default: float) -> None:
    """Add --every."""
    parser.add_argument(
        "--every",
        type=float,
        default=default,
        metavar="SECONDS",
        help="take the first frame of every so many seconds; 0: all frames [default: %(default)s]",
    )


def check_every(seconds: float) -> None:
    """Raises SettingsError for no time."""
    if not 0 <= seconds < math.inf:
        raise SettingsError(f"--every {seconds} must be a time in seconds, 0 for all frames")
