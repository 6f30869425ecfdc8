"""A data folder laid out: which pictures, labels and lists lie in it, and which of them have no partner."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets.label_formats.annotations import ROLES
from datasets.label_formats.dota_folder import IMAGES, label_dir_in, names_of_val, parts_of
from datasets.picture_files.image_folders import dead_links, no_picture_in
from datasets.picture_files.images import IMAGE_SUFFIXES, ImageError
from datasets.readers import Read, get_format, label_reader
from datasets.splits import TRAIN_LISTS, VAL_LISTS, find_name, lists_in
from DOTA_devkit.labels import LabelError, read_names
from DOTA_devkit.names import spelling_in
from DOTA_devkit.tiling import check_picture_name
from tools.data_check.data_checks import LABELTXT, Finding, escaped
from tools.tile_folder import unfinished_tiles

# Of files beside pictures that are read as such, or are none.
_OF_OTHER_USE = {*IMAGE_SUFFIXES, ".txt", ".xml", ".json", ".yaml", ".csv"}
LISTS_OF = {"train": TRAIN_LISTS, "val": VAL_LISTS}
DEAD = "the link leads to no file"
Paths = dict[str, Path]


class Pair(NamedTuple):
    """A picture and its labels, None where it has none. part: the list that it is in, "train", "val" or "". role:
    "train" where training learns from it, "val" where its labels are scored against, "" where it serves for neither."""

    name: str
    image_path: Path
    label_path: Path | None
    part: str
    role: str


class Part(NamedTuple):
    """One side of the split. path: the list or the folder that says so. members: {picture: line of the list, or 0}."""

    path: Path
    members: dict[str, int]


class DataLayout(NamedTuple):
    """pairs: sorted by name. parts: "train" and "val", as far as there are such. others: lists beside them, which only
    --split reads. findings: what has no partner. read: reads one of the label files. missing_is_empty: a picture that
    has none is a picture without objects."""

    data_dir: Path
    pairs: list[Pair]
    parts: dict[str, Part]
    others: list[Part]
    findings: list[Finding]
    read: Read
    missing_is_empty: bool = False


def lay_out(dataset: str, data_dir: Path, lists_dir: Path | None = None) -> DataLayout:
    """Look through the folders of a data set; opens nothing but its lists. `lists_dir` holds other lists than its own.

    Raises ImageError when the folder of pictures is missing or holds none, OSError for what cannot be listed.
    """
    findings: list[Finding] = []
    if fault := unfinished_tiles(data_dir):
        findings.append(Finding("unfinished-tiles", "", escaped(str(data_dir)), 0, fault))
    images, labels, parts = (_find_yolo if dataset == "yolo_obb" else _find_files)(dataset, data_dir, findings)
    listed, others = _read_parts(lists_dir or lists_in(data_dir), images, findings)
    for part, names in LISTS_OF.items() if lists_dir is not None else ():  # training fills in nothing there
        if part not in listed:
            what = f"no such list, and training needs it; looked for {' or '.join(names)}"
            findings.append(Finding("no-list", "", escaped(str(lists_dir / names[0])), 0, what))
    if "test" in parts and "test" not in {part.path.stem for part in (*listed.values(), *others)}:
        others.append(parts["test"])
    parts = {part: parts[part] for part in ("train", "val") if part in parts}
    parts = listed if lists_dir is not None else listed or parts  # as training chooses: lists before the format's own
    for name in images:
        if fault := picture_name_fault(name):
            findings.append(Finding("bad-name", name, escaped(str(images[name])), 0, fault))
    missing_is_empty = get_format(dataset).missing_is_empty
    kind = "taken-for-empty" if missing_is_empty else "no-labels"
    for name in sorted(images.keys() - labels.keys()):
        findings.append(Finding(kind, name, escaped(str(images[name])), 0, "no label file has this name"))
    if missing_is_empty and images and not labels:
        findings.append(Finding("nothing-labelled", "", escaped(str(data_dir)), 0, "no picture has a label file"))
    findings += _without_picture(
        [(name, labels[name]) for name in sorted(labels.keys() - images.keys())], images.values()
    )
    if len(parts) == 2:
        for name in sorted(parts["train"].members.keys() & parts["val"].members.keys()):
            path, line = parts["val"].path, parts["val"].members[name]
            what = f"'{escaped(name)}' is in {escaped(parts['train'].path.name)} too"
            findings.append(Finding("both-lists", name, escaped(str(path)), line, what))
    pairs = _pair_up(images, labels, parts, others)
    return DataLayout(data_dir, pairs, parts, others, findings, label_reader(dataset, data_dir), missing_is_empty)


def picture_name_fault(name: str) -> str:
    """Why lists cannot hold the name of a picture; "" for a good one."""
    try:
        check_picture_name(name)
    except ValueError as error:
        return str(error).rpartition("; ")[0]
    return ""


def read_members(path: Path, images: Mapping[str, Path]) -> tuple[dict[str, int], list[Finding]]:
    """The pictures that a list names: {name: line}, and what is wrong with other lines."""
    faults: list[LabelError] = []
    try:
        entries = read_names(path, faults.append)
    except LabelError as error:  # the whole list
        entries, faults = {}, [error]
    members = {}
    findings = [Finding("bad-list", "", escaped(str(path)), fault.line, escaped(fault.reason)) for fault in faults]
    for entry, line in entries.items():
        name = find_name(entry, images)
        if name is not None:
            members.setdefault(name, line)
        else:
            what = f"no picture named '{escaped(entry)}'"
            findings.append(Finding("bad-list", "", escaped(str(path)), line, what))
    return members, findings


def _pair_up(images: Paths, labels: Paths, parts: dict[str, Part], others: list[Part]) -> list[Pair]:
    """The pictures with their labels; labels without a picture are read by nobody."""
    part_of = {name: part for part in reversed(parts) for name in parts[part].members}  # of both lists the first counts
    named = {name for part in others for name in part.members}
    pairs = []
    for name in sorted(images):
        # Without a training list what is not in the other one trains; lists beside them are scored by --split.
        role = part_of.get(name) or ("train" if "train" not in parts else "val" if name in named else "")
        pairs.append(Pair(name, images[name], labels.get(name), part_of.get(name, ""), role))
    return pairs


def _find_files(dataset: str, data_dir: Path, findings: list[Finding]) -> tuple[Paths, Paths, dict[str, Part]]:
    """Pictures and labels, {name: path}; and the parts that DOTA's folders make."""
    images: Paths = {}
    labels: Paths = {}
    parts: dict[str, Part] = {}
    suffix = ".txt" if dataset in LABELTXT else get_format(dataset).label_path(data_dir, "name").suffix
    folders = _folders(dataset, data_dir)
    for part, image_dir, label_dir in folders:
        found, elsewhere = [], names_of_val(image_dir.parent) if part else frozenset()
        for path in _files(image_dir, IMAGE_SUFFIXES):
            if path.stem in elsewhere:
                continue
            first = images.setdefault(path.stem, path)
            found.append(path.stem)
            if first is not path:
                where = first.name if first.parent == path.parent else first
                what = f"has the same name as {where}" + " but for the suffix" * (first.parent == path.parent)
                findings.append(Finding("same-name", path.stem, escaped(str(path)), 0, escaped(what)))
        for path in dead_links([image_dir]):
            findings.append(Finding("dead-link", "", escaped(str(path)), 0, DEAD))
        labels |= {path.stem: path for path in _files(label_dir, {suffix.lower()}) if path.stem not in elsewhere}
        if part:
            parts[part] = Part(image_dir.parent, dict.fromkeys(found, 0))
    for path in get_format(dataset).unread(data_dir):
        findings.append(Finding("unread-folder", "", escaped(str(path)), 0, "nothing reads the pictures in it"))
    if not images:
        raise ImageError(no_picture_in(folders[0][1]))
    unlabelled = images.keys() - labels.keys()
    for name in sorted(labels.keys() - images.keys()) if unlabelled else ():  # as `file_in` finds them
        if picture := spelling_in(unlabelled, name):
            labels[picture] = labels.pop(name)
    return images, labels, parts


