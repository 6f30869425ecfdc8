"""The command that scores result files against labels: `python -m tools.evaluate DETECTIONS_DIR LABELS_DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datasets.images import IMAGE_SUFFIXES
from datasets.label_formats.dota_folder import is_dota_folder, label_dir_in, parts_of
from datasets.readers import DOTA_CLASSES
from DOTA_devkit.atomic import write_json
from DOTA_devkit.bootstrap import ap50_intervals, with_intervals
from DOTA_devkit.evaluation import IOU_THRESHOLDS, Evaluation, ImageTruth, evaluate, outer_quads
from DOTA_devkit.labels import (
    EVERY_CLASS,
    IGNORED_CLASS,
    NO_LABELS,
    LabelError,
    Labels,
    OnBad,
    did_you_mean,
    read_class_names,
    read_labels,
    read_names,
)
from DOTA_devkit.metrics import format_table, metrics_dict
from DOTA_devkit.task_files import Results, read_results, result_classes
from tools.command_line import Parser, SettingsError, exit_code
from tools.messages import report_problems, warn
from tools.progress import progress_bar
from tools.results import MERGED, RESULTS
from tools.score_difference import format_difference, score_difference

USUAL_RESAMPLES = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Score, print the table and write the JSON; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a
    person can mend, 130 stopped by Ctrl-C."""
    return exit_code(lambda: _run(_parse(arguments)))


def score_files(
    detections_dir: Path,
    labels_dir: Path,
    class_names: Sequence[str] | None = None,
    *,
    image_set: Path | None = None,
    task: Literal[1, 2] = 1,
    iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
    difficult: Literal["ignore", "count"] = "ignore",
    ignore_overlap: float | None = 0.5,
    missing_labels: Literal["error", "empty"] = "error",
    on_bad: OnBad = None,
) -> Evaluation:
    """Score `Task1_<class>.txt` (or Task 2) files against labelTxt files.

    The pictures that count are those of the list `image_set`, else those that have a label file. Without
    `class_names` the classes are all that stand in the labels or have a result file. Task 2 compares outer horizontal
    boxes. `difficult`, `ignore_overlap` as in `evaluate`; None is the published protocol, which in task 2 counts
    xmax and ymax as pixels inside. Warns of pictures and classes without detections and of detections not scored.

    Raises LabelError for a bad line or an unknown class, with `on_bad` it is given to that and left out; LabelError
    for a listed picture without a label file, unless `missing_labels` is "empty"; OSError for what cannot be read.
    """
    paths = _label_paths(labels_dir, image_set, missing_labels)
    items = progress_bar(paths.items(), desc="labels", unit=" files")
    labels = {name: read_labels(path, on_bad) if path else NO_LABELS for name, path in items}
    if class_names is None:
        class_names = _classes_found(labels, result_classes(detections_dir, task))
    number_of = {name: number for number, name in enumerate(class_names)} | {IGNORED_CLASS: EVERY_CLASS}
    truths = {name: _make_truth(paths[name], item, number_of, on_bad) for name, item in labels.items()}
    results = read_results(detections_dir, class_names, task, on_bad)
    detections: Mapping = results.images
    if task == 2:
        is_published = ignore_overlap is None
        truths = {name: item._replace(quads=outer_quads(item.quads, is_published)) for name, item in truths.items()}
        detections = {
            name: item._replace(quads=outer_quads(item.quads, is_published)) for name, item in results.images.items()
        }
    scored = evaluate(detections, truths, class_names, iou_thresholds, difficult, ignore_overlap)
    _warn_of_gaps(detections_dir, scored, truths, results)
    return scored


def score_metrics(scored: Evaluation, metric: Literal["area", "07"] = "area") -> dict[str, Any]:
    """The numbers of metrics.json by one metric: with "07" every AP in it is the mean of eleven points."""
    if metric == "07":
        classes = {
            name: item._replace(curves=[curve._replace(ap=curve.ap_07) for curve in item.curves])
            for name, item in scored.classes.items()
        }
        scored = replace(scored, classes=classes)
    return metrics_dict(scored) | {"metric": metric}


