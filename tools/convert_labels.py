"""The command that turns the labels of one program into those of another: `python -m tools.convert_labels SRC DST`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from datasets.label_formats import TARGETS
from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture, names_file
from datasets.label_formats.detections import without_scores
from datasets.label_formats.label_folders import write_lists
from datasets.label_formats.places import count_other_sizes, locate_pictures, measure_pictures
from tools.conversion_flags import parse_conversion, settle_target
from tools.label_sources import lines_of_counts, read_labels_of, settle_source, warn_of_losses
from tools.picture_links import copy_picture, link_or_copy
from tools.running.command_line import exit_code
from tools.running.messages import counted
from tools.running.progress import progress_bar

COPIED = "pictures were copied, because the system allows no links to them"


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert and print a summary; returns the exit code: 0 done, 1 something was left out without being asked for, or
    cannot be read or written, 2 a wrong flag, 130 and 143 stopped by Ctrl-C and SIGTERM."""

    def work() -> int:
        options, ledger = parse_conversion(arguments), Ledger()
        convert(options, ledger)
        return 1 if ledger.faults or ledger.left_out.total() else 0

    return exit_code(work)


def convert(options: argparse.Namespace, ledger: Ledger) -> AnnotatedSet:
    """Read the source, write the target and print what came of it; what got lost goes to the ledger.

    Raises SettingsError for a source that is not there and a target that is in use, ValueError and OSError for what
    cannot be read or written at all.
    """
    settle_source(options)
    settle_target(options)
    target = TARGETS[options.to]
    # `measure_pictures` refuses all turned ones
    as_stored = not (target.needs_size or target.shows_turned)
    annotated = read_labels_of(options, ledger, as_stored)
    if not target.holds_scores:
        annotated = without_scores(annotated, ledger)
    is_placed = options.copy_images or options.link_images
    if target.tells_size or target.needs_path or is_placed:
        annotated = locate_pictures(annotated, options.src, options.pictures, ledger, is_placed)
    if options.nms_thresh is not None:
        from datasets.label_formats.map_overlaps import without_repeated

        annotated = without_repeated(annotated, ledger, options.nms_thresh)
    track = partial(progress_bar, desc="measuring", unit="picture")
    if target.tells_size:
        annotated = measure_pictures(annotated, ledger, track, target.needs_size, target.shows_turned)
    else:
        count_other_sizes(annotated, options.src, options.pictures, ledger, track)
    annotated = target.keep(annotated, ledger, options.drop_ignored)
    if is_placed:
        folder = options.dst.parent if names_file(options.dst, target.file_suffixes) else options.dst
        _place_pictures(annotated, folder, target.image_folder(annotated), options.link_images, ledger)
    target.write(options.dst, _named_anew(annotated) if is_placed else annotated, ledger)
    if target.writes_lists:
        write_lists(options.dst, annotated)
    _print_summary(annotated, options, ledger)
    return annotated


def _named_anew(annotated: AnnotatedSet) -> AnnotatedSet:
    """The set whose pictures are not called by the folder that they had, because they go to another."""
    pictures = [picture._replace(file_name=None) if picture.path else picture for picture in annotated.pictures]
    return annotated._replace(pictures=pictures)


def _place_pictures(
    annotated: AnnotatedSet,
    dst: Path,
    image_folder: Callable[[Picture], str],
    is_link: bool,
    ledger: Ledger,
) -> None:
    """Copy the pictures to where the new format expects them, or set links there to where they are, if that can be."""
    for picture in progress_bar(annotated.pictures, desc="pictures", unit="picture"):
        if picture.path is None:
            continue
        place = dst / image_folder(picture) / picture.own_file_name
        place.parent.mkdir(parents=True, exist_ok=True)
        if is_link:
            ledger.changed[COPIED] += not link_or_copy(picture.path, place)
        else:
            copy_picture(picture.path, place)


def _print_summary(annotated: AnnotatedSet, options: argparse.Namespace, ledger: Ledger) -> None:
    """What was left out and why, to the standard error stream; what was written, to the other."""
    warn_of_losses(ledger)
    objects = Counter(name for picture in annotated.pictures for name in picture.labels.names)
    num_empty = sum(not picture.labels.names for picture in annotated.pictures)
    splits = Counter(picture.split for picture in annotated.pictures if picture.split)
    parts = f" ({', '.join(f'{count} {split}' for split, count in splits.items())})" if splits else ""
    print(f"{counted(len(annotated.pictures), 'picture')}{parts}, {num_empty} of them without objects")
    print("\n".join(lines_of_counts(objects, annotated.class_names)))
    num_lost = sum(ledger.left_out.values())
    if num_lost or ledger.faults:
        faults = counted(len(ledger.faults), "fault")
        print(f"left out without being asked for: {num_lost} objects or pictures, and {faults}")
    print(f"written: {options.dst}")


if __name__ == "__main__":
    sys.exit(main())
