"""Validation while training: which checkpoint is the best one, and what a bad picture costs."""

from __future__ import annotations

import pytest

import main
from tests.short_runs import LISTS, NAMES, arguments, assert_same_weights
from tools import train
from tools.checkpoint import load_file
from tools.detection.detect import Inference
from tools.training import validation

pytestmark = pytest.mark.usefixtures("thin_backbones")


@pytest.mark.slow
def test_the_best_checkpoint_is_the_one_with_the_best_map_not_the_last(dota_folder, tmp_path, monkeypatch):
    """Defect 12: no validation, and the best checkpoint chosen by the training loss."""
    scores = iter([0.2, 0.5, 0.4])
    real = validation.metrics_dict
    monkeypatch.setattr(validation, "metrics_dict", lambda scored: real(scored) | {"mAP50": next(scores)})
    run_dir = tmp_path / "run"
    assert main.main(arguments(dota_folder(lists=LISTS), run_dir, "--num_epoch", "3")) == 0
    assert load_file(run_dir / "best.pth")["epoch"] == 2
    assert load_file(run_dir / "last.pth")["epoch"] == 3
    assert "mAP50 0.4000 (best 0.5000)" in (run_dir / "log.txt").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(("third", "best"), [((0.7, 0.3), 2), ((0.8, 0.3), 3), ((0.85, 0.3), 3)])
def test_another_score_can_choose_the_best_checkpoint_and_of_equal_ones_the_other_does_or_the_last_is_kept(
    dota_folder, tmp_path, monkeypatch, third, best
):
    """By mAP50 alone a network of loose boxes won; of epochs of mAP50 1.0 the first one did, then the last."""
    scores = iter([(0.9, 0.1), (0.8, 0.3), third, (0.9, 0.2)])
    real = validation.metrics_dict
    monkeypatch.setattr(
        validation,
        "metrics_dict",
        lambda scored: real(scored) | dict(zip(("mAP50", "mAP50_95"), next(scores), strict=True)),
    )
    run_dir = tmp_path / "run"
    flags = ("--num_epoch", "4", "--best_by", "mAP50_95")
    assert main.main(arguments(dota_folder(lists=LISTS), run_dir, *flags)) == 0
    assert load_file(run_dir / "best.pth")["epoch"] == best
    log = (run_dir / "log.txt").read_text(encoding="utf-8")
    assert "mAP50 0.9000, mAP50_95 0.2000 (best 0.3000)" in log
    assert "best.pth, mAP50_95 0.3000 in validation" in log
    history = (run_dir / "history.csv").read_text(encoding="utf-8-sig").splitlines()
    assert {"mAP50", "mAP75", "mAP50_95"} <= set(history[0].split(","))
    assert main.main(["--resume_train", str(run_dir), "--best_by", "mAP50"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("found", [None, 0.0])
def test_where_nothing_can_be_or_is_found_the_newest_weights_are_the_best(dota_folder, tmp_path, monkeypatch, found):
    """They stayed those of the first epoch, and without an object to find --patience stopped the run."""
    real = validation.metrics_dict
    monkeypatch.setattr(validation, "metrics_dict", lambda scored: real(scored) | {"mAP50": found})
    run_dir = tmp_path / "run"
    flags = ["--num_epoch", "3", "--patience", "1"] if found is None else ["--num_epoch", "3"]
    assert main.main(arguments(dota_folder(lists=LISTS), run_dir, *flags)) == 0
    assert load_file(run_dir / "best.pth")["epoch"] == load_file(run_dir / "last.pth")["epoch"] == 3


@pytest.mark.slow
def test_where_no_validation_picture_can_be_read_nothing_is_measured(dota_folder, tmp_path, capsys):
    """The score was 0, by which the best checkpoint was chosen, and the loss 0.000, as if all were found."""
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    (data_dir / "images" / "scene_2.png").write_bytes(b"")
    assert main.main(arguments(data_dir, run_dir, "--on_bad_label", "skip", "--num_epoch", "1")) == 1
    assert "none of the 1 validation pictures can be read, so nothing is measured: " in capsys.readouterr().err
    assert load_file(run_dir / "last.pth")["progress"]["num_images"] == 3
    assert not (run_dir / "best.pth").exists()


@pytest.mark.slow
def test_what_was_learnt_in_an_epoch_is_saved_before_its_validation(dota_folder, tmp_path, monkeypatch):
    """SIGKILL, or the timer of several processes, may end a long validation."""
    run_dir, saved = tmp_path / "run", []

    def killed(run):
        saved.append(load_file(run_dir / "last.pth")["progress"])
        raise SystemExit(137)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(train, "validate", killed)
        main.main(arguments(dota_folder(lists=LISTS), run_dir))
    assert (saved[0]["epoch"], saved[0]["step"], saved[0]["num_images"]) == (0, 2, 3)
    assert main.main(["--resume_train", str(run_dir)]) == 0
    straight = tmp_path / "straight"
    assert main.main(arguments(tmp_path / "data", straight)) == 0
    assert_same_weights(run_dir / "last.pth", straight / "last.pth")


@pytest.mark.slow
def test_validation_takes_few_pictures_at_once_though_training_takes_many_windows(dota_folder, tmp_path, monkeypatch):
    asked = []
    real = Inference.pictures
    monkeypatch.setattr(Inference, "pictures", lambda *args, **kw: asked.append(kw["batch_size"]) or real(*args, **kw))
    flags = ["--num_epoch", "1", "--batch_size", "64"]
    assert main.main(arguments(dota_folder(lists=LISTS), tmp_path / "run", *flags)) == 0
    assert asked == [validation.MOST_AT_ONCE]


@pytest.mark.slow
def test_a_bad_validation_picture_does_not_cost_the_epoch(dota_folder, tmp_path, capsys):
    lists = {"train": ("scene_0", "scene_1", "scene_4"), "val": ("scene_2", "scene_3")}
    data_dir, run_dir = dota_folder(names=NAMES[:5], lists=lists), tmp_path / "run"
    (data_dir / "images" / "scene_2.png").write_bytes(b"damaged")
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 1
    assert "scene_2.png" in capsys.readouterr().err
    assert load_file(run_dir / "last.pth")["progress"]["step"] == 2
    skipping = arguments(data_dir, tmp_path / "other", "--num_epoch", "1", "--on_bad_label", "skip")
    assert main.main(skipping) == 0
    assert "1 validation pictures cannot be read" in capsys.readouterr().err
