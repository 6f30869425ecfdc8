"""Several processes: torchrun and accelerate launch teach what one process does, write once, and end when one dies."""

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
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import main
from datasets.loader import EpochBatches
from models import CTRBOX
from tests.conftest import CLASS_NAMES, REPOSITORY, label_what_is_found
from tools.checkpoint import load_file

NAMES = tuple(f"scene_{number}" for number in range(9))
LISTS = {"train": NAMES[2:], "val": NAMES[:1]}
NUM_IMAGES = 15  # of 7 in an epoch: batches of 4, 3, 4, 3 and 1, of which one of two ranks gets nothing
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
SECONDS = 240  # for a job; many times what it needs


def arguments(data_dir: Path, out: Path, *more: str) -> list[str]:
    """Flags of a run in which the number of ranks must not show: frozen batch norm, fp32, SGD, no average.

    At a higher rate it shows on some processors, where a convolution of one picture rounds otherwise than one of two:
    the maximum of an even patch and what ReLU lets through then change places now and then.
    """
    return [
        *("--phase", "train", "--data_dir", str(data_dir), "--out", str(out), "--pretrained", "none"),
        *("--input_h", "64", "--input_w", "64", "--batch_size", "4", "--num_images", str(NUM_IMAGES), "--seed", "3"),
        *("--precision", "fp32", "--freeze_norm", "all", "--optimizer", "sgd", "--ema", "0", "--init_lr", "5e-4"),
        *("--device", "cpu", "--num_workers", "0", "--tensorboard", "off", *more),
    ]


@contextmanager
def launched(*command: str) -> Iterator[subprocess.Popen]:
    """Python with these arguments, in a process group of its own, of which nothing is left behind."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, *command], cwd=REPOSITORY, env=environment, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as job:  # fmt: skip
        try:
            yield job
        finally:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)


def run_job(*command: str) -> tuple[int, str]:
    """Its exit code and output."""
    with launched(*command) as job:
        output, _ = job.communicate(timeout=SECONDS)
        return job.returncode, output


@pytest.fixture
def one_rank(dota_folder, tmp_path) -> tuple[Path, dict]:
    """The data, and the checkpoint that one process makes of it."""
    data_dir = dota_folder(names=NAMES, lists=LISTS)
    assert main.main(arguments(data_dir, tmp_path / "one")) == 0
    one = load_file(tmp_path / "one" / "last.pth")
    torch.manual_seed(3)
    start = CTRBOX(len(CLASS_NAMES), "resnet18", head_norm="batch").state_dict()
    assert largest_difference(one["model_state_dict"], start) > 1e-3  # else equal weights prove nothing
    return data_dir, one


def largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    return max((first[name] - second[name]).abs().max().item() for name in first)


def assert_same_run(run_dir: Path, one: dict) -> None:
    two = load_file(run_dir / "last.pth")
    assert largest_difference(two["model_state_dict"], one["model_state_dict"]) < 1e-5
    assert two["progress"] == pytest.approx(one["progress"], abs=1e-3)
    assert two["progress"]["num_images"] == NUM_IMAGES
    log = (run_dir / "log.txt").read_text(encoding="utf-8")
    assert log.count("run folder:") == log.count("epoch 1/3") == log.count("done:") == 1  # one process writes
    assert (run_dir / "history.csv").read_text(encoding="utf-8-sig").count("\n") == 1 + 3
    assert not list(run_dir.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [pytest.param("1", marks=pytest.mark.long), "2"])
def test_two_ranks_teach_what_one_does(one_rank, tmp_path, accumulate: str):
    """The loss is a mean over the objects of all ranks and parts; a mean of the ranks' means would be another."""
    data_dir, one = one_rank
    code, output = run_job(*TORCHRUN, "main.py", *arguments(data_dir, tmp_path / "two", "--accumulate", accumulate))
    assert code == 0, output
    assert_same_run(tmp_path / "two", one)


@pytest.mark.long
def test_accelerate_launch_does_too(one_rank, tmp_path):
    data_dir, one = one_rank
    launch = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1")
    launch = (*launch, "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0")
    code, output = run_job(*launch, "main.py", *arguments(data_dir, tmp_path / "two"))
    assert code == 0, output
    assert_same_run(tmp_path / "two", one)


