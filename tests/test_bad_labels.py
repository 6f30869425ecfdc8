"""Labels that cannot be used: named with file and line, or reported and left out; and labels that are missing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from datasets.readers import (
    read_classes,
    read_samples,
)
from DOTA_devkit.labels import LabelError
from tests.data_folders import CLASSES, SQUARE, dota, read_one, rolabelimg
from tests.label_documents import HEIGHT, WIDTH, turned_jpeg


def test_an_unknown_class_is_named_with_file_line_and_the_nearest_name(tmp_path: Path) -> None:
    """Defect 9: it was a KeyError without the file's name."""
    path = dota(tmp_path, {"图 1": f"gsd:0.1\n{SQUARE} car 0\n{SQUARE} boot 0\n"})
    with pytest.raises(LabelError) as raised:
        read_one(path)
    assert str(raised.value) == (
        f"{path}/labelTxt/图 1.txt:3: unknown class 'boot'; did you mean 'boat'? known: car, boat; "
        "correct the line, or write classes.txt with all classes, one a line"
    )
    with pytest.raises(LabelError, match="unknown class 'zebra'; known: car, boat;"):
        read_one(dota(tmp_path / "2", {"b": f"{SQUARE} zebra 0"}))


def test_bad_labels_are_reported_and_left_out_and_the_rest_is_kept(tmp_path: Path) -> None:
    lines = [
        f"{SQUARE} boat 1",
        "10 10 30 10 30 30 boat 0",  # six numbers
        f"{SQUARE} zebra 0",
        "10 10 30 nan 30 30 10 30 car 0",
        "10 10 30 30 30 10 10 30 car 0",  # crosses itself
        "10 10 10 10 10 10 10 10 car 0",  # no area
        f"{SQUARE} car 2",
    ]
    reported: list[LabelError] = []
    data_dir = dota(tmp_path, {"图 1": "\n".join(lines)})
    sample = read_one(data_dir, on_bad_label=reported.append)
    assert sample.labels.tolist() == [1, 0]
    assert sample.difficult.tolist() == [1, 2]
    assert sample.quads.shape == (2, 4, 2)
    assert sorted(error.line for error in reported) == [2, 3, 4, 5, 6]
    assert {error.path for error in reported} == {data_dir / "labelTxt" / "图 1.txt"}
    with pytest.raises(LabelError, match=r"图 1\.txt:2: "):
        read_one(data_dir)


@pytest.mark.parametrize("text", ["bad\n", f"{SQUARE} car 7\n1 2 3\n", f"bad\n{SQUARE} DontCare 0\n"])
def test_a_picture_of_which_no_label_can_be_used_is_left_out(tmp_path: Path, text: str) -> None:
    """It was trained on as one without objects, and what it shows as background."""
    data_dir = dota(tmp_path, {"图 1": text, "b": f"{SQUARE} car 0\n"})
    reported: list[LabelError] = []
    samples = read_samples("dota", data_dir, ["图 1", "b"], CLASSES, on_bad_label=reported.append)
    assert [sample.name for sample in samples] == ["b"]
    assert [(error.path.stem, error.line) for error in reported] == [("图 1", 1)]
    assert reported[0].reason.endswith("; 图 1.png is left out")


def test_labels_of_unknown_classes_alone_take_their_picture_along(tmp_path: Path) -> None:
    """A class that was misspelt throughout would be background; with --classes those that are not named are."""
    reported: list[LabelError] = []
    data_dir = dota(tmp_path, {"图 1": f"{SQUARE} zebra 0\nbad\n"})
    assert read_samples("dota", data_dir, ["图 1"], CLASSES, on_bad_label=reported.append) == []
    assert [str(error).rpartition("; ")[2] for error in reported] == ["图 1.png is left out"]


@pytest.mark.parametrize("text", ["", "<annotation>", "<coco/>"])
def test_a_whole_label_file_that_cannot_be_read_takes_its_picture_along(tmp_path: Path, text: str) -> None:
    """It stopped although bad labels were to be left out; as a picture without objects it would teach the wrong."""
    data_dir = rolabelimg(tmp_path, {"a": ["car"], "b": ["car"], "c": []})
    path = data_dir / "xml" / "b.xml"
    path.write_text(text)
    reported: list[LabelError] = []
    samples = read_samples("rolabelimg", data_dir, ["a", "b", "c"], CLASSES, on_bad_label=reported.append)
    assert [sample.name for sample in samples] == ["a", "c"]
    assert [(error.path, error.reason.rpartition("; ")[2]) for error in reported] == [(path, "b.png is left out")]
    with pytest.raises(LabelError, match=r"b\.xml:1: "):
        read_samples("rolabelimg", data_dir, ["a", "b", "c"], CLASSES)


