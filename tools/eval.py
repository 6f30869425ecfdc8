"""Phase eval: results against labels -> AP table, metrics.json, CSV, precision-recall curves."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from DOTA_devkit.atomic import write_csv, write_json
from DOTA_devkit.bootstrap import ap50_intervals, with_intervals
from DOTA_devkit.confusion import confusion
from DOTA_devkit.evaluation import Evaluation, evaluate
from DOTA_devkit.metrics import format_report, metrics_dict
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections, read_results, result_path
from DOTA_devkit.truths import ImageTruth
from tools.class_scores import least_scores, scores_of
from tools.config import Config
from tools.data import check_tiles, open_data, read_split, split_of, truths_of
from tools.detection.detection_run import run_detector
from tools.detection.loaded_run import LoadedRun, load_run
from tools.detection.results import MERGED, RESULTS, read_origin, remove_merged
from tools.detection.whole_pictures import whole_pictures_of
from tools.drawing import numbered_classes
from tools.drawings.error_report import (
    CONFUSION_CSV,
    CONFUSION_PLOT,
    WORST,
    write_confusion,
    write_worst,
)
from tools.drawings.plots import figure_file, plot_names
from tools.engine import Engine
from tools.run_folder import METRICS, Log
from tools.run_lists import warn_of_known_pictures
from tools.running.messages import warn

CSV, CURVES = "metrics.csv", "pr_curves.png"


def run(config: Config) -> int:
    """Evaluate by the settings; returns the exit code: 1 where listed pictures have no results."""
    loaded = load_run(config)
    config = loaded.config
    data = open_data(config, loaded.checkpoint.parent)
    check_tiles(loaded.architecture.reading, data, f"what {loaded.checkpoint} reads")
    class_names, everything = loaded.class_names, loaded.of_all_classes
    split, samples = read_split(config, data, "val", everything.class_names)
    warn_of_known_pictures(split, data.run_dir, data.data_dir)
    truths, what = truths_of(samples), split.source
    whole = whole_pictures_of(data.data_dir, list(truths), everything.class_names, config)
    log, engine = Log(loaded.run_dir), Engine(config.device)
    listed = {name: data.images[name] for name in split_of(config, data, "val").names}  # as phase test detects on them
    detections = _find_results(everything, engine, listed, split.source)
    engine.close()
    if not engine.is_main:
        return 0
    has_gaps = not listed.keys() <= detections.keys()
    if whole is not None:
        detections = whole.merged(detections, config.nms_thresh, config.agnostic_nms)
        origin = read_origin(loaded.run_dir / RESULTS)
        whole.write(loaded.run_dir / MERGED, everything.class_names, detections, origin)
        truths, what = whole.truths, f"{whole.source} of {what}"
    else:
        remove_merged(loaded.run_dir)
    detections = {name: loaded.choice(found) for name, found in detections.items()}
    truths = {name: loaded.choice.of_truth(truth) for name, truth in truths.items()}
    scored = evaluate(detections, truths, class_names, ignore_overlap=config.ignore_overlap)
    if scored.missing:
        warn(
            f"{len(scored.missing)} of the {scored.num_images} listed pictures have no results, such as "
            f"'{scored.missing[0]}'; their objects count as missed"
        )
    metrics = metrics_dict(scored)
    if config.bootstrap:
        rng = np.random.default_rng(config.seed)
        metrics = with_intervals(metrics, ap50_intervals(scored, config.bootstrap, rng))
        metrics |= {"bootstrap": config.bootstrap, "seed": config.seed}
    origin = read_origin(loaded.run_dir / RESULTS)
    write_evaluation(loaded.run_dir, scored, metrics | {"results": {**origin, "images": len(origin["images"])}})
    images = None if whole is not None else {sample.name: sample.image_path for sample in samples}
    written = [METRICS, CSV, CURVES, *_write_errors(loaded, metrics, detections, truths, images)]
    log(f"{what}:\n{format_report(metrics)}")
    if numbered := numbered_classes(class_names):
        log(numbered)
    log(f"written: {', '.join(str(loaded.run_dir / name) for name in written)}")
    if whole is None:
        places = (loaded.run_dir, "NEW_FOLDER", "--data_dir", data.data_dir)
        log(f"in a browser: python -m tools.show_results {' '.join(shlex.quote(str(place)) for place in places)}")
    return int(has_gaps)


def write_evaluation(run_dir: Path, scored: Evaluation, metrics: Mapping) -> None:
    """metrics.json, metrics.csv (a row a class) and the picture of the precision-recall curves."""
    write_json(run_dir / METRICS, metrics)
    rows = [{"class": name} | _csv_row(values) for name, values in metrics["classes"].items()]
    columns = list(rows[0])
    write_csv(run_dir / CSV, [columns, *([row[name] for name in columns] for row in rows)])
    _draw_curves(run_dir / CURVES, scored, metrics)


def _write_errors(
    loaded: LoadedRun,
    metrics: Mapping,
    detections: Mapping[str, ImageDetections],
    truths: Mapping[str, ImageTruth],
    images: Mapping[str, Path] | None,
) -> list[str]:
    """The confusion matrix, and where the pictures are at hand (merged ones are too large to look at side by side)
    those with most errors; returns the files' names."""
    config, class_names = loaded.config, loaded.class_names
    scores = least_scores(class_names, scores_of(metrics), config.draw_score)
    errors = confusion(detections, truths, scores, ignore_overlap=config.ignore_overlap)
    write_confusion(loaded.run_dir, errors, class_names)
    names = [CONFUSION_CSV, CONFUSION_PLOT]
    if images is None:
        (loaded.run_dir / WORST).unlink(missing_ok=True)  # of an earlier evaluation
        return names
    read = loaded.architecture.read_picture
    what = (images, truths, detections, class_names, scores, read, config.ignore_overlap)
    return [*names, WORST] if write_worst(loaded.run_dir, errors, *what) else names


