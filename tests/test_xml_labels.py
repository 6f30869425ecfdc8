"""Annotations in XML: real files with all their oddities, and damaged ones that are refused with file and line."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.label_formats.xml_labels import read_annotation, read_hrsc, read_rolabelimg
from DOTA_devkit.boxes import signed_area
from DOTA_devkit.labels import LabelError

ROTATED = "<robndbox><cx>50</cx><cy>40</cy><w>30</w><h>10</h><angle>0.5</angle></robndbox>"
SIZE = "<size><width>640</width><height>512</height></size>"
UPRIGHT = "<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>40</xmax><ymax>60</ymax></bndbox>"


def rolabelimg_object(box: str = ROTATED, name: str = "<name>ship</name>", rest: str = "") -> str:
    return f"<object>{name}<pose>Unspecified</pose>{rest}{box}</object>"


def write(folder: Path, *objects: str, head: str = "") -> Path:
    """A roLabelImg file with an object a line, from line 2 on."""
    path = folder / "图 1.xml"
    path.write_text("\n".join([f"{head}<annotation>", *objects, "</annotation>\n"]), encoding="utf-8")
    return path


def rolabelimg_corners(cx: float, cy: float, w: float, h: float, angle: float) -> list[tuple[float, float]]:
    """The formula of the format: centre +- w/2 (cos, sin) +- h/2 (-sin, cos)."""
    u, v = (math.cos(angle) * w / 2, math.sin(angle) * w / 2), (-math.sin(angle) * h / 2, math.cos(angle) * h / 2)
    return [(cx + i * u[0] + j * v[0], cy + i * u[1] + j * v[1]) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


# -- good files


@given(
    cx=st.floats(-100, 5000),
    cy=st.floats(-100, 5000),
    w=st.floats(0.01, 2000),
    h=st.floats(0.01, 2000),
    angle=st.floats(0, math.pi, exclude_max=True),
)
@settings(deadline=None, max_examples=100)
def test_corners_follow_the_formula_of_rolabelimg(
    tmp_path_factory: pytest.TempPathFactory, cx: float, cy: float, w: float, h: float, angle: float
) -> None:
    box = f"<robndbox><cx>{cx!r}</cx><cy>{cy!r}</cy><w>{w!r}</w><h>{h!r}</h><angle>{angle!r}</angle></robndbox>"
    labels = read_rolabelimg(write(tmp_path_factory.getbasetemp(), rolabelimg_object(box)))
    assert np.abs(labels.quads[0] - rolabelimg_corners(cx, cy, w, h, angle)).max() < 1e-9
    assert signed_area(labels.quads)[0] > 0, "clockwise on the screen"


def test_an_upright_and_a_rotated_box_may_stand_in_one_file(tmp_path: Path) -> None:
    labels = read_rolabelimg(
        write(tmp_path, rolabelimg_object(UPRIGHT, "<name>dog</name>"), rolabelimg_object(ROTATED))
    )
    assert labels.names == ["dog", "ship"]
    assert labels.quads[0].tolist() == [[10, 20], [40, 20], [40, 60], [10, 60]]
    assert np.abs(labels.quads[1] - rolabelimg_corners(50, 40, 30, 10, 0.5)).max() < 1e-9
    assert labels.lines.tolist() == [2, 3]
    assert (labels.quads.dtype, labels.difficult.dtype, labels.lines.dtype) == (np.float64, np.int64, np.int64)


def test_the_child_decides_what_the_box_is_and_not_the_type(tmp_path: Path) -> None:
    labels = read_rolabelimg(write(tmp_path, rolabelimg_object(UPRIGHT, rest="<type>robndbox</type>")))
    assert labels.quads[0].tolist() == [[10, 20], [40, 20], [40, 60], [10, 60]]


def test_a_box_of_cvat_is_turned_by_its_rotation(tmp_path: Path) -> None:
    """CVAT's VOC export holds the box as it was before it was turned; the rotation was lost without a word."""
    pairs = [("name", "occluded"), ("value", "0")], [("name", "rotation"), ("value", "90")]
    texts = ["".join(f"<{tag}>{text}</{tag}>" for tag, text in pair) for pair in (*pairs, pairs[1][::-1])]
    occluded, turned, backwards = (f"<attribute>{text}</attribute>" for text in texts)
    lists = [occluded + turned, backwards, turned.replace("90", "0.0"), occluded, turned.replace("90", "450")]
    objects = [rolabelimg_object(UPRIGHT, rest=f"<attributes>{inner}</attributes>") for inner in lists]
    annotation = read_annotation(write(tmp_path, *objects))
    upright, across = [[10, 20], [40, 20], [40, 60], [10, 60]], [[45, 25], [45, 55], [5, 55], [5, 25]]
    assert np.abs(annotation.labels.quads - [across, across, upright, upright, across]).max() < 1e-9
    assert annotation.kinds == ["rotated", "rotated", "horizontal", "horizontal", "rotated"]
    assert annotation.wide_angles == []
    both = rolabelimg_object(ROTATED, rest=f"<attributes>{turned}</attributes>")
    labels = read_rolabelimg(write(tmp_path, both))
    assert np.abs(labels.quads[0] - rolabelimg_corners(50, 40, 30, 10, 0.5)).max() < 1e-9, "of a bndbox alone"


