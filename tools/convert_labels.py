"""The command that turns the labels of one program into those of another: `python -m tools.convert_labels SRC DST`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tools.class_scores import read_scores
from tools.command_line import Parser, SettingsError, exit_code
from tools.config import SCORES_HELP
from tools.destinations import refuse_data_folder, require_free
from tools.messages import warn
from tools.picture_links import copy_picture, link_or_copy
from tools.progress import progress_bar

if TYPE_CHECKING:
    from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture

SOURCES = (
    *("rolabelimg", "yolo_obb", "coco", "labelme", "xanylabeling", "cvat", "voc", "dota", "hrsc"),
    *("geojson", "task1", "detections"),
)
TARGETS = ("dota", "yolo_obb", "coco", "rolabelimg", "labelme", "xanylabeling", "geojson")
ON_THE_MAP = ("geojson",)
PREDICTIONS = ("task1", "detections")
# Others name pictures without objects.
FILE_A_PICTURE = ("rolabelimg", "labelme", "xanylabeling", "voc", "dota", "hrsc")
# Their programs show pictures as EXIF turns them, and so they are labelled.
TURNING = ("labelme", "xanylabeling", "cvat", "voc")
TELLING = ("coco", "rolabelimg")  # of any program, which may have done so: the size that the labels tell says it
MIN_SCORE = 0.3
COPIED = "pictures were copied, because the system allows no links to them"
GIS_SUFFIXES = (".fgb", ".gml", ".gpkg", ".kml", ".shp")
SHOWN_REASONS, SHOWN_EXAMPLES = 8, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert and print a summary; returns the exit code: 0 done, 1 something was left out without being asked for, or
    cannot be read or written, 2 a wrong flag, 130 and 143 stopped by Ctrl-C and SIGTERM."""

    def work() -> int:
        from datasets.label_formats.annotations import Ledger

        options, ledger = _parse(arguments), Ledger()
        convert(options, ledger)
        return 1 if ledger.faults or ledger.left_out.total() else 0

    return exit_code(work)


def convert(options: argparse.Namespace, ledger: Ledger) -> AnnotatedSet:
    """Read the source, write the target and print what came of it; what got lost goes to the ledger.

    Raises SettingsError for a source that is not there and a target that is in use, ValueError and OSError for what
    cannot be read or written at all.
    """
    from datasets.label_formats import TARGETS as WRITERS
    from datasets.label_formats.detections import without_scores
    from datasets.label_formats.places import (
        add_unlabelled,
        keep_located,
        locate_pictures,
        measure_pictures,
        refuse_turned,
    )

    _settle_pictures(options)
    if options.source in PREDICTIONS:
        _settle_results(options)
    _check_places(options)
    target = WRITERS[options.to]
    annotated = _with_classes(_read(options, ledger), options, ledger)
    if options.source in FILE_A_PICTURE:
        annotated = add_unlabelled(annotated, options.src, options.images, ledger, options.unlabelled)
    if options.source in PREDICTIONS and options.images:
        annotated = keep_located(annotated, options.images, ledger)
    if options.source in (*TURNING, *TELLING) and not (target.needs_size or target.turns):
        # `measure_pictures` refuses all of these
        by_size = options.source in TELLING
        annotated = refuse_turned(annotated, options.src, options.images, ledger, by_size)
    if not target.holds_scores:
        annotated = without_scores(annotated, ledger)
    if target.tells_size or target.needs_path or options.copy_images or options.link_images:
        annotated = locate_pictures(annotated, options.src, options.pictures, ledger)
    if options.nms_thresh is not None:
        from datasets.label_formats.map_overlaps import without_repeated

        annotated = without_repeated(annotated, ledger, options.nms_thresh)
    if target.tells_size:
        track = partial(progress_bar, desc="measuring", unit="picture")
        annotated = measure_pictures(annotated, ledger, track, target.needs_size, target.turns)
    annotated = target.keep(annotated, ledger, options.drop_ignored)
    is_placed = options.copy_images or options.link_images
    if is_placed:
        folder = options.dst.parent if options.dst.suffix in target.file_suffixes else options.dst
        _place_pictures(annotated, folder, target.image_folder, options.link_images, ledger)
    target.write(options.dst, _named_anew(annotated) if is_placed else annotated, ledger)
    _print_summary(annotated, options, ledger)
    return annotated


