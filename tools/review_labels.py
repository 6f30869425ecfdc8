"""The command that lists labels which may be wrong, by what a network found: `python -m tools.review_labels`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from datasets.picture_files.layouts import Reading
from datasets.picture_files.picture_windows import open_picture
from datasets.readers import FORMATS, get_format, label_reader, read_classes
from DOTA_devkit.atomic import write_csv, write_lines, write_text
from DOTA_devkit.labels import LabelError
from tools.class_scores import least_scores, read_scores, shown_scores
from tools.config import SCORES_HELP
from tools.data_check.data_checks import escaped
from tools.data_folders import open_folder
from tools.detection.looked_at import looked_at
from tools.detection.results import reading_in, results_in
from tools.label_review.doubts import KINDS
from tools.label_review.review import COLUMNS, Item, Remark, Review, review, worst_first
from tools.label_review.review_page import review_page
from tools.running.command_line import Parser, exit_code
from tools.running.destinations import refuse_data_folder, require_free
from tools.running.flag_types import share, whole
from tools.running.messages import counted, report_problems, warn
from tools.running.progress import progress_bar
from tools.running.stop_request import StopRequest
from tools.setting_rules import check_reading
from tools.tile_folder import index_in

PAGE, TABLE, PICTURES = "review.html", "doubts.csv", "pictures.txt"
MIN_SCORE = 0.3
STRONG = 0.5  # doubts from here on are counted by themselves
SHOWN = 3  # doubts of a kind that the terminal shows


def main(arguments: Sequence[str] | None = None) -> int:
    """Review; returns the exit code: 0 done, whatever was found, 1 labels that cannot be read or anything else that a
    person can mend, 2 a wrong flag, 130 and 143 stopped by Ctrl-C and SIGTERM."""
    stop = StopRequest()
    return exit_code(lambda: stop.around(_run, _parse(arguments)), stop)


def _run(options: argparse.Namespace, stop: StopRequest) -> int:
    data_dir: Path = options.data_dir
    refuse_data_folder(options.out, data_dir)
    refuse_data_folder(options.out, options.results, what="the results")
    require_free(options.out)
    scores = {} if options.scores is None else read_scores(options.scores)
    dataset, _, images, _ = open_folder(data_dir, options.dataset)
    reader = get_format(dataset)
    results = results_in(options.results, of_tiles=index_in(data_dir) is not None)
    seen = looked_at(results, images, data_dir)
    found = seen.among(read_classes(dataset, data_dir, seen.names))
    items = [Item(name, images[name], reader.label_path(data_dir, name)) for name in seen.names]
    least = least_scores(found.class_names, scores, options.min_score)
    problems: list[LabelError] = []
    is_empty = reader.missing_is_empty or options.missing_labels == "empty"
    items = stop.between(progress_bar(items, unit="picture", desc="comparing"))
    read = label_reader(dataset, data_dir)
    what = (found.detections, found.class_names, seen.class_names, least)
    done = review(items, read, is_empty, *what, problems.append)
    if done.num_pictures and not done.num_labels:
        warn(f"{data_dir}: no picture has a label; is its format {dataset} (--dataset)?")
    if done.unknown:
        counts = ", ".join(f"{number} {name}" for name, number in done.unknown.most_common())
        warn(f"{results} knows nothing of some classes, whose labels are beyond doubt: {escaped(counts)}")
    _write(options, done, results, shown_scores(least), stop)
    report_problems([escaped(str(problem)) for problem in problems], "bad labels were left out")
    _tell(done, options.out)
    return 1 if problems else 0


def _write(options: argparse.Namespace, done: Review, results: Path, scores: str, stop: StopRequest) -> None:
    """The table of all doubts, the pictures in their order, and the page."""
    reading = reading_in(results, Reading(options.value_range, options.bands))
    facts = {
        "data_dir": options.data_dir,
        "results": escaped(str(results)),
        "num_pictures": done.num_pictures,
        "scores": scores,
        "table": TABLE,
    }

    def track(remarks: Sequence[Remark]) -> Iterator[Remark]:
        return stop.between(progress_bar(remarks, unit="picture", desc="drawing"))

    page = review_page(done.remarks, partial(open_picture, reading=reading), options.num, track, **facts)
    write_csv(options.out / TABLE, [COLUMNS, *(remark.row() for remark in done.remarks)])
    write_lines(options.out / PICTURES, worst_first(done.remarks))
    write_text(options.out / PAGE, page)


def _tell(done: Review, out: Path) -> None:
    remarks = done.remarks
    counts = Counter(remark.kind for remark in remarks)
    strong = Counter(remark.kind for remark in remarks if remark.strength >= STRONG)
    width = max(len(kind.title) for kind in KINDS.values())
    print(f"{counted(done.num_pictures, 'picture')}; doubts, and those of a strength of {STRONG} and more:")
    for name, kind in KINDS.items():
        print(f"  {kind.title:{width}} {counts[name]:8} {strong[name]:8}")
        for remark in [remark for remark in remarks if remark.kind == name][:SHOWN]:
            print(f"    {remark.strength:.2f} {escaped(remark.place)}: {escaped(remark.what)}")
    print(f"written: {out / PAGE}, {out / TABLE}, {out / PICTURES}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "review_labels",
        description="Compare labels with what a network found in the same pictures, and list where they disagree most: "
        "objects without a label, of another class, labels beside the object, and such where nothing is.",
        epilog=f"Writes {PAGE}, which shows the strongest doubts of each kind, {TABLE} with all of them and "
        f"{PICTURES}, the pictures with the strongest doubts in all first. Labels are not changed. Results on the "
        "training pictures come of --phase test --split train. Exit codes: 0 done, 1 labels that cannot be read, 2 a "
        "wrong flag.",
    )
    add = parser.add_argument
    add("results", type=Path, metavar="RESULTS", help="a run folder, or a folder of Task1_<class>.txt files")
    add("data_dir", type=Path, metavar="DATA_DIR", help="folder of the data; nothing is written there")
    add("out", type=Path, metavar="OUT", help="a new folder")
    parser.add_dataset(FORMATS)
    add(
        "--min_score",
        type=share,
        default=MIN_SCORE,
        metavar="S",
        help="boxes speak from this score on, 0 to 1 [default: %(default)s]",
    )
    add("--scores", type=Path, metavar="PATH", help=SCORES_HELP)
    add(
        "--num",
        type=whole(0),
        default=60,
        metavar="N",
        help="doubts of a kind that the page shows [default: %(default)s]",
    )
    parser.add_missing_labels("is left out and told, or has no objects")
    parser.add_reading_told()
    options = parser.parse_args(arguments)
    check_reading(options.bands, options.value_range)
    return options


if __name__ == "__main__":
    sys.exit(main())