def test_what_the_file_says_of_the_picture_is_not_believed(tmp_path: Path) -> None:
    """Seen in the wild: a filename without suffix, a Windows path in Chinese, the depth and size of another picture."""
    about = (
        "<filename>other</filename><path>C:\\数据\\other.jpg</path>"
        "<size><width>1</width><height>-3</height><depth>1</depth></size>"
    )
    labels = read_rolabelimg(write(tmp_path, about, rolabelimg_object()))
    assert labels.names == ["ship"]
    assert np.abs(labels.quads[0] - rolabelimg_corners(50, 40, 30, 10, 0.5)).max() < 1e-9


def test_a_box_that_sticks_out_of_the_picture_is_read_as_it_is(tmp_path: Path) -> None:
    labels = read_rolabelimg(write(tmp_path, rolabelimg_object(UPRIGHT.replace(">10<", ">-15.5<"))))
    assert labels.quads[0, 0].tolist() == [-15.5, 20]


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("", 0),
        ("<difficult></difficult>", 0),
        ("<difficult>0</difficult>", 0),
        ("<difficult> 1 </difficult>", 1),
        ("<difficult>2</difficult>", 2),
        ("<difficult>1.0</difficult>", 1),
        ("<difficult>True</difficult>", 1),
        ("<difficult>no</difficult>", 0),
    ],
)
def test_the_difficult_flag_is_read_and_may_be_missing(tmp_path: Path, rest: str, expected: int) -> None:
    assert read_rolabelimg(write(tmp_path, rolabelimg_object(rest=rest))).difficult.tolist() == [expected]


def test_a_name_may_be_of_any_script_and_hold_blanks_and_marked_characters(tmp_path: Path) -> None:
    names = ["集装箱船", "small  vehicle", "<![CDATA[a<b]]>", "R&amp;D &#x8239;"]
    labels = read_rolabelimg(write(tmp_path, *(rolabelimg_object(name=f"<name>{name}</name>") for name in names)))
    assert labels.names == ["集装箱船", "small vehicle", "a<b", "R&D 船"]


def test_parts_and_attributes_of_an_object_are_not_taken_for_its_own(tmp_path: Path) -> None:
    """VOC files hold parts with boxes, CVAT's hold attributes with names, before or behind the object's own."""
    inner = "<part><name>bow</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    more = "<attributes><attribute><name>occluded</name><value>0</value></attribute></attributes>"
    box = f"{UPRIGHT}{inner}{more}"
    labels = read_rolabelimg(
        write(tmp_path, rolabelimg_object(box), rolabelimg_object(UPRIGHT, f"{inner}<name>a</name>"))
    )
    assert labels.names == ["ship", "a"]
    assert labels.quads[:, 0].tolist() == [[10, 20], [10, 20]]
    with pytest.raises(LabelError, match="none of robndbox, bndbox, polygon and points"):
        read_rolabelimg(write(tmp_path, rolabelimg_object(inner)))


def test_an_upright_box_beside_the_turned_one_of_an_object_is_passed_over(tmp_path: Path) -> None:
    for boxes in (UPRIGHT + ROTATED, ROTATED + UPRIGHT):
        assert read_annotation(write(tmp_path, rolabelimg_object(boxes))).kinds == ["rotated"]


