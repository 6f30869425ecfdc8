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
from datasets.picture_files.image_folders import no_picture_in
from datasets.picture_files.rasters import why_no_rasterio
from datasets.picture_files.shared_ground import shared_ground
from datasets.readers import FORMATS, Sample, detect_format, list_images, read_classes, read_samples
from datasets.splits import ListError
from DOTA_devkit.atomic import write_text
from DOTA_devkit.labels import LabelError
from DOTA_devkit.tile_index import INDEX_NAME
from DOTA_devkit.tiling import check_picture_name
from tools.data import none_readable
from tools.picture_groups import Pictures, group_pictures, part_pictures, print_twins
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.flag_types import whole
from tools.running.messages import report_bad_labels, warn, warn_of_dead_links
from tools.running.progress import progress_bar
from tools.setting_rules import check_bands
from tools.tile_folder import unfinished_tiles

LISTS = ("train", "val", "test")
SHOWN_CLASSES = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Split and print the table; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a person can
    mend, 130 and 143 stopped by Ctrl-C and SIGTERM."""
    return exit_code(lambda: split_folder(_parse(arguments)))


def split_folder(options: argparse.Namespace) -> None:
    """Share out the pictures of options.data_dir and write the four lists to options.out.

    Raises SettingsError for flags that do not fit the data; ListError, LabelError, ImageError, ValueError and OSError
    for what is wrong in the data or on the disk. Then nothing is written.
    """
    pictures = read_pictures(options)
    fractions = [1 - options.val - options.test, options.val, options.test][: 3 if options.test else 2]
    rng, twins = np.random.default_rng(options.seed), None
    ground = np.zeros((0, 2), np.int64)
    if not (options.data_dir / INDEX_NAME).is_file():  # tiles of one picture stay together, or are parted by place
        track = partial(progress_bar, desc="places on the map", unit="picture")
        ground = shared_ground(pictures.paths, track, of_all=options.group_by_ground)
    if options.part_pictures:
        groups, list_of = part_pictures(pictures, options, fractions, rng)
    else:
        groups, twins = group_pictures(pictures, options, ground)
        if len(set(groups.tolist())) < len(fractions):
            raise ListError(_too_few(options.data_dir, pictures, len(fractions)))
        list_of = split_balanced(pictures.counts, groups, fractions, rng)
    lists = _make_lists(pictures.names, list_of, has_test=bool(options.test))
    _write_lists(options.out, lists, options.overwrite)
    print_table(pictures, groups, list_of)
    _warn_of_shared_ground(pictures.names, ground, list_of)
    if twins is not None:
        print_twins(pictures.names, twins, options)
    repeated = "; trainval.txt is train.txt and test.txt is val.txt once more, for want of --test"
    print(f"written: {', '.join(f'{name}.txt' for name in lists)} to {options.out}{'' if options.test else repeated}")


def read_pictures(options: argparse.Namespace) -> Pictures:
    """Names and objects of the pictures in options.data_dir, by name; bad labels are reported and not counted, nor is
    a picture of which no label can be used."""
    if not options.data_dir.is_dir():
        raise SettingsError(f"{options.data_dir}: no such data folder")
    if fault := unfinished_tiles(options.data_dir):
        raise SettingsError(f"{options.data_dir}: {fault}")
    dataset = detect_format(options.data_dir) if options.dataset == "auto" else options.dataset
    images = list_images(dataset, options.data_dir)
    if not images:
        raise ListError(no_picture_in(options.data_dir))
    warn_of_dead_links(images.values())
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


def print_table(pictures: Pictures, groups: np.ndarray, list_of: np.ndarray) -> None:
    """Pictures, groups and objects of each class, by list, with the list's share of them."""
    chosen = [list_of == number for number in range(int(list_of.max()) + 1)]
    rows = [("pictures", [int(part.sum()) for part in chosen])]
    rows += [("groups", [len(set(groups[part].tolist())) for part in chosen])]
    for label, name in enumerate(pictures.class_names):
        rows.append((name, [int(pictures.counts[part, label].sum()) for part in chosen]))
    width = max(len(name) for name, _ in rows)
    print(" " * width + "".join(f"{name:>18}" for name in LISTS[: len(chosen)]))
    for name, numbers in rows:
        total = max(sum(numbers), 1)
        print(f"{name:{width}}" + "".join(f"{number:10} {number / total:6.1%}" for number in numbers))
    lacking = []
    for label, name in enumerate(pictures.class_names):
        holders = len(set(groups[pictures.counts[:, label] > 0].tolist()))
        absent = [LISTS[k] for k, part in enumerate(chosen) if not pictures.counts[part, label].any()]
        if holders and absent:
            lacking.append(f"class '{name}', which is in {holders} of the groups, is not in {' and '.join(absent)}")
    for sentence in lacking[:SHOWN_CLASSES]:
        warn(sentence)
    if len(lacking) > SHOWN_CLASSES:
        warn(f"and {len(lacking) - SHOWN_CLASSES} more classes are not in every list")


def _warn_of_shared_ground(names: Sequence[str], ground: np.ndarray, list_of: np.ndarray) -> None:
    """Warn of held out pictures that show ground which training pictures show, too: pairs (P, 2) `ground`."""
    both = np.concatenate([ground, ground[:, ::-1]])
    known = np.unique(both[(list_of[both[:, 0]] > 0) & (list_of[both[:, 1]] == 0), 0])
    if len(known):
        warn(
            f"{len(known)} of the {int((list_of > 0).sum())} held out pictures, such as {names[known[0]]}, show ground "
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


def _make_lists(names: Sequence[str], list_of: np.ndarray, has_test: bool) -> dict[str, list[str]]:
    """The four lists. Whichever pair a reader takes, train and val or trainval and test, no group is on both sides."""
    train, val, test = ([name for name, k in zip(names, list_of.tolist(), strict=True) if k == n] for n in range(3))
    if not has_test:
        return {"trainval": train, "train": train, "val": val, "test": val}
    trainval = [name for name, k in zip(names, list_of.tolist(), strict=True) if k in (0, 1)]
    return {"trainval": trainval, "train": train, "val": val, "test": test}


def _write_lists(out: Path, lists: dict[str, list[str]], overwrite: bool) -> None:
    texts = {out / f"{name}.txt": "".join(f"{entry}\n" for entry in names) for name, names in lists.items()}
    others = [path for path, text in texts.items() if path.exists() and path.read_bytes() != text.encode()]
    if others and not overwrite:
        raise SettingsError(f"{others[0]}: is there with other content; name another --out, or give --overwrite")
    for path, text in texts.items():
        write_text(path, text)


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
    add("--val", type=float, default=0.1, metavar="X", help="part that validates, 0 to 1 [default: %(default)s]")
    add("--test", type=float, default=0.0, metavar="X", help="part held out for testing, 0 to 1 [default: %(default)s]")
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
    add(
        "--missing_labels",
        choices=("error", "empty"),
        default="error",
        help="a picture without a label file is an error, or has no objects [default: %(default)s]",
    )
    add("--overwrite", action="store_true", help="replace lists that are in LISTS_DIR already and read otherwise")
    parser.add_bands()
    parser.add_workers("threads that hash pictures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
