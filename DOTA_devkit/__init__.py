"""Polygons and big pictures: exact overlap, suppression, the codec of boxes; numpy in and out, no compiler."""

from __future__ import annotations

import importlib

_HOMES = {
    "poly_iou": "iou",
    "paired_iou": "iou",
    "one_to_many_iou": "iou",
    "intersection_over_first": "iou",
    "poly_nms": "nms",
    "clip_quads": "clipping",
    "polygon_area": "boxes",
    "minimum_area_rectangles": "boxes",
    "encode_vectors": "boxes",
    "free_quads": "boxes",
    "rectangle_quads": "boxes",
    "horizontal_quads": "boxes",
    "quads_to_boxes": "boxes",
    "boxes_to_quads": "boxes",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    """Fetch an exported name at first use, so that reading labels or making tiles does not wait for numba."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
