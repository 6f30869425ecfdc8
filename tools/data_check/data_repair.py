"""A repaired copy of a data folder, in DOTA's form, with a list of every change; the folder itself is not touched."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.picture_files.image_sizes import picture_size
from datasets.picture_files.images import ImageError
from datasets.readers import Read
from DOTA_devkit.atomic import write_csv, write_lines
from DOTA_devkit.boxes import order_clockwise, signed_area
from DOTA_devkit.labels import HEADERS, IGNORED_CLASS, NO_LABELS, LabelError, Labels, parse_label, write_labels
from DOTA_devkit.tile_index import INDEX_NAME, read_index, write_index
from tools.data_check.data_checks import LABELTXT, escaped, overhang, raw_corners, repeated_rows
from tools.data_check.data_folder import DataLayout, Pair, picture_name_fault
from tools.data_check.data_survey import known_classes
from tools.picture_links import link_or_copy
from tools.running.processes import run_tasks
from tools.running.stop_request import StopRequest

CHANGES = "changes.csv"
COLUMNS = ("file", "line", "change", "before", "after")
BY_HAND = frozenset({"unknown-class", "normalised", "degrees", "both-lists", "far-outside"})  # stay in the copy
LEFT_OUT = frozenset({"same-name", "bad-list", "no-picture", "dead-link", "unlisted-picture", "other-text"})
CHUNK = 200  # pictures that a process takes at a time


class Change(NamedTuple):
    """One change. line: from 1, 0 for a whole file; before and after: the label, "" for none."""

    file: str
    line: int
    change: str
    before: str
    after: str = ""


class RepairTask(NamedTuple):
    """Pictures that a process takes at a time, and what reads their labels."""

    pairs: Sequence[Pair]
    dataset: str
    out_dir: Path
    read: Read


class Repaired(NamedTuple):
    """The pictures that are in the copy, what was changed, and the classes that stand in labels from which a training
    learns."""

    names: set[str]
    changes: list[Change]
    num_copied: int
    trained_classes: set[str]


def repair_folder(
    layout: DataLayout,
    dataset: str,
    out_dir: Path,
    unreadable: set[str],
    num_workers: int,
    stop: StopRequest,
) -> Repaired:
    """Write the copy: images/ (links; copies where the system allows none), labelTxt/, classes.txt, the lists, the
    index of tiles and changes.csv. What is changed and what is left out: see `repair_labels`; besides pictures that
    cannot be read or listed, have no label file or only labels that cannot be used, label files without a picture, and
    lines of lists that name no picture of the copy."""
    _repeated(np.zeros((1, 4, 2)), [""], np.zeros(1, np.int64))  # compiles, before there are processes to do it in each
    reasons = [_left_out(pair, unreadable, layout.missing_is_empty) for pair in layout.pairs]
    usable = [pair for pair, reason in zip(layout.pairs, reasons, strict=True) if reason is None]
    changes = [reason for reason in reasons if reason]
    changes += [
        Change(finding.path, finding.line, f"left out, {finding.what}", "")
        for finding in layout.findings
        if finding.kind in LEFT_OUT
    ]
    with _folder_for(out_dir) as folder:
        for name in ("images", "labelTxt"):
            (folder / name).mkdir()
        starts = range(0, len(usable), CHUNK)
        tasks = [RepairTask(usable[start : start + CHUNK], dataset, folder, layout.read) for start in starts]
        parts = run_tasks(repair_pairs, tasks, num_workers, stop, desc="repairing", unit="file", unit_scale=CHUNK)
        names = {name for part in parts for name in part.names}
        changes += [change for part in parts for change in part.changes]
        if not names:
            why = f", of {changes[0].file}: {changes[0].change}" if changes else ""
            raise ValueError(f"{layout.data_dir}: no picture would be in the copy, so none was written{why}")
        trained_classes = set().union(*(part.trained_classes for part in parts))
        if class_names := known_classes(dataset, layout.data_dir, trained_classes - {IGNORED_CLASS})[0]:
            write_lines(folder / "classes.txt", class_names)
        changes += _copy_lists(layout, folder, names)
        changes += _copy_index(layout.data_dir, folder)
        _write_changes(folder / CHANGES, changes)
    return Repaired(names, changes, sum(part.num_copied for part in parts), trained_classes)


@contextmanager
def _folder_for(out_dir: Path) -> Iterator[Path]:
    """A new folder whose content is in `out_dir` when the block ends well, and which is removed otherwise: a part of
    the data would train as if it were all."""
    # An empty folder stays: it may be a mount, or where the user stands.
    is_there = out_dir.is_dir()
    folder = (out_dir if is_there else out_dir.parent) / f".{secrets.token_hex(6)}.partial"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(out_dir)) from error
    try:
        yield folder
        if is_there:
            for path in sorted(folder.iterdir()):
                path.rename(out_dir / path.name)
        else:
            folder.rename(out_dir)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def repair_pairs(task: RepairTask) -> Repaired:
    """Write the repaired copy of some pictures."""
    names, changes, num_copied, trained_classes = set(), [], 0, set()
    for pair in task.pairs:
        path = escaped(str(pair.label_path))
        try:
            hw = picture_size(pair.image_path)
        except ImageError as error:
            changes.append(Change(escaped(str(pair.image_path)), 0, f"picture left out, {escaped(str(error))}", ""))
            continue
        labels, header, found = _read_mended(pair, task)
        had_labels = bool(found or labels.names)
        labels, more = repair_labels(labels, hw, path)
        header, lost = _sound_header(header, path)
        found = sorted([*lost, *found, *more], key=lambda change: change.line)
        why = "none of its labels can be used" if had_labels and not labels.names else ""  # no negative picture
        target = task.out_dir / "labelTxt" / f"{pair.name}.txt"
        try:
            if not why:
                write_labels(target, labels.quads, labels.names, labels.difficult, header, sync=False)
        except ValueError as error:
            why = escaped(str(error).removeprefix(f"{target}: "))
        changes += found
        if why:
            changes.append(Change(escaped(str(pair.image_path)), 0, f"picture left out, {why}", ""))
            continue
        num_copied += not link_or_copy(pair.image_path, task.out_dir / "images" / pair.image_path.name)
        names.add(pair.name)
        trained_classes.update(labels.names if pair.role == "train" else ())
    return Repaired(names, changes, num_copied, trained_classes)


def repair_labels(labels: Labels, hw: tuple[int, int], path: str) -> tuple[Labels, list[Change]]:
    """The labels of a picture of height and width `hw` without those that lie outside of it whole and those that
    repeat another one of their class (IoU above 0.95; that with the lowest flag stays, of equal ones the first), the
    others clockwise; and the changes. Coordinates are kept to the last bit, boxes that reach beyond the border stay as
    they are."""
    if not labels.names:
        return labels, []
    changes = []
    quads = np.ascontiguousarray(labels.quads, dtype=np.float64)
    is_outside = overhang(quads, np.broadcast_to(np.array(hw, np.float64), (len(quads), 2)))[1]
    inside = np.flatnonzero(~is_outside)
    twin = np.full(len(quads), -1)
    found = _repeated(quads[inside], [labels.names[row] for row in inside], labels.difficult[inside])
    twin[inside] = np.where(found >= 0, inside[found], -1) if len(inside) else -1
    turned = order_clockwise(quads)
    is_turned = signed_area(quads) < 0
    for row, line in enumerate(labels.lines.tolist()):
        before = label_text(labels, quads, row)
        if is_outside[row]:
            changes.append(Change(path, line, "left out, outside the picture", before))
        elif twin[row] >= 0:
            lower = ", whose flag is lower" if labels.difficult[twin[row]] < labels.difficult[row] else ""
            changes.append(Change(path, line, f"left out, repeats line {labels.lines[twin[row]]}{lower}", before))
        elif is_turned[row]:
            changes.append(Change(path, line, "turned clockwise", before, label_text(labels, turned, row)))
    return labels._replace(quads=turned).at(np.flatnonzero(~is_outside & (twin < 0))), changes


def untangled(quad: np.ndarray) -> np.ndarray:
    """The corners (4, 2) of a self-crossing quad in order, clockwise on the screen; the first stays the first.

    Its two crossing sides are the diagonals of the hull, so that all four corners lie on that.
    """
    spokes = quad - quad.mean(axis=0)
    order = np.argsort(np.arctan2(spokes[:, 1], spokes[:, 0]), kind="stable")
    return quad[np.roll(order, -int(np.flatnonzero(order == 0)[0]))]


def label_text(labels: Labels, quads: np.ndarray, row: int) -> str:
    """An object as a label line with coordinates as short as they can be."""
    numbers = " ".join(f"{value:.10g}" for value in quads[row].ravel())
    return f"{numbers} {labels.names[row]} {labels.difficult[row]}"


def _read_mended(pair: Pair, task: RepairTask) -> tuple[Labels, list[str], list[Change]]:
    """The labels of a picture, those that cross themselves with their corners in order; the first lines of the file,
    where headers stand; and what was changed or left out for it."""
    if pair.label_path is None:
        return NO_LABELS, [], []
    path, is_labeltxt = escaped(str(pair.label_path)), task.dataset in LABELTXT
    problems: list[LabelError] = []
    try:
        labels = task.read(pair.label_path, problems.append)
        data = pair.label_path.read_bytes()
    except LabelError as error:  # the whole file
        return NO_LABELS, [], [Change(path, error.line, f"nothing could be read: {error.reason}", "")]
    except OSError as error:
        return NO_LABELS, [], [Change(path, 0, f"nothing could be read: {error.strerror or error}", "")]
    is_text = pair.label_path.suffix.lower() == ".txt"
    text = data.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    header = text[: len(HEADERS)] if is_labeltxt else []
    changes, mended = [], []
    for problem in problems:
        line = text[problem.line - 1].strip() if 0 < problem.line <= len(text) else ""
        corners = raw_corners(line) if is_labeltxt else None
        if corners is None or problem.kind != "self-crossing":
            why = problem.reason.partition("; ")[0]
            changes.append(Change(path, int(problem.line), f"left out, {why}", line if is_text else ""))
            continue
        label = _one_label(untangled(corners), line, int(problem.line))
        mended.append(label)
        changes.append(Change(path, int(problem.line), "corners put in order", line, label_text(label, label.quads, 0)))
    if mended:
        parts = [labels, *mended]
        labels = Labels(
            np.concatenate([part.quads for part in parts]),
            [name for part in parts for name in part.names],
            np.concatenate([part.difficult for part in parts]),
            np.concatenate([part.lines for part in parts]),
        )
        labels = labels.at(np.argsort(labels.lines, kind="stable"))
    return labels, header, changes


def _sound_header(lines: Sequence[str], path: str) -> tuple[list[str], list[Change]]:
    """The header among the first lines of a file, without lines that other programs take for several."""
    header, lost = [], []
    for number, line in enumerate(lines, start=1):
        if line.lower().startswith(HEADERS):
            if len(line.splitlines()) == 1:
                header.append(line)
            else:  # by a form feed, for instance
                lost.append(Change(path, number, "left out, a header of more than one line", line))
    return header, lost


def _one_label(quad: np.ndarray, line: str, number: int) -> Labels:
    """The object of a line of which all but the order of the corners is good."""
    _, name, flag = parse_label(line.split())
    return Labels(quad[None], [name], np.array([flag]), np.array([number]))


def _repeated(quads: np.ndarray, names: Sequence[str], difficult: np.ndarray) -> np.ndarray:
    """`repeated_rows` of the objects of one picture."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    of_name = np.array([numbers[name] for name in names], np.int64)
    return repeated_rows(quads, of_name, difficult, np.zeros(len(quads), np.int64))


