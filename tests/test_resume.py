"""Nothing is lost: kills, full disks and stops at any moment, and runs that go on as if nothing had been."""

from __future__ import annotations

import csv
import os
import signal
from pathlib import Path

import pytest

import main
from tests.short_runs import FIVE, LISTS, NAMES, arguments, assert_equal_runs
from tools.checkpoint import load_file
from tools.running.folder_lock import locked
from tools.training import validation
from tools.training.training_step import TrainingStep


def rows_of(run_dir: Path) -> list[dict[str, str]]:
    """The rows of its history."""
    return list(csv.DictReader((run_dir / "history.csv").read_text(encoding="utf-8-sig").splitlines()))


def stop_after(num_steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a training be asked to stop in its step of that number, once."""
    taken, step = [], TrainingStep.__call__

    def stopping_step(self, *batch):
        taken.append(1)
        return step(self, *batch)._replace(stop=len(taken) == num_steps)

    monkeypatch.setattr(TrainingStep, "__call__", stopping_step)


# -- going on


OWN = ("a backbone of one's own",)
LIGHT = ("--neck", "fpn", "--neck_width", "16", "--head_width", "32", "--backbone_lr_scale", "0.1")


@pytest.mark.slow
@pytest.mark.parametrize(("steps_before", "network"), [(2, OWN), (3, LIGHT), (5, ())])
def test_a_stopped_run_goes_on_bit_for_bit_with_average_and_patience(
    dota_folder, dropping_backbone, tmp_path, monkeypatch, steps_before, network
):
    """Known defect 11. In the middle of an epoch of 3 steps, after its last step (not yet validated), in the next; also
    where the network draws what it drops."""
    data_dir = dota_folder(names=NAMES, lists=FIVE)
    own = ("--backbone", dropping_backbone) if network == OWN else ()
    flags = ("--ema", "0.9", "--freeze", "1", "--clip_norm", "5", *(own or network))
    assert main.main(arguments(data_dir, tmp_path / "straight", *flags)) == 0
    stop_after(steps_before, monkeypatch)
    assert main.main(arguments(data_dir, tmp_path / "stopped", *flags)) == 130
    assert main.main(["--phase", "train", "--resume_train", str(tmp_path / "stopped"), *own]) == 0
    assert_equal_runs(tmp_path / "straight", tmp_path / "stopped")
    straight, stopped = (rows_of(tmp_path / name) for name in ("straight", "stopped"))
    assert [row["epoch"] for row in stopped] == ["1", "2"]
    times = {"seconds", "images_s", "data_wait"}
    for there, here in zip(straight, stopped, strict=True):
        assert {name: there[name] for name in there.keys() - times} == {
            name: here[name] for name in here.keys() - times
        }
        assert min(float(here["images_s"]), float(here["seconds"])) > 0


@pytest.mark.slow
@pytest.mark.usefixtures("thin_backbones")
def test_a_stopped_run_goes_on_where_data_and_lists_have_moved_to(dota_folder, tmp_path, monkeypatch, capsys):
    data_dir, lists = dota_folder(names=NAMES, lists=FIVE), tmp_path / "lists"
    lists.mkdir()
    for name in FIVE:
        (data_dir / f"{name}.txt").rename(lists / f"{name}.txt")
    assert main.main(arguments(data_dir, tmp_path / "straight", "--lists", str(lists))) == 0
    stop_after(2, monkeypatch)
    assert main.main(arguments(data_dir, tmp_path / "stopped", "--lists", str(lists))) == 130
    data_dir.rename(tmp_path / "data, moved")
    lists.rename(tmp_path / "lists, moved")
    resume, moved = ["--resume_train", str(tmp_path / "stopped")], ["--data_dir", str(tmp_path / "data, moved")]
    for flags, missing in (([], data_dir), (moved, lists)):
        capsys.readouterr()
        assert main.main([*resume, *flags]) in (1, 2)
        said = capsys.readouterr().err
        assert f"{missing}:" in said
        assert said.count("\n") == 1
    assert main.main([*resume, *moved, "--lists", str(tmp_path / "lists, moved")]) == 0
    assert_equal_runs(tmp_path / "straight", tmp_path / "stopped")


@pytest.mark.slow
@pytest.mark.usefixtures("thin_backbones")
def test_a_run_that_is_made_longer_goes_on_from_its_end(dota_folder, tmp_path):
    run_dir = tmp_path / "run"
    assert main.main(arguments(dota_folder(lists=LISTS), run_dir, "--num_epoch", "1")) == 0
    assert main.main(["--resume_train", str(run_dir / "last.pth"), "--num_epoch", "3"]) == 0
    assert load_file(run_dir / "last.pth")["progress"]["num_images"] == 9


@pytest.mark.slow
@pytest.mark.usefixtures("thin_backbones")
def test_an_epoch_that_num_images_cut_is_gone_on_with(dota_folder, tmp_path, capsys):
    """It counted as a whole one: its other pictures were never seen, and the run said that nothing was left to do."""
    run_dir, data_dir = tmp_path / "run", dota_folder(names=NAMES, lists=FIVE)
    assert main.main(arguments(data_dir, run_dir, "--num_images", "6")) == 0
    assert [load_file(run_dir / name)["epoch"] for name in ("last.pth", "best.pth")] == [2, 2]
    for wanted, seen, steps in ((10, 9, 6), (14, 13, 8), (14, 13, 8)):  # a batch of one picture was of two otherwise
        assert main.main(["--resume_train", str(run_dir), "--num_images", str(wanted)]) == 0
        assert load_file(run_dir / "last.pth")["progress"]["num_images"] == seen
        assert [int(row["epoch"]) for row in rows_of(run_dir)] == [1, 2, 3][: 2 + (wanted > 10)]
        last = rows_of(run_dir)[-1]
        assert (int(last["images"]), int(last["step"])) == (seen, steps)
    assert capsys.readouterr().out.count("nothing left to do") == 1


@pytest.mark.slow
@pytest.mark.parametrize("role", ["train", "val"])
@pytest.mark.usefixtures("thin_backbones")
def test_lists_that_have_changed_since_are_refused(dota_folder, tmp_path, capsys, role: str):
    """A step of the old order would be one of other pictures."""
    data_dir, run_dir = dota_folder(names=NAMES, lists=LISTS), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    before = (run_dir / "last.pth").read_bytes()
    (data_dir / f"{role}.txt").write_text("scene_4\nscene_5\n", encoding="utf-8")
    assert main.main(["--resume_train", str(run_dir), "--num_epoch", "2"]) == 2
    message = capsys.readouterr().err
    assert f"{role}.txt: the run had {len(LISTS[role])} pictures in this list, the data now has 2" in message
    assert (run_dir / "last.pth").read_bytes() == before


def test_two_runs_in_one_folder_are_refused_also_when_the_first_has_saved_nothing_yet(dota_folder, tmp_path, capsys):
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    with locked(run_dir):
        assert main.main(arguments(data_dir, run_dir)) == 2
        assert f"{run_dir}: another process is training in this folder" in capsys.readouterr().err
        assert not (run_dir / "settings.toml").exists()


# -- stops


@pytest.mark.slow
def test_sigterm_saves_and_the_exit_code_says_so(dota_folder, tmp_path, monkeypatch, capsys):
    taken, step = [], TrainingStep.__call__

    def terminated_step(*parts):
        taken.append(1)
        if len(taken) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*parts)

    monkeypatch.setattr(TrainingStep, "__call__", terminated_step)
    run_dir = tmp_path / "run"
    assert main.main(arguments(dota_folder(names=NAMES, lists=FIVE), run_dir, "--num_epoch", "9")) == 143
    progress = load_file(run_dir / "last.pth")["progress"]
    assert progress["epoch"] * 3 + progress["step"] in (3, 4)  # the step in which it came, or the one after
    assert "go on with: python main.py --phase train --resume_train" in capsys.readouterr().out


# -- how long


@pytest.mark.slow
@pytest.mark.usefixtures("thin_backbones")
@pytest.mark.parametrize(("num_images", "epochs", "steps"), [(7, 2, 4), (10, 2, 6), (3, 1, 2), (1, 1, 1)])
def test_num_images_counts_exactly_and_the_last_epoch_is_a_part(dota_folder, tmp_path, num_images, epochs, steps):
    """5 pictures in batches of 2: an epoch has 3 steps, of 2, 2 and 1."""
    run_dir, seen = tmp_path / "run", []
    with pytest.MonkeyPatch.context() as patch:
        step = TrainingStep.__call__
        patch.setattr(
            TrainingStep, "__call__", lambda self, images, *rest: seen.append(len(images)) or step(self, images, *rest)
        )
        data_dir = dota_folder(names=NAMES, lists=FIVE)
        assert main.main(arguments(data_dir, run_dir, "--num_images", str(num_images))) == 0
    assert (sum(seen), len(seen)) == (num_images, steps)
    progress = load_file(run_dir / "last.pth")["progress"]
    assert (progress["num_images"], progress["epoch"], progress["step"]) == (num_images, epochs, 0)
    assert (run_dir / "best.pth").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("thin_backbones")
def test_patience_stops_early_and_a_better_validation_renews_it(dota_folder, tmp_path, monkeypatch, capsys):
    scores = iter([0.1, 0.1, 0.3, 0.2, 0.3, 0.9])
    real = validation.metrics_dict
    monkeypatch.setattr(validation, "metrics_dict", lambda scored: real(scored) | {"mAP50": next(scores)})
    run_dir = tmp_path / "run"
    assert main.main(arguments(dota_folder(lists=LISTS), run_dir, "--num_epoch", "9", "--patience", "2")) == 0
    said = capsys.readouterr().out
    assert "no better mAP50 in 2 validations (--patience); stopped" in said
    assert said.count("AP50:95") == 1, "the table of classes, as of a run that comes to its end"
    assert load_file(run_dir / "last.pth")["progress"]["epoch"] == 5
    assert load_file(run_dir / "best.pth")["epoch"] == 5  # of two with 0.3 the later one
    before = (run_dir / "settings.toml").read_bytes()
    assert main.main(["--resume_train", str(run_dir), "--init_lr", "0.5"]) == 0
    assert (run_dir / "settings.toml").read_bytes() == before  # nothing was trained at this rate