def test_an_empty_label_file_means_no_objects(tmp_path: Path) -> None:
    for number, text in enumerate(("", "\n", "imagesource:GoogleEarth\ngsd:0.1\n")):
        assert read_one(dota(tmp_path / str(number), {"图 1": text})).quads.shape == (0, 4, 2)


@pytest.mark.parametrize("dataset", ["dota", "rolabelimg"])
def test_a_missing_label_file_is_an_error_or_no_objects_as_asked(tmp_path: Path, dataset: str) -> None:
    if dataset == "dota":
        data_dir = dota(tmp_path, {"图 1": None})
    else:
        data_dir = rolabelimg(tmp_path, {"图 1": []})
        (data_dir / "xml" / "图 1.xml").unlink()
    with pytest.raises(
        LabelError, match=r"图 1\.(txt|xml):1: no label file for the picture 图 1\.png; .*missing_labels"
    ):
        read_samples(dataset, data_dir, ["图 1"], CLASSES)
    (sample,) = read_samples(dataset, data_dir, ["图 1"], CLASSES, missing_labels="empty")
    assert sample.quads.shape == (0, 4, 2)
    assert sample.labels.dtype == sample.difficult.dtype == np.int64


def test_boxes_that_were_drawn_on_a_turned_picture_are_refused(tmp_path: Path) -> None:
    """<size> tells that the program showed it turned; the boxes were trained on where they are not."""
    data_dir = rolabelimg(tmp_path, {"图 1": ["car"]})
    path, image_path = data_dir / "xml" / "图 1.xml", data_dir / "images" / "图 1.jpg"
    image_path.with_suffix(".png").unlink()
    text = path.read_text("utf-8")
    sizes = ((WIDTH, HEIGHT, 1), (HEIGHT, WIDTH, 6), (WIDTH + 1, HEIGHT, 6), (WIDTH, HEIGHT, 6))
    for height, width, orientation in sizes:
        image_path.write_bytes(turned_jpeg(orientation))
        size = f"<size><width>{width}</width><height>{height}</height></size>"
        path.write_text(text.replace("<annotation>", f"<annotation>{size}"), encoding="utf-8")
        if (height, width, orientation) != (WIDTH, HEIGHT, 6):
            assert len(read_samples("rolabelimg", data_dir, ["图 1"], CLASSES)[0].labels) == 1
    why = r"图 1\.xml:1: <size> tells 160 x 200 pixels, .*图 1\.jpg \(orientation 6\), .*; save it upright"
    with pytest.raises(LabelError, match=why):
        read_samples("rolabelimg", data_dir, ["图 1"], CLASSES)
    told: list[LabelError] = []
    assert read_samples("rolabelimg", data_dir, ["图 1"], CLASSES, on_bad_label=told.append) == []
    assert re.search(why, str(told[0])), "without its labels it would be a picture without objects"
    image_path.write_bytes(b"damaged")
    assert len(read_samples("rolabelimg", data_dir, ["图 1"], CLASSES)) == 1, "that is told of where it is decoded"


def test_an_angle_in_degrees_is_a_bad_label(tmp_path: Path) -> None:
    """It was trained on as if 45 were radians."""
    data_dir = rolabelimg(tmp_path, {"a": ["car", "boat"]})
    path = data_dir / "xml" / "a.xml"
    text = path.read_text(encoding="utf-8")
    angle = re.search(r"<angle>([^<]*)</angle>", text)
    path.write_text(text[: angle.start(1)] + "45" + text[angle.end(1) :], encoding="utf-8")
    with pytest.raises(LabelError, match=r"a\.xml:\d+: the angle is beyond a full turn of 2 pi: degrees\?"):
        read_samples("rolabelimg", data_dir, ["a"], CLASSES)
    bad: list[LabelError] = []
    (sample,) = read_samples("rolabelimg", data_dir, ["a"], CLASSES, on_bad_label=bad.append)
    assert (len(bad), len(sample.labels)) == (1, 1)


def test_where_no_file_can_be_read_the_first_one_says_why_and_not_that_no_class_is_named(tmp_path: Path) -> None:
    data_dir = rolabelimg(tmp_path, {"a": ["垫圈"], "b": ["垫圈"]})
    for path in (data_dir / "xml").iterdir():
        path.write_bytes(path.read_text(encoding="utf-8").encode("gbk"))
    with pytest.raises(LabelError, match="save it as UTF-8"):
        read_classes("rolabelimg", data_dir, ["a", "b"])
