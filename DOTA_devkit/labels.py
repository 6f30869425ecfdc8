"""DOTA's text files, read and written: labelTxt, one file a picture, and Task1/Task2 results, one file a class.

Both are read with patience (tabs, runs of blanks, CRLF, a byte order mark, blank lines, names in any script and with
blanks) and without guessing: a line that cannot be trusted is a `LabelError` with file, line and remedy. Everything
that is written here reads back the same.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.boxes import polygon_area, self_crossing

HEADERS = ("imagesource:", "gsd:")
FLAGS = {"0": 0, "1": 1, "2": 2}  # normal, difficult, ignore region (a fragment too small to be judged)
FARTHEST = 1e9  # pixels; a corner beyond is a slip of the pen, and its area would overflow soon
THINNEST = 1e-12  # area over squared length below which a quad is a line
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
CORNERS = ("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")
NOT_IN_FILE_NAMES = re.compile(r'[%/\\:*?"<>|\x00-\x1f\x7f]|^\.')


class LabelError(ValueError):
    """A line that cannot be used. `path` and `line` (from 1) say where, `reason` what is wrong and what to do."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(path, line, reason)  # all three, so that a worker process can send it home
        self.path, self.line, self.reason = path, line, reason

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


OnBad = Callable[[LabelError], None] | None


class Labels(NamedTuple):
    """The objects of one picture, in the order of the file.

    quads: (N, 4, 2) float64, pixels, as the file has them (either direction of rotation).
    names: N class names.  difficult: (N,) int64, 0, 1 or 2.  lines: (N,) int64, line numbers from 1.
    """

    quads: np.ndarray
    names: list[str]
    difficult: np.ndarray
    lines: np.ndarray


class ImageDetections(NamedTuple):
    """What was found in one picture: quads (n, 4, 2) in its pixels, scores (n,), labels (n,) int64 class numbers."""

    quads: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class Results(NamedTuple):
    """A set of result files.

    images: the detections by image name.  class_names: what their labels count.
    without_file: classes that were asked for and have no file, which may be a mistake.
    """

    images: dict[str, ImageDetections]
    class_names: list[str]
    without_file: list[str]


def read_labels(path: Path, on_bad: OnBad = None) -> Labels:
    """Read a labelTxt file: lines `x1 y1 x2 y2 x3 y3 x4 y4 class difficult`, white space between.

    First lines `imagesource:...` and `gsd:...` and blank lines are passed over. The name is everything between the
    eighth number and the flag, inner white space kept as one blank. The flag is the last word if there are at least
    ten and it is a number, and has to be 0, 1 or 2 (`1.0` counts as 1); without a flag the object is normal.
    Commas do not separate, because a name may hold one.

    Bad lines: fewer than eight numbers, a value that is not a finite number, no class name, another flag, zero area,
    a quad that crosses itself, bytes that are not UTF-8. The first raises LabelError; with `on_bad` each goes to
    that function, in the order of the file, and is left out. Raises OSError when the file cannot be read.
    """
    corners, flags, lines = array("d"), array("q"), array("q")
    names: list[str] = []
    faults: list[LabelError] = []
    for number, line in _numbered_lines(path, faults):
        words = line.split()
        if not words or (not names and words[0].lower().startswith(HEADERS)):
            continue
        try:
            values, name, flag = _parse_label(words)
        except ValueError as error:
            faults.append(LabelError(path, number, str(error)))
            continue
        corners.extend(values)
        names.append(name)
        flags.append(flag)
        lines.append(number)
    quads = np.array(corners).reshape(-1, 4, 2)
    labels = Labels(quads, names, np.array(flags, dtype=np.int64), np.array(lines, dtype=np.int64))
    bad = geometry_faults(quads)
    if not bad and not faults:
        return labels
    faults += [LabelError(path, lines[i], reason) for i, reason in bad.items()]
    _report(faults, on_bad)
    good = [i for i in range(len(names)) if i not in bad]
    return Labels(quads[good], [names[i] for i in good], labels.difficult[good], labels.lines[good])


