"""A table of objects (CSV), read and written, as spreadsheets and data frames have it: an object a row."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
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
    flag_in,
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
from DOTA_devkit.labels import IGNORE_FLAG, LabelError, OnBad, numbered_lines, report_faults

SUFFIXES = (".csv",)
FILE_NAME = "objects.csv"
CORNERS = ("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")
BORDERS = ("xmin", "ymin", "xmax", "ymax")
SHORT_BOX = ("cx", "cy", "w", "h", "angle_degrees")
BOX = ("center_x", "center_y", "length", "width", "angle_degrees")
COLUMNS = ("image", "class", "score", "difficult", *BOX, *CORNERS, "split")
EMPTY = "pictures without objects have no row"
# By which columns an object is told; the first of which a table has all. With `cx`, `width` may be the picture's own.
PLACES = (CORNERS, BORDERS, SHORT_BOX, BOX)
WORDS = {"image": ("image", "filename", "file_name"), "class": ("class", "label")}
OPTIONAL = ("difficult", "score", "split")
_NUMBERS = {name for place in PLACES for name in place}
_KNOWN = {*_NUMBERS, *OPTIONAL, *(word for words in WORDS.values() for word in words)}
_WANTED = (
    "it names the columns: image, class, and x1, y1 to y4, or xmin, ymin, xmax, ymax, or cx, cy, w, h, angle_degrees"
)


def read_csv_table(path: Path, on_bad: OnBad = None, changed: Counter[str] | None = None) -> AnnotatedSet:
    """The pictures that have a row, in the order of their first.

    The first line names the columns, in any order and in small letters or capitals: those of `WORDS` and of one of
    `PLACES`, `difficult` and `split` (train, val, test or empty) where there are such. Pixels; angles are in degrees,
    clockwise on the screen, from +x to the side `w` or `length`. Between the fields stand commas, or tabs or
    semicolons, and then a comma may start the decimals. Scores are not read, which `changed` counts.

    Raises LabelError for what cannot be used, or reports it to `on_bad` and leaves it out; but always for a file that
    is no such table; ValueError for two pictures of one name in one folder.
    """
    changed = Counter() if changed is None else changed
    faults: list[LabelError] = []
    rows: dict[str, list[Row]] = {}  # by what the file calls the picture
    faults_of: dict[str, list[LabelError]] = {}
    splits: dict[str, str] = {}
    for line, fields in _records(path, faults):
        image = fields["image"]
        try:
            picture_name(image)
        except ValueError as error:
            faults.append(LabelError(path, line, str(error)))
            continue
        own, found = rows.setdefault(image, []), faults_of.setdefault(image, [])
        try:
            splits[image] = _split(fields.get("split", ""), splits.get(image, ""))
            own.append(Row(_quad(fields), clean_name(fields["class"]), _flag(fields.get("difficult", "")), line))
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
            pictures.append(Picture(name, labels, image, split=splits.get(image, "")))
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


def _records(path: Path, faults: list[LabelError]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, fields by `image`, `class` and the file's other words in small letters) of every row that has as many as
    the first line. Raises LabelError for what is no text, no CSV or has not the columns."""
    unread: list[LabelError] = []
    lines = [text for _, text in numbered_lines(path, unread)]
    if unread:
        raise unread[0]
    number = next((number for number, text in enumerate(lines) if text.strip() and not _tells_delimiter(text)), None)
    if number is None:
        raise LabelError(path, 1, f"the file has no first line; {_WANTED}")
    delimiter = max(",;\t", key=lambda mark: len(_KNOWN & {*_words(lines[number], mark)}))
    columns = _columns(path, number + 1, _words(lines[number], delimiter))
    table = csv.reader(
        (f"{text}\n" for text in lines[number + 1 :]), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    first = number + 2
    try:
        for words in table:
            line, first = first, number + 2 + table.line_num
            words = [word.strip() for word in words]
            if len(words) == len(columns):
                fields = dict(zip(columns, words, strict=True))
                if delimiter != ",":
                    fields |= {name: fields[name].replace(",", ".") for name in _NUMBERS & fields.keys()}
                yield line, fields
            elif any(words):
                faults.append(LabelError(path, line, f"{len(words)} fields of {len(columns)}; correct the line"))
    except csv.Error as error:
        raise LabelError(path, first, f"is no line of a CSV file ({error}); correct it") from error


def _tells_delimiter(text: str) -> bool:
    """Of a line that Excel reads, and does not show."""
    return text.lower().startswith("sep=")


def _words(text: str, delimiter: str) -> list[str]:
    """The fields of a heading, in small letters."""
    try:
        return [word.strip().lower() for word in next(csv.reader([text], delimiter=delimiter, skipinitialspace=True))]
    except csv.Error:
        return []


def _columns(path: Path, line: int, words: list[str]) -> list[str]:
    """The heading with our words for picture and class. Raises LabelError where a column is missing or there twice."""
    missing = []
    for name, spelt in WORDS.items():
        found = [word for word in words if word in spelt]
        if len(found) > 1:
            raise LabelError(path, line, f"the columns {' and '.join(found)} both tell the {name}; leave one of them")
        missing += [name] * (not found)
    if _place_in(words) is None:
        begun = max(PLACES, key=lambda place: len({*place} & {*words}))
        missing += [name for name in begun if name not in words]
    if missing:
        raise LabelError(path, line, f"the first line has no column {', '.join(missing)}; {_WANTED}")
    twice = [name for name in sorted(_KNOWN) if words.count(name) > 1]
    if twice:
        raise LabelError(path, line, f"more than one column {', '.join(twice)}; leave one of them")
    ours = {word: name for name, spelt in WORDS.items() for word in spelt}
    return [ours.get(word, word) for word in words]


def _place_in(words: Iterable[str]) -> tuple[str, ...] | None:
    """The columns by which a table with these tells an object; None where it does not."""
    there = {*words}
    return next((place for place in PLACES if {*place} <= there), None)


def _quad(fields: Mapping[str, str]) -> np.ndarray:
    place = _place_in(fields)
    values = [number_in(fields[name], name) for name in place]
    if place == CORNERS:
        return np.reshape(values, (4, 2))
    if place == BORDERS:
        left, top, right, bottom = values
        _check_sides(right - left, bottom - top)
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    *box, degrees = values
    _check_sides(*box[2:])
    return boxes_to_quads(np.array([[*box, math.radians(degrees % 360)]]), "rolabelimg")[0]


def _check_sides(length: float, width: float) -> None:
    """Raises ValueError for a box without an area."""
    if min(length, width) <= 0:
        raise ValueError(f"a box of {length:g} x {width:g} pixels; draw the box again")


def _flag(text: str) -> int:
    flag = flag_in(text)
    if flag is None:
        raise ValueError(f"difficult is {shown(text)}; it must be 0, 1 or 2")
    return flag


def _split(text: str, so_far: str) -> str:
    """The split of a picture, by one more of its rows."""
    split = ROLES.get(text.lower(), "")
    if text and not split:
        raise ValueError(f"split is {shown(text)}; it can be train, val, test or empty")
    if split and so_far and split != so_far:
        raise ValueError(f"split is {shown(text)}, and {so_far} in another row of this picture; a picture is in one")
    return split or so_far
