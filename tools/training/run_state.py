"""What a training run holds and where it stands, and how it is saved."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader

from datasets.loader import Batch
from datasets.readers import Sample
from models import CTRBOX
from tools.architecture import Architecture
from tools.checkpoint import save_checkpoint
from tools.config import Config, settings_dict
from tools.engine import Engine
from tools.run_folder import Log
from tools.running.stop_request import StopRequest
from tools.training.averaging import WeightAverage
from tools.training.history import History
from tools.training.schedule import Schedule
from tools.training.training_step import TrainingStep


class Stopped(NamedTuple):
    """A run that is to go on: its checkpoint, and what is in it."""

    path: Path
    state: dict[str, Any]


@dataclass
class Progress:
    """Where a run stands: epochs done, batches done of the current one (all of them while it is validated), best score
    of a validation (--best_by), validations since then, steps that were skipped, pictures trained on; and where the
    last epoch done is a part, because --num_images ended in it, how many batches that had."""

    epoch: int = 0
    step: int = 0
    best_map: float = -1.0
    best_second: float = -1.0  # of that checkpoint, the score that decides between equal ones
    since_best: int = 0
    skipped: int = 0
    num_images: int = 0
    cut_after: int = 0


@dataclass
class Meter:
    """Sums of an epoch over all its parts, if it was stopped in between: pictures, seconds in all and seconds that the
    step waited for data, loss terms times pictures."""

    num_images: int = 0
    waited: float = 0.0
    spent: float = 0.0  # seconds up to where `timed` last began or ended
    sums: dict[str, float] = field(default_factory=dict)
    _began: float | None = None

    def add(self, terms: Mapping[str, float], num_images: int) -> None:
        """Take in a step on so many pictures."""
        self.num_images += num_images
        self.sums = {name: self.sums.get(name, 0.0) + value * num_images for name, value in terms.items()}

    def timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches; the clock runs from the first to the last step."""
        self._began = time.perf_counter()
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - asked
            if batch is None:
                break
            yield batch
        self.spent, self._began = self.seconds, None

    @property
    def seconds(self) -> float:
        """Of the batches so far, with the waiting for them; above 0."""
        running = 0.0 if self._began is None else time.perf_counter() - self._began
        return max(self.spent + running, 1e-9)

    @property
    def speed(self) -> float:
        """Pictures a second."""
        return self.num_images / self.seconds

    @property
    def wait_share(self) -> float:
        """The part of that time, 0 to 1, in which there was no batch to train on."""
        return self.waited / self.seconds

    @property
    def means(self) -> dict[str, float]:
        """The loss terms."""
        return {name: value / max(1, self.num_images) for name, value in self.sums.items()}

    def state(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {"num_images": self.num_images, "waited": self.waited, "spent": self.seconds, "sums": dict(self.sums)}


@dataclass
class BadSteps:
    """Steps in a row that were not finite, over the end of an epoch, too, and the names of their pictures."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, names: Sequence[str]) -> None:
        """One more, on these pictures."""
        self.count += 1
        self.names = list(dict.fromkeys([*self.names, *names]))


@dataclass
class Run:
    """Everything that a training run holds; `network` is the bare one that is trained, `average` the validated one."""

    config: Config
    schedule: Schedule
    engine: Engine
    run_dir: Path
    log: Log
    architecture: Architecture
    network: CTRBOX
    average: WeightAverage
    step: TrainingStep
    loader: DataLoader
    val_samples: Sequence[Sample]
    progress: Progress
    history: History | None = None
    meter: Meter = field(default_factory=Meter)
    stop: StopRequest = field(default_factory=StopRequest)
    bad_steps: BadSteps = field(default_factory=BadSteps)
    in_step: bool = False  # weights, optimiser and average may be of two steps
    saved_at: float = field(default_factory=time.monotonic)
    last_terms: dict[str, float] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether no epoch is left."""
        return self.progress.epoch >= self.schedule.num_epochs

    @property
    def is_stale(self) -> bool:
        """Whether --patience is at its end."""
        return 0 < self.config.patience <= self.progress.since_best

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to train."""
        return self.is_done or self.is_stale

    def end_epoch(self) -> None:
        """Note that the current epoch is done, validated and all."""
        progress = self.progress
        is_part = self.schedule.images_in(progress.epoch) < self.schedule.num_samples
        progress.cut_after = progress.step if is_part else 0
        progress.epoch, progress.step = progress.epoch + 1, 0
        if not is_part:
            self.meter = Meter()

    def reopen_epoch(self) -> None:
        """Go on with the last epoch done, where --num_images had cut it and is to end later now."""
        progress = self.progress
        if not progress.cut_after:
            return
        if progress.cut_after < self.schedule.steps_in(progress.epoch - 1):
            progress.epoch, progress.step = progress.epoch - 1, progress.cut_after
        else:
            self.meter = Meter()
        progress.cut_after = 0

    def close(self) -> None:
        """End the loader's processes and the files, let the shared model go; the run is over. Not left to the end of
        the program: a cycle of references may hold the run until then (a traceback that torch or an import keeps is
        enough)."""
        del self.loader, self.step
        if self.history is not None:
            self.history.close()

    def save(self, name: str, as_best: bool = False) -> None:
        """Write a checkpoint, on the main process: a whole run, or as the best the averaged weights alone."""
        if not self.engine.is_main:
            return
        self.saved_at = time.monotonic()
        progress = self.progress
        is_in_validation = progress.step > 0 and progress.step == self.schedule.steps_in(progress.epoch)
        state = {
            "epoch": progress.epoch + is_in_validation,
            "progress": vars(progress).copy(),
            "meter": self.meter.state(),
            "settings": settings_dict(self.config),
        }
        if as_best:
            self.average.catch_up(self.network)
            save_checkpoint(self.run_dir / name, self.average.module, self.architecture, **state)
            return
        scaler = self.engine.accelerator.scaler
        save_checkpoint(
            self.run_dir / name,
            self.network,
            self.architecture,
            **state,
            ema_state_dict=self.average.module.state_dict() if self.config.ema else None,
            ema_steps=self.average.num_steps,
            optimizer_state_dict=self.step.optimizer.state_dict(),
            scaler_state_dict=scaler.state_dict() if scaler is not None else None,
            torch_rng_state=torch.get_rng_state(),
            cuda_rng_state=torch.cuda.get_rng_state(self.engine.device) if self.engine.device.type == "cuda" else None,
        )