def write_labels(
    path: Path,
    quads: np.ndarray,
    names: Sequence[str],
    difficult: np.ndarray | Sequence[int],
    header: Sequence[str] = (),
    sync: bool = True,
) -> None:
    """Write a labelTxt file that `read_labels` reads back the same, whole or not at all (`sync` as in `atomic_write`).

    quads (N, 4, 2) pixels, N names, difficult (N,) of 0, 1, 2; header: lines `imagesource:...`, `gsd:...`.
    float64 coordinates read back to the last bit, float32 ones to the same float32.
    Raises ValueError, which names the object, for anything that could not be read back.
    """
    quads, flags = np.asarray(quads), np.asarray(difficult).reshape(-1)
    if quads.size == 0:
        quads = quads.reshape(0, 4, 2)
    if quads.shape != (len(names), 4, 2) or len(flags) != len(names):
        raise ValueError(f"{path}: {quads.shape} quads, {len(names)} names and {len(flags)} flags do not go together")
    for line in header:
        if not line.lower().startswith(HEADERS) or len(line.splitlines()) != 1:
            raise ValueError(f"{path}: header {line!r} is not one line that begins with {' or '.join(HEADERS)}")
    for i, name in enumerate(names):
        if not name or " ".join(name.split()) != name or not _is_text(name):
            raise ValueError(f"{path}: object {i}: a class name like {name!r} cannot be read back; use plain words")
    for i, flag in enumerate(flags.tolist()):
        if flag not in FLAGS.values():
            raise ValueError(f"{path}: object {i}: difficult is {flag}; it must be 0, 1 or 2")
    for i, reason in geometry_faults(quads.astype(np.float64)).items():
        raise ValueError(f"{path}: object {i}: {reason}")
    shortest = "{:.9g}".format if quads.dtype == np.float32 else lambda value: repr(value).removesuffix(".0")
    rows = quads.reshape(-1, 8).tolist() if quads.dtype == np.float32 else quads.astype(float).reshape(-1, 8).tolist()
    with atomic_write(path, sync=sync) as file:
        file.writelines(f"{line.rstrip()}\n" for line in header)
        for row, name, flag in zip(rows, names, flags.tolist(), strict=True):
            file.write(f"{' '.join(map(shortest, row))} {name} {int(flag)}\n")


def read_results(
    source: Path, class_names: Sequence[str] | None = None, task: Literal[1, 2] = 1, on_bad: OnBad = None
) -> Results:
    """Read result files: `source` is a folder of `Task1_<class>.txt` (or `Task2_`), or one such file.

    Lines: `image score x1 y1 x2 y2 x3 y3 x4 y4`, or for task 2 `image score xmin ymin xmax ymax`, which becomes the
    quad of that box. They are read from the right, so the image name may hold blanks and anything else. Labels count
    `class_names`; without these, the classes are those of the files, in alphabetical order. Empty files are fine.

    A bad line (too few values, a score or coordinate that is not a finite number, not UTF-8) and a file with lines
    of a class that is not in `class_names` raise LabelError, or go to `on_bad` and are left out.
    Raises FileNotFoundError when there is no result file, ValueError when a file's name does not tell its class.
    """
    source = Path(source)
    files = _result_files(source, class_names, task)
    known = sorted(set(files.values())) if class_names is None else list(class_names)
    label_of = {name: i for i, name in enumerate(known)}
    numbers: dict[str, int] = {}  # image name -> number, in order of appearance
    images, labels, values = array("q"), [np.empty(0, np.int64)], [np.empty((0, 9 if task == 1 else 5))]
    for path, class_name in sorted(files.items(), key=lambda item: (label_of.get(item[1], len(known)), item[0])):
        if class_name in label_of:
            values.append(_read_result_file(path, task, numbers, images, on_bad))
            labels.append(np.full(len(values[-1]), label_of[class_name]))
        elif path.read_bytes().strip():
            remedy = f"known are {', '.join(known)}; choose the list of classes it was made with or move the file away"
            _report([LabelError(path, 1, f"class {class_name!r} is not among the classes; {remedy}")], on_bad)
    rows = np.concatenate(values)
    quads = rows[:, 1:].reshape(-1, 4, 2) if task == 1 else rows[:, [1, 2, 3, 2, 3, 4, 1, 4]].reshape(-1, 4, 2)
    everything = ImageDetections(quads, rows[:, 0], np.concatenate(labels))
    without_file = [name for name in known if name not in set(files.values())]
    return Results(_by_image(everything, np.array(images, dtype=np.int64), list(numbers)), known, without_file)


