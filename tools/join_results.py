"""The command that joins results on different pictures: `python -m tools.join_results RESULTS... --out OUT`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from DOTA_devkit.task_files import DETECTIONS, NO_DETECTIONS, ORIGIN, ImageDetections, read_results
from tools.detection.results import RESULTS, ResultFiles, read_origin, results_in
from tools.outcomes import Found
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.destinations import require_free
from tools.running.messages import counted, warn

OWN = ("pictures", "files", "checkpoint", "sha256", "classes", "images", "joined")  # what each part has of its own


class Part(NamedTuple):
    """The results in a folder: what they are of (origin.json), boxes by picture, and the file name and the size
    (height, width) of each picture."""

    folder: Path
    origin: dict[str, Any]
    boxes: dict[str, ImageDetections]
    files: dict[str, tuple[str, tuple[int, int]]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Join; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a person can mend."""
    return exit_code(lambda: _run(_parse(arguments)))


def _run(options: argparse.Namespace) -> None:
    require_free(options.out)
    parts = [read_part(results_in(folder)) for folder in options.results]
    join_parts(parts, options.out / RESULTS)
    num_pictures = sum(len(part.files) for part in parts)
    num_boxes = sum(len(boxes.scores) for part in parts for boxes in part.boxes.values())
    of = counted(len(parts), "folder")
    print(f"{num_boxes} boxes on {counted(num_pictures, 'picture')}, of {of}: {options.out / RESULTS}")


def read_part(folder: Path) -> Part:
    """The results of a test in a folder. Raises SettingsError where these are no whole results of `--phase test`,
    LabelError for a bad line."""
    origin, files, class_names = read_origin(folder), {}, []
    with suppress(OSError, ValueError, KeyError, TypeError):
        records = json.loads((folder / DETECTIONS).read_text(encoding="utf-8"))
        sizes = [(str(record["image"]), (int(record["height"]), int(record["width"]))) for record in records]
        class_names = [str(name) for name in origin["classes"]]
        files = dict(zip(map(str, origin["images"]), sizes, strict=True))
    if class_names:
        boxes = read_results(folder, class_names).images
        if boxes.keys() <= files.keys():
            return Part(folder, origin, boxes, files)
    raise SettingsError(
        f"{folder}: holds no whole results of main.py --phase test ({DETECTIONS}, {ORIGIN} and Task1 files of the same "
        "pictures); make them anew"
    )


def join_parts(parts: Sequence[Part], out: Path) -> None:
    """Write the results of all parts to one folder. Raises SettingsError for parts of other classes, and for a picture
    that stands in two; warns of parts that were not made with the same settings."""
    first = parts[0]
    folder_of: dict[str, Path] = {}
    for part in parts:
        if part.origin["classes"] != first.origin["classes"]:
            told = " and ".join(
                f"{', '.join(map(str, one.origin['classes']))} in {one.folder}" for one in (first, part)
            )
            raise SettingsError(f"the results are of different classes: {told}")
        for name in part.files:
            if name in folder_of:
                raise SettingsError(
                    f"{part.folder}: picture '{name}' stands in {folder_of[name]}, too; join results on different "
                    "pictures, such as those of the folds of tools.split_train_val --folds"
                )
            folder_of[name] = part.folder
    settings = {key for part in parts for key in part.origin} - {*OWN, "stopped"}
    agreed = {key for key in settings if all(part.origin.get(key) == first.origin.get(key) for part in parts)}
    if agreed < settings:
        warn(f"the results were not made with the same settings: {', '.join(sorted(settings - agreed))} differ")
    origin = {key: value for key, value in first.origin.items() if key in agreed}
    origin |= {"joined": [str(part.folder) for part in parts]}
    origin |= {"stopped": True} if any(part.origin.get("stopped") for part in parts) else {}
    part_of = {part.folder: part for part in parts}
    with ResultFiles(out, first.origin["classes"], origin) as files:
        for row, name in enumerate(sorted(folder_of)):
            part = part_of[folder_of[name]]
            boxes = part.boxes.get(name, NO_DETECTIONS)
            boxes = boxes._replace(scores=boxes.scores.astype(np.float32))  # what they were, in as many digits
            boxes = boxes.at(np.argsort(-boxes.scores, kind="stable"))  # as detectors give them, and not by class
            file_name, size = part.files[name]
            files.write(Path(file_name), Found(row, boxes, size))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "join_results",
        description="Join results on different pictures, such as those of the folds of tools.split_train_val --folds, "
        "so that they can be scored and looked through as those of one test.",
        epilog=f"Writes OUT/{RESULTS}. The scores are those of different networks: a class that one of them is more "
        "sure of comes first. Exit codes: 0 done, 1 results that cannot be read, 2 a wrong flag.",
    )
    parser.add_argument(
        "results", type=Path, nargs="+", metavar="RESULTS", help="run folders, or folders of results with origin.json"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="a new folder")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
