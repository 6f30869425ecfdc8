"""Annotated pictures of any known format -> samples. THE place where a dataset format gets its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.class_lists import dota_classes, nearest_dota_classes, of_known_classes, unknown_class
from datasets.format_detection import conversion_to_dota, xml_dir
from datasets.label_formats.annotations import file_in, is_unusable
from datasets.label_formats.dota_folder import label_dir_of, open_dota, unread_folders
from datasets.label_formats.xml_labels import read_annotation, read_hrsc, read_rolabelimg, turned_fault
from datasets.label_formats.yolo_folder import label_of, open_yolo, picture_in
from datasets.label_formats.yolo_obb import read_yolo_obb
from datasets.picture_files.image_folders import find_images
from DOTA_devkit.labels import (
    EVERY_CLASS,
    IGNORE_FLAG,
    IGNORED_CLASS,
    NO_LABELS,
    LabelError,
    Labels,
    OnBad,
    read_class_names,
    read_labels,
    report_faults,
)

DEGREES = "the angle is beyond a full turn of 2 pi: degrees? roLabelImg's are radians, so multiply them by pi / 180"
Read = Callable[[Path, OnBad], Labels]  # of one label file


class NoClassError(ValueError):
    """Nothing tells what the classes are; the message names the folder."""


@dataclass(frozen=True)
class Sample:
    """One annotated picture.

    quads (N, 4, 2) float32 in pixels of the picture, labels (N,) int64 (-1: an ignore region of every class),
    difficult (N,) int64: 0 normal, 1 difficult (trained on, not scored), 2 an ignore region of its own class.
    """

    image_path: Path
    quads: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray

    @property
    def name(self) -> str:
        return self.image_path.stem

    @property
    def ignored(self) -> np.ndarray:
        """(N,) bool: regions that are neither objects nor background."""
        return (self.labels == EVERY_CLASS) | (self.difficult == IGNORE_FLAG)


class Format(NamedTuple):
    """How a dataset lies on the disk.

    `image_dir(data_dir)` holds the pictures; `label_path(data_dir, name)` is the label file of a picture;
    `read(path, on_bad)` parses it, and where the file alone does not tell all, so does what `reader_in(data_dir)`
    gives; `class_names(data_dir, label files)` are its classes where the user names none.
    `images(data_dir)` are the pictures by name, where they do not all lie in one folder; `splits(data_dir)` are the
    names that the format itself has for `train`, `val` and `test`, {} where it has no such thing; `missing(data_dir)`
    are the places where it tells of test pictures and there are none. In some formats a picture without a label file is
    one without objects (`missing_is_empty`); `orphans(data_dir)` are the label files there that have no picture;
    `unread(data_dir)` are folders of pictures there that nothing reads.
    """

    image_dir: Callable[[Path], Path]
    label_path: Callable[[Path, str], Path]
    read: Read
    class_names: Callable[[Path, Sequence[Path]], tuple[str, ...]]
    images: Callable[[Path], dict[str, Path]] | None = None
    reader_in: Callable[[Path], Read] | None = None
    splits: Callable[[Path], dict[str, list[str]]] = lambda data_dir: {}
    missing: Callable[[Path], Sequence[Path]] = lambda data_dir: ()
    orphans: Callable[[Path], Sequence[Path]] = lambda data_dir: ()
    unread: Callable[[Path], Sequence[Path]] = lambda data_dir: ()
    missing_is_empty: bool = False


def list_images(dataset: str, data_dir: Path) -> dict[str, Path]:
    """All pictures of a data folder: {name without suffix: path}."""
    reader = get_format(dataset)
    return reader.images(data_dir) if reader.images else find_images(reader.image_dir(data_dir))


def label_reader(dataset: str, data_dir: Path) -> Read:
    """What reads a label file of a data folder; it can be sent to other processes."""
    reader = get_format(dataset)
    return reader.reader_in(data_dir) if reader.reader_in else reader.read


def read_classes(dataset: str, data_dir: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The class names of a data folder: its classes.txt, else what the format knows."""
    listed = data_dir / "classes.txt"
    if listed.is_file():
        return read_class_names(listed)
    reader = get_format(dataset)
    return reader.class_names(data_dir, [reader.label_path(data_dir, name) for name in names])


