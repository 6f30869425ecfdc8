"""A trial trains as `--phase train` does, and the plain one as plainly as it says."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tools.benchmarks import benchmark_trial
from tools.benchmarks.benchmark_train import SETTINGS, draw_data
from tools.benchmarks.benchmark_trial import (
    LOOKS_A_SECOND,
    Job,
    Trial,
    counted_steps,
    loaded_batches,
    peak_memory,
    run_in,
    watch_gpu,
)


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> Job:
    folder = tmp_path_factory.mktemp("图 1")
    draw_data(folder / "data", 8, 64)
    return Job("resnet18", 64, 2, 2, 0, "cpu", folder)


@pytest.mark.slow
def test_the_plain_trial_is_contiguous_fp32_with_dense_heads(job):
    trial = Trial(SETTINGS["plain"], job)
    trial.load()
    seen = []
    first = trial.run.network.base_network
    handle = first.register_forward_hook(lambda _, inputs, maps: seen.extend([inputs[0], *maps]))
    times = trial.take_turn()
    handle.remove()
    assert len(times) == 1
    assert times[0] > 0
    assert all(item.is_contiguous() and item.dtype == torch.float32 for item in seen)
    assert all(weight.is_contiguous() for weight in trial.run.network.parameters())
    step, config = trial.run.step, trial.run.config
    assert not step.sparse
    assert (step.criterion.positive_radius, config.box_weight, config.ema, config.clip_norm) == (0, 0, 0, 0)
    assert not step.optimizer.param_groups[0]["fused"]
    outcome = trial.finish()
    assert 0 < outcome.wait_share < 1
    assert outcome.data_ms > 0
    assert 100 < outcome.start_mib <= outcome.peak_mib
    assert outcome.utilisation is None
    trial.close()


@pytest.mark.slow
def test_the_sparse_trial_has_the_defaults_of_training(job):
    trial = Trial(SETTINGS["sparse"], job)
    trial.load()
    seen = []
    trial.run.network.base_network.register_forward_hook(lambda _, inputs, maps: seen.extend(maps))
    before = [weight.clone() for weight in trial._average.module.parameters()]
    trial.take_turn()
    assert all(item.dtype == torch.bfloat16 for item in seen)
    assert all(item.is_contiguous(memory_format=torch.channels_last) for item in seen)
    assert trial.run.step.sparse
    assert trial.run.config.recipe == "default"
    assert trial.run.step.optimizer.param_groups[0]["fused"]
    assert any((old != new).any() for old, new in zip(before, trial._average.module.parameters(), strict=True))
    trial.close()


@pytest.mark.slow
def test_the_peak_is_in_bytes_and_keeps_what_was_given_back():
    before = peak_memory(torch.device("cpu"))
    big = np.ones(before // 8)
    del big
    assert 1.05 * before < peak_memory(torch.device("cpu")) <= 2.1 * before


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a script")
def test_the_gpu_is_watched_by_nvidia_smi(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    looks = "".join(f"echo {percent};" for percent in (*[5] * LOOKS_A_SECOND, 90))  # a second before it counts
    program.write_text(f"#!/bin/sh\n{looks} echo '[N/A]'; echo 100; echo \"$2\" >&2; echo >done; exec sleep 60\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1-2"))
    with watch_gpu(torch.device("cuda")) as busy:
        deadline = time.monotonic() + 60
        while not (tmp_path / "done").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert busy == [0.9, 1.0]


@pytest.mark.parametrize("num_workers", [0, 1, 12])
@pytest.mark.parametrize("is_cuda", [False, True])
def test_what_is_counted_was_loaded_while_it_was_counted(num_workers, is_cuda):
    """The queue holds two batches of each process: those of the first steps were loaded before the clock ran, and no
    process may be out of work before the last one."""
    job = Job("resnet18", 64, 16, 4, num_workers, "cpu", Path())
    queue = 2 * num_workers
    assert run_in(job) >= max(1, queue)
    assert counted_steps(job, is_cuda) >= (10 * num_workers if is_cuda else 4)
    assert loaded_batches(job, is_cuda) == run_in(job) + counted_steps(job, is_cuda) + queue


def test_without_a_gpu_nothing_is_watched():
    with watch_gpu(torch.device("cpu")) as busy:
        pass
    assert busy == []


class _Line:
    """A connection that says what it is told and keeps what it hears."""

    def __init__(self, *said):
        self.said, self.heard = list(said), []

    def recv(self):
        if not self.said:
            raise EOFError
        return self.said.pop(0)

    def send(self, item):
        self.heard.append(item)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize(
    ("error", "told"), [(ValueError("no"), ValueError), (KeyError("no"), RuntimeError), (MemoryError(), RuntimeError)]
)
def test_what_goes_wrong_is_told(monkeypatch, error, told):
    def fail(*_):
        raise error

    monkeypatch.setattr(benchmark_trial, "Trial", fail)
    monkeypatch.setattr(benchmark_trial.signal, "signal", lambda *_: None)
    line = _Line()
    benchmark_trial.serve(line, SETTINGS["plain"], None)
    assert type(line.heard[0]) is told


def test_a_trial_ends_with_the_process_that_asks(monkeypatch):
    monkeypatch.setattr(benchmark_trial, "Trial", lambda *_: SimpleNamespace(take_turn=lambda: [1.0]))
    monkeypatch.setattr(benchmark_trial.signal, "signal", lambda *_: None)
    line = _Line("take_turn")
    benchmark_trial.serve(line, SETTINGS["plain"], None)
    assert line.heard == [None, [1.0]]
