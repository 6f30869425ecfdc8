"""Annotations in XML, roLabelImg (`robndbox`, `bndbox`) and HRSC2016: every complaint names file and line."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import InputSource

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.sax import parse as parse_xml

from DOTA_devkit.boxes import boxes_to_quads, order_clockwise
from DOTA_devkit.labels import FARTHEST, FLAGS, LabelError, Labels, OnBad, geometry_faults

BOX_TAGS = ("robndbox", "bndbox")
CORNER_TAGS = tuple(
    f"{axis}_{corner}" for corner in ("left_top", "right_top", "right_bottom", "left_bottom") for axis in "xy"
)
KINDS = ("rotated", "horizontal", "corners")
WIDEST_ANGLE = 2 * math.pi  # radians; beyond, somebody may have written degrees

ROOTS = {"object": "annotation", "HRSC_Object": "HRSC_Image"}  # of roLabelImg and of HRSC2016, by what they hold

DECLARED_ENCODING = re.compile(rb"\s*<\?xml[^>]{0,200}?\sencoding\s*=\s*[\"']([\w.:-]+)[\"']")
BYTE_ORDER_MARKS = {  # the longer ones first: UTF-16's are the beginning of UTF-32's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
EXPAT_ENCODINGS = ("utf-8", "utf-16", "iso8859-1", "ascii")  # as Python spells the four that the parser reads itself
SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949"}  # what Windows writes
NO_ENCODINGS = ("idna", "punycode", "unicode-escape", "raw-unicode-escape")  # Python's, of names and of source code


class ObjectError(LabelError):
    """An object that cannot be used; `kind` is the sort of fault in few words, by which faults are counted."""

    def __init__(self, path: Path, line: int, kind: str, reason: str) -> None:
        super().__init__(path, line, reason)
        self.kind = kind
        self.args = (path, line, kind, reason)  # so that a worker process can send it home


class Annotation(NamedTuple):
    """A roLabelImg file: its objects and what else it says.

    labels: the objects, quads clockwise. kinds: for each of them one of KINDS, the form in which its box is given.
    hw: height and width by <size>, pixels, None where they are missing or zero (files copied from another picture
    keep that one's size). wide_angles: lines of the objects whose angle is beyond 2 pi, in degrees perhaps; they are
    read as radians all the same.
    """

    labels: Labels
    kinds: list[str]
    hw: tuple[int, int] | None
    wide_angles: list[int]


class _Box(NamedTuple):
    quad: np.ndarray
    kind: str
    angle: float = 0.0


Field = tuple[str, int]  # text and line


def read_rolabelimg(path: Path, on_bad: OnBad = None) -> Labels:
    """Objects of a roLabelImg file, quads (N, 4, 2) in pixels of the picture, clockwise, in the order of the file.

    Whether an object is a `robndbox` (cx, cy, w, h, angle in radians, clockwise on the screen, of any range) or a
    `bndbox` (xmin, ymin, xmax, ymax) is decided by the child element, not by `<type>`; both may stand in one file, and
    so may the `robndbox` of DIOR-R, which holds four corners, x_left_top and so on (its angle stands outside and adds
    nothing). A file without objects is a picture without objects. Any encoding is read that the file declares.
    Raises LabelError, or reports to `on_bad` and leaves the object out; a file that is no XML, or refused for the
    entities it declares, raises in any case.
    """
    return read_annotation(path, on_bad).labels


def read_annotation(path: Path, on_bad: OnBad = None) -> Annotation:
    """A roLabelImg file with what `read_rolabelimg` leaves out; bad objects are reported as ObjectError."""
    return _collect(path, "object", _rolabelimg_box, "name", on_bad)


def read_hrsc(path: Path, on_bad: OnBad = None) -> Labels:
    """Objects of an HRSC2016 file, quads (N, 4, 2); every object is of the class `ship` (the one-class protocol)."""
    return _collect(path, "HRSC_Object", _hrsc_box, None, on_bad).labels


class _ObjectHandler(ContentHandler):
    """Collects of every object element its children and its box's, {tag: (text, line)}, and the size of the picture.

    What lies deeper or elsewhere (the parts of VOC, the attributes of CVAT) has names and boxes of its own.
    """

    def __init__(self, object_tag: str) -> None:
        super().__init__()
        self.object_tag = object_tag
        self.root: Field | None = None
        self.objects: list[dict[str, Field]] = []
        self.size: dict[str, str] = {}
        self._fields: dict[str, Field] | None = None
        self._path: list[str] = []  # of the element that is open, from the object element or from the root on
        self._outer: list[str] = []
        self._text: list[str] = []

    def setDocumentLocator(self, locator) -> None:
        self._locator = locator

    def startElement(self, name: str, attrs) -> None:
        line = self._locator.getLineNumber()
        self._text = []
        if self.root is None:
            self.root = (name, line)
        elif self._fields is None and name == self.object_tag:
            self._fields = {"": ("", line)}
            self._outer, self._path = self._path, []
        else:
            self._path.append(name)
            if self._fields is not None and self._is_field():
                self._fields.setdefault(name, ("", line))

    def characters(self, content: str) -> None:
        self._text.append(content)

    def endElement(self, name: str) -> None:
        text = "".join(self._text).strip()
        self._text = []
        if self._path:
            if self._fields is None and self._path[:-1] == ["size"]:
                self.size.setdefault(name, text)
            elif self._fields is not None and text and self._is_field():
                self._fields[name] = (text, self._fields[name][1])
            self._path.pop()
        elif self._fields is not None:
            self.objects.append(self._fields)
            self._fields, self._path = None, self._outer

    def _is_field(self) -> bool:
        return len(self._path) == 1 or (len(self._path) == 2 and self._path[0] in BOX_TAGS)


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
        except ObjectError as error:
            if on_bad is None:
                raise
            on_bad(error)
            continue
        boxes.append(box)
        names.append(" ".join(name.split()))
        difficult.append(flag)
        lines.append(fields[""][1])
    quads = np.array([box.quad for box in boxes], np.float64).reshape(-1, 4, 2)
    faults = geometry_faults(quads)
    for row, reason in faults.items():
        error = ObjectError(path, lines[row], "no area or crossing itself", reason)
        if on_bad is None:
            raise error
        on_bad(error)
    kept = [row for row in range(len(boxes)) if row not in faults]
    labels = Labels(
        order_clockwise(quads[kept]),
        [names[row] for row in kept],
        np.array([difficult[row] for row in kept], np.int64),
        np.array([lines[row] for row in kept], np.int64),
    )
    wide_angles = [lines[row] for row in kept if abs(boxes[row].angle) > WIDEST_ANGLE]
    return Annotation(labels, [boxes[row].kind for row in kept], _size(parsed.size), wide_angles)


def _parse(path: Path, object_tag: str) -> _ObjectHandler:
    handler = _ObjectHandler(object_tag)
    try:
        parse_xml(_open_source(path), handler, forbid_dtd=False)
    except OSError as error:
        raise LabelError(path, 1, f"cannot be read ({error.strerror or error}); check the path") from error
    except SAXParseException as error:
        line, why = error.getLineNumber() or 1, error.getMessage()
        raise LabelError(path, line, f"is not well-formed XML ({why}); mend or delete the file") from error
    except DefusedXmlException as error:
        raise LabelError(
            path, 1, f"declares entities, which are refused ({type(error).__name__}); remove the DOCTYPE"
        ) from error
    except LabelError:
        raise
    except (SAXException, ValueError, LookupError) as error:
        raise LabelError(path, 1, f"cannot be parsed as XML ({error}); mend or delete the file") from error
    # Another format would read as a picture without objects, and be trained on as background.
    root, line = handler.root
    if root != ROOTS[object_tag]:
        why = f"the root element is <{root}>, not <{ROOTS[object_tag]}>: XML of another format"
        raise LabelError(path, line, f"{why}; name the format with --dataset, or convert the file")
    return handler


def _open_source(path: Path) -> InputSource:
    """The file's bytes for the parser, which knows four encodings; from any other they are translated to UTF-8."""
    data = path.read_bytes()
    source = InputSource()
    encoding = _foreign_encoding(path, data)
    if encoding is not None:
        try:
            data = data.decode(encoding).encode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise LabelError(path, line, f"is not text in {encoding}, as it declares; save it as UTF-8") from error
        source.setEncoding("utf-8")  # whatever the file goes on to declare
    source.setByteStream(BytesIO(data))
    return source


def _foreign_encoding(path: Path, data: bytes) -> str | None:
    """The encoding that Python has to read; None where the parser can.

    A byte order mark counts more than the declaration, which an editor leaves as it was when it saves a file as UTF-8;
    and a declaration that reads as ASCII is not in UTF-16, whatever it says (a habit of .NET's).
    """
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return encoding
    declared = DECLARED_ENCODING.match(data)
    if declared is None:
        return None
    name = declared[1].decode("ascii", "replace")
    try:
        encoding = codecs.lookup(name).name
    except LookupError:
        encoding = ""
    if not encoding or encoding in NO_ENCODINGS:
        raise LabelError(path, 1, f"declares the encoding {name!r}, which nobody knows; save it as UTF-8")
    if encoding.startswith(("utf-16", "utf-32")):
        return "utf-8"
    return None if encoding in EXPAT_ENCODINGS else SUPERSETS.get(encoding, encoding)


def _size(texts: dict[str, str]) -> tuple[int, int] | None:
    try:
        height, width = (int(float(texts[name])) for name in ("height", "width"))
    except (KeyError, ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _rolabelimg_box(path: Path, fields: dict[str, Field]) -> _Box:
    if "robndbox" in fields and "cx" not in fields and any(tag in fields for tag in CORNER_TAGS):
        return _corner_box(path, fields)
    if "robndbox" in fields:
        box = [_number(path, fields, tag) for tag in ("cx", "cy", "w", "h", "angle")]
        return _rotated_box(path, fields["robndbox"][1], box)
    if "bndbox" in fields:
        left, top, right, bottom = (_number(path, fields, tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
        if right <= left or bottom <= top:
            reason = "bndbox of zero or negative size; draw the box again"
            raise ObjectError(path, fields["bndbox"][1], "zero or negative size", reason)
        return _Box(np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), "horizontal")
    reason = "object with neither robndbox nor bndbox; draw the box again"
    raise ObjectError(path, fields[""][1], "no box", reason)


def _corner_box(path: Path, fields: dict[str, Field]) -> _Box:
    """DIOR-R (Cheng et al., TGRS 2022): the corners of a rectangle, rounded to whole pixels."""
    return _Box(np.array([_number(path, fields, tag) for tag in CORNER_TAGS]).reshape(4, 2), "corners")


def _hrsc_box(path: Path, fields: dict[str, Field]) -> _Box:
    box = [_number(path, fields, f"mbox_{part}") for part in ("cx", "cy", "w", "h", "ang")]
    return _rotated_box(path, fields[""][1], box)


def _rotated_box(path: Path, line: int, box: list[float]) -> _Box:
    if box[2] <= 0 or box[3] <= 0:
        reason = f"box of size {box[2]:g} x {box[3]:g}; draw the box again"
        raise ObjectError(path, line, "zero or negative size", reason)
    return _Box(boxes_to_quads(np.array([box]), "rolabelimg")[0], "rotated", box[4])


def _text(path: Path, fields: dict[str, Field], tag: str) -> str:
    text, line = fields.get(tag, ("", fields[""][1]))
    if not text:
        raise ObjectError(path, line, f"no {tag}", f"object without <{tag}>; add it")
    return text


def _flag(path: Path, fields: dict[str, Field]) -> int:
    text, line = fields.get("difficult", ("", 0))
    if not text:
        return 0
    value = _number(path, fields, "difficult")
    if value not in FLAGS.values():
        raise ObjectError(path, line, "another flag", f"<difficult> is {text}; it must be 0, 1 or 2")
    return int(value)


def _number(path: Path, fields: dict[str, Field], tag: str) -> float:
    text, line = fields.get(tag, ("", fields[""][1]))
    try:
        value = float(text)
    except ValueError:
        reason = f"<{tag}> is {text!r}, not a number; correct it"
        raise ObjectError(path, line, "not a number", reason) from None
    if not abs(value) <= FARTHEST:  # nor is NaN
        reason = f"<{tag}> is {text}, which is no place in a picture; correct it"
        raise ObjectError(path, line, "not a number", reason)
    return value
