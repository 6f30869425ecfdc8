"""A table of objects (CSV), read and written, as spreadsheets and data frames have it: an object a row."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from datasets.label_formats.annotations import (
    ROLES,
    UNREAD_SCORES,
    AnnotatedSet,
    Ledger,
    Picture,
    Row,
    as_labels,
    clean_name,
    files_in,
    is_unusable,
    names_file,
    number_in,
    picture_name,
    shown,
    sound_rows,
    tell_apart,
    without_picture,
)
from datasets.picture_files.image_folders import folders_of
from DOTA_devkit.atomic import write_csv
from DOTA_devkit.boxes import boxes_to_quads, quads_to_boxes
from DOTA_devkit.labels import FLAGS, IGNORE_FLAG, LabelError, OnBad, numbered_lines, report_faults

SUFFIXES = (".csv",)
FILE_NAME = "objects.csv"
CORNERS = ("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")
BOX = ("center_x", "center_y", "length", "width", "angle_degrees")
BORDERS = ("xmin", "ymin", "xmax", "ymax")
COLUMNS = ("image", "class", "score", "difficult", *BOX, *CORNERS, "split")
EMPTY = "pictures without objects have no row"
# What others call columns of ours. A table with borders may tell the picture's own width and height.
OTHER_WORDS = {
    **{"filename": "image", "file_name": "image", "label": "class"},
    **{"cx": "center_x", "cy": "center_y", "w": "length", "h": "width"},
}
_NUMBERS = {*CORNERS, *BORDERS, *BOX}
_WANTED = f"image, class, and {', '.join(CORNERS[:2])} to {CORNERS[-1]}, or {', '.join(BOX)}, or {', '.join(BORDERS)}"


def read_csv_table(path: Path, on_bad: OnBad = None, changed: Counter[str] | None = None) -> AnnotatedSet:
    """The pictures that have a row, in the order of their first.

    The first line names the columns, in any order, those of `write_csv_table` or `OTHER_WORDS` for them. An object is
    told by its corners, else by the borders of an upright box, else by centre, sides and angle: pixels, the angle in
    degrees, clockwise on the screen, from +x to the side `length`. Commas stand between the fields, or tabs, or
    semicolons, and then a comma may start the decimals. Scores are not read, which `changed` counts.

    Raises LabelError for what cannot be used, or reports it to `on_bad` and leaves it out; ValueError for two pictures
    of one name in one folder.
    """
    changed = Counter() if changed is None else changed
    faults: list[LabelError] = []
    rows: dict[str, list[Row]] = {}  # by what the file calls the picture
    faults_of: dict[str, list[LabelError]] = {}
    splits: dict[str, str] = {}
    for line, fields in _lines(path, faults):
        image = fields["image"]
        try:
            picture_name(image)
        except ValueError as error:
            faults.append(LabelError(path, line, str(error)))
            continue
        own, found = rows.setdefault(image, []), faults_of.setdefault(image, [])
        splits.setdefault(image, ROLES.get(fields.get("split", "").lower(), ""))
        try:
            own.append(Row(_quad(fields), clean_name(fields["class"]), _flag(fields), line))
            changed[UNREAD_SCORES] += bool(fields.get("score"))
        except ValueError as error:
            found.append(LabelError(path, line, str(error)))
    pictures = []
    for image, own in rows.items():
        found, name = faults_of[image], picture_name(image)
        labels = as_labels(sound_rows(path, own, found))
        if is_unusable(labels, found):
            found.append(without_picture(path, int(found[-1].line), name))
        else:
            pictures.append(Picture(name, labels, image, split=splits[image]))
        faults += found
    report_faults(faults, on_bad)
    return AnnotatedSet(tell_apart(pictures, [folders_of(picture.file_name) for picture in pictures], path, changed))


def table_in(src: Path) -> Path:
    """The table itself, or the only one in a folder. Raises ValueError for none, or more than one."""
    if not src.is_dir():
        return src
    found = files_in(src, SUFFIXES[0])
    if len(found) != 1:
        raise ValueError(f"{src}: holds {len(found)} files *.csv; name the table itself")
    return found[0]


def write_csv_table(dst: Path, annotated: AnnotatedSet, ledger: Ledger) -> None:
    """Write one file, `dst` if it is called *.csv, else `objects.csv` in that folder.

    Pixels of the picture, with as many digits as a thousandth needs. length, width and angle are those of the
    minimum-area rectangle: length the longer side, whose angle from +x, clockwise on the screen, lies in [-90, 90)
    (le90). `image` is without its suffix, as in other tables here; `score` is empty but for predictions; `difficult` is
    2 of an ignore region; `split` is train, val, test or empty. A picture without objects has no row, which is counted.
    """
    ledger.changed[EMPTY] += sum(not picture.labels.names for picture in annotated.pictures)
    rows = (row for picture in annotated.pictures for row in rows_of(picture))
    write_csv(dst if names_file(dst, SUFFIXES) else dst / FILE_NAME, [COLUMNS, *rows])


def rows_of(picture: Picture) -> Iterator[tuple[object, ...]]:
    """A row for each object of the picture, with the `COLUMNS`."""
    labels = picture.labels
    scores = [""] * len(labels.names) if picture.scores is None else [f"{score:.4f}" for score in picture.scores]
    difficult = np.where(labels.ignored, IGNORE_FLAG, labels.difficult)
    fields = zip(labels.names, scores, difficult, as_boxes(labels.quads), labels.quads, strict=True)
    for name, score, flag, box, quad in fields:
        numbers = (f"{value:.3f}" for value in (*box, *quad.reshape(-1)))
        yield (picture.name, name, score, int(flag), *numbers, picture.split)


def as_boxes(quads: np.ndarray) -> np.ndarray:
    """Centre, length, width and angle in degrees of quads (n, 4, 2): (n, 5)."""
    boxes = quads_to_boxes(quads, "le90")
    degrees = np.round(np.rad2deg(boxes[:, 4]), 3)
    boxes[:, 4] = np.where(degrees < 90, degrees, -90)  # not rounded out of the range
    return boxes


def _lines(path: Path, faults: list[LabelError]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, fields by our names of the columns, and by others) of every row that has as many as the first line. Raises
    LabelError for a file without the columns that are needed."""
    columns: list[str] = []
    delimiter = ","
    for line, text in numbered_lines(path, faults):
        if not text.strip():
            continue
        if not columns:
            delimiter = max(",;\t", key=text.count)
        try:
            words = [word.strip() for word in next(csv.reader([text], delimiter=delimiter, strict=True))]
        except csv.Error as error:
            faults.append(LabelError(path, line, f"is no line of a CSV file ({error}); correct it"))
            continue
        if not columns:
            columns = _columns(path, line, words)
        elif len(words) != len(columns):
            faults.append(LabelError(path, line, f"{len(words)} fields of {len(columns)}; correct the line"))
        else:
            fields = dict(zip(columns, words, strict=True))
            if delimiter == ";":
                fields |= {name: fields[name].replace(",", ".") for name in _NUMBERS & fields.keys()}
            yield line, fields
    if not columns:
        raise LabelError(path, 1, f"the file is empty; its first line names the columns: {_WANTED}")


