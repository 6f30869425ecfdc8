"""Training: steps, rates, resuming, interruption, small and empty data."""

from __future__ import annotations

import gc
import math
import multiprocessing
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import cv2
import numpy as np
import pytest
import torch

import main
from datasets.augment import Augmentation
from datasets.loader import Batch, EpochBatches
from datasets.training_set import TrainingSet
from tools import train, training_run, validation
from tools.checkpoint import load_file
from tools.config import Config, SettingsError
from tools.data import augmentation_of
from tools.detect import Inference
from tools.engine import Engine
from tools.folder_lock import locked
from tools.run_state import Meter, Progress, Run
from tools.schedule import Schedule
from tools.setting_flags import parse_settings
from tools.training_step import StepResult, TrainingStep

LISTS = {"train": ("scene_0", "scene_1", "scene_3"), "val": ("scene_2",)}


def arguments(data_dir: Path, out: Path, *more: str) -> list[str]:
    """Flags of a training run that takes a second or two."""
    return [
        *("--phase", "train", "--data_dir", str(data_dir), "--out", str(out), "--pretrained", "none"),
        *("--input_h", "64", "--input_w", "64", "--batch_size", "2", "--num_workers", "0", "--num_epoch", "2"),
        *("--precision", "fp32", *more),
    ]


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path)["model_state_dict"]


def assert_same_weights(first: Path, second: Path) -> None:
    others = weights_of(second)
    for name, value in weights_of(first).items():
        assert torch.equal(others[name], value), name


@pytest.mark.usefixtures("thin_backbones")
def test_a_run_stops_with_the_names_after_too_many_bad_steps(dota_folder, tmp_path, monkeypatch, capsys):
    """Defect 3: stop with a message after several in a row."""
    monkeypatch.setattr(TrainingStep, "__call__", lambda *_: StepResult({"total": math.nan}, False, False))
    code = main.main(arguments(dota_folder(lists=LISTS), tmp_path / "run", "--num_epoch", "40"))
    assert code == 1
    message = capsys.readouterr().err
    assert "20 steps in a row were not finite" in message
    assert "scene_" in message


@pytest.mark.usefixtures("thin_backbones")
def test_bad_steps_that_a_good_one_parts_do_not_stop_a_run(dota_folder, tmp_path, monkeypatch):
    """Defect 3: after several in a row; 38 of 40 are bad here, but never twenty in a row."""
    good, bad = StepResult({"total": 1.0}, True, False), StepResult({"total": math.nan}, False, False)
    results = iter([*[bad] * 19, good] * 2)
    monkeypatch.setattr(TrainingStep, "__call__", lambda *_: next(results))
    names = tuple(f"scene_{number}" for number in range(21))
    data_dir = dota_folder(names=names, hw=(64, 64), lists={"train": names[:20], "val": names[20:]})
    assert main.main(arguments(data_dir, tmp_path / "run", "--batch_size", "1")) == 0
    assert next(results, None) is None
    progress = load_file(tmp_path / "run" / "last.pth")["progress"]
    assert (progress["skipped"], progress["num_images"]) == (38, 2)


def test_training_writes_a_run_folder_and_nothing_beside_its_inputs(dota_folder, tmp_path):
    data_dir = dota_folder(lists=LISTS)
    before = sorted((path, path.stat().st_mtime_ns) for path in data_dir.rglob("*"))
    run_dir = tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    there = {path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file()}
    expected = "last.pth best.pth settings.toml log.txt classes.txt lists/train.txt lists/val.txt history.csv loss.png"
    assert {name for name in there if not name.startswith("tensorboard/")} == {
        *expected.split(),
        "validation/epoch_0001.jpg",
    }
    assert (run_dir / "lists" / "val.txt").read_text(encoding="utf-8") == "scene_2\n"
    assert parse_settings(["--config", str(run_dir / "settings.toml")]).num_epoch == 1
    assert "mAP50" in (run_dir / "log.txt").read_text(encoding="utf-8")
    assert sorted((path, path.stat().st_mtime_ns) for path in data_dir.rglob("*")) == before


