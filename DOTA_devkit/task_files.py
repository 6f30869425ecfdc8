"""DOTA's result files, Task1 (quads) and Task2 (horizontal boxes), one a class, read and written.

Read and written by the same rules as label files (`DOTA_devkit.labels`).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from DOTA_devkit.atomic import atomic_appends
from DOTA_devkit.labels import LabelError, OnBad, numbered_lines, report_faults
from DOTA_devkit.names import composed_form, is_text

DETECTIONS, ORIGIN = "detections.json", "origin.json"  # beside Task1 files: the boxes by picture; what they are of
LONGEST_FILE_NAME = 255  # bytes, of nearly all file systems
HELD_LINES = 50_000  # result lines, of a hundred bytes or so, that are written at once
NOT_IN_FILE_NAMES = re.compile(r'[%/\\:*?"<>|\x00-\x1f\x7f]|^\.')


class ImageDetections(NamedTuple):
    """What was found in one picture: quads (n, 4, 2) in its pixels, scores (n,), labels (n,) int64 class numbers."""

    quads: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def at(self, rows: np.ndarray) -> ImageDetections:
        """Those of these rows, numbers or a mask (n,) bool."""
        return ImageDetections(*(part[rows] for part in self))

    def reach(self, least: float | Sequence[float]) -> np.ndarray:
        """Which score at least `least`, or as much as it tells for their class, (n,) bool. Scores are those of float32:
        a threshold that was read from a file, whose nine digits are a little more or less, is the score it is of."""
        scores, bounds = self.scores.astype(np.float32), np.asarray(least, np.float32)
        return scores >= (bounds[self.labels] if bounds.ndim else bounds)


NO_DETECTIONS = ImageDetections(np.zeros((0, 4, 2)), np.zeros(0, np.float32), np.zeros(0, np.int64))


class Results(NamedTuple):
    """A set of result files.

    images: the detections by image name.  class_names: what their labels count.
    without_file: classes that were asked for and have no file, which may be a mistake.
    files: those that were read.  places: (n, 2) by image name, of each detection the number of its file and its line.
    """

    images: dict[str, ImageDetections]
    class_names: list[str]
    without_file: list[str]
    files: list[Path]
    places: dict[str, np.ndarray]


def read_results(
    source: Path,
    class_names: Sequence[str] | None = None,
    task: Literal[1, 2] = 1,
    on_bad: OnBad = None,
    skip_others: bool = False,
) -> Results:
    """Read result files: `source` is a folder of `Task1_<class>.txt` (or `Task2_`), or one such file.

    Lines: `image score x1 y1 x2 y2 x3 y3 x4 y4`, or for task 2 `image score xmin ymin xmax ymax`, which becomes the
    quad of that box. They are read from the right, so the image name may hold blanks and anything else. Labels count
    `class_names`; without these, the classes are those of the files, in alphabetical order. Empty files are fine.

    A bad line (too few values, a score or coordinate that is not a finite number, not UTF-8) and a file with lines
    of a class that is not in `class_names` raise LabelError, or go to `on_bad` and are left out; with `skip_others`
    such a file is passed over.
    Raises FileNotFoundError when there is no result file, ValueError when a file's name does not tell its class.
    """
    source = Path(source)
    files = result_files(source, class_names, task)
    known = sorted(set(files.values())) if class_names is None else list(class_names)
    label_of = {name: i for i, name in enumerate(known)}
    numbers: dict[str, int] = {}  # image name -> number, in order of appearance
    images, labels, values = array("q"), [np.empty(0, np.int64)], [np.empty((0, 9 if task == 1 else 5))]
    read_files: list[Path] = []
    places = [np.empty((0, 2), np.int64)]
    for path, class_name in sorted(files.items(), key=lambda item: (label_of.get(item[1], len(known)), item[0])):
        if class_name in label_of:
            rows, lines = _read_result_file(path, task, numbers, images, on_bad)
            values.append(rows)
            labels.append(np.full(len(rows), label_of[class_name]))
            places.append(np.column_stack([np.full(len(rows), len(read_files)), lines]))
            read_files.append(path)
        elif not skip_others and path.read_bytes().strip():
            remedy = f"known are {', '.join(known)}; choose the list of classes it was made with or move the file away"
            report_faults([LabelError(path, 1, f"class {class_name!r} is not among the classes; {remedy}")], on_bad)
    rows = np.concatenate(values)
    quads = rows[:, 1:].reshape(-1, 4, 2) if task == 1 else rows[:, [1, 2, 3, 2, 3, 4, 1, 4]].reshape(-1, 4, 2)
    everything = (quads, rows[:, 0], np.concatenate(labels), np.concatenate(places))
    parts = _by_image(everything, np.array(images, dtype=np.int64), len(numbers))
    found = {name: ImageDetections(*part[:3]) for name, part in zip(numbers, parts, strict=False)}
    without_file = [name for name in known if name not in set(files.values())]
    lines_of = {name: part[3] for name, part in zip(numbers, parts, strict=False)}
    return Results(found, known, without_file, read_files, lines_of)


class ResultWriter:
    """Writes result files picture by picture; held in memory are one picture's detections and some lines (HELD_LINES),
    and open is one file at a time, since there may be more classes than a process may open files.

    A context manager: the files, one a class in `folder` and also for classes without detections, appear whole when
    the block ends well and not at all when it does not. Scores keep every bit (of float32 or float64), coordinates ten
    digits; task 2 writes the outer horizontal box.
    Raises ValueError for class names that are not distinct.
    """

    def __init__(self, folder: Path, class_names: Sequence[str], task: Literal[1, 2] = 1, sync: bool = True) -> None:
        self.paths = [result_path(folder, name, task) for name in class_names]
        if len(set(self.paths)) < len(self.paths):
            raise ValueError(f"class names must differ from one another, got {list(class_names)}")
        self.task, self.sync = task, sync

    def __enter__(self) -> ResultWriter:
        with ExitStack() as stack:
            self._append = stack.enter_context(atomic_appends(self.paths, self.sync))
            stack.push(lambda *error: None if error[0] else self._flush())
            self._stack = stack.pop_all()
        self._lines: list[list[str]] = [[] for _ in self.paths]
        self._num_held = 0
        return self

    def __exit__(self, *error: object) -> bool | None:
        return self._stack.__exit__(*error)

    def write(self, image: str, found: ImageDetections) -> None:
        """Add the detections of a picture. Raises ValueError for an image name that would not read back, a class
        number outside the classes, a value that is not finite; nothing of that picture is written then."""
        check_detections(image, found, len(self.paths))
        if not _is_image_name(image):
            raise ValueError(f"an image name like {image!r} cannot be read back; rename the image")
        quads, scores = np.asarray(found.quads, dtype=np.float64).reshape(-1, 4, 2), np.asarray(found.scores)
        outer = np.concatenate([quads.min(axis=1), quads.max(axis=1)], axis=1)
        corners = quads.reshape(-1, 8) if self.task == 1 else outer
        pattern = "%s " + ("%.9g" if scores.dtype.itemsize <= 4 else "%r") + " %.10g" * corners.shape[1] + "\n"
        for label, score, row in zip(np.asarray(found.labels).tolist(), scores.tolist(), corners.tolist(), strict=True):
            self._lines[label].append(pattern % (image, score, *row))
        self._num_held += len(scores)
        if self._num_held >= HELD_LINES:
            self._flush()

    def _flush(self) -> None:
        for number, lines in enumerate(self._lines):
            if lines:
                self._append(number, "".join(lines))
                lines.clear()
        self._num_held = 0


def write_results(
    folder: Path,
    class_names: Sequence[str],
    detections: Mapping[str, ImageDetections],
    task: Literal[1, 2] = 1,
    sync: bool = True,
) -> list[Path]:
    """Write the detections of many pictures, by image name, with a `ResultWriter`; returns the paths."""
    with ResultWriter(folder, class_names, task, sync) as writer:
        for image, found in detections.items():
            writer.write(image, found)
    return writer.paths


def result_path(folder: Path, class_name: str, task: Literal[1, 2] = 1) -> Path:
    """Where the results of a class go, its name written as `quoted` has it."""
    return Path(folder) / f"Task{task}_{quoted(class_name)}.txt"


def class_name_fault(class_name: str) -> str | None:
    """Why no result file can be of this class; None for a good name."""
    num_bytes = len(result_path(Path(), class_name).name.encode("utf-8", "surrogateescape"))
    if num_bytes > LONGEST_FILE_NAME:
        return f"the class name '{class_name[:20]}...' is too long for the name of a result file; shorten it"
    return None


def quoted(class_name: str) -> str:
    """The class in the name of a file or folder: what that cannot hold is written as %XX, as in web addresses."""
    return NOT_IN_FILE_NAMES.sub(lambda match: f"%{ord(match[0]):02X}", class_name)


def result_files(source: Path, class_names: Sequence[str] | None = None, task: Literal[1, 2] = 1) -> dict[Path, str]:
    """The result files of a folder (or one file) and their classes; other programs write a class into the name of its
    file otherwise than `result_path` does. Arguments and errors as of `read_results`."""
    source, prefix = Path(source), f"Task{task}_"
    if source.is_dir():
        paths = sorted(source.glob(f"{prefix}*.txt"))
        if not paths:
            names = (path.name for path in source.glob("*.txt") if not path.name.startswith("Task"))
            others = sorted(name for name in names if name not in ("classes.txt", "log.txt"))
            remedy = "name another" + (f", or call {others[0]} {prefix}{others[0]}" if others else "")
            raise FileNotFoundError(f"{source}: no result files {prefix}<class>.txt in this folder; {remedy}")
        return {path: _class_of(path, prefix) for path in paths}
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file or folder; name a folder of {prefix}<class>.txt files")
    if source.name.startswith(prefix):
        return {source: _class_of(source, prefix)}
    if class_names is not None and len(class_names) == 1:
        return {source: class_names[0]}
    raise ValueError(f"{source}: the class is not in the file's name; call it {prefix}<class>.txt")


def check_detections(image: str, found: ImageDetections, num_classes: int) -> None:
    """Raise ValueError, naming the image, unless shapes agree, all values are finite and labels in [0, num_classes)."""
    quads, scores, labels = (np.asarray(item) for item in found)
    shapes = f"quads {quads.shape}, scores {scores.shape} and labels {labels.shape}"
    if scores.ndim != 1 or labels.shape != scores.shape or (quads.size and quads.shape[1:] != (4, 2)):
        raise ValueError(f"image {image!r}: {shapes} must be (n, 4, 2), (n,) and (n,)")
    if len(quads) != len(scores):
        raise ValueError(f"image {image!r}: {shapes} are not of one length")
    if len(scores) == 0:
        return
    if not np.isfinite(scores).all():
        raise ValueError(f"image {image!r}: a score is NaN or infinite; look for the fault in the detector")
    if not np.isfinite(quads).all():
        raise ValueError(f"image {image!r}: a corner is NaN or infinite; look for the fault in the detector")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"image {image!r}: labels {labels.min()} to {labels.max()}, but {num_classes} classes")


def _is_image_name(name: str) -> bool:
    """Whether a line of a result file can begin with this name and be read back."""
    return name != "" and name == name.strip() and name[0] != "\ufeff" and not {"\n", "\r"} & {*name} and is_text(name)


def _class_of(path: Path, prefix: str) -> str:
    """The class whose results a file holds: `result_path` backwards, in the form of class names in labels."""
    quoted = path.name.removeprefix(prefix).removesuffix(".txt")
    return composed_form(re.sub(r"%([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), quoted))


def _read_result_file(
    path: Path, task: int, numbers: dict[str, int], images: array, on_bad: OnBad
) -> tuple[np.ndarray, np.ndarray]:
    """The scores and coordinates of one file, (n, 9) or (n, 5) float64, and their lines (n,); its images' numbers are
    added to `images`."""
    width = 9 if task == 1 else 5
    values, lines, names = array("d"), array("q"), []
    faults: list[LabelError] = []
    for number, line in numbered_lines(path, faults):
        words = line.rsplit(None, width)
        if not words:
            continue
        try:
            row = [float(word) for word in words[-width:]]
        except ValueError:
            row = []
        if len(words) <= width or not row:
            needed = "image, score and 8 coordinates" if task == 1 else "image, score, xmin, ymin, xmax, ymax"
            faults.append(LabelError(path, number, f"a line must hold {needed}, all but the first numbers; correct it"))
            continue
        values.extend(row)
        lines.append(number)
        names.append(words[0].lstrip())
    rows = np.array(values).reshape(-1, width)
    good = np.isfinite(rows).all(axis=1)
    for i in np.flatnonzero(~good).tolist():
        what = "the score" if not np.isfinite(rows[i, 0]) else "a coordinate"
        faults.append(LabelError(path, lines[i], f"{what} is NaN or infinite; correct it or remove the line"))
    report_faults(faults, on_bad)
    kept = names if good.all() else [names[i] for i in np.flatnonzero(good).tolist()]
    images.extend([numbers.setdefault(name, len(numbers)) for name in kept])
    return rows[good], np.array(lines, dtype=np.int64)[good]


def _by_image(everything: Sequence[np.ndarray], images: np.ndarray, num_images: int) -> list[tuple[np.ndarray, ...]]:
    """Fields of detections of many images, split by image number; within an image the order is kept."""
    order = np.argsort(images, kind="stable")
    ends = np.cumsum(np.bincount(images, minlength=num_images))[:-1]
    return list(zip(*(np.split(field[order], ends) for field in everything), strict=True))
