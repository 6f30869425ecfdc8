"""Picture files in folders: which there are, and which of them are previews of others."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from datasets.picture_files.image_sizes import picture_size
from datasets.picture_files.images import IMAGE_SUFFIXES, ImageError

WILD = frozenset("*?[")
SCENE_SUFFIXES = frozenset({".jp2", ".tif", ".tiff"})  # of pictures that are too large to be looked at as they are


def find_images(folder: Path, *, skips_previews: bool = False) -> dict[str, Path]:
    """Pictures directly in `folder`, any known suffix in any case, sorted: {name without suffix: path}.

    Raises ImageError when the folder is missing, or when two pictures differ in their suffix only: labels and result
    lines name a picture without its suffix, so the two could not be told apart. With `skips_previews` the smaller one
    may be a preview (`without_previews`): not where there are labels, which may have been drawn on either.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder of pictures")
    images: dict[str, Path] = {}
    paths = [path for path in sorted(folder.iterdir()) if is_image(path)]
    for path in without_previews(paths) if skips_previews else paths:
        if path.stem in images:
            raise ImageError(f"{path}: same name as {images[path.stem].name} but for the suffix; rename one of them")
        images[path.stem] = path
    return images


def from_home(place: Path) -> Path:
    """The path with ~ as one's home, which no shell puts there in quotes; as it is where there is none of that name."""
    try:
        return place.expanduser()
    except RuntimeError:
        return place


def is_pattern(place: Path) -> bool:
    """Whether a path is a pattern, such as `flights/**/*.tif`, and no place that is there."""
    return bool(WILD & set(str(place))) and not place.exists()


def find_matching(pattern: Path) -> dict[str, Path]:
    """The pictures that match a pattern, as `find_images` gives them, without previews. Where two have one name, as
    flight1/1.tif and flight2/1.tif, all are called by folder and name, flight1_1. Raises ImageError where none matches,
    or two are called the same all the same."""
    folder = next(parent for parent in pattern.parents if parent.is_dir())  # its name may hold brackets
    paths = without_previews(sorted(filter(is_image, _matching(folder, pattern.relative_to(folder).parts, set()))))
    names = names_apart([path.stem for path in paths], [path.parent.relative_to(folder).parts for path in paths])
    images: dict[str, Path] = {}
    for name, path in zip(names, paths, strict=True):
        first = images.setdefault(name, path)
        if first is not path:
            raise ImageError(
                f"{pattern}: {first} and {path} have one name, and results name pictures without suffix; take fewer, "
                "or rename one of them"
            )
    if not images:
        raise ImageError(f"{pattern}: no picture matches; known suffixes: {', '.join(sorted(IMAGE_SUFFIXES))}")
    return images


def _matching(folder: Path, parts: tuple[str, ...], seen: set[tuple[Path, tuple[str, ...]]]) -> Iterator[Path]:
    """What in a folder matches the parts of a pattern, where ** is any number of folders, also of linked ones, which
    Path.glob passes over. Links may lead in a circle: by ** a folder is gone through once (`seen`)."""
    first, rest = parts[0], parts[1:]
    if not folder.is_dir():
        return
    if first == "**":
        key = folder.resolve(), parts
        if key in seen:
            return
        seen.add(key)
        if rest:
            yield from _matching(folder, rest, seen)
        below = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        for path in sorted(below, key=lambda path: (path.is_symlink(), path)):
            yield from _matching(path, parts, seen)
        return
    is_wild = bool(WILD & set(first))
    named = (
        [path for path in folder.iterdir() if fnmatch.fnmatchcase(path.name, first)] if is_wild else [folder / first]
    )
    for path in named:
        if rest:
            yield from _matching(path, rest, seen)
        elif path.exists():
            yield path


