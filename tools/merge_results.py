"""The command that merges results on tiles into results on pictures: `python -m tools.merge_results`."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from DOTA_devkit.atomic import write_json
from DOTA_devkit.merging import merge_pictures
from DOTA_devkit.names import spelling_in
from DOTA_devkit.task_files import ImageDetections, read_results, result_files, result_path, write_results
from DOTA_devkit.text_table import aligned
from DOTA_devkit.tile_index import INDEX_NAME, TileIndex, read_index
from tools.detection.results import (
    MERGED_BY_HAND,
    ORIGIN,
    read_origin,
    refuse_strange_results,
    remove_results,
    warn_if_stopped,
)
from tools.run_folder import LOG
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.flag_types import share
from tools.running.folder_lock import locked
from tools.running.messages import counted, warn
from tools.running.processes import run_tasks
from tools.running.stop_request import StopRequest

SHOWN_TILES = 3
LOOKED_AT = 1000  # lines of each file, before anything is written
NMS_THRESH = 0.3
_OF_A_RUN = (LOG, "classes.txt")  # texts that a run folder has


@dataclass(frozen=True)
class MergeTask:
    """The result files of classes that are merged together, class -> file, None where there is none, and what is needed
    to merge them: of one class, or of all that suppress each other."""

    sources: dict[str, Path | None]
    out_dir: Path
    index: TileIndex
    nms_threshold: float

    @property
    def num_bytes(self) -> int:
        """Of the files: how long it takes."""
        return sum(path.stat().st_size for path in self.sources.values() if path)


class Merged(NamedTuple):
    """What came of a task, by class: boxes in tiles, boxes on pictures; and boxes by the name of tiles that the index
    has not."""

    num_found: dict[str, int]
    num_merged: dict[str, int]
    unknown: dict[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Merge and print the counts; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a person can
    mend, 130 and 143 stopped by Ctrl-C and SIGTERM."""
    stop = StopRequest()
    return exit_code(lambda: stop.around(_run, _parse(arguments)), stop)


def _run(options: argparse.Namespace, stop: StopRequest) -> None:
    index = read_index(options.index)
    warn_if_stopped(options.results_dir)
    origin = read_origin(options.results_dir) or {}
    agnostic, nms_thresh = options.agnostic_nms, options.nms_thresh
    if agnostic is None:
        agnostic = bool(origin.get("agnostic"))
    if agnostic and options.agnostic_nms is None:
        print(f"classes suppress each other, as in {options.results_dir}", flush=True)
    if nms_thresh is None:
        nms_thresh = origin.get("nms_thresh", NMS_THRESH)
        if not isinstance(nms_thresh, int | float) or not 0 <= nms_thresh <= 1:
            told = f"{options.results_dir / ORIGIN}: nms_thresh is {nms_thresh!r}, no number from 0 to 1"
            raise ValueError(f"{told}; give --nms_thresh")
    if options.nms_thresh is None and nms_thresh != NMS_THRESH:
        print(f"--nms_thresh is {nms_thresh:g}, as in {options.results_dir}", flush=True)
    merge_folder(options.results_dir, options.out_dir, index, nms_thresh, options.workers, stop, agnostic)


