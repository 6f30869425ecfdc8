"""Annotations in XML, of roLabelImg, VOC and its descendants, and of HRSC2016: every complaint names file and line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.label_formats.annotations import flag_in
from datasets.label_formats.xml_documents import parse_document
from datasets.label_formats.xml_objects import OUTLINE, ROTATION, SECOND_BOX, Field, ObjectHandler
from datasets.outlines import outline_quad
from datasets.picture_files.image_sizes import turned_size
from DOTA_devkit.boxes import boxes_to_quads, order_clockwise
from DOTA_devkit.labels import FARTHEST, LabelError, LabelFault, Labels, OnBad, geometry_faults, report_faults
from DOTA_devkit.names import as_class_name

# Of roLabelImg, FAIR1M (two versions of it), DIOR-R and MAR20 (which have horizontal boxes beside), and VOC.
XML_FOLDERS = ("xml", "labelXml", "labelXmls", "Annotations/Oriented Bounding Boxes", "Annotations")
CORNER_TAGS = tuple(
    f"{axis}_{corner}" for corner in ("left_top", "right_top", "right_bottom", "left_bottom") for axis in "xy"
)
NUMBERED = re.compile("[xy][0-9]{1,4}")  # a coordinate of a corner of a polygon
KINDS = ("rotated", "horizontal", "corners", "outline")
WIDEST_ANGLE = 2 * math.pi  # radians; beyond, somebody may have written degrees

ROOTS = {"object": "annotation", "HRSC_Object": "HRSC_Image"}  # of roLabelImg and of HRSC2016, by what they hold


class Annotation(NamedTuple):
    """A file that `read_rolabelimg` reads: its objects and what else it says.

    labels: the objects, quads clockwise. kinds: for each of them one of KINDS, the form in which its box is given; an
    `outline` is one of another number of corners than four.
    hw: height and width by <size>, pixels, None where they are missing or zero (files copied from another picture
    keep that one's size). wide_angles: rows of the objects whose angle is beyond 2 pi, in degrees perhaps; they are
    read as radians all the same.
    """

    labels: Labels
    kinds: list[str]
    hw: tuple[int, int] | None
    wide_angles: list[int]


class _Box(NamedTuple):
    """The numbers of a box: cx, cy, w, h, angle of a rotated one, else the eight coordinates of its corners."""

    numbers: list[float]
    kind: str

    @property
    def angle(self) -> float:
        return self.numbers[4] if self.kind == "rotated" else 0.0


def read_rolabelimg(path: Path, on_bad: OnBad = None) -> Labels:
    """Objects of a file of roLabelImg's, VOC's or their descendants, quads (N, 4, 2) in pixels of the picture,
    clockwise, in the order of the file.

    What box an object has is decided by the first of these that it holds, not by `<type>`; all may be in one file:
    - `robndbox`: cx, cy, w, h, angle in radians, clockwise on the screen, of any range; or, of DIOR-R, four corners,
      x_left_top and so on (its angle stands outside and adds nothing);
    - `points` of FAIR1M, or `polygon` of DroneVehicle and Roboflow, x1, y1, x2 and so on: an outline, of another number
      of corners than four its minimum-area rectangle;
    - `bndbox`: xmin, ymin, xmax, ymax; where CVAT exports it with an attribute `rotation`, turned by that, in degrees,
      clockwise on the screen about the centre.

    A file without objects is a picture without objects. Any encoding is read that the file declares. Raises LabelError,
    or reports to `on_bad` and leaves the object out; a file that is no XML, or refused for the entities it declares,
    raises in any case.
    """
    return read_annotation(path, on_bad).labels


def read_annotation(path: Path, on_bad: OnBad = None) -> Annotation:
    """A file with what `read_rolabelimg` leaves out; bad objects are reported."""
    return _collect(path, "object", _rolabelimg_box, "name", on_bad)


def turned_fault(annotation: Annotation, image_path: Path) -> str | None:
    """Why the boxes of a file do not fit its picture, which is read as stored; None where they may."""
    orientation = turned_size(image_path, annotation.hw)
    if orientation == 1:
        return None
    told = f"<size> tells {annotation.hw[1]} x {annotation.hw[0]} pixels, the size that EXIF gives {image_path.name}"
    return f"{told} (orientation {orientation}), but it is read as stored; save it upright"


def read_hrsc(path: Path, on_bad: OnBad = None) -> Labels:
    """Objects of an HRSC2016 file, quads (N, 4, 2); every object is of the class `ship` (the one-class protocol)."""
    return _collect(path, "HRSC_Object", _hrsc_box, None, on_bad).labels


def _collect(
    path: Path, object_tag: str, read_box: Callable[..., _Box], name_tag: str | None, on_bad: OnBad
) -> Annotation:
    parsed = _parse(path, object_tag)
    boxes: list[_Box] = []
    names, difficult, lines = [], [], []
    for fields in parsed.objects:
        try:
            box = read_box(path, fields)
            name = "ship" if name_tag is None else _text(path, fields, name_tag)
            flag = _flag(path, fields)
        except LabelError as error:
            if on_bad is None:
                raise
            on_bad(error)
            continue
        boxes.append(box)
        names.append(as_class_name(name))
        difficult.append(flag)
        lines.append(fields[""][1])
    quads = _quads_of(boxes)
    faults = geometry_faults(quads)
    report_faults([fault.at(path, lines[row]) for row, fault in faults.items()], on_bad)
    kept = [row for row in range(len(boxes)) if row not in faults]
    labels = Labels(
        order_clockwise(quads[kept]),
        [names[row] for row in kept],
        np.array([difficult[row] for row in kept], np.int64),
        np.array([lines[row] for row in kept], np.int64),
    )
    wide_angles = [number for number, row in enumerate(kept) if abs(boxes[row].angle) > WIDEST_ANGLE]
    return Annotation(labels, [boxes[row].kind for row in kept], _size(parsed.size), wide_angles)


def _quads_of(boxes: list[_Box]) -> np.ndarray:
    """The corners (N, 4, 2), float64; all rotated boxes of a file at once, because one at a time takes far longer."""
    is_rotated = np.array([box.kind == "rotated" for box in boxes], bool)
    quads = np.empty((len(boxes), 4, 2))
    rotated = [box.numbers for box in boxes if box.kind == "rotated"]
    quads[is_rotated] = boxes_to_quads(np.array(rotated, np.float64).reshape(-1, 5), "rolabelimg")
    others = [box.numbers for box in boxes if box.kind != "rotated"]
    quads[~is_rotated] = np.array(others, np.float64).reshape(-1, 4, 2)
    return quads


def _parse(path: Path, object_tag: str) -> ObjectHandler:
    handler = ObjectHandler(object_tag)
    parse_document(path, handler)
    # Another format would read as a picture without objects, and be trained on as background.
    root, line = handler.root
    if root != ROOTS[object_tag]:
        why = f"the root element is <{root}>, not <{ROOTS[object_tag]}>: XML of another format"
        raise LabelError(path, line, f"{why}; name the format with --dataset, or convert the file")
    return handler


def _size(texts: dict[str, str]) -> tuple[int, int] | None:
    try:
        height, width = (int(float(texts[name])) for name in ("height", "width"))
    except (KeyError, ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _rolabelimg_box(path: Path, fields: dict[str, Field]) -> _Box:
    if SECOND_BOX in fields:
        reason = "two boxes of one kind in one object; give each an object of its own"
        raise LabelError(path, fields[SECOND_BOX][1], reason, "two-boxes")
    if "robndbox" in fields and "cx" not in fields and any(tag in fields for tag in CORNER_TAGS):
        return _corner_box(path, fields)
    if "robndbox" in fields:
        box = [_number(path, fields, tag) for tag in ("cx", "cy", "w", "h", "angle")]
        return _rotated_box(path, fields["robndbox"][1], box)
    if OUTLINE in fields:
        return _fair1m_box(path, fields)
    if "polygon" in fields and any(map(NUMBERED.fullmatch, fields)):
        return _outline_box(path, fields["polygon"][1], _numbered_corners(path, fields))
    if "bndbox" in fields:
        left, top, right, bottom = (_number(path, fields, tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
        if right <= left or bottom <= top:
            reason = "bndbox of zero or negative size; draw the box again"
            raise LabelError(path, fields["bndbox"][1], reason, "zero-area")
        degrees = _number(path, fields, ROTATION) if ROTATION in fields else 0.0
        if degrees:
            angle = math.radians(math.fmod(degrees, 360))
            return _Box([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top, angle], "rotated")
        return _Box([left, top, right, top, right, bottom, left, bottom], "horizontal")
    reason = "object with none of robndbox, bndbox, polygon and points; draw the box again"
    raise LabelError(path, fields[""][1], reason, "no-box")


def _corner_box(path: Path, fields: dict[str, Field]) -> _Box:
    """DIOR-R (Cheng et al., TGRS 2022): the corners of a rectangle, rounded to whole pixels."""
    return _Box([_number(path, fields, tag) for tag in CORNER_TAGS], "corners")


def _fair1m_box(path: Path, fields: dict[str, Field]) -> _Box:
    """FAIR1M (Sun et al., ISPRS 2022): an outline of four corners, the first of them again at the end."""
    told, line = fields.get("coordinate", ("pixel", 0))
    if told != "pixel":
        raise LabelError(path, line, f"<coordinate> is {told}; places in pixels can be read alone")
    text, line = fields[OUTLINE]
    return _outline_box(path, line, [_point(path, line, word) for word in text.split()])


def _point(path: Path, line: int, word: str) -> list[float]:
    x, comma, y = word.partition(",")
    if not comma:
        raise LabelError(path, line, f"<point> is {word!r}, not x,y; correct it", "not-a-number")
    return [_number(path, {"": ("", line), "point": (number, line)}, "point") for number in (x, y)]


def _numbered_corners(path: Path, fields: dict[str, Field]) -> list[list[float]]:
    """x1, y1, x2, y2 and so on, up to the highest number that there is."""
    numbers = [int(tag[1:]) for tag in fields if NUMBERED.fullmatch(tag)]
    return [[_number(path, fields, f"{axis}{number}") for axis in "xy"] for number in range(1, max(numbers) + 1)]


def _outline_box(path: Path, line: int, corners: list[list[float]]) -> _Box:
    """Four corners, or of another number their minimum-area rectangle."""
    try:
        quad, is_rectangle = outline_quad(corners)
    except LabelFault as fault:
        raise fault.at(path, line) from fault
    return _Box(quad.ravel().tolist(), "outline" if is_rectangle else "corners")


def _hrsc_box(path: Path, fields: dict[str, Field]) -> _Box:
    box = [_number(path, fields, f"mbox_{part}") for part in ("cx", "cy", "w", "h", "ang")]
    return _rotated_box(path, fields[""][1], box)


def _rotated_box(path: Path, line: int, box: list[float]) -> _Box:
    if box[2] <= 0 or box[3] <= 0:
        reason = f"box of size {box[2]:g} x {box[3]:g}; draw the box again"
        raise LabelError(path, line, reason, "zero-area")
    return _Box(box, "rotated")


def _text(path: Path, fields: dict[str, Field], tag: str) -> str:
    text, line = fields.get(tag, ("", fields[""][1]))
    if not text:
        raise LabelError(path, line, f"object without <{tag}>; add it", "no-class")
    return text


def _flag(path: Path, fields: dict[str, Field]) -> int:
    text, line = fields.get("difficult", ("", 0))
    flag = flag_in(text)
    if flag is None:
        raise LabelError(path, line, f"<difficult> is {text}; it must be 0, 1 or 2", "bad-flag")
    return flag


def _number(path: Path, fields: dict[str, Field], tag: str) -> float:
    text, line = fields.get(tag, ("", fields[""][1]))
    try:
        value = float(text)
    except ValueError:
        reason = f"<{tag}> is {text!r}, not a number; correct it"
        raise LabelError(path, line, reason, "not-a-number") from None
    if not abs(value) <= FARTHEST:  # nor is NaN
        reason = f"<{tag}> is {text}, which is no place in a picture; correct it"
        raise LabelError(path, line, reason, "not-finite")
    return value
