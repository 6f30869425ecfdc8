"""The merging command as a user meets it."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from DOTA_devkit.merging import merge_pictures
from DOTA_devkit.task_files import ImageDetections, read_results, write_results
from DOTA_devkit.tile_index import TileIndex, read_index, write_index
from DOTA_devkit.tiling import Tile, lay_tiles
from tools import merge_results
from tools.detection.results import MERGED_BY_HAND, warn_if_stopped
from tools.merge_results import main
from tools.running.folder_lock import locked

REPOSITORY = Path(__file__).resolve().parent.parent
NAMES = ("my", "my__image", "a b", "v1.2.final", "港口", "my__1__0___0")
CLASSES = ("ship", "large vehicle")
QUAD = np.array([[[10, 10], [40, 10], [40, 30], [10, 30]]], float)


def found(quads: np.ndarray, scores: Sequence[float], labels: Sequence[int]) -> ImageDetections:
    return ImageDetections(np.asarray(quads, float), np.asarray(scores, float), np.asarray(labels, np.int64))


def make_index(folder: Path, names: Sequence[str] = NAMES, hw: tuple[int, int] = (150, 150)) -> TileIndex:
    """An index of tiles of 100 pixels with an overlap of 40, written to `folder`."""
    tiles = {tile.name: tile for name in names for tile in lay_tiles(name, *hw, 100, 40)}
    index = TileIndex(100, 40, CLASSES, dict.fromkeys(names, hw), tiles)
    write_index(folder / "tiles.json", index)
    return index


def read_tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("Task1_*"))}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results on the tiles of six pictures with awkward names, and their index: one box of each class a tile."""
    index = make_index(tmp_path)
    rng = np.random.default_rng(0)
    detections = {
        name: found(
            np.concatenate([QUAD + rng.uniform(-5, 50), QUAD + rng.uniform(-5, 50)]), rng.uniform(0, 1, 2), [0, 1]
        )
        for name in index.tiles
    }
    write_results(tmp_path / "results", CLASSES, detections)
    return tmp_path / "results"


def test_results_and_index_may_spell_an_umlaut_in_two_ways(tmp_path: Path) -> None:
    """The files of tiles had been on a Mac: their results were those "of other tiles"."""
    index = make_index(tmp_path, ["Ho\u0308he"])
    names = [name.replace("o\u0308", "\u00f6") for name in index.tiles]
    assert not {*names} & {*index.tiles}
    write_results(tmp_path / "results", CLASSES, {name: found(QUAD, [0.5], [0]) for name in names})
    assert main(arguments(tmp_path / "results")) == 0
    assert list(read_results(tmp_path / "merged").images) == ["Ho\u0308he"]


def arguments(results: Path, out: str = "merged", *more: str) -> list[str]:
    folder = results.parent
    return [str(results), str(folder / out), "--index", str(folder / "tiles.json"), "--workers", "0", *more]


def test_boxes_come_back_to_their_own_picture(tmp_path):
    """Defect 22: `my__image` became `my`, two pictures were merged into one, and names with blanks crashed."""
    index = make_index(tmp_path)
    detections = {f"{name}__1__50___50": found(QUAD + number, [0.5], [number % 2]) for number, name in enumerate(NAMES)}
    write_results(tmp_path / "results", CLASSES, detections)
    assert main(arguments(tmp_path / "results")) == 0
    merged = read_results(tmp_path / "merged", CLASSES).images
    assert set(merged) == set(NAMES)
    for number, name in enumerate(NAMES):
        assert merged[name].quads.tolist() == (QUAD + number + 50).tolist()
        assert merged[name].labels.tolist() == [number % 2]
        assert merged[name].scores.tolist() == [0.5]
    assert set(index.pictures) == set(merged)


def test_the_index_may_be_named_by_its_folder(results):
    assert main([str(results), str(results.parent / "merged"), "--index", str(results.parent), "--workers", "0"]) == 0


