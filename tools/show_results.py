"""The command that shows results in a browser, with a slider for the score: `python -m tools.show_results RUN OUT`."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.label_formats.places import predicted_pictures
from datasets.picture_files.images import ImageError
from datasets.picture_files.layouts import Reading
from datasets.picture_files.picture_windows import open_picture
from datasets.readers import FORMATS, read_classes, read_samples
from datasets.splits import ListError
from DOTA_devkit.atomic import write_text
from DOTA_devkit.labels import LabelError
from DOTA_devkit.task_files import NO_DETECTIONS
from DOTA_devkit.truths import ImageTruth
from tools.data import none_readable, truths_of
from tools.data_check.data_checks import escaped
from tools.data_folders import open_folder
from tools.detection.looked_at import LookedAt, looked_at, pictures_asked_for, pictures_told
from tools.detection.results import reading_in, results_in
from tools.drawings.drawing_files import write_picture
from tools.result_page.result_page import Compared, Shown, compare, result_page, shrunk
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.destinations import refuse_data_folder, require_free
from tools.running.flag_types import share, whole
from tools.running.messages import counted, report_problems
from tools.running.progress import progress_bar
from tools.running.stop_request import StopRequest
from tools.setting_rules import check_reading
from tools.tile_folder import index_in

PAGE, PICTURES = "results.html", "pictures"
USUAL_SCORE = 0.3  # at which the worst pictures are chosen
NO_TRUTH = ImageTruth(np.zeros((0, 4, 2)), np.zeros(0, np.int64), np.zeros(0, np.int64))


class Looked(NamedTuple):
    """What the page is made of: where each picture lies, what was found, and the objects, None without labels."""

    images: Mapping[str, Path]
    found: LookedAt
    truths: Mapping[str, ImageTruth] | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Show; returns the exit code: 0 done, 1 labels or pictures that cannot be read or anything else that a person can
    mend, 2 a wrong flag, 130 and 143 stopped by Ctrl-C and SIGTERM."""
    stop = StopRequest()
    return exit_code(lambda: stop.around(_run, _parse(arguments)), stop)


def _run(options: argparse.Namespace, stop: StopRequest) -> int:
    require_free(options.out)
    refuse_data_folder(options.out, options.results, what="the results")
    if options.data_dir is not None:
        refuse_data_folder(options.out, options.data_dir)
    of_tiles = None if options.data_dir is None else index_in(options.data_dir) is not None
    results = results_in(options.results, of_tiles=of_tiles)
    problems: list[LabelError | ImageError] = []
    looked = _without_labels(options, results) if options.data_dir is None else _labelled(options, results, problems)
    stop.check()
    found = looked.found
    compared = []
    for name in stop.between(progress_bar(found.names, unit="picture", desc="comparing")):
        boxes, truth = found.detections.get(name, NO_DETECTIONS), (looked.truths or {}).get(name, NO_TRUTH)
        boxes = boxes.at(boxes.reach(options.min_score))
        compared.append(compare(name, boxes, truth, options.ignore_overlap))
    chosen = _choose(compared, options, has_truth=looked.truths is not None)
    reading = reading_in(results, Reading(options.value_range, options.bands))
    try:
        shown = [*stop.between(_write_pictures(chosen, compared, looked.images, options, reading, problems))]
    except BaseException:
        shutil.rmtree(options.out / PICTURES, ignore_errors=True)  # without the page they would stand in its way
        raise
    if not shown:
        raise ImageError(f"none of the pictures can be read, such as {problems[-1]}")
    facts = {
        "results": escaped(str(results)),
        "labels": escaped(str(options.data_dir)),
        "is_told": found.is_told,
        "choice": "chosen by seed" if looked.truths is None else f"those with most errors from {USUAL_SCORE} on",
    }
    page = result_page(
        compared, shown, found.class_names, options.min_score, has_truth=looked.truths is not None, **facts
    )
    write_text(options.out / PAGE, page)
    report_problems([escaped(str(problem)) for problem in problems], "labels or pictures were left out")
    print(f"written: {options.out / PAGE}, to open in a browser; it shows {counted(len(shown), 'picture')}")
    return 1 if problems else 0


def _labelled(options: argparse.Namespace, results: Path, problems: list) -> Looked:
    """The results beside the labels of --data_dir; bad labels go to `problems`."""
    data_dir: Path = options.data_dir
    dataset, _, images, _ = open_folder(data_dir, options.dataset, "--data_dir")
    found = looked_at(results, images, data_dir)
    found = found.among(read_classes(dataset, data_dir, found.names))
    how = {"on_bad_label": problems.append, "missing_labels": options.missing_labels}
    samples = read_samples(dataset, data_dir, found.names, found.class_names, **how)
    if not samples:
        raise ListError(f"{data_dir}: {none_readable(found.names)}")
    truths = truths_of(samples)
    return Looked(images, found._replace(names=[name for name in found.names if name in truths]), truths)


