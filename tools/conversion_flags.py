"""What `tools.convert_labels` is told: its flags, and the places that they name."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from datasets.label_formats import SOURCES, TARGETS
from datasets.picture_files.georeference import GeoreferenceError, read_crs
from datasets.picture_files.image_folders import find_matching, from_home, is_pattern
from datasets.picture_files.images import IMAGE_SUFFIXES, ImageError
from DOTA_devkit.names import as_class_name
from tools.config import SCORES_HELP
from tools.running.command_line import Parser, SettingsError
from tools.running.destinations import refuse_data_folder, require_free
from tools.running.flag_types import share
from tools.running.messages import warn

MIN_SCORE = 0.3
GIS_SUFFIXES = (".fgb", ".gml", ".gpkg", ".kml", ".shp")


def parse_conversion(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The flags, as far as they can be checked without a look at any place; ends the process where one is wrong."""
    parser = Parser(
        "convert_labels",
        description="Turn the labels of one program into those of another. Corners keep their place to 1e-3 pixels and "
        "better (by way of geojson to a millimetre), classes and difficult flags stay; what the new format cannot hold "
        "is said once, with its count.",
        epilog="Conventions. Pixel i covers [i, i + 1). rolabelimg: angle in radians, clockwise on the screen, from +x "
        "to the side w. cvat: rotation in degrees, clockwise about the centre. coco: polygons; a bbox of five numbers "
        "is read as detectron2 has it, cx cy w h and degrees counter-clockwise; iscrowd is an ignore region. voc: "
        "bndbox as labelImg writes it, no pixel added, or Roboflow's polygon. Both: boxes of CVAT's are turned by "
        "their rotation. dior, fair1m, dronevehicle, soda (SODA-A): corners; SRC is the whole folder or one of labels. "
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
    add(
        "--from",
        dest="source",
        choices=tuple(SOURCES),
        required=True,
        help="the format of SRC; the last two are predictions",
    )
    add("--to", choices=tuple(TARGETS), required=True, help="the format to write")
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
        type=share,
        metavar="S",
        help=f"of predictions, leave out boxes with a lower score, 0 to 1 [default: {MIN_SCORE}]",
    )
    add("--scores", type=Path, metavar="PATH", help=f"of predictions: {SCORES_HELP}")
    add(
        "--nms_thresh",
        type=share,
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
        help="pictures without a label file, and from geojson those without an outline: take them along as pictures "
        "without objects, which is done anyway with geojson, or leave them out, which is done anyway with the others, "
        "and exit with 0 (of yolo_obb, coco and cvat they are pictures without objects)",
    )
    add("--drop_ignored", action="store_true", help="to yolo_obb: leave out ignore regions, which it cannot hold")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--copy_images", action="store_true", help="also copy the pictures to where the new format has them"
    )
    how.add_argument("--link_images", action="store_true", help="also set links there to the pictures")
    options = parser.parse_args(arguments)
    old_names = [old for old, _ in options.rename]
    if len(set(old_names)) < len(old_names):
        parser.error("argument --rename: an old name stands there twice")
    options.rename = dict(options.rename)
    return options


def settle_places(options: argparse.Namespace) -> None:
    """Put into the options what their places stand for: `src` is the results in a run folder; `images` may become the
    pictures that match a pattern; `pictures` are these, or else, of predictions, where those lie that they are of.

    Raises SettingsError for a place that is not there, and flags that do not go with the source or the target.
    """
    _check_formats(options)
    options.min_score = MIN_SCORE if options.min_score is None else options.min_score
    _settle_pictures(options)
    if SOURCES[options.source].is_prediction:
        _settle_results(options)
    _check_places(options)


def _settle_pictures(options: argparse.Namespace) -> None:
    """Of a pattern the pictures that match it are --images. Raises SettingsError where none does."""
    try:
        options.images = options.pictures = options.images and _pictures_at(options.images)
    except ImageError as error:
        raise SettingsError(f"--images {error}") from error


