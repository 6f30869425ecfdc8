"""Runs side by side: the best first, with the settings that differ and a letter for what they were validated on."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

import main as program
from tools.compare_runs import differing_settings, main, read_run
from tools.config import parse_settings, settings_toml
from tools.history import History


def write_run(folder: Path, flags: str = "", scores: tuple[float | None, ...] = (0.1,), val: str = "a b") -> Path:
    """What a training leaves that `compare_runs` reads; an epoch of 100 pictures and two minutes for each score."""
    (folder / "lists").mkdir(parents=True)
    (folder / "lists" / "val.txt").write_text(val.replace(" ", "\n") + "\n", encoding="utf-8")
    config = parse_settings(["--out", str(folder), *flags.split()])
    (folder / "settings.toml").write_text(settings_toml(config), encoding="utf-8")
    history = History(folder, tensorboard="off")
    for epoch, score in enumerate(scores, 1):
        history.add({"epoch": epoch, "images": 100 * epoch, "seconds": 120.0, "total": 1.0, "mAP50": score})
    return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tools.history.draw_history", lambda path, rows: None)
    write_run(tmp_path / "runs" / "slow", "--init_lr 1e-4", (0.2, 0.3, None))
    write_run(tmp_path / "runs" / "船", "--backbone mobilenetv2 --augment_scale 0.5 2", (0.6, 0.5))
    write_run(tmp_path / "runs" / "deep" / "other", "--num_workers 7", (0.4,), val="c")
    write_run(tmp_path / "runs" / "young", "", ())
    return tmp_path / "runs"


def test_the_best_is_first_and_only_what_differs_is_told(runs: Path, capsys) -> None:
    (runs / "young" / "history.csv").write_text("epoch\n", encoding="utf-8")  # before the first epoch has ended
    assert main([str(runs)]) == 0
    said = capsys.readouterr()
    heading, *lines = said.out.splitlines()
    assert [line.split()[0] for line in lines] == ["船", "deep/other", "slow", "young"]
    assert lines[0].split()[1:5] == ["0.6000", "1", "2", "200"]
    assert lines[2].split()[1:6] == ["0.3000", "2", "3", "300", "6.0"]
    assert "backbone mobilenetv2, augment_scale 0.5 2" in lines[0]
    assert lines[1].endswith("B (1)")  # num_workers is nothing that a network learns by
    assert lines[2].endswith("A (2)         init_lr 0.0001")
    assert heading.split()[-2:] == ["of", "most"]
    assert "compare mAP50 within the runs of one letter only" in said.err


def test_two_runs_are_told_apart_in_a_table_and_a_plot(runs: Path, tmp_path: Path, capsys) -> None:
    table, plot = tmp_path / "out" / "table.csv", tmp_path / "out" / "plot.png"
    assert main([str(runs / "slow"), str(runs / "船"), "--csv", str(table), "--plot", str(plot)]) == 0
    said = capsys.readouterr()
    assert not said.err
    assert "backbone resnet18, init_lr 0.0001, augment_scale 0.85 1.18" in said.out
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == [str(runs / "船"), str(runs / "slow")]
    assert [row["init_lr"] for row in rows] == ["0.0003", "0.0001"]
    assert "num_workers" not in rows[0]
    drawn = cv2.imdecode(np.fromfile(plot, np.uint8), 1)
    blue, orange = (180, 119, 31), (14, 127, 255)  # matplotlib's first two colours, BGR
    assert all((np.abs(drawn.astype(int) - color).max(2) < 20).sum() > 50 for color in (blue, orange))


def test_a_run_that_trained_here_is_read(thin_backbones, dota_folder, tmp_path: Path) -> None:
    flags = ["--num_epoch", "2", "--input_h", "64", "--input_w", "64", "--pretrained", "none", "--num_workers", "0"]
    lists = {"train": ["scene_0", "scene_1"], "val": ["scene_2"]}
    data = ["--data_dir", str(dota_folder(lists=lists)), "--out", str(tmp_path / "run")]
    assert program.main([*data, *flags, "--tensorboard", "off"]) == 0
    run = read_run(tmp_path / "run", "mine")
    assert (run.epochs, run.pictures, run.seen, run.val_names) == (2, 4, [2, 4], ("scene_2",))
    assert run.best == max(run.scores)
    assert run.minutes > 0
    assert run.settings["num_epoch"] == 2
    assert differing_settings([run, run]) == {}


def test_what_cannot_be_read_is_left_out_and_told(runs: Path, tmp_path: Path, capsys) -> None:
    (runs / "young" / "history.csv").write_text("no\nsuch\n", encoding="utf-8")
    (runs / "slow" / "settings.toml").write_text("= 3", encoding="utf-8")
    assert main([str(runs)]) == 0
    said = capsys.readouterr()
    assert said.err.count("left out") == 2
    assert len(said.out.splitlines()) == 3
    assert main([str(runs / "slow")]) == 1
    assert main([str(tmp_path / "none")]) == 2
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty")]) == 2
    assert "no run with settings.toml and history.csv" in capsys.readouterr().err
