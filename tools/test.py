"""Phase test: detect on a split or on any pictures; result files and pictures with boxes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from datasets.images import IMAGE_SUFFIXES, ImageError, find_images
from datasets.splits import choose_split
from models import CTRBOX
from tools.checkpoint import Architecture, check_flags, file_hash, load_checkpoint
from tools.command_line import exit_code
from tools.config import Config, SettingsError, settings_from, with_settings
from tools.data import open_data, report_problems
from tools.detect import DetectionSettings, Found, Tiling, detect, detect_tiled
from tools.device import pick_device
from tools.drawing import draw_boxes, write_picture
from tools.progress import progress_bar
from tools.results import RESULTS, ResultFiles
from tools.run_folder import Log, checkpoint_path, refuse_inputs, results_dir, warn
from tools.stop_request import StopRequest

DRAWINGS = "drawings"
MUCH_LARGER = 2.5  # times the input's side: what a picture shrinks by, and small objects with it


class LoadedRun(NamedTuple):
    """A checkpoint ready to use: the settings (those of its run, the flags given now on top), where it lies, where
    results go, the network and what it is."""

    config: Config
    checkpoint: Path
    run_dir: Path
    model: CTRBOX
    architecture: Architecture


def run(config: Config) -> int:
    """Detect by the settings; returns the exit code."""
    loaded = load_run(config)
    images, source = pictures_of(loaded.config)
    with StopRequest() as stop:
        work = partial(run_detector, loaded, images, source, stop)
        return exit_code(lambda: int(work() > 0), stop, "stopped; no results written")


def load_run(config: Config) -> LoadedRun:
    """The checkpoint of --resume or of the newest run. The data folder, its format and the split's seed come from its
    settings where no flag says otherwise."""
    path = checkpoint_path(config)
    foreign = config.backbone if "backbone" in config.explicit else "resnet101"
    model, architecture, content = load_checkpoint(path, foreign)
    if "architecture" in content:
        check_flags(config, architecture, path)
    kept = settings_from(content.get("settings", {}))
    from_run = {"seed", "missing_labels", "on_bad_label", *(() if config.explicit & {"data_dir", "dataset"} else _DATA)}
    changes = {name: getattr(kept, name) for name in from_run - config.explicit}
    config = with_settings(config, **changes)
    run_dir = results_dir(config, path)
    refuse_inputs(run_dir, config.input or config.data_dir, is_data_dir=config.input is None)
    return LoadedRun(config, path, run_dir, model, architecture)


_DATA = ("data_dir", "dataset")


def pictures_of(config: Config) -> tuple[Mapping[str, Path], str]:
    """The pictures to detect on, by name, and where they come from: --input, else the validation split."""
    if config.input is None:
        data = open_data(config)
        split = choose_split(data.data_dir, data.images, "val", split=config.split, seed=config.seed)
        return {name: data.images[name] for name in split.names}, split.source
    if config.input.is_file():
        return {config.input.stem: config.input}, str(config.input)
    if not config.input.exists():
        raise SettingsError(f"--input {config.input}: no such file or folder")
    images = find_images(config.input)
    if not images:
        raise SettingsError(
            f"--input {config.input}: no picture there; known suffixes: {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return images, str(config.input)


def detection_settings(config: Config) -> DetectionSettings:
    """The settings of the detector among all settings."""
    return DetectionSettings(config.K, config.conf_thresh, config.nms_thresh, not config.quads)


def origin_of(loaded: LoadedRun, source: str) -> dict:
    """What results are results of: the checkpoint, the pictures and the settings that decide what is in them."""
    config = loaded.config
    return {
        "checkpoint": str(loaded.checkpoint),
        "sha256": file_hash(loaded.checkpoint),
        "pictures": source,
        **vars(detection_settings(config)),
        "tiles": [config.tile, config.overlap, *config.scales] if config.tile else None,
    }


def run_detector(loaded: LoadedRun, images: Mapping[str, Path], source: str, stop: StopRequest | None = None) -> int:
    """Detect on the pictures, write results and drawings to the run folder; returns the number of bad pictures."""
    config, folder = loaded.config, loaded.run_dir / RESULTS
    log = Log(loaded.run_dir)
    paths = list(images.values())
    log(f"detecting with {loaded.checkpoint} ({loaded.architecture.backbone}) on {len(paths)} pictures of {source}")
    problems, num_boxes, best_score, started, hinted = [], 0, 0.0, time.perf_counter(), False
    side = min(loaded.architecture.input_hw)
    with ResultFiles(folder, loaded.architecture.class_names, origin_of(loaded, source)) as results:
        found = _detect_all(loaded, paths)
        for item in progress_bar(found, total=len(paths), unit="picture", desc="detecting"):
            path = paths[item.row]
            if stop is not None:
                stop.check()
            if item.problem is not None:
                problems.append(item.problem)
                if config.on_bad_label == "error":
                    raise ImageError(f"{item.problem} (--on_bad_label skip leaves such pictures out)")
                continue
            if not hinted and config.tile is None and _is_much_larger(item.size, loaded.architecture.input_hw):
                warn(
                    f"{path.name} is {item.size[1]} x {item.size[0]} and was shrunk to the input size, where small "
                    f"objects get lost; cut such pictures with --tile {side} --overlap {side // 6}"
                )
                hinted = True
            results.write(path, item)
            num_boxes += len(item.detections.scores)
            best_score = max(best_score, item.detections.scores.max(initial=0.0))
            if item.picture is not None:
                _draw(loaded, path, item)
    seconds = time.perf_counter() - started
    report_problems(problems, "pictures could not be read and have no results")
    speed = len(paths) / max(seconds, 1e-9)
    log(f"{num_boxes} boxes of score {config.conf_thresh} and more, {speed:.1f} pictures/s: {folder}")
    log(f"drawings (score {config.draw_score} and more): {loaded.run_dir / DRAWINGS}")
    if num_boxes and best_score < config.draw_score:
        warn(f"the best score is {best_score:.2f}, so no box was drawn; lower --draw_score, or train longer")
    return len(problems)


def _detect_all(loaded: LoadedRun, paths: Sequence[Path]) -> Iterator[Found]:
    """Detect on the pictures, whole or in tiles; those to draw are handed on with their outcome."""
    config, architecture = loaded.config, loaded.architecture
    device = pick_device(config.device)
    model = loaded.model.to(device, memory_format=torch.channels_last)
    settings = detection_settings(config)
    how = {"device": device, "batch_size": config.batch_size, "num_workers": config.num_workers}
    if config.tile is None:
        yield from detect(model, architecture, paths, settings, num_kept=config.num_drawings, **how)
        return
    tiling = Tiling(config.tile, config.overlap, config.scales)
    for row, path in enumerate(paths):
        found = detect_tiled(model, architecture, path, tiling, settings, **how)
        yield found._replace(row=row, picture=found.picture if row < config.num_drawings else None)


def _draw(loaded: LoadedRun, path: Path, item: Found) -> None:
    config = loaded.config
    drawing = draw_boxes(
        item.picture,
        item.detections,
        loaded.architecture.class_names,
        min_score=config.draw_score,
        line_width=config.line_width,
        labels=config.draw_labels,
        in_place=True,  # a big picture is not held twice
    )
    write_picture(loaded.run_dir / DRAWINGS / f"{path.stem}.png", drawing)


def _is_much_larger(size: tuple[int, int], input_hw: tuple[int, int]) -> bool:
    return any(side >= MUCH_LARGER * fitting for side, fitting in zip(size, input_hw, strict=True))
