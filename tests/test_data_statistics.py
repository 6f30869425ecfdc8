"""Numbers of a data set: each object counted once, parts add up to the whole."""

from __future__ import annotations

import numpy as np

from DOTA_devkit.boxes import boxes_to_quads
from tools.data_check.data_checks import Objects
from tools.data_check.data_statistics import ANGLE_EDGES, SIDE_EDGES, Statistics, bin_names, measure_objects

BOXES = np.array([[50, 50, 40, 10, 0.0], [50, 50, 40, 10, np.radians(35)], [50, 50, 10, 40, np.radians(35)]])


def measure(boxes: np.ndarray, ignored: list[bool], difficult: list[int]) -> Statistics:
    count = len(boxes)
    zeros = np.zeros(count, np.int64)
    quads, flags = boxes_to_quads(boxes, "rolabelimg"), np.array(difficult, np.int64)
    return measure_objects(Objects(quads, zeros, np.array(ignored, bool), flags, zeros, np.ones((1, 2))))


def test_sides_angles_and_crowds_are_binned():
    found = measure(BOXES, [False] * 3, [0, 1, 0])
    assert dict(zip(bin_names(SIDE_EDGES), found.short_side.tolist(), strict=True))["8"] == 3
    assert dict(zip(bin_names(SIDE_EDGES), found.long_side.tolist(), strict=True))["32"] == 3
    angles = dict(zip(bin_names(ANGLE_EDGES), found.angle.tolist(), strict=True))
    assert {name: count for name, count in angles.items() if count} == {"0": 1, "30": 1, "-60": 1}
    assert (found.num_horizontal, found.num_difficult, found.most_objects) == (1, 1, 3)


def test_ignore_regions_are_counted_apart():
    found = measure(BOXES, [True, False, False], [2, 0, 0])
    assert (found.num_ignored, found.num_horizontal, found.most_objects) == (1, 0, 2)
    assert found.short_side.sum() == 2


def test_a_picture_without_objects_has_none():
    found = measure(np.zeros((0, 5)), [], [])
    assert found.short_side.sum() == found.most_objects == found.num_horizontal == 0
    assert found.per_picture.tolist()[0] == 1
    assert Statistics().horizontal_share == 0


def test_parts_add_up():
    whole, part = measure(BOXES, [False] * 3, [0, 1, 0]), measure(BOXES[:1], [False], [0])
    part.objects["car", "train"] += 1
    whole.add(part)
    assert (whole.num_horizontal, whole.most_objects, whole.short_side.sum()) == (2, 3, 4)
    assert whole.num_objects == 1
