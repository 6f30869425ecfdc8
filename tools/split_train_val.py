"""The command that shares out pictures to lists: `python -m tools.split_train_val DATA_DIR --out LISTS_DIR`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from datasets.balanced_split import split_balanced
from datasets.near_duplicates import (
    MAX_DISTANCE,
)
from datasets.picture_files.rasters import why_no_rasterio
from datasets.picture_files.shared_ground import shared_ground
from datasets.readers import FORMATS, Sample, get_format, read_classes, read_samples
from datasets.splits import ListError
from DOTA_devkit.labels import LabelError
from DOTA_devkit.tile_index import INDEX_NAME
from DOTA_devkit.tiling import check_picture_name
from tools.data import none_readable
from tools.data_folders import open_folder
from tools.picture_groups import Pictures, Twins, group_pictures, part_pictures, print_twins
from tools.picture_lists import FOLD, LISTS, lists_of_folds, lists_of_split, print_shares, write_lists
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.destinations import refuse_data_folder
from tools.running.flag_types import whole
from tools.running.messages import report_bad_labels, warn
from tools.running.progress import progress_bar
from tools.setting_rules import check_bands

USUAL_VAL = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Split and print the table; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a person can
    mend, 130 and 143 stopped by Ctrl-C and SIGTERM."""
    return exit_code(lambda: split_folder(_parse(arguments)))


def split_folder(options: argparse.Namespace) -> None:
    """Share out the pictures of options.data_dir and write the four lists, or those of each fold, to options.out.

    Raises SettingsError for flags that do not fit the data; ListError, LabelError, ImageError, ValueError and OSError
    for what is wrong in the data or on the disk. Then nothing is written.
    """
    pictures = read_pictures(options)
    if options.folds:
        fractions = [1 / options.folds] * options.folds
    else:
        fractions = [1 - options.val - options.test, options.val, options.test][: 3 if options.test else 2]
    ground = np.zeros((0, 2), np.int64)
    if not (options.data_dir / INDEX_NAME).is_file():  # tiles of one picture stay together, or are parted by place
        track = partial(progress_bar, desc="places on the map", unit="picture")
        unplaced: list[Path] = []
        ground = shared_ground(pictures.paths, track, options.group_by_ground, unplaced)
        if options.group_by_ground:
            _tell_of_unplaced(unplaced, len(pictures.paths))
    groups, list_of, twins = _share_out(pictures, options, ground, fractions)
    if options.folds:
        lists = lists_of_folds(pictures.names, list_of, options.folds)
        titles = [f"fold {number + 1}" for number in range(options.folds)]
        what = f"the lists of {options.folds} folds to {options.out / FOLD.format('1')} ..; each validates once"
    else:
        lists = lists_of_split(pictures.names, list_of, has_test=bool(options.test))
        titles = LISTS[: len(fractions)]
        repeated = "; trainval.txt is train.txt and test.txt is val.txt once more, for want of --test"
        what = f"{', '.join(f'{name}.txt' for name in lists)} to {options.out}{'' if options.test else repeated}"
    write_lists(options.out, lists, options.overwrite)
    print_shares(pictures, groups, list_of, titles)
    if options.folds:  # each picture is held out once
        _warn_of_shared_ground(pictures.names, ground, list_of, np.ones(len(list_of), bool))
    else:
        _warn_of_shared_ground(pictures.names, ground, list_of > 0, list_of > 0)
    if twins is not None:
        print_twins(pictures.names, twins, options)
    print(f"written: {what}")


def _share_out(
    pictures: Pictures, options: argparse.Namespace, ground: np.ndarray, fractions: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, Twins | None]:
    """The group (N,) of each picture, its list (N,), -1 for none, and what is known of near twins."""
    rng = np.random.default_rng(options.seed)
    if options.part_pictures:
        return *part_pictures(pictures, options, fractions, rng), None
    groups, twins = group_pictures(pictures, options, ground)
    if len(set(groups.tolist())) < len(fractions):
        raise ListError(_too_few(options.data_dir, pictures, len(fractions)))
    return groups, split_balanced(pictures.counts, groups, fractions, rng), twins