def _read(options: argparse.Namespace, ledger: Ledger) -> AnnotatedSet:
    from datasets import label_formats

    if options.source in PREDICTIONS:
        scores = {} if options.scores is None else read_scores(options.scores)
        return label_formats.PREDICTIONS[options.source](
            options.src, ledger, lambda class_name: scores.get(class_name, options.min_score)
        )
    track = partial(progress_bar, desc="reading", unit="file")
    if options.source in ON_THE_MAP:
        read = label_formats.ON_THE_MAP[options.source]
        return read(options.src, ledger, options.images, options.class_field, options.crs, track)
    return label_formats.SOURCES[options.source](options.src, ledger, track)


def _with_classes(annotated: AnnotatedSet, options: argparse.Namespace, ledger: Ledger) -> AnnotatedSet:
    """The set with the class names in their order: of --classes, whose others are faults; else the source's own, DOTA's
    where its labels name no others, and what else is found, sorted."""
    from datasets.label_formats.class_names import keep_classes, rename_classes
    from datasets.readers import DOTA_CLASSES
    from DOTA_devkit.labels import IGNORED_CLASS, read_class_names

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


def _settle_pictures(options: argparse.Namespace) -> None:
    """Of a pattern the pictures that match it are --images. Raises SettingsError where none does."""
    from datasets.images import ImageError

    try:
        options.images = options.pictures = options.images and _pictures_at(options.images)
    except ImageError as error:
        raise SettingsError(f"--images {error}") from error


def _pictures_at(place: Path) -> Path | dict[str, Path]:
    """The place, or the pictures that match it if it is a pattern. Raises ImageError where none does."""
    from datasets.image_folders import find_matching, from_home, is_pattern

    place = from_home(place)
    return find_matching(place) if is_pattern(place) else place


def _settle_results(options: argparse.Namespace) -> None:
    """Of a run folder its results are the source, and pictures are looked for where those lie that they are of, if no
    folder is named."""
    from datasets.images import IMAGE_SUFFIXES, ImageError
    from tools.results import RESULTS, read_origin

    if (options.src / RESULTS).is_dir():
        options.src = options.src / RESULTS
    origin = read_origin(options.src if options.src.is_dir() else options.src.parent)
    told = (origin or {}).get("pictures")
    if options.pictures is not None or not isinstance(told, str) or not told:
        return
    try:
        pictures = _pictures_at(Path(told))
        if isinstance(pictures, Path):
            pictures = pictures.parent if pictures.suffix.lower() in IMAGE_SUFFIXES else pictures
            pictures = pictures if pictures.is_dir() else None
        options.pictures = pictures
    except (OSError, ImageError) as error:  # of a text that is no path, or no longer matches any
        warn(f"the pictures of these results: {error}; --images DIR tells where they are")


