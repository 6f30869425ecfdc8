"""Ultralytics' YOLO OBB: a line `class x1 y1 x2 y2 x3 y3 x4 y4` an object, read and written.

`class` is a number that data.yaml names; corners are fractions of the picture's width and height.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.image_sizes import read_header
from datasets.images import ImageError
from datasets.label_formats.annotations import (
    IGNORED_CLASS,
    AnnotatedSet,
    Ledger,
    Picture,
    Row,
    Track,
    as_labels,
    sound_rows,
    take,
)
from datasets.label_formats.data_yaml import FILE_NAME, write_data_yaml
from datasets.label_formats.yolo_folder import class_names_of, label_of, open_yolo, picture_of
from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.labels import NO_LABELS, LabelError, Labels, OnBad, numbered_lines, report_faults

FARTHEST_FRACTION = 10.0  # picture sizes; what lies beyond was given in pixels
NO_PICTURE = "has no picture of this name in the folder images in place of labels; add it or remove the file"
IGNORED = "ignore regions (DontCare, difficult 2), which YOLO cannot hold; --drop_ignored leaves them out as asked"
DROPPED = "ignore regions (DontCare, difficult 2) were left out, as asked"
DIFFICULT = "difficult objects became normal ones, because YOLO has no such flag"
BEYOND = f"objects farther than {FARTHEST_FRACTION:g} picture sizes from their picture, which YOLO cannot hold"
UNLISTED = "pictures of no split lie in images/rest, which data.yaml does not name"
NO_TEST = "entries of data.yaml for test pictures were passed over, such as {}, which is not there"
NO_SPLIT = "no split is known: val repeats train; tools.split_train_val makes one"


def read_yolo_obb(path: Path, on_bad: OnBad = None, class_names: Sequence[str] | None = None) -> Labels:
    """Objects of a label file, quads (N, 4, 2) in pixels of its picture, which must lie where Ultralytics looks for it:
    in `images` in place of `labels`. Names are `class_names`, those of the data.yaml that led to the file; without
    them those of the data.yaml, else of the classes.txt, in the folder of `labels`.

    Raises LabelError for a line that cannot be used, or reports to `on_bad` and leaves it out; raises it in any case
    where the size of the picture or the class names are not to be had.
    """
    faults: list[LabelError] = []
    rows: list[Row] = []
    lines = _lines(path, faults)
    labels = NO_LABELS
    if lines:
        height, width = _stored_size(path)
        class_names = class_names or class_names_of(path)
        for number, words in lines:
            try:
                quad, name = _parse(words, class_names)
            except ValueError as error:
                faults.append(LabelError(path, number, str(error)))
                continue
            rows.append(Row(quad * (width, height), name, 0, number))
        labels = as_labels(sound_rows(path, rows, faults))
    report_faults(faults, on_bad)
    return labels


def read_yolo_folder(
    data_dir: Path, on_bad: OnBad = None, track: Track = iter, changed: Counter[str] | None = None
) -> AnnotatedSet:
    """All pictures of a folder, those without a label file as pictures without objects, as Ultralytics takes them;
    label files without a picture are faults. Folders of test pictures that are missing are counted in `changed`."""
    folder = open_yolo(data_dir)
    if folder.missing and changed is not None:
        changed[NO_TEST.format(folder.missing[0])] += len(folder.missing)
    split_of = {name: split for split in reversed(folder.splits) for name in folder.splits[split]}
    pictures = []
    faults = [LabelError(path, 1, NO_PICTURE) for path in folder.labels_without_picture()]
    for name, path in track(list(folder.images.items())):
        label_path = label_of(path)
        try:
            labels = read_yolo_obb(label_path, on_bad, folder.class_names) if label_path.exists() else NO_LABELS
        except LabelError as error:
            faults.append(error)
            continue
        pictures.append(Picture(name, labels, path.name, None, split_of.get(name, ""), path))
    report_faults(faults, on_bad)
    return AnnotatedSet(pictures, folder.class_names)


def keep_holdable(annotated: AnnotatedSet, ledger: Ledger, drop_ignored: bool = False) -> AnnotatedSet:
    """The set without what YOLO cannot hold: ignore regions, left out as asked if `drop_ignored`, and objects far
    outside their picture. Difficult objects stay, as normal ones. Pictures must know their size."""
    pictures = [picture._replace(labels=_holdable(picture, ledger, drop_ignored)) for picture in annotated.pictures]
    return annotated._replace(pictures=pictures)


def write_yolo_obb(dst: Path, annotated: AnnotatedSet, ledger: Ledger) -> None:
    """Write `labels/<split>/<name>.txt` and `data.yaml` of what `keep_holdable` has left. Reading gives the same
    pixels, to the last bit where fractions can."""
    splits = {picture.split for picture in annotated.pictures}
    folder_of = {split: split or ("rest" if len(splits) > 1 else "train") for split in splits}
    class_names = [name for name in annotated.class_names if name != IGNORED_CLASS]
    numbers = {name: number for number, name in enumerate(class_names)}
    for picture in annotated.pictures:
        height, width = picture.hw
        with atomic_write(dst / "labels" / folder_of[picture.split] / f"{picture.name}.txt", sync=False) as file:
            for quad, name in zip(picture.labels.quads.tolist(), picture.labels.names, strict=True):
                words = [f"{_fraction(x, width)} {_fraction(y, height)}" for x, y in quad]
                file.write(f"{numbers[name]} {' '.join(words)}\n")
    if len(splits) > 1 and "" in splits:
        ledger.changed[UNLISTED] += sum(picture.split == "" for picture in annotated.pictures)
    folders = {split: f"images/{split}" for split in ("train", "val", "test") if split in folder_of.values()}
    remarks = [
        "YOLO OBB: labels/<split>/<picture>.txt, one object a line: class x1 y1 x2 y2 x3 y3 x4 y4,",
        "corners as fractions of the picture's width and height.",
    ]
    if "val" not in folders:
        remarks.append(NO_SPLIT if len(folders) == 1 else "no val is known: it repeats another split")
        folders["val"] = folders.get("test") or folders.get("train", "images/train")
    folders.setdefault("train", folders["val"])
    write_data_yaml(dst / FILE_NAME, class_names, {key: folders[key] for key in sorted(folders, key=_order)}, remarks)


def yolo_image_folder(annotated: AnnotatedSet, picture: Picture) -> str:
    """Where `write_yolo_obb` expects a picture, below the data folder."""
    has_splits = any(item.split for item in annotated.pictures)
    return f"images/{picture.split or ('rest' if has_splits else 'train')}"


def _order(split: str) -> int:
    return ("train", "val", "test").index(split)


def _lines(path: Path, faults: list[LabelError]) -> list[tuple[int, list[str]]]:
    try:
        return [(number, line.split()) for number, line in numbered_lines(path, faults) if line.strip()]
    except OSError as error:
        raise LabelError(path, 1, f"cannot be read ({error.strerror or error}); check the path") from error


def _stored_size(label_path: Path) -> tuple[int, int]:
    """Height and width of the picture of a label file. Raises LabelError where they are not to be had."""
    picture = picture_of(label_path)
    if picture is None:
        raise LabelError(label_path, 1, NO_PICTURE)
    try:
        header = read_header(picture)
    except ImageError as error:
        raise LabelError(label_path, 1, f"the size of its picture is not to be had: {error}") from error
    if header.orientation not in (0, 1):
        why = f"its picture {picture.name} is turned by EXIF (orientation {header.orientation}), but read as stored"
        raise LabelError(label_path, 1, f"{why}; save the picture upright")
    return header.height, header.width


def _parse(words: list[str], class_names: Sequence[str]) -> tuple[np.ndarray, str]:
    """Corners as fractions and the class name. Raises ValueError with what is wrong and what to do."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise ValueError("a word is not a number; a line is: class x1 y1 x2 y2 x3 y3 x4 y4") from None
    if len(values) != 9:
        kinds = {5: " (a horizontal box of YOLO detection)", 6: " (a horizontal box of YOLO detection, and its score)"}
        kind = kinds.get(
            len(values), " (an outline of YOLO segmentation)" if len(values) % 2 and len(values) > 6 else ""
        )
        why = f"{len(values)} numbers{kind}, where an oriented box has 9"
        raise ValueError(f"{why}; write class x1 y1 x2 y2 x3 y3 x4 y4")
    number, corners = values[0], np.array(values[1:]).reshape(4, 2)
    if not (np.isfinite(number) and number % 1 == 0 and 0 <= number < len(class_names)):
        raise ValueError(
            f"class {words[0]} has no name; data.yaml names 0 to {len(class_names) - 1}; correct one of them"
        )
    if not (np.abs(corners) <= FARTHEST_FRACTION).all():  # nor is NaN
        raise ValueError("a corner is no fraction of the picture's size; divide pixels by its width and height")
    return corners, class_names[int(number)]