def _without_labels(options: argparse.Namespace, results: Path) -> Looked:
    """The results, on the pictures that they are of."""
    place = pictures_told(results) if options.images is None else pictures_asked_for(options.images)
    if place is None:
        raise SettingsError(
            f"{results}: its pictures are not known; --images DIR or --data_dir DIR tells where they are"
        )
    if isinstance(place, Mapping):
        return Looked(place, looked_at(results, place, "the pattern"), None)
    if not place.is_dir():
        raise SettingsError(f"--images {place}: no such folder")
    refuse_data_folder(options.out, place, what="the folder of the pictures")
    images = predicted_pictures(place)
    return Looked(images, looked_at(results, images, place), None)


def _choose(compared: Sequence[Compared], options: argparse.Namespace, has_truth: bool) -> list[int]:
    """The numbers of the pictures to show, in their order: those with most errors, or any."""
    if has_truth:
        order = np.argsort([-item.errors_at(USUAL_SCORE) for item in compared], kind="stable")
    else:
        order = np.random.default_rng(options.seed).permutation(len(compared))
    return np.sort(order[: options.num]).tolist()


def _write_pictures(
    chosen: Sequence[int],
    compared: Sequence[Compared],
    images: Mapping[str, Path],
    options: argparse.Namespace,
    reading: Reading,
    problems: list,
) -> Iterator[Shown]:
    """Write the pictures that the page shows; those that cannot be read go to `problems`."""
    for number in progress_bar(chosen, unit="picture", desc="pictures"):
        try:
            picture, scale = shrunk(open_picture(images[compared[number].name], reading=reading), options.side)
        except ImageError as error:
            problems.append(error)
            continue
        file = f"{PICTURES}/{number + 1:06d}.jpg"  # numbers, since names may be none for an address
        write_picture(options.out / file, picture)
        yield Shown(number, file, picture.shape[:2], scale)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "show_results",
        description="Make a page for a browser of results: pictures with their boxes, a slider for the score from "
        "which on they are shown, classes to choose and, beside labels, what is right, false and missed at that score, "
        "with precision and recall.",
        epilog=f"Writes OUT/{PAGE} and OUT/{PICTURES}/, to be kept together; the page loads nothing from anywhere "
        "else. Exit codes: 0 done, 1 labels or pictures that cannot be read, 2 a wrong flag.",
    )
    add = parser.add_argument
    add("results", type=Path, metavar="RESULTS", help="a run folder, or a folder of Task1_<class>.txt files")
    add("out", type=Path, metavar="OUT", help="a new folder")
    add("--data_dir", type=Path, metavar="DIR", help="folder of the data, to compare the results with its labels")
    parser.add_dataset(FORMATS)
    parser.add_missing_labels()
    add(
        "--images",
        type=Path,
        metavar="DIR",
        help="without labels: folder of the pictures, or a pattern in quotes such as '/data/flights/**/*.tif' "
        "[default: where the results tell]",
    )
    add(
        "--min_score",
        type=share,
        default=0.05,
        metavar="S",
        help="boxes are on the page from this score on, 0 to 1 [default: %(default)s]",
    )
    add(
        "--num",
        type=whole(1),
        default=200,
        metavar="N",
        help=f"most pictures to show: beside labels those with most errors at score {USUAL_SCORE}, else chosen by "
        "seed; what is counted is of all [default: %(default)s]",
    )
    parser.add_picture_seed()
    add(
        "--side",
        type=whole(64),
        default=1280,
        metavar="PX",
        help="larger pictures are shrunk to this longer side [default: %(default)s]",
    )
    add(
        "--ignore_overlap",
        type=share,
        default=0.5,
        metavar="X",
        help="false alarms with more than this part of their area in an ignore region do not count [default: "
        "%(default)s]",
    )
    parser.add_reading_told()
    options = parser.parse_args(arguments)
    check_reading(options.bands, options.value_range)
    if options.data_dir is None and (options.dataset != "auto" or options.missing_labels != "error"):
        parser.error("--dataset and --missing_labels go with --data_dir, whose labels they are about")
    if options.data_dir is not None and options.images is not None:
        parser.error("argument --images: does not go with --data_dir, which has its own")
    return options


if __name__ == "__main__":
    sys.exit(main())