def test_results_of_other_tiles_are_refused_before_anything_is_removed(results, capsys):
    """Nothing was left of them, the earlier merge was gone, and the exit code was 0."""
    assert main(arguments(results)) == 0
    before = read_tree(results.parent / "merged")
    write_results(results.parent / "whole", CLASSES, {"my": found(QUAD, [0.5], [0]), "a b": found(QUAD, [0.4], [1])})
    capsys.readouterr()
    assert main(arguments(results.parent / "whole")) == 1
    assert (
        "2 of 2 boxes that were looked at are of tiles that the index has not, such as 'my" in capsys.readouterr().err
    )
    assert read_tree(results.parent / "merged") == before


def test_any_number_of_processes_writes_the_same_bytes(results):
    trees = []
    for workers in ("0", "1", "3"):
        assert main(arguments(results, workers, "--workers", workers)) == 0
        trees.append(read_tree(results.parent / workers))
    assert trees[0] == trees[1] == trees[2]
    assert list(trees[0]) == ["Task1_large vehicle.txt", "Task1_ship.txt"]


@pytest.mark.slow
def test_many_classes_and_processes_do_not_hang(tmp_path):
    """Defect 23: 16 processes of one class each hung in a pool that was never closed."""
    classes = tuple(f"class {number}" for number in range(16))
    tiles = {tile.name: tile for tile in lay_tiles("p", 150, 150, 100, 40)}
    write_index(tmp_path / "tiles.json", TileIndex(100, 40, classes, {"p": (150, 150)}, tiles))
    one_each = found(np.repeat(QUAD, 16, axis=0), np.ones(16), range(16))
    write_results(tmp_path / "results", classes, {"p__1__0___0": one_each})
    command = [
        sys.executable,
        "-m",
        "tools.merge_results",
        *arguments(tmp_path / "results", "merged"),
        "--workers",
        "16",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0
    assert len(list((tmp_path / "merged").glob("Task1_*"))) == 16


@pytest.mark.slow
def test_the_help_tells_units_and_defaults():
    for module in ("tools.merge_results", "tools.split_tiles"):
        command = [sys.executable, "-m", module, "--help"]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0
        assert f"python -m {module}" in done.stdout
        assert "[default: " in done.stdout


def die(task: object) -> None:
    os._exit(9)


def test_a_dying_worker_ends_the_run_with_a_message(results, monkeypatch, capsys):
    """Defect 23, too."""
    monkeypatch.setattr(merge_results, "merge_classes", die)
    started = time.monotonic()
    assert main(arguments(results, "merged", "--workers", "2")) == 1
    assert time.monotonic() - started < 20
    shown = capsys.readouterr().err
    assert "error: a worker process died" in shown
    assert "Traceback" not in shown


def test_tiles_that_are_not_in_the_index_are_counted_and_left_out(results, capsys):
    with (results / "Task1_ship.txt").open("a", encoding="utf-8") as file:
        file.write("other__1__0___0 0.5 1 1 9 1 9 9 1 9\n" * 3 + "my 0.5 1 1 9 1 9 9 1 9\n")
    for workers in ("0", "2"):
        assert main(arguments(results, f"merged{workers}", "--workers", workers)) == 0
        shown = capsys.readouterr().err
        assert "4 boxes of 2 tiles that are not in the index are left out, such as 'my', 'other__1__0___0'" in shown
    assert set(read_results(results.parent / "merged0", CLASSES).images) == set(NAMES)


def test_a_class_without_a_file_is_told_and_written_empty(results, capsys):
    (results / "Task1_ship.txt").unlink()
    assert main(arguments(results)) == 0
    assert "no result file for ship; " in capsys.readouterr().err
    assert (results.parent / "merged" / "Task1_ship.txt").read_bytes() == b""


def test_empty_result_files_merge_to_empty_ones(tmp_path):
    make_index(tmp_path)
    write_results(tmp_path / "results", CLASSES, {})
    assert main(arguments(tmp_path / "results")) == 0
    assert set(read_tree(tmp_path / "merged").values()) == {b""}


def test_without_classes_in_the_index_those_of_the_results_count(tmp_path):
    tiles = {tile.name: tile for tile in lay_tiles("p", 50, 50, 100, 40)}
    write_index(tmp_path / "tiles.json", TileIndex(100, 40, (), {"p": (50, 50)}, tiles))
    write_results(tmp_path / "results", ["buoy"], {"p__1__0___0": found(QUAD, [0.5], [0])})
    assert main(arguments(tmp_path / "results")) == 0
    assert read_results(tmp_path / "merged").class_names == ["buoy"]


def test_files_of_other_programs_are_merged_whatever_their_names_hold(tmp_path):
    """We write `a:b` as `a%3Ab`; the file `Task1_a:b.txt` was looked for under that name."""
    names = ("a:b", "c?*|d", "e%f")
    tiles = {tile.name: tile for tile in lay_tiles("p", 50, 50, 100, 40)}
    (tmp_path / "results").mkdir()
    for name in names:
        (tmp_path / f"results/Task1_{name}.txt").write_text("p__1__0___0 0.5 10 10 40 10 40 30 10 30\n")
    for classes in ((), names):
        write_index(tmp_path / "tiles.json", TileIndex(100, 40, classes, {"p": (50, 50)}, tiles))
        assert main(arguments(tmp_path / "results", f"merged{len(classes)}")) == 0
        merged = read_results(tmp_path / f"merged{len(classes)}", names)
        assert merged.without_file == []
        assert sorted(merged.images["p"].labels.tolist()) == [0, 1, 2]


def test_two_files_of_one_class_are_refused(results, capsys):
    """One of them would be lost."""
    (results / "Task1_%73hip.txt").touch()
    assert main(arguments(results)) == 1
    assert "Task1_%73hip.txt and Task1_ship.txt are both of class 'ship'; " in capsys.readouterr().err


def test_agnostic_merging_lets_classes_compete():
    quad = np.array([[[5.0, 5], [15, 5], [15, 15], [5, 15]]])
    boxes = ImageDetections(np.concatenate([quad, quad + 1]), np.array([0.9, 0.8]), np.array([0, 1]))
    index = TileIndex(100, 40, CLASSES, {"p": (100, 100)}, {"p__1__0___0": Tile("p__1__0___0", "p", 1.0, 0, 0)})
    for agnostic, labels in ((False, [0, 1]), (True, [0])):
        assert merge_pictures({"p__1__0___0": boxes}, index, 0.3, agnostic)["p"].labels.tolist() == labels


def test_classes_suppress_each_other_where_asked_or_where_they_did_in_the_tiles(tmp_path, capsys):
    """By hand there was no such merging, and eval's merged results could not be had."""
    index = make_index(tmp_path, ["p"], (100, 100))
    (tile,) = index.tiles
    write_results(tmp_path / "results", CLASSES, {tile: found([*QUAD, *(QUAD + 1)], [0.8, 0.9], [0, 1])})

    def kept(out: str, *more: str) -> list[int]:
        assert main(arguments(tmp_path / "results", out, *more)) == 0
        return [len((tmp_path / out / f"Task1_{name}.txt").read_text().splitlines()) for name in CLASSES]

    assert kept("each") == [1, 1]
    assert kept("flag", "--agnostic_nms") == [0, 1]
    assert "classes suppress each other" not in capsys.readouterr().out
    (tmp_path / "results" / "origin.json").write_text('{"agnostic": true}')
    assert kept("none", "--no-agnostic_nms") == [1, 1]
    assert kept("as made") == [0, 1]
    assert "classes suppress each other, as in" in capsys.readouterr().out


@pytest.mark.parametrize("told", ["null", "[0.3]", '"0.3"', "NaN", "2"])
def test_a_damaged_threshold_of_the_results_is_one_sentence(results, capsys, told):
    (results / "origin.json").write_text(f'{{"nms_thresh": {told}}}')
    assert main(arguments(results)) == 1
    said = capsys.readouterr().err
    assert "origin.json: nms_thresh is" in said
    assert "no number from 0 to 1; give --nms_thresh" in said
    assert said.count("\n") == 1
    assert main(arguments(results, "other", "--nms_thresh", "0.3")) == 0


def test_merging_of_nothing_in_memory():
    assert merge_pictures({}, TileIndex(100, 40, CLASSES, {"p": (5, 5)}, {}), 0.3) == {}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda folder: (folder / "results/Task1_ship.txt").write_text("my__1__0___0 0.5 1 2\n"), "Task1_ship.txt:1: "),
        (
            lambda folder: (folder / "results/Task1_ship.txt").write_text("my__1__0___0 nan 1 1 9 1 9 9 1 9\n"),
            "Task1_ship.txt:1: the score is NaN",
        ),
        (
            lambda folder: (folder / "results/Task1_tank.txt").write_text("my__1__0___0 1 1 1 9 1 9 9 1 9\n"),
            "class 'tank' is not among the classes of the index",
        ),
        (lambda folder: (folder / "tiles.json").unlink(), "no such index of tiles"),
        (lambda folder: (folder / "tiles.json").write_text("{"), "is not an index of tiles"),
        (lambda folder: [path.unlink() for path in (folder / "results").iterdir()], "no result files"),
    ],
)
def test_bad_input_ends_with_1_and_one_sentence(results, capsys, change, what):
    change(results.parent)
    for workers in ("0", "2"):
        assert main(arguments(results, "merged", "--workers", workers)) == 1
        shown = capsys.readouterr().err
        assert what in shown
        assert shown.count("\n") == 1
    assert not (results.parent / "merged" / "Task1_ship.txt").exists()


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["--nms_thresh", "2"], "--nms_thresh is 2.0"),
        (["--workers", "-1"], "--workers is -1"),
        (["--treshold", "1"], "unrecognized arguments"),
    ],
)
def test_a_wrong_flag_ends_with_2_and_one_sentence(results, capsys, more, what):
    assert main(arguments(results, "merged", *more)) == 2
    shown = capsys.readouterr().err
    assert what in shown
    assert shown.count("\n") == 1