def _run(options: argparse.Namespace) -> None:
    class_names = None
    if options.version:
        class_names = DOTA_CLASSES[options.version]
    elif options.classes:
        class_names = read_class_names(options.classes)
    ignore_overlap = None if options.published else options.ignore_overlap
    problems: list[LabelError] = []
    score = partial(
        score_files,
        labels_dir=_labels_in(options.labels_dir),
        image_set=options.image_set,
        task=options.task,
        iou_thresholds=options.iou,
        difficult=options.difficult,
        ignore_overlap=ignore_overlap,
        missing_labels=options.missing_labels,
        on_bad=problems.append if options.on_bad_line == "skip" else None,
    )
    scored = score(_results_in(options.detections_dir), class_names=class_names)
    other = options.against and score(_results_in(options.against), class_names=tuple(scored.classes))
    report_problems([*dict.fromkeys(map(str, problems))], "bad lines left out")
    settings = {"task": options.task, "difficult": options.difficult, "ignore_overlap": ignore_overlap}
    metrics = score_metrics(scored, options.metric) | settings
    if options.bootstrap:
        rng = np.random.default_rng(options.seed)
        metrics = with_intervals(metrics, ap50_intervals(scored, options.bootstrap, rng, options.metric))
        metrics |= {"bootstrap": options.bootstrap, "seed": options.seed}
    protocol = "published protocol" if options.published else f"ignore regions from {ignore_overlap}"
    print(f"task {options.task}, {scored.num_images} pictures, metric {options.metric}, ", end="")
    print(f"difficult objects {'ignored' if options.difficult == 'ignore' else 'counted'}, {protocol}")
    print(format_table(metrics))
    if other is not None:
        rng, draws = np.random.default_rng(options.seed), options.bootstrap or USUAL_RESAMPLES
        difference = score_difference(scored, other, draws, rng, options.metric)
        metrics["against"] = {"detections": str(options.against), **difference}
        print(f"against {options.against}, {draws} draws of the pictures; *: more than the choice of pictures makes")
        print(format_difference(difference))
    if options.json:
        write_json(options.json, metrics)
        print(f"written: {options.json}")


def _results_in(folder: Path) -> Path:
    """The folder of result files: that one, or of a run folder its results. Raises SettingsError for one that has those
    of tiles and of whole pictures."""
    found = [folder / name for name in (RESULTS, MERGED) if (folder / name).is_dir()]
    if len(found) > 1:
        raise SettingsError(f"{folder} holds results of tiles and of whole pictures; name {found[0]} or {found[1]}")
    return found[0] if found else folder


def _labels_in(folder: Path) -> Path:
    """The folder of label files: that one, or the one in a data folder. Raises SettingsError for data in parts."""
    if not is_dota_folder(folder):
        return folder
    parts = [part for part in parts_of(folder) if part != folder and label_dir_in(part).is_dir()]
    if parts:
        raise SettingsError(f"{folder} holds {', '.join(part.name for part in parts)}; name {label_dir_in(parts[-1])}")
    return label_dir_in(folder)


def _label_paths(labels_dir: Path, image_set: Path | None, missing_labels: str) -> dict[str, Path | None]:
    """The label file of each picture that counts, by the picture's name; None for one taken as empty."""
    if not labels_dir.is_dir():
        raise FileNotFoundError(f"{labels_dir}: no such folder of label files")
    found = (path for path in sorted(labels_dir.iterdir()) if path.suffix.lower() == ".txt" and path.name[0] != ".")
    there = {path.stem: path for path in found}
    if image_set is None:
        if not there:
            remedy = "name the folder that holds one <picture>.txt a picture"
            raise FileNotFoundError(f"{labels_dir}: holds no label file; {remedy}")
        return dict(there)
    listed: dict[str, Path | None] = {}
    missing: dict[str, int] = {}
    for entry, line in read_names(image_set).items():
        name = _picture_name(entry, there)
        listed[name] = there.get(name)
        if listed[name] is None:
            missing[name] = line
    if missing and missing_labels == "error":
        name, line = next(iter(missing.items()))
        others = f" (nor for {len(missing) - 1} more of the list)" if len(missing) > 1 else ""
        remedy = "write it (an empty file means no objects), remove the line, or give --missing_labels empty"
        raise LabelError(image_set, line, f"no label file {labels_dir / name}.txt{others}; {remedy}")
    return listed


