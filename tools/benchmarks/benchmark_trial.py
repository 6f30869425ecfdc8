"""One setting of the training benchmark, measured in a process of its own.

The run is the one that `--phase train` would make of the same flags (`prepare` of `tools/training/training_run.py`):
its engine, step, optimiser, loss, averaging and loader, so that what is measured here cannot drift from what is
trained. Only the plain step is undone by hand to what people write first: contiguous maps (NCHW), all kept until their
gradient, and torch's plain Adam.

A process for each setting, because Accelerate keeps one precision a process, and because the peak of the resident
memory can only be told of a whole process.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch

from datasets.loader import Batch, make_training_loader
from models.recompute import all_kept
from tools.setting_flags import parse_settings
from tools.training.run_state import Run
from tools.training.training_run import prepare

MIB = 2**20
BATCHES_AT_HAND = 4
PREFETCHED = 2  # batches of each process, torch's default
LOOKS_A_SECOND = 10  # of nvidia-smi, each of which tells of up to a second before it


@dataclass(frozen=True)
class Setting:
    """What a trial trains with. `tf32`: whether a GPU may round fp32 to it, None for torch's own choice; `layout`: the
    order of the maps in memory, None for that of training."""

    name: str
    recipe: str
    precision: str
    is_plain: bool = False
    tf32: bool | None = None
    layout: torch.memory_format | None = None
    compile: bool = False


@dataclass(frozen=True)
class Job:
    """What all trials have in common; the drawn pictures lie in `folder`, where the trials write as well."""

    backbone: str
    size: int
    batch_size: int
    rounds: int
    num_workers: int
    device: str
    folder: Path

    def steps_a_turn(self, is_cuda: bool) -> int:
        """Timed steps in a row. A GPU is quick, and needs some steps to come to speed."""
        return 10 if is_cuda else 1


class Outcome(NamedTuple):
    """Milliseconds that one process needs to load a batch; share of the time in which the step waited for the loader
    and images a second, both at work together; MiB of memory at the start and at most; share of the time in which the
    GPU was busy, where it can be told."""

    data_ms: float
    wait_share: float
    images_s: float
    start_mib: float
    peak_mib: float
    utilisation: float | None


class Trial:
    """A run of the setting, ready for steps."""

    def __init__(self, setting: Setting, job: Job) -> None:
        self.job = job
        self._start = peak_memory(torch.device("cpu"))  # of what was imported
        self.run = _make_run(setting, job)
        self.run.step.model.train()
        self._is_plain = setting.is_plain
        self._device = self.run.engine.device
        self._is_cuda = self._device.type == "cuda"
        # What does not average does without the copy of the weights, too.
        self._average = self.run.average if self.run.config.ema else None
        self.run.average = None
        if self._is_cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
            self._start = torch.cuda.memory_allocated(self._device)

    def take_turn(self) -> list[float]:
        """Milliseconds of the timed steps, on batches at hand."""
        times = [self._timed_step() for _ in range(self.job.steps_a_turn(self._is_cuda) + self._is_cuda)]
        if self._is_cuda:
            torch.cuda.empty_cache()  # the others need it; the next turn's first step, which is left out, takes it back
        return times[self._is_cuda :]

    def finish(self) -> Outcome:
        """The other numbers, after the last turn."""
        peak = peak_memory(self._device)  # before the loader's processes
        wait_share, images_s, utilisation = self._train()
        return Outcome(self._data_ms, wait_share, images_s, self._start / MIB, peak / MIB, utilisation)

    def close(self) -> None:
        """Leave the run."""
        self.run.close()
        self.run.engine.close()

    def _timed_step(self) -> float:
        batch = next(self._batches)
        self._finish_steps()
        started = time.perf_counter()
        self._step(batch)
        self._finish_steps()
        return (time.perf_counter() - started) * 1000

    def _step(self, batch: Batch) -> None:
        """As `tools.train` takes one."""
        with all_kept() if self._is_plain else contextlib.nullcontext():
            self.run.step(batch.images, batch.targets)
        if self._average is not None:
            self._average.update(self.run.network)

    def _finish_steps(self) -> None:
        """Wait for what a GPU has still to do, which training does not."""
        if self._is_cuda:
            torch.cuda.synchronize(self._device)

    def load(self) -> None:
        """Load the batches for the timed steps; before these, and while no other trial is at work."""
        self._data_ms, batches = self._load()
        self._batches = cycle(batches)

    def _load(self) -> tuple[float, list[Batch]]:
        """Least milliseconds of a batch without other processes, and the first batches."""
        loader = make_training_loader(self.run.loader.dataset, self.job.batch_size, 0, self._is_cuda)
        batches, times = iter(loader), []
        kept: list[Batch] = []
        for _ in range(min(max(2, self.job.rounds), len(loader))):
            started = time.perf_counter()
            batch = next(batches)
            times.append((time.perf_counter() - started) * 1000)
            kept = [*kept, batch][:BATCHES_AT_HAND]
        return min(times), kept

    def _train(self) -> tuple[float, float, float | None]:
        """Steps with the loader at work: share of the time waited for it, images a second, share of the time in which
        the GPU was busy."""
        batches = iter(self.run.loader)
        for batch in islice(batches, run_in(self.job)):  # while the processes start and fill their queue
            self._step(batch)
        self._finish_steps()
        with watch_gpu(self._device) as busy:
            began, waited, num_images = time.perf_counter(), 0.0, 0
            for _ in range(counted_steps(self.job, self._is_cuda)):
                asked = time.perf_counter()
                batch = next(batches)
                waited += time.perf_counter() - asked
                self._step(batch)
                num_images += len(batch.rows)
            self._finish_steps()
            seconds = time.perf_counter() - began
        return waited / seconds, num_images / seconds, sum(busy) / len(busy) if busy else None


def serve(connection: Connection, setting: Setting, job: Job) -> None:
    """Measure on demand: methods of a `Trial` by name, answered with what they return, until None; or an Exception."""
    multiprocessing.set_start_method(None, force=True)  # the loader's processes start as in training, not as this one
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the asking process's, whose end closes the connection
    with connection, contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(EOFError, BrokenPipeError):
        try:
            trial = Trial(setting, job)
            connection.send(None)
            for name in iter(connection.recv, None):
                connection.send(getattr(trial, name)())
            trial.close()
        except (EOFError, BrokenPipeError):
            raise
        except (ValueError, OSError) as error:
            connection.send(error)
        except Exception as error:  # of any library: not all of them can be sent
            connection.send(RuntimeError(f"{type(error).__name__}: {error}"))


def run_in(job: Job) -> int:
    """Steps with the loader that are not counted: until each process has filled its part of the queue, 2 batches, and
    these were taken."""
    return max(1, 3 * job.num_workers)


def counted_steps(job: Job, is_cuda: bool) -> int:
    """Steps with the loader that are counted; on a GPU enough for each process to load ten batches."""
    return max(job.rounds * job.steps_a_turn(is_cuda), 10 * job.num_workers * is_cuda)


def loaded_batches(job: Job, is_cuda: bool) -> int:
    """Batches that the pictures must suffice for: behind the last step the queue is still full, for the processes to be
    at work until then."""
    return run_in(job) + counted_steps(job, is_cuda) + PREFETCHED * job.num_workers


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that torch's tensors had on a GPU, elsewhere the most that this process had resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: getrusage would count what the parent had when it started this process
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextlib.contextmanager
def watch_gpu(device: torch.device) -> Iterator[list[float]]:
    """A list that holds, after the block, how busy the GPU was, 0 to 1 at each look of nvidia-smi from a second after
    the start on; empty without it, and after less time."""
    found: list[float] = []
    program = shutil.which("nvidia-smi")
    if device.type != "cuda" or program is None:
        yield found
        return
    gpu = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    flags = [
        "-i",
        gpu,
        "--query-gpu=utilization.gpu",
        "--format=csv,noheader,nounits",
        "-lms",
        f"{1000 // LOOKS_A_SECOND}",
    ]
    with subprocess.Popen([program, *flags], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as watcher:
        try:
            yield found
        finally:
            watcher.terminate()
            said, _ = watcher.communicate()
    found += [int(line) / 100 for line in said.split() if line.isdecimal()][LOOKS_A_SECOND:]


def _make_run(setting: Setting, job: Job) -> Run:
    if setting.tf32 is not None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = setting.tf32
    flags = {
        "recipe": setting.recipe,
        "precision": setting.precision,
        "data_dir": job.folder / "data",
        "out": job.folder / setting.name,
        "backbone": job.backbone,
        "pretrained": "none",
        "input_h": job.size,
        "input_w": job.size,
        "batch_size": job.batch_size,
        "num_workers": job.num_workers,
        "device": job.device,
        "init_lr": 1e-5,  # so that weights from nowhere stay finite; the time does not depend on it
        "tensorboard": "off",
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    run = prepare(parse_settings([*words, *(["--compile"] if setting.compile else [])]))
    if setting.layout is not None:
        run.engine.layout = setting.layout
        run.network.to(memory_format=setting.layout)
    if setting.is_plain:  # an optimiser that works parameter by parameter, as torch makes it
        optimizer = torch.optim.Adam(run.network.parameters(), lr=run.config.init_lr)
        run.step.optimizer = run.engine.accelerator.prepare(optimizer)
    return run
