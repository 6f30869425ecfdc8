"""What is about to be trained, in words, and what looks wrong about it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from datasets.image_sizes import read_header
from datasets.images import ImageError
from datasets.readers import DOTA_CLASSES, Sample
from DOTA_devkit.tiling import INDEX_NAME
from tools.config import Config
from tools.messages import warn
from tools.outcomes import is_much_larger
from tools.run_state import Run

LOOKED_AT = 50  # pictures whose size is looked at


def is_batch_small_for_gpu(config: Config, device: torch.device) -> bool:
    """Whether the batch is the default one, which was chosen on CPUs, and this is a GPU."""
    return device.type == "cuda" and config.batch_size == Config.batch_size and "batch_size" not in config.explicit


def describe(run: Run, train_samples: Sequence[Sample]) -> None:
    """Log what is about to be trained."""
    config, engine = run.config, run.engine
    num_parameters = sum(parameter.numel() for parameter in run.network.parameters()) / 1e6
    height, width = run.architecture.input_hw
    precision = str(engine.dtype).removeprefix("torch.")
    ranks = f"{engine.num_ranks} processes, " if engine.num_ranks > 1 else ""
    run.log(
        f"{run.architecture.title}, {num_parameters:.1f} M parameters, {ranks}on {engine.device}, {precision}; "
        f"input {height} x {width} (height x width)"
    )
    if run.architecture.value_range is not None:
        black, white = run.architecture.value_range
        run.log(f"pictures of more than 8 bits: {black:g} becomes black, {white:g} white")
    if run.architecture.bands is not None:
        run.log(f"of TIFF files the bands {' '.join(map(str, run.architecture.bands))} are read")
    num_objects = sum(int((~sample.ignored).sum()) for sample in train_samples)
    run.log(f"{len(train_samples)} pictures to train on, {num_objects} objects; {len(run.val_samples)} to validate on")
    others = "; objects of others are background (--classes)" if config.classes else ""
    run.log(f"classes: {', '.join(run.architecture.class_names)}{others}")
    run.log(f"recipe {config.recipe}: batch {config.batch_size}, {run.schedule.num_steps} steps, {config.optimizer}")
    is_new = not (run.progress.epoch or run.progress.step)
    if is_new and is_batch_small_for_gpu(config, engine.device):
        warn("a batch of 2 leaves a GPU waiting; --batch_size 8 --init_lr 6e-4 is faster (README.md, Results)")
    _warn_of_data(run, train_samples)
    if not num_objects:
        warn("no training picture holds an object; the network will learn to see nothing")
    if not is_new:
        run.log(f"going on after {run.progress.epoch} epochs and {run.progress.step} steps")


def _warn_of_data(run: Run, samples: Sequence[Sample]) -> None:
    """Warn of classes that nobody named and that no label has, and of pictures that are shrunk to the input."""
    names, used = tuple(run.architecture.class_names), np.unique(np.concatenate([sample.labels for sample in samples]))
    num_used = np.count_nonzero(used >= 0)
    if names in DOTA_CLASSES.values() and 0 < num_used < len(names):
        run.log(
            f"the labels name {num_used} of DOTA's {len(names)} classes, and the network has all of these; for fewer "
            "give --classes, or write classes.txt into the data folder, one name a line"
        )
    for sample in samples[:: -(-len(samples) // LOOKED_AT)]:
        with suppress(ImageError):  # told of when its turn comes
            header = read_header(sample.image_path)
            if is_much_larger((header.height, header.width), run.architecture.input_hw):
                remedy = "cut such pictures first: python -m tools.split_tiles"
                if (run.config.data_dir or Path()).joinpath(INDEX_NAME).is_file():
                    remedy = "give a larger --input_h and --input_w, or cut smaller tiles"
                warn(
                    f"{sample.image_path.name} is {header.width} x {header.height} and is shrunk to the input size, "
                    f"where small objects get lost; {remedy}"
                )
                return