def read_samples(
    dataset: str,
    data_dir: Path,
    names: Sequence[str],
    class_names: Sequence[str],
    *,
    on_bad_label: OnBad = None,
    missing_labels: str = "error",
    left_out: Counter[str] | None = None,
) -> list[Sample]:
    """The named pictures with their objects. Those of the classes that `left_out` has are background, and counted
    there.

    Bad and missing labels are treated as `read_objects` does; `missing_labels="empty"` takes a picture without a label
    file as one without objects, "error" raises.
    """
    reader, images = get_format(dataset), list_images(dataset, data_dir)
    index = {name: label for label, name in enumerate(class_names)} | {IGNORED_CLASS: EVERY_CLASS}
    read = partial(read_known, label_reader(dataset, data_dir), index, left_out)
    samples = []
    for name in names:
        path = reader.label_path(data_dir, name)
        is_empty = missing_labels == "empty" or reader.missing_is_empty
        labels = read_objects(images[name], path, read, on_bad_label, missing_is_empty=is_empty)
        if labels is not None:
            numbers = np.array([index[name] for name in labels.names], np.int64)
            samples.append(Sample(images[name], labels.quads.astype(np.float32), numbers, labels.difficult))
    return samples


def read_objects(
    image_path: Path, label_path: Path, read: Read, on_bad: OnBad, *, missing_is_empty: bool
) -> Labels | None:
    """The labels of a picture. A bad one raises LabelError with file and line; with `on_bad` it is reported there and
    left out. None, reported there too, where no label of the file can be used: without objects the picture would teach
    that what it shows is background. A file that is missing raises LabelError, unless it means that there are none.
    """
    if not label_path.exists():
        if missing_is_empty:
            return NO_LABELS
        remedy = "write one (an empty file means no objects), or give --missing_labels empty"
        raise LabelError(label_path, 1, f"no label file for the picture {image_path.name}; {remedy}")
    if on_bad is None:
        return read(label_path, None)
    faults: list[LabelError] = []
    try:
        labels = read(label_path, faults.append)
    except LabelError as error:  # of the whole file
        faults, labels = [error], NO_LABELS
    if is_unusable(labels, faults):
        first = faults[0]
        on_bad(LabelError(first.path, first.line, f"{first.reason}; {image_path.name} is left out"))
        return None
    report_faults(faults, on_bad)
    return labels


def read_known(
    read: Read, class_names: Collection[str], left_out: Counter[str] | None, label_path: Path, on_bad: OnBad
) -> Labels:
    """The objects in a label file, read by `read`, that are of known classes; those of classes that `left_out` has are
    counted there, any other is a bad label."""
    labels = read(label_path, on_bad)
    if left_out:
        left_out.update(name for name in labels.names if name in left_out)
        labels = labels.at([row for row, name in enumerate(labels.names) if name not in left_out])
    return of_known_classes(labels, class_names, label_path, partial(unknown_class, class_names=class_names), on_bad)


def get_format(dataset: str) -> Format:
    """The registered format of this name. Raises ValueError with the known names."""
    if dataset == "coco":
        raise ValueError(f"COCO's JSON is not trained on as it is; {conversion_to_dota('FOLDER', 'coco')}")
    if dataset not in FORMATS:
        raise ValueError(f"unknown dataset '{dataset}'; known: {', '.join(['auto', *FORMATS])}")
    return FORMATS[dataset]


def _dota_classes(data_dir: Path, label_paths: Sequence[Path]) -> tuple[str, ...]:
    found = names_found(label_paths, read_labels)
    return dota_classes(found) or nearest_dota_classes(found)


def _found_classes(data_dir: Path, label_paths: Sequence[Path]) -> tuple[str, ...]:
    """The names that stand in the label files, sorted."""
    found = names_found(label_paths, read_rolabelimg)
    if not found:
        _refuse_unreadable(label_paths)
        raise NoClassError(f"{data_dir}: no label names a class; write classes.txt with one name a line")
    return tuple(sorted(found))