def _picture_name(entry: str, there: Mapping[str, Path]) -> str:
    """The picture that a line of a list means; it may carry a folder and a picture's suffix."""
    base = entry.replace("\\", "/").rsplit("/", 1)[-1]
    stem, _, suffix = base.rpartition(".")
    bare = stem if stem and f".{suffix.lower()}" in IMAGE_SUFFIXES else base
    return next((name for name in (entry, base, bare) if name in there), bare)


def _classes_found(labels: Mapping[str, Labels], of_results: Sequence[str]) -> tuple[str, ...]:
    """All classes that stand in the labels or have a result file: DOTA's in its order, then the others by name."""
    found = {name for item in labels.values() for name in item.names}.union(of_results) - {IGNORED_CLASS}
    order = {name: number for number, name in enumerate(DOTA_CLASSES["2.0"])}
    return tuple(sorted(found, key=lambda name: (order.get(name, len(order)), name)))


def _make_truth(path: Path | None, labels: Labels, number_of: Mapping[str, int], on_bad: OnBad) -> ImageTruth:
    """The labels with class numbers; a label of no class of the list is a bad line."""
    keep = []
    for row, name in enumerate(labels.names):
        if name in number_of:
            keep.append(row)
            continue
        remedy = "correct the line, or choose other classes with --version or --classes"
        what = " ".join(filter(None, [did_you_mean(name, number_of), remedy]))
        error = LabelError(path, int(labels.lines[row]), f"class '{name}' is not among the classes; {what}")
        if on_bad is None:
            raise error
        on_bad(error)
    numbers = np.array([number_of[labels.names[row]] for row in keep], dtype=np.int64)
    return ImageTruth(labels.quads[keep], numbers, labels.difficult[keep])


def _warn_of_gaps(folder: Path, scored: Evaluation, truths: Mapping[str, ImageTruth], results: Results) -> None:
    """Say what makes a score low without being wrong: parts of the result set that are not there or do not match."""
    if scored.missing:
        missed = sum(int(((truths[name].labels >= 0) & (truths[name].difficult == 0)).sum()) for name in scored.missing)
        warn(
            f"{folder}: {len(scored.missing)} of the {scored.num_images} listed pictures have no detection, such as "
            f"'{scored.missing[0]}'; their {missed} objects count as missed"
        )
    if scored.unlisted:
        doubt = "; compare the names in the results with those of the label files" * (
            len(scored.missing) == scored.num_images
        )
        warn(
            f"{folder}: {scored.num_unlisted} detections of {len(scored.unlisted)} pictures that are not listed, such "
            f"as '{scored.unlisted[0]}', are left out{doubt}"
        )
    absent = [name for name in results.without_file if scored.classes[name].num_truths]
    if absent:
        missed = f"{len(absent)} classes with objects have no result file, such as '{absent[0]}'; they count as missed"
        warn(f"{folder}: {missed}")
    if not any(item.num_truths for item in scored.classes.values()):
        warn("the listed pictures hold no object to be found, so there is nothing to measure")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _make_parser()
    options = parser.parse_args(arguments)
    options.iou = tuple(sorted(set(options.iou)))
    if options.metric is None:
        options.metric = "07" if options.published else "area"
    if not all(0 <= threshold < 1 for threshold in options.iou):
        parser.error(f"argument --iou: {options.iou} must lie within 0 and 1, 1 left out")
    if not 0 <= options.ignore_overlap <= 1:
        parser.error(f"argument --ignore_overlap: {options.ignore_overlap} must lie within 0 and 1")
    for name in ("bootstrap", "seed"):
        if getattr(options, name) < 0:
            parser.error(f"argument --{name}: {getattr(options, name)} must be at least 0")
    for name in ("bootstrap", "against"):
        if getattr(options, name) and 0.5 not in options.iou:
            parser.error(f"argument --{name}: the intervals are of AP50; add 0.5 to --iou")
    return options