def _pictures_at(place: Path) -> Path | dict[str, Path]:
    """The place, or the pictures that match it if it is a pattern. Raises ImageError where none does."""
    place = from_home(place)
    return find_matching(place) if is_pattern(place) else place


def _settle_results(options: argparse.Namespace) -> None:
    """Of a run folder its results are the source, of tiles the merged ones; and pictures are looked for where those lie
    that they are of, if no folder is named."""
    from tools.detection.results import MERGED, MERGED_BY_HAND, RESULTS, read_origin, warn_if_stopped

    results, merged = options.src / RESULTS, options.src / MERGED
    if read_origin(merged) or (options.source == "task1" and (merged / MERGED_BY_HAND).is_file()):
        options.src = merged
    elif results.is_dir():
        if merged.is_dir():
            warn(f"{results}, perhaps of tiles, are taken; those in {merged} are to be named, with --from task1")
        options.src = results
    folder = options.src if options.src.is_dir() else options.src.parent
    warn_if_stopped(folder)
    origin = read_origin(folder)
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


def _check_formats(options: argparse.Namespace) -> None:
    """Raise SettingsError for a flag that the format to read or to write knows nothing of."""
    predictions = [name for name, source in SOURCES.items() if source.is_prediction]
    on_the_map = [name for name, source in SOURCES.items() if source.needs_pictures]
    file_a_picture = [name for name, source in SOURCES.items() if source.is_file_a_picture]
    goes_with = {
        "unlabelled": ([*file_a_picture, *on_the_map], TARGETS),
        "min_score": (predictions, TARGETS),
        "scores": (predictions, TARGETS),
        "nms_thresh": (predictions, ["geojson"]),
        "class_field": (on_the_map, TARGETS),
        "crs": (on_the_map, TARGETS),
        "drop_ignored": (SOURCES, ["yolo_obb"]),
    }
    for flag, (sources, targets) in goes_with.items():
        if getattr(options, flag) in (None, False):
            continue
        for word, chosen, formats in (("from", options.source, sources), ("to", options.to, targets)):
            if chosen not in formats:
                raise SettingsError(f"--{flag} goes with --{word} {', '.join(formats)}, not {chosen}")


def _check_places(options: argparse.Namespace) -> None:
    """Raise SettingsError for a source that is not there and a target in which other labels would be mixed up."""
    src, dst = options.src, options.dst
    if not src.exists():
        raise SettingsError(f"{src}: no such file or folder")
    if options.images and not isinstance(options.images, dict) and not options.images.is_dir():
        is_file = options.images.is_file()
        what = f"is a file; name its folder, {options.images.parent}, or a pattern" if is_file else "no such folder"
        raise SettingsError(f"--images {options.images}: {what}")
    if options.images and options.source == "yolo_obb":
        raise SettingsError("--images does not go with --from yolo_obb, whose pictures lie in images/ beside labels/")
    if SOURCES[options.source].needs_pictures and not options.images:
        raise SettingsError(f"--from {options.source} needs --images DIR, the pictures that the objects lie on")
    for path in (options.src, options.dst):
        if path.suffix.lower() in GIS_SUFFIXES and "geojson" in (options.source, options.to):
            remedy = "QGIS (Export > Save Features As) and ogr2ogr turn one into the other"
            raise SettingsError(f"{path}: geojson is read from and written to files called *.geojson; {remedy}")
    if options.crs:
        try:
            read_crs(options.crs)
        except GeoreferenceError as error:
            raise SettingsError(f"--crs {options.crs}: {error}") from error
    refuse_data_folder(dst, src)
    require_free(dst, or_file=" or a new file" * bool(TARGETS[options.to].file_suffixes))


def _renaming(word: str) -> tuple[str, str]:
    old, equals, new = map(as_class_name, word.partition("="))
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"'{word}' is not OLD=NEW")
    return old, new