@pytest.mark.usefixtures("thin_backbones")
@pytest.mark.parametrize(("minutes", "steps"), [("10", [5, 0]), ("2", [2, 4, 5, 0]), ("0", [1, 2, 3, 4, 5, 5, 0])])
def test_a_run_is_saved_every_so_many_minutes_and_with_each_epoch(dota_folder, tmp_path, monkeypatch, minutes, steps):
    """Five steps of 61 seconds each; the last two saves are those before and after the validation."""
    step, save, clock, passed, saved = TrainingStep.__call__, Run.save, time.monotonic, [0], []

    def slow_step(*parts):
        passed[0] += 61
        return step(*parts)

    def watched_save(run: Run, name: str, **how: bool) -> None:
        saved.extend([run.progress.step] * (name == "last.pth"))
        save(run, name, **how)

    monkeypatch.setattr(TrainingStep, "__call__", slow_step)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + passed[0])
    monkeypatch.setattr(Run, "save", watched_save)
    names = tuple(f"scene_{number}" for number in range(6))
    data_dir = dota_folder(names=names, lists={"train": names[:5], "val": names[5:]})
    flags = ("--batch_size", "1", "--num_epoch", "1", "--save_every", minutes)
    assert main.main(arguments(data_dir, tmp_path / "run", *flags)) == 0
    assert saved == steps


@pytest.mark.usefixtures("thin_backbones")
def test_flags_of_augmentation_reach_the_training_pictures(dota_folder, tmp_path, monkeypatch):
    given, real = [], TrainingSet.__init__

    def watched(self, *parts, **options):
        given.extend(part for part in parts if isinstance(part, Augmentation))
        real(self, *parts, **options)

    monkeypatch.setattr(TrainingSet, "__init__", watched)
    flags = ("--augment_quarter", "--augment_rotate", "20", "--augment_scale", "0.7", "1.5", "--augment_mosaic", "0.5")
    flags = (*flags, "--num_epoch", "1")
    assert main.main(arguments(dota_folder(lists=LISTS), tmp_path / "run", *flags)) == 0
    assert given == [Augmentation(quarter_turns=True, rotate=20.0, scale=(0.7, 1.5), mosaic=0.5)]
    assert augmentation_of(Config()) == Augmentation()


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a compiler")
@pytest.mark.usefixtures("thin_backbones")
def test_a_compiled_network_learns_the_same_and_is_saved_by_its_own_names(dota_folder, tmp_path, monkeypatch):
    compile_, compiled = torch.compile, []
    monkeypatch.setattr(torch, "compile", lambda *parts: compiled.append(1) or compile_(*parts))
    data_dir = dota_folder(lists=LISTS)
    for name, flags in (("plain", ()), ("compiled", ("--compile",))):
        assert main.main(arguments(data_dir, tmp_path / name, "--optimizer", "sgd", "--num_epoch", "1", *flags)) == 0
    assert compiled
    for file in ("last.pth", "best.pth"):
        plain, others = (weights_of(tmp_path / name / file) for name in ("plain", "compiled"))
        assert list(plain) == list(others)
        assert not [name for name in others if "_orig_mod" in name]
        for name, value in plain.items():
            torch.testing.assert_close(others[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("thin_backbones")
def test_two_equal_runs_are_bit_equal_and_another_seed_is_not(dota_folder, tmp_path):
    data_dir = dota_folder(lists=LISTS)
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert main.main(arguments(data_dir, tmp_path / name, "--num_epoch", "1", "--seed", seed)) == 0
    assert_same_weights(tmp_path / "a" / "last.pth", tmp_path / "b" / "last.pth")
    assert not torch.equal(
        weights_of(tmp_path / "a" / "last.pth")["hm.0.weight"], weights_of(tmp_path / "c" / "last.pth")["hm.0.weight"]
    )


@pytest.mark.parametrize("steps_before", [1, 2, 3])
def test_ctrl_c_saves_and_the_resumed_run_equals_the_straight_one(
    dota_folder, tmp_path, monkeypatch, capsys, steps_before
):
    """Defect 11: resuming repeated the last epoch. Interrupted in an epoch, between two, and in the next."""
    data_dir = dota_folder(lists=LISTS)
    assert main.main(arguments(data_dir, tmp_path / "straight")) == 0
    taken, step = [], TrainingStep.__call__

    def interrupted_step(*parts):
        if len(taken) == steps_before:
            raise KeyboardInterrupt
        taken.append(1)
        return step(*parts)

    monkeypatch.setattr(TrainingStep, "__call__", interrupted_step)
    assert main.main(arguments(data_dir, tmp_path / "stop ped")) == 130
    assert f"--resume_train '{tmp_path / 'stop ped'}'" in capsys.readouterr().out, "to be pasted"
    monkeypatch.setattr(TrainingStep, "__call__", step)
    assert main.main(["--phase", "train", "--resume_train", str(tmp_path / "stop ped")]) == 0
    assert_same_weights(tmp_path / "straight" / "last.pth", tmp_path / "stop ped" / "last.pth")


@pytest.mark.usefixtures("thin_backbones")
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


def test_a_run_that_is_being_trained_is_not_touched_by_a_second_one(dota_folder, tmp_path, capsys):
    """Its settings.toml was written anew before the lock was looked at."""
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    with locked(run_dir):
        assert main.main(["--resume_train", str(run_dir), "--num_epoch", "9"]) == 2
        assert "another process is training in this folder" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in before} == before


def test_a_folder_that_holds_a_run_is_not_overwritten(dota_folder, tmp_path, capsys):
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 2
    assert "already holds a run" in capsys.readouterr().err


@pytest.mark.usefixtures("thin_backbones")
def test_a_run_that_was_stopped_while_it_started_can_be_started_again(dota_folder, tmp_path):
    """Its settings.toml alone was taken for a run, which could not be gone on with either."""
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "settings.toml").write_text("seed = 5\n", encoding="utf-8")
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    assert "seed = 5" not in (run_dir / "settings.toml").read_text(encoding="utf-8")


