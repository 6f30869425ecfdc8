"""Where the work runs: one process or many (torchrun, accelerate launch), their device, precision and talk.

Hugging Face Accelerate carries device placement, mixed precision with its scaler and DistributedDataParallel.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    InitProcessGroupKwargs,
    broadcast_object_list,
    gather_object,
)
from torch import Tensor, nn

from tools.device import pick_device, pick_precision, training_layout

Item = TypeVar("Item")
_MIXED = {torch.float32: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}


class Engine:
    """One process's view of the job. `rank` 0 is the one that writes files and speaks.

    Attributes:
        device, dtype, layout: of the training steps; the layout is the maps' memory format. rank, num_ranks: this
            process and how many there are.
    """

    def __init__(self, device: str, precision: str = "fp32") -> None:
        if device == "auto" and os.environ.get("ACCELERATE_USE_CPU", "false").lower() in ("1", "true", "yes"):
            device = "cpu"  # accelerate launch --cpu
        local_rank = os.environ.get("LOCAL_RANK")  # of torchrun and accelerate launch, for a single process too
        num_local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        chosen = pick_device(device, None if local_rank is None else int(local_rank), num_local)
        self.dtype = pick_precision(precision, chosen)
        self.layout = training_layout(chosen, self.dtype)
        # Accelerate keeps one state a process and refuses another precision; a program may train twice.
        AcceleratorState._reset_state()
        if "LOCAL_RANK" not in os.environ:
            PartialState._reset_state()
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)  # the collectives of objects run on the current device
        self.accelerator = Accelerator(
            cpu=chosen.type == "cpu",
            mixed_precision=_MIXED[self.dtype],
            # While the main process scores a large set the others wait; ten minutes, NCCL's own limit, are not enough.
            kwargs_handlers=[
                InitProcessGroupKwargs(timeout=timedelta(hours=2)),
                # The main process's statistics are the ones that are saved and, before they are used, given to all.
                DistributedDataParallelKwargs(broadcast_buffers=False),
            ],
        )
        self.device = chosen
        self.rank, self.num_ranks = self.accelerator.process_index, self.accelerator.num_processes

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The model on the device, in the engine's layout, with autocast and shared gradients, and its optimiser."""
        with warnings.catch_warnings():
            # What torch would have instead of `broadcast_buffers`, Accelerate cannot hand on yet.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            return self.accelerator.prepare(model.to(memory_format=self.layout), optimizer)

    def seed(self, *numbers: int) -> None:
        """Let torch draw by these numbers and the rank from here on: every rank draws its own (of dropout, say), and a
        step that is taken again, after a stop, draws the same."""
        seed = np.random.SeedSequence([*numbers, self.rank]).generate_state(1, np.uint64)
        torch.manual_seed(int(seed[0]))

    def total(self, values: Tensor) -> Tensor:
        """The sum of the values over all ranks, on every rank."""
        return self.accelerator.reduce(values, "sum") if self.num_ranks > 1 else values

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This rank's share: every num_ranks-th item."""
        return list(items[self.rank :: self.num_ranks])

    def gathered(self, items: Iterator[Item], num_items: int) -> Iterator[Item]:
        """What all ranks find, on rank 0, in turns as it is found; the other ranks get nothing, but must iterate too.

        `items` are the outcomes of this rank's `share` of `num_items`.
        """
        if self.num_ranks == 1:
            yield from items
            return
        for _ in range(-(-num_items // self.num_ranks)):
            found: list[Any] = [item for item in (next(items, None),) if item is not None]
            everyone = gather_object(found)
            if self.is_main:
                yield from everyone

    def all_of(self, item: Item) -> list[Item]:
        """What every process has, in the order of their ranks, on every process."""
        return gather_object([item]) if self.num_ranks > 1 else [item]

    def from_main(self, make: Callable[[], Item]) -> Item:
        """What `make` returns on the main process, on every process."""
        made = [make() if self.is_main else None]
        return broadcast_object_list(made)[0] if self.num_ranks > 1 else made[0]

    def copy_from_main(self, network: nn.Module) -> None:
        """Give every process the main one's weights and batch norm statistics; the latter differ, for each process has
        seen its own pictures."""
        if self.num_ranks > 1:
            for values in network.state_dict().values():
                torch.distributed.broadcast(values, src=0)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """A part of the code that the main process goes through before the others."""
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()

    def wait(self) -> None:
        """Until every rank has come so far."""
        if self.num_ranks > 1:
            # Accelerate names a GPU here also for processes on the CPU, and there may be none.
            torch.distributed.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def close(self) -> None:
        """Leave the group of processes; a model that `prepare` has given must be out of use by now, everywhere.

        The shared model holds the group, too. If it were the last to do so, its end would wait for gloo's threads with
        Python's lock in hand, which these need to end (pytorch issue 56297); of two processes one hung now and then.
        """
        if self.num_ranks > 1 and torch.distributed.is_initialized():
            self.accelerator.free_memory()
            gc.collect()
            torch.distributed.destroy_process_group()