def names_apart(names: Sequence[str], folders: Sequence[Sequence[str]]) -> list[str]:
    """The names of pictures, which lie in `folders` (the names of each one's, from the outermost on): where two are the
    same, all by folders and name, without the outermost folders that all have in common."""
    if len(set(names)) == len(names):
        return list(names)
    while all(folders) and len({folder[0] for folder in folders}) == 1:  # the outermost, if all are in it
        folders = [folder[1:] for folder in folders]
    return ["_".join([*folder, name]) for name, folder in zip(names, folders, strict=True)]


def without_previews(paths: Iterable[Path]) -> list[Path]:
    """The pictures, but for the smaller ones of the same shape beside a TIFF or JPEG 2000 file of the same name, such
    as GIS programs and providers put there to be looked at."""
    kept = list(paths)
    by_name: dict[Path, list[Path]] = {}
    for path in kept:
        by_name.setdefault(path.with_suffix(""), []).append(path)
    previews = {preview for alike in by_name.values() if len(alike) > 1 for preview in _previews(alike)}
    return [path for path in kept if path not in previews]


def _previews(alike: Sequence[Path]) -> list[Path]:
    """Which of several pictures of one name are previews of another one of them."""
    scenes = [path for path in alike if path.suffix.lower() in SCENE_SUFFIXES]
    if len(scenes) != 1:
        return []
    with suppress(ImageError):  # of a header that cannot be read: which is which is for people to say
        whole = picture_size(scenes[0])
        return [path for path in alike if path != scenes[0] and _is_smaller(picture_size(path), whole)]
    return []


def _is_smaller(size: tuple[int, int], whole: tuple[int, int]) -> bool:
    """Whether a picture of this height and width may be the whole one, scaled down and rounded."""
    scale = max(size) / max(whole)
    return scale < 1 and all(abs(side - scale * full) < 2 for side, full in zip(size, whole, strict=True))


def is_image(path: Path) -> bool:
    """Whether the file is a picture by its name; hidden ones are not looked at."""
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not path.name.startswith(".")


def dead_links(folders: Iterable[Path]) -> list[Path]:
    """The links directly in these folders that are called like pictures and lead to no file; none in a folder that is
    not there."""
    found = []
    for folder in sorted({folder for folder in folders if folder.is_dir()}):
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_symlink() and not entry.name.startswith("."))
        paths = (folder / name for name in names)
        found += [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES and not path.exists()]
    return found


def no_picture_in(folder: Path) -> str:
    """What to say of a data folder, or one of pictures, in which there is none."""
    dead = dead_links([folder, *folder.glob("*/"), *folder.glob("*/*/")])
    hint = f"; {len(dead)} links in it, such as {dead[0]}, lead to no file" if dead else ""
    return f"{folder}: holds no picture with a known suffix ({', '.join(sorted(IMAGE_SUFFIXES))}){hint}"


def first_folder_with(folder: Path, is_wanted: Callable[[Path], bool]) -> str | None:
    """The name of the first folder directly in this one in which a wanted file lies, None where there is none; folders
    after it are not listed."""
    below = (path for path in sorted(folder.glob("*")) if any(map(is_wanted, path.glob("*"))))
    return next((path.name for path in below), None)


def folder_with_pictures(folder: Path) -> str | None:
    """The name of the first folder in this one that holds a picture, if any does."""
    return first_folder_with(folder, lambda path: path.suffix.lower() in IMAGE_SUFFIXES)


def last_part(file_name: str) -> str:
    """The name of the file itself in a path of any system."""
    return file_name.replace("\\", "/").rsplit("/", 1)[-1]


def folders_of(file_name: str | None) -> list[str]:
    """The names of the folders that a picture is said to be in, whatever the system, from the outermost on."""
    parts = (file_name or "").replace("\\", "/").split("/")[:-1]
    return [part.replace(":", "") for part in parts if part.strip(" .")]


def may_be_one(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether both may be the same folder, named from different places: what the shorter names is the longer's end."""
    length = min(len(first), len(second))
    return not length or tuple(first[-length:]) == tuple(second[-length:])
