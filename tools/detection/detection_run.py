"""Detecting by a checkpoint on many pictures, shared out over the processes: what phase test does, and eval at need."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from tools.class_scores import least_scores, read_scores
from tools.detection.detect import Inference
from tools.detection.input_pictures import check_headers
from tools.detection.loaded_run import LoadedRun
from tools.detection.picture_results import Report, draw_found, write_found
from tools.detection.results import DRAWINGS, RESULTS, ResultFiles, check_outputs
from tools.drawing import looks_of
from tools.engine import Engine
from tools.outcomes import Found
from tools.run_folder import Log
from tools.running.messages import counted
from tools.running.progress import progress_bar
from tools.running.stop_request import StopRequest


def run_detector(
    loaded: LoadedRun, engine: Engine, images: Mapping[str, Path], source: str, stop: StopRequest | None = None
) -> int:
    """Detect on the pictures, shared out over the processes; the main one writes results and drawings to the run
    folder. Returns the number of bad pictures."""
    config, paths, log = loaded.config, list(images.values()), Log(loaded.run_dir)
    check_outputs(loaded.run_dir, images, config.num_drawings if engine.is_main else 0)
    if config.on_bad_label == "error":
        check_headers(paths, "--on_bad_label")
    what = f"{counted(len(paths), 'picture')} of {source}"
    log(f"detecting with {loaded.checkpoint} ({loaded.architecture.title}) on {what}")
    started, class_names = time.perf_counter(), loaded.class_names
    scores = {} if config.scores is None else read_scores(config.scores)
    least = least_scores(class_names, scores, config.draw_score)
    sizes = (loaded.architecture.usual_hw, loaded.architecture.input_hw)
    report = Report(config.on_bad_label, "--on_bad_label", *sizes, loaded.tiling, least)
    files = ResultFiles(loaded.run_dir / RESULTS, class_names, loaded.origin(images, source))
    found = engine.gathered(_detect_share(loaded, engine, paths), len(paths))
    found = (item._replace(detections=loaded.choice(item.detections)) for item in found)
    found = progress_bar(found, total=len(paths), unit="picture", desc="detecting")
    draw = partial(draw_found, loaded.run_dir, class_names, looks_of(config, least))
    write_found(found, images, files if engine.is_main else None, report, draw, loaded.run_dir / DRAWINGS, stop)
    if engine.is_main:
        report.warn(config.K, f"give --K {2 * config.K}")
    speed = len(paths) / max(time.perf_counter() - started, 1e-9)
    for line in report.lines(loaded.run_dir, class_names, config.conf_thresh, speed, config.num_drawings, len(paths)):
        log(line)
    return len(report.problems)


def _detect_share(loaded: LoadedRun, engine: Engine, paths: Sequence[Path]) -> Iterator[Found]:
    """Detect on this process's share of the pictures, whole or in tiles; those to draw are handed on. The rows are
    those of the whole list."""
    config = loaded.config
    model = loaded.model.to(engine.device, memory_format=torch.channels_last)
    inference = Inference(model, loaded.architecture, loaded.settings, engine.device)
    how = {"batch_size": config.batch_size or 1, "num_workers": config.num_workers}
    rows = engine.share(range(len(paths)))
    kept = [number for number, row in enumerate(rows) if row < config.num_drawings]
    if loaded.tiling is None:
        for found in inference.pictures([paths[row] for row in rows], kept=kept, **how):
            yield found._replace(row=rows[found.row])
        return
    for number, row in enumerate(rows):
        found = inference.tiled_picture(paths[row], loaded.tiling, is_kept=number in kept, **how)
        yield found._replace(row=row)