def merge_folder(
    results_dir: Path,
    out_dir: Path,
    index: TileIndex,
    nms_threshold: float,
    num_workers: int,
    stop: StopRequest,
    agnostic: bool = False,
) -> None:
    """Merge the Task1 files of a folder into those of another, one for each class of the index, and print what came
    of it; boxes of tiles that are not in the index are counted and left out. `agnostic`: boxes of different classes
    compete, too, so that all are held at a time.

    What an earlier test, evaluation or merge wrote into this folder is removed before; of other Task1 files it warns.
    Raises SettingsError when both folders are one, another process writes results there, or a file of others would be
    replaced, LabelError for a bad line, OSError for what cannot be read.
    """
    sources = _sources(results_dir, out_dir, index)
    together = [sources] if agnostic else [{name: path} for name, path in sources.items()]
    tasks = [MergeTask(files, out_dir, index, nms_threshold) for files in together]
    # The longest first, so that no process is left alone with it at the end.
    tasks.sort(key=lambda task: task.num_bytes, reverse=True)
    own = {result_path(out_dir, name) for name in sources}
    with locked(out_dir, "writing results into"):
        refuse_strange_results(out_dir, sources)
        outdated = remove_results(out_dir) - own
        said = {"files": sorted(path.name for path in own)}
        write_json(out_dir / MERGED_BY_HAND, said | {"stopped": True})  # whatever ends it, these are ours
        try:
            merged = run_tasks(merge_classes, tasks, num_workers, stop, desc="merging", unit="class")
        except BaseException:
            for path in (*own, out_dir / MERGED_BY_HAND):  # some classes without the others are no results
                path.unlink(missing_ok=True)
            raise
        is_stopped = bool((read_origin(results_dir) or {}).get("stopped"))
        write_json(out_dir / MERGED_BY_HAND, said | ({"stopped": True} if is_stopped else {}))
    if outdated:
        print(f"removed: {counted(len(outdated), 'Task1 file')} of other classes, of earlier results")
    _warn_of_others(out_dir, own)
    _print_counts(merged, sources)
    print(
        f"written: {out_dir}, one Task1 file for each of {len(sources)} classes; "
        f"pictures of the index: {len(index.pictures)}"
    )


def _sources(results_dir: Path, out_dir: Path, index: TileIndex) -> dict[str, Path | None]:
    """The file of each class of the index (without any there: of each class that is found), None where there is none.
    Raises SettingsError or ValueError for results that cannot be merged there, or by this index."""
    if out_dir.resolve() == results_dir.resolve():
        raise SettingsError(f"{out_dir}: is the folder of the results on tiles; name another to write to")
    _refuse_others(out_dir)
    found = _file_of_each_class(results_dir)
    classes = index.class_names or tuple(sorted(found))
    strange = [name for name in sorted(found) if name not in classes and found[name].read_bytes().strip()]
    if strange:
        raise ValueError(
            f"{found[strange[0]]}: class '{strange[0]}' is not among the classes of the index, {', '.join(classes)}; "
            "is it the index of other tiles?"
        )
    sources = {name: found.get(name) for name in classes}
    _refuse_other_tiles(sources.values(), index)
    return sources


def _refuse_others(out_dir: Path) -> None:
    """Raises SettingsError for a folder of data or labels, among which Task1 files would be taken for labels."""
    if (out_dir / INDEX_NAME).is_file() or (out_dir / "images").is_dir():
        raise SettingsError(f"{out_dir}: is a data folder, where nothing is written; name another")
    texts = (path for path in sorted(out_dir.glob("*.txt")) if not path.name.startswith("Task"))
    if (strange := next((path for path in texts if path.name not in _OF_A_RUN), None)) is not None:
        raise SettingsError(f"{out_dir}: holds other texts, such as {strange.name}; name a folder for the results")


def _print_counts(merged: Sequence[Merged], sources: Mapping[str, Path | None]) -> None:
    """Boxes by class, in tiles and on pictures; to the standard error stream what is missing."""
    num_found = {name: count for item in merged for name, count in item.num_found.items()}
    num_merged = {name: count for item in merged for name, count in item.num_merged.items()}
    without = [name for name, path in sources.items() if path is None]
    if without:
        warn(f"no result file for {', '.join(without)}; what is written for that is empty")
    unknown = sum((Counter(item.unknown) for item in merged), Counter())
    if unknown:
        names = ", ".join(f"'{name}'" for name in sorted(unknown)[:SHOWN_TILES])
        warn(f"{unknown.total()} boxes of {len(unknown)} tiles that are not in the index are left out, such as {names}")
    rows = [(name, str(num_found[name]), "boxes in tiles ->", str(num_merged[name])) for name in sources]
    print("\n".join(aligned(rows, to_the_left=(0, 2, 3))))


