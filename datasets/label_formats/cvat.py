"""CVAT's XML 1.1 for images, one file for many pictures, read: boxes with their `rotation` in degrees, and polygons."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.sax.handler import ContentHandler

import numpy as np

from datasets.label_formats.annotations import (
    ROLES,
    AnnotatedSet,
    Picture,
    Row,
    as_labels,
    clean_name,
    flag_in,
    is_unusable,
    name_fault,
    number_in,
    outline_to_quad,
    picture_name,
    shown,
    sound_rows,
    tell_apart,
    without_picture,
)
from datasets.label_formats.xml_documents import parse_document
from datasets.picture_files.image_folders import folders_of
from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.labels import LabelError, OnBad, report_faults
from DOTA_devkit.names import as_class_name

ROOT = "annotations"
LABEL_PATHS = tuple((ROOT, "meta", part, "labels", "label", "name") for part in ("task", "project", "job"))
DEEPEST = len(LABEL_PATHS[0])  # elements deeper than the name of a label mean nothing
TAGS = "tags of whole pictures, which mark no place in them, are left out"


def read_cvat(path: Path, on_bad: OnBad = None, changed: Counter[str] | None = None) -> AnnotatedSet:
    """All pictures of a CVAT file, those without objects too; class names as its `meta` lists them.

    A `box` may have a `rotation`, in degrees, clockwise on the screen about its centre; a `polygon` of four points is
    taken as it is, of another number as its minimum-area rectangle (counted in `changed`). An attribute `difficult` of
    the labels is read, and the picture's `subset` is its split. Shapes of other kinds are refused. Raises LabelError
    for what cannot be used, or reports it to `on_bad` and leaves it out; ValueError for two pictures of one name in one
    folder.
    """
    changed = Counter() if changed is None else changed
    handler = _Handler()
    parse_document(path, handler)
    if handler.root != ROOT:
        why = f"the root element is <{handler.root}>, not <{ROOT}>: XML of another format"
        raise LabelError(path, 1, f"{why}; is it CVAT's?")
    if handler.track_line:
        why = "holds tracks, which are those of a video; export with the format 'CVAT for images'"
        raise LabelError(path, handler.track_line, why)
    faults: list[LabelError] = []
    pictures = []
    for image in handler.images:
        try:
            picture = _picture(path, image, changed, found := [])
            faults += found
            if is_unusable(picture.labels, found):
                faults.append(without_picture(path, image.line, picture.name))
            else:
                pictures.append(picture)
        except ValueError as error:
            faults.append(LabelError(path, image.line, str(error)))
    pictures = tell_apart(pictures, [folders_of(picture.file_name) for picture in pictures], path, changed)
    report_faults(faults, on_bad)
    names = dict.fromkeys(as_class_name(name) for name in handler.names)
    return AnnotatedSet(pictures, tuple(name for name in names if not name_fault(name)))


class _Shape(NamedTuple):
    """A child element of a picture; `flag` collects the text of its attribute `difficult`."""

    kind: str
    fields: dict[str, str]
    line: int
    flag: list[str]


@dataclass
class _Image:
    """A picture element and its children."""

    fields: dict[str, str]
    line: int
    shapes: list[_Shape] = field(default_factory=list)


class _Handler(ContentHandler):
    """Collects pictures, their shapes and the names of the labels."""

    def __init__(self) -> None:
        super().__init__()
        self.root: str | None = None
        self.images: list[_Image] = []
        self.names: list[str] = []
        self.track_line = 0
        self._path: list[str] = []
        self._text: list[str] | None = None  # where the text of the element that is open goes

    def setDocumentLocator(self, locator) -> None:
        self._locator = locator

    def startElement(self, name: str, attrs) -> None:
        line = self._locator.getLineNumber()
        self.root = self.root or name
        self._path.append(name)
        if len(self._path) > DEEPEST:
            return
        is_in_image = len(self._path) > 2 and self._path[1] == "image"
        if self._path[1:] == ["image"]:
            self.images.append(_Image(dict(attrs), line))
        elif self._path[1:] == ["track"]:
            self.track_line = self.track_line or line
        elif len(self._path) == 3 and is_in_image:
            self.images[-1].shapes.append(_Shape(name, dict(attrs), line, []))
        elif len(self._path) == 4 and is_in_image and name == "attribute" and attrs.get("name") == "difficult":
            self._text = self.images[-1].shapes[-1].flag
        elif tuple(self._path) in LABEL_PATHS:
            self._text = []

    def characters(self, content: str) -> None:
        if self._text is not None:
            self._text.append(content)

    def endElement(self, name: str) -> None:
        if self._text is not None and tuple(self._path) in LABEL_PATHS:
            self.names.append("".join(self._text))
        self._text = None
        self._path.pop()


def _picture(path: Path, image: _Image, changed: Counter[str], faults: list[LabelError]) -> Picture:
    file_name = image.fields.get("name")
    name = picture_name(file_name)
    rows = []
    for shape in image.shapes:
        if shape.kind == "tag":
            changed[TAGS] += 1
            continue
        try:
            rows.append(Row(_quad(shape, changed), clean_name(shape.fields.get("label")), _flag(shape), shape.line))
        except ValueError as error:
            faults.append(LabelError(path, shape.line, str(error)))
    sides = [image.fields.get(side, "") for side in ("height", "width")]
    is_known = all(side.isascii() and side.isdigit() and len(side) < 10 and int(side) for side in sides)
    split = ROLES.get(image.fields.get("subset", "").lower(), "")
    labels = as_labels(sound_rows(path, rows, faults))
    return Picture(name, labels, file_name, (int(sides[0]), int(sides[1])) if is_known else None, split)


def _quad(shape: _Shape, changed: Counter[str]) -> np.ndarray:
    if shape.kind == "box":
        left, top, right, bottom = (number_in(shape.fields.get(side), side) for side in ("xtl", "ytl", "xbr", "ybr"))
        if right <= left or bottom <= top:
            raise ValueError(f"a box of size {right - left:g} x {bottom - top:g}; draw the box again")
        degrees = number_in(shape.fields.get("rotation", "0"), "rotation")
        box = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top, math.radians(degrees)]
        if degrees:
            return boxes_to_quads(np.array([box]), "rolabelimg")[0]
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    if shape.kind == "polygon":
        pairs = [pair.split(",") for pair in shape.fields.get("points", "").split(";")]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError('"points" of the polygon are not written x,y;x,y; correct them')
        return outline_to_quad([[number_in(place, "a coordinate") for place in pair] for pair in pairs], changed)
    raise ValueError(f"a {shape.kind} is no box; draw a rectangle or a polygon")


def _flag(shape: _Shape) -> int:
    text = "".join(shape.flag).strip()
    flag = flag_in(text)
    if flag is None:
        raise ValueError(f"the attribute difficult is {shown(text)}; it must be 0, 1, 2, true or false")
    return flag
