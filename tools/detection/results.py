"""Result files of a test: `Task1_<class>.txt`, `detections.json` and what they are results of, written as they come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from datasets.picture_files.layouts import BY_THE_FILE, Reading
from DOTA_devkit.atomic import atomic_write, write_json
from DOTA_devkit.boxes import quads_to_boxes
from DOTA_devkit.task_files import DETECTIONS, ORIGIN, ResultWriter, result_path
from DOTA_devkit.tiling import check_picture_name
from tools.drawings.drawing_files import check_drawings
from tools.outcomes import DetectionSettings, Found, Tiling
from tools.run_folder import LAST
from tools.running.command_line import SettingsError
from tools.running.destinations import refuse_to_replace
from tools.running.folder_lock import locked
from tools.running.messages import warn

# cx, cy, w, h in pixels and the angle of w, the long side, in radians, clockwise from +x, -pi/2 to pi/2.
BOX_CONVENTION = "le90"
RESULTS, DRAWINGS = "results", "drawings"
READING = "reading"  # in origin.json: bands and range of values, where the network has such
MERGED = "merged"  # of tiles, on the whole pictures
MERGED_BY_HAND = ".merge_results.json"  # of tools.merge_results, beside the files that it wrote: which these are


class ResultFiles:
    """Context manager that writes the results of one picture after the other; held in memory is one at a time.

    All files appear when the block ends well, none when it does not: earlier results of ours go when it begins, lest
    they be taken for the new ones. `origin.json` comes last, so that results without it are not taken for whole ones.
    Raises SettingsError where another process writes results into the folder.
    """

    def __init__(self, folder: Path, class_names: Sequence[str], origin: dict) -> None:
        self.folder = folder
        self.class_names = class_names
        self.origin = origin

    def __enter__(self) -> ResultFiles:
        with ExitStack() as stack:
            stack.enter_context(locked(self.folder, "writing results into"))
            self._clear()
            if self.folder.name == RESULTS:
                remove_merged(self.folder.parent)  # of the earlier results
            stack.push(lambda *error: None if error[0] else self._write_origin())
            self._writer = stack.enter_context(ResultWriter(self.folder, self.class_names))
            # There before the Task1 files are: whatever ends this between the two, these are ours by it.
            self._json = stack.enter_context(atomic_write(self.folder / DETECTIONS))
            stack.push(lambda *error: None if error[0] else self._json.write("\n]\n"))
            self._files = stack.pop_all()
        self._json.write("[")
        self._names: list[str] = []
        return self

    def _clear(self) -> None:
        """Remove earlier results of ours, and what a process that was killed left half written. Raises SettingsError
        for files of others in the place of ours."""
        refuse_strange_results(self.folder, self.class_names)
        remove_results(self.folder)
        for name in (DETECTIONS, "Task1_"):
            for leftover in self.folder.glob(f".{name}*.tmp"):
                leftover.unlink()

    def write(self, path: Path, found: Found) -> None:
        """Add the boxes found in the picture of this file, as `named_picture` calls it."""
        boxes = found.detections
        self._writer.write(path.stem, boxes)
        angled = quads_to_boxes(boxes.quads, BOX_CONVENTION)
        record = {
            "image": path.name,
            "height": found.size[0],
            "width": found.size[1],
            "boxes": [
                {
                    "class": self.class_names[label],
                    "score": score,
                    "quad": [round(value, 4) for value in quad],
                    # Six digits of the angle: of four some are beyond its range, and a long box's ends move with them.
                    "box": [round(value, 6 if number == 4 else 4) for number, value in enumerate(box)],
                }
                for label, score, quad, box in zip(
                    boxes.labels.tolist(),
                    boxes.scores.tolist(),
                    boxes.quads.reshape(-1, 8).tolist(),
                    angled.tolist(),
                    strict=True,
                )
            ],
        }
        self._json.write(("," if self._names else "") + "\n" + json.dumps(record, ensure_ascii=False))
        self._names.append(path.stem)

    def __exit__(self, *error: object) -> None:
        self._files.__exit__(*error)

    def _write_origin(self) -> None:
        """Last of all, but before another process may begin."""
        write_json(self.folder / ORIGIN, self.origin | {"classes": list(self.class_names), "images": self._names})


def named_picture(name: str, path: Path) -> Path:
    """The file of a picture as its results call it: by its name, which tells it from others of that file's name."""
    return Path(f"{name}{path.suffix}")


def drawing_path(out: Path, picture: Path) -> Path:
    """Where the drawing of a picture goes, in the folder that its results go to."""
    return out / DRAWINGS / f"{picture.stem}.png"


def check_outputs(out: Path, images: Mapping[str, Path], num_drawings: int) -> None:
    """Look before the work, and not after hours of it. Raises ValueError for a picture name that results cannot hold,
    SettingsError where a drawing would take the place of another picture."""
    for folder in (out, out / RESULTS, out / DRAWINGS):
        if folder.exists() and not folder.is_dir():
            raise SettingsError(f"{folder}: is a file; name another folder")
    if "every" in (read_origin(out / RESULTS) or {}):
        raise SettingsError(f"{out}: holds what tools.detect_video found; name another folder")
    for name in images:
        check_picture_name(name)
    drawn = islice(images.items(), num_drawings)
    check_drawings(drawing_path(out, named_picture(name, path)) for name, path in drawn)


def origin_of(
    model: Path,
    source: str,
    pictures: Iterable[Path],
    settings: DetectionSettings,
    tiling: Tiling | None,
    reading: Reading = BY_THE_FILE,
) -> dict:
    """What results are results of, for `ResultFiles`: the weights, the pictures (or videos) of a `source`, and all that
    decides what is found in them."""
    lists = {name: value and list(value) for name, value in reading._asdict().items()}  # as a file has them
    told = {} if reading == BY_THE_FILE else {READING: lists}
    return {"pictures": source, "files": stamp_of(pictures), **model_facts(model, settings, tiling), **told}


