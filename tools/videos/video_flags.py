"""What commands on videos have in common: which files and which of their frames, so that all take the same."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from datasets.picture_files.image_folders import first_folder_with, folder_with_pictures
from datasets.picture_files.images import IMAGE_SUFFIXES
from datasets.videos import VIDEO_SUFFIXES
from DOTA_devkit.tiling import check_picture_name
from tools.running.command_line import SettingsError
from tools.running.destinations import refuse_inputs
from tools.running.flag_types import seconds
from tools.videos.camera_flags import camera_named


def add_every(parser: argparse.ArgumentParser, default: float) -> None:
    """Add --every."""
    parser.add_argument(
        "--every",
        type=seconds,
        default=default,
        metavar="SECONDS",
        help="take the first frame of every so many seconds; 0: all frames [default: %(default)s]",
    )


def find_videos(text: str) -> list[Path]:
    """The video of this name, or those directly in the folder. Raises SettingsError for none."""
    if camera_named(text) is not None:
        remedy = "python -m tools.detect_camera detects in the frames of a camera or stream"
        raise SettingsError(f"{text}: only files are read; {remedy}")
    source = Path(text)
    if not source.exists():
        raise SettingsError(f"{source}: no such video file or folder")
    if not source.is_dir():
        return [source]
    found = sorted(path for path in source.iterdir() if is_video(path))
    if found:
        return found
    below = first_folder_with(source, is_video)
    if below:
        raise SettingsError(f"{source}: no video there but in folders of it, such as {below}; name these folders")
    raise SettingsError(f"{source}: no video there; known suffixes: {', '.join(sorted(VIDEO_SUFFIXES))}")


def is_video(path: Path) -> bool:
    """Whether the file is one by its name; hidden ones are not looked at."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".") and path.is_file()


def refuse_video(source: Path, what: str) -> None:
    """Raises SettingsError for a video where a command wants pictures."""
    if is_video(source):
        raise SettingsError(f"{what}: a video; python -m tools.detect_video detects in its frames")


def no_picture_there(folder: Path) -> str:
    """What to say of a folder in which no picture was found."""
    if any(is_video(path) for path in folder.iterdir()):
        return "no picture there but videos, which python -m tools.detect_video takes"
    below = folder_with_pictures(folder)
    if below:
        return f"no picture there but in folders of it, such as {below}; name one of them, or '{folder}/**/*'"
    return f"no picture there; known suffixes: {', '.join(sorted(IMAGE_SUFFIXES))}"


def videos_of(sources: Sequence[str], out: Path) -> list[Path]:
    """The videos of these names, and those of the folders, whose frames are to go to `out`.

    Raises SettingsError for two of one name, whose frames would have the same names, and where `out` is beside them.
    """
    paths = list({path.resolve(): path for source in sources for path in find_videos(source)}.values())
    by_name: dict[str, Path] = {}
    for path in paths:
        check_picture_name(path.stem)
        refuse_inputs(out, path)
        first = by_name.setdefault(path.stem, path)
        if first is not path:
            raise SettingsError(f"{path} and {first} would give frames of the same names; rename one of them")
    return paths
