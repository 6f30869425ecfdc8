"""What all label formats have in common: annotated pictures, sound objects, and a ledger of what was lost."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.outlines import outline_quad
from datasets.picture_files.image_folders import last_part, names_apart
from datasets.picture_files.images import IMAGE_SUFFIXES
from DOTA_devkit.labels import (
    BAD_LABEL,
    FARTHEST,
    IGNORE_FLAG,
    NO_LABELS,
    LabelError,
    LabelFault,
    Labels,
    geometry_faults,
)
from DOTA_devkit.names import as_class_name, is_text, spellings

ROLES = {"train": "train", "trainval": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
BY_FOLDER = (
    "pictures are called by folder and name (cam1/0001 is cam1_0001), since others of the same name lie in other "
    "folders; --copy_images and --link_images bring them along by these names"
)
UNREAD_SCORES = "scores of objects were not read; labels have none"
_FLAG_WORDS = {"": 0, "0": 0, "1": 1, "2": IGNORE_FLAG, "false": 0, "true": 1, "no": 0, "yes": 1}
AS_RECTANGLE = "outlines of another number of corners than four became their minimum-area rectangles"


Track = Callable[[Sequence], Iterable]  # goes through a sequence under a progress bar, or as it is


class Picture(NamedTuple):
    """One annotated picture.

    name: without folder and suffix.  labels: in pixels.  file_name: as the labels name the picture, with its suffix,
    if they do.  hw: height and width in pixels, if the labels tell.  split: `train`, `val`, `test`, or "" for none.
    path: the picture's file, if it is known.  scores: (n,) of the objects, where they are predictions.
    """

    name: str
    labels: Labels = NO_LABELS
    file_name: str | None = None
    hw: tuple[int, int] | None = None
    split: str = ""
    path: Path | None = None
    scores: np.ndarray | None = None

    @property
    def own_file_name(self) -> str:
        """Of a picture whose file is known: its name, which tells it from others of that file's name, and suffix."""
        return f"{self.name}{self.path.suffix}"


class AnnotatedSet(NamedTuple):
    """The pictures of a source, and its class names in its own order; () where it has none."""

    pictures: list[Picture]
    class_names: tuple[str, ...] = ()


class Row(NamedTuple):
    """An object on its way into `Labels`: quad (4, 2) in pixels, class name, difficult flag, line of the file; and the
    score of a prediction."""

    quad: np.ndarray
    name: str
    difficult: int
    line: int
    score: float = 1.0


@dataclass
class Ledger:
    """What a conversion could not carry over as it was; each sentence is said once, with its count.

    changed: carried over in another form, or left out as asked.  left_out: objects that the new format cannot hold.
    faults: what could not be trusted and was left out.
    """

    changed: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    faults: list[LabelError] = field(default_factory=list)


def sound_rows(path: Path, rows: Sequence[Row], faults: list[LabelError]) -> list[Row]:
    """The objects that any format can hold; for every other one a LabelError goes to `faults`."""
    if not rows:
        return []
    bad = geometry_faults(np.array([row.quad for row in rows], np.float64))
    for index, row in enumerate(rows):
        reason = name_fault(row.name)
        if reason:
            bad[index] = LabelFault(BAD_LABEL, reason)
    faults += [fault.at(path, rows[index].line) for index, fault in bad.items()]
    return [row for index, row in enumerate(rows) if index not in bad]


def is_unusable(labels: Labels, faults: Sequence[LabelError]) -> bool:
    """Whether faults have left no object in the labels of a picture: without objects it would be taken for one that
    shows none, so it is left out."""
    return bool(faults) and bool(labels.ignored.all())  # of none, too


def without_picture(path: Path, line: int, name: str) -> LabelError:
    """The fault of a picture that is left out since its labels are unusable."""
    return LabelError(path, line, f"no label of '{name}' can be used, and the picture is left out; mend one of them")


def as_labels(rows: Sequence[Row]) -> Labels:
    if not rows:
        return NO_LABELS
    quads, names, difficult, lines, _ = zip(*rows, strict=True)
    return Labels(np.array(quads, np.float64), list(names), np.array(difficult, np.int64), np.array(lines, np.int64))


def take_objects(picture: Picture, rows: np.ndarray) -> Picture:
    """The picture with the objects of these rows (n,) alone."""
    scores = None if picture.scores is None else picture.scores[rows]
    return picture._replace(labels=picture.labels.at(rows), scores=scores)


@cache
def name_fault(name: str) -> str | None:
    """Why a class name cannot stand in a line of text or in XML; None for a good one."""
    if not name:
        return "an object without a class name; add it"
    if not is_text(name) or any(unicodedata.category(char) == "Cc" or char in "\ufeff\ufffe\uffff" for char in name):
        return f"the class name {name!r} holds characters that are no text; rename it"
    return None


def clean_name(name: object) -> str:
    """`as_class_name` of a value in somebody's file. Raises ValueError for what is no text."""
    if not isinstance(name, str):
        raise ValueError(f"the class name is {shown(name)}, not text; correct it")
    return as_class_name(name)


