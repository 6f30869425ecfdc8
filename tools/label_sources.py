"""What commands on the labels of other programs are told of them, and these labels, whatever their format."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from datasets.class_lists import DOTA_CLASSES
from datasets.label_formats import SOURCES, Wanted
from datasets.label_formats.annotations import AnnotatedSet, Ledger
from datasets.label_formats.class_names import keep_classes, rename_classes
from datasets.label_formats.places import add_unlabelled, keep_located, refuse_turned, settle_empty
from datasets.picture_files.georeference import GeoreferenceError, read_crs
from DOTA_devkit.labels import IGNORED_CLASS, read_class_names
from DOTA_devkit.names import as_class_name
from DOTA_devkit.text_table import aligned
from tools.class_scores import read_scores
from tools.config import SCORES_HELP
from tools.detection.looked_at import pictures_asked_for, pictures_told
from tools.detection.results import MERGED, MERGED_BY_HAND, RESULTS, read_origin, warn_if_stopped
from tools.running.command_line import SettingsError, table_lines
from tools.running.flag_types import share
from tools.running.messages import warn
from tools.running.progress import progress_bar

MIN_SCORE = 0.3
PREDICTIONS = [name for name, source in SOURCES.items() if source.is_prediction]
SHOWN_REASONS, SHOWN_EXAMPLES = 8, 2


def add_source_flags(parser: argparse.ArgumentParser, images_for: str) -> None:
    """The flags of `read_labels_of`; `images_for`: what the pictures are needed for."""
    add = parser.add_argument
    add("src", type=Path, metavar="SRC", help="file or folder of the labels; which of the two tells the list below")
    add(
        "--from",
        dest="source",
        choices=tuple(SOURCES),
        required=True,
        help=f"the format of SRC; {' and '.join(PREDICTIONS)} are predictions",
    )
    add(
        "--images",
        type=Path,
        metavar="DIR",
        help=f"folder of the pictures, or a pattern in quotes such as '/data/flights/**/*.tif'; {images_for}; of "
        "predictions only those in pictures that are there are taken [default: images/, "
        "AllImages/ or JPEGImages/ in SRC or beside it, or SRC]",
    )
    add(
        "--classes",
        type=Path,
        metavar="FILE",
        help="class names, one a line, in the order that their numbers get; objects of others are left out [default: "
        "the order of SRC, and any name]",
    )
    add(
        "--rename",
        type=_renaming,
        nargs="+",
        default=[],
        metavar="OLD=NEW",
        help="give classes other names, several the same to make them one; '*=NEW' renames all that are not named, "
        "OLD=DontCare makes ignore regions; comes before --classes",
    )
    add(
        "--min_score",
        type=share,
        metavar="S",
        help=f"of predictions, leave out boxes with a lower score, 0 to 1 [default: {MIN_SCORE}]",
    )
    add("--scores", type=Path, metavar="PATH", help=f"of predictions: {SCORES_HELP}")
    add(
        "--class_field",
        metavar="NAME",
        help="from geojson: the property that holds the class [default: the first of class, class_name, label, "
        "category, name that a feature has]",
    )
    add(
        "--crs",
        metavar="NAME",
        help="from geojson: the coordinate system of a file that names none, such as EPSG:32632 [default: longitude "
        "and latitude]",
    )
    add(
        "--unlabelled",
        choices=("empty", "leave_out"),
        help="pictures without a label file, and from geojson those without an outline: take them along as pictures "
        "without objects, which is done anyway with geojson, or leave them out, which is done anyway with the others, "
        "and exit with 0 (of yolo_obb, coco and cvat they are pictures without objects)",
    )


def source_lines() -> list[str]:
    """Of an epilog: the formats that are read, and how each tells an object."""
    notes = {name: source.note for name, source in SOURCES.items()}
    return [
        "Read, from the folder of the data or of its labels, or from a file where that is told:",
        *table_lines(notes),
    ]


def settle_source(options: argparse.Namespace) -> None:
    """Put into the options what their places stand for: `src` is the results in a run folder; `images` may become the
    pictures that match a pattern; `pictures` are these, or else, of predictions, where those lie that they are of.

    Raises SettingsError for a place that is not there, and flags that do not go with the source.
    """
    on_the_map = [name for name, source in SOURCES.items() if source.needs_pictures]
    file_a_picture = [name for name, source in SOURCES.items() if source.is_file_a_picture]
    refuse_flags(
        options,
        "from",
        options.source,
        {
            "unlabelled": [*file_a_picture, *on_the_map],
            "min_score": PREDICTIONS,
            "scores": PREDICTIONS,
            "class_field": on_the_map,
            "crs": on_the_map,
        },
    )
    old_names = [old for old, _ in options.rename]
    if len({*old_names}) < len(old_names):
        raise SettingsError("--rename: an old name stands there twice")
    options.rename = dict(options.rename)
    options.min_score = MIN_SCORE if options.min_score is None else options.min_score
    options.images = options.pictures = options.images and pictures_asked_for(options.images)
    if SOURCES[options.source].is_prediction:
        _settle_results(options)
    _check_source(options)


def refuse_flags(options: argparse.Namespace, word: str, chosen: str, goes_with: dict[str, Collection[str]]) -> None:
    """Raises SettingsError for a flag that was given and knows nothing of the chosen format, which --from or --to (the
    `word`) names."""
    for flag, formats in goes_with.items():
        if getattr(options, flag) not in (None, False) and chosen not in formats:
            raise SettingsError(f"--{flag} goes with --{word} {', '.join(formats)}, not {chosen}")


def _settle_results(options: argparse.Namespace) -> None:
    """Of a run folder its results are the source, of tiles the merged ones; and pictures are looked for where those lie
    that they are of, if no folder is named."""
    results, merged = options.src / RESULTS, options.src / MERGED
    if read_origin(merged) or (options.source == "task1" and (merged / MERGED_BY_HAND).is_file()):
        options.src = merged
    elif results.is_dir():
        if merged.is_dir():
            warn(f"{results}, perhaps of tiles, are taken; those in {merged} are to be named, with --from task1")
        options.src = results
    folder = options.src if options.src.is_dir() else options.src.parent
    warn_if_stopped(folder)
    if options.pictures is None:
        options.pictures = pictures_told(folder)


def _check_source(options: argparse.Namespace) -> None:
    """Raise SettingsError for a place that is not there."""
    if not options.src.exists():
        raise SettingsError(f"{options.src}: no such file or folder")
    if options.images and not isinstance(options.images, dict) and not options.images.is_dir():
        is_file = options.images.is_file()
        what = f"is a file; name its folder, {options.images.parent}, or a pattern" if is_file else "no such folder"
        raise SettingsError(f"--images {options.images}: {what}")
    if options.images and options.source == "yolo_obb":
        raise SettingsError("--images does not go with --from yolo_obb, whose pictures lie in images/ beside labels/")
    if SOURCES[options.source].needs_pictures and not options.images:
        raise SettingsError(f"--from {options.source} needs --images DIR, the pictures that the objects lie on")
    if options.crs:
        try:
            read_crs(options.crs)
        except GeoreferenceError as error:
            raise SettingsError(f"--crs {options.crs}: {error}") from error


def read_labels_of(options: argparse.Namespace, ledger: Ledger, as_stored: bool) -> AnnotatedSet:
    """The annotated set of the settled options, its classes named and in their order; what got lost goes to the ledger.
    `as_stored`: pictures that EXIF turns, and whose labels are of what was shown, are left out.

    Raises SettingsError, ValueError and OSError for what cannot be read at all.
    """
    source = SOURCES[options.source]
    annotated = _with_classes(_read(options, ledger), options, ledger)
    if source.needs_pictures:
        annotated = settle_empty(annotated, ledger, options.unlabelled)
    if source.is_file_a_picture:
        annotated = add_unlabelled(annotated, options.src, options.images, ledger, options.unlabelled)
    if source.is_prediction and options.images:
        annotated = keep_located(annotated, options.images, ledger)
    if (source.shows_turned or source.tells_size) and as_stored:
        annotated = refuse_turned(annotated, options.src, options.images, ledger, source.tells_size)
    return annotated


def _read(options: argparse.Namespace, ledger: Ledger) -> AnnotatedSet:
    scores = {} if options.scores is None else read_scores(options.scores)
    wanted = Wanted(
        partial(progress_bar, desc="reading", unit="file"),
        options.images,
        options.class_field,
        options.crs,
        least=lambda class_name: scores.get(class_name, options.min_score),
    )
    return SOURCES[options.source].read(options.src, ledger, wanted)


def _with_classes(annotated: AnnotatedSet, options: argparse.Namespace, ledger: Ledger) -> AnnotatedSet:
    """The set with the class names in their order: of --classes, others left out; else the source's own, DOTA's
    where its labels name no others, and what else is found, sorted."""
    try:
        annotated = rename_classes(annotated, options.rename)
    except ValueError as error:
        raise SettingsError(f"--rename: {error}") from error
    if options.classes is not None:
        return keep_classes(annotated, read_class_names(options.classes), ledger)
    found = {name for picture in annotated.pictures for name in picture.labels.names} - {IGNORED_CLASS}
    known = annotated.class_names
    if not known and options.source == "dota" and not options.rename:
        known = next((names for names in DOTA_CLASSES.values() if found <= {*names}), ())
    return annotated._replace(class_names=(*known, *sorted(found - {*known})))


def lines_of_counts(counts: Counter[str], class_names: Sequence[str]) -> list[str]:
    """A table of how many objects there are of each class that has some, and of all."""
    names = [*class_names, *sorted(counts.keys() - {*class_names})]
    rows = [(name, str(counts[name])) for name in names if counts[name]]
    return aligned([*rows, ("all classes", str(counts.total()))])


def warn_of_losses(ledger: Ledger) -> None:
    """What could not be used, was left out or changed, and why, to the standard error stream."""
    _warn_of_faults(ledger)
    for sentence, count in (+ledger.left_out).most_common():
        warn(f"left out: {count} {sentence}")
    for sentence, count in (+ledger.changed).most_common():
        warn(f"{count} {sentence}")


def _warn_of_faults(ledger: Ledger) -> None:
    """Faults by their reason, the most frequent first, each with where it stands."""
    by_reason: dict[str, list[str]] = {}
    for fault in ledger.faults:
        by_reason.setdefault(fault.reason, []).append(f"{fault.path}:{fault.line}")
    ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    for reason, places in ordered[:SHOWN_REASONS]:
        more = f" and {len(places) - SHOWN_EXAMPLES} more" if len(places) > SHOWN_EXAMPLES else ""
        warn(f"{', '.join(places[:SHOWN_EXAMPLES])}{more}: {reason}")
    if len(ordered) > SHOWN_REASONS:
        warn(f"and faults of {len(ordered) - SHOWN_REASONS} other kinds")


def _renaming(word: str) -> tuple[str, str]:
    old, equals, new = map(as_class_name, word.partition("="))
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"'{word}' is not OLD=NEW")
    return old, new
