"""The pictures that a command is to detect on: a file, a folder, or a pattern such as '/data/**/*.tif'."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from datasets.picture_files.image_folders import find_images, find_matching, folder_with_pictures, from_home, is_pattern
from datasets.picture_files.image_sizes import read_header
from datasets.picture_files.images import IMAGE_SUFFIXES, ImageError
from tools.running.command_line import SettingsError
from tools.running.destinations import refuse_inputs
from tools.running.messages import warn, warn_of_dead_links
from tools.running.progress import progress_bar
from tools.videos.video_flags import no_picture_there, refuse_video

INPUTS = "a picture, a folder of pictures, or a pattern in quotes, such as '/data/flights/**/*.tif' (** is any folder)"


def input_pictures(source: Path, what: str) -> dict[str, Path]:
    """The pictures of a source, by their names without suffix: results name them so.

    Raises SettingsError, which begins with `what`, where there is none, and for two of one name; ImageError for two
    in a folder that differ in their suffix only.
    """
    refuse_video(source, what)
    source = from_home(source)
    if source.is_file():
        if source.suffix.lower() not in IMAGE_SUFFIXES:
            known = ", ".join(sorted(IMAGE_SUFFIXES))
            raise SettingsError(f"{what}: is no picture by its name ({known}); give a picture, a folder or a pattern")
        return {source.stem: source}
    if source.is_dir():
        images = find_images(source, skips_previews=True)
        if not images:
            raise SettingsError(f"{what}: {no_picture_there(source)}")
        warn_of_dead_links(images.values())
        below = folder_with_pictures(source)
        if below:
            warn(f"{what}: pictures in folders of it, such as {below}, are not looked at; '{source}/**/*' takes them")
        return images
    if not is_pattern(source):
        raise SettingsError(f"{what}: no such file or folder")
    try:
        return find_matching(source)
    except ImageError as error:
        raise SettingsError(f"{what}: {str(error).removeprefix(f'{source}: ')}") from error


def named_from_anywhere(source: Path) -> str:
    """A source as results name it, which may be read in another working folder."""
    return str(from_home(source).absolute())


def refuse_pictures(out: Path, images: Iterable[Path], flag: str = "") -> None:
    """Raises SettingsError when files of `out` would lie beside one of the pictures."""
    for folder in dict.fromkeys(path.parent for path in images):
        refuse_inputs(out, folder, flag)


def check_headers(images: Iterable[Path], flag: str) -> None:
    """Raises ImageError for the first picture whose header cannot be read: better now than after hours of work. `flag`:
    that which leaves it out."""
    for path in progress_bar(list(images), desc="looking at the pictures", unit="picture"):
        try:
            read_header(path)
        except ImageError as error:
            raise ImageError(f"{error} ({flag} skip leaves such pictures out)") from error
