"""A folder as DOTA lays it out: `images/` and `labelTxt/`, or the two once in each of `train/`, `val/` and so on
(`ROLES`)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from datasets.label_formats.annotations import ROLES, refuse_same_names
from datasets.picture_files.image_folders import find_images, is_image

IMAGES = "images"
LABEL_FOLDERS = ("labelTxt", "annfiles")  # DOTA's own name, and that of mmrotate's tiles
ARCHIVE_FOLDERS = "labelTxt-v*"  # as they unpack, some with a labelTxt of their own in them
OTHER_LABELS = ("_hbb", "_reclabelTxt", "_Task2_gt")  # of horizontal boxes, which archives hold beside the oriented


class DotaFolder(NamedTuple):
    """images: {name: picture}.  splits: {`train`, `val`, `test`: names}, {} where all pictures lie in one folder.
    unlabelled: the pictures of parts without labels beside others that have some."""

    images: dict[str, Path]
    splits: dict[str, list[str]]
    unlabelled: frozenset[str]


def is_dota_folder(data_dir: Path) -> bool:
    """Whether a folder of labels lies there, or in a part of it beside `images`."""
    if label_dir_in(data_dir).is_dir():
        return True
    return any(label_dir_in(part).is_dir() for part in _parts_in(data_dir))


def open_dota(data_dir: Path) -> DotaFolder:
    """The pictures of a folder and the splits that its parts make; listed anew only when something there has changed.

    A `trainval/` counts where there is no `train/`, without the pictures that `val/` has as well. A `test/` without
    labels, as DOTA has it, makes no split: nothing can be scored there. Raises ImageError for a folder of pictures that
    is missing, ValueError for two pictures of one name: labels and results name a picture without its folder.
    """
    parts = parts_of(data_dir)
    return _list_parts(parts, tuple(_stamp(part / IMAGES) for part in parts))


def unread_folders(data_dir: Path) -> list[Path]:
    """Folders with pictures that nothing reads: in a folder `images`, or called like a part beside one, or beside
    another part of its role. A `trainval/` beside `train/` is meant to be passed over."""
    parts = parts_of(data_dir)
    passed_over = {data_dir / "trainval"} if data_dir / "train" in parts else set()
    beside = {data_dir / name for name in ROLES} - {*parts} - passed_over
    below = [path for part in parts for path in sorted((part / IMAGES).glob("*/")) if not _is_of_systems(path.name)]
    candidates = [*below, *(part / IMAGES for part in sorted(beside))]
    return [path for path in candidates if any(map(is_image, path.glob("*")))]


def _is_of_systems(name: str) -> bool:
    """Whether a folder of this name is one that programs keep for themselves: thumbnails, for instance."""
    return name.startswith(".") or name in ("@eaDir", "__MACOSX")


def label_dir_in(folder: Path) -> Path:
    """The folder of labels beside `images`, also one of DOTA's archives; called labelTxt where there is none.

    Raises ValueError where there are those of several versions.
    """
    usual = next((folder / name for name in LABEL_FOLDERS if (folder / name).is_dir()), None)
    if usual is not None:
        return usual
    versions = sorted(path for path in folder.glob(ARCHIVE_FOLDERS) if path.is_dir())
    if len(versions) > 1:
        names = ", ".join(path.name for path in versions)
        raise ValueError(f"{folder}: has labels of several versions ({names}); rename the one to be used to labelTxt")
    for version in versions:
        return _unpacked(version, _stamp(version))
    return folder / LABEL_FOLDERS[0]


@lru_cache(maxsize=64)  # asked of each picture, and a folder of labels is long to look through
def _unpacked(version: Path, stamp: int) -> Path:
    """The folder of label files in what an archive unpacked to: that one, labelTxt in it, or a single other one that
    holds no horizontal boxes. Raises ValueError where there are several."""
    if next(version.glob("*.txt"), None) is not None:
        return version
    if (version / LABEL_FOLDERS[0]).is_dir():
        return version / LABEL_FOLDERS[0]
    below = [path for path in sorted(version.iterdir()) if path.is_dir() and not path.name.endswith(OTHER_LABELS)]
    if len(below) > 1:
        names = ", ".join(path.name for path in below)
        raise ValueError(
            f"{version}: holds several folders ({names}); move the labels to be used to labelTxt beside it"
        )
    return below[0] if below else version


def label_dir_of(data_dir: Path, name: str) -> Path:
    """The folder that the labels of a picture lie in."""
    parts = parts_of(data_dir)
    if parts == (data_dir,):
        return label_dir_in(data_dir)
    image = open_dota(data_dir).images.get(name)
    return label_dir_in(image.parent.parent if image else parts[0])


def parts_of(data_dir: Path) -> tuple[Path, ...]:
    """The folders that each hold `images` and labels: the folder itself, or its parts."""
    if (data_dir / IMAGES).is_dir() or label_dir_in(data_dir).is_dir():
        return (data_dir,)
    return tuple(_parts_in(data_dir)) or (data_dir,)


def names_of_val(part: Path) -> frozenset[str]:
    """The pictures of a part that count as those of `val/`: what a `trainval/` holds once more."""
    if part.name != "trainval":
        return frozenset()
    folders = [part.parent / name / IMAGES for name, role in ROLES.items() if role == "val"]
    return frozenset(name for folder in folders if folder.is_dir() for name in find_images(folder))


def _parts_in(data_dir: Path) -> list[Path]:
    """Of each role the first part that is there, of train/ and trainval/ for instance."""
    first: dict[str, Path] = {}
    for name, role in ROLES.items():
        if (data_dir / name / IMAGES).is_dir():
            first.setdefault(role, data_dir / name)
    return list(first.values())


@lru_cache(maxsize=8)
def _list_parts(parts: tuple[Path, ...], stamps: tuple[int, ...]) -> DotaFolder:
    found = {}
    for part in parts:
        elsewhere = names_of_val(part)
        found[part] = {name: path for name, path in find_images(part / IMAGES).items() if name not in elsewhere}
    labelled = [part for part in parts if label_dir_in(part).is_dir()]
    read = labelled or parts
    refuse_same_names(item for part in read for item in found[part].items())
    taken = {name for part in read for name in found[part]}
    for part in parts:
        if part not in read:  # its pictures are never scored; what is called like one that is read is passed over
            found[part] = {name: path for name, path in found[part].items() if name not in taken}
    images = {name: path for images in found.values() for name, path in images.items()}
    splits = {ROLES[part.name]: list(found[part]) for part in labelled} if len(parts) > 1 else {}
    unlabelled = [name for part in parts if part not in read for name in found[part]]
    return DotaFolder(images, splits, frozenset(unlabelled))


def _stamp(folder: Path) -> int:
    return folder.stat().st_mtime_ns if folder.is_dir() else 0
