"""labelme's JSON, one file a picture, and that of its descendants AnyLabeling and X-AnyLabeling, read and written."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datasets.label_formats.annotations import (
    AnnotatedSet,
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
from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.labels import IGNORE_FLAG, LabelError, OnBad, report_faults

DIGITS, CLOSE = 6, 0.05  # of a pixel; pixels by which a rectangle may be none
IGNORED = "ignore_region"  # a flag of ours, beside `difficult`, which knows yes and no alone
FOUR_CORNERS = ("rectangle", "rotation", "oriented_rectangle", "quadrilateral")


def read_labelme(path: Path, on_bad: OnBad = None, changed: Counter[str] | None = None) -> Picture:
    """The picture that a labelme file describes, named as the file is (`1.json`, or `1.png.json` as some write it);
    `imagePath` is not believed.

    Shapes: `polygon` (four points; of another number the minimum-area rectangle, counted in `changed`), `rectangle`
    (two opposite corners, or four), `rotation` and `quadrilateral` of X-AnyLabeling and `oriented_rectangle` of labelme
    (four corners). A flag `difficult`, of the shape or among its `flags`, is read, and `ignore_region`, which
    `write_labelme` sets. Raises LabelError for a file or shape that cannot be used, or reports to `on_bad` and leaves
    it out.
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


def write_labelme(dst: Path, annotated: AnnotatedSet, shape_type: Literal["polygon", "rotation"] = "polygon") -> None:
    """Write `<name>.json` for every picture, with the path of the picture from there on. labelme knows polygons;
    X-AnyLabeling's `rotation` can be turned there, and has a `direction`: the angle of the first side, in radians,
    clockwise on the screen, 0 to 2 pi. What is no rectangle is a polygon in both. The score of a prediction stands in
    `score`."""
    for picture in annotated.pictures:
        height, width = picture.hw or (None, None)
        document = {
            "version": "5.5.0",
            "flags": {},
            "shapes": [_shape(picture, row, shape_type) for row in range(len(picture.labels.names))],
            "imagePath": _image_path(picture, dst),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        with atomic_write(dst / f"{picture.name}.json", sync=False) as file:
            file.write(json.dumps(document, ensure_ascii=False, indent=1) + "\n")


def _shape(picture: Picture, row: int, shape_type: str) -> dict[str, Any]:
    quad, flag = picture.labels.quads[row], int(picture.labels.difficult[row])
    across, down = quad[1] - quad[0], quad[3] - quad[0]
    is_rectangle = max(*np.abs(quad[0] + quad[2] - quad[1] - quad[3]), abs(across @ down) / math.hypot(*across)) < CLOSE
    is_turned = shape_type == "rotation" and is_rectangle
    shape: dict[str, Any] = {
        "label": picture.labels.names[row],
        "score": None if picture.scores is None else round(float(picture.scores[row]), 6),
        "points": quad.round(DIGITS).tolist(),
        "group_id": None,
        "description": "",
        "difficult": flag > 0,
        "shape_type": "rotation" if is_turned else "polygon",
        "flags": {IGNORED: True} if flag == IGNORE_FLAG else {},
    }
    if is_turned:
        shape["direction"] = round(math.atan2(across[1], across[0]) % (2 * math.pi), DIGITS)
    return shape


def _image_path(picture: Picture, dst: Path) -> str:
    """Of the picture beside the file, else of where it lies, seen from there."""
    if picture.path is None:
        return picture.file_name or picture.name
    beside = f"{picture.name}{picture.path.suffix}"
    if (dst / beside).exists():
        return beside
    try:
        return Path(os.path.relpath(picture.path.resolve(), dst.resolve())).as_posix()
    except ValueError:  # on another drive
        return str(picture.path.resolve())


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
    flags = fields.get("flags") if isinstance(fields.get("flags"), dict) else {}
    flag = IGNORE_FLAG if flags.get(IGNORED) is True else fields.get("difficult", flags.get("difficult"))
    return Row(quad, name, difficult_flag(flag), line)


def _points(value: Any) -> list[list[float]]:
    if not isinstance(value, list):
        raise ValueError(f'"points" is {shown(value)}, not a list of points; draw the shape again')
    for point in value:
        if not isinstance(point, list) or len(point) != 2:
            raise ValueError("a point is not a list of two numbers; draw the shape again")
    return [[number(place, "a coordinate") for place in point] for point in value]
