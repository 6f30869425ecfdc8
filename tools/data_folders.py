"""A data folder, opened: its format, its pictures, and a warning of what in it nobody will read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from datasets.format_detection import detect_format
from datasets.picture_files.image_folders import no_picture_in
from datasets.picture_files.images import ImageError
from datasets.readers import get_format, list_images
from tools.running.command_line import SettingsError
from tools.running.messages import warn, warn_of_dead_links
from tools.tile_folder import unfinished_tiles


class DataFolder(NamedTuple):
    """A data folder: its format, where it lies and its pictures by name; and the folder of the run whose network is
    scored on it."""

    dataset: str
    data_dir: Path
    images: Mapping[str, Path]
    run_dir: Path | None = None


def open_folder(data_dir: Path, dataset: str = "auto", flag: str = "") -> DataFolder:
    """The data folder that `flag` names. Warns of links that lead nowhere, of pictures that nothing reads and of test
    pictures that are missing.

    Raises SettingsError for a place that is no folder, and for tiles that are not all there; ValueError where the
    format is not known; ImageError where there is no picture.
    """
    said = f"{flag} {data_dir}".strip()
    if data_dir.is_file():
        raise SettingsError(f"{said}: is a file; name its folder, {data_dir.parent} (a data.yaml there is read)")
    if not data_dir.is_dir():
        raise SettingsError(f"{said}: no such data folder")
    if fault := unfinished_tiles(data_dir):
        raise SettingsError(f"{said}: {fault}")
    dataset = detect_format(data_dir) if dataset == "auto" else dataset
    reader, images = get_format(dataset), list_images(dataset, data_dir)
    if not images:
        raise ImageError(no_picture_in(data_dir))
    warn_of_dead_links(images.values())
    for path in reader.unread(data_dir):
        warn(f"{path}: its pictures are not read; move them to images/, or to images/ of train/, val/ or test/")
    for path in reader.missing(data_dir):
        warn(f"{path}: is not there, though data.yaml names it for test; going on without it")
    return DataFolder(dataset, data_dir, images)