def _copy_lists(layout: DataLayout, out_dir: Path, names: set[str]) -> list[Change]:
    """Write every list, of the pictures that are in the copy alone; returns the lines left out."""
    changes = []
    for path, members in (*layout.parts.values(), *layout.others):
        write_lines(out_dir / f"{path.stem}.txt", [name for name in members if name in names])
        changes += [
            Change(escaped(str(path)), line, f"line left out, '{escaped(name)}' is not in the copy", "")
            for name, line in members.items()
            if name not in names
        ]
    return changes


def _write_changes(path: Path, changes: Sequence[Change]) -> None:
    write_csv(path, [COLUMNS, *(tuple(_harmless(value) for value in change) for change in changes)])


def _copy_index(data_dir: Path, out_dir: Path) -> list[Change]:
    """Copy the index of a folder of tiles, whole: by the tiles that are left out of the copy evaluation knows which
    pictures it must not score (`tools/detection/whole_pictures.py`). Returns what could not be copied."""
    path = data_dir / INDEX_NAME
    if not path.is_file():
        return []
    try:
        write_index(out_dir / INDEX_NAME, read_index(path))
    except ValueError as error:
        what = str(error).removeprefix(f"{path}: ")
        return [Change(escaped(str(path)), 0, f"left out, {escaped(what)}", "")]
    return []


def _left_out(pair: Pair, unreadable: set[str], missing_is_empty: bool) -> Change | None:
    """Why a picture is not in the copy; None for one that is."""
    if pair.name in unreadable:
        return Change(escaped(str(pair.image_path)), 0, "picture left out, it cannot be read", "")
    if fault := picture_name_fault(pair.name):
        return Change(escaped(str(pair.image_path)), 0, f"picture left out, {fault}", "")
    if pair.label_path is None and not missing_is_empty:
        return Change(escaped(str(pair.image_path)), 0, "picture left out, it has no label file", "")
    return None


def _harmless(value: str | int) -> str | int:
    """Text as a table program shows it: one that begins like a formula would be worked out."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "@")) else value
