"""Which NMS threshold a data set wants: what it costs of the truth itself, and what a trained run scores with it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from DOTA_devkit import poly_nms
from DOTA_devkit.evaluation import evaluate
from DOTA_devkit.metrics import metrics_dict
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.truths import ImageTruth
from tools.data import open_data, read_split, truths_of
from tools.detection.detect import Inference
from tools.detection.loaded_run import load_run
from tools.device import pick_device
from tools.running.progress import progress_bar
from tools.setting_flags import parse_settings

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def run(options: argparse.Namespace) -> None:
    """Measure as the flags of `python -m tools.benchmark nms` say."""
    benchmark_nms(options.resume, device=options.device, backbone=options.backbone)


def benchmark_nms(
    run_dir: Path, thresholds: Sequence[float] = THRESHOLDS, device: str = "auto", backbone: str | None = None
) -> dict[float, tuple[int, float | None]]:
    """Print and return, by threshold, how many true objects of the run's validation split NMS would drop (neighbours of
    one class that overlap more), and the mAP50 of the run's network, which detects once."""
    flags = ["--phase", "eval", "--resume", str(run_dir), "--nms_thresh", "1", "--device", device]
    flags += [] if backbone is None else ["--backbone", backbone]
    loaded = load_run(parse_settings(flags))
    data = open_data(loaded.config, loaded.checkpoint.parent)
    split, samples = read_split(loaded.config, data, "val", loaded.architecture.class_names)
    truths = truths_of(samples)
    on = pick_device(device)
    inference = Inference(loaded.model.to(on), loaded.architecture, loaded.settings, on)
    found = inference.pictures(
        [sample.image_path for sample in samples],
        batch_size=loaded.config.batch_size,
        num_workers=loaded.config.num_workers,
    )
    bar = progress_bar(found, total=len(samples), unit="picture", desc="detecting")
    boxes = {samples[item.row].name: item.detections for item in bar}
    total = sum(int((~truth.ignored).sum()) for truth in truths.values())
    print(f"{run_dir} on {split.source}: {len(samples)} pictures, {total} objects")
    print("  threshold   true objects dropped    mAP50")
    outcome = {}
    for threshold in thresholds:
        dropped = count_dropped(truths, threshold)
        kept = {name: _suppressed(item, threshold) for name, item in boxes.items()}
        score = metrics_dict(evaluate(kept, truths, loaded.architecture.class_names))["mAP50"]
        outcome[threshold] = (dropped, score)
        shown = "n/a" if score is None else f"{score:.4f}"
        print(f"  {threshold:9.2f}   {dropped:8d} ({dropped / max(1, total):6.2%})   {shown:>8}")
    return outcome


def count_dropped(truths: Mapping[str, ImageTruth], threshold: float) -> int:
    """How many true objects NMS at this threshold would drop, were they all detected exactly and scored alike."""
    dropped = 0
    for truth in truths.values():
        objects = ~truth.ignored
        kept = poly_nms(truth.quads[objects], np.ones(objects.sum()), threshold, truth.labels[objects])
        dropped += int(objects.sum()) - len(kept)
    return dropped


def _suppressed(boxes: ImageDetections, threshold: float) -> ImageDetections:
    kept = poly_nms(boxes.quads, boxes.scores, threshold, boxes.labels)
    return boxes.at(kept)