def test_classes_of_an_earlier_merge_go_and_files_of_others_are_warned_of(results, capsys):
    """They stayed, and were then scored with the new ones."""
    folder, merged = results.parent, results.parent / "merged"
    assert main(arguments(results)) == 0
    index = read_index(folder)
    write_index(folder / "tiles.json", dataclasses.replace(index, class_names=("ship",)))
    (results / "Task1_large vehicle.txt").unlink()
    (merged / "Task1_theirs.txt").touch()
    capsys.readouterr()
    (results / "Task1_ship.txt").rename(results / "Task1_tank.txt")  # not among the classes: nothing is merged
    assert main(arguments(results)) == 1
    assert (merged / "Task1_large vehicle.txt").is_file()
    (results / "Task1_tank.txt").rename(results / "Task1_ship.txt")
    capsys.readouterr()
    assert main(arguments(results)) == 0
    assert {path.name for path in merged.glob("Task1_*")} == {"Task1_ship.txt", "Task1_theirs.txt"}
    said = capsys.readouterr()
    assert "removed: 1 Task1 file of other classes, of earlier results" in said.out
    assert f"{merged / 'Task1_theirs.txt'}: is not of this merge" in said.err
    assert "whoever scores the folder would score it, too" in said.err
    (merged / "Task1_theirs.txt").unlink()
    assert main(arguments(results)) == 0
    said = capsys.readouterr()
    assert (said.err, "removed" in said.out) == ("", False)


