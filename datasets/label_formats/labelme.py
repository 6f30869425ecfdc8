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
    UNREAD_SCORES,
    AnnotatedSet,
    Ledger,
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
from datasets.picture_files.image_folders import last_part
from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.labels import IGNORE_FLAG, LabelError, OnBad, report_faults

DIGITS = 6  # of a pixel
CLOSE = 1.0  # pixels by which the corners of a rectangle may be off: other formats round them
IGNORED = "ignore_region"  # a flag of ours, beside `difficult`, which knows yes and no alone
NO_RECTANGLE = "objects are no rectangles, and were written as polygons, which cannot be turned there"
FOUR_CORNERS = ("rectangle", "rotation", "oriented_rectangle", "quadrilateral")


def read_labelme(path: Path, on_bad: OnBad = None, changed: Counter[str] | None = None) -> Picture:
    """The picture that a labelme file describes, named as the file is (`1.json`, or `1.png.json` as some write it);
    of `imagePath` is believed what the file bears out.

    Shapes: `polygon` (four points; of another number the minimum-area rectangle, counted in `changed`), `rectangle`
    (two opposite corners, or four), `rotation` and `quadrilateral` of X-AnyLabeling and `oriented_rectangle` of labelme
    (four corners). A flag `difficult`, of the shape or among its `flags`, is read, and `ignore_region`, which
    `write_labelme` sets. Scores are not read, and counted. Raises LabelError for a file or shape that cannot be used,
    or reports to `on_bad` and leaves it out.
    """
    faults: list[LabelError] = []
    rows: list[Row] = []
    changed = Counter() if changed is None else changed
    document = read_document(path)
    for line, shape in document.entries("shapes"):
        try:
            rows.append(_row(shape, line, changed))
        except ValueError as error:
            faults.append(LabelError(path, line, str(error)))
    rows = sound_rows(path, rows, faults)
    report_faults(faults, on_bad)
    name, file_name = _name(path, document.fields.get("imagePath"))
    hw = picture_hw(document.fields, "imageHeight", "imageWidth")
    return Picture(name, as_labels(rows), file_name=file_name, hw=hw)


def write_labelme(
    dst: Path, annotated: AnnotatedSet, ledger: Ledger, shape_type: Literal["polygon", "rotation"] = "polygon"
) -> None:
    """Write `<name>.json` for every picture, with the path of the picture from there on.

    labelme knows polygons, and shows what stands in their `flags`: `difficult` is one of these. X-AnyLabeling's
    `rotation` can be turned there, and has a `direction`: the angle of the first side, in radians, clockwise on the
    screen, 0 to 2 pi; it has its own `difficult`. What is no rectangle is a polygon in both (counted). The score of a
    prediction stands in `score`.
    """
    for picture in annotated.pictures:
        height, width = picture.hw or (None, None)
        write = _polygon if shape_type == "polygon" else _rotation
        shapes = [write(picture, row) for row in range(len(picture.labels.names))]
        ledger.changed[NO_RECTANGLE] += sum(shape["shape_type"] != shape_type for shape in shapes)
        document = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": _image_path(picture, dst),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        with atomic_write(dst / f"{picture.name}.json", sync=False) as file:
            file.write(json.dumps(document, ensure_ascii=False, indent=1) + "\n")


def _polygon(picture: Picture, row: int) -> dict[str, Any]:
    """The shape of an object as labelme has it."""
    flag = int(picture.labels.difficult[row])
    flags = {"difficult": True} if flag else {}
    return {
        "label": picture.labels.names[row],
        "score": None if picture.scores is None else round(float(picture.scores[row]), 6),
        "points": picture.labels.quads[row].round(DIGITS).tolist(),
        "group_id": None,
        "description": "",
        "shape_type": "polygon",
        "flags": flags | ({IGNORED: True} if flag == IGNORE_FLAG else {}),
    }


def _rotation(picture: Picture, row: int) -> dict[str, Any]:
    """The shape of an object as X-AnyLabeling has it, a polygon only where it is no rectangle."""
    shape = _polygon(picture, row)
    shape["difficult"] = shape["flags"].pop("difficult", False)
    quad = picture.labels.quads[row]
    across, down = quad[1] - quad[0], quad[3] - quad[0]
    skew = np.abs(quad[0] + quad[2] - quad[1] - quad[3]).max()
    if skew < CLOSE and abs(across @ down) < CLOSE * math.hypot(*across):
        direction = math.atan2(across[1], across[0]) % (2 * math.pi)
        shape |= {"shape_type": "rotation", "direction": round(direction, DIGITS)}
    return shape


def _name(path: Path, image_path: Any) -> tuple[str, str | None]:
    """What a file's picture is called, without its suffix and, as far as that is known, with it."""
    told = last_part(image_path) if isinstance(image_path, str) else ""
    if path.stem in (told, Path(told).stem):
        return name_in_list(path, 1, told), told
    return name_in_list(path, 1, path.stem), None


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
    flag = max(difficult_flag(fields.get("difficult")), difficult_flag(flags.get("difficult")))
    if fields.get("score") is not None:
        changed[UNREAD_SCORES] += 1
    return Row(quad, name, IGNORE_FLAG if flags.get(IGNORED) is True else flag, line)


def _points(value: Any) -> list[list[float]]:
    if not isinstance(value, list):
        raise ValueError(f'"points" is {shown(value)}, not a list of points; draw the shape again')
    for point in value:
        if not isinstance(point, list) or len(point) != 2:
            raise ValueError("a point is not a list of two numbers; draw the shape again")
    return [[number(place, "a coordinate") for place in point] for point in value]