def merge_classes(task: MergeTask) -> Merged:
    """Merge classes, picture by picture, and write their Task1 files."""
    names = list(task.sources)
    parts: dict[str, list[ImageDetections]] = {}
    for label, (name, path) in enumerate(task.sources.items()):
        of_class = read_results(path, [name]).images if path else {}
        for tile, boxes in of_class.items():
            parts.setdefault(tile, []).append(boxes._replace(labels=boxes.labels + label))
    in_tiles = {
        tile: found[0] if len(found) == 1 else ImageDetections(*map(np.concatenate, zip(*found, strict=True)))
        for tile, found in parts.items()
    }
    index = task.index.called_as(in_tiles)
    unknown = {tile: len(boxes.scores) for tile, boxes in in_tiles.items() if tile not in index.tiles}
    pictures = merge_pictures(in_tiles, index, task.nms_threshold, agnostic=len(names) > 1)
    write_results(task.out_dir, names, pictures)
    return Merged(_counts(in_tiles, names), _counts(pictures, names), unknown)


def _counts(found: Mapping[str, ImageDetections], names: Sequence[str]) -> dict[str, int]:
    """How many boxes there are of each class."""
    counts = sum((np.bincount(boxes.labels, minlength=len(names)) for boxes in found.values()), np.zeros(len(names)))
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def _file_of_each_class(results_dir: Path) -> dict[str, Path]:
    """The Task1 files of a folder by class. Raises ValueError where two are of one class."""
    found: dict[str, Path] = {}
    for path, name in result_files(results_dir).items():
        if name in found:
            raise ValueError(f"{found[name]} and {path.name} are both of class '{name}'; move one of them away")
        found[name] = path
    return found


def _refuse_other_tiles(paths: Iterable[Path | None], index: TileIndex) -> None:
    """Raises ValueError where most of the first boxes of each file are of tiles that the index has not: nothing, or
    hardly anything, would be left of the results."""
    names = Counter(name for path in filter(None, paths) for name in _first_names(path))
    unknown = Counter({name: count for name, count in names.items() if spelling_in(index.tiles, name) is None})
    if unknown.total() * 2 > names.total():
        raise ValueError(
            f"{unknown.total()} of {names.total()} boxes that were looked at are of tiles that the index has not, such "
            f"as '{next(iter(unknown))}'; is it the index of other tiles, or are these results of whole pictures?"
        )


def _first_names(path: Path) -> Iterator[str]:
    """The images of the first lines of a Task1 file."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for line in itertools.islice(file, LOOKED_AT):
            words = line.rsplit(None, 9)
            if len(words) == 10:
                yield words[0].lstrip()


def _warn_of_others(out_dir: Path, own: Set[Path]) -> None:
    """Warn of Task1 files that are not of this merge."""
    strange = sorted(path.name for path in {*out_dir.glob("Task1_*.txt")} - own)
    if strange:
        more = f", nor {'is' if len(strange) == 2 else 'are'} {counted(len(strange) - 1, 'other such file')}"
        warn(
            f"{out_dir / strange[0]}: is not of this merge{more if len(strange) > 1 else ''}, and whoever scores the "
            "folder would score it, too; move it away, or merge into another folder"
        )


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
        type=share,
        metavar="T",
        help="of two boxes of a class that overlap by more IoU the better stays, 0 to 1 [default: as origin.json "
        f"says of the results, else {NMS_THRESH}]",
    )
    add(
        "--agnostic_nms",
        action=argparse.BooleanOptionalAction,
        help="boxes of different classes suppress each other, too, and all are held at a time [default: as origin.json "
        "says of the results]",
    )
    parser.add_workers("processes, each with a class at a time (one with --agnostic_nms); 0 works in the main process")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
