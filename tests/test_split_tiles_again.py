"""Splitting with many processes, and again: after a stop, a kill, a change, or with nothing left to do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest

from datasets.picture_files.image_folders import find_images
from datasets.picture_files.images import read_image
from DOTA_devkit.tile_index import read_index
from tests.conftest import REPOSITORY
from tests.test_split_tiles import SMALL, STRANGE_NAMES, tree
from tools import picture_coding, split_tiles
from tools.config import Config
from tools.data import open_data
from tools.running.command_line import SettingsError
from tools.split_tiles import main

CHILDREN_ARE_LISTED = Path(f"/proc/self/task/{os.getpid()}/children").is_file()
SPLIT_PICTURE = split_tiles.split_picture


@pytest.mark.slow
def test_any_number_of_processes_writes_the_same_bytes(dota_folder, tmp_path):
    src = dota_folder(names=STRANGE_NAMES, suffix=".jpg")
    trees = []
    for workers in ("0", "1", "3"):
        arguments = ["--size", "64", "--overlap", "20", "--scales", "0.5", "1", "--workers", workers]
        assert main([str(src), str(tmp_path / workers), *arguments]) == 0
        trees.append(tree(tmp_path / workers))
    assert trees[0] == trees[1] == trees[2]


@pytest.mark.slow
def test_an_interrupted_run_leaves_whole_tiles_and_goes_on_where_it_stopped(dota_folder, tmp_path, monkeypatch):
    src = dota_folder(names=STRANGE_NAMES)
    assert main([str(src), str(tmp_path / "whole"), *SMALL]) == 0
    dst, written = tmp_path / "tiles", []
    imencode = cv2.imencode

    def encode(*arguments):
        written.append(1)
        if len(written) == 50:
            raise KeyboardInterrupt
        return imencode(*arguments)

    monkeypatch.setattr(picture_coding.cv2, "imencode", encode)
    assert main([str(src), str(dst), *SMALL]) == 130
    monkeypatch.undo()
    assert not (dst / "tiles.json").exists()
    done = {path.stem for path in (dst / ".split" / "pictures").iterdir()}
    assert 0 < len(done) < len(STRANGE_NAMES)
    for path in (dst / "images").iterdir():
        read_image(path)  # refuses what is cut off

    (dst / "images" / ".x.png.0123456789ab.tmp").write_bytes(b"half")  # what a killed process leaves
    split = []
    monkeypatch.setattr(split_tiles, "split_picture", lambda task: split.append(task.name) or SPLIT_PICTURE(task))
    assert main([str(src), str(dst), *SMALL]) == 0
    assert set(split) == set(STRANGE_NAMES) - done
    assert tree(dst) | settings_file(dst) == tree(tmp_path / "whole") | settings_file(dst)


def settings_file(dst: Path) -> dict[str, bytes]:
    return {".split/settings.json": (dst / ".split" / "settings.json").read_bytes()}


def test_a_finished_run_has_nothing_left_to_do_until_something_changes(dota_folder, tmp_path, monkeypatch):
    src, dst = dota_folder(), tmp_path / "tiles"
    assert main([str(src), str(dst), *SMALL]) == 0
    split = []
    monkeypatch.setattr(split_tiles, "split_picture", lambda task: split.append(task.name) or SPLIT_PICTURE(task))
    assert main([str(src), str(dst), *SMALL]) == 0
    assert split == []
    (src / "labelTxt" / "scene_1.txt").write_text("1 1 9 1 9 9 1 9 car 0\n")
    next((dst / "images").glob("scene_2*")).unlink()
    next((dst / "images").glob("scene_0*")).write_bytes(b"")  # as a power cut leaves it
    assert main([str(src), str(dst), *SMALL]) == 0
    assert sorted(split) == ["scene_0", "scene_1", "scene_2"]


def test_label_files_of_tiles_that_were_emptied_or_cut_short_are_written_again(dota_folder, tmp_path, monkeypatch):
    """As a power cut leaves them; their objects were lost."""
    src, dst = dota_folder(), tmp_path / "tiles"
    assert main([str(src), str(dst), *SMALL]) == 0
    whole = tree(dst)
    for scene, change in (("scene_0", lambda data: b""), ("scene_1", lambda data: data[: len(data) // 2])):
        path = next(path for path in sorted((dst / "labelTxt").glob(f"{scene}*")) if path.stat().st_size)
        path.write_bytes(change(path.read_bytes()))
    next((dst / "labelTxt").glob("scene_2*")).unlink()
    split = []
    monkeypatch.setattr(split_tiles, "split_picture", lambda task: split.append(task.name) or SPLIT_PICTURE(task))
    assert main([str(src), str(dst), *SMALL]) == 0
    assert sorted(split) == ["scene_0", "scene_1", "scene_2"]
    assert tree(dst) == whole


def test_tiles_of_an_earlier_version_are_cut_again(dota_folder, tmp_path):
    """Its markers do not tell how long the label files are."""
    src, dst = dota_folder(names=("a", "b")), tmp_path / "tiles"
    assert main([str(src), str(dst), *SMALL]) == 0
    whole = tree(dst)
    for marker in (dst / ".split" / "pictures").iterdir():
        record = json.loads(marker.read_text(encoding="utf-8"))
        record["tiles"] = {name: row[:4] for name, row in record["tiles"].items()}
        marker.write_text(json.dumps(record), encoding="utf-8")
    assert main([str(src), str(dst), *SMALL]) == 0
    assert tree(dst) == whole


def test_a_picture_of_another_suffix_takes_its_old_tiles_away(dota_folder, tmp_path):
    """Two tiles of one name would make the folder unreadable."""
    src, dst = dota_folder(names=["a", "b"]), tmp_path / "tiles"
    flags = [str(src), str(dst), "--size", "64", "--overlap", "16", "--workers", "0"]
    assert main(flags) == 0
    picture = src / "images" / "b.png"
    assert cv2.imwrite(str(picture.with_suffix(".jpg")), cv2.imread(str(picture)))
    picture.unlink()
    assert main(flags) == 0
    assert {path.suffix for path in (dst / "images").glob("b__*")} == {".jpg"}
    assert find_images(dst / "images")


@contextmanager
def splitting(arguments: list[str], dst: Path) -> Iterator[subprocess.Popen]:
    """A process that splits by these arguments, and has finished a picture."""
    command = [sys.executable, "-m", "tools.split_tiles", *arguments]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not list((dst / ".split" / "pictures").glob("*.json")) and time.monotonic() < deadline:
            if process.poll() is not None:
                break
            time.sleep(0.01)
        yield process


@pytest.mark.slow
def test_a_run_that_dies_leaves_no_process_behind_and_goes_on(dota_folder, tmp_path):
    """Killed in the middle, as by a machine out of memory: no half tile, no orphan, and the next run finishes."""
    src, dst = dota_folder(names=[f"p{number}" for number in range(8)], hw=(500, 500)), tmp_path / "tiles"
    arguments = [str(src), str(dst), "--size", "64", "--overlap", "40", "--workers", "2"]
    with splitting(arguments, dst) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        workers = [int(number) for number in children.read_text().split()] if CHILDREN_ARE_LISTED else []
        process.kill()
    assert bool(workers) == CHILDREN_ARE_LISTED
    deadline = time.monotonic() + 20
    while any(is_running(number) for number in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(number) for number in workers)
    assert not (dst / "tiles.json").exists()
    for path in find_images(dst / "images").values():
        read_image(path)
    assert main(arguments) == 0
    assert len(read_index(dst).pictures) == 8


def is_running(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.slow
def test_a_request_to_stop_is_granted_after_the_pictures_begun(dota_folder, tmp_path):
    src, dst = dota_folder(names=[f"p{number}" for number in range(8)], hw=(500, 500)), tmp_path / "tiles"
    arguments = [str(src), str(dst), "--size", "64", "--overlap", "40", "--workers", "2"]
    with splitting(arguments, dst) as process:
        process.send_signal(signal.SIGTERM)
        _, shown = process.communicate(timeout=60)
    assert process.returncode == 143
    assert shown.decode().splitlines()[-1] == "stopped; the same command goes on where it stopped"
    assert not list(dst.rglob("*.tmp"))
    for command in ("check_data", "split_train_val"):
        flags = ("--out", str(tmp_path / "lists")) if command == "split_train_val" else ()
        done = subprocess.run(
            [sys.executable, "-m", f"tools.{command}", str(dst), *flags],
            cwd=REPOSITORY,
            capture_output=True,
            check=False,
        )
        assert done.returncode in (1, 2)
        assert b"tools.split_tiles was stopped, and the same command goes on" in done.stdout + done.stderr
    with pytest.raises(SettingsError, match=r"holds tiles, and no .*: tools.split_tiles was stopped"):
        open_data(Config(data_dir=dst))  # half of the tiles trained as if they were all, without their lists