def test_a_merge_that_is_stopped_leaves_no_results(results, monkeypatch, capsys):
    """Some classes were of this merge, the others of the one before, and the description was of that, too."""
    merged = results.parent / "merged"
    assert main(arguments(results)) == 0
    (merged / "Task1_theirs.txt").touch()
    merge_one, done = merge_results.merge_classes, []

    def stop_after_one(task):
        if done:
            raise KeyboardInterrupt
        done.append(merge_one(task))
        return done[0]

    monkeypatch.setattr(merge_results, "merge_classes", stop_after_one)
    assert main([*arguments(results), "--workers", "0"]) == 130
    assert {path.name for path in merged.iterdir()} == {"Task1_theirs.txt"}


def test_a_merge_into_a_folder_that_another_process_writes_to_is_refused(results, capsys):
    assert main(arguments(results)) == 0
    merged = results.parent / "merged"
    before = read_tree(merged)
    with locked(merged):
        assert main(arguments(results)) == 2
    assert "another process" in capsys.readouterr().err
    assert read_tree(merged) == before


def test_a_merge_knows_what_the_results_tell_of_themselves(results, capsys):
    """It used 0.3 where the detection had used 0.1, and forgot that this had been stopped."""
    merged = results.parent / "merged"
    origin = {"nms_thresh": 0.0, "stopped": True, "classes": list(CLASSES), "images": []}
    trees = {}
    for name, more in (("told", []), ("given", ["--nms_thresh", "0"]), ("other", ["--nms_thresh", "0.9"])):
        (results / "origin.json").write_text(json.dumps(origin))
        assert main([*arguments(results), *more]) == 0
        said = capsys.readouterr()
        assert ("--nms_thresh is 0, as in" in said.out) == (name == "told")
        assert "are the results of a detection that was stopped" in said.err
        trees[name] = read_tree(merged)
    assert trees["told"] == trees["given"] != trees["other"]
    warn_if_stopped(merged)
    assert f"{merged}: are the results of a detection that was stopped" in capsys.readouterr().err


