"""The shape of an annotation of COCO's, `segmentation` and `bbox`, as a quad."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from datasets.label_formats.annotations import outline_to_quad, shown
from datasets.label_formats.json_documents import number, numbers
from datasets.outlines import without_closing
from DOTA_devkit.boxes import boxes_to_quads

CROWD = "ignore regions that are masks in run lengths (RLE) became their bbox"
TOO_FEW = "objects with an outline of fewer than three points became their bbox"


def annotation_quad(fields: dict[str, Any], changed: Counter[str], angles: list[float]) -> np.ndarray:
    """The quad (4, 2) of an annotation: its one polygon of four corners, else its `bbox` of five numbers, whose angle
    goes to `angles`, else the minimum-area rectangle around its polygons, else its `bbox` of four, turned by
    `rotation`.

    The `bbox` of four also stands for the mask (RLE) of a crowd, and for polygons of fewer than three points; counted
    in `changed`, as are the rectangles. Raises ValueError for what is no box.
    """
    outlines = fields.get("segmentation") or []
    bbox = numbers(fields.get("bbox") or [], '"bbox"')
    if isinstance(outlines, dict) and len(bbox) == 5:
        outlines = []  # the mask beside a rotated box is that of the box
    has_bbox = len(bbox) == 4 and bbox[2] > 0 and bbox[3] > 0
    if isinstance(outlines, dict) and has_bbox and fields.get("iscrowd") == 1:
        outlines = []
        changed[CROWD] += 1
    if isinstance(outlines, dict):
        raise ValueError("a mask in run lengths (RLE), which is no outline; export polygons")
    if not isinstance(outlines, list):
        raise ValueError(f'"segmentation" is {shown(outlines)}, not a list of polygons; correct it')
    points = [_points(outline) for outline in outlines if outline != []]
    if len(points) == 1 and len(points[0]) == 4:
        return np.array(points[0])
    if len(bbox) == 5:
        angles.append(bbox[4])
        _refuse_empty(bbox)
        return boxes_to_quads(np.array([[*bbox[:4], -math.radians(bbox[4])]]), "rolabelimg")[0]
    everything = [point for outline in points for point in outline]
    if points and len(everything) < 3 and has_bbox:
        changed[TOO_FEW] += 1
    elif points:
        return outline_to_quad(everything, changed, is_one=len(points) == 1)
    if len(bbox) != 4:
        raise ValueError(f'no "segmentation" and a "bbox" of {len(bbox)} numbers; it needs one of them, of 4 or 5')
    _refuse_empty(bbox)
    left, top, width, height = bbox
    degrees = _rotation(fields)
    if degrees:
        box = [left + width / 2, top + height / 2, width, height, math.radians(degrees)]
        return boxes_to_quads(np.array([box]), "rolabelimg")[0]
    return np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]])


def _rotation(fields: dict[str, Any]) -> float:
    """The degrees, clockwise, by which CVAT turns a `bbox` of four numbers."""
    attributes = fields.get("attributes")
    told = attributes.get("rotation") if isinstance(attributes, dict) else None
    return number(told or 0, '"rotation"')


def _refuse_empty(bbox: Sequence[float]) -> None:
    if bbox[2] <= 0 or bbox[3] <= 0:
        raise ValueError(f"a box of size {bbox[2]:g} x {bbox[3]:g}; draw the box again")


def _points(outline: Any) -> list[list[float]]:
    values = numbers(outline, "a polygon")
    if len(values) % 2:
        raise ValueError(f"a polygon of {len(values)} numbers, which are no pairs; correct it")
    return [*without_closing([values[place : place + 2] for place in range(0, len(values), 2)])]
