"""Tests of tools/evaluate.py: files in, table and JSON out, and a sentence for everything that does not fit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from DOTA_devkit.labels import read_labels, write_labels
from DOTA_devkit.task_files import ImageDetections, result_path, write_results
from DOTA_devkit.truths import ImageTruth
from tests.label_documents import YOLO_LINE, yolo_folder
from tests.result_files import BESIDE, FAR, SQUARE, Files
from tests.test_evaluation import CLASSES, reference, scene
from tools import evaluate


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def write_truths(files: Files, truths: Mapping[str, ImageTruth], class_names: Sequence[str]) -> None:
    for name, item in truths.items():
        names = [class_names[label] for label in item.labels]
        write_labels(files.labels / f"{name}.txt", item.quads, names, item.difficult, sync=False)


def write_truths_as_results(files: Files, task: int = 1) -> None:
    """The labels in the folder, fed back as detections."""
    read = {path.stem: read_labels(path) for path in files.labels.glob("*.txt")}
    names = sorted({name for item in read.values() for name in item.names})
    detections = {
        picture: ImageDetections(
            item.quads, np.full(len(item.names), 0.9), np.array([names.index(name) for name in item.names], dtype=int)
        )
        for picture, item in read.items()
    }
    write_results(files.results, names, detections, task)


# -- the numbers


def test_the_protocol_is_the_published_one_through_files(files: Files) -> None:
    """Issue 3: to 1e-9 in AP per class, area and eleven points, difficult ignored and counted."""
    detections, truths = scene(np.random.default_rng(7), 3, 12, 30)
    write_truths(files, truths, CLASSES)
    write_results(files.results, CLASSES, detections)
    for difficult in ("ignore", "count"):
        flags = ("--published", "--iou", "0.5", "0.7", "--difficult", difficult)
        area, eleven = files.metrics(*flags, "--metric", "area"), files.metrics(*flags)
        assert (area["metric"], eleven["metric"]) == ("area", "07")  # the devkit's main program asks for 07
        for label, name in enumerate(CLASSES):
            for threshold, key in ((0.5, "0.50"), (0.7, "0.70")):
                expected = reference(detections, truths, label, threshold, difficult == "count")
                assert area["classes"][name]["AP"][key] == pytest.approx(expected[0], abs=1e-9)
                assert eleven["classes"][name]["AP"][key] == pytest.approx(expected[1], abs=1e-9)


@pytest.mark.parametrize("task", [1, 2])
@pytest.mark.parametrize("metric", ["area", "07"])
def test_drawn_truth_fed_back_scores_one(files: Files, task: int, metric: str) -> None:
    rng = np.random.default_rng(3)
    _, truths = scene(rng, 4, 8, 1, extent=5000.0)
    write_truths(files, truths, CLASSES)
    write_truths_as_results(files, task)
    metrics = files.metrics("--task", str(task), "--metric", metric)
    assert metrics["mAP50"] == metrics["mAP50_95"] == 1.0
    assert [item["AP50_95"] for item in metrics["classes"].values()] == [1.0] * 3


@pytest.mark.parametrize("protocol", [[], ["--published"]])
def test_real_truth_fed_back_scores_one(files: Files, real_folder: Callable[[str], Path], protocol: list[str]) -> None:
    labels_dir = real_folder("dota") / "labelTxt"
    for path in labels_dir.glob("*.txt"):
        (files.labels / path.name).write_bytes(path.read_bytes())
    write_truths_as_results(files)
    for task in (1, 2):
        if task == 2:
            write_truths_as_results(files, task)
        metrics = files.metrics("--version", "1.0", "--task", str(task), "--difficult", "count", *protocol)
        scored = {name: item for name, item in metrics["classes"].items() if item["num_truths"]}
        assert set(scored) == {
            "harbor", "ship", "baseball-diamond", "ground-track-field", "swimming-pool", "tennis-court",
            "large-vehicle", "small-vehicle",
        }  # fmt: skip
        assert [item["AP50_95"] for item in scored.values()] == [1.0] * 8


@pytest.mark.parametrize("metric", ["area", "07"])
def test_intervals_of_ap50_are_told_when_asked_for(files: Files, capsys: pytest.CaptureFixture, metric: str) -> None:
    detections, truths = scene(np.random.default_rng(11), 12, 6, 20)
    write_truths(files, truths, CLASSES)
    write_results(files.results, CLASSES, detections)
    plain = files.metrics("--metric", metric)
    assert "AP50 95 %" not in capsys.readouterr().out
    assert "mAP50_interval" not in plain
    asked = ["--metric", metric, "--bootstrap", "100"]
    metrics = files.metrics(*asked)
    table = capsys.readouterr().out
    assert "AP50 95 %" in table
    for name in CLASSES:
        low, high = metrics["classes"][name]["AP50_interval"]
        assert low < plain["classes"][name]["AP50"] == metrics["classes"][name]["AP50"] < high
        assert f"{low:.4f}-{high:.4f}" in table
    low, high = metrics["mAP50_interval"]
    assert low < metrics["mAP50"] < high
    assert (metrics["bootstrap"], metrics["seed"]) == (100, 0)
    assert files.metrics(*asked) == metrics
    assert files.metrics(*asked, "--seed", "1")["mAP50_interval"] != metrics["mAP50_interval"]


def test_results_and_labels_may_spell_an_umlaut_in_other_ways(files: Files, capsys: pytest.CaptureFixture) -> None:
    """They scored 0, and two warnings named what looks the same."""
    files.label("Zürich", f"{SQUARE} ship 0")
    files.result("ship", f"Zu\u0308rich 0.9 {SQUARE}")
    assert files.metrics()["mAP50"] == 1.0
    assert "Z" not in capsys.readouterr().err
    files.result("ship", f"Zu\u0308rich 0.9 {SQUARE}", f"Zürich 0.8 {SQUARE}")
    assert files.run() == 1
    assert "two pictures are called 'Zürich', but for the form of a letter" in capsys.readouterr().err


def test_a_result_file_may_be_named_instead_of_a_folder(files: Files) -> None:
    files.label("a", f"{SQUARE} ship 0")
    path = files.result("ship", f"a 0.9 {SQUARE}")
    assert evaluate.main([str(path), str(files.labels)]) == 0


def test_a_run_folder_and_a_data_folder_are_taken_as_they_are(files: Files, capsys: pytest.CaptureFixture) -> None:
    files.label("a", f"{SQUARE} car 0")
    files.result("car", f"a 0.9 {SQUARE}")
    (files.folder / "images").mkdir()
    assert evaluate.main([str(files.folder), str(files.folder)]) == 0
    assert "1.000" in capsys.readouterr().out
    part = files.folder / "data" / "val"
    (part / "images").mkdir(parents=True)
    (part / "labelTxt").mkdir()
    assert evaluate.main([str(files.folder), str(files.folder / "data")]) == 2
    assert f"data holds val; name {part / 'labelTxt'}" in capsys.readouterr().err
    (files.folder / "merged").mkdir()
    assert evaluate.main([str(files.folder), str(files.folder)]) == 2
    assert "holds results of tiles and of whole pictures; name" in capsys.readouterr().err


def test_one_set_of_results_is_set_against_another(files: Files, capsys: pytest.CaptureFixture) -> None:
    """Twenty pictures with a ship each, all found; the others miss every second, and the car in neither."""
    other = files.folder / "other"
    other.mkdir()
    lines = [f"p{number:02} 0.9 {SQUARE}" for number in range(20)]
    for number in range(20):
        files.label(
            f"p{number:02}",
            f"{SQUARE} ship 0",
            *([f"{FAR} car 0"] if number in (3, 4) else []),
            *([f"{FAR} van 0"] if number == 5 else []),
        )
    files.result("ship", *lines)
    files.result("car")
    files.result("van", f"p05 0.9 {FAR}")
    result_path(other, "ship", 1).write_text("".join(f"{line}\n" for line in lines[::2]), encoding="utf-8")
    for name in ("car", "van"):
        result_path(other, name, 1).touch()
    metrics = files.metrics("--against", str(other), "--bootstrap", "200")
    found = metrics["against"]
    ship = found["classes"]["ship"]
    assert (ship["AP50"], ship["AP50_there"], ship["difference"]) == (1.0, 0.5, 0.5)
    low, high = ship["interval"]
    assert 0.2 < low < 0.5 < high < 0.8
    assert found["classes"]["car"]["interval"] == [0.0, 0.0]
    assert found["classes"]["van"]["interval"] is None  # of one picture: it was more than chance
    assert found["difference"] == pytest.approx(0.5)
    assert metrics["mAP50"] == pytest.approx(2 / 3)
    said = capsys.readouterr().out
    assert f"against {other}, 200 draws of the pictures" in said
    table = {line.split()[0]: line for line in said.partition("against")[2].splitlines() if line.strip()}
    assert [table[name].endswith("*") for name in ("car", "van", "ship", "mean")] == [False, False, True, True]
    assert table["van"].endswith("n/a")
    assert "+0.5000" in table["ship"]
    files.label("slip", "no numbers")  # is read after that
    assert files.run("--against", str(files.folder / "none")) == 1
    assert "none: no such file or folder" in capsys.readouterr().err


def test_difficult_objects_are_ignored_unless_counted(files: Files) -> None:
    """Defect 24: v1.5 of the kit ignores the flag."""
    files.label("a", f"{SQUARE} ship 0", f"{BESIDE} ship 1")
    files.result("ship", f"a 0.9 {SQUARE}")
    assert files.metrics()["mAP50"] == 1.0
    assert files.metrics("--difficult", "count")["mAP50"] == 0.5


def test_ignore_regions_are_left_out_of_the_published_protocol(files: Files) -> None:
    files.label("a", f"{SQUARE} ship 0", "100 0 300 0 300 200 100 200 DontCare 0")
    files.result("ship", "a 0.95 110 10 120 10 120 20 110 20", f"a 0.9 {SQUARE}")
    assert files.metrics()["mAP50"] == 1.0
    assert files.metrics("--published")["mAP50"] == 0.5
    assert files.metrics("--ignore_overlap", "1")["mAP50"] == 0.5


def test_metric_07_fills_all_keys_with_the_eleven_points(files: Files, capsys: pytest.CaptureFixture) -> None:
    """One object found, one missed: area 1 / 2; six of eleven recall levels (0 to 0.5): 6 / 11."""
    files.label("a", f"{SQUARE} ship 0", f"{BESIDE} ship 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    area, eleven = files.metrics(), files.metrics("--metric", "07")
    assert (area["metric"], area["mAP50"], area["mAP50_07"]) == ("area", 0.5, pytest.approx(6 / 11))
    assert (eleven["metric"], eleven["classes"]["ship"]["AP50"]) == ("07", pytest.approx(6 / 11))
    assert eleven["sizes"]["0-16"]["mAP50"] == eleven["mAP50_07"]
    assert eleven["mAP50"] == eleven["mAP50_07"] == pytest.approx(eleven["mAP50_95"])
    assert capsys.readouterr().out.count("0.5455") == 6


def test_task_2_compares_outer_boxes(files: Files) -> None:
    """The diamond's outer box is 20 x 20; against 20 x 10 the overlap is 1 / 2, with whole pixels 21 x 11 / 21 x 21."""
    files.label("a", "10 0 20 10 10 20 0 10 ship 0")
    files.result("ship", "a 0.9 0 0 20 10", task=2)
    assert files.metrics("--task", "2", "--iou", "0.499", "0.501")["mAP"] == {"0.499": 1.0, "0.501": 0.0}
    assert files.metrics("--task", "2", "--iou", "0.523", "0.524", "--published")["mAP"] == {"0.523": 1.0, "0.524": 0.0}