def _check_places(options: argparse.Namespace) -> None:
    """Raise SettingsError for a source that is not there and a target in which other labels would be mixed up."""
    src, dst = options.src, options.dst
    if not src.exists():
        raise SettingsError(f"{src}: no such file or folder")
    if options.images and not isinstance(options.images, dict) and not options.images.is_dir():
        raise SettingsError(f"--images {options.images}: no such folder")
    if options.images and options.source == "yolo_obb":
        raise SettingsError("--images does not go with --from yolo_obb, whose pictures lie in images/ beside labels/")
    if options.source in ON_THE_MAP and not options.images:
        raise SettingsError(f"--from {options.source} needs --images DIR, the pictures that the objects lie on")
    if options.unlabelled and options.source not in FILE_A_PICTURE:
        raise SettingsError(f"--unlabelled goes with --from {', '.join(FILE_A_PICTURE)}, not {options.source}")
    for path in (options.src, options.dst):
        if path.suffix.lower() in GIS_SUFFIXES and "geojson" in (options.source, options.to):
            remedy = "QGIS (Export > Save Features As) and ogr2ogr turn one into the other"
            raise SettingsError(f"{path}: geojson is read from and written to files called *.geojson; {remedy}")
    if options.drop_ignored and options.to != "yolo_obb":
        raise SettingsError(
            f"--drop_ignored goes with --to yolo_obb, which holds no ignore regions, not with {options.to}"
        )
    if options.nms_thresh is not None and (options.source not in PREDICTIONS or options.to != "geojson"):
        raise SettingsError("--nms_thresh goes with predictions (--from detections, task1) and --to geojson")
    if options.class_field and options.source not in ON_THE_MAP:
        raise SettingsError(f"--class_field goes with --from geojson, not with {options.source}")
    if options.crs and options.source not in ON_THE_MAP:
        raise SettingsError(f"--crs goes with --from geojson, not with {options.source}")
    if options.crs:
        from datasets.georeference import GeoreferenceError, read_crs

        try:
            read_crs(options.crs)
        except GeoreferenceError as error:
            raise SettingsError(f"--crs {options.crs}: {error}") from error
    refuse_data_folder(dst, src)
    require_free(dst, or_file=" or a new file" * (options.to in ("coco", "geojson")))


def _named_anew(annotated: AnnotatedSet) -> AnnotatedSet:
    """The set whose pictures are not called by the folder that they had, because they go to another."""
    pictures = [picture._replace(file_name=None) if picture.path else picture for picture in annotated.pictures]
    return annotated._replace(pictures=pictures)


def _place_pictures(
    annotated: AnnotatedSet,
    dst: Path,
    image_folder: Callable[[AnnotatedSet, Picture], str],
    is_link: bool,
    ledger: Ledger,
) -> None:
    """Copy the pictures to where the new format expects them, or set links there to where they are, if that can be."""
    for picture in progress_bar(annotated.pictures, desc="pictures", unit="picture"):
        if picture.path is None:
            continue
        place = dst / image_folder(annotated, picture) / f"{picture.name}{picture.path.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        if is_link:
            ledger.changed[COPIED] += not link_or_copy(picture.path, place)
        else:
            copy_picture(picture.path, place)


