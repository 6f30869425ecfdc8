"""The command that scores an exported file: `python -m tools.evaluate_onnx model.onnx --data_dir DIR`, by the evaluator
that scores checkpoints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets.picture_files.images import ImageError
from datasets.readers import Sample
from DOTA_devkit.atomic import write_json
from DOTA_devkit.evaluation import evaluate
from DOTA_devkit.metrics import format_report, metrics_dict
from DOTA_devkit.task_files import ImageDetections
from tools.config import Config
from tools.data import check_tiles, open_data, read_split, truths_of
from tools.detection.detector_flags import add_detector_flags, open_detector, tiling_of, warn_of_cuts
from tools.detection.whole_pictures import whole_pictures_of
from tools.onnx_detector import OnnxDetector, detect_pictures
from tools.outcomes import Tiling
from tools.run_folder import METRICS_HEAD
from tools.running.command_line import Parser, exit_code
from tools.running.destinations import refuse_to_replace
from tools.running.flag_types import share, whole
from tools.running.messages import report_problems
from tools.running.progress import progress_bar


def main(arguments: Sequence[str] | None = None) -> int:
    """Detect, score and print the table; returns the exit code: 0 done, 1 something in the data, 2 a wrong flag."""
    return exit_code(lambda: _run(_parse(arguments)))


def score_onnx(detector: OnnxDetector, samples: Sequence[Sample], *, batch_size: int = 1) -> dict[str, Any]:
    """The metrics (as `metrics_dict`) of an exported file on annotated pictures; ImageError for one that cannot be
    read."""
    found = detect_samples(detector, samples, batch_size=batch_size)
    return metrics_dict(evaluate(found, truths_of(samples), detector.facts.class_names))


def detect_samples(
    detector: OnnxDetector,
    samples: Sequence[Sample],
    *,
    tiling: Tiling | None = None,
    batch_size: int = 1,
    problems: list[str] | None = None,
) -> dict[str, ImageDetections]:
    """What an exported file finds in annotated pictures, by their names.

    A picture that cannot be read raises ImageError, or is noted in `problems` and has no boxes.
    """
    images: Mapping[str, Path] = {sample.name: sample.image_path for sample in samples}
    names, detections = list(images), {}
    found = detect_pictures(detector, images, tiling, batch_size)
    for item in progress_bar(found, total=len(names), unit="picture", desc="detecting"):
        if item.problem is not None:
            if problems is None:
                raise ImageError(f"{item.problem} (--on_bad_label skip leaves such pictures out)")
            problems.append(item.problem)
        detections[names[item.row]] = item.detections
    return detections


def _run(options: argparse.Namespace) -> int:
    given = {name: getattr(options, name) for name in _DATA_FLAGS if getattr(options, name) is not None}
    tiling = tiling_of(options)
    detector = open_detector(options)
    class_names = detector.facts.class_names
    chosen = class_names if detector.facts.chosen else None
    config = Config(phase="eval", **given, classes=chosen, explicit=frozenset(given))
    data = open_data(config)
    check_tiles(detector.facts.reading, data, f"what {options.model} reads")
    split, samples = read_split(config, data, "val", class_names)
    truths, what = truths_of(samples), f"{len(samples)} pictures of {split.source}"
    whole = whole_pictures_of(data.data_dir, list(truths), class_names, config)
    problems: list[str] | None = [] if config.on_bad_label == "skip" else None
    detections = detect_samples(detector, samples, tiling=tiling, batch_size=options.batch_size, problems=problems)
    report_problems(problems or [], "pictures could not be read; their objects count as missed")
    warn_of_cuts(detector, options)
    if whole is not None:
        detections = whole.merged(detections, detector.settings.nms_thresh, detector.settings.agnostic)
        truths, what = whole.truths, f"{whole.source} of {split.source}"
    metrics = metrics_dict(evaluate(detections, truths, class_names, ignore_overlap=config.ignore_overlap))
    print(f"{options.model} on {what}:\n{format_report(metrics)}")
    if options.json:
        write_json(options.json, metrics | {"model": str(options.model), "pictures": split.source})
        print(f"written: {options.json}")
    return int(bool(problems))


_DATA_FLAGS = ("data_dir", "dataset", "lists", "split", "seed", "on_bad_label", "missing_labels", "ignore_overlap")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    defaults = Config()
    parser = Parser(
        "evaluate_onnx",
        description="Score an exported file against labels, as main.py --phase eval scores a checkpoint.",
        epilog="Without --data_dir the embedded demo set. Tiles of tools.split_tiles are merged, the whole pictures "
        "scored. The file does not know what it was trained on: give the --lists of its run, RUN/lists, where a seed "
        "has split the data, or --split all for a folder of other pictures. Exit codes: 0 done, 1 something in the "
        "data, 2 a wrong flag.",
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="file of tools.export_onnx or tools.quantize_onnx")
    add("--data_dir", type=Path, metavar="DIR", help="data folder [default: the embedded demo set]")
    add("--dataset", metavar="NAME", help="its format [default: looks]")
    add("--lists", type=Path, metavar="DIR", help="folder of lists [default: the data folder]")
    add("--split", metavar="NAME", help="list to score on, or all [default: val, else test]")
    add("--seed", type=whole(0), metavar="N", help=f"of the split where there is no list [default: {defaults.seed}]")
    add("--on_bad_label", choices=("error", "skip"), help="a bad label or picture stops, or is left out")
    add("--missing_labels", choices=("error", "empty"), help="a listed picture without labels is an error, or empty")
    add(
        "--ignore_overlap",
        type=share,
        metavar="X",
        help="a false alarm with more of its area in an ignore region is not counted "
        f"[default: {defaults.ignore_overlap}]",
    )
    add("--json", type=Path, metavar="FILE", help="write the numbers here as well")
    add_detector_flags(parser)
    options = parser.parse_args(arguments)
    refuse_to_replace(options.json, "--json", [METRICS_HEAD])
    return options


if __name__ == "__main__":
    sys.exit(main())
