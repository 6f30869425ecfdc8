"""How a run starts: where it begins, what it goes on with, which folder is its own, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import main
from tests.short_runs import LISTS, arguments, weights_of
from tools.checkpoint import load_file
from tools.running.folder_lock import locked
from tools.setting_flags import parse_settings
from tools.training import training_run

pytestmark = pytest.mark.usefixtures("thin_backbones")


@pytest.mark.slow
def test_a_run_that_is_being_trained_is_not_touched_by_a_second_one(dota_folder, tmp_path, capsys):
    """Its settings.toml was written anew before the lock was looked at."""
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    with locked(run_dir):
        assert main.main(["--resume_train", str(run_dir), "--num_epoch", "9"]) == 2
        assert "another process is training in this folder" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_a_folder_that_holds_a_run_is_not_overwritten(dota_folder, tmp_path, capsys):
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 2
    assert "already holds a run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_was_stopped_while_it_started_can_be_started_again(dota_folder, tmp_path):
    """Its settings.toml alone was taken for a run, which could not be gone on with either."""
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "settings.toml").write_text("seed = 5\n", encoding="utf-8")
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    assert "seed = 5" not in (run_dir / "settings.toml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_settings_of_a_run_that_is_over_stay_those_it_was_trained_by(dota_folder, tmp_path, capsys):
    """They were written anew by a --resume_train that had nothing left to do, and tools.compare_runs believed them."""
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    before = (run_dir / "settings.toml").read_bytes()
    assert main.main(["--resume_train", str(run_dir), "--init_lr", "0.5"]) == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert (run_dir / "settings.toml").read_bytes() == before
    assert main.main(["--resume_train", str(run_dir), "--init_lr", "0.5", "--num_epoch", "2"]) == 0
    assert "init_lr = 0.5" in (run_dir / "settings.toml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_fine_tuning_to_other_classes_starts_only_the_last_layer_anew(dota_folder, tmp_path):
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    other = dota_folder("other", lists=LISTS)
    (other / "classes.txt").write_text("car\nboat\nplane\n", encoding="utf-8")
    again = arguments(other, tmp_path / "tuned", "--num_epoch", "1", "--resume", str(run_dir / "last.pth"))
    assert main.main([*again, "--init_lr", "1e-30"]) == 0
    old, new = weights_of(run_dir / "best.pth"), weights_of(tmp_path / "tuned" / "last.pth")
    assert torch.allclose(old["wh.3.weight"], new["wh.3.weight"])
    assert new["hm.3.weight"].shape[0] == 3


@pytest.mark.slow
def test_a_start_from_a_run_that_was_trained_on_the_validation_pictures_is_told(dota_folder, tmp_path, capsys):
    """The score of such a run is partly of what its first weights know by heart."""
    data_dir, turned = dota_folder(lists=LISTS), {"train": LISTS["val"], "val": LISTS["train"]}
    other = dota_folder("other", lists=turned)
    assert main.main(arguments(data_dir, tmp_path / "run", "--num_epoch", "1")) == 0
    assert "have names that the run was trained on" not in capsys.readouterr().err
    again = arguments(other, tmp_path / "tuned", "--num_epoch", "1", "--resume", str(tmp_path / "run"))
    assert main.main(again) == 0
    told = f"have names that the run was trained on, such as {LISTS['train'][0]}"
    assert told in capsys.readouterr().err
    again = ["--phase", "test", "--resume", str(tmp_path / "run"), "--split", "train", "--out", str(tmp_path / "found")]
    assert main.main([*again, "--num_workers", "0"]) == 0
    assert told in capsys.readouterr().err
    assert told in (tmp_path / "found" / "log.txt").read_text("utf-8")  # where it was not


@pytest.mark.slow
@pytest.mark.parametrize(("sides", "hw"), [((), (64, 96)), (("--input_h", "96"), (96, 96))])
def test_fine_tuning_keeps_the_input_size_where_no_flag_says_otherwise(dota_folder, tmp_path, sides, hw):
    """It went to 608 x 608."""
    data_dir = dota_folder(lists=LISTS)
    first = [*arguments(data_dir, tmp_path / "run", "--num_epoch", "1"), "--input_w", "96"]
    assert main.main(first) == 0
    light = ["--batch_size", "1", "--num_images", "1", "--num_workers", "0", "--tensorboard", "off", *sides]
    tuned = ["--data_dir", str(data_dir), "--out", str(tmp_path / "tuned"), "--resume", str(tmp_path / "run"), *light]
    assert main.main(tuned) == 0
    assert tuple(load_file(tmp_path / "tuned" / "last.pth")["architecture"]["input_hw"]) == hw


def test_a_missing_device_is_a_sentence(dota_folder, tmp_path, capsys):
    """Defect 9: no GPU was a crash."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert main.main(arguments(dota_folder(lists=LISTS), tmp_path / "run", "--device", "cuda")) == 2
    assert "--device cuda is not here" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_finds_its_data_from_another_folder(dota_folder, tmp_path, monkeypatch):
    dota_folder(lists=LISTS)
    monkeypatch.chdir(tmp_path)
    assert main.main(arguments(Path("data"), Path("run"), "--num_epoch", "1")) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main.main(["--phase", "eval", "--resume", "../run", "--num_workers", "0"]) == 0
    assert main.main(["--resume_train", "../run", "--data_dir", "../data"]) == 0


def test_a_cache_that_does_not_fit_is_refused_before_it_fills_the_memory(dota_folder, tmp_path, capsys, monkeypatch):
    data_dir = dota_folder(lists=LISTS)
    monkeypatch.setattr(training_run, "free_memory", lambda: 1000)
    assert main.main(arguments(data_dir, tmp_path / "run", "--cache")) == 2
    assert "--cache: the 3 decoded pictures take 0 MiB, and 0 MiB are free" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_kept_settings_are_those_of_the_network_that_was_started_from(dota_folder, tmp_path):
    """What --resume brings, and no flag says: a run's settings.toml can be given to --config."""
    data_dir = dota_folder(lists=LISTS)
    light = ("--backbone", "mobilenetv2", "--neck", "fpn", "--neck_width", "16", "--head_width", "32")
    assert main.main(arguments(data_dir, tmp_path / "first", "--num_epoch", "1", *light)) == 0
    more = ("--num_epoch", "1", "--resume", str(tmp_path / "first" / "best.pth"))
    assert main.main(arguments(data_dir, tmp_path / "second", *more)) == 0
    kept = parse_settings(["--config", str(tmp_path / "second" / "settings.toml")])
    assert (kept.backbone, kept.neck, kept.neck_width, kept.head_width) == ("mobilenetv2", "fpn", 16, 32)
    again = ["--phase", "eval", "--config", str(tmp_path / "second" / "settings.toml"), "--num_workers", "0"]
    assert main.main([*again, "--resume", str(tmp_path / "second" / "best.pth")]) == 0


@pytest.mark.slow
def test_a_frozen_backbone_of_random_weights_is_told(dota_folder, tmp_path, capsys):
    """Without the internet --pretrained auto gives these, and heads were trained on noise."""
    flags = arguments(dota_folder(lists=LISTS), tmp_path / "run", "--num_epoch", "1", "--freeze", "2")
    assert main.main(flags) == 0
    assert "--freeze 2: backbone: random weights (--pretrained none), of which" in capsys.readouterr().err