@pytest.mark.usefixtures("thin_backbones")
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


@pytest.mark.usefixtures("thin_backbones")
def test_a_start_from_a_run_that_was_trained_on_the_validation_pictures_is_told(dota_folder, tmp_path, capsys):
    """The score of such a run is partly of what its first weights know by heart."""
    data_dir, turned = dota_folder(lists=LISTS), {"train": LISTS["val"], "val": LISTS["train"]}
    other = dota_folder("other", lists=turned)
    assert main.main(arguments(data_dir, tmp_path / "run", "--num_epoch", "1")) == 0
    assert "have names that the run was trained on" not in capsys.readouterr().err
    again = arguments(other, tmp_path / "tuned", "--num_epoch", "1", "--resume", str(tmp_path / "run"))
    assert main.main(again) == 0
    assert f"have names that the run was trained on, such as {LISTS['train'][0]}" in capsys.readouterr().err


@pytest.mark.usefixtures("thin_backbones")
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


def test_data_smaller_than_a_batch_without_objects_and_without_lists_trains(dota_folder, tmp_path, capsys):
    """Defects 2 and 9: no objects at all, and fewer pictures than a batch holds (a division by zero once)."""
    data_dir = dota_folder(names=("only",))
    assert main.main(arguments(data_dir, tmp_path / "run", "--num_epoch", "1", "--batch_size", "16")) == 0
    said = capsys.readouterr()
    assert "no training picture holds an object" in said.err
    assert "mAP50 n/a" in said.out
    assert (tmp_path / "run" / "best.pth").exists()


@pytest.mark.usefixtures("thin_backbones")
def test_a_damaged_picture_stops_training_by_name_or_is_left_out(dota_folder, tmp_path, capsys):
    data_dir = dota_folder(lists=LISTS)
    path = data_dir / "images" / "scene_1.png"
    path.write_bytes(path.read_bytes()[:200])
    assert main.main(arguments(data_dir, tmp_path / "a", "--num_workers", "1")) == 1
    message = capsys.readouterr().err
    assert "scene_1.png: the file is cut off" in message
    assert "Traceback" not in message
    assert main.main(arguments(data_dir, tmp_path / "b", "--num_epoch", "1", "--on_bad_label", "skip")) == 0
    assert "scene_1.png" in capsys.readouterr().err
    assert load_file(tmp_path / "b" / "last.pth")["progress"]["num_images"] == len(LISTS["train"]) - 1


