"""labelme's shapes become quads, and what is no box is refused with its line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datasets.label_formats.annotations import AS_RECTANGLE, UNREAD_SCORES, AnnotatedSet, Ledger, Picture
from datasets.label_formats.labelme import NO_RECTANGLE, read_labelme, write_labelme
from datasets.outlines import without_closing
from DOTA_devkit.labels import LabelError, Labels
from tests.label_documents import HEIGHT, QUAD, UPRIGHT, WIDTH, labelme, labelme_text, write


def read(folder: Path, *shapes: object, **changes: object) -> Picture:
    return read_labelme(write(folder / "图 1.json", labelme_text(*shapes, **changes)))


def test_a_polygon_of_four_points_is_taken_as_it_is(tmp_path: Path) -> None:
    picture = read(tmp_path, labelme(), labelme(label="car", points=QUAD[::-1], flags={"difficult": True}))
    assert picture.name == "图 1", "by the label file: imagePath is often that of another machine"
    assert picture.hw == (HEIGHT, WIDTH)
    assert picture.labels.quads.tolist() == [QUAD, QUAD[::-1]]
    assert picture.labels.names == ["船 船", "car"]
    assert picture.labels.difficult.tolist() == [0, 1]
    assert picture.labels.lines[0] == 5


def test_a_rectangle_may_be_dragged_from_any_corner(tmp_path: Path) -> None:
    drags = [[[10, 20], [40, 60]], [[40, 60], [10, 20]], [[40, 20], [10, 60]]]
    picture = read(tmp_path, *(labelme(shape_type="rectangle", points=points) for points in [*drags, UPRIGHT]))
    assert picture.labels.quads.tolist() == [UPRIGHT] * 4


def test_the_rotated_boxes_of_anylabeling_are_read(tmp_path: Path) -> None:
    shape = labelme(shape_type="rotation", direction=0.6435, difficult=True)
    picture = read(tmp_path, shape)
    assert picture.labels.quads.tolist() == [QUAD]
    assert picture.labels.difficult.tolist() == [1]


@pytest.mark.parametrize("kind", ["oriented_rectangle", "quadrilateral"])
def test_shapes_of_four_corners_are_read_whatever_a_program_calls_them(tmp_path: Path, kind: str) -> None:
    """labelme's own rotated box, and X-AnyLabeling's free quad, were refused."""
    assert read(tmp_path, labelme(shape_type=kind)).labels.quads.tolist() == [QUAD]


def test_another_outline_becomes_its_smallest_rectangle_and_is_counted(tmp_path: Path) -> None:
    around = [QUAD[0], [115, 80], *QUAD[1:]]  # with the middle of the upper side
    changed: Counter[str] = Counter()
    path = write(tmp_path / "a.json", labelme_text(labelme(points=around), labelme(points=around), labelme()))
    labels = read_labelme(path, changed=changed).labels
    assert changed == {AS_RECTANGLE: 2}
    assert np.abs(np.sort(labels.quads[0], axis=0) - np.sort(QUAD, axis=0)).max() < 1e-9


def test_an_outline_of_thousands_of_points_does_not_hang(tmp_path: Path) -> None:
    turn = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    points = np.column_stack([100 + 50 * np.cos(turn), 80 + 50 * np.sin(turn)]).tolist()
    (quad,) = read(tmp_path, labelme(points=points)).labels.quads
    assert np.hypot(*(quad[1] - quad[0])) == pytest.approx(100, abs=0.01)


def test_a_shape_without_a_kind_is_a_polygon_and_a_file_without_shapes_a_negative_picture(tmp_path: Path) -> None:
    assert read(tmp_path, labelme(shape_type=None)).labels.names == ["船 船"]
    assert read(tmp_path).labels.quads.shape == (0, 4, 2)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"shape_type": "circle", "points": QUAD[:2]}, "of kind 'circle' is no box"),
        ({"shape_type": "rotation", "points": QUAD[:3]}, "kind 'rotation' with 3 points"),
        ({"shape_type": "oriented_rectangle", "points": QUAD[:2]}, "kind 'oriented_rectangle' with 2 points"),
        ({"points": QUAD[:2]}, "an outline of 2 points has no area"),
        ({"points": [[1, 1], [2, 2], [3, 3], [4, 4], [5, 5]]}, "lie on one line"),
        ({"points": [[1, 1], [2, 2], [3, 3], [4, 4]]}, "the quad has no area"),
        ({"points": [QUAD[0], QUAD[2], QUAD[1], QUAD[3]]}, "crosses itself"),
        ({"points": "no"}, "\"points\" is 'no', not a list"),
        ({"points": [[1, 2, 3]] * 4}, "not a list of two numbers"),
        ({"points": [[1, True]] * 4}, "a coordinate is true, not a number"),
        ({"points": [[1, float("nan")], *QUAD[1:]]}, "is nan, which is no place"),
        ({"points": [[1, 10**400], *QUAD[1:]]}, "is inf, which is no place"),
        ({"label": 3}, "the class name is 3, not text"),
        ({"label": " "}, "without a class name"),
        ({"label": "a\u0000b"}, "characters that are no text"),
        ({"label": "\ud800"}, "characters that are no text"),
        ({"difficult": 3}, '"difficult" is 3; it must be 0, 1 or 2'),
    ],
)
def test_a_bad_shape_is_named_with_its_line_or_left_out(tmp_path: Path, changes: dict, sentence: str) -> None:
    text = labelme_text(labelme(), labelme(**changes)).replace("\ud800", "\\ud800")
    path = write(tmp_path / "图 1.json", text)
    line = text[: text.rindex('{\n   "label"')].count("\n") + 1
    with pytest.raises(LabelError, match=rf"图 1\.json:{line}: .*{sentence}"):
        read_labelme(path)
    reported: list[LabelError] = []
    assert read_labelme(path, reported.append).labels.names == ["船 船"]
    assert [error.line for error in reported] == [line]


def test_another_json_is_no_picture_without_objects(tmp_path: Path) -> None:
    for text in ("{}", '{"shapes": {}}', '{"annotations": []}'):
        with pytest.raises(LabelError, match='the list "shapes"'):
            read_labelme(write(tmp_path / "a.json", text))


@given(points=st.lists(st.tuples(*[st.floats(-1e4, 1e4, width=32)] * 2), min_size=3, max_size=12))
@example(points=[(1, 0), (0, 0), (0, 0), (0, 1), (1, 0)])  # four corners, closed: taken as they are, not fitted
@settings(deadline=None, max_examples=60)
def test_the_smallest_rectangle_holds_every_point(
    tmp_path_factory: pytest.TempPathFactory, points: list[tuple[float, float]]
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "h.json", json.dumps({"shapes": [labelme(points=points)]}))
    reported: list[LabelError] = []
    labels = read_labelme(path, reported.append).labels
    assert len(labels.quads) + len(reported) == 1
    if len(without_closing(points)) != 4 and len(labels.quads):
        quad = labels.quads[0]
        for corner, side in zip(quad, np.roll(quad, -1, axis=0) - quad, strict=True):
            normal = np.array([-side[1], side[0]]) / np.hypot(*side)
            assert ((np.array(points) - corner) @ normal > -1e-3).all()


def back(folder: Path) -> Picture:
    return read_labelme(folder / "图 1.json")


@pytest.mark.parametrize("shape_type", ["polygon", "rotation"])
def test_what_is_written_is_read_back_with_its_flags(tmp_path: Path, shape_type: str) -> None:
    free = [[0, 0], [50, 5], [60, 40], [3, 30]]
    quads = np.array([QUAD, UPRIGHT, free], np.float64)
    labels = Labels(quads, ["船 船", "car", "car"], np.array([0, 1, 2]), np.arange(1, 4))
    ledger = Ledger()
    write_labelme(tmp_path, AnnotatedSet([Picture("图 1", labels, hw=(HEIGHT, WIDTH))]), ledger, shape_type)
    assert +ledger.changed == ({NO_RECTANGLE: 1} if shape_type == "rotation" else {})
    picture = back(tmp_path)
    assert picture.labels.quads.tolist() == quads.tolist()
    assert picture.labels.names == ["船 船", "car", "car"]
    assert picture.labels.difficult.tolist() == [0, 1, 2]
    assert picture.hw == (HEIGHT, WIDTH)
    shapes = json.loads((tmp_path / "图 1.json").read_text("utf-8"))["shapes"]
    assert [shape["shape_type"] for shape in shapes] == [shape_type, shape_type, "polygon"]
    if shape_type == "rotation":
        assert [shape.get("direction") for shape in shapes] == [0.643501, 0.0, None]
        assert [shape["difficult"] for shape in shapes] == [False, True, True]
    else:
        assert [shape["flags"].get("difficult") for shape in shapes] == [None, True, True], "where labelme shows them"


def test_a_flag_that_people_tick_in_either_program_is_read(tmp_path: Path) -> None:
    """X-AnyLabeling writes `"difficult": false` beside flags of labelme's."""
    shapes = [labelme(difficult=False, flags={"difficult": True}), labelme(difficult=True, flags={"difficult": False})]
    assert read(tmp_path, *shapes).labels.difficult.tolist() == [1, 1]