def read_pictures(options: argparse.Namespace) -> Pictures:
    """Names and objects of the pictures in options.data_dir, by name; bad labels are reported and not counted, nor is
    a picture of which no label can be used."""
    dataset, _, images, _ = open_folder(options.data_dir, options.dataset)
    label_path = get_format(dataset).label_path
    inputs = (path for name, image in images.items() for path in (image, label_path(options.data_dir, name)))
    for folder in {path.parent for path in inputs}:
        if folder.resolve() != options.data_dir.resolve():
            refuse_data_folder(options.out, folder, "--out")
    names = sorted(images)
    for name in names:
        try:
            check_picture_name(name)
        except ValueError as error:
            raise ListError(f"{options.data_dir}: {error}") from error
    class_names = read_classes(dataset, options.data_dir, names)
    problems: list[LabelError] = []
    samples = read_samples(
        dataset,
        options.data_dir,
        names,
        class_names,
        on_bad_label=problems.append,
        missing_labels=options.missing_labels,
    )
    not_listed = "pictures in no list, for none of their labels can be used"
    report_bad_labels(problems, samples, "bad labels, which are not counted", not_listed)
    if not samples:
        raise ListError(f"{options.data_dir}: {none_readable(names)}")
    names = [sample.name for sample in samples]
    counts = np.array([_count_objects(sample, len(class_names)) for sample in samples])
    return Pictures(names, [images[name] for name in names], class_names, counts)


def _tell_of_unplaced(unplaced: Sequence[Path], num_pictures: int) -> None:
    """Warn of pictures that --group_by_ground knows nothing of. Raises SettingsError where it knows nothing of any."""
    if len(unplaced) == num_pictures:
        what = f"none of the {num_pictures} pictures tells where it lies (such as {unplaced[0]})"
        raise SettingsError(f"--group_by_ground: {what}; only GeoTIFF and JPEG 2000 files can")
    if unplaced:
        what = f"knows nothing of {len(unplaced)} of the {num_pictures} pictures, such as {unplaced[0]}"
        warn(f"--group_by_ground {what}, which do not tell where they lie; each is a group of its own")


def _warn_of_shared_ground(
    names: Sequence[str], ground: np.ndarray, list_of: np.ndarray, is_held_out: np.ndarray
) -> None:
    """Warn of held out pictures that show ground which pictures of another list show, too: pairs (P, 2) `ground`."""
    torn = np.unique(ground[list_of[ground[:, 0]] != list_of[ground[:, 1]]])
    known = torn[is_held_out[torn]]
    if len(known):
        warn(
            f"{len(known)} of the {int(is_held_out.sum())} held out pictures, such as {names[known[0]]}, show ground "
            "that training pictures show, too, by where they lie on the map; --group_by_ground keeps such together"
        )


def _count_objects(sample: Sample, num_classes: int) -> np.ndarray:
    return np.bincount(sample.labels[~sample.ignored], minlength=num_classes)


