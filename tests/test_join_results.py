"""Results on different pictures become one set: nothing lost, nothing twice, and no doubt where they come from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from DOTA_devkit.task_files import ImageDetections, read_results
from tools.detection.results import ResultFiles, read_origin
from tools.join_results import main
from tools.outcomes import Found

CLASSES = ("car", "小船")


def write_part(folder: Path, names: Sequence[str], seed: int = 0, classes: Sequence[str] = CLASSES, **origin) -> Path:
    """Results on pictures of these names; of the last one without a box."""
    rng = np.random.default_rng(seed)
    with ResultFiles(folder / "results", classes, {"checkpoint": str(folder), "nms_thresh": 0.3, **origin}) as files:
        for row, name in enumerate(names):
            count = 0 if name == names[-1] else 3
            quads, scores = rng.uniform(0, 90, (count, 4, 2)), np.sort(rng.random(count).astype(np.float32))[::-1]
            boxes = ImageDetections(quads, scores, rng.integers(len(classes), size=count))
            files.write(Path(f"{name}.png"), Found(row, boxes, (60 + row, 90)))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    parts = (["图 b", "a.1"], ["d", "c", "e"])
    return [write_part(tmp_path / f"fold_{number}", names, number) for number, names in enumerate(parts)]


def join(runs: Sequence[Path], out: Path) -> int:
    return main([*map(str, runs), "--out", str(out)])


def test_joined_results_hold_every_box_and_picture_of_each_to_the_last_digit(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "joined"
    assert join(runs, out) == 0
    for name in CLASSES:
        lines = [(folder / "results" / f"Task1_{name}.txt").read_text("utf-8").splitlines() for folder in (*runs, out)]
        assert sorted(lines[0] + lines[1]) == sorted(lines[2])
    records = [json.loads((folder / "results" / "detections.json").read_text("utf-8")) for folder in (*runs, out)]
    assert sorted(records[0] + records[1], key=str) == sorted(records[2], key=str)
    origin = read_origin(out / "results")
    assert origin["images"] == ["a.1", "c", "d", "e", "图 b"]
    assert origin["classes"] == list(CLASSES)
    assert origin["joined"] == [str(folder / "results") for folder in runs]
    assert origin["nms_thresh"] == 0.3
    assert "checkpoint" not in origin


def test_joined_results_can_be_joined_again(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert join(runs, tmp_path / "joined") == 0
    third = write_part(tmp_path / "third", ["x", "y"])
    assert join([tmp_path / "joined", third], tmp_path / "all") == 0
    assert capsys.readouterr().err == ""
    assert len(read_origin(tmp_path / "all" / "results")["images"]) == 7


def test_a_picture_that_stands_in_two_is_named(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    runs.append(write_part(tmp_path / "third", ["x", "c"]))
    assert join(runs, tmp_path / "joined") == 2
    assert f"picture 'c' stands in {runs[1] / 'results'}, too" in capsys.readouterr().err
    assert not (tmp_path / "joined").exists()


def test_results_of_other_classes_are_refused(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    runs.append(write_part(tmp_path / "third", ["x", "y"], classes=CLASSES[::-1]))
    assert join(runs, tmp_path / "joined") == 2
    assert "different classes: car, 小船 in" in capsys.readouterr().err


def test_other_settings_and_stopped_tests_are_told(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    runs.append(write_part(tmp_path / "third", ["x", "y"], nms_thresh=0.5, stopped=True))
    assert join(runs, tmp_path / "joined") == 0
    said = capsys.readouterr().err
    assert "nms_thresh differ" in said
    assert "of a detection that was stopped" in said
    origin = read_origin(tmp_path / "joined" / "results")
    assert "nms_thresh" not in origin
    assert origin["stopped"] is True


@pytest.mark.parametrize("name", ["origin.json", "detections.json", "Task1_car.txt"])
def test_results_that_are_not_whole_are_refused(
    name: str, runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = runs[0] / "results" / name
    if name == "Task1_car.txt":
        path.write_text("elsewhere 0.5 0 0 9 0 9 9 0 9\n", encoding="utf-8")
    else:
        path.unlink()
    assert join(runs, tmp_path / "joined") == 2
    assert "holds no whole results" in capsys.readouterr().err
    assert not (tmp_path / "joined").exists()


def test_a_bad_line_is_named_and_a_folder_in_use_kept(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert join(runs, runs[1]) == 2
    assert len(read_results(runs[1] / "results", CLASSES).images) == 2
    (runs[0] / "results" / "Task1_car.txt").write_text("a.1 half\n", encoding="utf-8")
    assert join(runs, tmp_path / "joined") == 1
    assert "Task1_car.txt:1" in capsys.readouterr().err
