"""Validation within training: the averaged network on the validation pictures, shared out over the processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from datasets.loader import PictureBatch
from datasets.picture_files.images import ImageError
from DOTA_devkit.evaluation import evaluate
from DOTA_devkit.metrics import metrics_dict
from DOTA_devkit.task_files import ImageDetections
from models import Maps
from tools.data import truths_of
from tools.detection.detect import Inference
from tools.drawing import as_bgr
from tools.drawings.comparison_page import MOST_PICTURES, PageItem, draw_page
from tools.outcomes import DetectionSettings, Found
from tools.training.run_state import Run
from tools.training.validation_loss import ValidationLoss

MOST_AT_ONCE = 8  # whole pictures, in fp32; training may have been on many small windows


class Outcome(NamedTuple):
    """The metrics (as `metrics_dict`), the terms of the loss, what was wrong with pictures, and on the main process the
    page of pictures (H, W, 3) uint8 BGR."""

    metrics: dict
    losses: dict[str, float]
    problems: list[str]
    page: np.ndarray | None


def validate(run: Run) -> Outcome:
    """Detect with the averaged network and score. Every process must call it and gets the same metrics."""
    samples, config = run.val_samples, run.config
    shown = set(np.linspace(0, len(samples) - 1, min(MOST_PICTURES, len(samples))).round().astype(int).tolist())
    truths = truths_of(samples)
    detections: dict[str, ImageDetections] = {}
    items: list[PageItem] = []
    names = run.architecture.class_names
    loss = ValidationLoss(
        run.step.criterion, run.engine, len(names), run.architecture.input_hw, min_visible=config.min_visible
    )
    problems: list[str] = []
    for found in run.engine.gathered(_detect_share(run, shown, loss), len(samples)):
        sample = samples[found.row]
        detections[sample.name] = found.detections
        if found.problem is not None:
            problems.append(found.problem)
        elif found.picture is not None:
            items.append(PageItem(sample.name, as_bgr(found.picture), truths[sample.name], found.detections))
        if run.engine.num_ranks == 1:
            run.stop.check()
    if run.engine.from_main(lambda: bool(samples) and len(problems) == len(samples)):
        told = run.engine.from_main(lambda: problems[0])
        raise ImageError(f"none of the {len(samples)} validation pictures can be read, so nothing is measured: {told}")
    metrics = run.engine.from_main(
        lambda: metrics_dict(evaluate(detections, truths, names, ignore_overlap=config.ignore_overlap))
    )
    page = (
        draw_page(items, names, min_score=config.draw_score, ignore_overlap=config.ignore_overlap)
        if run.engine.is_main and items
        else None
    )
    return Outcome(metrics, loss.terms(config.batch_size), problems, page)


def _detect_share(run: Run, shown: set[int], loss: ValidationLoss) -> Iterator[Found]:
    """This process's share of the pictures, with rows in the whole list; the loss takes them in."""
    config, engine = run.config, run.engine
    rows = engine.share(range(len(run.val_samples)))
    # In fp32 and as true rectangles, whatever --precision and --quads say of training and of the results.
    settings = DetectionSettings(
        config.K, config.conf_thresh, config.nms_thresh, agnostic=config.agnostic_nms, num_views=config.tta_views
    )

    def take_in(batch: PictureBatch, maps: Maps) -> None:
        there = [rows[row] for row in batch.rows.tolist()]
        loss.add(there, [run.val_samples[row] for row in there], batch.sizes.tolist(), maps)

    found = Inference(run.average.module, run.architecture, settings, engine.device).pictures(
        [run.val_samples[row].image_path for row in rows],
        batch_size=min(max(1, config.batch_size // engine.num_ranks), MOST_AT_ONCE),
        num_workers=config.num_workers,
        kept=[number for number, row in enumerate(rows) if row in shown],
        on_maps=take_in,
    )
    for item in found:
        if item.problem is not None and config.on_bad_label == "error":
            raise ImageError(f"{item.problem} (--on_bad_label skip leaves such pictures out)")
        yield item._replace(row=rows[item.row])