class ResultWriter:
    """Writes result files picture by picture; held in memory is one picture's detections.

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
            self._files = [stack.enter_context(atomic_write(path, sync=self.sync)) for path in self.paths]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> bool | None:
        return self._stack.__exit__(*error)

    def write(self, image: str, found: ImageDetections) -> None:
        """Add the detections of a picture. Raises ValueError for an image name that would not read back, a class
        number outside the classes, a value that is not finite; nothing of that picture is written then."""
        check_detections(image, found, len(self.paths))
        if not image or image.strip() != image or not _is_text(image) or "\n" in image or "\r" in image:
            raise ValueError(f"an image name like {image!r} cannot be read back; rename the image")
        quads, scores = np.asarray(found.quads, dtype=np.float64).reshape(-1, 4, 2), np.asarray(found.scores)
        outer = np.concatenate([quads.min(axis=1), quads.max(axis=1)], axis=1)
        corners = quads.reshape(-1, 8) if self.task == 1 else outer
        pattern = "%s " + ("%.9g" if scores.dtype.itemsize <= 4 else "%r") + " %.10g" * corners.shape[1] + "\n"
        for label, score, row in zip(np.asarray(found.labels).tolist(), scores.tolist(), corners.tolist(), strict=True):
            self._files[label].write(pattern % (image, score, *row))


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
    """Where the results of a class go. What a file name cannot hold is written as %XX, as in web addresses."""
    quoted = NOT_IN_FILE_NAMES.sub(lambda match: f"%{ord(match[0]):02X}", class_name)
    return Path(folder) / f"Task{task}_{quoted}.txt"


def result_classes(source: Path, task: Literal[1, 2] = 1) -> list[str]:
    """The classes that the result files of a folder (or one file) are of, sorted. Raises as `read_results` does."""
    return sorted(set(_result_files(Path(source), None, task).values()))


def read_names(path: Path) -> dict[str, int]:
    """Read a list of images or classes, one name a line: name -> the line, from 1, on which it first stands.

    White space around the names and blank lines are left out; the order is kept.
    Raises LabelError for bytes that are not UTF-8 and for a list without a name, OSError when it cannot be read.
    """
    faults: list[LabelError] = []
    names: dict[str, int] = {}
    for number, line in _numbered_lines(path, faults):
        if line.strip():
            names.setdefault(line.strip(), number)
    _report(faults, None)
    if not names:
        raise LabelError(path, 1, "the list is empty; write one name a line")
    return names


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


def geometry_faults(quads: np.ndarray) -> dict[int, str]:
    """What is wrong with quads (N, 4, 2) float64 as labels: index -> sentence with a remedy; {} when all are good."""
    if len(quads) == 0:
        return {}
    finite = (np.abs(quads) <= FARTHEST).all(axis=(1, 2))
    usable = quads if finite.all() else np.where(finite[:, None, None], quads, 0.0)
    crossing = self_crossing(usable)
    length = (usable.max(axis=1) - usable.min(axis=1)).max(axis=1)
    flat = np.abs(polygon_area(usable)) <= THINNEST * length**2
    faults = {}
    for i in np.flatnonzero(~finite | crossing | flat).tolist():
        if not finite[i]:
            faults[i] = f"a corner is NaN, infinite or beyond {FARTHEST:.0e} pixels; correct it or remove the line"
        elif crossing[i]:
            faults[i] = "the quad crosses itself; give its corners in order around the object"
        else:
            faults[i] = "the quad has no area; correct its corners or remove the line"
    return faults


def _numbered_lines(path: Path, faults: list[LabelError]) -> Iterator[tuple[int, str]]:
    """The lines of a text file, numbered from 1 as editors do; those that are not UTF-8 go to `faults` instead."""
    data = Path(path).read_bytes()
    try:
        text = data.decode("utf-8-sig")
        broken = False
    except UnicodeDecodeError:
        text = data.decode("utf-8-sig", errors="surrogateescape")
        broken = True
    # Not splitlines(), which also splits at form feeds and other characters that editors do not count as lines.
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if broken and not _is_text(line):
            faults.append(LabelError(path, number, "the line is not UTF-8 text; save the file with that encoding"))
        else:
            yield number, line


def _parse_label(words: list[str]) -> tuple[list[float], str, int]:
    """Corners, name and flag of a label line's words. Raises ValueError with what is wrong and what to do."""
    try:
        values = [float(word) for word in words[:8]]
    except ValueError:
        raise ValueError(_number_fault(words)) from None
    if len(values) < 8:
        raise ValueError(f"only {len(values)} numbers; a label needs 8, x and y of four corners, and a class name")
    if len(words) == 8:
        raise ValueError("no class name after the 8 numbers; add it")
    if len(words) == 9:
        return values, words[8], 0
    flag = FLAGS.get(words[-1])
    if flag is not None:
        return values, " ".join(words[8:-1]), flag
    if not NUMBER.fullmatch(words[-1]):
        return values, " ".join(words[8:]), 0
    if float(words[-1]) not in FLAGS.values():
        raise ValueError(f"difficult is {words[-1]!r}; it must be 0, 1 or 2")
    return values, " ".join(words[8:-1]), int(float(words[-1]))