def _make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        "evaluate",
        description="Score result files against labels: average precision a class, over exact polygon overlap.",
        epilog="A detection counts when its largest overlap is above the threshold. A class without objects in the "
        "labels has AP n/a and stays out of the mean. Exit codes: 0 done, 1 something in the data, 2 a wrong flag.",
    )
    parser.add_argument(
        "detections_dir", type=Path, metavar="DETECTIONS_DIR", help="folder of Task1_<class>.txt files, or a run folder"
    )
    parser.add_argument(
        "labels_dir", type=Path, metavar="LABELS_DIR", help="folder of label files, one a picture, or of labelTxt/"
    )
    parser.add_argument(
        "--image_set", type=Path, metavar="FILE", help="list of the pictures that count [default: all that have labels]"
    )
    parser.add_argument(
        "--task",
        type=int,
        choices=(1, 2),
        default=1,
        help="1: quads; 2: outer horizontal boxes, Task2_<class>.txt [default: %(default)s]",
    )
    parser.add_argument(
        "--metric",
        choices=("area", "07"),
        help="area under the curve, or the eleven points of VOC 2007; every AP printed and written is of this metric "
        "[default: area; with --published 07]",
    )
    parser.add_argument(
        "--iou",
        type=float,
        nargs="+",
        default=IOU_THRESHOLDS,
        metavar="T",
        help="overlap thresholds; precision and recall, and mAP50 in the JSON, need 0.5 among them [default: 0.5 to "
        "0.95 by 0.05]",
    )
    parser.add_argument(
        "--difficult",
        choices=("ignore", "count"),
        default="ignore",
        help="leave objects flagged difficult out, or count them [default: %(default)s]",
    )
    regions = parser.add_mutually_exclusive_group()
    regions.add_argument(
        "--ignore_overlap",
        type=float,
        default=0.5,
        metavar="X",
        help="a false alarm with more than this part of it in an ignore region (DontCare, or flag 2) is not counted "
        "[default: %(default)s]",
    )
    regions.add_argument(
        "--published",
        action="store_true",
        help="the protocol of the published DOTA devkit: eleven points unless --metric says otherwise, no ignore "
        "regions, flag 2 as flag 1; in task 2 xmax and ymax are pixels inside",
    )
    classes = parser.add_mutually_exclusive_group()
    classes.add_argument("--version", choices=tuple(DOTA_CLASSES), help="the classes of this version of DOTA")
    classes.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="class names, one a line [default: all that stand in the labels or have a result file]",
    )
    parser.add_argument(
        "--missing_labels",
        choices=("error", "empty"),
        default="error",
        help="a picture of the list without a label file is an error, or empty [default: %(default)s]",
    )
    parser.add_argument(
        "--on_bad_line",
        choices=("error", "skip"),
        default="error",
        help="a bad line or unknown class stops, or is left out and counted [default: %(default)s]",
    )
    parser.add_argument(
        "--bootstrap",
        type=int,
        default=0,
        metavar="N",
        help="resamplings of the pictures for 95 %% intervals of AP50, such as 1000; 0 for none [default: %(default)s]",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="PATH",
        help="other results on the same pictures: by how much AP50 is higher than theirs, with a 95 %% interval over "
        f"draws of the pictures that are the same for both (as many as --bootstrap, or {USUAL_RESAMPLES})",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the resamplings [default: %(default)s]")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the numbers here, unrounded fractions")
    return parser


if __name__ == "__main__":
    sys.exit(main())