@pytest.mark.long
@pytest.mark.parametrize(("phase", "tiles"), [("test", ("--tile", "64", "--overlap", "16")), ("eval", ())])
def test_two_ranks_find_what_one_does(finding_checkpoint, dota_folder, tmp_path, phase: str, tiles: tuple[str, ...]):
    """They share five pictures; one writes, each picture once and in the order of the list."""
    data_dir = dota_folder(names=NAMES, lists={"train": NAMES[5:], "val": NAMES[:5]})
    shared = ("--resume", str(finding_checkpoint), "--data_dir", str(data_dir), "--num_workers", "0", "--device", "cpu")
    shared = (*shared, "--draw_score", "0.02", *tiles)
    assert main.main(["--phase", "test", *shared, "--out", str(tmp_path / "one")]) == 0
    label_what_is_found(tmp_path / "one", data_dir)
    assert main.main(["--phase", phase, *shared, "--out", str(tmp_path / "one")]) == 0
    code, output = run_job(*TORCHRUN, "main.py", "--phase", phase, *shared, "--out", str(tmp_path / "two"))
    assert code == 0, output
    assert_same_results(tmp_path / "one", tmp_path / "two")
    assert (tmp_path / "two" / "log.txt").read_text(encoding="utf-8").count("detecting with") == 1
    if phase == "eval":
        one, two = (read_json(tmp_path / name / "metrics.json") for name in ("one", "two"))
        assert 0.2 < one["mAP50"] < 0.9
        assert {key: two[key] for key in ("num_images", "num_truths", "num_detections")} == {
            key: one[key] for key in ("num_images", "num_truths", "num_detections")
        }
        for name, scores in one["classes"].items():
            assert two["classes"][name]["AP"] == pytest.approx(scores["AP"], abs=1e-6)


def assert_same_results(first: Path, second: Path) -> None:
    one, two = (read_json(folder / "results" / "detections.json") for folder in (first, second))
    assert [record["image"] for record in one] == [record["image"] for record in two]
    for ours, theirs in zip(one, two, strict=True):
        assert len(ours["boxes"]) > 5
        assert [box["class"] for box in ours["boxes"]] == [box["class"] for box in theirs["boxes"]]
        for key in ("score", "quad"):
            values = ([box[key] for box in record["boxes"]] for record in (ours, theirs))
            np.testing.assert_allclose(*values, atol=1e-4)
    drawn = sorted(path.name for path in (first / "drawings").iterdir())
    assert drawn == sorted(path.name for path in (second / "drawings").iterdir())
    assert len(drawn) == len(one) == 5
    for name in drawn:
        pictures = (cv2.imread(str(folder / "drawings" / name)) for folder in (first, second))
        assert cv2.absdiff(*pictures).mean() < 0.1  # a corner may be rounded to the next pixel


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.long
def test_a_rank_that_is_killed_ends_the_job_with_a_message(dota_folder, tmp_path):
    """Not a hang: the other rank waits for gradients that never come."""
    data_dir, run_dir = dota_folder(names=NAMES, lists=LISTS), tmp_path / "run"
    with launched(*TORCHRUN, "main.py", *arguments(data_dir, run_dir, "--num_images", "100000")) as job:
        wait_for(lambda: (run_dir / "last.pth").exists(), job)
        os.kill(rank_of(job.pid, 1), signal.SIGKILL)
        killed = time.monotonic()
        output, _ = job.communicate(timeout=60)
    assert time.monotonic() - killed < 60
    assert job.returncode != 0
    assert "SIGKILL" in output or "error:" in output
    assert load_file(run_dir / "last.pth")["progress"]["num_images"] > 0


def wait_for(condition, job: subprocess.Popen) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert job.poll() is None, job.stdout.read()
        assert time.monotonic() < deadline, "the job does not come to its first epoch's end"
        time.sleep(0.1)


def rank_of(launcher: int, rank: int) -> int:
    """The process of a rank, among the children of its launcher."""
    for child in Path(f"/proc/{launcher}/task/{launcher}/children").read_text(encoding="ascii").split():
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"no child of {launcher} is rank {rank}")


LEFT_OVER = """
from torch import nn
from models import Backbone, register_backbone


@register_backbone
class LeftOver(Backbone):
    out_channels = (8, 8, 8, 8)

    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3, 2, 1), *(nn.Conv2d(8, 8, 3, 2, 1) for _ in range(4)))
        self.classifier = nn.Linear(8, 10)
"""