def _columns(path: Path, line: int, words: list[str]) -> list[str]:
    plain = [word.lower() for word in words]
    columns = [OTHER_WORDS.get(word, word) if OTHER_WORDS.get(word) not in plain else word for word in plain]
    place = next((place for place in (CORNERS, BORDERS) if {*place} <= {*columns}), BOX)
    missing = [name for name in ("image", "class", *place) if name not in columns]
    if missing:
        raise LabelError(path, line, f"no column {', '.join(missing)}; the first line names the columns: {_WANTED}")
    twice = [name for name in ("image", "class", *place) if columns.count(name) > 1]
    if twice:
        raise LabelError(path, line, f"more than one column {', '.join(twice)}; leave one of them")
    return columns


def _quad(fields: Mapping[str, str]) -> np.ndarray:
    place = next(place for place in (CORNERS, BORDERS, BOX) if {*place} <= fields.keys())
    values = [number_in(fields[name], name) for name in place]
    if place == CORNERS:
        return np.reshape(values, (4, 2))
    if place == BORDERS:
        left, top, right, bottom = values
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    *box, degrees = values
    if min(box[2:]) <= 0:
        raise ValueError(f"a box of {box[2]:g} x {box[3]:g} pixels; draw the box again")
    return boxes_to_quads(np.array([[*box, math.radians(degrees % 360)]]), "rolabelimg")[0]


def _flag(fields: Mapping[str, str]) -> int:
    text = fields.get("difficult") or "0"
    if text not in FLAGS:
        raise ValueError(f"difficult is {shown(text)}; it must be 0, 1 or 2")
    return FLAGS[text]
