"""A training run, put together from its settings or from its last checkpoint."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader

from datasets.loader import make_training_loader
from datasets.picture_files.image_sizes import picture_size, usual_size
from datasets.picture_files.images import ImageError
from datasets.readers import Sample
from datasets.splits import Split
from DOTA_devkit.atomic import write_lines, write_text
from DOTA_devkit.task_files import class_name_fault
from models import CTRBOX
from models.shared_norms import share_norms
from tools.architecture import READING_FLAGS, Architecture
from tools.checkpoint import restoring
from tools.config import Config, settings_toml, with_settings
from tools.data import (
    DataFolder,
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
from tools.run_folder import SETTINGS, Log, new_run_dir
from tools.run_lists import TILED, check_lists, keep_lists, pictures_of_tiles, warn_of_known_pictures
from tools.running.command_line import SettingsError
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
from tools.training.stopped_run import changes_since
from tools.training.training_step import TrainingStep
from tools.training.weights import RANDOM


def prepare(
    config: Config,
    stopped: Stopped | None = None,
    lock: Callable[[Path], object] = lambda run_dir: None,
) -> Run:
    """A new run, whose folder gets its `lock` before anything is written to it, or one that was stopped."""
    if config.resume is None and stopped is None:
        check_backbone(config.backbone)
    engine = Engine(config.device, config.precision)
    lists = _read_data(config, engine)
    if stopped is None and config.resume is not None:  # of the run that the weights are from
        start = config.resume if config.resume.is_dir() else config.resume.parent
        warn_of_known_pictures(lists.val_split, start, lists.data.data_dir)
    torch.manual_seed(config.seed)
    network, architecture, weights_line = _network(config, engine, lists, stopped)
    config = _settings_of(config, architecture)
    network, config = _made_ready(network, config, engine, architecture, lists)
    loader = _loader(config, engine, architecture, lists.train_samples)
    if stopped is None:
        run_dir = engine.from_main(lambda: new_run_dir(config, lists.data.data_dir.resolve().name))
        lock(run_dir)
    else:
        run_dir = stopped.path.parent
        refuse_data_folder(run_dir, lists.data.data_dir)
        check_lists(run_dir, train=lists.train_split.names, val=lists.val_split.names)
    run = _assemble(config, engine, run_dir, architecture, network, loader, lists.val_samples, stopped)
    if engine.is_main and not run.is_over:  # the settings of such a run are those that it was trained by
        _keep_settings(run, lists)
    run.log(f"run folder: {run_dir}")
    describe(run, lists.train_samples)
    run.log(weights_line)
    if stopped is not None and (changes := changes_since(config, stopped)):
        run.log(f"changed since: {changes}")
    run.log(f"training pictures: {lists.train_split.source}; validation pictures: {lists.val_split.source}")
    return run


class _Lists(NamedTuple):
    """What is trained on and validated on."""

    data: DataFolder
    class_names: tuple[str, ...]
    train_split: Split
    train_samples: list[Sample]
    val_split: Split
    val_samples: list[Sample]


def _read_data(config: Config, engine: Engine) -> _Lists:
    with engine.main_first():  # it may draw the demo set
        data = open_data(config)
    class_names = data_classes(config, data)
    if fault := next(filter(None, map(class_name_fault, class_names)), None):
        raise ValueError(f"{data.data_dir}: {fault}")
    train, val = (read_split(config, data, role, class_names) for role in ("train", "val"))
    warn_of_shared_pictures(train[0], val[0], index_in(data.data_dir, [*train[0].names, *val[0].names]))
    return _Lists(data, class_names, *train, *val)


def _network(
    config: Config, engine: Engine, lists: _Lists, stopped: Stopped | None
) -> tuple[CTRBOX, Architecture, str]:
    """The network of the run, or a new one; what it is, and a line that says where its weights come from."""
    with engine.main_first():  # it may fetch weights
        if stopped is not None:
            return network_of_run(stopped, lists.class_names)
        input_hw, reading = default_input_hw(config, lists.data), reading_of(config, lists.data)
        network, architecture, weights_line = starting_network(config, lists.class_names, input_hw, reading)
    if config.freeze and weights_line.startswith(RANDOM):
        warn(
            f"--freeze {config.freeze}: {weights_line}, of which what is frozen learns nothing; give weights "
            "(--pretrained FILE, --resume FILE), or leave --freeze out"
        )
    usual_hw = usual_size([sample.image_path for sample in lists.train_samples])
    return network, replace(architecture, picture_hw=usual_hw), weights_line


def _settings_of(config: Config, architecture: Architecture) -> Config:
    """The settings with the network that is trained, which --resume may have brought; the run folder keeps them."""
    names = ("neck", "head_width", "head_norm", *READING_FLAGS)
    facts = {name: getattr(architecture, name) for name in names}
    facts["neck_width"] = architecture.neck_width if architecture.neck == "fpn" else None
    if not same_backbone(config.backbone, architecture.backbone):  # a file of one's own may have moved
        facts["backbone"] = architecture.backbone
    return with_settings(config, **facts)


def _made_ready(
    network: CTRBOX, config: Config, engine: Engine, architecture: Architecture, lists: _Lists
) -> tuple[CTRBOX, Config]:
    """The network with its frozen parts and shared norms, and the settings with a batch size that fits it."""
    if config.sync_norm and engine.num_ranks > 1 and engine.device.type != "cuda":
        raise SettingsError(f"--sync_norm is for GPUs, and this runs on {engine.device}; leave it out")
    network.freeze(config.freeze, config.freeze_norm)
    config = _settle_batch_size(config, engine, network, architecture, len(lists.train_samples))
    if config.sync_norm and engine.num_ranks > 1:  # only now: each process tries its batch sizes by itself
        network = share_norms(network)
        network.freeze(config.freeze, config.freeze_norm)  # the norms that stand there now
    return network, config


def _keep_settings(run: Run, lists: _Lists) -> None:
    """Write to the run's folder what it is trained by and on."""
    train, val = lists.train_split.names, lists.val_split.names
    write_text(run.run_dir / SETTINGS, settings_toml(run.config))
    write_lines(run.run_dir / "classes.txt", lists.class_names)
    keep_lists(run.run_dir, train=train, val=val)
    if tiled := pictures_of_tiles(lists.data.data_dir, train):
        keep_lists(run.run_dir, **{TILED: tiled})


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
    network = network.to(engine.device, memory_format=engine.layout)
    average, optimizer = WeightAverage(network, config.ema), make_optimizer(network, config)
    progress, meter = Progress(), Meter()
    if stopped is not None:
        progress, meter = _restored(stopped, engine, optimizer, average, config)
    if config.compile:
        network.features = torch.compile(network.features)
    model, optimizer = engine.prepare(network, optimizer)
    scaler = engine.accelerator.scaler
    if stopped is not None and scaler is not None and stopped.state.get("scaler_state_dict"):
        with restoring(stopped.path, "state of the loss scale"):
            scaler.load_state_dict(stopped.state["scaler_state_dict"])
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
    run.history = History(run_dir, progress.epoch, config.tensorboard, config.best_by) if engine.is_main else None
    return run


def _restored(
    stopped: Stopped, engine: Engine, optimizer: torch.optim.Optimizer, average: WeightAverage, config: Config
) -> tuple[Progress, Meter]:
    """How far the run had come; optimiser, averaged weights and random numbers become what they were then."""
    path, state = stopped
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
    return progress, meter
