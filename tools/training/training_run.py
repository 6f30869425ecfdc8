"""A training run, put together from its settings or from its last checkpoint."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from datasets.loader import make_training_loader
from datasets.picture_files.image_sizes import picture_size, usual_size
from datasets.picture_files.images import ImageError
from datasets.readers import Sample
from DOTA_devkit.atomic import write_lines, write_text
from models import CTRBOX
from models.shared_norms import share_norms
from tools.architecture import READING_FLAGS, Architecture, check_flags
from tools.checkpoint import CheckpointError, architecture_of, build, check_run_state, load_file, restoring, weights_of
from tools.config import Config, SettingsError, settings_from, settings_toml, with_settings
from tools.data import (
    data_classes,
    default_input_hw,
    make_training_set,
    open_data,
    read_split,
    reading_of,
    warn_of_shared_pictures,
)
from tools.engine import Engine
from tools.own_backbone import same_backbone
from tools.run_folder import LAST, SETTINGS, Log, new_run_dir, newest_run
from tools.run_lists import TILED, check_lists, keep_lists, pictures_of_tiles, warn_of_known_pictures
from tools.running.destinations import refuse_data_folder
from tools.running.messages import warn
from tools.running.progress import progress_bar
from tools.tile_folder import index_in
from tools.training.averaging import WeightAverage
from tools.training.batch_size import largest_batch
from tools.training.history import History
from tools.training.memory import free_memory
from tools.training.optimizer import make_criterion, make_optimizer, restore_optimizer
from tools.training.run_description import describe
from tools.training.run_state import Meter, Progress, Run, Stopped
from tools.training.schedule import Schedule
from tools.training.starting_network import check_backbone, network_of_run, starting_network
from tools.training.training_step import TrainingStep
from tools.training.weights import RANDOM

# Data may have moved: `check_lists` compares the names of the pictures.
UNCHANGEABLE = (
    *("classes", "seed", "batch_size", "accumulate", "dataset", "pretrained", "recipe", "optimizer", "best_by"),
)


def run_checkpoint(config: Config) -> Path:
    """The checkpoint that --resume_train names. Raises CheckpointError where there is none."""
    if config.resume_train != "newest":
        path = Path(config.resume_train)
    else:  # --out names the run as well
        path = config.out if config.out is not None and (config.out / LAST).is_file() else newest_run(LAST)
    path = path / LAST if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    return path


def find_run(config: Config, path: Path) -> tuple[Config, Stopped]:
    """The settings of the run with this checkpoint, with the flags given now on top, and the run."""
    content = load_file(path)
    architecture = architecture_of(content, weights_of(content, path), path)
    with torch.device("meta"):  # whether it can be built here, before any data are read
        build(architecture, path)
    check_run_state(content, path)
    last = path.parent / LAST
    if last.is_file() and not last.samefile(path):
        raise CheckpointError(
            f"{path}: a run goes on from its {LAST}, and the one beside this file would be lost; to go on from here "
            f"all the same, copy it as {LAST} into a folder of its own"
        )
    check_flags(config, architecture, path)
    kept = _settings_in(content)
    changed = {name: getattr(config, name) for name in config.explicit - {"resume_train", "phase"}}
    asks_epochs = changed.get("num_epoch", kept.num_epoch) != kept.num_epoch
    if asks_epochs and kept.num_images is not None and "num_images" not in changed:
        raise SettingsError(
            f"--num_epoch {changed['num_epoch']}: the run in {path.parent} counts pictures, not epochs; give "
            f"--num_images (it is {kept.num_images})"
        )
    for name in UNCHANGEABLE:
        if name in changed and changed[name] != getattr(kept, name):
            raise SettingsError(
                f"--{name} {changed[name]} differs from the run in {path.parent}; leave it out to go on"
            )
    if changed.setdefault("out", path.parent).resolve() != path.parent.resolve():
        raise SettingsError(f"--out {changed['out']} differs from the run in {path.parent}; leave it out to go on")
    return with_settings(kept, **changed, explicit=config.explicit), Stopped(path, content)


def _settings_in(content: Mapping[str, Any]) -> Config:
    """The settings of a run; of one from before there was a choice, with what was taught then."""
    return settings_from({"theta_rule": "tilt"} | content["settings"])


def _changes(config: Config, stopped: Stopped) -> str:
    """The settings of a run that other flags go on with, in words; "" for none."""
    before = _settings_in(stopped.state)
    pairs = {name: (getattr(before, name), getattr(config, name)) for name in sorted(config.explicit)}
    kept = ("resume_train", "out")  # no settings of what is learnt
    return ", ".join(f"{name} {old} -> {new}" for name, (old, new) in pairs.items() if old != new and name not in kept)


def _settings_of(config: Config, architecture: Architecture) -> Config:
    """The settings with the network that is trained, which --resume may have brought; the run folder keeps them."""
    names = ("neck", "head_width", "head_norm", *READING_FLAGS)
    facts = {name: getattr(architecture, name) for name in names}
    facts["neck_width"] = architecture.neck_width if architecture.neck == "fpn" else None
    if not same_backbone(config.backbone, architecture.backbone):  # a file of one's own may have moved
        facts["backbone"] = architecture.backbone
    return with_settings(config, **facts)


def prepare(
    config: Config,
    stopped: Stopped | None = None,
    lock: Callable[[Path], object] = lambda run_dir: None,
) -> Run:
    """A new run, whose folder gets its `lock` before anything is written to it, or one that was stopped."""
    if config.resume is None and stopped is None:
        check_backbone(config.backbone)
    engine = Engine(config.device, config.precision)
    with engine.main_first():  # it may draw the demo set
        data = open_data(config)
    class_names = data_classes(config, data)
    train_split, train_samples = read_split(config, data, "train", class_names)
    val_split, val_samples = read_split(config, data, "val", class_names)
    warn_of_shared_pictures(train_split, val_split, index_in(data.data_dir, [*train_split.names, *val_split.names]))
    if stopped is None and config.resume is not None:  # of the run that the weights are from
        start = config.resume if config.resume.is_dir() else config.resume.parent
        warn_of_known_pictures(val_split, start, data.data_dir)
    torch.manual_seed(config.seed)
    with engine.main_first():  # it may fetch weights
        if stopped is not None:
            network, architecture, weights_line = network_of_run(stopped, class_names)
        else:
            input_hw = default_input_hw(config, data)
            network, architecture, weights_line = starting_network(
                config, class_names, input_hw, reading_of(config, data)
            )
    if stopped is None:
        architecture = replace(architecture, picture_hw=usual_size([sample.image_path for sample in train_samples]))
    config = _settings_of(config, architecture)
    if config.sync_norm and engine.num_ranks > 1 and engine.device.type != "cuda":
        raise SettingsError(f"--sync_norm is for GPUs, and this runs on {engine.device}; leave it out")
    if config.freeze and weights_line.startswith(RANDOM):
        warn(
            f"--freeze {config.freeze}: {weights_line}, of which what is frozen learns nothing; give weights "
            "(--pretrained FILE, --resume FILE), or leave --freeze out"
        )
    network.freeze(config.freeze, config.freeze_norm)
    config = _settle_batch_size(config, engine, network, architecture, len(train_samples))
    if config.sync_norm and engine.num_ranks > 1:  # only now: each process tries its batch sizes by itself
        network = share_norms(network)
        network.freeze(config.freeze, config.freeze_norm)  # the norms that stand there now
    loader = _loader(config, engine, architecture, train_samples)
    if stopped is None:
        run_dir = engine.from_main(lambda: new_run_dir(config, data.data_dir.resolve().name))
        lock(run_dir)
    else:
        run_dir = stopped.path.parent
        refuse_data_folder(run_dir, data.data_dir)
        check_lists(run_dir, train=train_split.names, val=val_split.names)
    run = _assemble(config, engine, run_dir, architecture, network, loader, val_samples, stopped)
    if engine.is_main and not run.is_over:  # the settings of such a run are those that it was trained by
        write_text(run_dir / SETTINGS, settings_toml(config))
        write_lines(run_dir / "classes.txt", class_names)
        keep_lists(run_dir, train=train_split.names, val=val_split.names)
        if tiled := pictures_of_tiles(data.data_dir, train_split.names):
            keep_lists(run_dir, **{TILED: tiled})
    run.log(f"run folder: {run_dir}")
    describe(run, train_samples)
    run.log(weights_line)
    if stopped is not None and (changes := _changes(config, stopped)):
        run.log(f"changed since: {changes}")
    run.log(f"training pictures: {train_split.source}; validation pictures: {val_split.source}")
    return run


def _settle_batch_size(
    config: Config, engine: Engine, network: CTRBOX, architecture: Architecture, num_samples: int
) -> Config:
    """The settings with a batch size that is a number and can be shared out."""
    if config.batch_size == 0:
        config = with_settings(config, batch_size=largest_batch(config, engine, network, architecture, num_samples))
        warn(f"--batch_size auto: {config.batch_size}; --init_lr {config.init_lr} was found for batches of 2")
    if config.batch_size % engine.num_ranks:
        raise SettingsError(
            f"--batch_size {config.batch_size} is that of all {engine.num_ranks} processes together; give a multiple "
            f"of {engine.num_ranks}"
        )
    return config


def _loader(config: Config, engine: Engine, architecture: Architecture, samples: Sequence[Sample]) -> DataLoader:
    num_classes, fill = len(architecture.class_names), architecture.preprocessing.fill_bgr
    training_set = make_training_set(config, samples, num_classes, architecture.input_hw, fill, architecture.reading)
    if config.cache:
        _check_memory(samples, architecture.in_channels, engine)
        training_set.decode_all(partial(progress_bar, unit="picture", desc="decoding (--cache)"))
    is_cuda = engine.device.type == "cuda"
    return make_training_loader(
        training_set, config.batch_size, config.num_workers, is_cuda, engine.rank, engine.num_ranks
    )


def _check_memory(samples: Sequence[Sample], num_channels: int, engine: Engine) -> None:
    """Raises SettingsError when the decoded pictures would not fit into memory, before any of them is."""
    free, num_local = free_memory(), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    needed = sum(math.prod(_size_of(sample)) for sample in samples) * num_channels * num_local
    if engine.rank == 0 and free is not None and needed > free:
        copies = f" ({num_local} processes keep their own)" if num_local > 1 else ""
        raise SettingsError(
            f"--cache: the {len(samples)} decoded pictures take {needed / 2**20:,.0f} MiB{copies}, and "
            f"{free / 2**20:,.0f} MiB are free; leave it out"
        )


def _size_of(sample: Sample) -> tuple[int, int]:
    try:
        return picture_size(sample.image_path)
    except ImageError:  # told of when its turn comes
        return 0, 0


def _assemble(
    config: Config,
    engine: Engine,
    run_dir: Path,
    architecture: Architecture,
    network: CTRBOX,
    loader: DataLoader,
    val_samples: Sequence[Sample],
    stopped: Stopped | None,
) -> Run:
    """The run, with optimiser, average and progress as the checkpoint has them."""
    path, state = stopped or (None, None)
    network = network.to(engine.device, memory_format=engine.layout)
    average = WeightAverage(network, config.ema)
    optimizer, progress, meter = make_optimizer(network, config), Progress(), Meter()
    if state is not None:
        with restoring(path, "optimiser's state"):
            restore_optimizer(optimizer, state["optimizer_state_dict"])
        with restoring(path, "progress"):
            progress, meter = Progress(**state["progress"]), Meter(**state.get("meter", {}))
            if min(progress.epoch, progress.step, progress.num_images) < 0:
                raise ValueError(f"epoch {progress.epoch}, step {progress.step}, {progress.num_images} pictures")
            torch.set_rng_state(state["torch_rng_state"])
            if engine.device.type == "cuda" and state.get("cuda_rng_state") is not None:
                torch.cuda.set_rng_state(state["cuda_rng_state"], engine.device)
        if config.ema and state.get("ema_state_dict") is not None:
            with restoring(path, "averaged weights"):
                average.restore(state["ema_state_dict"], state["ema_steps"])
    if config.compile:
        network.features = torch.compile(network.features)
    model, optimizer = engine.prepare(network, optimizer)
    if state is not None and engine.accelerator.scaler is not None and state.get("scaler_state_dict"):
        with restoring(path, "state of the loss scale"):
            engine.accelerator.scaler.load_state_dict(state["scaler_state_dict"])
    step = TrainingStep(
        engine,
        model,
        optimizer,
        make_criterion(config),
        architecture.preprocessing,
        clip_norm=config.clip_norm,
        sparse=config.sparse_heads,
        num_parts=config.accumulate,
    )
    run = Run(
        config=config,
        schedule=Schedule(config, len(loader.dataset)),
        engine=engine,
        run_dir=run_dir,
        log=Log(run_dir),
        architecture=architecture,
        network=network,
        average=average,
        step=step,
        loader=loader,
        val_samples=val_samples,
        progress=progress,
        meter=meter,
    )
    run.reopen_epoch()
    run.history = History(run_dir, progress.epoch, config.tensorboard) if engine.is_main else None
    return run
