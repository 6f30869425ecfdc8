"""Runs that are killed at any moment, also within the write, and disks that are full: what was good stays."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import main
from tests.conftest import REPOSITORY
from tests.short_runs import LISTS, arguments, assert_equal_runs
from tools import checkpoint, train
from tools.checkpoint import load_checkpoint, load_file
from tools.training.training_step import TrainingStep

SECONDS = 240  # for a job; many times what it needs


@contextmanager
def launched(*flags: str, program: str = "main.py") -> Iterator[subprocess.Popen]:
    """A run in a process of its own, which is gone afterwards; `program` is a file, or code after "-c"."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}  # or sums round otherwise
    command = [sys.executable, *(("-c", program) if "\n" in program else (program,)), *flags]
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as job:
        try:
            yield job
        finally:
            job.kill()


def wait_for(condition: Callable[[], bool], job: subprocess.Popen) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert job.poll() is None, job.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.long
def test_killed_at_any_moment_the_last_good_file_loads(dota_folder, tmp_path):
    """SIGKILL at random moments of a run that saves several times a second; each run goes on where the last one was."""
    rng, run_dir = random.Random(0), tmp_path / "run"
    flags = arguments(dota_folder(lists=LISTS), run_dir, "--num_epoch", "100000", "--val_every", "100000")
    with launched(*flags) as job:
        wait_for(lambda: (run_dir / "last.pth").exists(), job)
        time.sleep(rng.uniform(0, 2))
    reached = []
    for _ in range(3):
        _, _, content = load_checkpoint(run_dir / "last.pth")
        reached.append(content["progress"]["num_images"])
        before = (run_dir / "last.pth").stat().st_mtime_ns
        with launched("--resume_train", str(run_dir)) as job:
            wait_for(lambda before=before: (run_dir / "last.pth").stat().st_mtime_ns != before, job)
            time.sleep(rng.uniform(0, 2))
    assert reached == sorted(set(reached))
    load_checkpoint(run_dir / "last.pth")


KILLED_IN_THE_WRITE = """
import os, signal, sys
import torch
import main

save, calls = torch.save, []

def half_a_save(content, file):
    calls.append(file)
    if len(calls) < {whole}:
        return save(content, file)
    import io
    whole = io.BytesIO()
    save(content, whole)
    file.write(whole.getvalue()[: len(whole.getvalue()) * {percent} // 100])
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

torch.save = half_a_save
main.main(sys.argv[1:])
"""


@pytest.mark.long
@pytest.mark.parametrize("percent", [0, 60, 100])
def test_killed_inside_the_write_the_last_good_file_loads_and_goes_on(dota_folder, tmp_path, percent: int):
    """In the write of the second epoch; nothing is validated before the third."""
    run_dir = tmp_path / "run"
    flags = arguments(dota_folder(lists=LISTS), run_dir, "--num_epoch", "3", "--val_every", "3")
    with launched(*flags, program=KILLED_IN_THE_WRITE.format(whole=2, percent=percent)) as job:
        output, _ = job.communicate(timeout=SECONDS)
    assert job.returncode == -signal.SIGKILL, output
    assert load_file(run_dir / "last.pth")["progress"]["epoch"] == 1
    assert main.main(["--resume_train", str(run_dir)]) == 0
    assert main.main([*flags, "--out", str(tmp_path / "straight")]) == 0
    assert_equal_runs(tmp_path / "straight", run_dir)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_a_sentence(dota_folder, tmp_path, monkeypatch, capsys):
    step = TrainingStep.__call__

    def deadly_step(self, *parts):
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        if not children.is_file():
            pytest.skip("this system does not list the children of a process")
        for child in children.read_text(encoding="ascii").split():
            if b"multiprocessing" not in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)  # a data worker: forked, it has this process's own command line
        return step(self, *parts)

    monkeypatch.setattr(TrainingStep, "__call__", deadly_step)
    flags = ("--num_workers", "1", "--batch_size", "1", "--num_epoch", "9")
    assert main.main(arguments(dota_folder(lists=LISTS), tmp_path / "run", *flags)) == 1
    message = capsys.readouterr().err
    assert "error: a process that loads data was killed, for want of memory perhaps; try --num_workers 0" in message
    assert "Traceback" not in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device"),
        (RuntimeError("[enforce fail at inline_container.cc:603] . unexpected pos 4096 vs 4000"), "is the disk full?"),
    ],
)
def test_a_full_disk_is_told_and_the_old_file_stays(dota_folder, tmp_path, monkeypatch, capsys, failure, said: str):
    """Both ways in which it shows: the system's error, and torch's own for a write that was cut short."""
    run_dir = tmp_path / "run"
    assert main.main(arguments(dota_folder(lists=LISTS), run_dir, "--num_epoch", "1")) == 0
    before = (run_dir / "last.pth").read_bytes()

    def save(content: dict, file) -> None:
        file.write(b"half of it")
        raise failure

    monkeypatch.setattr(checkpoint.torch, "save", save)
    assert main.main(["--resume_train", str(run_dir), "--num_epoch", "2"]) == 1
    message = capsys.readouterr().err
    assert ".pth" in message
    assert said in message
    assert "Traceback" not in message
    assert (run_dir / "last.pth").read_bytes() == before
    assert not list(run_dir.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_device_that_is_full_is_told(dota_folder, tmp_path, monkeypatch, capsys):
    """A real ENOSPC out of the system, in the middle of torch's own writing."""
    run_dir = tmp_path / "run"
    assert main.main(arguments(dota_folder(lists=LISTS), run_dir, "--num_epoch", "1")) == 0
    before, save = (run_dir / "last.pth").read_bytes(), torch.save

    def save_to_full(content: dict, file) -> None:
        with Path("/dev/full").open("wb", buffering=0) as full:
            save(content, full)

    monkeypatch.setattr(checkpoint.torch, "save", save_to_full)
    assert main.main(["--resume_train", str(run_dir), "--num_epoch", "2"]) == 1
    message = capsys.readouterr().err
    assert ".pth" in message
    assert "disk full" in message or "no space left" in message
    assert (run_dir / "last.pth").read_bytes() == before


@pytest.mark.slow
@pytest.mark.usefixtures("thin_backbones")
def test_a_clock_that_goes_back_harms_nothing(dota_folder, tmp_path, monkeypatch):
    """Only the shown times may be odd."""
    ticks = iter(range(10**6, 0, -1))
    monkeypatch.setattr(train.time, "perf_counter", lambda: float(next(ticks)))
    assert main.main(arguments(dota_folder(lists=LISTS), tmp_path / "run", "--num_epoch", "1")) == 0
