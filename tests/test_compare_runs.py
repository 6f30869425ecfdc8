"""Runs side by side: the best first, with the settings that differ and a letter for what they were validated on."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

import main as program
from tools.compare_runs import differing_settings, main, read_run
from tools.config import settings_toml
from tools.drawings.plots import figure_file
from tools.setting_flags import parse_settings
from tools.training.history import History


def write_run(
    folder: Path,
    flags: str = "",
    scores: tuple[float | None, ...] = (0.1,),
    val: str = "a b",
    classes: str = "car\nboat\n",
) -> Path:
    """What a training leaves that `compare_runs` reads; an epoch of 100 pictures and two minutes for each score."""
    (folder / "lists").mkdir(parents=True)
    (folder / "log.txt").touch()
    (folder / "classes.txt").write_text(classes, encoding="utf-8")
    (folder / "lists" / "val.txt").write_text(val.replace(" ", "\n") + "\n", encoding="utf-8")
    config = parse_settings(["--out", str(folder), *flags.split()])
    (folder / "settings.toml").write_text(settings_toml(config), encoding="utf-8")
    history = History(folder, tensorboard="off")
    for epoch, score in enumerate(scores, 1):
        history.add({"epoch": epoch, "images": 100 * epoch, "seconds": 120.0, "total": 1.0, "mAP50": score})
    return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tools.training.history.draw_history", lambda *_: None)
    write_run(tmp_path / "runs" / "slow", "--init_lr 1e-4", (0.2, 0.3, None))
    write_run(tmp_path / "runs" / "船", "--backbone mobilenetv2 --augment_scale 0.5 2", (0.6, 0.5))
    write_run(tmp_path / "runs" / "deep" / "other", "--num_workers 7", (0.4,), val="c")
    write_run(tmp_path / "runs" / "young", "", ())
    return tmp_path / "runs"


def test_the_best_is_first_and_only_what_differs_is_told(runs: Path, capsys) -> None:
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
    assert lines[3].split()[1:4] == ["0", "0", "0.0"]  # before the first epoch has ended


@pytest.mark.slow
def test_epochs_are_not_told_where_pictures_were_counted(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "--num_images 900", (0.5,))
    assert "num_epoch" not in read_run(tmp_path / "a", "a").settings


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


@pytest.mark.slow
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
    assert run.class_names == ("car", "boat")


def test_what_cannot_be_read_is_left_out_and_told(runs: Path, tmp_path: Path, capsys) -> None:
    (runs / "young" / "history.csv").write_text("no\nsuch\n", encoding="utf-8")
    (runs / "slow" / "settings.toml").write_text('best_by = ["a"]', encoding="utf-8")
    assert main([str(runs)]) == 0
    (runs / "slow" / "settings.toml").write_text("= 3", encoding="utf-8")
    assert main([str(runs)]) == 0
    said = capsys.readouterr()
    assert said.err.count(f"{runs / 'slow'} is left out: ") == 2
    assert f"{runs / 'young'} is left out: " in said.err
    assert len(said.out.splitlines()) == 6
    assert main([str(runs / "slow")]) == 1
    assert main([str(tmp_path / "none")]) == 2
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty")]) == 2
    assert "no run with settings.toml and log.txt" in capsys.readouterr().err
    assert main([str(runs), "--plot", "a.jpg"]) == 2
    assert "a.jpg must end in .png, .pdf, .svg" in capsys.readouterr().err


def test_what_an_older_version_does_not_know_was_what_is_the_default_now(runs: Path, tmp_path: Path, capsys) -> None:
    path = runs / "slow" / "settings.toml"
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith(("tta_views", "neck", "K "))]
    path.write_text("\n".join(lines), encoding="utf-8")
    first, second = (read_run(runs / name, name) for name in ("slow", "船"))
    assert set(differing_settings([first, second])) == {"backbone", "init_lr", "augment_scale"}


def test_what_an_older_version_called_otherwise_is_the_same(runs: Path) -> None:
    for name, value in (("slow", "true"), ("船", '"batch"')):
        path = runs / name / "settings.toml"
        text = path.read_text("utf-8")
        path.write_text(text.replace('head_norm = "layer"', f"head_norm = {value}"), encoding="utf-8")
        assert path.read_text("utf-8") != text
    first, second = (read_run(runs / name, name) for name in ("slow", "船"))
    assert "head_norm" not in differing_settings([first, second])


@pytest.mark.slow
def test_runs_are_of_one_letter_only_where_their_scores_can_be_compared(tmp_path: Path, capsys) -> None:
    for name, flags, more in (
        ("same", "", {}),
        ("sorted otherwise", "", {"val": "b a"}),
        ("other classes", "--classes car", {"classes": "car\n"}),
        ("other folder", "--data_dir x", {}),
        ("more views", "--tta_views 2", {}),
        ("$lost$", "", {}),
        ("lost too", "", {}),
    ):
        write_run(tmp_path / "runs" / name, flags, (0.5,), **more)
    for name in ("$lost$", "lost too"):
        (tmp_path / "runs" / name / "lists" / "val.txt").unlink()
    assert main([str(tmp_path / "runs"), "--plot", str(tmp_path / "plot.svg")]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    letters = {line.split("  ")[0]: re.search(r" ([A-Z]) \(\d", line)[1] for line in lines}
    assert letters["same"] == letters["sorted otherwise"]
    assert len(set(letters.values())) == len(letters) - 1
    assert "$lost$" in "".join(re.findall(r"<!-- (.*?) -->", (tmp_path / "plot.svg").read_text("utf-8")))


def test_a_run_that_is_named_twice_stands_once_and_names_that_are_the_same_are_told_apart(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("p1", "p2"):
        write_run(tmp_path / part / "demo")
    monkeypatch.chdir(tmp_path)
    assert main(["p1", "p2", str(tmp_path / "p1" / "demo")]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        str(tmp_path / "p1" / "demo"),
        str(tmp_path / "p2" / "demo"),
    ]


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_a_plot_of_other_things_is_not_replaced(runs: Path, tmp_path: Path, capsys, suffix: str) -> None:
    """The loss of a run became a comparison, for matplotlib had drawn it, too."""
    path = tmp_path / f"loss{suffix}"
    with figure_file(path, (3, 2)) as figure:
        figure.add_subplot().plot([1, 2])
    before = path.read_bytes()
    assert main([str(runs), "--plot", str(path)]) == 2
    assert "was not written by this command" in capsys.readouterr().err
    assert path.read_bytes() == before
    path.unlink()
    assert main([str(runs), "--plot", str(path)]) == main([str(runs), "--plot", str(path)]) == 0


@pytest.mark.parametrize("flag", ["--csv", "--plot"])
def test_what_others_have_written_is_not_replaced(runs: Path, tmp_path: Path, capsys, flag: str) -> None:
    path = tmp_path / ("table.csv" if flag == "--csv" else "plot.svg")
    for _ in range(2):
        assert main([str(runs), flag, str(path)]) == 0
    path.write_text("somebody's own")
    assert main([str(runs), flag, str(path)]) == 2
    assert f"{flag} {path} is there, and was not written by this command" in capsys.readouterr().err
    assert path.read_text() == "somebody's own"


@pytest.mark.parametrize("best_by", ["mAP50", "mAP50_95"])
def test_the_best_epoch_is_that_of_the_best_checkpoint(tmp_path: Path, best_by: str) -> None:
    folder = write_run(tmp_path / "a", f"--best_by {best_by}", ())
    history = History(folder, tensorboard="off")
    for epoch, (score, other) in enumerate(((0.5, 0.3), (0.5, 0.2), (0.4, 0.4)), 1):
        history.add({"epoch": epoch, "total": 1.0, "mAP50": score, "mAP50_95": other})
    assert read_run(folder, "a").best_epoch == {"mAP50": 1, "mAP50_95": 3}[best_by]
