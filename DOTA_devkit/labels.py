"""DOTA's label files, labelTxt, one a picture, read and written.

They are read with patience (tabs, runs of blanks, CRLF, a byte order mark, blank lines, names in any script and with
blanks) and without guessing: a line that cannot be trusted is a `LabelError` with file, line and remedy. Everything
that is written here reads back the same.
"""

from __future__ import annotations

import difflib
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.boxes import polygon_area, self_crossing
from DOTA_devkit.names import as_class_name, is_text

HEADERS = ("imagesource:", "gsd:")
IGNORED_CLASS = "DontCare"  # its objects are ignore regions: neither objects, of any class, nor background
EVERY_CLASS = -1  # the number of that class
IGNORE_FLAG = 2  # difficult flag of an ignore region of its own class, such as a fragment too small to be judged
FLAGS = {"0": 0, "1": 1, "2": IGNORE_FLAG}  # normal, difficult, ignore region
FARTHEST = 1e9  # pixels; a corner beyond is a slip of the pen, and its area would overflow soon
THINNEST = 1e-12  # area over squared length below which a quad is a line
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
BAD_LABEL = "bad-label"  # the kind of a fault that is of no other
CORNERS = ("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4")


class LabelError(ValueError):
    """A label that cannot be used. `path` and `line` (from 1) say where, `reason` what is wrong and what to do, `kind`
    the sort of fault in a word, such as "zero-area", by which faults are counted."""

    def __init__(self, path: Path, line: int, reason: str, kind: str = BAD_LABEL) -> None:
        super().__init__(path, line, reason, kind)  # all four, so that a worker process can send it home
        self.path, self.line, self.reason, self.kind = path, line, reason, kind

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


class LabelFault(ValueError):
    """What is wrong with a label and what to do, by those who do not know where it stands."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind

    def at(self, path: Path, line: int) -> LabelError:
        return LabelError(path, line, str(self), self.kind)


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

    @property
    def ignored(self) -> np.ndarray:
        """(N,) bool: ignore regions, by their flag or their class."""
        return (self.difficult == IGNORE_FLAG) | np.array([name == IGNORED_CLASS for name in self.names], bool)

    def at(self, rows: np.ndarray | Sequence[int]) -> Labels:
        """The objects of these rows (n,), in their order."""
        rows = np.asarray(rows, np.int64)
        names = [self.names[row] for row in rows.tolist()]
        return Labels(self.quads[rows], names, self.difficult[rows], self.lines[rows])


NO_LABELS = Labels(np.zeros((0, 4, 2)), [], np.zeros(0, np.int64), np.zeros(0, np.int64))


def did_you_mean(name: str, class_names: Iterable[str]) -> str:
    """A question for an error about a name that is none of the classes; "" where it is like none of them."""
    nearest = nearest_class(name, class_names)
    return f"did you mean '{nearest}'?" if nearest else ""


def nearest_class(name: str, class_names: Iterable[str]) -> str | None:
    """The class that a name which is none of them may be meant for, whatever its capitals; None for nothing like it."""
    return _nearest_class(name, tuple(class_names))


@lru_cache(maxsize=4096)  # asked for each of thousands of objects
def _nearest_class(name: str, class_names: tuple[str, ...]) -> str | None:
    by_folded = {known.casefold(): known for known in class_names}
    nearest = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return by_folded[nearest[0]] if nearest else None


def read_labels(path: Path, on_bad: OnBad = None) -> Labels:
    """Read a labelTxt file: lines `x1 y1 x2 y2 x3 y3 x4 y4 class difficult`, white space between.

    First lines `imagesource:...` and `gsd:...` and blank lines are passed over. The name is everything between the
    eighth number and the flag, as `as_class_name` has it. The flag is the last word if there are at least
    ten and it is a number, and has to be 0, 1 or 2 (`1.0` counts as 1); without a flag the object is normal.
    Commas do not separate, because a name may hold one.

    Bad lines: fewer than eight numbers, a value that is not a finite number, no class name, another flag, zero area,
    a quad that crosses itself, bytes that are not UTF-8. The first raises LabelError; with `on_bad` each goes to
    that function, in the order of the file, and is left out. Raises OSError when the file cannot be read.
    """
    corners, flags, lines = array("d"), array("q"), array("q")
    names: list[str] = []
    faults: list[LabelError] = []
    for number, line in numbered_lines(path, faults):
        words = line.split()
        if not words or (not names and words[0].lower().startswith(HEADERS)):
            continue
        try:
            values, name, flag = parse_label(words)
        except LabelFault as fault:
            faults.append(fault.at(path, number))
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
    faults += [fault.at(path, lines[i]) for i, fault in bad.items()]
    report_faults(faults, on_bad)
    good = [i for i in range(len(names)) if i not in bad]
    return labels.at(good)


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
        if not name or not is_text(name) or as_class_name(name) != name:
            raise ValueError(f"{path}: object {i}: a class name like {name!r} cannot be read back; use plain words")
    for i, flag in enumerate(flags.tolist()):
        if flag not in FLAGS.values():
            raise ValueError(f"{path}: object {i}: difficult is {flag}; it must be 0, 1 or 2")
    for i, fault in geometry_faults(quads.astype(np.float64)).items():
        raise ValueError(f"{path}: object {i}: {fault}")
    shortest = "{:.9g}".format if quads.dtype == np.float32 else lambda value: repr(value).removesuffix(".0")
    rows = quads.reshape(-1, 8).tolist() if quads.dtype == np.float32 else quads.astype(float).reshape(-1, 8).tolist()
    with atomic_write(path, sync=sync) as file:
        file.writelines(f"{line.rstrip()}\n" for line in header)
        for row, name, flag in zip(rows, names, flags.tolist(), strict=True):
            file.write(f"{' '.join(map(shortest, row))} {name} {int(flag)}\n")


def read_names(path: Path, on_bad: OnBad = None) -> dict[str, int]:
    """Read a list of images or classes, one name a line: name -> the line, from 1, on which it first stands.

    White space around the names and blank lines are left out; the order is kept.
    Raises LabelError for bytes that are not UTF-8 and for a list without a name, OSError when it cannot be read. With
    `on_bad` lines that are not UTF-8 go to that function and are left out.
    """
    faults: list[LabelError] = []
    names: dict[str, int] = {}
    for number, line in numbered_lines(path, faults):
        if line.strip():
            names.setdefault(line.strip(), number)
    report_faults(faults, on_bad)
    if not names and not faults:
        raise LabelError(path, 1, "the list is empty; write one name a line")
    return names


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read a list of classes, one name a line, as `as_class_name` has it; ignore regions, which are no class, are left
    out.

    Raises LabelError for a name that stands twice, for a list without a name and as `read_names` does.
    """
    names: dict[str, int] = {}
    faults: list[LabelError] = []
    for number, line in numbered_lines(path, faults):
        name = as_class_name(line)
        if name in names:
            faults.append(LabelError(path, number, f"the class '{name}' stands in line {names[name]} already"))
        elif name and name != IGNORED_CLASS:
            names[name] = number
    report_faults(faults, None)
    if not names:
        raise LabelError(path, 1, "the list holds no class name; write one a line")
    return tuple(names)