def _holdable(picture: Picture, ledger: Ledger, drop_ignored: bool) -> Labels:
    """The objects that YOLO can hold, as normal ones; the others and the flags that get lost go to the ledger."""
    labels, kept = picture.labels, []
    height, width = picture.hw
    for index, (name, flag) in enumerate(zip(labels.names, labels.difficult.tolist(), strict=True)):
        if name == IGNORED_CLASS or flag == 2:
            if drop_ignored:
                ledger.changed[DROPPED] += 1
            else:
                ledger.left_out[IGNORED] += 1
        elif (np.abs(labels.quads[index] / (width, height)) > FARTHEST_FRACTION).any():
            ledger.left_out[BEYOND] += 1
        else:
            kept.append(index)
            if flag == 1:
                ledger.changed[DIFFICULT] += 1
    return take(labels, np.array(kept, np.int64))._replace(difficult=np.zeros(len(kept), np.int64))


def _fraction(pixel: float, side: int) -> str:
    """The shortest number from six digits on that times `side` is `pixel` again, or else the nearest one.

    So numbers that came from YOLO files are found again, and what was written once is written the same for ever.
    """
    fraction = pixel / side
    for digits in range(6, 18):
        text = f"{fraction:.{digits}g}"
        if float(text) * side == pixel:
            return text
    return repr(fraction).removesuffix(".0")
