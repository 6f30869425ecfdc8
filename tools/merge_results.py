"""The command that merges results on tiles into results on pictures: `python -m tools.merge_results`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from DOTA_devkit.atomic import write_json
from DOTA_devkit.merging import merge_pictures
from DOTA_devkit.task_files import read_results, result_files, result_path, write_results
from DOTA_devkit.tiling import INDEX_NAME, TileIndex, read_index
from tools.command_line import Parser, SettingsError, exit_code
from tools.messages import warn
from tools.processes import run_tasks
from tools.stop_request import StopRequest

SHOWN_TILES = 3
MARKER = ".merge_results.json"  # beside the results: which files are of the last merge


@dataclass(frozen=True)
class ClassTask:
    """The result file of one class, None where there is none, and what is needed to merge it."""

    class_name: str
    source: Path | None
    out_dir: Path
    index: TileIndex
    nms_threshold: float


class Merged(NamedTuple):
    """What came of a class: boxes in tiles, boxes on pictures, boxes by the name of tiles that the index has not."""

    num_found: int
    num_merged: int
    unknown: dict[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Merge and print the counts; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a person can
    mend, 130 and 143 stopped by Ctrl-C and SIGTERM."""
    stop = StopRequest()

    def work() -> None:
        options = _parse(arguments)
        with stop:
            index = read_index(options.index)
            merge_folder(options.results_dir, options.out_dir, index, options.nms_thresh, options.workers, stop)

    return exit_code(work, stop)


def merge_folder(
    results_dir: Path, out_dir: Path, index: TileIndex, nms_threshold: float, num_workers: int, stop: StopRequest
) -> None:
    """Merge the Task1 files of a folder into those of another, one for each class of the index, and print what came
    of it; boxes of tiles that are not in the index are counted and left out.

    Files of classes that only an earlier merge into this folder had are removed; of those of others it warns.
    Raises SettingsError when both folders are one, LabelError for a bad line, OSError for what cannot be read.
    """
    if out_dir.resolve() == results_dir.resolve():
        raise SettingsError(f"{out_dir}: is the folder of the results on tiles; name another to write to")
    found = _file_of_each_class(results_dir)
    classes = index.class_names or tuple(sorted(found))
    strange = [name for name in sorted(found) if name not in classes and found[name].read_bytes().strip()]
    if strange:
        raise ValueError(
            f"{found[strange[0]]}: class '{strange[0]}' is not among the classes of the index, {', '.join(classes)}; "
            "is it the index of other tiles?"
        )
    tasks = [ClassTask(name, found.get(name), out_dir, index, nms_threshold) for name in classes]
    # The longest first, so that no process is left alone with it at the end.
    tasks.sort(key=lambda task: task.source.stat().st_size if task.source else 0, reverse=True)
    merged = run_tasks(merge_class, tasks, num_workers, stop, desc="merging", unit="class")
    _replace_earlier(out_dir, classes)
    of_class = {task.class_name: item for task, item in zip(tasks, merged, strict=True)}
    without = [task.class_name for task in tasks if task.source is None]
    if without:
        warn(f"no result file for {', '.join(without)}; what is written for that is empty")
    unknown = sum((Counter(item.unknown) for item in merged), Counter())
    if unknown:
        names = ", ".join(f"'{name}'" for name in sorted(unknown)[:SHOWN_TILES])
        warn(f"{unknown.total()} boxes of {len(unknown)} tiles that are not in the index are left out, such as {names}")
    width = max(len(name) for name in classes)
    for name in classes:
        print(f"{name:{width}}  {of_class[name].num_found:9} boxes in tiles -> {of_class[name].num_merged}")
    print(f"written: {out_dir}, one Task1 file for each of {len(classes)} classes, {len(index.pictures)} pictures")


def merge_class(task: ClassTask) -> Merged:
    """Merge one class, picture by picture, and write its Task1 file."""
    names = [task.class_name]
    in_tiles = read_results(task.source, names).images if task.source else {}
    unknown = {name: len(item.scores) for name, item in in_tiles.items() if name not in task.index.tiles}
    num_found = sum(len(item.scores) for item in in_tiles.values())
    pictures = merge_pictures(in_tiles, task.index, task.nms_threshold)
    write_results(task.out_dir, names, pictures)
    return Merged(num_found, sum(len(item.scores) for item in pictures.values()), unknown)


def _file_of_each_class(results_dir: Path) -> dict[str, Path]:
    """The Task1 files of a folder by class. Raises ValueError where two are of one class."""
    found: dict[str, Path] = {}
    for path, name in result_files(results_dir).items():
        if name in found:
            raise ValueError(f"{found[name]} and {path.name} are both of class '{name}'; move one of them away")
        found[name] = path
    return found


def _replace_earlier(out_dir: Path, class_names: Sequence[str]) -> None:
    """Remove the Task1 files that an earlier merge wrote and this one did not, warn of those that are not ours, and
    note which are: whoever reads the folder would take all of them for results of this merge."""
    own = {result_path(out_dir, name).name for name in class_names}
    strange = {path.name for path in out_dir.glob("Task1_*.txt")} - own
    outdated = strange & _files_of_merge(out_dir)
    for name in outdated:
        (out_dir / name).unlink()
    write_json(out_dir / MARKER, {"files": sorted(own)})
    if outdated:
        print(f"removed: {len(outdated)} Task1 {_files(len(outdated))} of classes of an earlier merge")
    strange = sorted(strange - outdated)
    if strange:
        more = f", nor {'is' if len(strange) == 2 else 'are'} {len(strange) - 1} other such {_files(len(strange) - 1)}"
        warn(
            f"{out_dir / strange[0]}: is not of this merge{more if len(strange) > 1 else ''}, and whoever scores the "
            "folder would score it, too; move it away, or merge into another folder"
        )


def _files_of_merge(out_dir: Path) -> set[str]:
    """The names of the files that the last merge into this folder wrote; none where there was none."""
    try:
        return set(json.loads((out_dir / MARKER).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, TypeError, KeyError):
        return set()


def _files(number: int) -> str:
    return "file" if number == 1 else "files"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "merge_results",
        description="Merge Task1 result files on tiles into Task1 result files on whole pictures.",
        epilog="A box near the border of its tile counts less the nearer it is, and a piece of an object gives way to "
        "the whole one in a neighbouring tile. Exit codes: 0 done, 1 something in the data, 2 a wrong flag.",
    )
    add = parser.add_argument
    add("results_dir", type=Path, metavar="RESULTS_DIR", help="folder of Task1_<class>.txt files, coordinates in tiles")
    add("out_dir", type=Path, metavar="OUT_DIR", help="folder to write Task1_<class>.txt to, coordinates in pictures")
    add(
        "--index",
        type=Path,
        required=True,
        metavar="INDEX",
        help=f"{INDEX_NAME} that tools.split_tiles wrote, or the folder that it is in",
    )
    add(
        "--nms_thresh",
        type=float,
        default=0.3,
        metavar="T",
        help="of two boxes of a class that overlap by more IoU the better stays, 0 to 1 [default: %(default)s]",
    )
    parser.add_workers("processes, each with a class at a time; 0 works in the main process")
    options = parser.parse_args(arguments)
    if not 0 <= options.nms_thresh <= 1:
        parser.error(f"--nms_thresh is {options.nms_thresh}; it must lie between 0 and 1")
    if options.workers < 0:
        parser.error(f"--workers is {options.workers}; it must be at least 0")
    return options


if __name__ == "__main__":
    sys.exit(main())
