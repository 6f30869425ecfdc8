"""Training: steps, rates, resuming, interruption, small and empty data."""

from __future__ import annotations

import gc
import math
import multiprocessing
import shutil
import time
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
from tests.short_runs import LISTS, arguments, assert_same_weights, weights_of
from tools import train
from tools.checkpoint import load_file
from tools.config import Config
from tools.data import augmentation_of
from tools.engine import Engine
from tools.setting_flags import parse_settings
from tools.training.run_state import Meter, Progress, Run
from tools.training.schedule import Schedule
from tools.training.training_step import StepResult, TrainingStep

pytestmark = pytest.mark.usefixtures("thin_backbones")


@pytest.mark.slow
def test_a_run_stops_with_the_names_after_too_many_bad_steps(dota_folder, tmp_path, monkeypatch, capsys):
    """Defect 3: stop with a message after several in a row."""
    monkeypatch.setattr(TrainingStep, "__call__", lambda *_: StepResult({"total": math.nan}, False, False))
    code = main.main(arguments(dota_folder(lists=LISTS), tmp_path / "run", "--num_epoch", "40"))
    assert code == 1
    message = capsys.readouterr().err
    assert "20 steps in a row were not finite" in message
    assert "scene_" in message


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_in_which_nothing_was_learnt_is_not_done(dota_folder, tmp_path, monkeypatch, capsys):
    """It ended with "done" and 0, and best.pth held random weights."""
    data_dir = dota_folder(lists=LISTS)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", lambda *_: StepResult({"total": math.nan}, False, False))
        assert main.main(arguments(data_dir, tmp_path / "run", "--num_epoch", "1")) == 1
    assert "no step was taken, since every loss or gradient was not finite" in capsys.readouterr().err
    for name in LISTS["train"]:
        (data_dir / "images" / f"{name}.png").write_bytes(b"damaged")
    assert main.main(arguments(data_dir, tmp_path / "other", "--on_bad_label", "skip")) == 1
    assert "none of the training pictures of an epoch can be read" in capsys.readouterr().err
    assert "done" not in (tmp_path / "other" / "log.txt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_class_whose_name_no_file_can_bear_is_refused_before_the_training(dota_folder, tmp_path, capsys):
    """It was noticed after hours, by the evaluation."""
    data_dir = dota_folder(lists=LISTS)
    (data_dir / "classes.txt").write_text(f"car\nboat\n{'船' * 90}\n", encoding="utf-8")
    assert main.main(arguments(data_dir, tmp_path / "run")) == 1
    assert "is too long for the name of a result file; shorten it" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.long
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a compiler")
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


@pytest.mark.slow
def test_two_equal_runs_are_bit_equal_and_another_seed_is_not(dota_folder, tmp_path):
    data_dir = dota_folder(lists=LISTS)
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert main.main(arguments(data_dir, tmp_path / name, "--num_epoch", "1", "--seed", seed)) == 0
    assert_same_weights(tmp_path / "a" / "last.pth", tmp_path / "b" / "last.pth")
    assert not torch.equal(
        weights_of(tmp_path / "a" / "last.pth")["hm.0.weight"], weights_of(tmp_path / "c" / "last.pth")["hm.0.weight"]
    )


@pytest.mark.slow
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


@pytest.mark.slow
def test_data_smaller_than_a_batch_without_objects_and_without_lists_trains(dota_folder, tmp_path, capsys):
    """Defects 2 and 9: no objects at all, and fewer pictures than a batch holds (a division by zero once)."""
    data_dir = dota_folder(names=("only",))
    assert main.main(arguments(data_dir, tmp_path / "run", "--num_epoch", "1", "--batch_size", "16")) == 0
    said = capsys.readouterr()
    assert "no training picture holds an object" in said.err
    assert "mAP50 n/a" in said.out
    assert (tmp_path / "run" / "best.pth").exists()


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_loaders_processes_end_with_the_training_whatever_still_refers_to_the_run(dota_folder, tmp_path):
    gc.disable()  # a cycle of references held the run to the end of the program, which then waited for them for ever
    try:
        assert main.main(arguments(dota_folder(lists=LISTS), tmp_path, "--num_epoch", "1", "--num_workers", "1")) == 0
        assert multiprocessing.active_children() == []
    finally:
        gc.enable()


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


@pytest.mark.slow
def test_an_error_before_the_first_step_leaves_the_checkpoint_as_it_was(dota_folder, tmp_path, monkeypatch, capsys):
    """What had been read from a damaged file was written over the good one beside it."""
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    before = (run_dir / "last.pth").read_bytes()
    monkeypatch.setattr(TrainingStep, "__call__", lambda *_: (data_dir / "gone").read_bytes())
    assert main.main(["--resume_train", str(run_dir), "--num_epoch", "2"]) == 1
    assert (run_dir / "last.pth").read_bytes() == before
    damaged = load_file(run_dir / "last.pth")
    damaged["progress"]["epoch"] = -5
    torch.save(damaged, run_dir / "last.pth")
    capsys.readouterr()
    assert main.main(["--resume_train", str(run_dir), "--num_epoch", "2"]) == 1
    assert "last.pth: its progress does not fit this run (epoch -5, step 0, 3 pictures)" in capsys.readouterr().err


@pytest.mark.slow
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


def test_a_picture_too_long_to_warp_is_named(dota_folder, tmp_path, capsys):
    data_dir = dota_folder(lists=LISTS)
    picture = cv2.imencode(".png", np.zeros((2, 40000, 3), np.uint8))[1]
    (data_dir / "images" / "scene_0.png").write_bytes(picture.tobytes())
    assert main.main(arguments(data_dir, tmp_path / "run")) == 1
    assert "scene_0.png: is longer than 32766 pixels" in capsys.readouterr().err


def test_want_of_memory_is_a_sentence(dota_folder, tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(TrainingStep, "__call__", fail)
    assert main.main(arguments(dota_folder(lists=LISTS), tmp_path / "run")) == 1
    assert "error: not enough memory; lower --batch_size, or --input_h and --input_w (" in capsys.readouterr().err