def _too_few(data_dir: Path, pictures: Pictures, num_lists: int) -> str:
    if len(pictures.names) == 1:
        return f"{data_dir}: one picture cannot be split; main.py without lists trains on it and scores on it"
    if (data_dir / INDEX_NAME).is_file():
        return (
            f"{data_dir}: these are tiles of fewer pictures than the {num_lists} lists; --part_pictures parts each of "
            "them by place"
        )
    return (
        f"{data_dir}: {len(pictures.names)} pictures in fewer groups than the {num_lists} lists; add pictures, or "
        "group less (--group_by, --max_distance)"
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _make_parser()
    options = parser.parse_args(arguments)
    check_bands(options.bands)
    if options.part_pictures and (options.group_by or options.near_duplicates or options.group_by_ground):
        parser.error("argument --part_pictures: goes without flags that keep tiles together")
    if options.group_by_ground and (why_not := why_no_rasterio()):
        raise SettingsError(f"--group_by_ground needs rasterio: {why_not}")
    if options.group_by_ground and (options.data_dir / INDEX_NAME).is_file():
        raise SettingsError("--group_by_ground: these are tiles; group the whole pictures, and cut them with --lists")
    if options.folds and (options.part_pictures or options.test or options.val != USUAL_VAL):
        parser.error("argument --folds: goes without --val, --test and --part_pictures")
    if not (options.val > 0 and options.test >= 0 and options.val + options.test < 1):
        parser.error(
            f"--val {options.val:g} --test {options.test:g}: --val must be above 0, --test at least 0, and both "
            "together below 1"
        )
    try:
        options.group_by = options.group_by if options.group_by is None else re.compile(options.group_by)
    except re.error as error:
        parser.error(f"--group_by {options.group_by!r}: no regular expression ({error})")
    return options


def _make_parser() -> Parser:
    parser = Parser(
        "split_train_val",
        description="Share out the pictures of a data folder to lists for training, validation and test, so that each "
        "has its share of every class and nothing that belongs together is torn apart; `main.py --lists LISTS_DIR` "
        "reads them.",
        epilog="The same pictures, labels and flags give the same lists on every machine. trainval.txt is train and "
        "val together, to go with test.txt. With --test 0 (the default) test.txt is the same as val.txt, and "
        "trainval.txt the same as train.txt: whichever pair a program reads, train and val or trainval and test, no "
        f"picture of the one is in the other. Tiles that tools.split_tiles has cut ({INDEX_NAME} lies beside them) "
        "stay together with the others of their picture. Exit codes: 0 done, 1 something in the data, 2 a wrong flag.",
    )
    add = parser.add_argument
    add(
        "data_dir",
        type=Path,
        metavar="DATA_DIR",
        help="folder of the data; nothing is written there unless --out is it",
    )
    add("--out", type=Path, required=True, metavar="LISTS_DIR", help="folder to write the four lists to")
    parser.add_dataset(FORMATS)
    add("--val", type=float, default=USUAL_VAL, metavar="X", help="part that validates, 0 to 1 [default: %(default)s]")
    add("--test", type=float, default=0.0, metavar="X", help="part held out for testing, 0 to 1 [default: %(default)s]")
    add(
        "--folds",
        type=whole(2),
        metavar="K",
        help="for little data: share out the pictures to K parts and write lists for each, to LISTS_DIR/fold_1 and so "
        "on, in which this part validates and all others train; tools.join_results brings the results together",
    )
    add(
        "--group_by",
        metavar="REGEX",
        help="pictures in whose names this regular expression finds the same text stay together; the text is that of "
        r"the first group in brackets, else all of it: '^(\w+)_\d+$' keeps the frames of a video together",
    )
    add(
        "--group_by_ground",
        action="store_true",
        help="pictures that show the same ground, by where they lie on the map, stay together (GeoTIFF; more than a "
        "tenth of the smaller one; needs requirements-geo.txt)",
    )
    add(
        "--part_pictures",
        action="store_true",
        help="of tiles, such as those of one orthomosaic: cut each picture across its longer side, so that one end "
        "trains and the other validates; tiles that reach over the line are in no list",
    )
    add(
        "--near_duplicates",
        action="store_true",
        help="keep pictures together that show nearly the same, by a perceptual hash of each",
    )
    add(
        "--max_distance",
        type=whole(0, 31),
        default=MAX_DISTANCE,
        metavar="BITS",
        help="bits of 64 in which the hashes of near twins differ at most [default: %(default)s]",
    )
    add("--seed", type=whole(0), default=0, metavar="N", help="another seed, another split [default: %(default)s]")
    parser.add_missing_labels()
    add("--overwrite", action="store_true", help="replace lists that are in LISTS_DIR already and read otherwise")
    parser.add_bands()
    parser.add_workers("threads that hash pictures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