def outline_to_quad(points: Sequence[Sequence[float]], changed: Counter[str], is_one: bool = True) -> np.ndarray:
    """An outline (P, 2) as a quad (4, 2), as `outline_quad` has it; rectangles are counted."""
    quad, is_rectangle = outline_quad(points, is_one)
    if is_rectangle:
        changed[AS_RECTANGLE] += 1
    return quad


def number_in(text: str | None, what: str) -> float:
    """The number in a text, if it can be a place in a picture. Raises ValueError otherwise."""
    try:
        value = float(text or "")
    except ValueError:
        raise ValueError(f"{what} is {shown(text)}, not a number; correct it") from None
    if not abs(value) <= FARTHEST:  # nor is NaN
        raise ValueError(f"{what} is {shown(text)}, which is no place in a picture; correct it")
    return value


def flag_in(text: str) -> int | None:
    """The difficult flag that a text tells, nothing being 0; None for what is no flag."""
    return _FLAG_WORDS.get(text.strip().lower().removesuffix(".0"))


def picture_name(file_name: object, has_suffix: bool = True) -> str:
    """The name of a picture from a path in somebody's label file, of any system: without folder and picture suffix,
    unless the path `has_suffix` of none, as shot.jpg of the picture shot.jpg.png.

    Raises ValueError for what can be no file's name: it would be written to another folder, or nowhere.
    """
    if not isinstance(file_name, str):
        raise ValueError(f"the picture's file name is {shown(file_name)}, not text; correct it")
    last = last_part(file_name)
    stem, dot, suffix = last.rpartition(".")
    name = stem if has_suffix and dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else last
    if name.strip(" .") == "" or name_fault(name):
        raise ValueError(f"the picture's file name is {file_name!r}, which names no file; correct it")
    return name


def files_in(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder with this suffix in any case, sorted, hidden ones left out; none where there is no folder.

    Windows does not tell `A.XML` from `A.xml`, so that both are met.
    """
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == suffix and not path.name.startswith("."))


def names_file(dst: Path, suffixes: Sequence[str]) -> bool:
    """Whether a destination is a file of a format, called by one of these suffixes in any case, and no folder."""
    return dst.suffix.lower() in suffixes


def file_in(folder: Path, name: str, suffix: str) -> Path:
    """The file of this name and suffix; where that is not there, one whose suffix is written in capitals, or whose
    letters have the other form."""
    places = [folder / f"{spelt}{end}" for spelt in spellings(name) for end in (suffix, suffix.upper())]
    return next((place for place in places if place.exists()), places[0])


def role_of(folders: Sequence[str]) -> str:
    """The split that the outermost folder called so tells; "" where none is."""
    return next((ROLES[folder.lower()] for folder in folders if folder.lower() in ROLES), "")


def pictures_of(label_dir: Path) -> Path:
    """Where the pictures of a folder of labels lie by DroneVehicle's names: trainlabel and trainimg, trainlabelr and
    trainimgr."""
    return label_dir.with_name(label_dir.name.replace("label", "img")) if label_dir.name else label_dir


def name_in_list(path: Path, line: int, entry: object, has_suffix: bool = True) -> str:
    """`picture_name` of an entry of a list, for which LabelError is raised where it can be none."""
    try:
        return picture_name(entry, has_suffix)
    except ValueError as error:
        raise LabelError(path, line, str(error)) from error


def refuse_same_names(
    pictures: Iterable[tuple[str, object]], remedy: str = "rename one of them, or convert the parts one by one"
) -> None:
    """Raise ValueError when two pictures, (name, where it stands), have one name: their labels would be mixed up."""
    seen: dict[str, object] = {}
    for name, place in pictures:
        if name in seen:
            raise ValueError(
                f"two pictures are called '{name}': {seen[name]} and {place}; folder and suffix do not tell labels and "
                f"results apart, so {remedy}"
            )
        seen[name] = place


def tell_apart(
    pictures: Sequence[Picture], folders: Sequence[Sequence[str]], path: Path, changed: Counter[str]
) -> list[Picture]:
    """The pictures of a label file or folder, which lie in `folders` (the names of each one's, from the outermost on):
    where two have one name, as cam1/1.jpg and cam2/1.jpg, all are called by folder and name, cam1_1, as far as their
    folders differ (counted in `changed`).

    Raises ValueError where this does not tell them apart.
    """
    names = names_apart([picture.name for picture in pictures], folders)
    apart = [picture._replace(name=name) for picture, name in zip(pictures, names, strict=True)]
    refuse_same_names((picture.name, f"{path}: {picture.path or picture.file_name}") for picture in apart)
    if num_changed := sum(new.name != old.name for new, old in zip(apart, pictures, strict=True)):
        changed[BY_FOLDER] += num_changed
    return apart


def shown(value: object) -> str:
    """A value of a damaged file as it can stand in a sentence."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    text = {None: "null", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
