"""The command that cuts objects out of their pictures, upright: `python -m tools.cut_objects SRC OUT --from FORMAT`."""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from datasets.augment import LONGEST_WARPED
from datasets.label_formats.annotations import Ledger, Picture, take_objects
from datasets.label_formats.csv_table import COLUMNS, rows_of
from datasets.label_formats.places import locate_pictures
from datasets.object_cuts import cut_object, cut_size, upright_boxes
from datasets.picture_files.images import ImageError
from datasets.picture_files.layouts import Reading
from datasets.picture_files.picture_windows import open_picture
from DOTA_devkit.atomic import write_csv
from DOTA_devkit.clipping import clip_quads
from DOTA_devkit.labels import LabelError
from DOTA_devkit.task_files import quoted
from tools.label_sources import (
    add_source_flags,
    lines_of_counts,
    read_labels_of,
    settle_source,
    source_lines,
    warn_of_losses,
)
from tools.picture_coding import write_pixels
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.destinations import refuse_data_folder, require_free
from tools.running.flag_types import share, whole
from tools.running.progress import progress_bar
from tools.setting_rules import check_reading
from tools.tile_pictures import padding_bgr

TABLE = "cuts.csv"
IGNORED = "ignore regions were not cut out"
TOO_SMALL = "objects with a side shorter than {} px were left out, as asked"
MOST_PIXELS = 16  # of a cut, times those of its picture
BEYOND = "objects of many times the size of their picture"
OUTSIDE = "objects of which their picture shows nothing were not cut out"
TOO_LONG = f"objects longer than {LONGEST_WARPED} px, which no cut can be"


def main(arguments: Sequence[str] | None = None) -> int:
    """Cut; returns the exit code: 0 done, 1 something was left out without being asked for, or cannot be read or
    written, 2 a wrong flag, 130 and 143 stopped by Ctrl-C and SIGTERM."""
    return exit_code(lambda: _run(_parse(arguments)), stopped=f"stopped; {TABLE} lists the cuts so far")


def _run(options: argparse.Namespace) -> int:
    settle_source(options)
    require_free(options.out)
    refuse_data_folder(options.out, options.src, what="the source")
    ledger = Ledger()
    annotated = read_labels_of(options, ledger, as_stored=True)
    annotated = locate_pictures(annotated, options.src, options.pictures, ledger, are_needed=True)
    rows: list[tuple[object, ...]] = []
    try:
        for picture in progress_bar(annotated.pictures, desc="cutting", unit="picture"):
            if picture.path is None:
                continue
            try:
                rows.extend(_cut_all(picture, options, ledger))
            except ImageError as error:
                ledger.faults.append(LabelError(picture.path, 1, str(error).removeprefix(f"{picture.path}: ")))
    finally:  # also of one that is stopped
        if rows:
            write_csv(options.out / TABLE, [("file", *COLUMNS), *rows])
    warn_of_losses(ledger)
    counts = Counter(str(row[2]) for row in rows)
    print("\n".join(lines_of_counts(counts, annotated.class_names)))
    print(f"written: {options.out}, with {TABLE}" if rows else "nothing was cut")
    return 1 if ledger.faults or ledger.left_out.total() else 0


def _cut_all(picture: Picture, options: argparse.Namespace, ledger: Ledger) -> Iterator[tuple[object, ...]]:
    """Write the objects of a picture; yields the row of each. Raises ImageError where it cannot be read."""
    is_ignored = picture.labels.ignored
    ledger.changed[IGNORED] += int(is_ignored.sum())
    objects = take_objects(picture, np.flatnonzero(~is_ignored))
    wanted = []
    for number, box in enumerate(upright_boxes(objects.labels.quads, options.upright == "first_side")):
        if min(box[2:4]) < options.min_side:
            ledger.changed[TOO_SMALL.format(options.min_side)] += 1
        elif max(cut_size(box, options.margin)) > LONGEST_WARPED:
            ledger.left_out[TOO_LONG] += 1
        else:
            wanted.append((number, box))
    if not wanted:
        return
    pixels = open_picture(picture.path, reading=Reading(options.value_range, options.bands))
    rows = list(rows_of(objects))
    height, width = pixels.shape[:2]
    is_seen = clip_quads(objects.labels.quads, 0, 0, width, height)[1] > 0
    for number, box in wanted:
        if not is_seen[number]:
            (ledger.left_out if picture.scores is None else ledger.changed)[OUTSIDE] += 1
            continue
        folder = quoted(objects.labels.names[number])
        if math.prod(cut_size(box, options.margin)) > MOST_PIXELS * math.prod(pixels.shape[:2]):
            ledger.left_out[BEYOND] += 1
            continue
        name = f"{folder}/{picture.name}_{number:04d}.{options.suffix}"
        write_pixels(options.out / name, cut_object(pixels, box, padding_bgr(3), options.margin))
        yield name, *rows[number]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "cut_objects",
        description="Cut objects out of their pictures, by labels or predictions, each turned upright, in the "
        "picture's own scale and in 8 bits: OUT/<class>/<picture>_<number>.png, which torchvision's ImageFolder reads, "
        f"to classify them or to read what stands on them; OUT/{TABLE} tells where each is from.",
        epilog="\n".join(
            [
                *source_lines(),
                "",
                "Exit codes: 0 done, 1 something was left out without being asked for, or cannot be read or written, 2 "
                "a wrong flag.",
            ]
        ),
    )
    add_source_flags(parser, "they are cut")
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="new or empty folder for the cuts")
    add(
        "--margin",
        type=share,
        default=0.0,
        metavar="X",
        help="what is shown around an object, at each end, as a part of its sides, 0 to 1 [default: %(default)s]",
    )
    add(
        "--upright",
        choices=("long_side", "first_side"),
        default="long_side",
        help="what lies from left to right: the longer side, whichever end comes first, or the side from the first "
        "corner to the second, where labels tell by it where the front is [default: %(default)s]",
    )
    add(
        "--min_side",
        type=whole(0),
        default=0,
        metavar="PX",
        help="leave out objects with a shorter side [default: %(default)s]",
    )
    add("--suffix", choices=("png", "jpg"), default="png", help="of the cuts [default: %(default)s]")
    parser.add_value_range()
    parser.add_bands()
    options = parser.parse_args(arguments)
    check_reading(options.bands, options.value_range)
    if options.bands is not None and len(options.bands) > 3:
        raise SettingsError("--bands: cuts show one band, or three; give as many")
    return options


if __name__ == "__main__":
    sys.exit(main())