@pytest.mark.parametrize("encoding", ["utf-8", "gbk", "utf-16"])
def test_a_damaged_file_is_read_or_refused_but_never_a_crash(tmp_path: Path, encoding: str) -> None:
    rng = np.random.default_rng(0)
    body = "".join(rolabelimg_object(box, "<name>船</name>") for box in (ROTATED, UPRIGHT, DIOR_R))
    whole = f'<?xml version="1.0" encoding="{encoding}"?><annotation>{SIZE}{body}</annotation>'.encode(encoding)
    path = tmp_path / "a.xml"
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(256)
        path.write_bytes(data[: rng.integers(len(data))] if rng.random() < 0.2 else data)
        with suppress(LabelError):
            annotation = read_annotation(path, lambda error: None)
            assert np.isfinite(annotation.labels.quads).all()
            assert len(annotation.kinds) == len(annotation.labels.names) <= 3


# -- what the command asks for beside the objects


# As in DIOR-R's own files (Cheng et al., TGRS 2022): the angle stands outside of the box; golden, written by hand.
DIOR_R = """<angle>-1.2</angle><robndbox>
<x_left_top>100</x_left_top><y_left_top>60</y_left_top>
<x_right_top>160</x_right_top><y_right_top>20</y_right_top>
<x_right_bottom>180</x_right_bottom><y_right_bottom>50</y_right_bottom>
<x_left_bottom>120</x_left_bottom><y_left_bottom>90</y_left_bottom>
</robndbox>"""


def test_the_corners_of_dior_r_are_taken_as_they_are(tmp_path: Path) -> None:
    annotation = read_annotation(
        write(tmp_path, rolabelimg_object(DIOR_R), rolabelimg_object(), rolabelimg_object(UPRIGHT))
    )
    assert annotation.labels.quads[0].tolist() == [[100, 60], [160, 20], [180, 50], [120, 90]]
    assert annotation.kinds == ["corners", "rotated", "horizontal"]
    assert annotation.wide_angles == []


def test_corners_that_run_the_other_way_are_turned_round(tmp_path: Path) -> None:
    turned = DIOR_R.replace("right_top", "?").replace("left_bottom", "right_top").replace("?", "left_bottom")
    labels = read_rolabelimg(write(tmp_path, rolabelimg_object(turned)))
    assert labels.quads[0].tolist() == [[100, 60], [160, 20], [180, 50], [120, 90]]


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (DIOR_R.replace(">180<", ">x<"), "<x_right_bottom> is 'x', not a number"),
        (DIOR_R.replace("<x_left_top>100</x_left_top>", ""), "<x_left_top> is '', not a number"),
        (DIOR_R.replace(">180<", ">100<").replace(">50<", ">60<"), "the quad has no area"),
        (
            DIOR_R.replace(">160<", ">120<").replace(">20<", ">90<").replace(">120</x_l", ">160</x_l"),
            "the quad crosses itself",
        ),
        (ROTATED.replace(">10<", ">1e-15<"), "the quad has no area"),
        (ROTATED.replace(">30<", ">1e9<").replace(">50<", ">1e9<"), "beyond 1e+09 pixels"),
    ],
)
def test_boxes_that_no_label_line_could_hold_are_reported(tmp_path: Path, bad: str, sentence: str) -> None:
    path = write(tmp_path, rolabelimg_object(), rolabelimg_object(bad), rolabelimg_object(UPRIGHT))
    with pytest.raises(LabelError, match=re.escape(sentence)):
        read_rolabelimg(path)
    reported: list[LabelError] = []
    annotation = read_annotation(path, reported.append)
    assert annotation.kinds == ["rotated", "horizontal"]
    assert len(reported) == 1


@pytest.mark.parametrize("angle", [-40.0, -6.2, -0.5, 3.2, 6.2, 6.3, 45.0, 1e6])
def test_an_angle_of_any_range_is_read_in_radians_and_beyond_a_turn_noted(tmp_path: Path, angle: float) -> None:
    box = ROTATED.replace("0.5</angle>", f"{angle}</angle>")
    annotation = read_annotation(write(tmp_path, rolabelimg_object(UPRIGHT), rolabelimg_object(box)))
    assert np.abs(annotation.labels.quads[1] - rolabelimg_corners(50, 40, 30, 10, angle)).max() < 1e-6
    assert annotation.wide_angles == ([1] if abs(angle) > 2 * math.pi else [])


