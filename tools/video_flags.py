"""What commands on videos have in common: which files, and which of their frames, so that all take the same ones."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from datasets.videos import find_videos
from DOTA_devkit.tiling import check_picture_name
from tools.command_line import SettingsError
from tools.run_folder import refuse_inputs


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


def videos_of(sources: Sequence[Path], out: Path) -> list[Path]:
    """The videos, and those of the folders, whose frames are to go to `out`.

    Raises SettingsError for two of one name, whose frames would have the same names, and where `out` is beside them.
    """
    paths = list(dict.fromkeys(path for source in sources for path in find_videos(source)))
    by_name: dict[str, Path] = {}
    for path in paths:
        check_picture_name(path.stem)
        refuse_inputs(out, path)
        first = by_name.setdefault(path.stem, path)
        if first is not path:
            raise SettingsError(f"{path} and {first} would give frames of the same names; rename one of them")
    return paths
