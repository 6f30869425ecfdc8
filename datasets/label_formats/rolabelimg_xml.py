"""roLabelImg's XML, one file a picture, written so that roLabelImg opens it; `xml_labels.py` reads it.

An object is a `robndbox`: cx, cy, w, h in pixels and the angle of the side w in radians in [0, pi), clockwise on the
screen from the x axis.
"""

from __future__ import annotations

import math
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture
from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.boxes import boxes_to_quads, order_clockwise, quads_to_boxes
from DOTA_devkit.labels import IGNORE_FLAG

CLOSE = 5e-4  # pixels by which a quad may miss a rectangle and still be written as one, half of what is promised
PLACES = 9  # decimals, so that 19 does not come back as 19.000000000000014
FREE = "free quads became their minimum-area rectangles, because roLabelImg knows rectangles only"
FLAG_2 = "ignore regions stand there as difficult 2, which roLabelImg makes 1 when it saves"
NO_SIZE = "pictures of unknown size were written with <size> 0; name their folder with --images"

HEAD = """<annotation verified="no">
  <folder>{folder}</folder>
  <filename>{filename}</filename>
  <path>{path}</path>
  <source>
    <database>Unknown</database>
  </source>
  <size>
    <width>{width}</width>
    <height>{height}</height>
    <depth>3</depth>
  </size>
  <segmented>0</segmented>
"""
OBJECT = """  <object>
    <type>robndbox</type>
    <name>{name}</name>
    <pose>Unspecified</pose>
    <truncated>0</truncated>
    <difficult>{difficult}</difficult>
    <robndbox>
      <cx>{cx!r}</cx>
      <cy>{cy!r}</cy>
      <w>{w!r}</w>
      <h>{h!r}</h>
      <angle>{angle!r}</angle>
    </robndbox>
  </object>
"""


def write_rolabelimg(dst: Path, annotated: AnnotatedSet, ledger: Ledger) -> None:
    """Write `xml/<name>.xml` for every picture."""
    for picture in annotated.pictures:
        write_rolabelimg_file(dst / "xml" / f"{picture.name}.xml", picture, ledger)


def write_rolabelimg_file(path: Path, picture: Picture, ledger: Ledger) -> None:
    """Write one file. Corners of rectangles keep their place to 1e-3 pixels and better; what is no rectangle becomes
    its minimum-area rectangle, counted in the ledger."""
    height, width = picture.hw or (0, 0)
    if picture.hw is None:
        ledger.changed[NO_SIZE] += 1
    file_name = picture.path.name if picture.path else picture.file_name or picture.name
    where = str(picture.path.resolve()) if picture.path else file_name
    folder = picture.path.resolve().parent.name if picture.path else ""
    head = {"folder": _plain(folder), "filename": _plain(picture.name), "path": _plain(where)}
    parts = [HEAD.format(**head, width=width, height=height)]
    boxes, num_free = rectangles_of(picture.labels.quads)
    if num_free:
        ledger.changed[FREE] += num_free
    if (picture.labels.difficult == IGNORE_FLAG).any():
        ledger.changed[FLAG_2] += int((picture.labels.difficult == IGNORE_FLAG).sum())
    for box, name, flag in zip(boxes.tolist(), picture.labels.names, picture.labels.difficult.tolist(), strict=True):
        values = dict(zip(("cx", "cy", "w", "h", "angle"), box, strict=True))
        parts.append(OBJECT.format(name=escape(name), difficult=flag, **values))
    with atomic_write(path, sync=False) as file:
        file.write("".join([*parts, "</annotation>\n"]))


def rectangles_of(quads: np.ndarray) -> tuple[np.ndarray, int]:
    """Quads (N, 4, 2) as boxes (N, 5) cx, cy, w, h, angle in [0, pi), and how many of them were no rectangles.

    w is the side from the first corner on, so that a box of roLabelImg comes back with the numbers it had.
    """
    if len(quads) == 0:
        return np.zeros((0, 5)), 0
    quads = order_clockwise(quads)
    across = (quads[:, 1] - quads[:, 0] + quads[:, 2] - quads[:, 3]) / 2
    down = (quads[:, 3] - quads[:, 0] + quads[:, 2] - quads[:, 1]) / 2
    # The mean of both directions, by their lengths: a thin box has hardly one across.
    angle = np.arctan2(across[:, 1] - down[:, 0], across[:, 0] + down[:, 1])
    sizes = np.hypot(across[:, 0], across[:, 1]), np.hypot(down[:, 0], down[:, 1])
    boxes = np.column_stack([quads.mean(axis=1), *sizes, angle])
    free = np.abs(boxes_to_quads(boxes, "rolabelimg") - quads).max(axis=(1, 2)) > CLOSE
    if free.any():
        boxes[free] = quads_to_boxes(quads[free], "rolabelimg")
    boxes[:, :4] = boxes[:, :4].round(PLACES) + 0.0  # makes 0 of -0
    angle = np.mod(boxes[:, 4], math.pi).round(PLACES)
    boxes[:, 4] = np.where(angle < math.pi, angle, 0.0)
    return boxes, int(free.sum())


def _plain(text: str) -> str:
    """A path as XML can hold it: what no text is, becomes a question mark. Nothing reads it back."""
    readable = text.encode("utf-8", "replace").decode("utf-8")
    return escape("".join(char if char.isprintable() or (char.isspace() and char >= " ") else "?" for char in readable))