def _folders(dataset: str, data_dir: Path) -> list[tuple[str, Path, Path]]:
    """The part ("" for none), folder of pictures and folder of labels; a part of DOTA's without labels, its test, is
    left out: nothing reads it."""
    reader = get_format(dataset)
    parts = parts_of(data_dir) if dataset in LABELTXT else (data_dir,)
    if parts == (data_dir,):
        return [("", reader.image_dir(data_dir), reader.label_path(data_dir, "name").parent)]
    labelled = [part for part in parts if label_dir_in(part).is_dir()] or parts
    return [(ROLES[part.name], part / IMAGES, label_dir_in(part)) for part in labelled]


def _read_parts(lists_dir: Path, images: Paths, findings: list[Finding]) -> tuple[dict[str, Part], list[Part]]:
    """The lists that training would read in a folder, and the others there: every text that names a picture, since
    --split takes any name."""
    parts, others = {}, []
    for part, names in LISTS_OF.items():
        for path in (lists_dir / name for name in names if (lists_dir / name).is_file()):
            members, missing = read_members(path, images)
            findings += missing
            if part in parts:
                others.append(Part(path, members))
            else:
                parts[part] = Part(path, members)
    known = {*TRAIN_LISTS, *VAL_LISTS, "classes.txt"}
    for path in sorted(lists_dir.glob("*.txt")):
        if path.name in known or path.name.startswith(".") or path.stem in images or not path.is_file():
            continue  # one that is called like a picture holds its labels
        members, missing = read_members(path, images)
        if members:
            findings += missing
            others.append(Part(path, members))
        else:
            findings.append(Finding("other-text", "", escaped(str(path)), 0, "no line names a picture"))
    return parts, others