@pytest.mark.parametrize(
    ("size", "hw"),
    [
        ("", None),
        ("<size><width>640</width><height>512</height><depth>1</depth></size>", (512, 640)),
        ("<size><width>640.0</width><height> 512 </height></size>", (512, 640)),
        ("<size><width>0</width><height>0</height></size>", None),
        ("<size><width>640</width></size>", None),
        ("<size><width>?</width><height>512</height></size>", None),
        ("<size><width>nan</width><height>inf</height></size>", None),
        ("<source><width>3</width><height>4</height></source>", None),
    ],
)
def test_the_size_is_told_where_there_is_one(tmp_path: Path, size: str, hw: tuple[int, int] | None) -> None:
    inner = "<size><width>1</width><height>2</height></size>"
    assert read_annotation(write(tmp_path, size, rolabelimg_object(rest=inner))).hw == hw


def test_a_fault_tells_its_kind_in_a_worker_process_too(tmp_path: Path) -> None:
    faults: list[LabelError] = []
    read_annotation(write(tmp_path, rolabelimg_object(ROTATED.replace(">30<", ">0<"))), faults.append)
    sent = pickle.loads(pickle.dumps(faults[0]))
    assert (str(sent), sent.kind, sent.line) == (str(faults[0]), "zero-area", 2)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_rolabelimg, "<annotation></annotation>"),
        (read_rolabelimg, "<annotation/>"),
        (read_rolabelimg, "<annotation><filename>a</filename><object_count>0</object_count></annotation>"),
        (read_hrsc, "<HRSC_Image><HRSC_Objects/></HRSC_Image>"),
    ],
)
def test_a_file_without_objects_is_a_picture_without_objects(tmp_path: Path, read: Callable, text: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(text, encoding="utf-8")
    labels = read(path)
    assert labels.quads.shape == (0, 4, 2)
    assert (labels.names, labels.difficult.tolist(), labels.lines.tolist()) == ([], [], [])


# -- bad objects


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (rolabelimg_object(ROTATED.replace(">30<", ">0<")), "box of size 0 x 10"),
        (rolabelimg_object(ROTATED.replace(">10<", ">-10<")), "box of size 30 x -10"),
        (rolabelimg_object(ROTATED.replace(">50<", ">fifty<")), "<cx> is 'fifty', not a number"),
        (rolabelimg_object(ROTATED.replace(">50<", "><")), "<cx> is '', not a number"),
        (rolabelimg_object(ROTATED.replace("<cx>50</cx>", "")), "<cx> is '', not a number"),
        (rolabelimg_object(ROTATED.replace(">0.5<", ">nan<")), "<angle> is nan"),
        (rolabelimg_object(ROTATED.replace(">40<", ">-inf<")), "<cy> is -inf"),
        (rolabelimg_object(ROTATED.replace(">30<", ">1e300<")), "<w> is 1e300"),
        (rolabelimg_object(UPRIGHT.replace(">40<", ">10<")), "bndbox of zero or negative size"),
        (rolabelimg_object(UPRIGHT.replace(">60<", ">5<")), "bndbox of zero or negative size"),
        (rolabelimg_object(UPRIGHT.replace(">40<", ">4O<")), "<xmax> is '4O', not a number"),
        (rolabelimg_object(""), "none of robndbox, bndbox, polygon and points"),
        (rolabelimg_object("<polygon><x1>1</x1></polygon>"), "<y1> is '', not a number"),
        (rolabelimg_object(name=""), "object without <name>"),
        (rolabelimg_object(name="<name>  </name>"), "object without <name>"),
        (rolabelimg_object(rest="<difficult>3</difficult>"), "<difficult> is 3; it must be 0, 1 or 2"),
        (rolabelimg_object(rest="<difficult>0.5</difficult>"), "<difficult> is 0.5; it must be 0, 1 or 2"),
        (rolabelimg_object(rest="<difficult>maybe</difficult>"), "<difficult> is maybe; it must be 0, 1 or 2"),
        (rolabelimg_object(ROTATED + ROTATED.replace(">50<", ">90<")), "two boxes of one kind in one object"),
        (rolabelimg_object(UPRIGHT + UPRIGHT), "two boxes of one kind in one object"),
    ],
)
def test_a_bad_object_is_named_with_file_and_line_or_left_out(tmp_path: Path, bad: str, sentence: str) -> None:
    path = write(tmp_path, rolabelimg_object(), bad, rolabelimg_object(UPRIGHT))
    with pytest.raises(LabelError) as raised:
        read_rolabelimg(path)
    assert str(raised.value).startswith(f"{path}:3: ")
    assert sentence in str(raised.value)
    reported: list[LabelError] = []
    assert read_rolabelimg(path, reported.append).lines.tolist() == [2, 4]
    assert [error.line for error in reported] == [3]


