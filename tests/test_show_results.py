"""The command that shows results in a browser: what it writes, beside labels and without, and what it refuses."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.picture_files.layouts import Reading
from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.task_files import ImageDetections, write_results
from tests.label_documents import source
from tests.test_result_page import values_in
from tests.test_review_labels import as_found
from tools import show_results
from tools.show_results import main


def shown(out: Path) -> dict:
    return values_in((out / "results.html").read_text(encoding="utf-8"))


def tell(run_dir: Path, **facts: object) -> None:
    """Add to what the results tell of themselves."""
    path = run_dir / "results" / "origin.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | facts), encoding="utf-8")


def test_beside_labels_every_object_is_found_and_every_box_right(dota_folder, tmp_path, capsys) -> None:
    data_dir = dota_folder("数据", names=("图 1", "b", "empty"))
    before = {path: path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}
    run_dir, out = as_found(data_dir, tmp_path / "run"), tmp_path / "out"
    assert main([str(run_dir), str(out), "--data_dir", str(data_dir)]) == 0
    told = shown(out)
    assert {picture["name"] for picture in told["pictures"]} == {"图 1", "b", "empty"}
    for picture in told["pictures"]:
        assert [box[3] for box in picture["boxes"]] == [1] * len(picture["boxes"])
        assert [thing[1] for thing in picture["objects"]] == [90] * len(picture["objects"])
        assert cv2.imread(str(out / picture["file"])).shape[:2] == tuple(picture["size"])
    assert sum(told["objects"]) == sum(map(sum, told["right"])) > 0
    assert {path: path.read_bytes() for path in before} == before
    assert "it shows 3 pictures" in capsys.readouterr().out


def test_without_labels_the_pictures_are_those_that_the_results_tell_of(dota_folder, tmp_path, capsys) -> None:
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run")
    assert main([str(run_dir), str(tmp_path / "none")]) == 2
    assert "its pictures are not known; --images DIR" in capsys.readouterr().err
    tell(run_dir, pictures=str(data_dir / "images"), classes=["boat", "car"])
    assert main([str(run_dir), str(tmp_path / "told")]) == 0
    assert main([str(run_dir), str(tmp_path / "named"), "--images", str(data_dir)]) == 0
    assert main([str(run_dir), str(tmp_path / "pattern"), "--images", f"{data_dir}/*/*.png"]) == 0
    pages = [shown(tmp_path / name) for name in ("told", "named", "pattern")]
    assert pages[0] == pages[1] == pages[2]
    assert not pages[0]["hasTruth"]
    assert [item["name"] for item in pages[0]["classes"]] == ["boat", "car"], "in the network's order"
    assert all(not picture["objects"] for picture in pages[0]["pictures"])


def test_of_many_pictures_those_with_most_errors_are_shown_and_all_are_counted(dota_folder, tmp_path) -> None:
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run")
    far = boxes_to_quads(np.array([[60.0, 60, 9, 5, angle] for angle in (0, 1, 1.5)]), "le90")
    path = run_dir / "results" / "Task1_car.txt"
    lines = [f"scene_2 0.8 {' '.join(map(str, quad.reshape(-1).tolist()))}\n" for quad in far]
    path.write_text(path.read_text(encoding="utf-8") + "".join(lines), encoding="utf-8")
    assert main([str(run_dir), str(tmp_path / "out"), "--data_dir", str(data_dir), "--num", "1"]) == 0
    told = shown(tmp_path / "out")
    assert [picture["name"] for picture in told["pictures"]] == ["scene_2"]
    assert sum(map(sum, told["false"])) == 3
    assert sum(told["objects"]) > len(told["pictures"][0]["objects"])


def test_labels_of_other_formats_are_compared(tmp_path) -> None:
    data_dir = source(tmp_path, "yolo_obb")
    quad = boxes_to_quads(np.array([[30.0, 30, 20, 10, 0]]), "le90")
    found = {"图 1": ImageDetections(quad, np.array([0.8], np.float32), np.array([0]))}
    write_results(tmp_path / "results", ["未知"], found)  # a class that no label has
    assert main([str(tmp_path / "results"), str(tmp_path / "out"), "--data_dir", str(data_dir)]) == 0
    told = shown(tmp_path / "out")
    assert told["classes"][-1]["name"] == "未知"
    assert sum(told["objects"]) > 0
    assert sum(map(sum, told["false"])) == 1


def test_pictures_are_read_as_the_network_read_them(dota_folder, tmp_path, monkeypatch) -> None:
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run")
    tell(run_dir, reading={"value_range": [0, 900], "bands": [5, 3, 2]})
    seen, open_picture = [], show_results.open_picture

    def opened(path: Path, reading: Reading) -> object:
        seen.append(reading)
        return open_picture(path)

    monkeypatch.setattr(show_results, "open_picture", opened)
    assert main([str(run_dir), str(tmp_path / "out"), "--data_dir", str(data_dir)]) == 0
    assert {*seen} == {Reading((0, 900), (5, 3, 2))}


def test_what_cannot_be_read_is_told_and_the_rest_is_shown(dota_folder, tmp_path, capsys) -> None:
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run")
    (data_dir / "images" / "scene_0.png").write_bytes(b"no picture")
    (data_dir / "labelTxt" / "scene_1.txt").write_text("1 2 3\n", encoding="utf-8")
    assert main([str(run_dir), str(tmp_path / "out"), "--data_dir", str(data_dir)]) == 1
    said = capsys.readouterr().err
    assert "scene_0.png" in said
    assert "scene_1.txt:1" in said
    assert {picture["name"] for picture in shown(tmp_path / "out")["pictures"]} == {"scene_2", "scene_3"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--data_dir", "{data}", "--images", "{data}"], "does not go with --data_dir"),
        (["--dataset", "dota", "--images", "{data}"], "go with --data_dir"),
        (["--images", "{data}/nothing"], "no such folder"),
        (["--images", "{data}/*.none"], "no picture"),
        (["--data_dir", "{data}/nothing"], "no such data folder"),
        (["--min_score", "2"], "--min_score"),
    ],
)
def test_wrong_flags_are_refused_before_anything_is_written(dota_folder, tmp_path, capsys, flags, said) -> None:
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run")
    flags = [flag.replace("{data}", str(data_dir)) for flag in flags]
    try:
        code = main([str(run_dir), str(tmp_path / "out"), *flags])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_beside_inputs_or_over_other_files(dota_folder, tmp_path, capsys) -> None:
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run")
    assert main([str(run_dir), str(data_dir / "page"), "--data_dir", str(data_dir)]) == 2
    assert main([str(run_dir), str(data_dir / "page"), "--images", str(data_dir)]) == 2
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").write_text("mine", encoding="utf-8")
    assert main([str(run_dir), str(tmp_path / "used"), "--data_dir", str(data_dir)]) == 2
    assert "in use" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["mine.txt"]


def test_pictures_that_are_not_at_hand_are_told(dota_folder, tmp_path, capsys) -> None:
    """They vanished from the page, and their objects from its counts, without a word."""
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run")
    tell(run_dir, images=["scene_0", "elsewhere_1", "elsewhere_2"])
    assert main([str(run_dir), str(tmp_path / "out"), "--data_dir", str(data_dir)]) == 0
    assert "2 pictures of its 3 are not in" in capsys.readouterr().err
    assert [picture["name"] for picture in shown(tmp_path / "out")["pictures"]] == ["scene_0"]


def test_the_page_says_so_where_nobody_knows_what_was_looked_at(dota_folder, tmp_path) -> None:
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run")
    assert main([str(run_dir), str(tmp_path / "told"), "--data_dir", str(data_dir)]) == 0
    (run_dir / "results" / "origin.json").unlink()
    assert main([str(run_dir), str(tmp_path / "guessed"), "--data_dir", str(data_dir)]) == 0
    pages = [(tmp_path / name / "results.html").read_text("utf-8") for name in ("told", "guessed")]
    assert ["do not tell what else was looked at" in page for page in pages] == [False, True]


def test_a_place_that_is_gone_and_a_pattern_that_results_tell_of_are_named(dota_folder, tmp_path, capsys) -> None:
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run")
    tell(run_dir, pictures="/gone/pictures")
    assert main([str(run_dir), str(tmp_path / "gone")]) == 2
    assert "/gone/pictures is not there any more" in capsys.readouterr().err
    tell(run_dir, pictures=f"{data_dir}/*/*.png")
    assert main([str(run_dir), str(tmp_path / "pattern")]) == 0
    tell(run_dir, images=["other"])
    assert main([str(run_dir), str(tmp_path / "other")]) == 1
    assert "pictures of the pattern; name" in capsys.readouterr().err


def test_labels_of_which_none_can_be_used_are_not_called_pictures(dota_folder, tmp_path, capsys) -> None:
    data_dir = dota_folder()
    run_dir = as_found(data_dir, tmp_path / "run")
    for path in (data_dir / "labelTxt").iterdir():
        path.write_text("1 2 3\n", encoding="utf-8")
    assert main([str(run_dir), str(tmp_path / "out"), "--data_dir", str(data_dir)]) == 1
    assert "none of the 4 pictures has labels that can be used" in capsys.readouterr().err


def test_a_stop_leaves_nothing_in_the_way_of_the_next_try(dota_folder, tmp_path, monkeypatch) -> None:
    """The pictures so far made the folder one that is in use."""
    data_dir = dota_folder()
    run_dir, write = as_found(data_dir, tmp_path / "run"), show_results.write_picture
    command = [str(run_dir), str(tmp_path / "out"), "--data_dir", str(data_dir)]

    def stopped(path: Path, picture: np.ndarray) -> None:
        write(path, picture)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(show_results, "write_picture", stopped)
        assert main(command) == 130
    assert main(command) == 0
