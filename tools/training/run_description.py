"""What is about to be trained, in words, and what looks wrong about it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from datasets.class_lists import DOTA_CLASSES
from datasets.letterbox import letterbox_scale
from datasets.picture_files.image_sizes import read_header
from datasets.picture_files.images import ImageError
from datasets.picture_files.layouts import blue_first
from datasets.readers import Sample
from datasets.training_set import MIN_SIDE
from DOTA_devkit.boxes import rectangle_sides
from DOTA_devkit.tile_index import INDEX_NAME
from DOTA_devkit.value_ranges import ranges_in_words
from tools.config import Config
from tools.drawing import numbered_classes
from tools.outcomes import is_much_larger
from tools.running.messages import counted, first_of, warn
from tools.training.run_state import Run

LOOKED_AT = 50  # pictures whose size is looked at
DECODED = 3  # pictures of which all bands are looked at
SHOWN_PERCENTILES = (1, 99)  # of a band's levels, of 255: what lies between them is what it shows
FLAT, RICH = 4, 60  # levels that show next to nothing, and much
SHOWN_CLASSES = 20
FEW_OBJECTS = 50  # to validate on: one more or less changes AP50 by hundredths


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
        run.log(f"pictures of more than 8 bits: from black to white {ranges_in_words(run.architecture.value_range)}")
    if run.architecture.bands is not None:
        run.log(f"of TIFF files the bands {' '.join(map(str, run.architecture.bands))} are read")
    trained_on = (
        f"{counted(len(train_samples), 'picture')} to train on, {counted(_num_objects(train_samples), 'object')}"
    )
    num_to_score = _num_objects(run.val_samples)
    run.log(f"{trained_on}; {len(run.val_samples)} to validate on, {counted(num_to_score, 'object')}")
    if num_to_score < FEW_OBJECTS:
        run.log(
            "of so few objects which epoch scores best is mostly chance: validate on more, or on folds (--folds of "
            "tools.split_train_val)"
        )
    others = "; objects of others are background (--classes)" if config.classes else ""
    run.log(f"classes: {', '.join(run.architecture.class_names)}{others}")
    run.log(f"recipe {config.recipe}: batch {config.batch_size}, {run.schedule.num_steps} steps, {config.optimizer}")
    is_new = not (run.progress.epoch or run.progress.step)
    if is_new and is_batch_small_for_gpu(config, engine.device):
        warn("a batch of 2 leaves a GPU waiting; --batch_size 8 --init_lr 6e-4 is faster (README.md, Results)")
    if numbered := numbered_classes(run.architecture.class_names):  # in the pages of pictures
        run.log(numbered)
    _warn_of_classes(run, train_samples)
    _warn_of_large_pictures(run, train_samples)
    _warn_of_flat_bands(run, train_samples)
    if not is_new:
        run.log(f"going on after {run.progress.epoch} epochs and {run.progress.step} steps")


def _num_objects(samples: Sequence[Sample]) -> int:
    return sum(int((~sample.ignored).sum()) for sample in samples)


def _warn_of_classes(run: Run, samples: Sequence[Sample]) -> None:
    """Warn of classes of which nothing will be learnt: no picture has one, or all are too thin for the input."""
    names = tuple(run.architecture.class_names)
    objects = [sample.labels[~sample.ignored] for sample in samples]
    labels, owners = np.concatenate(objects), np.repeat(np.arange(len(samples)), [len(part) for part in objects])
    counts = np.bincount(labels, minlength=len(names))
    absent = [name for name, count in zip(names, counts.tolist(), strict=True) if not count]
    if len(absent) == len(names):
        warn("no training picture holds an object; the network will learn to see nothing")
    elif absent and names in DOTA_CLASSES.values():
        run.log(
            f"the labels name {len(names) - len(absent)} of DOTA's {len(names)} classes, and the network has all of "
            "these; for fewer give --classes, or write classes.txt into the data folder, one name a line"
        )
    elif absent:
        warn(f"no training picture holds an object of {first_of(absent, SHOWN_CLASSES)}; the network will not find any")
    thin = [
        name
        for label, name in enumerate(names)
        if counts[label] and _are_too_thin(run, label, [samples[row] for row in np.unique(owners[labels == label])])
    ]
    if thin:
        warn(
            f"objects of {first_of(thin, SHOWN_CLASSES)}, all that were looked at, are thinner than {MIN_SIDE:g} px of "
            f"the input and so are ignored in training; {_remedy(run)}"
        )


def _are_too_thin(run: Run, label: int, samples: Sequence[Sample]) -> bool:
    """Whether no object of a class can be learnt in any of these pictures of it, by the headers of some."""
    needed = MIN_SIDE / max(1.0, *run.config.augment_scale)
    are_known = False
    for sample in samples[:: -(-len(samples) // LOOKED_AT)]:
        with suppress(ImageError):  # told of when its turn comes
            header = read_header(sample.image_path)
            scale = letterbox_scale((header.height, header.width), run.architecture.input_hw)
            quads = sample.quads[(sample.labels == label) & ~sample.ignored].astype(np.float64)
            if (rectangle_sides(quads)[:, 0] * scale >= needed).any():
                return False
            are_known = True
    return are_known


def _warn_of_large_pictures(run: Run, samples: Sequence[Sample]) -> None:
    """Warn of the first picture that is shrunk much to the input, among some."""
    for sample in samples[:: -(-len(samples) // LOOKED_AT)]:
        with suppress(ImageError):  # told of when its turn comes
            header = read_header(sample.image_path)
            if is_much_larger((header.height, header.width), run.architecture.input_hw):
                warn(
                    f"{sample.image_path.name} is {header.width} x {header.height} and is shrunk to the input size, "
                    f"where small objects get lost; {_remedy(run)}"
                )
                return


def _warn_of_flat_bands(run: Run, samples: Sequence[Sample]) -> None:
    """Warn of chosen bands that show next to nothing beside the others, in any of a few pictures: spread like these
    from black to white, one of other units is black all over."""
    bands = run.architecture.bands
    if bands is None or len(bands) < 3 or not run.engine.is_main:
        return
    most = np.zeros(len(bands))
    for sample in samples[:DECODED]:
        with suppress(ImageError):  # told of when its turn comes
            pixels = run.architecture.read_picture(sample.image_path)
            low, high = np.percentile(pixels[::8, ::8].reshape(-1, len(bands)), SHOWN_PERCENTILES, axis=0)
            most = np.maximum(most, high - low)
    numbers = [str(band) for band, levels in zip(blue_first(bands), most, strict=True) if levels < FLAT]
    if numbers and most.max() >= RICH:
        which = f"band {numbers[0]} shows" if len(numbers) == 1 else f"bands {', '.join(numbers)} show"
        warn(
            f"{which} next to nothing where others show {most.max():.0f} levels: their values lie far apart; give each "
            "band a range of its own, --value_range with two values for each (of tiles, when they are cut)"
        )


def _remedy(run: Run) -> str:
    """What makes objects larger in the input."""
    if (run.config.data_dir or Path()).joinpath(INDEX_NAME).is_file():
        return "give a larger --input_h and --input_w, or cut smaller tiles"
    return "cut the pictures first (python -m tools.split_tiles), or give a larger --input_h and --input_w"