def test_a_folder_that_no_merge_of_ours_has_written_is_left_as_it_is(results, capsys):
    merged = results.parent / "merged"
    merged.mkdir()
    for name in ("Task1_a.txt", "Task1_b.txt", MERGED_BY_HAND):
        (merged / name).write_text("theirs\n", encoding="utf-8")
    assert main(arguments(results)) == 0
    assert "Task1_a.txt: is not of this merge, nor is 1 other such file" in capsys.readouterr().err
    assert (merged / "Task1_a.txt").read_text(encoding="utf-8") == "theirs\n"


def test_results_are_not_overwritten(results, capsys):
    before = read_tree(results)
    assert main(arguments(results, "results")) == 2
    assert "is the folder of the results on tiles" in capsys.readouterr().err
    assert read_tree(results) == before


def test_a_merge_that_was_killed_can_be_made_again(results, monkeypatch, capsys):
    """Its own files were refused as those of somebody else."""
    folder, merged = results.parent, results.parent / "merged"

    def killed(*_: object, **__: object) -> None:
        (merged / "Task1_ship.txt").write_text("half\n")
        os._exit(137)

    process = multiprocessing.get_context("fork").Process(target=_merge_killed, args=(arguments(results), killed))
    process.start()
    process.join()
    assert process.exitcode == 137
    assert (merged / "Task1_ship.txt").is_file()
    warn_if_stopped(merged)
    assert "of a detection that was stopped" in capsys.readouterr().err
    assert main(arguments(results)) == 0
    assert (folder / "merged" / "Task1_ship.txt").read_text() != "half\n"
    (merged / "classes.txt").touch()  # as a run folder has it
    assert main(arguments(results)) == 0


def _merge_killed(flags: Sequence[str], killed: Callable[..., None]) -> None:
    merge_results.run_tasks = killed
    main(flags)


@pytest.mark.parametrize("there", ["Task1_ship.txt", "a.txt", "images/a.png", "tiles.json"])
def test_results_are_not_written_among_data_or_labels_nor_over_those_of_others(results, capsys, there):
    """Among the labels they were read as such, and a stranger's file of that name was gone."""
    out = results.parent / "out"
    (out / there).parent.mkdir(parents=True)
    (out / there).write_text("mine")
    assert main([str(results), str(out), "--index", str(results.parent / "tiles.json"), "--workers", "0"]) == 2
    assert str(out) in capsys.readouterr().err
    assert [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()] in (
        [there],
        [".lock", there],
    )
    assert (out / there).read_text() == "mine"
