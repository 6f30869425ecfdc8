"""The command that reviews labels: what it writes of each format, and what it refuses."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio

from datasets.picture_files.layouts import Reading
from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.labels import read_labels, write_labels
from DOTA_devkit.task_files import ImageDetections, write_results
from tests.conftest import CLASS_NAMES
from tests.label_documents import source
from tools import review_labels
from tools.label_review import review as review_module
from tools.review_labels import main


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "doubts.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def as_found(data_dir: Path, out: Path, class_names=CLASS_NAMES, score: float = 0.9) -> Path:
    """A run folder with results that say what the labels say."""
    detections = {}
    for path in sorted((data_dir / "labelTxt").iterdir()):
        labels = read_labels(path)
        numbers = np.array([class_names.index(name) for name in labels.names], np.int64)
        scores = np.full(len(numbers), score, np.float32)
        detections[path.stem] = ImageDetections(labels.quads.reshape(-1, 4, 2), scores, numbers)
    write_results(out / "results", class_names, detections)
    (out / "results" / "origin.json").write_text(json.dumps({"images": list(detections)}), encoding="utf-8")
    return out


def spoil(path: Path, change) -> None:
    """Change quads and names of a label file, as these lists."""
    labels = read_labels(path)
    quads, names = change(list(labels.quads), list(labels.names))
    write_labels(path, np.array(quads), names, np.zeros(len(names), np.int64))


def test_spoiled_labels_are_found_where_they_stand_and_nothing_else_is(dota_folder, tmp_path, capsys) -> None:
    data_dir = dota_folder("数据", names=("图 1", "b", "c", "empty"))
    run_dir, out = as_found(data_dir, tmp_path / "run"), tmp_path / "out"
    labels = data_dir / "labelTxt"
    other = {"car": "boat", "boat": "car"}
    spoil(labels / "图 1.txt", lambda quads, names: (quads, [other[names[0]], *names[1:]]))
    spoil(labels / "b.txt", lambda quads, names: (quads[1:], names[1:]))
    spoil(labels / "c.txt", lambda quads, names: ([quads[0] + (quads[0][1] - quads[0][0]) / 2, *quads[1:]], names))
    far = boxes_to_quads(np.array([[64, 64, 20, 10, 0.3]]), "le90")
    (labels / "empty.txt").write_text(f"{' '.join(map(str, far.reshape(-1)))} car 0\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}
    assert main([str(run_dir), str(data_dir), str(out)]) == 0
    rows = rows_of(out)
    assert [(row["kind"], row["image"]) for row in rows] == [
        ("other-class", "图 1"),
        ("not-labelled", "b"),
        ("misplaced", "c"),
        ("not-found", "empty"),
    ]
    assert [row["line"] for row in rows] == ["1", "", "1", "1"]
    assert [row["label_file"] for row in rows] == [str(labels / f"{row['image']}.txt") for row in rows]
    assert float(rows[3]["strength"]) == 1.0
    np.testing.assert_allclose([float(rows[3][f"label_x{corner}"]) for corner in (1, 3)], far[0, [0, 2], 0], atol=0.01)
    assert (out / "pictures.txt").read_text(encoding="utf-8").split("\n")[0] == "empty"
    page = (out / "review.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 4
    said = capsys.readouterr().out
    assert f"{labels / '图 1.txt'}:1: labelled" in said
    assert {path: path.read_bytes() for path in before} == before, "labels are not changed"


def test_where_all_agree_the_page_says_so(dota_folder, tmp_path) -> None:
    data_dir = dota_folder()
    assert main([str(as_found(data_dir, tmp_path / "run")), str(data_dir), str(tmp_path / "out")]) == 0
    assert rows_of(tmp_path / "out") == []
    assert "Labels and network agree" in (tmp_path / "out" / "review.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["rolabelimg", "yolo_obb"])
def test_labels_of_other_formats_are_told_by_file_and_line(tmp_path, name) -> None:
    data_dir = source(tmp_path, name)
    quad = boxes_to_quads(np.array([[30.0, 30, 20, 10, 0]]), "le90")
    found = {"图 1": ImageDetections(quad, np.array([0.8], np.float32), np.array([0]))}
    write_results(tmp_path / "results", ["车", "船 船"], found)  # the first is none of the labels'
    assert main([str(tmp_path / "results"), str(data_dir), str(tmp_path / "out")]) == 0
    added, missed = rows_of(tmp_path / "out")
    assert (added["kind"], added["found"], added["score"]) == ("not-labelled", "车", "0.8000")
    assert (missed["kind"], missed["label"]) == ("not-found", "船 船")
    text = Path(missed["label_file"]).read_text(encoding="utf-8").split("\n")[int(missed["line"]) - 1]
    assert "0." in text or "<object>" in text


def test_only_pictures_that_were_looked_at_are_reviewed(dota_folder, tmp_path, capsys) -> None:
    """Of a run on val.txt every label of the training pictures would have been one of nothing."""
    data_dir, run_dir = dota_folder(), tmp_path / "run"
    as_found(data_dir, run_dir)
    (run_dir / "results" / "origin.json").write_text(json.dumps({"images": ["scene_1"]}), encoding="utf-8")
    for path in (data_dir / "labelTxt").iterdir():
        spoil(path, lambda quads, names: ([quad + 300 for quad in quads], names))
    assert main([str(run_dir), str(data_dir), str(tmp_path / "out")]) == 0
    assert {row["image"] for row in rows_of(tmp_path / "out")} == {"scene_1"}
    (run_dir / "results" / "origin.json").unlink()
    assert main([str(run_dir), str(data_dir), str(tmp_path / "all")]) == 0
    assert "does not tell what was looked at" in capsys.readouterr().err
    assert len({row["image"] for row in rows_of(tmp_path / "all")}) == 3, "the last scene has no box"


def test_the_page_shows_the_bands_and_the_range_that_the_network_saw(dota_folder, tmp_path, monkeypatch) -> None:
    data_dir, run_dir = dota_folder(), tmp_path / "run"
    as_found(data_dir, run_dir)
    with_reading = {"images": ["scene_0"], "reading": {"value_range": [0, 900], "bands": [5, 3, 2]}}
    (run_dir / "results" / "origin.json").write_text(json.dumps(with_reading), encoding="utf-8")
    spoil(data_dir / "labelTxt" / "scene_0.txt", lambda quads, names: ([quad + 300 for quad in quads], names))
    seen, open_picture = [], review_labels.open_picture

    def opened(path: Path, reading: Reading) -> object:
        seen.append(reading)
        return open_picture(path)

    monkeypatch.setattr(review_labels, "open_picture", opened)
    assert main([str(run_dir), str(data_dir), str(tmp_path / "out")]) == 0
    assert {*seen} == {Reading((0, 900), (5, 3, 2))}
    seen.clear()
    assert main([str(run_dir), str(data_dir), str(tmp_path / "other"), "--bands", "1"]) == 0
    assert {*seen} == {Reading(bands=(1,))}


def test_a_bad_label_is_told_and_the_rest_reviewed(dota_folder, tmp_path, capsys) -> None:
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run")
    path = data_dir / "labelTxt" / "scene_0.txt"
    path.write_text(path.read_text() + "1 2 3\n1 1 9 1 9 9 1 9 <b>plane</b> 0\n")
    (data_dir / "labelTxt" / "scene_1.txt").unlink()
    assert main([str(run_dir), str(data_dir), str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "scene_0.txt:" in said
    assert "scene_1.txt:1: no label file" in said
    assert main([str(run_dir), str(data_dir), str(tmp_path / "empty"), "--missing_labels", "empty"]) == 1
    assert {row["image"] for row in rows_of(tmp_path / "empty")} == {"scene_1"}


def test_names_from_files_are_escaped_on_the_page(dota_folder, tmp_path) -> None:
    data_dir = dota_folder(names=("a", "last"))
    (data_dir / "classes.txt").unlink()
    text = (data_dir / "labelTxt" / "a.txt").read_text()
    (data_dir / "labelTxt" / "a.txt").write_text(text.replace("car", "<i>").replace("boat", "<i>"))
    run_dir = as_found(data_dir, tmp_path / "run", ["<i>"], score=0.2)
    assert main([str(run_dir), str(data_dir), str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "review.html").read_text(encoding="utf-8")
    assert "labelled &lt;i&gt;, found &lt;i&gt; (0.20) at most" in page
    assert "<i>" not in page


def test_the_page_shows_as_many_as_it_is_told_and_survives_a_damaged_picture(dota_folder, tmp_path) -> None:
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run", score=0.1)
    (data_dir / "images" / "scene_0.png").write_bytes(b"")
    for num, shown in (("1", 1), ("0", 0)):
        out = tmp_path / num
        assert main([str(run_dir), str(data_dir), str(out), "--num", num]) == 0
        page = (out / "review.html").read_text(encoding="utf-8")
        assert page.count("<figure>") == shown
        assert f"and {len(rows_of(out)) - shown} more in doubts.csv" in page
    assert main([str(run_dir), str(data_dir), str(tmp_path / "all")]) == 0
    page = (tmp_path / "all" / "review.html").read_text(encoding="utf-8")
    images = [row["image"] for row in rows_of(tmp_path / "all")]
    assert page.count("<img") == len(images) - images.count("scene_0") > 0


def test_the_scores_of_a_run_tell_from_where_on_its_boxes_speak(dota_folder, tmp_path) -> None:
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run", score=0.2)
    metrics = {"classes": {name: {"score_threshold": 0.15} for name in CLASS_NAMES}}
    (run_dir / "metrics.json").write_text(json.dumps(metrics))
    assert main([str(run_dir), str(data_dir), str(tmp_path / "out"), "--scores", str(run_dir)]) == 0
    assert rows_of(tmp_path / "out") == []


def test_labels_of_classes_that_the_network_does_not_know_are_beyond_doubt(dota_folder, tmp_path, capsys) -> None:
    """They came first, all of them, as labels of nothing."""
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run")
    (run_dir / "results" / "Task1_boat.txt").unlink()
    assert main([str(run_dir), str(data_dir), str(tmp_path / "out")]) == 0
    assert rows_of(tmp_path / "out") == []
    said = capsys.readouterr().err
    assert re.search(r"knows nothing of some classes, whose labels are beyond doubt: \d+ boat\n", said)


def test_a_label_that_stands_there_twice_is_told(dota_folder, tmp_path) -> None:
    data_dir = dota_folder(names=("a", "last"))
    run_dir = as_found(data_dir, tmp_path / "run")
    spoil(data_dir / "labelTxt" / "a.txt", lambda quads, names: ([*quads, quads[0] + 0.2], [*names, names[0]]))
    assert main([str(run_dir), str(data_dir), str(tmp_path / "out")]) == 0
    (row,) = rows_of(tmp_path / "out")
    assert (row["kind"], row["found"]) == ("labelled-twice", "")
    assert float(row["iou"]) == float(row["strength"]) > 0.9
    assert "on another label with an overlap of 0.9" in (tmp_path / "out" / "review.html").read_text(encoding="utf-8")


def test_pictures_that_cannot_be_shown_are_told_of(dota_folder, tmp_path, capsys) -> None:
    """Of pictures of many bands the page had none, and nothing was said."""
    data_dir = dota_folder(names=("a", "last"))
    run_dir = as_found(data_dir, tmp_path / "run", score=0.1)
    pixels = np.zeros((6, 128, 128), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape = {"count": 6, "height": 128, "width": 128, "dtype": "uint8"}
        with rasterio.open(
            data_dir / "images" / "a.tif", "w", driver="GTiff", photometric="minisblack", **shape
        ) as file:
            file.write(pixels)
    (data_dir / "images" / "a.png").unlink()
    assert main([str(run_dir), str(data_dir), str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    assert "a.tif: has 6 bands" in said
    assert "1 pictures cannot be shown" in said
    assert main([str(run_dir), str(data_dir), str(tmp_path / "shown"), "--bands", "3", "2", "1"]) == 0
    assert "<img" in (tmp_path / "shown" / "review.html").read_text(encoding="utf-8")


def test_of_a_run_on_tiles_the_results_of_the_data_that_are_named_count(dota_folder, tmp_path) -> None:
    data_dir, run_dir = dota_folder(), tmp_path / "run"
    as_found(data_dir, run_dir)
    shutil.copytree(run_dir / "results", run_dir / "merged")
    shutil.rmtree(run_dir / "results")
    as_found(dota_folder("tiles", names=("tile_a", "tile_b")), run_dir)
    assert main([str(run_dir), str(data_dir), str(tmp_path / "out")]) == 0
    assert rows_of(tmp_path / "out") == []


def test_a_format_in_which_no_label_is_found_is_asked_about(dota_folder, tmp_path, capsys) -> None:
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run")
    (data_dir / "data.yaml").write_text("names: [car, boat]\n")
    assert main([str(run_dir), str(data_dir), str(tmp_path / "out"), "--dataset", "yolo_obb"]) == 0
    assert "no picture has a label; is its format yolo_obb (--dataset)?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{run}", "{data}/none", "{out}"], 2, "no such data folder"),
        (["{run}", "{data}", "{data}/out"], 2, "lies in the data folder"),
        (["{run}", "{data}", "{run}"], 2, "lies in|is in use"),
        (["{data}", "{data}", "{out}"], 1, "no result files Task1_"),
        (["{run}", "{other}", "{out}"], 1, "is of none of the 1 pictures"),
        (["{untested}", "{data}", "{out}"], 2, "has no results yet; python main.py --phase test --resume"),
        (["{empty}", "{data}", "{out}"], 1, "holds no box, and does not tell what was looked at"),
        (["{run}", "{data}", "{out}", "--min_score", "2"], 2, "between 0 and 1"),
        (["{run}", "{data}", "{out}", "--scores", "{data}"], 2, "--phase eval writes it"),
    ],
)
def test_what_cannot_be_reviewed_is_one_sentence(dota_folder, tmp_path, capsys, arguments, code, message) -> None:
    data_dir, other = dota_folder(), dota_folder("other", names=("x",))
    places = {"run": as_found(data_dir, tmp_path / "run"), "data": data_dir, "other": other, "out": tmp_path / "out"}
    for name, file in (("untested", "last.pth"), ("empty", "Task1_car.txt")):
        places[name] = tmp_path / name
        places[name].mkdir()
        (places[name] / file).touch()
    assert main([argument.format(**places) for argument in arguments]) == code
    said = capsys.readouterr().err
    assert any(part in said for part in message.split("|")), said
    assert not (tmp_path / "out").exists()


def test_a_stop_leaves_nothing_half_written(dota_folder, tmp_path, monkeypatch) -> None:
    def stopped(*_, **__):
        raise KeyboardInterrupt

    data_dir = dota_folder()
    monkeypatch.setattr(review_labels, "review_page", stopped)
    assert main([str(as_found(data_dir, tmp_path / "run")), str(data_dir), str(tmp_path / "out")]) == 130
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", ["read_objects", "open_picture"])
def test_a_stop_is_granted_between_two_pictures(dota_folder, tmp_path, monkeypatch, part) -> None:
    """It was swallowed: everything was finished, with exit code 0."""
    data_dir, run_dir = dota_folder(), tmp_path / "run"
    as_found(data_dir, run_dir)
    for path in (data_dir / "labelTxt").iterdir():
        spoil(path, lambda quads, names: ([quad + 300 for quad in quads], names))
    module = review_module if part == "read_objects" else review_labels
    whole, calls = getattr(module, part), []

    def stopped(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGINT)
        return whole(*arguments, **options)

    monkeypatch.setattr(module, part, stopped)
    assert main([str(run_dir), str(data_dir), str(tmp_path / "out")]) == 130
    assert len(calls) == 1
    assert not (tmp_path / "out" / "review.html").exists()