@pytest.mark.parametrize("name", ["a.tif", "a", "图 1.v2", "a.JPG"])
def test_a_picture_is_called_as_before_also_where_its_name_looks_like_a_suffix(tmp_path: Path, name: str) -> None:
    """`a.tif.png` came back as `a`."""
    picture = tmp_path / f"{name}.png"
    picture.touch()
    write_labelme(tmp_path, AnnotatedSet([Picture(name, path=picture)]), Ledger())
    read_back = read_labelme(tmp_path / f"{name}.json")
    assert (read_back.name, read_back.file_name) == (name, f"{name}.png")


@pytest.mark.parametrize(
    ("image_path", "told"),
    [("..\\x\\1.png", ("1", "1.png")), ("2.png", ("1", None)), (None, ("1", None)), ("1", ("1", "1"))],
)
def test_a_file_name_is_believed_only_where_the_label_file_is_called_so(
    tmp_path: Path, image_path: str | None, told: tuple[str, str | None]
) -> None:
    picture = read_labelme(write(tmp_path / "1.json", labelme_text(imagePath=image_path)))
    assert (picture.name, picture.file_name) == told
    picture = read_labelme(write(tmp_path / "1.png.json", labelme_text(imagePath="1.png")))
    assert (picture.name, picture.file_name) == ("1", "1.png")