def _print_summary(annotated: AnnotatedSet, options: argparse.Namespace, ledger: Ledger) -> None:
    """What was left out and why, to the standard error stream; what was written, to the other."""
    _warn_of_faults(ledger)
    for sentence, count in (+ledger.left_out).most_common():
        warn(f"left out: {count} {sentence}")
    for sentence, count in (+ledger.changed).most_common():
        warn(f"{count} {sentence}")
    objects = Counter(name for picture in annotated.pictures for name in picture.labels.names)
    num_empty = sum(not picture.labels.names for picture in annotated.pictures)
    splits = Counter(picture.split for picture in annotated.pictures if picture.split)
    parts = f" ({', '.join(f'{count} {split}' for split, count in splits.items())})" if splits else ""
    print(f"{len(annotated.pictures)} pictures{parts}, {num_empty} of them without objects")
    width = max(map(len, ("all classes", *objects)))
    for name in [*annotated.class_names, *sorted(objects.keys() - {*annotated.class_names})]:
        if objects[name]:
            print(f"{name:{width}}{objects[name]:10}")
    print(f"{'all classes':{width}}{objects.total():10}")
    num_lost = sum(ledger.left_out.values())
    if num_lost or ledger.faults:
        print(f"left out without being asked for: {num_lost} objects or pictures, and {len(ledger.faults)} faults")
    print(f"written: {options.dst}")


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


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "convert_labels",
        description="Turn the labels of one program into those of another. Corners keep their place to 1e-3 pixels and "
        "better, classes and difficult flags stay; what the new format cannot hold is said once, with its count.",
        epilog="Conventions. Pixel i covers [i, i + 1). rolabelimg: angle in radians, clockwise on the screen, from +x "
        "to the side w. cvat: rotation in degrees, clockwise about the centre. coco: polygons; a bbox of five numbers "
        "is read as detectron2 has it, cx cy w h and degrees counter-clockwise; iscrowd is an ignore region. voc: "
        "bndbox as labelImg writes it, no pixel added. Both: boxes of CVAT's are turned by their attribute rotation. "
        "yolo_obb: corners as fractions of the picture, class numbers and splits by data.yaml. geojson: polygons in "
        "longitude and latitude, read also in the system of a member crs, by where the pictures lie (GeoTIFF and what "
        "else GDAL reads); needs requirements-geo.txt. Outlines of another number of corners than four become their "
        "minimum-area rectangles. Written are: dota labelTxt/, rolabelimg xml/, yolo_obb labels/<split>/ and "
        "data.yaml, coco annotations/instances_<split>.json or the file DST.json, labelme <picture>.json with "
        "polygons, xanylabeling the same with boxes that can be turned there, geojson objects.geojson or the file "
        "DST.geojson; and, where they are needed, classes.txt and lists of the splits. Exit codes: 0 done, 1 something "
        "was left out without being asked for, or cannot be read or written, 2 a wrong flag.",
    )
    add = parser.add_argument
    add("src", type=Path, metavar="SRC", help="folder of the data or of its labels; the file for coco, cvat, geojson")
    add(
        "dst",
        type=Path,
        metavar="DST",
        help="new or empty folder to write to; for coco also the name of a new *.json, for geojson of a *.geojson",
    )
    add("--from", dest="source", choices=SOURCES, required=True, help="the format of SRC; the last two are predictions")
    add("--to", choices=TARGETS, required=True, help="the format to write")
    add(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of the pictures, or a pattern in quotes such as '/data/flights/**/*.tif'; yolo_obb needs their "
        "sizes, coco, rolabelimg, labelme and xanylabeling tell them, geojson needs their place on the map; of "
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
        type=float,
        default=MIN_SCORE,
        metavar="S",
        help="of predictions, leave out boxes with a lower score, 0 to 1 [default: %(default)s]",
    )
    add("--scores", type=Path, metavar="PATH", help=f"of predictions: {SCORES_HELP}")
    add(
        "--nms_thresh",
        type=float,
        metavar="X",
        help="of predictions to geojson: of boxes of a class that overlap on the map by more IoU, also those of other "
        "pictures, the best alone stays, 0 to 1 [default: all stay]",
    )
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
        help="pictures without a label file: take them along as pictures without objects, or leave them out, which is "
        "done anyway, and exit with 0 (of yolo_obb, coco and cvat they are pictures without objects)",
    )
    add("--drop_ignored", action="store_true", help="to yolo_obb: leave out ignore regions, which it cannot hold")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--copy_images", action="store_true", help="also copy the pictures to where the new format has them"
    )
    how.add_argument("--link_images", action="store_true", help="also set links there to the pictures")
    options = parser.parse_args(arguments)
    if not 0 <= options.min_score <= 1:
        parser.error(f"--min_score is {options.min_score}; it must lie between 0 and 1")
    if options.nms_thresh is not None and not 0 <= options.nms_thresh <= 1:
        parser.error(f"--nms_thresh is {options.nms_thresh}; it must lie between 0 and 1")
    old_names = [old for old, _ in options.rename]
    if len(set(old_names)) < len(old_names):
        parser.error("argument --rename: an old name stands there twice")
    options.rename = dict(options.rename)
    return options


def _renaming(word: str) -> tuple[str, str]:
    old, equals, new = (" ".join(part.split()) for part in word.partition("="))
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"'{word}' is not OLD=NEW")
    return old, new


if __name__ == "__main__":
    sys.exit(main())
