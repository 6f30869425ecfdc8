"""Result files: whole or not at all, and they say what they are results of."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from DOTA_devkit.task_files import ImageDetections, read_results
from tools.detection import results
from tools.detection.results import ResultFiles, read_origin, remove_merged
from tools.outcomes import Found
from tools.running.command_line import SettingsError
from tools.running.folder_lock import LOCK

QUAD = np.array([[1.5, 2], [3, 2], [3, 4], [1.5, 4]])


def _found(*labels: int) -> Found:
    boxes = ImageDetections(
        np.stack([QUAD] * len(labels)) if labels else np.zeros((0, 4, 2)),
        np.linspace(0.9, 0.5, len(labels)),
        np.array(labels, np.int64),
    )
    return Found(0, boxes, (480, 640))


def test_results_read_back_and_empty_pictures_are_remembered(tmp_path):
    with ResultFiles(tmp_path / "results", ["船", "car"], {"sha256": "x"}) as files:
        files.write(Path("in/图 1.png"), _found(0, 1))
        files.write(Path("in/b.jpg"), _found())
    back = read_results(tmp_path / "results", ["船", "car"]).images
    assert list(back) == ["图 1"]
    assert np.array_equal(back["图 1"].quads[0], QUAD)
    origin = read_origin(tmp_path / "results")
    assert origin["sha256"] == "x"
    assert origin["images"] == ["图 1", "b"]
    records = json.loads((tmp_path / "results" / "detections.json").read_text(encoding="utf-8"))
    assert [record["image"] for record in records] == ["图 1.png", "b.jpg"]
    box = [2.25, 3.0, 2.0, 1.5, -1.570796]  # the long side stands upright: le90 is half open
    assert -math.pi / 2 <= box[4] < math.pi / 2, "as README says; rounded to four digits it was beyond"
    assert records[0]["boxes"][0] == {"class": "船", "score": 0.9, "quad": QUAD.ravel().tolist(), "box": box}
    assert (records[1]["height"], records[1]["width"], records[1]["boxes"]) == (480, 640, [])


def test_no_picture_gives_a_valid_file(tmp_path):
    with ResultFiles(tmp_path, ["a"], {}):
        pass
    assert json.loads((tmp_path / "detections.json").read_text(encoding="utf-8")) == []
    assert {path.name for path in tmp_path.iterdir()} == {"Task1_a.txt", "detections.json", "origin.json"}


def test_results_of_an_earlier_networks_classes_go(tmp_path):
    for names in (["car", "van"], ["van", "ship"]):
        with ResultFiles(tmp_path / "ours", names, {}) as files:
            files.write(Path("a.png"), _found(0))
    assert sorted(path.name for path in (tmp_path / "ours").glob("*.txt")) == ["Task1_ship.txt", "Task1_van.txt"]
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "Task1_car.txt").touch()
    with ResultFiles(tmp_path / "theirs", ["van"], {}):
        pass
    assert (tmp_path / "theirs" / "Task1_car.txt").is_file()


@pytest.mark.parametrize("name", ["detections.json", "origin.json"])
def test_a_file_of_somebody_else_is_not_replaced(tmp_path, name):
    """They were removed without a look, where Task1 files were looked at."""
    (tmp_path / name).write_text('{"source": "camera 3", "classes": ["car"]}', encoding="utf-8")
    (tmp_path / "Task1_van.txt").touch()
    with (
        pytest.raises(SettingsError, match=f"{name} is there, and was not written by this command; name another"),
        ResultFiles(tmp_path, ["car"], {}),
    ):
        pass
    assert "camera 3" in (tmp_path / name).read_text(encoding="utf-8")
    assert (tmp_path / "Task1_van.txt").is_file()


def test_merged_files_of_somebody_else_stay(tmp_path):
    (tmp_path / "merged").mkdir()
    for name in ("origin.json", "detections.json", "Task1_car.txt"):
        (tmp_path / "merged" / name).write_text('{"theirs": 1}', encoding="utf-8")
    remove_merged(tmp_path)
    assert len(list((tmp_path / "merged").iterdir())) == 3


def test_an_interrupted_test_leaves_no_results(tmp_path):
    with pytest.raises(KeyboardInterrupt), ResultFiles(tmp_path / "r", ["a"], {}) as files:
        files.write(Path("a.png"), _found(0))
        raise KeyboardInterrupt
    assert list((tmp_path / "r").iterdir()) == []
    assert read_origin(tmp_path / "r") is None


def test_a_stop_in_the_last_moment_leaves_no_results(tmp_path, monkeypatch):
    """Between the closing bracket and the renaming the temporary files stayed."""

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ResultFiles(tmp_path / "r", ["a"], {}) as files:
        files.write(Path("a.png"), _found(0))
        monkeypatch.setattr(files._json, "write", stop, raising=False)
    assert list((tmp_path / "r").iterdir()) == []


def test_old_results_go_before_new_ones_begin(tmp_path):
    """A job of the night that failed left the boxes of the night before, and who came next took them for its own."""
    with ResultFiles(tmp_path, ["a"], {"sha256": "old"}) as files:
        files.write(Path("a.png"), _found(0))
    (tmp_path / "notes.txt").touch()
    with pytest.raises(KeyboardInterrupt), ResultFiles(tmp_path, ["a"], {"sha256": "new"}):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    with ResultFiles(tmp_path, ["a"], {}) as files:
        files.write(Path("a.png"), _found(0))
        during = sorted(tmp_path.iterdir())
        with pytest.raises(SettingsError, match="another process is writing results"), ResultFiles(tmp_path, ["a"], {}):
            pass
        assert sorted(tmp_path.iterdir()) == during
    for name in (".detections.json.0123.tmp", ".Task1_a.txt.0123.tmp"):
        (tmp_path / name).write_text("half", encoding="utf-8")
    with ResultFiles(tmp_path, ["a"], {}):
        pass
    assert not list(tmp_path.glob(".*"))


def test_files_of_others_stay_and_are_not_touched_while_another_process_writes(tmp_path):
    """A Task1 file of somebody else went before it was known that another process was at work there."""
    (tmp_path / "Task1_theirs.txt").touch()
    busy = pytest.raises(SettingsError, match="another process")
    with ResultFiles(tmp_path, ("car",), {}), busy, ResultFiles(tmp_path, ("boat",), {}):
        pass
    with ResultFiles(tmp_path, ("boat",), {}):
        pass
    assert {path.name for path in tmp_path.glob("Task1_*")} == {"Task1_theirs.txt", "Task1_boat.txt"}


def test_what_results_are_of_is_written_before_another_process_may_begin(tmp_path, monkeypatch):
    seen = []
    write = results.write_json
    monkeypatch.setattr(
        results, "write_json", lambda path, said: (seen.append((tmp_path / LOCK).exists()), write(path, said))
    )
    with ResultFiles(tmp_path, ("car",), {}):
        pass
    assert seen == [True]
    assert (tmp_path / "Task1_car.txt").is_file()


def test_a_result_file_that_others_wrote_is_not_replaced(tmp_path):
    """Made by hand, or by another program, it was taken for an earlier one of ours."""
    (tmp_path / "Task1_car.txt").write_text("theirs", encoding="utf-8")
    with (
        pytest.raises(SettingsError, match=r"Task1_car\.txt is there, and nothing tells"),
        ResultFiles(tmp_path, ("car",), {}),
    ):
        pass
    assert (tmp_path / "Task1_car.txt").read_text(encoding="utf-8") == "theirs"


def test_results_of_a_process_killed_between_two_files_are_known(tmp_path, monkeypatch):
    """Of which nothing but detections.json, the first to appear, tells whose they are."""
    with ResultFiles(tmp_path, ("car", "boat"), {}) as files:
        files.write(Path("a.png"), _found(0))
    for name in ("Task1_boat.txt", "origin.json"):
        (tmp_path / name).unlink()
    with ResultFiles(tmp_path, ("car", "boat"), {}):
        pass
    assert (tmp_path / "Task1_boat.txt").is_file()
    order, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (order.append(Path(new).name), replace(old, new)))
    with ResultFiles(tmp_path, ("car",), {}):
        pass
    assert order.index("detections.json") < order.index("Task1_car.txt")
