"""Objects in XML: the outlines of FAIR1M, DroneVehicle and Roboflow, and what is wrong with some."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from datasets.label_formats.xml_labels import read_annotation, read_rolabelimg
from DOTA_devkit.labels import LabelError

QUAD = [[75, 50], [155, 110], [125, 150], [45, 90]]
BNDBOX = "<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>40</xmax><ymax>60</ymax></bndbox>"


def fair1m(*points: str, coordinate: str = "pixel", names: tuple[str, ...] = ("Boeing 747",)) -> str:
    """An object of FAIR1M's, on one line."""
    results = "".join(f"<possibleresult><name>{name}</name></possibleresult>" for name in names)
    outline = "".join(f"<point>{point}</point>" for point in points)
    return f"<object><coordinate>{coordinate}</coordinate>{results}<points>{outline}</points></object>"


def polygon(*corners: tuple[int, int], rest: str = "") -> str:
    """An object of DroneVehicle's, or with `rest` of Roboflow's, on one line."""
    numbered = "".join(f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate(corners, start=1))
    return f"<object><name>car</name>{rest}<polygon>{numbered}</polygon></object>"


CLOSED = ("75.0,50.0", "155.0,110.0", " 125.0 , 150.0 ", "45.0,90.0", "75.0,50.0")
PENTAGON = ((10, 10), (40, 10), (40, 30), (25, 30), (10, 30))


def write(folder: Path, *objects: str) -> Path:
    """A file with an object a line, from line 2 on."""
    path = folder / "图 1.xml"
    path.write_text("\n".join(["<annotation><objects>", *objects, "</objects></annotation>"]), encoding="utf-8")
    return path


def test_the_closed_outline_of_fair1m_is_its_four_corners(tmp_path: Path) -> None:
    annotation = read_annotation(write(tmp_path, fair1m(*CLOSED), fair1m(*CLOSED[:4], names=("", "a", "b"))))
    assert annotation.labels.quads.tolist() == [QUAD, QUAD]
    assert annotation.labels.names == ["Boeing 747", "a"]
    assert annotation.labels.lines.tolist() == [2, 3]
    assert annotation.kinds == ["corners", "corners"]


def test_an_outline_of_more_corners_is_its_smallest_rectangle(tmp_path: Path) -> None:
    path = write(tmp_path, polygon(*PENTAGON), fair1m(*(f"{x},{y}" for x, y in PENTAGON)))
    annotation = read_annotation(path)
    assert annotation.kinds == ["outline", "outline"]
    for quad in annotation.labels.quads.tolist():
        assert np.array(quad) == pytest.approx(np.array([[10, 10], [40, 10], [40, 30], [10, 30]]))


def test_the_polygon_counts_and_not_the_box_around_it(tmp_path: Path) -> None:
    """As Roboflow writes both."""
    assert read_rolabelimg(write(tmp_path, polygon(*map(tuple, QUAD), rest=BNDBOX))).quads.tolist() == [QUAD]


def test_a_polygon_without_numbered_corners_leaves_the_box(tmp_path: Path) -> None:
    """As in LabelMe's own XML, whose points are `pt`."""
    path = write(tmp_path, f"<object><name>car</name><polygon><pt><x>1</x></pt></polygon>{BNDBOX}</object>")
    assert read_annotation(path).kinds == ["horizontal"]


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (fair1m("1 2", *CLOSED), "<point> is '12', not x,y"),
        (fair1m("1,x", *CLOSED), "<point> is 'x', not a number"),
        (fair1m("1,nan", *CLOSED), "which is no place in a picture"),
        (fair1m("1,2", "3,4", "1,2"), "an outline of 2 points has no area"),
        (fair1m("1,2", "2,3", "3,4"), "all points of the outline lie on one line"),
        (fair1m(*CLOSED, coordinate="geographic"), "<coordinate> is geographic; places in pixels can be read alone"),
        (fair1m(*CLOSED, names=()), "object without <name>"),
        (fair1m("1,2", "", "3,4", "5,0"), "<point> is '', not a number"),
        (polygon((1, 2), (3, 4)), "an outline of 2 points has no area"),
        (polygon(*map(tuple, QUAD)).replace("3>", "6>"), "<x3> is '', not a number"),
        (polygon(*map(tuple, QUAD)).replace("<y3>150</y3>", ""), "<y3> is '', not a number"),
        (polygon(*PENTAGON).replace("<polygon>", "<polygon></polygon><polygon>"), "two boxes of one kind"),
    ],
)
def test_an_object_that_cannot_be_used_is_left_out_with_its_line(tmp_path: Path, bad: str, sentence: str) -> None:
    path = write(tmp_path, fair1m(*CLOSED), bad, polygon(*map(tuple, QUAD)))
    reported: list[LabelError] = []
    assert read_annotation(path, reported.append).labels.quads.tolist() == [QUAD, QUAD]
    assert [error.line for error in reported] == [3]
    with pytest.raises(LabelError, match=rf"图 1\.xml:3: .*{re.escape(sentence)}"):
        read_rolabelimg(path)
