"""A run that goes on: which one is meant, what may be other than it was, and that nothing of it is lost."""

from __future__ import annotations

import shutil

import pytest
import torch

import main
from tests.short_runs import LISTS, arguments, weights_of
from tools import train
from tools.running.command_line import SettingsError
from tools.setting_flags import parse_settings

pytestmark = pytest.mark.usefixtures("thin_backbones")


@pytest.mark.slow
def test_a_finished_run_resumes_to_nothing_and_a_contradiction_is_refused(dota_folder, tmp_path, capsys):
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    before = weights_of(run_dir / "last.pth")["hm.0.weight"].clone()
    assert main.main(["--resume_train", str(run_dir)]) == 0
    assert torch.equal(weights_of(run_dir / "last.pth")["hm.0.weight"], before)
    assert main.main(["--resume_train", str(run_dir), "--backbone", "resnet34"]) == 2
    assert "contradicts the checkpoint" in capsys.readouterr().err
    assert main.main(["--resume_train", str(run_dir), "--batch_size", "7"]) == 2
    assert "--batch_size 7 differs from the run" in capsys.readouterr().err


@pytest.mark.slow
def test_out_names_the_run_to_go_on_with_and_its_log_holds_the_warnings(dota_folder, tmp_path, monkeypatch, capsys):
    """Both were told of on the screen alone; and a run outside of runs/ was not found without its name."""
    monkeypatch.chdir(tmp_path)
    data_dir, run_dir = dota_folder(lists={"train": ["scene_0"], "val": ["scene_0"]}), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    warnings = [line.removeprefix("warning: ") for line in capsys.readouterr().err.splitlines() if "warning: " in line]
    log = (run_dir / "log.txt").read_text(encoding="utf-8")
    assert any("validation pictures are trained on, too" in line for line in warnings)
    assert all(f"warning: {line}" in log for line in warnings)
    assert main.main(["--resume_train", "--out", str(run_dir), "--num_epoch", "2"]) == 0
    assert "going on after 1 epochs" in capsys.readouterr().out


def test_resume_train_without_any_run_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="train first"):
        train.run(parse_settings(["--resume_train"]))


def test_the_published_optimiser_state_is_no_run_to_go_on_with(dota_folder, tmp_path, capsys):
    torch.save({"model_state_dict": {}, "epoch": 1}, tmp_path / "last.pth")
    assert main.main(["--resume_train", str(tmp_path)]) == 1
    assert "last.pth" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_goes_on_in_its_own_folder_only(dota_folder, tmp_path, capsys):
    run_dir = tmp_path / "run"
    assert main.main(arguments(dota_folder(lists=LISTS), run_dir, "--num_epoch", "1")) == 0
    assert main.main(["--resume_train", str(run_dir), "--out", str(tmp_path / "other")]) == 2
    assert "differs from the run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_not_set_back_by_an_earlier_file_of_its_own(dota_folder, tmp_path, capsys):
    """Its last.pth and best.pth were overwritten, and later rows of its history removed, without a word."""
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    early, last = run_dir / "epoch_1.pth", run_dir / "last.pth"
    shutil.copy(last, early)
    assert main.main(["--resume_train", str(run_dir), "--num_epoch", "2"]) == 0
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    assert main.main(["--resume_train", str(early), "--num_epoch", "3"]) == 1
    assert "the one beside this file would be lost; to go on from here all the same" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before
    (run_dir / "newest.pth").symlink_to(last)
    assert main.main(["--resume_train", str(run_dir / "newest.pth"), "--num_epoch", "2"]) == 0


@pytest.mark.slow
def test_a_run_whose_lists_are_gone_is_told(dota_folder, tmp_path, capsys):
    """It went on with other pictures without a word, and noted these as the ones that it was trained on."""
    data_dir, alone = dota_folder(lists=LISTS), tmp_path / "alone"
    assert main.main(arguments(data_dir, tmp_path / "run", "--num_epoch", "1")) == 0
    alone.mkdir()
    shutil.copy(tmp_path / "run" / "last.pth", alone)
    assert "the lists of the run are not in" not in capsys.readouterr().err
    assert main.main(["--resume_train", str(alone), "--num_epoch", "2"]) == 0
    assert f"the lists of the run are not in {alone / 'lists'}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_in_a_data_folder_does_not_go_on_there(dota_folder, tmp_path, capsys):
    """The classes.txt of the data was overwritten by that of the run."""
    data_dir = dota_folder(lists=LISTS)
    assert main.main(arguments(data_dir, tmp_path / "run", "--num_epoch", "1", "--classes", "car")) == 0
    shutil.copy(tmp_path / "run" / "last.pth", data_dir)
    before = sorted((path, path.stat().st_mtime_ns) for path in data_dir.rglob("*") if path.name != ".lock")
    assert main.main(["--resume_train", str(data_dir / "last.pth"), "--num_epoch", "2"]) == 2
    assert "lies in the data folder" in capsys.readouterr().err
    assert sorted((path, path.stat().st_mtime_ns) for path in data_dir.rglob("*") if path.name != ".lock") == before


@pytest.mark.slow
def test_the_log_tells_what_a_run_goes_on_with_otherwise(dota_folder, tmp_path, capsys):
    """settings.toml, which is written anew, read as if all of the run had been so."""
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    more = ["--resume_train", str(run_dir), "--num_epoch", "2", "--weight_decay", "0.3", "--seed", "0"]
    assert main.main(more) == 0
    assert "changed since: num_epoch 1 -> 2, weight_decay 0.01 -> 0.3\n" in (run_dir / "log.txt").read_text("utf-8")
    assert main.main(["--resume_train", str(run_dir), "--num_epoch", "3", "--pretrained", "imagenet"]) == 2
    assert "--pretrained imagenet differs from the run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_counts_pictures_is_not_made_longer_by_epochs(dota_folder, tmp_path, capsys):
    """The flag was ignored without a word."""
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_images", "3")) == 0
    assert main.main(["--resume_train", str(run_dir), "--num_epoch", "9"]) == 2
    assert "counts pictures, not epochs; give --num_images (it is 3)" in capsys.readouterr().err
    assert main.main(["--resume_train", str(run_dir), "--num_images", "4"]) == 0