def _without_picture(labels: Sequence[tuple[str, Path]], pictures: Iterable[Path]) -> list[Finding]:
    """The findings of label files, by name, that have no picture among `pictures`; one of a kind that is not read
    (.gif, .heic) may lie beside these."""
    folders = sorted({path.parent for path in pictures}) if labels else []
    others = (path for folder in folders for path in folder.iterdir() if path.suffix.lower() not in _OF_OTHER_USE)
    strange = {path.stem: path.name for path in others if path.is_file()}
    kinds = {name: f"{file_name} is of a kind that is not read; save it as PNG" for name, file_name in strange.items()}
    return [
        Finding("no-picture", name, escaped(str(path)), 0, kinds.get(name, "no picture has this name"))
        for name, path in labels
    ]


def _find_yolo(dataset: str, data_dir: Path, findings: list[Finding]) -> tuple[Paths, Paths, dict[str, Part]]:
    """As `_find_files`, with parts, of a folder in Ultralytics' layout. Two pictures of one name raise ValueError."""
    from datasets.label_formats.yolo_folder import label_of, open_yolo

    folder = open_yolo(data_dir)
    if not folder.images:
        raise ImageError(no_picture_in(data_dir))
    labels = {name: path for name, image in folder.images.items() if (path := label_of(image)).is_file()}
    findings += _without_picture(
        [(path.stem, path) for path in folder.labels_without_picture()], folder.images.values()
    )
    for path in folder.missing:
        findings.append(Finding("no-test", "", escaped(str(path)), 0, "data.yaml names it for test"))
    for path in folder.unread_pictures():
        is_there = path.exists()
        kind, what = ("unlisted-picture", "no split names it") if is_there else ("dead-link", DEAD)
        findings.append(Finding(kind, "", escaped(str(path)), 0, what))
    parts = {
        part: Part(data_dir / part, dict.fromkeys(folder.splits[part], 0))
        for part in ("train", "val", "test")
        if folder.splits.get(part)
    }
    return folder.images, labels, parts


def _files(folder: Path, suffixes: set[str] | frozenset[str]) -> Iterator[Path]:
    """The files of a folder with one of the suffixes in any case, sorted; none of a folder that is not there."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    for name in sorted(names):
        if os.path.splitext(name)[1].lower() in suffixes:  # noqa: PTH122  a Path for each file of a hundred thousand is slow
            yield folder / name