def test_task_2_sees_only_its_own_files(files: Files, capsys: pytest.CaptureFixture) -> None:
    files.label("a", f"{SQUARE} ship 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    assert files.run("--task", "2") == 1
    assert capsys.readouterr().err == f"error: {files.results}: no result files Task2_<class>.txt in this folder; " + (
        "name another\n"
    )


def test_the_json_has_the_shape_of_metrics_json_and_keeps_every_digit(files: Files) -> None:
    files.label("a", f"{SQUARE} ship 0", f"{BESIDE} ship 0", f"{FAR} ship 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    metrics = files.metrics()
    assert metrics["mAP50"] == metrics["classes"]["ship"]["AP50"] == 1 / 3
    assert (metrics["task"], metrics["difficult"], metrics["ignore_overlap"]) == (1, "ignore", 0.5)


def test_the_table_shows_the_overlaps_that_were_measured(files: Files, capsys: pytest.CaptureFixture) -> None:
    files.label("a", f"{SQUARE} ship 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    assert files.run("--iou", "0.6", "0.5", "0.625") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == "class truths detections AP50 AP60 AP625 precision recall at score".split()
    assert lines[3].split() == ["ship", "1", "1"] + ["1.0000"] * 5 + ["0.9000"]


# -- errors


@pytest.mark.parametrize(
    ("label", "result", "sentence"),
    [
        (f"{SQUARE} ship 0", f"a nan {SQUARE}", "{result}:2: the score is NaN or infinite; correct it or remove the"),
        (f"{SQUARE} ship 0", "a 0.9 1 2 3", "{result}:2: a line must hold image, score and 8 coordinates"),
        (f"{SQUARE} ship 3", f"a 0.9 {SQUARE}", "{label}:2: difficult is '3'; it must be 0, 1 or 2"),
        ("1 2 3 ship 0", f"a 0.9 {SQUARE}", "{label}:2: only 3 numbers before 'ship'"),
    ],
)
def test_a_bad_line_is_one_sentence_with_file_and_line(
    files: Files, capsys: pytest.CaptureFixture, label: str, result: str, sentence: str
) -> None:
    paths = {"label": files.label("a", "", label), "result": files.result("ship", "", result)}
    assert files.run() == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {sentence.format(**paths)}")
    assert said.count("\n") == 1
    assert not (files.folder / "metrics.json").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--iuo", "0.5"], "unrecognized arguments: --iuo 0.5"),
        (["--task", "3"], "argument --task: invalid choice"),
        (["--metric", "12"], "argument --metric: invalid choice"),
        (["--iou", "1.5"], "argument --iou: (1.5,) must lie within 0 and 1"),
        (["--iou", "nan"], "argument --iou: (nan,) must lie within 0 and 1"),
        (["--ignore_overlap", "2"], "--ignore_overlap is 2.0; it must lie between 0 and 1"),
        (["--bootstrap", "-1"], "--bootstrap is -1; it must be at least 0"),
        (["--seed", "-1"], "--seed is -1; it must be at least 0"),
        (["--bootstrap", "9", "--iou", "0.75"], "argument --bootstrap: the intervals are of AP50; add 0.5 to --iou"),
        (["--against", "x", "--iou", "0.75"], "argument --against: the intervals are of AP50; add 0.5 to --iou"),
        (["--published", "--ignore_overlap", "0.4"], "not allowed with argument"),
        (["--version", "1.0", "--classes", "x"], "not allowed with argument"),
    ],
)
def test_a_wrong_flag_ends_with_2(files: Files, capsys: pytest.CaptureFixture, flags: list[str], sentence: str) -> None:
    assert files.run(*flags) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert sentence in said
    assert said.count("\n") == 1


def test_wrong_folders_are_one_sentence(files: Files, capsys: pytest.CaptureFixture) -> None:
    files.label("a", f"{SQUARE} ship 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    outer = files.folder / "outer"
    outer.mkdir()
    for results, labels, sentence in (
        (files.folder / "no", files.labels, "no: no such file or folder"),
        (files.labels, files.labels, "no result files Task1_<class>.txt"),
        (files.results, files.folder / "no", "no: no such folder of label files"),
        (files.results, outer, f"{outer}: holds no label file; name the folder that holds one"),
    ):
        assert evaluate.main([str(results), str(labels)]) == 1
        said = capsys.readouterr().err
        assert sentence in said
        assert said.count("\n") == 1


@pytest.mark.slow
def test_the_command_explains_itself_with_its_defaults() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.evaluate", "--help"],
        cwd=Path(__file__).resolve().parent.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("usage: python -m tools.evaluate")
    assert done.stdout.count("[default:") == 11


@pytest.mark.slow
def test_the_command_does_not_wait_for_torch() -> None:
    program = "import sys, tools.evaluate; sys.exit('torch' in sys.modules or 'shapely' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_other_results_may_hold_classes_that_these_do_not(files: Files) -> None:
    """Which of the two was named first decided whether they could be compared."""
    files.label("a", f"{SQUARE} ship 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    other = files.folder / "other"
    write_results(other, ["ship", "zebra"], {})
    (other / "Task1_zebra.txt").write_text(f"a 0.9 {BESIDE}\n")
    assert sorted(files.metrics("--against", str(other))["classes"]) == ["ship", "zebra"]


def test_results_of_a_detection_that_was_stopped_are_told_of(files: Files, capsys: pytest.CaptureFixture) -> None:
    files.label("a", f"{SQUARE} ship 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    (files.results / "origin.json").write_text('{"stopped": true, "images": ["a"]}')
    assert files.run() == 0
    assert "are the results of a detection that was stopped, of 1 pictures" in capsys.readouterr().err


def test_labels_of_another_format_are_told_how_to_convert(files: Files, capsys: pytest.CaptureFixture) -> None:
    """A folder of YOLO's gave no label file, and advice by which nothing was scored."""
    files.result("car", f"a 0.9 {SQUARE}")
    yolo_folder(files.folder / "yolo", {"train/a": YOLO_LINE, "val/b": YOLO_LINE})
    assert evaluate.main([str(files.results), str(files.folder / "yolo")]) == 2
    assert (
        "of the format yolo_obb; make DOTA's of them first: python -m tools.convert_labels" in capsys.readouterr().err
    )


def test_scores_do_not_take_the_place_of_another_file(files: Files, capsys: pytest.CaptureFixture) -> None:
    """A checkpoint of 29 MB became 1,887 bytes of JSON, and so did a label file."""
    path = files.label("a", f"{SQUARE} ship 0")
    files.result("ship", f"a 0.9 {SQUARE}")
    before = path.read_text()
    assert files.run("--json", str(path)) == 2
    assert f"--json {path} is there, and was not written by this command" in capsys.readouterr().err
    assert path.read_text() == before
    assert files.run() == files.run() == 0