def model_facts(model: Path, settings: DetectionSettings, tiling: Tiling | None) -> dict:
    """The weights, and all that decides what is found with them."""
    return {
        "checkpoint": str(model),
        "sha256": file_hash(model),
        **vars(settings),
        "tiles": [tiling.size, tiling.overlap, *tiling.scales] if tiling else None,
    }


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal: which checkpoint some results are of."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp_of(paths: Iterable[Path]) -> str:
    """A number of the pictures, in hexadecimals, by their places, sizes and times of change: a list of the same names
    may be of another folder, and a picture may have been replaced."""
    stamp = hashlib.sha256()
    for path in paths:
        status = path.stat() if path.is_file() else None
        seen = (str(path.resolve()), *((status.st_size, status.st_mtime_ns) if status else ()))
        stamp.update(repr(seen).encode("utf-8", "surrogateescape"))
    return stamp.hexdigest()


def reading_in(folder: Path, asked: Reading = BY_THE_FILE) -> Reading:
    """How the pictures of the results in a folder are to be read: as asked for, else as they were, as far as these
    tell."""
    if asked != BY_THE_FILE:
        return asked
    told = (read_origin(folder) or {}).get(READING)
    values = [told.get(name) if isinstance(told, dict) else None for name in Reading._fields]
    return Reading(*(tuple(value) if isinstance(value, list) else None for value in values))


def remove_results(folder: Path) -> set[Path]:
    """Remove the results of a test, an evaluation or a merge: whoever reads the folder would take them for the ones
    that come; `refuse_strange_results` looks for files of others before. Returns the Task1 files that are gone."""
    own = own_results(folder)
    for name in (ORIGIN, DETECTIONS, MERGED_BY_HAND):
        (folder / name).unlink(missing_ok=True)
    for path in own:
        path.unlink()
    return own


def own_results(folder: Path) -> set[Path]:
    """The Task1 files in a folder that a test, an evaluation or a merge wrote."""
    origin = read_origin(folder)
    origin = origin if _is_ours(origin) else {}
    names = origin.get("classes")
    if isinstance(names, list):
        own = {result_path(folder, str(name)) for name in names}
    else:  # of an earlier version, or killed before it could tell
        own = set(folder.glob("Task1_*.txt")) if origin or (folder / DETECTIONS).is_file() else set()
    own |= {folder / name for name in read_merge(folder).get("files", ())}
    return {path for path in own if path.is_file()}


def refuse_strange_results(folder: Path, class_names: Iterable[str]) -> None:
    """Raises SettingsError for files in a folder that results of these classes would replace or remove, and that nobody
    here has written."""
    strange = {result_path(folder, name) for name in class_names} - own_results(folder)
    if (path := next((path for path in sorted(strange) if path.exists()), None)) is not None:
        raise SettingsError(f"{path} is there, and nothing tells that this command wrote it; name another folder")
    refuse_to_replace(folder / DETECTIONS, "", heads=('[\n{"image": ', "[\n]"), remedy="name another folder")
    if (folder / ORIGIN).is_file() and not _is_ours(read_origin(folder)):
        raise SettingsError(f"{folder / ORIGIN} is there, and was not written by this command; name another folder")


def _is_ours(origin: dict | None) -> bool:
    """Whether `origin.json` is of a test, an evaluation or a merge; None is one that cannot be read."""
    return origin is not None and "images" in origin and not origin.keys().isdisjoint({"classes", "checkpoint"})


def read_merge(folder: Path) -> dict:
    """What tools.merge_results wrote of the files in a folder; empty where it wrote nothing."""
    try:
        said = json.loads((folder / MERGED_BY_HAND).read_text(encoding="utf-8"))
        return said if {Path(name).name for name in said["files"]} == {*said["files"]} else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def remove_merged(run_dir: Path) -> None:
    """Remove what an evaluation merged of earlier results on tiles; what anybody else wrote there stays."""
    folder = run_dir / MERGED
    if _is_ours(origin := read_origin(folder)):
        refuse_strange_results(folder, origin.get("classes", ()))
        remove_results(folder)
        if not any(folder.iterdir()):
            folder.rmdir()


def warn_if_stopped(folder: Path) -> None:
    """Warn of results that are not of all pictures."""
    origin = read_origin(folder) or read_merge(folder)
    if origin.get("stopped"):
        pictures = origin.get("images")
        count = f", of {len(pictures)} pictures" if isinstance(pictures, list) else ""
        warn(f"{folder}: are the results of a detection that was stopped{count}")


def results_in(folder: Path, of_tiles: bool | None = None) -> Path:
    """The folder of result files: that one, or of a run folder its results, of tiles or of whole pictures where it has
    both. Raises SettingsError where it has both and nobody knows which are meant, and for a run without results."""
    found = [folder / name for name in (RESULTS, MERGED) if (folder / name).is_dir()]
    if not found and (folder / LAST).is_file():
        raise SettingsError(f"{folder}: has no results yet; python main.py --phase test --resume {folder} makes them")
    if len(found) > 1 and of_tiles is not None:
        found = found[:1] if of_tiles else found[1:]
    if len(found) > 1:
        raise SettingsError(f"{folder} holds results of tiles and of whole pictures; name {found[0]} or {found[1]}")
    folder = found[0] if found else folder
    warn_if_stopped(folder)
    return folder


def read_origin(folder: Path) -> dict | None:
    """What the results in a folder are results of, and the names of their `images` (those without a box stand in no
    other file); None where there are no results, or not whole ones."""
    try:
        origin = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return origin if isinstance(origin, dict) else None
