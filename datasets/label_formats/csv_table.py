"""A table of objects (CSV), as spreadsheets and data frames open it: an object a row, its centre, sides and angle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture, names_file
from DOTA_devkit.atomic import write_csv
from DOTA_devkit.boxes import quads_to_boxes
from DOTA_devkit.labels import IGNORE_FLAG

SUFFIXES = (".csv",)
FILE_NAME = "objects.csv"
COLUMNS = (
    *("image", "class", "score", "difficult", "center_x", "center_y", "length", "width", "angle_degrees"),
    *("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4", "split"),
)
EMPTY = "pictures without objects have no row"


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