def test_scores_that_are_not_read_are_counted(tmp_path: Path) -> None:
    changed: Counter[str] = Counter()
    path = write(tmp_path / "a.json", labelme_text(labelme(score=0.5), labelme(score=None), labelme()))
    read_labelme(path, changed=changed)
    assert +changed == {UNREAD_SCORES: 1}


@pytest.mark.filterwarnings("error")
def test_a_rectangle_is_one_to_a_pixel_and_a_triangle_is_none(tmp_path: Path) -> None:
    """Corners that a format had rounded to whole pixels made free polygons, which cannot be turned."""
    quads = np.array([np.round(QUAD), [[0, 0], [0, 0], [30, 0], [0, 40]], [[0, 0], [30, 2], [30, 20], [0, 20]]], float)
    labels = Labels(quads, ["car"] * 3, np.zeros(3, int), np.arange(1, 4))
    ledger = Ledger()
    write_labelme(tmp_path, AnnotatedSet([Picture("图 1", labels)]), ledger, "rotation")
    shapes = json.loads((tmp_path / "图 1.json").read_text("utf-8"))["shapes"]
    assert [shape["shape_type"] for shape in shapes] == ["rotation", "polygon", "polygon"]
    assert ledger.changed[NO_RECTANGLE] == 2


def test_the_direction_of_a_box_is_that_of_its_first_side_from_0_to_a_whole_turn(tmp_path: Path) -> None:
    """As X-AnyLabeling writes it: its box with corners (547.6, 374.1), (685.3, 332.2), ... has 5.9877."""
    quad = np.array([[547.561, 374.146], [685.327, 332.218], [779.0, 640.0], [641.234, 681.929]])
    labels = Labels(quad[None], ["cow"], np.zeros(1, int), np.ones(1, int))
    write_labelme(tmp_path, AnnotatedSet([Picture("图 1", labels)]), Ledger(), "rotation")
    (shape,) = json.loads((tmp_path / "图 1.json").read_text("utf-8"))["shapes"]
    assert shape["direction"] == pytest.approx(5.987745, abs=1e-4)


def test_predictions_keep_their_scores_and_pictures_are_named_from_where_the_file_is(tmp_path: Path) -> None:
    labels = Labels(np.array([QUAD], float), ["car"], np.zeros(1, int), np.ones(1, int))
    (tmp_path / "pictures").mkdir()
    there = tmp_path / "pictures" / "图 1.png"
    there.touch()
    out = tmp_path / "out"
    write_labelme(out, AnnotatedSet([Picture("图 1", labels, path=there, scores=np.array([0.75]))]), Ledger())
    document = json.loads((out / "图 1.json").read_text("utf-8"))
    assert (document["imagePath"], document["shapes"][0]["score"]) == ("../pictures/图 1.png", 0.75)
    (out / "图 1.png").touch()
    write_labelme(out, AnnotatedSet([Picture("图 1", labels, path=there)]), Ledger())
    assert json.loads((out / "图 1.json").read_text("utf-8"))["imagePath"] == "图 1.png"