def _refuse_unreadable(label_paths: Sequence[Path]) -> None:
    """Raises the LabelError of the first of files none of which can be read."""
    faults: list[LabelError] = []
    for path in filter(Path.exists, label_paths):
        try:
            read_rolabelimg(path, lambda error: None)
        except LabelError as error:
            faults.append(error)
        else:
            return
    report_faults(faults, None)


def names_found(label_paths: Sequence[Path], read: Read) -> set[str]:
    """The class names that stand in label files, as far as these are there and can be read."""
    found: set[str] = set()
    for path in label_paths:
        if path.exists():
            with suppress(LabelError):  # of a whole file; told of when the samples are read
                found.update(read(path, lambda error: None).names)
    return found - {IGNORED_CLASS}


def _yolo_classes(data_dir: Path, label_paths: Sequence[Path]) -> tuple[str, ...]:
    names = tuple(name for name in open_yolo(data_dir).class_names if name != IGNORED_CLASS)
    if not names:
        raise ValueError(f"{data_dir}: nothing names the classes; write a data.yaml with names")
    return names


def _yolo_reader(data_dir: Path) -> Read:
    """The data.yaml that was opened may lie elsewhere than beside the labels, and something else beside them."""
    return partial(read_yolo_obb, class_names=open_yolo(data_dir).class_names)


def _yolo_label_path(data_dir: Path, name: str) -> Path:
    image_path = open_yolo(data_dir).images.get(name, data_dir / "images" / f"{name}.jpg")
    return label_of(image_path)


def _image_dir(data_dir: Path) -> Path:
    return next((data_dir / name for name in ("images", "JPEGImages") if (data_dir / name).is_dir()), data_dir)


def _rolabelimg_reader(data_dir: Path) -> Read:
    return partial(_read_upright, image_dir=_image_dir(data_dir))


def _read_upright(path: Path, on_bad: OnBad = None, *, image_dir: Path) -> Labels:
    """Objects of a roLabelImg file as `read_rolabelimg` gives them, but for angles that must be degrees; raises
    LabelError in any case for boxes that were drawn on the picture as EXIF turns it."""
    annotation = read_annotation(path, on_bad)
    image_path = picture_in(image_dir, path.stem) if annotation.hw else None
    fault = turned_fault(annotation, image_path) if image_path else None
    if fault:
        raise LabelError(path, 1, fault)
    labels = annotation.labels
    report_faults([LabelError(path, int(labels.lines[row]), DEGREES) for row in annotation.wide_angles], on_bad)
    return labels.at(np.setdiff1d(np.arange(len(labels.names)), annotation.wide_angles))


_DOTA = Format(
    image_dir=lambda data_dir: data_dir / "images",
    label_path=lambda data_dir, name: file_in(label_dir_of(data_dir, name), name, ".txt"),
    read=read_labels,
    class_names=_dota_classes,
    images=lambda data_dir: open_dota(data_dir).images,
    splits=lambda data_dir: open_dota(data_dir).splits,
    unread=unread_folders,
)

FORMATS: dict[str, Format] = {
    "demo": _DOTA,
    "dota": _DOTA,
    "hrsc": Format(
        image_dir=lambda data_dir: data_dir / "AllImages",
        label_path=lambda data_dir, name: file_in(data_dir / "Annotations", name, ".xml"),
        read=read_hrsc,
        class_names=lambda data_dir, label_paths: ("ship",),
    ),
    "rolabelimg": Format(
        image_dir=_image_dir,
        label_path=lambda data_dir, name: file_in(xml_dir(data_dir), name, ".xml"),
        read=read_rolabelimg,
        reader_in=_rolabelimg_reader,
        class_names=_found_classes,
    ),
    "yolo_obb": Format(
        image_dir=lambda data_dir: data_dir / "images",
        label_path=_yolo_label_path,
        read=read_yolo_obb,
        class_names=_yolo_classes,
        images=lambda data_dir: open_yolo(data_dir).images,
        reader_in=_yolo_reader,
        splits=lambda data_dir: open_yolo(data_dir).splits,
        missing=lambda data_dir: open_yolo(data_dir).missing,
        orphans=lambda data_dir: open_yolo(data_dir).labels_without_picture(),
        missing_is_empty=True,
    ),
}