def _csv_row(values: Mapping) -> dict:
    """The plain values of a class; the two ends of its interval, where there is one, are a column each."""
    row = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    if "AP50_interval" in row:
        row["AP50_low"], row["AP50_high"] = row.pop("AP50_interval") or (None, None)
    return row


def _find_results(
    loaded: LoadedRun, engine: Engine, images: Mapping[str, Path], source: str
) -> dict[str, ImageDetections]:
    """The results in the run folder, if of this checkpoint, these pictures and these settings; else new ones."""
    folder, log = loaded.run_dir / RESULTS, Log(loaded.run_dir)
    if engine.from_main(lambda: _are_fresh(loaded, images, source)):
        log(f"scoring the results in {folder}, which are of this checkpoint and split")
    else:
        log("no results of this checkpoint on all pictures of this split; running the detector")
        run_detector(loaded, engine, images, source)
    if not engine.is_main:
        return {}
    found = read_results(folder, loaded.class_names).images
    return {name: found.get(name, NO_DETECTIONS) for name in read_origin(folder)["images"]}


def _are_fresh(loaded: LoadedRun, images: Mapping[str, Path], source: str) -> bool:
    folder = loaded.run_dir / RESULTS
    origin, wanted = read_origin(folder), loaded.origin(images, source) | {"images": list(images)}
    is_whole = all(result_path(folder, name).is_file() for name in loaded.class_names)
    return is_whole and origin is not None and all(origin.get(key) == value for key, value in wanted.items())


def _draw_curves(path: Path, scored: Evaluation, metrics: Mapping) -> None:
    """Precision over recall at IoU 0.5 (solid) and 0.75 (dashed), a colour a class."""
    from matplotlib import colormaps

    with figure_file(path, (8.5, 5), scored.classes, dpi=120) as figure:
        axes = figure.add_subplot(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        shown = plot_names(list(scored.classes))
        pairs = colormaps["tab20"].colors  # ten colours and a paler one of each
        colors = [*pairs[::2], *pairs[1::2]]
        for number, ((name, item), text) in enumerate(zip(scored.classes.items(), shown, strict=True)):
            for threshold, style in ((0.5, "-"), (0.75, "--")):
                curve = item.curves[scored.iou_thresholds.index(threshold)]
                if not item.num_truths:
                    continue
                # With a blank before it: a label that begins with _ is hidden.
                label = f" {text}, AP50 {metrics['classes'][name]['AP50']:.3f}" if threshold == 0.5 else None
                axes.plot(curve.recall, curve.precision, style, color=colors[number % 20], label=label, linewidth=1.5)
        axes.grid(alpha=0.3)
        if axes.lines:
            size = 8 if len(scored.classes) < 12 else 6
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=size)
        axes.set_title("IoU 0.5 (solid) and 0.75 (dashed)", fontsize=10)