# -- HRSC2016


HRSC = """<HRSC_Image>
<Img_ID>100000001</Img_ID><Img_SizeWidth>1166</Img_SizeWidth>
<HRSC_Objects>
<HRSC_Object><Object_ID>1</Object_ID><Class_ID>100000013</Class_ID><difficult>1</difficult>
<box_xmin>194</box_xmin><box_ymin>243</box_ymin><box_xmax>972</box_xmax><box_ymax>507</box_ymax>
<mbox_cx>582.9349</mbox_cx><mbox_cy>353.2006</mbox_cy><mbox_w>778.1303</mbox_w><mbox_h>174.2541</mbox_h>
<mbox_ang>-0.2144</mbox_ang><segmented>0</segmented></HRSC_Object>
<HRSC_Object><mbox_cx>10</mbox_cx><mbox_cy>20</mbox_cy><mbox_w>8</mbox_w><mbox_h>4</mbox_h><mbox_ang>0</mbox_ang>
</HRSC_Object>
</HRSC_Objects>
</HRSC_Image>
"""


def test_hrsc_objects_are_ships_at_the_angle_of_their_minimum_box(tmp_path: Path) -> None:
    path = tmp_path / "100000001.xml"
    path.write_text(HRSC, encoding="utf-8")
    labels = read_hrsc(path)
    assert labels.names == ["ship", "ship"]
    assert labels.difficult.tolist() == [1, 0]
    assert labels.lines.tolist() == [4, 8]
    expected = [
        rolabelimg_corners(582.9349, 353.2006, 778.1303, 174.2541, -0.2144),
        rolabelimg_corners(10, 20, 8, 4, 0),
    ]
    assert np.abs(labels.quads - expected).max() < 1e-9


def test_a_bad_hrsc_object_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(HRSC.replace("<mbox_w>8<", "<mbox_w>x<"), encoding="utf-8")
    with pytest.raises(LabelError, match=r"a\.xml:8: <mbox_w> is 'x', not a number"):
        read_hrsc(path)
    reported: list[LabelError] = []
    assert len(read_hrsc(path, reported.append).names) == len(reported) == 1


# -- real files


def test_the_files_of_the_author_of_rolabelimg_are_read(real_folder: Callable[[str], Path]) -> None:
    labels = {path.stem: read_rolabelimg(path) for path in real_folder("rolabelimg").glob("xml/*.xml")}
    assert labels["demo3"].names == ["dog", "cat", "person", "tv"]
    assert labels["demo3"].quads[0].tolist() == [[354, 162], [499, 162], [499, 269], [354, 269]]
    person = rolabelimg_corners(398.245, 137.3459, 48.3577, 226.2906, 1.134448)
    assert np.abs(labels["demo3"].quads[2] - person).max() < 1e-9
    assert labels["demo4"].names == ["ship"]
    assert sum(len(file.names) for file in labels.values()) == 11


@pytest.mark.parametrize("text", ["<foo/>", "<HRSC_Image><HRSC_Objects/></HRSC_Image>", '<a:annotation xmlns:a="x"/>'])
def test_xml_of_another_format_is_no_picture_without_objects(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabelError, match=r"a\.xml:1: the root element is <.*>, not <annotation>"):
        read_rolabelimg(path)