def test_a_missing_device_is_a_sentence(dota_folder, tmp_path, capsys):
    """Defect 9: no GPU was a crash."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert main.main(arguments(dota_folder(lists=LISTS), tmp_path / "run", "--device", "cuda")) == 2
    assert "--device cuda is not here" in capsys.readouterr().err


def test_the_loaders_processes_end_with_the_training_whatever_still_refers_to_the_run(dota_folder, tmp_path):
    gc.disable()  # a cycle of references held the run to the end of the program, which then waited for them for ever
    try:
        assert main.main(arguments(dota_folder(lists=LISTS), tmp_path, "--num_epoch", "1", "--num_workers", "1")) == 0
        assert multiprocessing.active_children() == []
    finally:
        gc.enable()


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


@pytest.mark.usefixtures("thin_backbones")
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


@pytest.mark.parametrize(("third", "best"), [((0.7, 0.3), 2), ((0.8, 0.3), 3), ((0.85, 0.3), 3)])
@pytest.mark.usefixtures("thin_backbones")
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


@pytest.mark.parametrize("found", [None, 0.0])
@pytest.mark.usefixtures("thin_backbones")
def test_where_nothing_can_be_or_is_found_the_newest_weights_are_the_best(dota_folder, tmp_path, monkeypatch, found):
    """They stayed those of the first epoch, and without an object to find --patience stopped the run."""
    real = validation.metrics_dict
    monkeypatch.setattr(validation, "metrics_dict", lambda scored: real(scored) | {"mAP50": found})
    run_dir = tmp_path / "run"
    flags = ["--num_epoch", "3", "--patience", "1"] if found is None else ["--num_epoch", "3"]
    assert main.main(arguments(dota_folder(lists=LISTS), run_dir, *flags)) == 0
    assert load_file(run_dir / "best.pth")["epoch"] == load_file(run_dir / "last.pth")["epoch"] == 3


@pytest.mark.parametrize("share", [0, 1])
def test_an_empty_share_of_a_batch_is_a_blank_step_and_an_empty_batch_none(share: int, monkeypatch: pytest.MonkeyPatch):
    """Another process's gradient waits for this one's; what is blank teaches nothing and keeps no statistics."""
    given = []
    blank = Batch(torch.zeros(1, 8, 8, 3), "blank targets", torch.zeros(0), [])
    monkeypatch.setattr(train, "blank_batch_of", lambda _: blank)
    run = SimpleNamespace(
        schedule=Schedule(Config(batch_size=2), 2), stop=SimpleNamespace(is_requested=False), progress=Progress(),
        engine=SimpleNamespace(num_ranks=2, device="cpu", total=lambda count: count, all_of=lambda item: [item]),
        loader=SimpleNamespace(dataset=None), average=mock.Mock(), network=None,
        step=lambda *parts: given.append(parts) or StepResult({"total": 1.0}, True, False), meter=Meter(),
    )  # fmt: skip
    batch = Batch(torch.zeros(share, 8, 8, 3), "targets", torch.zeros(share), [])
    assert not train._take(run, batch)
    ((_, targets, _, is_blank),) = given
    assert (targets, is_blank) == (("targets", False) if share else ("blank targets", True))
    assert run.progress.num_images == 2
    run.engine.total = lambda count: count + 2  # both pictures cannot be read
    run.engine.all_of = lambda item: [item, ["a.png", "b.png"] if item == [] else True]
    run.config = Config(on_bad_label="skip")
    assert train._take(run, Batch(torch.zeros(0), None, torch.zeros(0), []))  # the other one is asked to stop
    assert len(given) == 1


@pytest.mark.usefixtures("thin_backbones")
def test_after_an_error_what_was_learnt_is_saved_but_never_half_a_step(dota_folder, tmp_path, monkeypatch):
    """A bad picture in the last batch of three, and an error in the middle of a step."""
    data_dir = dota_folder(lists=LISTS)
    order = [LISTS["train"][row] for ((_, row),) in EpochBatches(len(LISTS["train"]), 1)]
    (picture,) = (data_dir / "images").glob(f"{order[-1]}.*")
    whole = picture.read_bytes()
    picture.write_bytes(whole[:100])
    flags = ("--num_epoch", "1", "--batch_size", "1")
    assert main.main(arguments(data_dir, tmp_path / "picture", *flags)) == 1
    assert load_file(tmp_path / "picture" / "last.pth")["progress"]["step"] == len(order) - 1
    picture.write_bytes(whole)
    taken, step = [], TrainingStep.__call__

    def broken_step(self, *batch):
        result = step(self, *batch)
        taken.append(1)
        if len(taken) == 2:
            raise ValueError("after the weights were changed, before they were averaged")
        return result

    monkeypatch.setattr(TrainingStep, "__call__", broken_step)
    assert main.main(arguments(data_dir, tmp_path / "step", *flags)) == 1
    assert not (tmp_path / "step" / "last.pth").exists()


def test_what_was_learnt_in_an_epoch_is_saved_before_its_validation(dota_folder, tmp_path, monkeypatch):
    """SIGKILL, or the timer of several processes, may end a long validation."""
    run_dir, saved = tmp_path / "run", []

    def killed(run):
        saved.append(load_file(run_dir / "last.pth")["progress"])
        raise SystemExit(137)

    monkeypatch.setattr(train, "validate", killed)
    with pytest.raises(SystemExit):
        main.main(arguments(dota_folder(lists=LISTS), run_dir))
    assert (saved[0]["epoch"], saved[0]["step"], saved[0]["num_images"]) == (0, 2, 3)
    monkeypatch.undo()
    assert main.main(["--resume_train", str(run_dir)]) == 0
    straight = tmp_path / "straight"
    assert main.main(arguments(tmp_path / "data", straight)) == 0
    assert_same_weights(run_dir / "last.pth", straight / "last.pth")


def test_validation_takes_few_pictures_at_once_though_training_takes_many_windows(dota_folder, tmp_path, monkeypatch):
    asked = []
    real = Inference.pictures
    monkeypatch.setattr(Inference, "pictures", lambda *args, **kw: asked.append(kw["batch_size"]) or real(*args, **kw))
    flags = ["--num_epoch", "1", "--batch_size", "64"]
    assert main.main(arguments(dota_folder(lists=LISTS), tmp_path / "run", *flags)) == 0
    assert asked == [validation.MOST_AT_ONCE]


def test_the_published_optimiser_state_is_no_run_to_go_on_with(dota_folder, tmp_path, capsys):
    torch.save({"model_state_dict": {}, "epoch": 1}, tmp_path / "last.pth")
    assert main.main(["--resume_train", str(tmp_path)]) == 1
    assert "last.pth" in capsys.readouterr().err


@pytest.mark.usefixtures("thin_backbones")
def test_a_run_finds_its_data_from_another_folder(dota_folder, tmp_path, monkeypatch):
    dota_folder(lists=LISTS)
    monkeypatch.chdir(tmp_path)
    assert main.main(arguments(Path("data"), Path("run"), "--num_epoch", "1")) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main.main(["--phase", "eval", "--resume", "../run", "--num_workers", "0"]) == 0
    assert main.main(["--resume_train", "../run", "--data_dir", "../data"]) == 0


def test_after_an_error_no_process_waits_to_leave_the_group(dota_folder, tmp_path, monkeypatch, capsys):
    """NCCL lets nobody leave alone, and the others may wait elsewhere: the job would hang without a word."""
    closed = []
    monkeypatch.setattr(Engine, "close", lambda self: closed.append(self))
    data_dir = dota_folder(lists=LISTS)
    assert main.main(arguments(data_dir, tmp_path / "sound", "--num_epoch", "1")) == 0
    assert len(closed) == 1
    (data_dir / "images" / "scene_0.png").write_bytes(b"damaged")
    assert main.main(arguments(data_dir, tmp_path / "damaged", "--num_epoch", "1")) == 1
    assert "scene_0.png" in capsys.readouterr().err
    assert len(closed) == 1


@pytest.mark.usefixtures("thin_backbones")
def test_a_bad_validation_picture_does_not_cost_the_epoch(dota_folder, tmp_path, capsys):
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    (data_dir / "images" / "scene_2.png").write_bytes(b"damaged")
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 1
    assert "scene_2.png" in capsys.readouterr().err
    assert load_file(run_dir / "last.pth")["progress"]["step"] == 2
    skipping = arguments(data_dir, tmp_path / "other", "--num_epoch", "1", "--on_bad_label", "skip")
    assert main.main(skipping) == 0
    assert "1 validation pictures cannot be read" in capsys.readouterr().err


def test_a_run_goes_on_in_its_own_folder_only(dota_folder, tmp_path, capsys):
    run_dir = tmp_path / "run"
    assert main.main(arguments(dota_folder(lists=LISTS), run_dir, "--num_epoch", "1")) == 0
    assert main.main(["--resume_train", str(run_dir), "--out", str(tmp_path / "other")]) == 2
    assert "differs from the run" in capsys.readouterr().err


def test_a_picture_too_long_to_warp_is_named(dota_folder, tmp_path, capsys):
    data_dir = dota_folder(lists=LISTS)
    picture = cv2.imencode(".png", np.zeros((2, 40000, 3), np.uint8))[1]
    (data_dir / "images" / "scene_0.png").write_bytes(picture.tobytes())
    assert main.main(arguments(data_dir, tmp_path / "run")) == 1
    assert "scene_0.png: is longer than 32766 pixels" in capsys.readouterr().err


def test_a_cache_that_does_not_fit_is_refused_before_it_fills_the_memory(dota_folder, tmp_path, capsys, monkeypatch):
    data_dir = dota_folder(lists=LISTS)
    monkeypatch.setattr(training_run, "free_memory", lambda: 1000)
    assert main.main(arguments(data_dir, tmp_path / "run", "--cache")) == 2
    assert "--cache: the 3 decoded pictures take 0 MiB, and 0 MiB are free" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_want_of_memory_is_a_sentence(dota_folder, tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(TrainingStep, "__call__", fail)
    assert main.main(arguments(dota_folder(lists=LISTS), tmp_path / "run")) == 1
    assert "error: not enough memory; lower --batch_size, or --input_h and --input_w (" in capsys.readouterr().err


def test_the_kept_settings_are_those_of_the_network_that_was_started_from(dota_folder, tmp_path, thin_backbones):
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
