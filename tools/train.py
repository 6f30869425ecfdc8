"""Phase train: data -> network -> checkpoints, validated by polygon mAP."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from datasets.augment import Augmentation
from datasets.images import ImageError
from datasets.loader import Batch, TrainingSet, make_training_loader
from datasets.readers import Sample
from datasets.targets import Targets
from DOTA_devkit.atomic import write_text
from DOTA_devkit.evaluation import evaluate, format_table, metrics_dict
from models import CTRBOX, IMAGENET, BBAVectorsLoss, build_backbone, normalize
from tools.checkpoint import Architecture, CheckpointError, check_flags, load_checkpoint, load_weights, save_checkpoint
from tools.config import Config, SettingsError, settings_dict, settings_from, settings_toml, with_settings
from tools.data import data_classes, default_input_hw, keep_lists, open_data, read_split, report_problems, truths_of
from tools.detect import DetectionSettings, detect
from tools.device import pick_device, pick_precision
from tools.optimizer import learning_rate, make_optimizer, train_step
from tools.progress import progress_bar
from tools.run_folder import BEST, LAST, SETTINGS, Log, new_run_dir, newest_run, warn
from tools.stop_request import StopRequest
from tools.weights import find_backbone_weights

MAX_BAD_STEPS = 20  # in a row


@dataclass
class Progress:
    """Where a run stands: epochs done, batches done of the current one (all of them while it is validated), best mAP50,
    steps that were skipped."""

    epoch: int = 0
    step: int = 0
    best_map: float = -1.0
    skipped: int = 0


@dataclass
class Run:
    """Everything that a training run holds."""

    config: Config
    run_dir: Path
    log: Log
    architecture: Architecture
    model: CTRBOX
    optimizer: torch.optim.Optimizer
    loader: DataLoader
    val_samples: Sequence[Sample]
    device: torch.device
    dtype: torch.dtype
    progress: Progress
    criterion: BBAVectorsLoss = field(default_factory=BBAVectorsLoss)
    stop: StopRequest = field(default_factory=StopRequest)
    bad_steps: int = 0  # in a row, over the end of an epoch too

    @property
    def batches_per_epoch(self) -> int:
        return math.ceil(len(self.loader.dataset) / self.config.batch_size)


def run(config: Config) -> int:
    """Train by the settings; returns the exit code."""
    state = None
    if config.data_dir is not None:  # test and eval find the data from any folder
        config = with_settings(config, data_dir=config.data_dir.resolve())
    if config.resume_train is not None:
        config, run_dir, state = _continued(config)
    training = _prepare(config, state, run_dir if state is not None else None)
    try:
        with StopRequest() as training.stop:
            while training.progress.epoch < config.num_epoch:
                _train_epoch(training)
    except ImageError:
        _save(training, LAST)  # what was learnt before a bad picture came up is not lost
        raise
    except KeyboardInterrupt:
        if not training.stop.at_once:  # else weights and optimiser may be of two steps; the last whole save stays
            _save(training, LAST)
        training.log(f"interrupted in epoch {training.progress.epoch + 1}")
        training.log(f"go on with: python main.py --phase train --resume_train {training.run_dir}")
        return training.stop.exit_code
    best = training.progress.best_map
    training.log(f"done: {training.run_dir / BEST}" + (f", mAP50 {best:.4f} in validation" if best >= 0 else ""))
    return 0


def _continued(config: Config) -> tuple[Config, Path, dict]:
    """The settings of the run to go on with (flags given now come on top), its folder and its last checkpoint."""
    named = config.resume_train
    path = newest_run(LAST) if named == "newest" else Path(named)
    path = path / LAST if path.is_dir() else path
    _, architecture, content = load_checkpoint(path)
    if "optimizer_state_dict" not in content or "settings" not in content or "progress" not in content:
        raise CheckpointError(f"{path}: holds weights but no training run to go on with; start from it with --resume")
    check_flags(config, architecture, path)
    changed = {name: getattr(config, name) for name in config.explicit - {"resume_train", "phase"}}
    for name in ("seed", "batch_size", "data_dir", "dataset"):
        if name in changed and changed[name] != getattr(settings_from(content["settings"]), name):
            raise SettingsError(
                f"--{name} {changed[name]} differs from the run in {path.parent}; leave it out to go on"
            )
    if changed.setdefault("out", path.parent).resolve() != path.parent.resolve():
        raise SettingsError(f"--out {changed['out']} differs from the run in {path.parent}; leave it out to go on")
    return with_settings(settings_from(content["settings"]), **changed), path.parent, content


def _prepare(config: Config, state: dict | None, run_dir: Path | None) -> Run:
    device = pick_device(config.device)
    dtype = pick_precision(config.precision, device)
    data = open_data(config)
    class_names = data_classes(config, data)
    train_split, train_samples = read_split(config, data, "train", class_names)
    val_split, val_samples = read_split(config, data, "val", class_names)
    torch.manual_seed(config.seed)
    model, architecture, weights_line = _starting_point(config, state, class_names, default_input_hw(config, data))
    model = model.to(device, memory_format=torch.channels_last)
    optimizer, progress = make_optimizer(model, config.init_lr), Progress()
    if state is not None:
        optimizer.load_state_dict(state["optimizer_state_dict"])
        progress = Progress(**state["progress"])
        torch.set_rng_state(state["torch_rng_state"])
    training_set = TrainingSet(
        train_samples,
        len(class_names),
        architecture.input_hw,
        architecture.preprocessing.fill_bgr,
        Augmentation(),
        config.min_visible,
        config.seed,
    )
    loader = make_training_loader(training_set, config.batch_size, config.num_workers, device.type == "cuda")
    run_dir = run_dir or new_run_dir(config, data.data_dir.resolve().name)
    write_text(run_dir / SETTINGS, settings_toml(config))
    write_text(run_dir / "classes.txt", "".join(f"{name}\n" for name in class_names))
    keep_lists(run_dir, train=train_split.names, val=val_split.names)
    run = Run(
        config, run_dir, Log(run_dir), architecture, model, optimizer, loader, val_samples, device, dtype, progress
    )  # fmt: skip
    run.log(f"run folder: {run_dir}")
    _describe(run, train_samples)
    run.log(weights_line)
    run.log(f"training pictures: {train_split.source}; validation pictures: {val_split.source}")
    return run


def _describe(run: Run, train_samples: Sequence[Sample]) -> None:
    """Log what is about to be trained."""
    size = sum(parameter.numel() for parameter in run.model.parameters()) / 1e6
    height, width = run.architecture.input_hw
    precision = str(run.dtype).removeprefix("torch.")
    run.log(
        f"{run.architecture.backbone}, {size:.1f} M parameters, on {run.device}, {precision}; "
        f"input {height} x {width} (height x width)"
    )
    num_objects = sum(int((~sample.ignored).sum()) for sample in train_samples)
    run.log(f"{len(train_samples)} pictures to train on, {num_objects} objects; {len(run.val_samples)} to validate on")
    run.log(f"classes: {', '.join(run.architecture.class_names)}")
    if not num_objects:
        warn("no training picture holds an object; the network will learn to see nothing")
    if run.progress.epoch or run.progress.step:
        run.log(f"going on after {run.progress.epoch} epochs and {run.progress.step} steps")


def _starting_point(
    config: Config, state: dict | None, class_names: tuple[str, ...], input_hw: tuple[int, int]
) -> tuple[CTRBOX, Architecture, str]:
    """The network, what it is, and a line that says where its weights come from: the run that goes on, --resume, or
    --pretrained."""
    if state is not None:
        architecture = Architecture.from_dict(state["architecture"])
        if architecture.class_names != class_names:
            raise CheckpointError(
                f"the classes of the data have changed from {', '.join(architecture.class_names)} to "
                f"{', '.join(class_names)}; the run cannot go on, but --resume FILE can start from its weights"
            )
        model = architecture.build()
        load_weights(model, state["model_state_dict"], Path(LAST), architecture.backbone)
        return model, architecture, "weights: of the run"
    if config.resume is not None:
        model, found, _ = load_checkpoint(config.resume, config.backbone)
        check_flags(config, found, config.resume, ("backbone", "head_norm"))
        line = f"weights: of {config.resume}"
        if found.class_names != class_names:
            # The last layer of `hm` has a channel a class; all else is the same for any classes.
            fresh = CTRBOX(len(class_names), found.backbone, found.head_norm)
            model.hm = nn.Sequential(*model.hm[:-1], fresh.hm[-1])
            line += ", but the last layer of hm, for the classes differ"
        return model, replace(found, class_names=class_names, input_hw=input_hw), line
    weights, line = find_backbone_weights(config.pretrained, config.backbone)
    model = CTRBOX(len(class_names), build_backbone(config.backbone, weights), config.head_norm)
    return model, Architecture(config.backbone, config.head_norm, class_names, input_hw, IMAGENET), line


def _train_epoch(run: Run) -> None:
    """One epoch (or the rest of one), its checkpoint and, when due, its validation."""
    config, progress = run.config, run.progress
    started, num_images, sums, rate = time.perf_counter(), 0, {}, 0.0
    run.model.train()
    run.loader.sampler.epoch = progress.epoch
    run.loader.sampler.start = progress.step * config.batch_size
    num_steps = config.num_epoch * run.batches_per_epoch
    bar = progress_bar(
        run.loader,
        desc=f"epoch {progress.epoch + 1}/{config.num_epoch}",
        initial=progress.step,
        total=run.batches_per_epoch,
        unit="step",
    )
    for batch in bar:
        _refuse_bad_pictures(config, batch)
        rate = learning_rate(config, progress.epoch * run.batches_per_epoch + progress.step, num_steps)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        if len(batch.rows):
            images, targets = _to_device(batch, run)
            terms, taken = train_step(run.model, run.criterion, run.optimizer, images, targets, run.dtype)
            if not taken:
                _report_bad_step(run, batch)
            else:
                run.bad_steps = 0
                sums = {name: sums.get(name, 0.0) + value * len(batch.rows) for name, value in terms.items()}
                num_images += len(batch.rows)
            speed = num_images / (time.perf_counter() - started)
            shown = {name: f"{value:.3f}" for name, value in terms.items()}
            bar.set_postfix(shown, refresh=False, lr=f"{rate:.1e}", images_s=f"{speed:.1f}")
        progress.step += 1
        run.stop.check()
    seconds = time.perf_counter() - started
    epoch = progress.epoch + 1
    means = ", ".join(f"{name} {value / max(1, num_images):.3f}" for name, value in sums.items())
    line = f"epoch {epoch}/{config.num_epoch}: {means}; lr {rate:.1e}, {num_images / seconds:.1f} images/s"
    if epoch % config.val_every == 0 or epoch == config.num_epoch:
        line += f"; {_validate(run)}"
    run.log(line + (f"; {progress.skipped} steps skipped" if progress.skipped else ""))
    # Only now: a run that is stopped during its validation validates when it goes on.
    progress.epoch, progress.step = epoch, 0
    _save(run, LAST)


def _validate(run: Run) -> str:
    """Score on the validation pictures, keep the checkpoint if it is the best so far; returns what to log."""
    samples = run.val_samples
    settings = DetectionSettings(run.config.K, run.config.conf_thresh, run.config.nms_thresh)
    found = detect(
        run.model,
        run.architecture,
        [sample.image_path for sample in samples],
        settings,
        device=run.device,
        batch_size=run.config.batch_size,
        num_workers=run.config.num_workers,
    )
    detections, problems = {}, []
    for item in found:
        if item.problem and run.config.on_bad_label == "error":
            raise ImageError(f"{item.problem} (--on_bad_label skip leaves such pictures out)")
        problems += [item.problem] if item.problem else []
        detections[samples[item.row].name] = item.detections
        run.stop.check()
    report_problems(problems, "validation pictures cannot be read; their objects count as missed")
    scored = evaluate(
        detections, truths_of(samples), run.architecture.class_names, ignore_overlap=run.config.ignore_overlap
    )
    metrics = metrics_dict(scored)
    score = metrics["mAP50"]
    if score is None:
        _save(run, BEST)
        return "mAP50 n/a (the validation pictures hold no object)"
    if score > run.progress.best_map or not (run.run_dir / BEST).exists():
        run.progress.best_map = score
        _save(run, BEST)
    if run.progress.epoch + 1 == run.config.num_epoch:
        run.log(format_table(metrics))
    return f"mAP50 {score:.4f} (best {run.progress.best_map:.4f})"


def _to_device(batch: Batch, run: Run) -> tuple[torch.Tensor, Targets]:
    images = normalize(batch.images.to(run.device, non_blocking=True), run.architecture.preprocessing)
    return images, Targets(*(part.to(run.device, non_blocking=True) for part in batch.targets))


def _refuse_bad_pictures(config: Config, batch: Batch) -> None:
    if batch.problems and config.on_bad_label == "error":
        raise ImageError(f"{batch.problems[0]} (--on_bad_label skip leaves such pictures out)")
    report_problems(batch.problems, "bad pictures left out of a batch")


def _report_bad_step(run: Run, batch: Batch) -> None:
    """Count a step that was not finite. Raises ValueError after too many in a row."""
    run.progress.skipped += 1
    run.bad_steps += 1
    names = ", ".join(run.loader.dataset.samples[row].name for row in batch.rows.tolist())
    warn(f"loss or gradient not finite, step skipped; pictures: {names}")
    if run.bad_steps >= MAX_BAD_STEPS:
        raise ValueError(
            f"{run.bad_steps} steps in a row were not finite; stopped. Lower --init_lr ({run.config.init_lr}), give "
            f"--precision fp32, or look at these pictures: {names}"
        )


def _save(run: Run, name: str) -> None:
    save_checkpoint(
        run.run_dir / name,
        run.model,
        run.architecture,
        epoch=run.progress.epoch + run.progress.step // run.batches_per_epoch,
        progress=vars(run.progress).copy(),
        optimizer_state_dict=run.optimizer.state_dict(),
        torch_rng_state=torch.get_rng_state(),
        settings=settings_dict(run.config),
    )
