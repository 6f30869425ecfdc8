"""CVAT's shapes become quads, and what is no box is refused with its line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from datasets.label_formats.annotations import AS_RECTANGLE, BY_FOLDER
from datasets.label_formats.cvat import TAGS, read_cvat
from DOTA_devkit.labels import LabelError
from tests.label_documents import CVAT_BOX, CVAT_POLYGON, HEIGHT, QUAD, UPRIGHT, WIDTH, cvat_text, write

PLAIN_BOX = '<box label="car" xtl="10" ytl="20.0" xbr="40" ybr="60">{}</box>'


def test_the_rotation_of_a_box_is_clockwise_in_degrees_about_its_centre(tmp_path: Path) -> None:
    annotated = read_cvat(write(tmp_path / "注.xml", cvat_text(CVAT_BOX, CVAT_POLYGON, PLAIN_BOX.format(""))))
    (picture,) = annotated.pictures
    assert annotated.class_names == ("car", "船 船"), "as the meta lists them; the task's own name is none"
    assert (picture.name, picture.hw, picture.split) == ("图 1", (HEIGHT, WIDTH), "train")
    assert np.abs(picture.labels.quads[0] - QUAD).max() < 1e-9
    assert picture.labels.quads[1:].tolist() == [QUAD, UPRIGHT]
    assert picture.labels.names == ["船 船", "船 船", "car"]
    assert picture.labels.lines.tolist() == [5, 6, 7]


def test_an_attribute_tells_what_is_difficult_and_no_other_does(tmp_path: Path) -> None:
    texts = ["true", "False", "1", "0", "2", ""]
    shapes = [PLAIN_BOX.format(f'<attribute name="difficult">{text}</attribute>') for text in texts]
    shapes.append(PLAIN_BOX.format('<attribute name="colour">true</attribute>'))
    labels = read_cvat(write(tmp_path / "a.xml", cvat_text(*shapes))).pictures[0].labels
    assert labels.difficult.tolist() == [1, 0, 1, 0, 2, 0, 0]


def test_pictures_without_objects_tags_and_other_outlines(tmp_path: Path) -> None:
    changed: Counter[str] = Counter()
    outline = '<polygon label="car" points="0,0;10,0;10,5;5,5;0,5"/>'
    text = cvat_text('<tag label="car"/>', outline).replace("</image>", '</image><image id="1" name="b"/>')
    first, second = read_cvat(write(tmp_path / "a.xml", text), changed=changed).pictures
    assert first.labels.quads[0].tolist() == [[0, 0], [10, 0], [10, 5], [0, 5]]
    assert (second.name, second.hw, second.labels.names) == ("b", None, [])
    assert changed == {TAGS: 1, AS_RECTANGLE: 1}


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ('<mask label="car" rle="1, 2" left="1" top="1" width="3" height="3"/>', "a mask is no box"),
        ('<polyline label="car" points="1,2;3,4"/>', "a polyline is no box"),
        ('<ellipse label="car" cx="1" cy="1" rx="1" ry="1"/>', "a ellipse is no box"),
        (PLAIN_BOX.format("").replace('"10"', '"40"'), "a box of size 0 x 40"),
        (PLAIN_BOX.format("").replace('"10"', '"nan"'), "xtl is 'nan', which is no place"),
        (PLAIN_BOX.format("").replace('"10"', '"1e400"'), "xtl is '1e400', which is no place"),
        (PLAIN_BOX.format("").replace(' xtl="10"', ""), "xtl is null, not a number"),
        (PLAIN_BOX.format("").replace(' label="car"', ""), "the class name is null"),
        (PLAIN_BOX.format("").replace('"car"', '" "'), "without a class name"),
        (PLAIN_BOX.format('<attribute name="difficult">maybe</attribute>'), "difficult is 'maybe'"),
        (CVAT_BOX.replace('rotation="', 'rotation="x'), "rotation is 'x"),
        ('<polygon label="car" points="1,2;3"/>', "not written x,y;x,y"),
        ('<polygon label="car"/>', "not written x,y;x,y"),
        ('<polygon label="car" points="1,1;9,9;9,1;1,9"/>', "crosses itself"),
    ],
)
def test_a_bad_shape_is_named_with_its_line_or_left_out(tmp_path: Path, bad: str, sentence: str) -> None:
    path = write(tmp_path / "注.xml", cvat_text(CVAT_POLYGON, bad))
    with pytest.raises(LabelError, match=rf"注\.xml:6: .*{sentence}"):
        read_cvat(path)
    reported: list[LabelError] = []
    assert read_cvat(path, reported.append).pictures[0].labels.names == ["船 船"]
    assert [error.line for error in reported] == [6]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<annotation><object/></annotation>", "the root element is <annotation>"),
        ('<annotations>\n<track id="0" label="car"/></annotations>', "2: holds tracks, which are those of a video"),
        (cvat_text(CVAT_POLYGON)[:-20], "is not well-formed XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "declares entities"),
        ("", "is not well-formed XML"),
    ],
)
def test_what_is_no_cvat_file_for_images_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(LabelError, match=sentence):
        read_cvat(write(tmp_path / "a.xml", text), lambda error: None)


@pytest.mark.parametrize("encoding", ["gb2312", "Big5", "utf-16"])
def test_any_encoding_that_the_file_declares_is_read(tmp_path: Path, encoding: str) -> None:
    """The parser itself knows four of them."""
    path = tmp_path / "a.xml"
    text = cvat_text(CVAT_POLYGON, image='name="a.png"').replace("船 船", "大").replace('"utf-8"', f'"{encoding}"')
    path.write_bytes(text.encode(encoding))
    (picture,) = read_cvat(path).pictures
    assert (picture.labels.names, picture.labels.lines.tolist()) == (["大"], [5])


def test_a_picture_without_a_usable_name_is_left_out_and_two_of_one_place_are_refused(tmp_path: Path) -> None:
    reported: list[LabelError] = []
    assert read_cvat(write(tmp_path / "a.xml", cvat_text(image='name="a/.."')), reported.append).pictures == []
    assert [error.line for error in reported] == [4]
    text = cvat_text().replace("</image>", '</image><image id="1" name="别/图 1.jpg"/>')
    changed: Counter[str] = Counter()
    pictures = read_cvat(write(tmp_path / "a.xml", text), changed=changed).pictures
    assert [picture.name for picture in pictures] == ["子_图 1", "别_图 1"]
    assert changed == {BY_FOLDER: 2}
    text = text.replace("别/图 1.jpg", "子/图 1.jpg")
    with pytest.raises(ValueError, match="two pictures are called '图 1'"):
        read_cvat(write(tmp_path / "a.xml", text))