def geometry_faults(quads: np.ndarray) -> dict[int, LabelFault]:
    """What is wrong with quads (N, 4, 2) float64 as labels, by their index; {} when all are good."""
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
            reason = f"a corner is NaN, infinite or beyond {FARTHEST:.0e} pixels; correct it or remove the line"
            faults[i] = LabelFault("not-finite", reason)
        elif crossing[i]:
            reason = "the quad crosses itself; give its corners in order around the object"
            faults[i] = LabelFault("self-crossing", reason)
        else:
            faults[i] = LabelFault("zero-area", "the quad has no area; correct its corners or remove the line")
    return faults


def numbered_lines(path: Path, faults: list[LabelError]) -> Iterator[tuple[int, str]]:
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
        if broken and not is_text(line):
            reason = "the line is not UTF-8 text; save the file with that encoding"
            faults.append(LabelError(path, number, reason, "encoding"))
        else:
            yield number, line


def parse_label(words: list[str]) -> tuple[list[float], str, int]:
    """Corners, name and flag of a label line's words. Raises LabelFault."""
    try:
        values = [float(word) for word in words[:8]]
    except ValueError:
        raise _number_fault(words) from None
    if len(values) < 8:
        reason = f"only {len(values)} numbers; a label needs 8, x and y of four corners, and a class name"
        raise LabelFault("short-line", reason)
    if len(words) == 8:
        raise LabelFault("no-class", "no class name after the 8 numbers; add it")
    last = words[-1] if len(words) > 9 else ""  # of nine words it is the name
    flag = FLAGS.get(last)
    if flag is None and NUMBER.fullmatch(last):
        if float(last) not in FLAGS.values():
            raise LabelFault("bad-flag", f"difficult is {last!r}; it must be 0, 1 or 2")
        flag = int(float(last))
    name = words[8:] if flag is None else words[8:-1]
    return values, as_class_name(" ".join(name)), flag or 0


def _number_fault(words: list[str]) -> LabelFault:
    """Why the first eight words are not eight numbers: one is spelt wrongly, or there are fewer before the name."""
    wrong = next(i for i, word in enumerate(words[:8]) if not _is_number(word))
    if "," in words[wrong]:
        reason = f"{words[wrong]!r} is not a number; separate values by blanks, not by commas"
        return LabelFault("not-a-number", reason)
    if len(words) > 8 and (all(map(_is_number, words[wrong + 1 : 8])) if wrong < 7 else not _is_number(words[8])):
        reason = f"{CORNERS[wrong]} is {words[wrong]!r}, not a number; correct it or remove the line"
        return LabelFault("not-a-number", reason)
    reason = f"only {wrong} numbers before {words[wrong]!r}; a label needs 8, x and y of four corners"
    return LabelFault("short-line", reason)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def report_faults(faults: list[LabelError], on_bad: OnBad) -> None:
    """Raise the first fault of a file, or give all to `on_bad`, in the order of the lines."""
    for fault in sorted(faults, key=lambda fault: fault.line):
        if on_bad is None:
            raise fault
        on_bad(fault)
