"""Annotations in XML, roLabelImg (`robndbox`, `bndbox`) and HRSC2016: every complaint names file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.sax import parse as parse_xml

from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.labels import FARTHEST, FLAGS, LabelError, Labels, OnBad

BOX_TAGS = ("robndbox", "bndbox")

ROOTS = {"object": "annotation", "HRSC_Object": "HRSC_Image"}  # of roLabelImg and of HRSC2016, by what they hold


def read_rolabelimg(path: Path, on_bad: OnBad = None) -> Labels:
    """Objects of a roLabelImg file, quads (N, 4, 2) in pixels of the picture, clockwise.

    Whether an object is a `robndbox` (cx, cy, w, h, angle in radians, clockwise on the screen) or a `bndbox`
    (xmin, ymin, xmax, ymax) is decided by the child element, not by `<type>`; both may stand in one file. A file
    without objects is a picture without objects. Raises LabelError, or reports to `on_bad` and leaves the object out.
    """
    return _collect(path, "object", _rolabelimg_box, "name", on_bad)


def read_hrsc(path: Path, on_bad: OnBad = None) -> Labels:
    """Objects of an HRSC2016 file, quads (N, 4, 2); every object is of the class `ship` (the one-class protocol)."""
    return _collect(path, "HRSC_Object", _hrsc_box, None, on_bad)


class _ObjectHandler(ContentHandler):
    """Collects of every object element its children and its box's: {tag: (text, line)}.

    What lies deeper or elsewhere (the parts of VOC, the attributes of CVAT) has names and boxes of its own.
    """

    def __init__(self, object_tag: str) -> None:
        super().__init__()
        self.object_tag = object_tag
        self.root: tuple[str, int] | None = None
        self.objects: list[dict[str, tuple[str, int]]] = []
        self._fields: dict[str, tuple[str, int]] | None = None
        self._path: list[str] = []  # of the element that is open, from the object element on
        self._text: list[str] = []

    def setDocumentLocator(self, locator) -> None:
        self._locator = locator

    def startElement(self, name: str, attrs) -> None:
        line = self._locator.getLineNumber()
        if self.root is None:
            self.root = (name, line)
        self._text = []
        if self._fields is not None:
            self._path.append(name)
            if self._is_field():
                self._fields.setdefault(name, ("", line))
        elif name == self.object_tag:
            self._fields = {"": ("", line)}

    def characters(self, content: str) -> None:
        self._text.append(content)

    def endElement(self, name: str) -> None:
        if self._path:
            text = "".join(self._text).strip()
            if text and self._is_field():
                self._fields[name] = (text, self._fields[name][1])
            self._path.pop()
        elif self._fields is not None:
            self.objects.append(self._fields)
            self._fields = None
        self._text = []

    def _is_field(self) -> bool:
        return len(self._path) == 1 or (len(self._path) == 2 and self._path[0] in BOX_TAGS)


def _collect(path: Path, object_tag: str, read_box: Callable, name_tag: str | None, on_bad: OnBad) -> Labels:
    quads, names, difficult, lines = [], [], [], []
    for fields in _read_objects(path, object_tag):
        line = fields[""][1]
        try:
            quad = read_box(path, fields)
            name = "ship" if name_tag is None else _text(path, fields, name_tag)
            flag = _flag(path, fields)
        except LabelError as error:
            if on_bad is None:
                raise
            on_bad(error)
            continue
        quads.append(quad)
        names.append(" ".join(name.split()))
        difficult.append(flag)
        lines.append(line)
    return Labels(
        np.array(quads, np.float64).reshape(-1, 4, 2),
        names,
        np.array(difficult, np.int64),
        np.array(lines, np.int64),
    )


def _read_objects(path: Path, object_tag: str) -> list[dict[str, tuple[str, int]]]:
    handler = _ObjectHandler(object_tag)
    try:
        with path.open("rb") as file:
            parse_xml(file, handler, forbid_dtd=False)
    except OSError as error:
        raise LabelError(path, 1, f"cannot be read ({error.strerror or error}); check the path") from error
    except SAXParseException as error:
        line, why = error.getLineNumber() or 1, error.getMessage()
        raise LabelError(path, line, f"is not well-formed XML ({why}); mend or delete the file") from error
    except DefusedXmlException as error:
        raise LabelError(
            path, 1, f"declares entities, which are refused ({type(error).__name__}); remove the DOCTYPE"
        ) from error
    except (SAXException, ValueError, LookupError) as error:
        raise LabelError(path, 1, f"cannot be parsed as XML ({error}); mend or delete the file") from error
    # Another format would read as a picture without objects, and be trained on as background.
    root, line = handler.root
    if root != ROOTS[object_tag]:
        why = f"the root element is <{root}>, not <{ROOTS[object_tag]}>: XML of another format"
        raise LabelError(path, line, f"{why}; name the format with --dataset, or convert the file")
    return handler.objects


def _rolabelimg_box(path: Path, fields: dict[str, tuple[str, int]]) -> np.ndarray:
    if "robndbox" in fields:
        box = [_number(path, fields, tag) for tag in ("cx", "cy", "w", "h", "angle")]
        return _rotated(path, fields["robndbox"][1], box)
    if "bndbox" in fields:
        left, top, right, bottom = (_number(path, fields, tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
        if right <= left or bottom <= top:
            raise LabelError(path, fields["bndbox"][1], "bndbox of zero or negative size; draw the box again")
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    raise LabelError(path, fields[""][1], "object with neither robndbox nor bndbox; draw the box again")


def _hrsc_box(path: Path, fields: dict[str, tuple[str, int]]) -> np.ndarray:
    box = [_number(path, fields, f"mbox_{part}") for part in ("cx", "cy", "w", "h", "ang")]
    return _rotated(path, fields[""][1], box)


def _rotated(path: Path, line: int, box: list[float]) -> np.ndarray:
    if box[2] <= 0 or box[3] <= 0:
        raise LabelError(path, line, f"box of size {box[2]:g} x {box[3]:g}; draw the box again")
    return boxes_to_quads(np.array([box]), "rolabelimg")[0]


def _text(path: Path, fields: dict[str, tuple[str, int]], tag: str) -> str:
    text, line = fields.get(tag, ("", fields[""][1]))
    if not text:
        raise LabelError(path, line, f"object without <{tag}>; add it")
    return text


def _flag(path: Path, fields: dict[str, tuple[str, int]]) -> int:
    text, line = fields.get("difficult", ("", 0))
    if not text:
        return 0
    value = _number(path, fields, "difficult")
    if value not in FLAGS.values():
        raise LabelError(path, line, f"<difficult> is {text}; it must be 0, 1 or 2")
    return int(value)


def _number(path: Path, fields: dict[str, tuple[str, int]], tag: str) -> float:
    text, line = fields.get(tag, ("", fields[""][1]))
    try:
        value = float(text)
    except ValueError:
        raise LabelError(path, line, f"<{tag}> is {text!r}, not a number; correct it") from None
    if not abs(value) <= FARTHEST:  # nor is NaN
        raise LabelError(path, line, f"<{tag}> is {text}, which is no place in a picture; correct it")
    return value
