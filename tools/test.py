"""Phase test: detect on a split or on any pictures; result files and pictures with boxes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from models import CTRBOX
from tools.architecture import Architecture, check_flags
from tools.checkpoint import load_checkpoint
from tools.class_scores import least_scores, read_scores, shown_scores
from tools.command_line import exit_code
from tools.config import Config, SettingsError, settings_from, with_settings
from tools.data import open_data, split_of, warn_of_known_pictures
from tools.destinations import refuse_data_folder, refuse_inputs
from tools.detect import Inference
from tools.drawing import numbered_classes
from tools.engine import Engine
from tools.input_pictures import check_headers, input_pictures, refuse_pictures
from tools.outcomes import DetectionSettings, Found, Tiling
from tools.own_backbone import run_named_file
from tools.picture_results import STOPPED, Report, draw_found, write_found
from tools.progress import progress_bar
from tools.results import DRAWINGS, RESULTS, ResultFiles, check_outputs, origin_of
from tools.run_folder import Log, checkpoint_path, results_dir
from tools.stop_request import StopRequest


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
    images, source = pictures_of(loaded.config, loaded.checkpoint.parent)
    if config.input is not None:
        refuse_pictures(loaded.run_dir, images.values())
    engine = Engine(config.device)

    def work() -> int:
        num_problems = run_detector(loaded, engine, images, source, stop)
        engine.close()  # not after an error: to leave the group takes all processes, and the others wait elsewhere
        return int(num_problems > 0)

    with StopRequest() as stop:
        return exit_code(work, stop, STOPPED)


def load_run(config: Config) -> LoadedRun:
    """The checkpoint of --resume or of the newest run. The data folder, its format and the split's seed come from its
    settings where no flag says otherwise."""
    path = checkpoint_path(config)
    run_named_file(config)
    foreign = config.backbone if "backbone" in config.explicit else "resnet101"
    # Of a run that was stopped, the averaged weights: validation scored them, and best.pth holds nothing else.
    model, architecture, content = load_checkpoint(path, foreign, averaged=True)
    check_flags(config, architecture, path)
    kept = settings_from(content.get("settings", {}))
    from_run = _LABELS if config.explicit & {"data_dir", "dataset"} else _LABELS | _DATA
    changes = {name: getattr(kept, name) for name in from_run - config.explicit}
    config = with_settings(config, **changes)
    if config.classes is not None and set(config.classes) != set(architecture.class_names):
        known = ", ".join(architecture.class_names)
        raise SettingsError(
            f"--classes {' '.join(config.classes)}: classes are chosen in training, and the network of {path} has "
            f"{known}; leave the flag out"
        )
    run_dir = results_dir(config, path)
    if config.input is None and config.data_dir is not None:
        refuse_data_folder(run_dir, config.data_dir, "--out")
        refuse_inputs(run_dir, config.data_dir)
    return LoadedRun(config, path, run_dir, model, architecture)


_LABELS = {"seed", "missing_labels", "on_bad_label", "classes"}
_DATA = {"data_dir", "dataset", "lists"}


def pictures_of(config: Config, run_dir: Path | None = None) -> tuple[Mapping[str, Path], str]:
    """The pictures to detect on, by name, and where they come from: --input, else the validation split (of the run in
    `run_dir`)."""
    if config.input is None:
        data = open_data(config, run_dir)
        split = split_of(config, data, "val")
        warn_of_known_pictures(split, data)
        return {name: data.images[name] for name in split.names}, split.source
    return input_pictures(config.input, f"--input {config.input}"), str(config.input)


def detection_settings(config: Config) -> DetectionSettings:
    """The settings of the detector among all settings."""
    precision = "fp32" if config.precision == "auto" else config.precision
    limits = config.K, config.conf_thresh, config.nms_thresh
    return DetectionSettings(*limits, not config.quads, config.agnostic_nms, config.tta_views, precision)


def run_origin(loaded: LoadedRun, images: Mapping[str, Path], source: str) -> dict:
    """What the results of a run are results of."""
    config = loaded.config
    return origin_of(loaded.checkpoint, source, images.values(), detection_settings(config), _tiling(config))


def run_detector(
    loaded: LoadedRun, engine: Engine, images: Mapping[str, Path], source: str, stop: StopRequest | None = None
) -> int:
    """Detect on the pictures, shared out over the processes; the main one writes results and drawings to the run
    folder. Returns the number of bad pictures."""
    config, paths, log = loaded.config, list(images.values()), Log(loaded.run_dir)
    check_outputs(loaded.run_dir, images, config.num_drawings if engine.is_main else 0)
    if config.on_bad_label == "error":
        check_headers(paths)
    log(f"detecting with {loaded.checkpoint} ({loaded.architecture.title}) on {len(paths)} pictures of {source}")
    started, class_names = time.perf_counter(), loaded.architecture.class_names
    scores = {} if config.scores is None else read_scores(config.scores)
    least = least_scores(class_names, scores, config.draw_score)
    sizes = (loaded.architecture.usual_hw, loaded.architecture.input_hw)
    report = Report(config.on_bad_label, "--on_bad_label", *sizes, _tiling(config), least)
    files = ResultFiles(loaded.run_dir / RESULTS, class_names, run_origin(loaded, images, source))
    found = engine.gathered(_detect_share(loaded, engine, paths), len(paths))
    found = progress_bar(found, total=len(paths), unit="picture", desc="detecting")
    looks = {"min_score": least, "line_width": config.line_width, "labels": config.draw_labels}
    draw = partial(draw_found, loaded.run_dir, class_names, looks)
    write_found(found, paths, files if engine.is_main else None, report, draw, loaded.run_dir / DRAWINGS, stop)
    if engine.is_main:
        report.warn(config.K, f"give --K {2 * config.K}")
    speed = len(paths) / max(time.perf_counter() - started, 1e-9)
    folder = loaded.run_dir / RESULTS
    log(f"{report.num_boxes} boxes of score {config.conf_thresh} and more, {speed:.1f} pictures/s: {folder}")
    log(f"drawings (score {shown_scores(least)} and more): {loaded.run_dir / DRAWINGS}")
    numbered = numbered_classes(class_names)
    if numbered and config.num_drawings:
        log(f"classes that no font here can write are drawn as numbers: {numbered}")
    return len(report.problems)


def _detect_share(loaded: LoadedRun, engine: Engine, paths: Sequence[Path]) -> Iterator[Found]:
    """Detect on this process's share of the pictures, whole or in tiles; those to draw are handed on. The rows are
    those of the whole list."""
    config = loaded.config
    model = loaded.model.to(engine.device, memory_format=torch.channels_last)
    inference = Inference(model, loaded.architecture, detection_settings(config), engine.device)
    how = {"batch_size": config.batch_size or 1, "num_workers": config.num_workers}
    rows = engine.share(range(len(paths)))
    kept = [number for number, row in enumerate(rows) if row < config.num_drawings]
    tiling = _tiling(config)
    if tiling is None:
        for found in inference.pictures([paths[row] for row in rows], kept=kept, **how):
            yield found._replace(row=rows[found.row])
        return
    for number, row in enumerate(rows):
        found = inference.tiled_picture(paths[row], tiling, is_kept=number in kept, **how)
        yield found._replace(row=row)


def _tiling(config: Config) -> Tiling | None:
    """How pictures are cut, None where they are not."""
    return None if config.tile is None else Tiling(config.tile, config.overlap, config.scales)
