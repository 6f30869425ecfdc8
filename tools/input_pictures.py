"""The pictures that a command is to detect on: a file, a folder, or a pattern such as '/data/**/*.tif'."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from datasets.image_sizes import read_header
from datasets.images import IMAGE_SUFFIXES, find_images
from tools.command_line import SettingsError
from tools.messages import warn
from tools.progress import progress_bar
from tools.video_flags import folder_with_pictures, no_picture_there, refuse_video

WILD = frozenset("*?[")
INPUTS = "a picture, a folder of pictures, or a pattern in quotes, such as '/data/flights/**/*.tif' (** is any folder)"


def input_pictures(source: Path, what: str) -> dict[str, Path]:
    """The pictures of a source, by their names without suffix: results name them so.

    Raises SettingsError, which begins with `what`, where there is none, and for two of one name; ImageError for two
    in a folder that differ in their suffix only.
    """
    refuse_video(source, what)
    if source.is_file():
        return {source.stem: source}
    if source.is_dir():
        images = find_images(source)
        if not images:
            raise SettingsError(f"{what}: {no_picture_there(source)}")
        below = folder_with_pictures(source)
        if below:
            warn(f"{what}: pictures in folders of it, such as {below}, are not looked at; '{source}/**/*' takes them")
        return images
    folder = input_folder(source)
    if folder == source:
        raise SettingsError(f"{what}: no such file or folder")
    return _matching(source, folder, what)


def input_folder(source: Path) -> Path:
    """The folder in which a pattern begins; any other source as it is."""
    if source.exists() or not WILD & set(str(source)):
        return source
    return next(parent for parent in source.parents if not WILD & set(str(parent)))


def check_headers(images: Iterable[Path]) -> None:
    """Raises ImageError for the first picture whose header cannot be read: better now than after hours of work."""
    for path in progress_bar(list(images), desc="looking at the pictures", unit="picture"):
        read_header(path)


def _matching(pattern: Path, folder: Path, what: str) -> dict[str, Path]:
    images: dict[str, Path] = {}
    for path in sorted(folder.glob(str(pattern.relative_to(folder)))):
        if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file() or path.name.startswith("."):
            continue
        first = images.setdefault(path.stem, path)
        if first is not path:
            raise SettingsError(
                f"{what}: {first} and {path} have one name, and results name pictures without folder and suffix; "
                "take fewer, or rename one of them"
            )
    if not images:
        raise SettingsError(f"{what}: no picture matches; known suffixes: {', '.join(sorted(IMAGE_SUFFIXES))}")
    return images
