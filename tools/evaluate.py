"""The command that scores result files against labels: `python -m tools.evaluate DETECTIONS_DIR LABELS_DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from datasets.class_lists import DOTA_CLASSES
from datasets.format_detection import conversion_to_dota, detect_format
from datasets.label_formats.dota_folder import is_dota_folder, label_dir_in, parts_of
from DOTA_devkit.atomic import write_json
from DOTA_devkit.bootstrap import ap50_intervals, with_intervals
from DOTA_devkit.evaluation import IOU_THRESHOLDS
from DOTA_devkit.labels import LabelError, read_class_names
from DOTA_devkit.metrics import format_report
from tools.detection.results import results_in
from tools.file_scores import score_files, score_metrics
from tools.run_folder import METRICS_HEAD
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.destinations import refuse_to_replace
from tools.running.flag_types import share, whole
from tools.running.messages import report_problems
from tools.score_difference import format_difference, score_difference

USUAL_RESAMPLES = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Score, print the table and write the JSON; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a
    person can mend, 130 stopped by Ctrl-C."""
    return exit_code(lambda: _run(_parse(arguments)))


def _run(options: argparse.Namespace) -> None:
    class_names = None
    if options.version:
        class_names = DOTA_CLASSES[options.version]
    elif options.classes:
        class_names = read_class_names(options.classes)
    ignore_overlap = None if options.published else options.ignore_overlap
    problems: list[LabelError] = []
    folders = [results_in(folder) for folder in (options.detections_dir, options.against) if folder]
    scored, *others = score_files(
        folders,
        _labels_in(options.labels_dir),
        class_names,
        image_set=options.image_set,
        task=options.task,
        iou_thresholds=options.iou,
        difficult=options.difficult,
        ignore_overlap=ignore_overlap,
        missing_labels=options.missing_labels,
        on_bad=problems.append if options.on_bad_line == "skip" else None,
        skip_others=options.classes is not None,
    )
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
    print(format_report(metrics))
    for other in others:
        rng, draws = np.random.default_rng(options.seed), options.bootstrap or USUAL_RESAMPLES
        difference = score_difference(scored, other, draws, rng, options.metric)
        metrics["against"] = {"detections": str(options.against), **difference}
        print(f"against {options.against}, {draws} draws of the pictures; *: more than the choice of pictures makes")
        print(format_difference(difference))
    if options.json:
        write_json(options.json, metrics)
        print(f"written: {options.json}")


def _labels_in(folder: Path) -> Path:
    """The folder of label files: that one, or the one in a data folder. Raises SettingsError for data in parts."""
    if not is_dota_folder(folder):
        found = "dota"
        with suppress(ValueError):  # of a folder of labels alone
            found = detect_format(folder)
        if found != "dota":
            remedy = conversion_to_dota(folder, found)
            raise SettingsError(f"{folder}: its labels are of the format {found}; make DOTA's of them first: {remedy}")
        return folder
    parts = [part for part in parts_of(folder) if part != folder and label_dir_in(part).is_dir()]
    if parts:
        raise SettingsError(f"{folder} holds {', '.join(part.name for part in parts)}; name {label_dir_in(parts[-1])}")
    return label_dir_in(folder)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _make_parser()
    options = parser.parse_args(arguments)
    options.iou = tuple(sorted(set(options.iou)))
    if options.metric is None:
        options.metric = "07" if options.published else "area"
    if not all(0 <= threshold < 1 for threshold in options.iou):
        parser.error(f"argument --iou: {options.iou} must lie within 0 and 1, 1 left out")
    refuse_to_replace(options.json, "--json", [METRICS_HEAD])
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
        type=share,
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
        help="class names, one a line; others do not count [default: all that stand in the labels or have a result "
        "file]",
    )
    parser.add_missing_labels(where=", of --image_set,")
    parser.add_argument(
        "--on_bad_line",
        choices=("error", "skip"),
        default="error",
        help="a bad line or unknown class stops, or is left out and counted [default: %(default)s]",
    )
    parser.add_argument(
        "--bootstrap",
        type=whole(0),
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
    parser.add_argument(
        "--seed", type=whole(0), default=0, metavar="N", help="of the resamplings [default: %(default)s]"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the numbers here, unrounded fractions")
    return parser


if __name__ == "__main__":
    sys.exit(main())