def _number_fault(words: list[str]) -> str:
    """Why the first eight words are not eight numbers: one is spelt wrongly, or there are fewer before the name."""
    wrong = next(i for i, word in enumerate(words[:8]) if not _is_number(word))
    if "," in words[wrong]:
        return f"{words[wrong]!r} is not a number; separate values by blanks, not by commas"
    if len(words) > 8 and (all(map(_is_number, words[wrong + 1 : 8])) if wrong < 7 else not _is_number(words[8])):
        return f"{CORNERS[wrong]} is {words[wrong]!r}, not a number; correct it or remove the line"
    return f"only {wrong} numbers before {words[wrong]!r}; a label needs 8, x and y of four corners"


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _is_text(text: str) -> bool:
    """Whether UTF-8 can hold the string (bytes that were not UTF-8 are in it as lone surrogates)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_image_name(name: str) -> bool:
    """Whether a line of a result file can begin with this name and be read back."""
    return name != "" and name == name.strip() and name[0] != "\ufeff" and not {"\n", "\r"} & {*name} and _is_text(name)


def _report(faults: list[LabelError], on_bad: OnBad) -> None:
    """Raise the first fault of a file, or give all to `on_bad`, in the order of the lines."""
    for fault in sorted(faults, key=lambda fault: fault.line):
        if on_bad is None:
            raise fault
        on_bad(fault)


def _result_files(source: Path, class_names: Sequence[str] | None, task: int) -> dict[Path, str]:
    """The result files of a task and their classes."""
    prefix = f"Task{task}_"
    if source.is_dir():
        paths = sorted(source.glob(f"{prefix}*.txt"))
        if not paths:
            raise FileNotFoundError(f"{source}: no result files {prefix}<class>.txt in this folder; name another")
        return {path: _class_of(path, prefix) for path in paths}
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file or folder; name a folder of {prefix}<class>.txt files")
    if source.name.startswith(prefix):
        return {source: _class_of(source, prefix)}
    if class_names is not None and len(class_names) == 1:
        return {source: class_names[0]}
    raise ValueError(f"{source}: the class is not in the file's name; call it {prefix}<class>.txt")


def _class_of(path: Path, prefix: str) -> str:
    """The class whose results a file holds: `result_path` backwards."""
    quoted = path.name.removeprefix(prefix).removesuffix(".txt")
    return re.sub(r"%([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), quoted)


def _read_result_file(path: Path, task: int, numbers: dict[str, int], images: array, on_bad: OnBad) -> np.ndarray:
    """The scores and coordinates of one file, (n, 9) or (n, 5) float64; its images' numbers are added to `images`."""
    width = 9 if task == 1 else 5
    values, lines, names = array("d"), array("q"), []
    faults: list[LabelError] = []
    for number, line in _numbered_lines(path, faults):
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
    _report(faults, on_bad)
    kept = names if good.all() else [names[i] for i in np.flatnonzero(good).tolist()]
    images.extend([numbers.setdefault(name, len(numbers)) for name in kept])
    return rows[good]


def _by_image(everything: ImageDetections, images: np.ndarray, names: list[str]) -> dict[str, ImageDetections]:
    """Detections of many images, split by image number; within an image the order is kept."""
    order = np.argsort(images, kind="stable")
    ends = np.cumsum(np.bincount(images, minlength=len(names)))[:-1]
    parts = zip(*(np.split(field[order], ends) for field in everything), strict=True)
    return {name: ImageDetections(*part) for name, part in zip(names, parts, strict=False)}
