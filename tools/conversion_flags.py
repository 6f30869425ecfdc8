"""What `tools.convert_labels` is told of its target."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from datasets.label_formats import TARGETS
from datasets.label_formats.annotations import names_file
from tools.label_sources import PREDICTIONS, add_source_flags, refuse_flags, source_lines
from tools.running.command_line import Parser, SettingsError, table_lines
from tools.running.destinations import refuse_data_folder, require_free
from tools.running.flag_types import share

# Of files; a folder that is called so is a slip, or is taken for the format that the file would have.
FILE_SUFFIXES = (".csv", ".geojson", ".json", ".tsv", ".txt", ".xlsx", ".xml", ".yaml")
GIS_SUFFIXES = (".fgb", ".gml", ".gpkg", ".kml", ".shp")


def parse_conversion(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The flags, as far as they can be checked without a look at any place; ends the process where one is wrong."""
    parser = Parser(
        "convert_labels",
        description="Turn the labels of one program into those of another. Corners keep their place to 1e-3 pixels and "
        "better (by way of geojson to a millimetre), classes and difficult flags stay; what the new format cannot hold "
        "is said once, with its count.",
        epilog="\n".join(
            [
                *source_lines(),
                "",
                "Written, with classes.txt and lists of the splits where they are needed:",
                *table_lines({name: target.note for name, target in TARGETS.items()}),
                "",
                "Pixel i covers [i, i + 1). Outlines of another number of corners than four become their minimum-area "
                "rectangles. Exit codes: 0 done, 1 something was left out without being asked for, or cannot be read "
                "or written, 2 a wrong flag.",
            ]
        ),
    )
    add = parser.add_argument
    add_source_flags(
        parser,
        "yolo_obb needs their sizes, coco, rolabelimg, labelme and xanylabeling tell them, geojson needs their place "
        "on the map",
    )
    add(
        "dst",
        type=Path,
        metavar="DST",
        help="new or empty folder to write to; for coco, geojson and csv also a new file *.json, *.geojson, *.csv",
    )
    add("--to", choices=tuple(TARGETS), required=True, help="the format to write")
    add(
        "--nms_thresh",
        type=share,
        metavar="X",
        help="of predictions to geojson: of boxes of a class that overlap on the map by more IoU, also those of other "
        "pictures, the best alone stays, 0 to 1 [default: all stay]",
    )
    add("--drop_ignored", action="store_true", help="to yolo_obb: leave out ignore regions, which it cannot hold")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--copy_images", action="store_true", help="also copy the pictures to where the new format has them"
    )
    how.add_argument("--link_images", action="store_true", help="also set links there to the pictures")
    options = parser.parse_args(arguments)
    if TARGETS[options.to].needs_scores and options.source in PREDICTIONS and options.min_score is None:
        options.min_score = 0.0  # whoever scores them wants all
    return options


def settle_target(options: argparse.Namespace) -> None:
    """Raises SettingsError for flags that do not go with the target, and for one that is in use."""
    refuse_flags(options, "from", options.source, {"nms_thresh": PREDICTIONS})
    if TARGETS[options.to].needs_scores and options.source not in PREDICTIONS:
        raise SettingsError(f"--to {options.to} goes with --from {', '.join(PREDICTIONS)}, not {options.source}")
    refuse_flags(options, "to", options.to, {"nms_thresh": ["geojson"], "drop_ignored": ["yolo_obb"]})
    for path in (options.src, options.dst):
        if path.suffix.lower() in GIS_SUFFIXES and "geojson" in (options.source, options.to):
            remedy = "QGIS (Export > Save Features As) and ogr2ogr turn one into the other"
            raise SettingsError(f"{path}: geojson is read from and written to files called *.geojson; {remedy}")
    if options.dst.suffix.lower() in FILE_SUFFIXES and not names_file(options.dst, TARGETS[options.to].file_suffixes):
        own = " or ".join(f"*{suffix}" for suffix in TARGETS[options.to].file_suffixes)
        remedy = f"name a folder, or a file called {own}" if own else "name a folder"
        raise SettingsError(f"{options.dst}: {options.to} is not written to a file of that kind; {remedy}")
    refuse_data_folder(options.dst, options.src, what="the source")
    require_free(options.dst, or_file=" or a new file" * bool(TARGETS[options.to].file_suffixes))
