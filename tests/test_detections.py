"""Predictions become labels that people can correct."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from datasets.label_formats.annotations import Ledger
from datasets.label_formats.detections import BELOW, SCORES, read_detections, read_task1, without_scores
from DOTA_devkit.labels import LabelError
from DOTA_devkit.task_files import ImageDetections, read_results, write_results
from tests.label_documents import QUAD, write
from tools.convert_labels import main as convert

FLAT = [value for corner in QUAD for value in corner]


def record(*boxes: object, image: object = "图 1.png") -> dict:
    return {"image": image, "height": 160, "width": 200, "boxes": list(boxes)}


def box(**changes: object) -> dict:
    return {"class": "car", "score": 0.5, "quad": FLAT} | changes


def text(*records: object) -> str:
    """As tools.detection.results writes it: a picture a line, from line 2 on."""
    return "[" + ",".join("\n" + json.dumps(item) for item in records) + "\n]\n"


def test_boxes_above_the_score_are_taken_and_pictures_without_one_stay(tmp_path: Path) -> None:
    boxes = [box(), box(**{"class": "船"}, score=0.3), box(score=0.29)]
    write(tmp_path / "detections.json", text(record(*boxes), record(image="a.b.tif")))
    for source in (tmp_path, tmp_path / "detections.json"):
        changed: Counter[str] = Counter()
        annotated = read_detections(source, changed=changed, least=lambda class_name: 0.3)
        assert [item.name for item in annotated.pictures] == ["图 1", "a.b"]
        assert annotated.class_names == ("car", "船")
        assert annotated.pictures[0].labels.quads.tolist() == [QUAD] * 2
        assert annotated.pictures[0].hw == (160, 200)
        assert annotated.pictures[0].scores.tolist() == [0.5, 0.3]
        assert changed == {BELOW.format("0.3"): 1}


def test_scores_are_counted_where_a_format_does_not_hold_them(tmp_path: Path) -> None:
    write(tmp_path / "detections.json", text(record(box(), box()), record(image="a.b.tif")))
    ledger = Ledger()
    annotated = without_scores(read_detections(tmp_path), ledger)
    assert [picture.scores for picture in annotated.pictures] == [None, None]
    assert ledger.changed == {SCORES: 2}


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (record(box(quad=FLAT[:6])), 'a "quad" of 6 numbers'),
        (record(box(quad=[float("nan")] * 8)), "nan, which is no place"),
        (record(box(quad=[1] * 8)), "has no area"),
        (record(box(score="high")), "\"score\" is 'high', not a number"),
        (record(box(**{"class": None})), "the class name is null"),
        (record(3), "a box is 3, not an object"),
        (record(image=3), "file name is 3"),
        (record(image="../"), "names no file"),
        ({"image": "b.png"}, 'no list "boxes"'),
        ([], "is a list, not an object"),
    ],
)
def test_a_bad_record_is_named_with_its_line_or_left_out(tmp_path: Path, bad: object, sentence: str) -> None:
    path = write(tmp_path / "detections.json", text(record(box(), image="a.png"), bad))
    with pytest.raises(LabelError, match=rf"detections\.json:3: .*{sentence}"):
        read_detections(path)
    reported: list[LabelError] = []
    assert read_detections(path, reported.append).pictures[0].labels.names == ["car"]
    assert [error.line for error in reported] == [3]


def test_result_files_are_taken_with_the_pictures_that_had_no_box(tmp_path: Path) -> None:
    found = ImageDetections(np.array([QUAD, QUAD], float), np.array([0.9, 0.1]), np.array([0, 1]))
    write_results(tmp_path, ["car", "船"], {"图 1": found})
    annotated = read_task1(tmp_path, least=lambda class_name: 0.3)
    assert [(item.name, item.labels.names) for item in annotated.pictures] == [("图 1", ["car"])]
    assert annotated.class_names == ("car", "船")
    write(tmp_path / "origin.json", json.dumps({"checkpoint": "x", "images": ["b", "图 1"]}))
    assert [(item.name, item.labels.names) for item in read_task1(tmp_path).pictures] == [
        ("b", []),
        ("图 1", ["car", "船"]),
    ]
    write_results(tmp_path, ["car", "船"], {"图 1": found, "图 1.png": found})
    with pytest.raises(ValueError, match=r"two pictures are called '图 1': .*: 图 1 and .*: 图 1\.png"):
        read_task1(tmp_path)


@pytest.mark.parametrize("task", [1, 2])
def test_predictions_go_to_a_server_as_they_came(tmp_path: Path, task: int) -> None:
    """Through the command, other classes and a picture without a box included."""
    found = ImageDetections(np.array([QUAD, QUAD], float), np.float32([0.9, 0.1]), np.array([0, 1]))
    src, out = tmp_path / "results", tmp_path / "out"
    write_results(src, ["car", "船", "boat"], {"图 1": found})
    write(src / "origin.json", json.dumps({"classes": ["car", "船", "boat"], "images": ["b", "图 1"]}))
    flags = ["--from", "task1", "--to", f"task{task}", "--rename", "boat=DontCare"]
    assert convert([str(src), str(out), *flags]) == 0
    again = read_results(out, ["car", "船"], task=task)
    assert {path.name for path in out.iterdir()} == {f"Task{task}_car.txt", f"Task{task}_船.txt"}
    assert again.images["图 1"].scores.astype(np.float32).tolist() == found.scores.tolist()
    assert task == 2 or (out / "Task1_car.txt").read_bytes() == (src / "Task1_car.txt").read_bytes()
    assert again.images["图 1"].labels.tolist() == [0, 1]
    outer = [[45, 50], [155, 50], [155, 150], [45, 150]]
    assert again.images["图 1"].quads[0].tolist() == (QUAD if task == 1 else outer)


def test_quads_that_are_none_are_reported(tmp_path: Path) -> None:
    write(tmp_path / "Task1_car.txt", "a 0.5 1 1 1 1 1 1 1 1\na 0.5 75 50 155 110 125 150 45 90\na 0.5 1 2\n")
    reported: list[LabelError] = []
    assert read_task1(tmp_path, reported.append).pictures[0].labels.quads.tolist() == [QUAD]
    assert len(reported) == 2


def test_faults_of_result_files_name_file_and_line(tmp_path: Path) -> None:
    """They named the folder, and line 1."""
    good, flat = "75 50 155 110 125 150 45 90", "1 1 1 1 1 1 1 1"
    write(tmp_path / "Task1_boat.txt", f"a 0.5 {good}\nb 0.5 {good}\n\nb 0.5 {flat}\n")
    write(tmp_path / "Task1_car.txt", f"b 0.1 {flat}\na 0.5 {flat}\n../ 0.5 {good}\nb 0.5 {good}\n")
    reported: list[LabelError] = []
    annotated = read_task1(tmp_path, reported.append, least=lambda class_name: 0.3)
    assert [(item.name, item.labels.names) for item in annotated.pictures] == [("a", ["boat"]), ("b", ["boat", "car"])]
    told = sorted((error.path.name, error.line, error.reason.split(";")[0]) for error in reported)
    assert [item[:2] for item in told] == [("Task1_boat.txt", 4), ("Task1_car.txt", 2), ("Task1_car.txt", 3)]
    assert "names no file" in told[2][2]


def test_classes_keep_the_numbers_that_the_network_has(tmp_path: Path) -> None:
    """Without a box of the first class the others moved up, and boxes to correct came back as other classes."""
    write(tmp_path / "detections.json", text(record(box(), box(**{"class": "extra"}))))
    write(tmp_path / "origin.json", json.dumps({"classes": ["boat", "car"], "images": ["图 1"]}))
    assert read_detections(tmp_path).class_names == ("boat", "car", "extra")
    (tmp_path / "detections.json").unlink()
    one = ImageDetections(np.array([QUAD]), np.array([0.9]), np.array([0]))
    write_results(tmp_path, ["car"], {"图 1": one})
    assert read_task1(tmp_path).class_names == ("boat", "car")
