"""How exact boxes are: by how much each differs from the object that it was found for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from DOTA_devkit.boxes import quads_to_boxes

SQUARE_RATIO = 1.2  # longer by shorter side; below, nobody can tell which side is the longer one


class Exactness(NamedTuple):
    """Of n boxes and their objects, (n,) each. center: pixels from one middle to the other. angle: degrees between the
    longer sides, 0 to 90; between any two where the object is nearly square, 0 to 45. length, width: longer and shorter
    side of the box by that of the object."""

    center: np.ndarray
    angle: np.ndarray
    length: np.ndarray
    width: np.ndarray


def exactness(found: np.ndarray, truth: np.ndarray) -> Exactness:
    """Compare boxes (n, 4, 2) with the objects (n, 4, 2) that they stand for, both by their smallest rectangles."""
    boxes, objects = (quads_to_boxes(quads, "le90") for quads in (found, truth))
    turn = 180.0 / np.where(objects[:, 2] < SQUARE_RATIO * objects[:, 3], 2, 1)
    angle = np.abs(np.rad2deg(boxes[:, 4] - objects[:, 4])) % turn
    sides = boxes[:, 2:4] / np.maximum(objects[:, 2:4], np.finfo(float).tiny)
    return Exactness(
        np.linalg.norm(boxes[:, :2] - objects[:, :2], axis=1), np.minimum(angle, turn - angle), sides[:, 0], sides[:, 1]
    )
