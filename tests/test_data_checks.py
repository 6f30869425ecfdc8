"""Checks of objects: what is wrong is flagged, once and with its row; what is right is not."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.label_formats.xml_labels import read_rolabelimg
from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.clipping import clip_quads
from DOTA_devkit.iou import poly_iou
from DOTA_devkit.labels import LabelError, read_labels
from tools.data_check.data_checks import (
    KINDS,
    LISTED,
    Objects,
    check_objects,
    check_pictures,
    escaped,
    find_duplicates,
    flag,
    input_scales,
    is_normalised,
    overhang,
    raw_corners,
)

BOX = np.array([[10.0, 10.0], [40.0, 10.0], [40.0, 30.0], [10.0, 30.0]])
INPUT = (608, 608)


def objects_of(
    *quads: np.ndarray, labels=None, ignored=None, owner=None, difficult=None, sizes=((100, 200),)
) -> Objects:
    count = len(quads)
    return Objects(
        np.array(quads, np.float64).reshape(-1, 4, 2),
        np.array(labels if labels is not None else [0] * count, np.int64),
        np.array(ignored if ignored is not None else [False] * count, bool),
        np.array(difficult if difficult is not None else [0] * count, np.int64),
        np.array(owner if owner is not None else [0] * count, np.int64),
        np.array(sizes, np.float64),
    )


def found(objects: Objects) -> dict[str, list[int]]:
    """{kind: rows} of what is wrong."""
    flagged = check_objects(objects, INPUT)
    assert all(item.kind in KINDS for item in flagged)
    return {item.kind: sorted(row for row, _, _ in item.worst) for item in flagged if item.count}


@pytest.mark.slow
def test_a_good_box_is_not_flagged():
    assert found(objects_of(BOX)) == {}


def test_no_objects_have_no_faults():
    assert check_objects(objects_of(), INPUT) == []


@pytest.mark.parametrize(
    ("quad", "kind"),
    [
        (BOX[::-1], "counter-clockwise"),
        (BOX + np.array([300, 0]), "outside"),
        (BOX - [40, 0], "outside"),
        (BOX - [20, 0], "partly-outside"),
        (BOX + np.array([0, 75]), "partly-outside"),
        (BOX + np.outer([0, 0, 1, 0], [1e9, 0]), "far-outside"),
        (BOX * [1, 0.02] + [0, 20], "too-small"),
        (BOX / 100, "normalised"),
    ],
)
def test_each_fault_is_found_and_no_other(quad, kind):
    assert found(objects_of(quad)) == {kind: [0]}


def test_a_corner_within_a_pixel_of_the_border_is_rounding():
    assert found(objects_of(BOX - [10.9, 0])) == {}


def test_a_picture_of_unknown_size_has_nothing_outside_and_nothing_too_small():
    assert found(objects_of(BOX + 500, BOX * 0.1 + 50, sizes=((np.nan, np.nan),))) == {}


def test_smallness_is_judged_after_the_resize():
    wide = objects_of(BOX * [1, 0.15], sizes=((1216, 1216),))  # 3 px high, half of that in the input
    assert found(wide) == {"too-small": [0]}
    assert found(wide._replace(sizes=np.array([[608.0, 608.0]]))) == {}
    assert found(wide._replace(ignored=np.array([True]))) == {}


def test_the_second_of_two_boxes_of_a_class_is_the_duplicate():
    assert found(objects_of(BOX, BOX + 0.2, BOX + 0.3)) == {"duplicate": [1, 2]}
    assert found(objects_of(BOX, BOX + 0.2, labels=[0, 1])) == {}
    assert found(objects_of(BOX, BOX, owner=[0, 1], sizes=((100, 200),) * 2)) == {}
    assert found(objects_of(BOX, BOX + 3)) == {}


def test_of_two_boxes_with_unlike_flags_the_higher_one_is_the_duplicate():
    objects = objects_of(
        BOX, BOX, BOX + 0.2, BOX + 0.2, difficult=[0, 0, 2, 0], owner=[0, 1, 1, 1], sizes=((100, 200),) * 2
    )
    (doubled,) = (item for item in check_objects(objects, INPUT) if item.kind == "duplicate")
    assert sorted((row, what) for row, what, _ in doubled.worst) == [
        (2, "the same object of the same class stands there with a lower flag"),
        (3, "the same object of the same class stands there before"),
    ]


def test_coordinates_from_0_to_1_are_told_once_a_picture():
    unit = BOX / 50
    objects = objects_of(unit, unit + 0.2, unit, BOX, owner=[0, 0, 1, 1], sizes=((100, 200),) * 2)
    assert found(objects)["normalised"] == [0]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12))
def test_duplicates_are_those_of_the_overlap_matrix(seed, count):
    rng = np.random.default_rng(seed)
    boxes = np.column_stack(
        [rng.uniform(20, 24, (count, 2)), rng.uniform(18, 20, (count, 2)), rng.uniform(0, 0.1, count)]
    )
    quads, labels = boxes_to_quads(boxes, "rolabelimg"), rng.integers(2, size=count)
    owner = np.sort(rng.integers(3, size=count))
    expected = np.full(count, -1)
    overlaps = poly_iou(quads, quads)
    for j in range(count):
        for i in range(j):
            same = owner[i] == owner[j] and labels[i] == labels[j] and expected[i] < 0
            if same and overlaps[i, j] > 0.8 and expected[j] < 0:
                expected[j] = i
    assert find_duplicates(quads, labels, owner, 0.8).tolist() == expected.tolist()


def test_a_picture_of_many_thousand_objects_takes_no_minutes():
    """30,000 boxes took a minute: pairs that are nowhere near each other were clipped."""
    rng = np.random.default_rng(0)
    corners = np.array([[0, 0], [9, 0], [9, 5], [0, 5.0]])
    quads = rng.uniform(0, 3000, (8000, 1, 2)) + corners
    quads[-1] = quads[0]
    numbers = np.zeros(len(quads), np.int64)
    find_duplicates(quads[:2], numbers[:2], numbers[:2], 0.95)  # compiles
    started = time.process_time()
    twins = find_duplicates(quads, numbers, numbers, 0.95)
    assert time.process_time() - started < 1.5, "4 s before, 0.1 s now"
    assert twins[-1] == 0


def test_crowds_and_giants_are_told_of_the_picture():
    sizes = np.array([[608.0, 608.0], [4000.0, 3000.0], [np.nan, np.nan]])
    crowd, giant = check_pictures(sizes, np.array([501, 3, 500]), INPUT, 500)
    assert (crowd.kind, [row for row, _, _ in crowd.worst]) == ("too-many", [0])
    assert (giant.kind, [(row, what) for row, what, _ in giant.worst]) == (
        "large-picture",
        [(1, "3000 x 4000 px are shrunk to 0.15 of their size")],
    )


def test_all_are_counted_and_the_worst_are_told():
    count = LISTED + 100
    flagged = flag("outside", np.ones(count, bool), np.arange(count, dtype=float), str)
    assert flagged.count == count
    assert [row for row, _, _ in flagged.worst] == list(range(count - 1, 99, -1))


def test_overhang_is_the_farthest_corner_beyond_the_border():
    beyond, outside = overhang(np.array([BOX, BOX - [15, 0], BOX + np.array([200, 0])]), np.array([[100.0, 200.0]] * 3))
    assert beyond.tolist() == [0, 5, 40]
    assert outside.tolist() == [False, False, True]


def test_a_quad_that_passes_a_corner_lies_outside() -> None:
    """Its outer box reaches into the picture, and --fix kept it."""
    past = np.array([[-30.0, 10], [10, -30], [5, -35], [-35, 5]])
    quads = np.array([past, past + 12, past + 20, BOX, np.zeros((4, 2))])
    _, outside = overhang(quads, np.array([[100.0, 200.0]] * 5))
    assert outside.tolist() == [True, False, False, False, False]
    assert outside[:4].tolist() == (clip_quads(quads[:4], 0, 0, 200, 100)[1] == 0).tolist()
    assert not overhang(quads, np.full((5, 2), np.nan))[1].any()


def test_a_picture_without_objects_is_not_normalised():
    assert is_normalised(np.zeros((0, 4, 2)), np.zeros(0, np.int64), 2).tolist() == [False, False]


def test_the_scale_of_an_unknown_size_is_unknown():
    assert np.isnan(input_scales(np.array([[np.nan, np.nan]]), INPUT)).all()
    assert input_scales(np.zeros((0, 2)), INPUT).shape == (0,)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("1 2 3", "short-line"),
        ("1 2 3 4 5 car 0", "short-line"),
        ("1 2 3 4 NaNo-car 0", "short-line"),  # by the words of its sentence it was not-finite
        ("1 2 x 4 5 6 7 8 car 0", "not-a-number"),
        ("1,2 3,4 5,6 7,8 car 0", "not-a-number"),
        ("nan 2 3 4 5 6 7 8 car 0", "not-finite"),
        ("1 1 inf 1 9 9 1 9 car 0", "not-finite"),
        ("1 1 1e12 1 9 9 1 9 car 0", "not-finite"),
        ("1 1 2 2 3 3 4 4 car 0", "zero-area"),
        ("1 1 9 9 9 1 1 9 car 0", "self-crossing"),
        ("1 1 9 1 9 9 1 9", "no-class"),
        ("1 1 9 1 9 9 1 9 car 7", "bad-flag"),
        (b"1 1 9 1 9 9 1 9 c\xff 0", "encoding"),
    ],
)
def test_what_the_reader_of_labelTxt_refuses_has_a_kind(tmp_path: Path, line, kind):
    path = tmp_path / "a.txt"
    path.write_bytes(line if isinstance(line, bytes) else line.encode())
    problems: list[LabelError] = []
    read_labels(path, problems.append)
    assert [problem.kind for problem in problems] == [kind]


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ("<robndbox><cx>1</cx><cy>1</cy><w>0</w><h>4</h><angle>0</angle></robndbox>", "zero-area"),
        ("<bndbox><xmin>9</xmin><ymin>1</ymin><xmax>2</xmax><ymax>4</ymax></bndbox>", "zero-area"),
        ("<robndbox><cx>x</cx><cy>1</cy><w>3</w><h>4</h><angle>0</angle></robndbox>", "not-a-number"),
        ("<robndbox><cx>nan</cx><cy>1</cy><w>3</w><h>4</h><angle>0</angle></robndbox>", "not-finite"),
        ("", "no-box"),
    ],
)
def test_what_the_reader_of_roLabelImg_refuses_has_a_kind(tmp_path: Path, box, kind):
    path = tmp_path / "a.xml"
    path.write_text(f"<annotation><object><name>car</name>{box}</object></annotation>")
    problems: list[LabelError] = []
    read_rolabelimg(path, problems.append)
    assert [problem.kind for problem in problems] == [kind]


def test_every_kind_tells_what_to_do():
    assert {kind.severity for kind in KINDS.values()} == {"error", "warning", "note"}
    assert all(kind.title and kind.remedy and not kind.remedy.endswith(".") for kind in KINDS.values())


def test_raw_corners_of_a_refused_line():
    assert raw_corners("1 1 9 9 9 1 1 9 car 0").tolist() == [[1, 1], [9, 9], [9, 1], [1, 9]]
    assert raw_corners("1 1 9 9 car") is None
    assert raw_corners("1 1 9 9 9 1 1 inf car") is None
    assert raw_corners("") is None


def test_what_cannot_be_seen_is_spelt_out():
    assert escaped("港口 é 🚢") == "港口 é 🚢"
    assert escaped("a\x1b[31m\nb") == "a\\x1b[31m\\nb"
    assert escaped("gpj.\u202e") == "gpj.\\u202e"
    assert escaped("\udcff") == "\\udcff"
