"""Boxes are written in roLabelImg's own layout, and come back where they were."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture, Row, as_labels
from datasets.label_formats.rolabelimg_xml import (
    FLAG_2,
    FREE,
    NO_SIZE,
    rectangles_of,
    write_rolabelimg,
    write_rolabelimg_file,
)
from datasets.label_formats.xml_labels import read_rolabelimg
from DOTA_devkit.boxes import boxes_to_quads
from tests.label_documents import HEIGHT, QUAD, UPRIGHT, WIDTH


def rows(*quads: object, name: str = "船 & <b>", flag: int = 0) -> list[Row]:
    return [Row(np.array(quad, float), name, flag, 1) for quad in quads]


def test_the_layout_is_that_of_rolabelimg(tmp_path: Path) -> None:
    image_path = tmp_path / "数 & 据" / "图 1.png"
    picture = Picture("图 1", as_labels(rows(QUAD, flag=1)), hw=(HEIGHT, WIDTH), path=image_path)
    write_rolabelimg(tmp_path / "out", AnnotatedSet([picture]), ledger := Ledger())
    assert ledger == Ledger()
    root = ElementTree.parse(tmp_path / "out" / "xml" / "图 1.xml").getroot()
    assert [child.tag for child in root] == ["folder", "filename", "path", "source", "size", "segmented", "object"]
    assert (root.tag, root.attrib) == ("annotation", {"verified": "no"})
    assert [root.findtext(tag) for tag in ("folder", "filename", "path")] == ["数 & 据", "图 1", str(image_path)]
    assert [root.findtext(f"size/{tag}") for tag in ("width", "height", "depth")] == ["200", "160", "3"]
    box = root.find("object")
    tags = ["type", "name", "pose", "truncated", "difficult", "robndbox"]
    assert [child.tag for child in box] == tags
    assert [child.text for child in box][:5] == ["robndbox", "船 & <b>", "Unspecified", "0", "1"]
    numbers = [float(child.text) for child in box.find("robndbox")]
    assert [child.tag for child in box.find("robndbox")] == ["cx", "cy", "w", "h", "angle"]
    assert numbers == pytest.approx([100, 100, 100, 50, math.atan2(3, 4)])


def test_a_counter_clockwise_quad_is_the_same_rectangle(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    write_rolabelimg_file(path, Picture("a", as_labels(rows(QUAD[::-1], UPRIGHT[::-1])), hw=(9, 9)), ledger := Ledger())
    assert ledger.changed == {}
    back = read_rolabelimg(path).quads
    assert sorted(back[0].round(6).tolist()) == sorted(QUAD)
    assert sorted(back[1].round(6).tolist()) == sorted(UPRIGHT)


def test_a_free_quad_becomes_its_smallest_rectangle_and_is_counted(tmp_path: Path) -> None:
    free = [[0, 0], [10, 0], [10, 5], [1, 5]]
    path = tmp_path / "a.xml"
    picture = Picture("a", as_labels(rows(free, QUAD) + rows(QUAD, flag=2)))
    write_rolabelimg_file(path, picture, ledger := Ledger())
    assert ledger.changed == {FREE: 1, FLAG_2: 1, NO_SIZE: 1}
    back = read_rolabelimg(path)
    assert np.abs(back.quads[0] - [[0, 0], [10, 0], [10, 5], [0, 5]]).max() < 1e-6
    assert back.difficult.tolist() == [0, 0, 2]


@pytest.mark.slow
@given(
    box=st.tuples(st.floats(-100, 5000), st.floats(-100, 5000), st.floats(0.01, 2000), st.floats(0.01, 2000)),
    angle=st.floats(-10, 10),
    name=st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=8),
)
@settings(deadline=None, max_examples=100)
def test_any_rectangle_comes_back_corner_by_corner(box: tuple, angle: float, name: str) -> None:
    if {*name} & {*"\ufeff\ufffe\uffff"}:
        return
    quad = boxes_to_quads(np.array([[*box, angle]]), "rolabelimg")[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.xml"
        write_rolabelimg_file(path, Picture("a", as_labels(rows(quad, name=name)), hw=(9, 9)), ledger := Ledger())
        labels = read_rolabelimg(path)
        again = Path(folder) / "b.xml"
        write_rolabelimg_file(again, Picture("a", labels, hw=(9, 9)), Ledger())
        assert again.read_bytes() == path.read_bytes()
    assert ledger.changed == {}
    assert labels.names == [name]
    turned = [np.roll(labels.quads[0], shift, axis=0) for shift in (0, 2)]  # the same w and h, the angle in [0, pi)
    assert min(np.abs(each - quad).max() for each in turned) < 1e-6
    assert 0 <= float(ElementTree.fromstring(_xml_of(quad)).findtext(".//angle")) < math.pi


def _xml_of(quad: np.ndarray) -> str:
    with tempfile.TemporaryDirectory() as folder:
        write_rolabelimg_file(Path(folder) / "a.xml", Picture("a", as_labels(rows(quad))), Ledger())
        return (Path(folder) / "a.xml").read_text(encoding="utf-8")


def test_no_quads_give_no_rectangles() -> None:
    boxes, num_free = rectangles_of(np.zeros((0, 4, 2)))
    assert (boxes.shape, num_free) == ((0, 5), 0)


def test_a_path_that_no_xml_can_hold_does_no_harm(tmp_path: Path) -> None:
    picture = Picture("a", file_name="\udce4\x01<&>.png", hw=(9, 9))
    write_rolabelimg_file(tmp_path / "a.xml", picture, Ledger())
    assert ElementTree.parse(tmp_path / "a.xml").getroot().findtext("path").endswith("<&>.png")


def test_the_file_name_has_no_folder_of_windows(tmp_path: Path) -> None:
    write_rolabelimg_file(tmp_path / "a.xml", Picture("图 1", file_name="C:\\数据\\图 1.png", hw=(9, 9)), Ledger())
    assert ElementTree.parse(tmp_path / "a.xml").getroot().findtext("filename") == "图 1"


def test_the_files_of_the_author_of_rolabelimg_keep_their_numbers(
    tmp_path: Path, real_folder: Callable[[str], Path]
) -> None:
    for path in sorted((real_folder("rolabelimg") / "xml").glob("*.xml")):
        write_rolabelimg_file(tmp_path / path.name, Picture(path.stem, read_rolabelimg(path), hw=(9, 9)), Ledger())
        before = ElementTree.parse(path).getroot().findall(".//robndbox")
        after = ElementTree.parse(tmp_path / path.name).getroot().findall(".//robndbox")
        written = [[float(number.text) for number in box] for box in after]
        for box in before:
            numbers = [float(number.text) for number in box]
            assert min(np.abs(np.subtract(numbers, other)).max() for other in written) < 1e-9
