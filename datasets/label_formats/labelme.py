"""labelme's JSON, one file a picture, and that of its descendants AnyLabeling and X-AnyLabeling, read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from datasets.label_formats.annotations import (
    Picture,
    Row,
    as_labels,
    clean_name,
    name_in_list,
    outline_to_quad,
    shown,
    sound_rows,
)
from datasets.label_formats.json_documents import (
    difficult_flag,
    fields_of,
    number,
    picture_hw,
    read_document,
)
from DOTA_devkit.labels import LabelError, OnBad, report_faults

FOUR_CORNERS = ("rectangle", "rotation", "oriented_rectangle", "quadrilateral")


def read_labelme(path: Path, on_bad: OnBad = None, changed: Counter[str] | None = None) -> Picture:
    """The picture that a labelme file describes, named as the file is (`1.json`, or `1.png.json` as some write it);
    `imagePath` is not believed.

    Shapes: `polygon` (four points; of another number the minimum-area rectangle, counted in `changed`), `rectangle`
    (two opposite corners, or four), `rotation` and `quadrilateral` of X-AnyLabeling and `oriented_rectangle` of labelme
    (four corners). A flag `difficult`, of the shape or among its `flags`, is read. Raises LabelError for a file or
    shape that cannot be used, or reports to `on_bad` and leaves it out.
    """
    faults: list[LabelError] = []
    rows: list[Row] = []
    document = read_document(path)
    for line, shape in document.entries("shapes"):
        try:
            rows.append(_row(shape, line, Counter() if changed is None else changed))
        except ValueError as error:
            faults.append(LabelError(path, line, str(error)))
    rows = sound_rows(path, rows, faults)
    report_faults(faults, on_bad)
    name = name_in_list(path, 1, path.stem)
    return Picture(name, as_labels(rows), hw=picture_hw(document.fields, "imageHeight", "imageWidth"))


def _row(shape: Any, line: int, changed: Counter[str]) -> Row:
    fields = fields_of(shape, "the shape")
    kind = fields.get("shape_type") or "polygon"  # which early versions do not write
    name = clean_name(fields.get("label"))
    points = _points(fields.get("points"))
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = np.sort(points, axis=0)
        quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    elif kind == "polygon":
        quad = outline_to_quad(points, changed)
    elif kind not in FOUR_CORNERS:
        raise ValueError(f"a shape of kind {shown(kind)} is no box; draw a polygon, a rectangle or a rotated box")
    elif len(points) == 4:
        quad = np.array(points)
    else:
        raise ValueError(f"a box of kind '{kind}' with {len(points)} points; draw the box again")
    flags = fields.get("flags")
    flag = fields.get("difficult", flags.get("difficult") if isinstance(flags, dict) else None)
    return Row(quad, name, difficult_flag(flag), line)


def _points(value: Any) -> list[list[float]]:
    if not isinstance(value, list):
        raise ValueError(f'"points" is {shown(value)}, not a list of points; draw the shape again')
    for point in value:
        if not isinstance(point, list) or len(point) != 2:
            raise ValueError("a point is not a list of two numbers; draw the shape again")
    return [[number(place, "a coordinate") for place in point] for point in value]
