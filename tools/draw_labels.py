"""The command that draws labels on their pictures, to look at: `python -m tools.draw_labels DATA_DIR OUT_DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.picture_files.images import ImageError
from datasets.picture_files.layouts import Reading
from datasets.picture_files.picture_windows import read_whole
from datasets.readers import FORMATS, Read, get_format, label_reader, read_classes
from datasets.splits import choose_split
from DOTA_devkit.labels import IGNORED_CLASS, NO_LABELS, LabelError, Labels
from tools.data_check.data_checks import escaped
from tools.data_folders import open_folder
from tools.drawing import numbered_classes
from tools.drawings.drawing_files import check_drawings, write_picture
from tools.drawings.truth_drawing import draw_truth
from tools.running.command_line import Parser, exit_code
from tools.running.destinations import refuse_data_folder
from tools.running.flag_types import whole
from tools.running.messages import report_problems, warn
from tools.running.progress import progress_bar
from tools.running.stop_request import StopRequest
from tools.setting_rules import check_bands

LONGEST_JPEG = 65_500  # pixels that libjpeg writes


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a person can mend."""
    stop = StopRequest()
    return exit_code(lambda: stop.around(draw_folder, _parse(arguments)), stop)


def draw_folder(options: argparse.Namespace, stop: StopRequest) -> int:
    """Draw pictures, chosen by seed, of a list or of all; labels and pictures that cannot be read are told and left
    out. Returns the exit code, 1 when anything was."""
    data_dir, out_dir, split = options.data_dir, options.out_dir, options.split
    reading = Reading(bands=options.bands)
    refuse_data_folder(out_dir, data_dir)
    dataset, _, images, _ = open_folder(data_dir, options.dataset)
    reader = get_format(dataset)
    known = reader.splits(data_dir)
    names = choose_split(data_dir, images, "val", split, known=known).names if split else sorted(images)
    chosen = np.sort(np.random.default_rng(options.seed).permutation(len(names))[: options.num]).tolist()
    check_drawings(out_dir / f"{names[place]}.jpg" for place in chosen)
    problems: list[LabelError | ImageError] = []
    class_names = read_classes(dataset, data_dir, names)
    read = label_reader(dataset, data_dir)
    num_drawn = num_objects = 0
    strange: set[str] = set()
    for name in progress_bar([names[place] for place in chosen], desc="drawing", unit="picture"):
        labels = _read(reader.label_path(data_dir, name), read, reader.missing_is_empty, problems)
        try:
            picture = read_whole(images[name], reading=reading)
            if max(picture.shape) > LONGEST_JPEG:
                raise ImageError(f"{images[name]}: a side is longer than the {LONGEST_JPEG} pixels that a JPEG holds")
        except ImageError as error:
            problems.append(error)
            continue
        write_picture(out_dir / f"{name}.jpg", draw_truth(picture, labels, labels.ignored, class_names))
        strange |= {*labels.names} - {*class_names, IGNORED_CLASS}
        num_drawn, num_objects = num_drawn + 1, num_objects + len(labels.names)
        stop.check()
    report_problems([escaped(str(problem)) for problem in problems], "labels or pictures could not be read")
    if strange:
        warn(f"not among the classes: {escaped(', '.join(sorted(strange)))}")
    if numbered := numbered_classes(class_names):
        print(numbered)
    print(f"{num_drawn} pictures of {len(names)} with {num_objects} labels drawn to {out_dir}")
    return 1 if problems else 0


def _read(path: Path, read: Read, missing_is_empty: bool, problems: list[LabelError | ImageError]) -> Labels:
    if not path.exists():
        if missing_is_empty:
            return NO_LABELS
        problems.append(LabelError(path, 1, "no such label file"))
        return NO_LABELS
    try:
        return read(path, problems.append)
    except LabelError as error:
        problems.append(error)
        return NO_LABELS


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "draw_labels",
        description="Draw the labels of a data set on its pictures: class, corner order, difficult and ignored ones.",
        epilog="A dot marks an object's first corner and a thick line its first side, which is roLabelImg's w side. "
        "Dashed is difficult, grey and hatched is an ignore region (difficult 2, or class DontCare). Exit codes: 0 "
        "done, 1 something in the data, 2 a wrong flag.",
    )
    add = parser.add_argument
    add("data_dir", type=Path, metavar="DATA_DIR", help="folder of the data; nothing is written there")
    add(
        "out_dir",
        type=Path,
        metavar="OUT_DIR",
        help="folder to write <name>.jpg to; earlier drawings are replaced, other pictures never",
    )
    parser.add_dataset(FORMATS)
    add(
        "--num",
        type=whole(0),
        default=50,
        metavar="N",
        help="most pictures to draw, chosen by seed [default: %(default)s]",
    )
    add("--split", metavar="NAME", help="draw pictures of this list, such as train [default: of all pictures]")
    parser.add_picture_seed()
    parser.add_bands()
    options = parser.parse_args(arguments)
    check_bands(options.bands)
    return options


if __name__ == "__main__":
    sys.exit(main())