@pytest.mark.long
def test_parameters_without_a_part_in_the_maps_are_a_sentence(dota_folder, tmp_path):
    """One process trains such a backbone; several would wait for its gradient."""
    (tmp_path / "own.py").write_text(LEFT_OVER, encoding="utf-8")
    more = ("--backbone", f"{tmp_path / 'own.py'}:LeftOver")
    command = arguments(dota_folder(names=NAMES, lists=LISTS), tmp_path / "run", *more)
    code, output = run_job(*TORCHRUN, "main.py", *command)
    assert code != 0
    assert "error: parts of the backbone have no part in the four maps" in output
    assert "tools.check_backbone names them" in output


@pytest.mark.long
def test_a_batch_that_the_ranks_cannot_share_is_a_sentence(dota_folder, tmp_path):
    data_dir = dota_folder(names=NAMES, lists=LISTS)
    code, output = run_job(*TORCHRUN, "main.py", *arguments(data_dir, tmp_path / "run", "--batch_size", "3"))
    assert code != 0
    assert "error: --batch_size 3 is that of all 2 processes together; give a multiple of 2" in output
    assert not (tmp_path / "run").exists()


# Rank 1 alone meets what one process may meet: a picture that makes its loss infinite, a wish to stop.
TRIAL = """
import gc, os, sys
sys.path.insert(0, os.getcwd())
import torch.distributed
from torch.nn.parallel import DistributedDataParallel
import main
from tools.training.training_step import TrainingStep

rank, stop_at, taken, step = int(os.environ["RANK"]), int(os.environ["STOP_AT"]), [], TrainingStep.__call__


def tried_step(self, images, targets, stop, is_blank):
    taken.append(1)
    if rank == 1 and len(taken) == 1 and not stop_at < 0:
        targets = targets._replace(hm=targets.hm * float("nan"))
    return step(self, images, targets, stop or (rank == 1 and len(taken) == stop_at), is_blank)


def left():
    assert DistributedDataParallel not in map(type, gc.get_objects())
    leave()


leave, torch.distributed.destroy_process_group = torch.distributed.destroy_process_group, left
TrainingStep.__call__ = tried_step
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.long
def test_two_ranks_share_stops_bad_steps_and_bad_pictures_and_go_on_bit_for_bit(
    dota_folder, dropping_backbone, tmp_path, monkeypatch
):
    """With live batch norms, dropout and averaging: what one rank meets, both act on, and a stop changes nothing. The
    first epoch's last batch holds bad pictures alone."""
    names = NAMES[3:]
    data_dir = dota_folder(names=NAMES, lists={"train": names, "val": NAMES[:3]})
    batches = [[names[row] for _, row in batch] for batch in EpochBatches(len(names), 4, seed=3)]
    for name in batches[1]:
        (picture,) = (data_dir / "images").glob(f"{name}.*")
        picture.write_bytes(picture.read_bytes()[:100])
    (tmp_path / "trial.py").write_text(TRIAL, encoding="utf-8")
    flags = ("--freeze_norm", "none", "--ema", "0.9", "--on_bad_label", "skip", "--num_images", "12")

    def train(stop_at: int, *words: str) -> tuple[int, str]:
        monkeypatch.setenv("STOP_AT", str(stop_at))
        return run_job(*TORCHRUN, str(tmp_path / "trial.py"), *words, "--backbone", dropping_backbone)

    code, output = train(0, *arguments(data_dir, tmp_path / "straight", *flags))
    assert code == 0, output
    assert f"step skipped; pictures: {', '.join(batches[0])}\n" in output
    assert output.count("warning: 2 pictures left out of a batch\n") >= 1
    assert "Grad strides do not match" not in output
    assert "is deprecated" not in output
    code, output = train(2, *arguments(data_dir, tmp_path / "stopped", *flags))
    assert "interrupted in epoch 2" in output
    progress = load_file(tmp_path / "stopped" / "last.pth")["progress"]
    assert (progress["step"], progress["skipped"]) == (1, 1)
    assert progress["num_images"] <= 4  # of the second epoch's first step alone
    code, output = train(-1, "--resume_train", str(tmp_path / "stopped"))
    assert code == 0, output
    straight, stopped = (load_file(tmp_path / name / "last.pth") for name in ("straight", "stopped"))
    for name in ("model_state_dict", "ema_state_dict"):
        assert largest_difference(straight[name], stopped[name]) == 0
    assert straight["progress"] == stopped["progress"]
    assert straight["progress"]["num_images"] == 4  # six less two bad ones, and the first step's four are of no use
