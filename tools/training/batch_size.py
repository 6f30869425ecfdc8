"""The largest batch that fits on the GPU: --batch_size auto."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable

import torch

from datasets.loader import blank_batch
from datasets.targets import Targets
from models import CTRBOX, normalize
from tools.architecture import Architecture
from tools.config import Config
from tools.data import window_size
from tools.engine import Engine
from tools.running.command_line import SettingsError
from tools.training.optimizer import make_criterion, make_optimizer

RESERVE = 0.9  # of what just fits: pictures with many objects, and what else the GPU shows, need some room
MOST = 1024  # pictures a process
FEWEST_STEPS = 50  # an epoch: with the whole data set in a step little is learnt


def largest_batch(config: Config, engine: Engine, network: CTRBOX, architecture: Architecture, num_samples: int) -> int:
    """Pictures a step, over all processes, that fit on the GPU; an epoch keeps 50 steps where the data allow it.

    Raises SettingsError on the CPU, whose memory other programs need, and when not even one picture fits.
    """
    if engine.device.type != "cuda":
        raise SettingsError(f"--batch_size auto needs a GPU, not {engine.device}; give a number, such as 4")

    def fits(batch_size: int) -> bool:
        try:
            _try_step(config, engine, network, architecture, batch_size)
        except RuntimeError:  # out of memory, or beyond what the kernels can index
            if batch_size == 1 and not isinstance(sys.exc_info()[1], torch.cuda.OutOfMemoryError):
                raise
            return False
        finally:
            torch.cuda.empty_cache()
        return True

    most = min(MOST, max(1, num_samples // FEWEST_STEPS // engine.num_ranks))
    found = largest_that_fits(fits, most)
    least = min(engine.all_of(found))
    if not least:
        raise SettingsError("not even one picture fits on the GPU; lower --input_h and --input_w")
    return least * engine.num_ranks


def largest_that_fits(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` for which `fits` is true, less a reserve where it fails beyond; 0 for none.

    Doubles until it fails, then halves the gap; `fits` must not become true again.
    """
    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, high * 2
    high = min(high, most + 1)
    while high - low > max(1, low // 16):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low if low >= most else max(min(low, 1), int(low * RESERVE))


def _try_step(config: Config, engine: Engine, network: CTRBOX, architecture: Architecture, batch_size: int) -> None:
    """A whole training step on blank pictures, with a copy of the network; whole heads, which need as much memory as
    sparse ones do for pictures full of objects."""
    model = copy.deepcopy(network).to(engine.device, memory_format=engine.layout).train()
    optimizer = make_optimizer(model, config)
    criterion = make_criterion(config)
    part = -(-batch_size // config.accumulate)
    input_hw = window_size(config, architecture.input_hw) or architecture.input_hw
    blank = blank_batch(len(architecture.class_names), input_hw, architecture.in_channels)
    images = normalize(blank.images.to(engine.device).expand(part, -1, -1, -1), architecture.preprocessing)
    images = images.contiguous(memory_format=engine.layout)
    targets = Targets(*(field.to(engine.device).expand(part, *field.shape[1:]) for field in blank.targets))
    positives = criterion.positives(targets)
    with engine.accelerator.autocast():
        maps = model(images)
    criterion(maps, targets, positives)["total"].backward()
    optimizer.step()
