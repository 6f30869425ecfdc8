"""The command that cuts big pictures and their labels into tiles: `python -m tools.split_tiles SRC DST`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from datasets.class_lists import dota_classes, nearest_dota_classes, unknown_class
from datasets.format_detection import conversion_to_dota, detect_format
from datasets.label_formats.dota_folder import is_dota_folder, label_dir_in, open_dota
from datasets.picture_files.image_folders import no_picture_in
from datasets.picture_files.images import ImageError
from datasets.picture_files.layouts import MOST_IN_COLOURS, Reading
from datasets.picture_files.rasters import why_no_rasterio
from datasets.readers import FORMATS, names_found, read_classes
from datasets.splits import VAL_LISTS
from DOTA_devkit.atomic import write_json, write_lines
from DOTA_devkit.clipping import clip_quads
from DOTA_devkit.labels import read_labels
from DOTA_devkit.tile_index import INDEX_NAME, TileIndex, write_index
from DOTA_devkit.tiling import MIN_VISIBLE, check_grid, check_picture_name
from tools.picture_coding import JPEG_QUALITY
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.flag_types import share, whole
from tools.running.folder_lock import locked
from tools.running.messages import counted, report_problems, warn, warn_of_dead_links
from tools.running.processes import run_tasks
from tools.running.stop_request import StopRequest
from tools.setting_rules import LEAST_TILE, check_bands, check_scales, check_value_range
from tools.tile_folder import (
    SETTINGS,
    check_destination,
    clear_leftovers,
    make_index,
    read_lists,
    write_lists,
)
from tools.tile_pictures import PictureTask, SplitSettings, finished_record, split_picture

SHOWN_OBJECTS = 10
LABEL_PATH = FORMATS["dota"].label_path


def main(arguments: Sequence[str] | None = None) -> int:
    """Split and print the counts; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a person can
    mend, 130 and 143 stopped by Ctrl-C and SIGTERM (the same command goes on)."""
    stop = StopRequest()
    return exit_code(
        lambda: stop.around(_run, _parse(arguments)), stop, "stopped; the same command goes on where it stopped"
    )


def _run(options: argparse.Namespace, stop: StopRequest) -> None:
    split_folder(options.src, options.dst, _settings_of(options), options.workers, stop, options.lists)


def split_folder(
    src: Path, dst: Path, settings: SplitSettings, num_workers: int, stop: StopRequest, lists_dir: Path | None = None
) -> TileIndex:
    """Cut the pictures of a folder in DOTA's layout into tiles in another, and print what came of it. `lists_dir` holds
    other lists than its own.

    Pictures that an earlier run with the same settings has finished are passed over. Raises SettingsError for a `dst`
    that holds anything else; ImageError, LabelError, ListError and OSError for what is wrong in `src` or on the disk.
    """
    _refuse_other_formats(src)
    folder = open_dota(src)
    images = {name: path for name, path in folder.images.items() if name not in folder.unlabelled}
    if not images:
        raise ImageError(no_picture_in(src / "images"))
    warn_of_dead_links(images.values())
    for name in images:
        check_picture_name(name)
    if folder.unlabelled:
        print(f"{len(folder.unlabelled)} pictures of parts without labels are left out; cut these parts by themselves")
    is_labelled = is_dota_folder(src)
    if not is_labelled and settings.skip_empty:
        raise SettingsError(f"--skip_empty: without {label_dir_in(src)} nobody knows which tiles are empty")
    lists = read_lists(src, images, is_labelled, folder.splits, lists_dir)
    if (src / "classes.txt").is_file():
        settings = replace(settings, class_names=read_classes("dota", src, []))
    elif is_labelled:
        _check_classes(src, images)
    scored = {name for kind in VAL_LISTS for name in lists.get(kind, ())}
    tasks = [
        PictureTask(
            path,
            LABEL_PATH(src, name) if is_labelled else None,
            dst,
            settings,
            0.0 if name in scored else settings.skip_empty,
        )
        for name, path in images.items()
    ]
    wanted = json.loads(json.dumps({"source": str(src.resolve()), **asdict(settings)}))
    check_destination(src, dst, wanted, images)
    with locked(dst / SETTINGS.parent, "cutting tiles into"):
        clear_leftovers(dst)
        write_json(dst / SETTINGS, wanted)
        records = _cut(tasks, num_workers, stop)
        index = make_index(src, settings, records)
        write_lists(dst, lists, index)
        if index.class_names:
            write_lines(dst / "classes.txt", index.class_names)
        write_index(dst / INDEX_NAME, index)
    _report(src, dst, settings, records, index)
    return index


def _cut(tasks: Sequence[PictureTask], num_workers: int, stop: StopRequest) -> dict[str, dict[str, Any]]:
    """Cut the pictures that no earlier run has finished; returns the records of all, in order."""
    records = {task.name: record for task in tasks if (record := finished_record(task))}
    remaining = [task for task in tasks if task.name not in records]
    if remaining:
        (tasks[0].dst / INDEX_NAME).unlink(missing_ok=True)  # an index says that all is there
    if records:
        print(f"{len(records)} of {len(tasks)} pictures were split before", flush=True)
    remaining.sort(key=lambda task: task.image_path.stat().st_size, reverse=True)  # so that none is left at the end
    clip_quads(np.zeros((0, 4, 2)), 0, 0, 1, 1)  # compiled here once, and not in every process
    done = run_tasks(split_picture, remaining, num_workers, stop, desc="splitting", unit="picture")
    records |= {task.name: record for task, record in zip(remaining, done, strict=True)}
    return {task.name: records[task.name] for task in tasks}


def _refuse_other_formats(src: Path) -> None:
    """Raises SettingsError for labels that would be left behind."""
    try:
        found = detect_format(src)
    except ValueError:  # pictures alone are cut as well
        return
    if found != "dota":
        remedy = conversion_to_dota(src, found)
        raise SettingsError(f"{src}: its labels are of the format {found}; make DOTA's of them first: {remedy}")


def _check_classes(src: Path, names: Iterable[str]) -> None:
    """Raises ValueError where no classes.txt says what the classes are, and some of them are DOTA's and others not:
    slips of the pen, at which training would stop, or classes that only their user knows."""
    found = names_found([LABEL_PATH(src, name) for name in names], read_labels)
    if found and not dota_classes(found):
        classes = nearest_dota_classes(found)
        stranger = min(found - {*classes})
        raise ValueError(f"{label_dir_in(src)}: {unknown_class(stranger, classes)}, in {src / 'classes.txt'}")


def _report(src: Path, dst: Path, settings: SplitSettings, records: Mapping[str, dict], index: TileIndex) -> None:
    total = Counter()
    for record in records.values():
        total.update({key: value for key, value in record.items() if key.startswith("num_")})
    step = settings.size - settings.overlap
    scales = ", ".join(f"{scale:g}" for scale in settings.scales)
    print(f"tiles of {settings.size} px every {step} px (overlap {settings.overlap} px), scales {scales}")
    skipped = f", {total['num_skipped']} empty ones left out" if settings.skip_empty else ""
    print(f"{counted(len(records), 'picture')} -> {counted(len(index.tiles), 'tile')}{skipped}")
    if index.class_names:
        print(
            f"{total['num_objects']} objects -> {total['num_labels']} labels, and {total['num_hidden']} ignore regions "
            f"where a tile shows less than {settings.min_visible:g} of an object"
        )
    problems = [problem for record in records.values() for problem in record["problems"]]
    report_problems(problems, "bad labels left out, or pictures that cannot be read")
    unlearnt = [(name, *item) for name, record in records.items() for item in record["unlearnt"]]
    if unlearnt:
        counts = ", ".join(f"{name} {count}" for name, count in Counter(item[2] for item in unlearnt).most_common())
        warn(
            f"objects of which no tile shows enough, {len(unlearnt)} in all: {counts}; a smaller scale may show "
            "those that lie within their pictures"
        )
        for picture, line, class_name in unlearnt[:SHOWN_OBJECTS]:
            print(f"  {LABEL_PATH(src, picture)}:{line}: {class_name}", file=sys.stderr)
        if len(unlearnt) > SHOWN_OBJECTS:
            print(f"  and {len(unlearnt) - SHOWN_OBJECTS} more", file=sys.stderr)
    print(f"written: {dst}, index {dst / INDEX_NAME}")


def _settings_of(options: argparse.Namespace) -> SplitSettings:
    try:
        check_grid(options.size, options.overlap)
    except ValueError as error:
        raise SettingsError(f"--size, --overlap: {error}") from error
    check_scales(options.scales)
    if not all(scale <= 16 for scale in options.scales) or len(set(options.scales)) < len(options.scales):
        raise SettingsError(f"--scales {options.scales}: each must be at most 16, and stand there once")
    check_bands(options.bands, options.in_channels)
    in_channels = Reading(bands=options.bands).num_channels(options.in_channels) or 3
    check_value_range(options.value_range, in_channels)
    if in_channels == 4 and options.suffix == "jpg":
        raise SettingsError("--suffix jpg: a JPEG holds no fourth band; give png, or three bands")
    if in_channels > MOST_IN_COLOURS and options.suffix != "auto":
        raise SettingsError(f"--suffix {options.suffix}: holds no {in_channels} bands; leave it out, for TIFF files")
    if in_channels > MOST_IN_COLOURS and (why_not := why_no_rasterio()):
        raise SettingsError(f"--bands: tiles of {in_channels} bands are TIFF files, which need rasterio: {why_not}")
    if options.lists is not None and not options.lists.is_dir():
        raise SettingsError(f"--lists {options.lists}: no such folder")
    alike = ("size", "overlap", "min_visible", "skip_empty", "suffix", "missing_labels", "on_bad_label")
    return SplitSettings(
        **{name: getattr(options, name) for name in alike},
        scales=tuple(options.scales),
        in_channels=in_channels,
        value_range=options.value_range,
        bands=options.bands,
        class_names=None,
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "split_tiles",
        description="Cut big pictures in DOTA's layout (images/, and optionally labelTxt/, classes.txt and lists) into "
        f"tiles in the same layout, with an index, {INDEX_NAME}, by which tools.merge_results joins them again.",
        epilog="A picture smaller than a tile is padded at the right and at the bottom. Grey stays grey; 16 bits and "
        "floating point are spread to 8, see --value_range. A stopped run goes on with the same command. Exit codes: 0 "
        "done, 1 something in the data, 2 a wrong flag.",
    )
    add = parser.add_argument
    add("src", type=Path, metavar="SRC", help="folder of the whole pictures; nothing is written there")
    add("dst", type=Path, metavar="DST", help="folder of the tiles, new, or of an earlier run to go on with")
    add(
        "--size",
        type=whole(LEAST_TILE),
        default=600,
        metavar="PX",
        help="side of a tile, pixels [default: %(default)s]",
    )
    add(
        "--overlap",
        type=int,
        default=100,
        metavar="PX",
        help="what neighbours share, pixels of a tile; objects up to this size are whole in some tile "
        "[default: %(default)s]",
    )
    add(
        "--scales",
        type=float,
        nargs="+",
        default=[1.0],
        metavar="S",
        help="the picture is resized by each before it is cut [default: 1]",
    )
    add(
        "--min_visible",
        type=share,
        default=MIN_VISIBLE,
        metavar="X",
        help="fraction of an object's area that a tile must show; below, it is an ignore region (difficult 2) "
        "[default: %(default)s]",
    )
    add(
        "--skip_empty",
        type=share,
        default=0.0,
        metavar="FRACTION",
        help="leave out so much of the tiles without any label, but for the pictures of val.txt and test.txt: the "
        "others can then be scored tile by tile only [default: %(default)s]",
    )
    add(
        "--suffix",
        choices=("auto", "png", "jpg"),
        default="auto",
        help=f"format of the tiles; auto: jpg (quality {JPEG_QUALITY}) for JPEG pictures, tif for more than "
        f"{MOST_IN_COLOURS} --bands, else png [default: %(default)s]",
    )
    add(
        "--in_channels",
        type=int,
        choices=(3, 4),
        help="bands of a colour picture that are kept: 4 for training with --in_channels 4, as png; 3 leaves a fourth "
        "out [default: as many as --bands, else 3]",
    )
    parser.add_bands("; training takes them over for whole pictures")
    parser.add_value_range("; training takes them over for whole pictures")
    add(
        "--lists",
        type=Path,
        metavar="DIR",
        help="folder of the lists, such as tools.split_train_val writes [default: those of SRC]",
    )
    parser.add_missing_labels(where=", where there is a folder labelTxt/,")
    add(
        "--on_bad_label",
        choices=("error", "skip"),
        default="error",
        help="a bad label line or a picture that cannot be read stops, or is left out and counted [default: "
        "%(default)s]",
    )
    parser.add_workers()
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
