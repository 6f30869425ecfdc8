"""A data folder gone through, file by file: what is wrong with it (`data_checks.py`) and what it holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.class_lists import dota_classes, nearest_dota_classes
from datasets.label_formats.xml_labels import Annotation, read_annotation, turned_fault
from datasets.picture_files.image_sizes import read_header
from datasets.picture_files.images import ImageError
from datasets.picture_files.layouts import BY_THE_FILE, Reading
from datasets.picture_files.picture_windows import read_whole
from datasets.readers import Read, read_classes
from DOTA_devkit.labels import IGNORED_CLASS, NO_LABELS, LabelError, Labels, nearest_class
from tools.data_check.data_checks import (
    FEW_OBJECTS,
    HORIZONTAL_SHARE,
    KINDS,
    LISTED,
    MIN_BOXES_FOR_SHARE,
    Finding,
    Flagged,
    Objects,
    check_objects,
    check_pictures,
    escaped,
)
from tools.data_check.data_folder import DataLayout, Pair
from tools.data_check.data_statistics import Statistics, measure_objects
from tools.running.messages import counted, first_of
from tools.running.processes import run_tasks
from tools.running.stop_request import StopRequest

CHUNK = 200  # pictures that a process takes at a time


class SurveySettings(NamedTuple):
    """dataset: a name of the registry. input_hw: the network's input, pixels. num_kept: K, the most detections of a
    picture. pictures: "none" leaves them alone, "headers" reads their sizes, "decode" decodes them whole.
    reading: how they are decoded."""

    dataset: str
    input_hw: tuple[int, int]
    num_kept: int
    pictures: str
    reading: Reading = BY_THE_FILE


class Chunk(NamedTuple):
    """The pairs that a process takes at a time, and what reads their labels."""

    pairs: Sequence[Pair]
    settings: SurveySettings
    read: Read


@dataclass
class Survey:
    """What was found: the worst findings of each kind, how many there are in all, and what the data holds.

    first_places: {class name: (picture, label file, line)} where it first stands; num_lines: {class name: number of
    labels}; roles: (class name, role of a picture with it); classes: those that a training would know, and where they
    are from; num_pixels: of all pictures; unreadable: names of pictures.
    """

    findings: dict[str, list[Finding]] = field(default_factory=dict)
    counts: Counter = field(default_factory=Counter)
    statistics: Statistics = field(default_factory=Statistics)
    first_places: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    num_lines: Counter = field(default_factory=Counter)
    roles: set[tuple[str, str]] = field(default_factory=set)
    classes: tuple[str, ...] = ()
    classes_from: str = ""
    num_pixels: int = 0
    unreadable: set[str] = field(default_factory=set)

    def add(self, findings: Sequence[Finding], hidden: Counter | None = None) -> None:
        """Count findings, and `hidden` more of their kinds that are told nowhere; the worst of a kind are kept."""
        for finding in findings:
            self.findings.setdefault(finding.kind, []).append(finding)
        self.counts.update(finding.kind for finding in findings)
        self.counts.update(hidden or {})
        for kind in {finding.kind for finding in findings}:
            self.findings[kind].sort(key=lambda finding: -finding.badness)  # stable: of equally bad ones the first
            del self.findings[kind][LISTED:]

    def join(self, other: Survey) -> None:
        """Add what was found in other pictures."""
        listed = [finding for findings in other.findings.values() for finding in findings]
        self.add(listed, other.counts - Counter(finding.kind for finding in listed))
        self.statistics.add(other.statistics)
        self.first_places = other.first_places | self.first_places
        self.num_lines += other.num_lines
        self.roles |= other.roles
        self.num_pixels += other.num_pixels
        self.unreadable |= other.unreadable

    def kinds(self) -> list[str]:
        """The kinds that were found, errors first."""
        return [kind for kind in KINDS if self.counts[kind]]

    def num_of(self, severity: str) -> int:
        """How many errors, warnings or notes there are."""
        return sum(count for kind, count in self.counts.items() if KINDS[kind].severity == severity)


def survey_folder(
    data_dir: Path, layout: DataLayout, settings: SurveySettings, num_workers: int, stop: StopRequest
) -> Survey:
    """Go through all pictures and labels by so many processes; the result is the same for any number of them."""
    check_objects(_EXAMPLE, settings.input_hw)  # compiles what is compiled, before there are processes to do it in each
    pairs = layout.pairs
    chunks = [Chunk(pairs[start : start + CHUNK], settings, layout.read) for start in range(0, len(pairs), CHUNK)]
    survey = Survey()
    survey.add(layout.findings)
    for part in run_tasks(survey_chunk, chunks, num_workers, stop, desc="checking", unit="file", unit_scale=CHUNK):
        survey.join(part)
    found = {name for name, role in survey.roles if role == "train"} - {IGNORED_CLASS}
    survey.classes, survey.classes_from = known_classes(settings.dataset, data_dir, found)
    survey.add(list(_class_findings(survey)))
    survey.add(list(_set_findings(survey, layout, escaped(str(data_dir)))))
    return survey


def survey_chunk(chunk: Chunk) -> Survey:
    """Go through some pictures."""
    survey, settings = Survey(), chunk.settings
    of_pictures, sizes = [], []
    for pair in chunk.pairs:
        sizes.append(_read_size(pair, settings, survey))
        of_pictures.append(_read_labels(pair, chunk, sizes[-1], survey))
    objects = join_objects(of_pictures, sizes)
    survey.statistics.add(measure_objects(objects))
    lines = np.concatenate([labels.lines for labels in of_pictures])

    def place(row: int) -> tuple[Pair, int]:
        return chunk.pairs[objects.owner[row]], int(lines[row])

    for flagged in check_objects(objects, settings.input_hw):
        _tell(survey, flagged, [(*place(row), what, badness) for row, what, badness in flagged.worst])
    counts = np.bincount(objects.owner[~objects.ignored], minlength=len(sizes))
    for flagged in check_pictures(objects.sizes, counts, settings.input_hw, settings.num_kept):
        _tell(survey, flagged, [(chunk.pairs[row], 0, what, badness) for row, what, badness in flagged.worst])
    return survey


def join_objects(of_pictures: Sequence[Labels], sizes: Sequence[tuple[float, float]]) -> Objects:
    """The labels of several pictures as one array of objects."""
    names = [name for labels in of_pictures for name in labels.names]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return Objects(
        np.ascontiguousarray(np.concatenate([labels.quads for labels in of_pictures]), dtype=np.float64),
        np.array([numbers[name] for name in names], np.int64),
        np.concatenate([labels.ignored for labels in of_pictures]),
        np.concatenate([labels.difficult for labels in of_pictures]),
        np.repeat(np.arange(len(of_pictures)), [len(labels.names) for labels in of_pictures]),
        np.array(sizes, np.float64).reshape(-1, 2),
    )


def known_classes(dataset: str, data_dir: Path, found: set[str]) -> tuple[tuple[str, ...], str]:
    """The classes that a training would know, as `datasets.readers.read_classes` tells them, from the names found in
    the pictures that it learns from; and where they are from: "classes.txt", the "format", or a "guess", where no
    version of DOTA has the names found."""
    if (data_dir / "classes.txt").is_file():
        return read_classes(dataset, data_dir, []), "classes.txt"
    if dataset in ("dota", "demo"):
        names = dota_classes(found)
        return (names, "format") if names else (nearest_dota_classes(found), "guess")
    try:
        return read_classes(dataset, data_dir, []), "format"
    except ValueError:  # this format's classes are those that are found
        return tuple(sorted(found)), "format"


def _read_size(pair: Pair, settings: SurveySettings, survey: Survey) -> tuple[float, float]:
    """Height and width of a picture, NaN where it cannot be told."""
    unknown = (np.nan, np.nan)
    survey.statistics.num_pictures += 1
    if settings.pictures == "none":
        return unknown
    try:
        header = read_header(pair.image_path)
        is_decoded = settings.pictures == "decode"
        size = read_whole(pair.image_path, reading=settings.reading).shape[:2] if is_decoded else header[:2]
    except ImageError as error:
        what = escaped(str(error).removeprefix(f"{pair.image_path}: "))
        survey.add([Finding("unreadable-picture", pair.name, escaped(str(pair.image_path)), 0, what)])
        survey.unreadable.add(pair.name)
        return unknown
    if header.orientation > 1:
        what = f"is turned by EXIF (orientation {header.orientation}); it is read as stored, {size[1]} x {size[0]}"
        survey.add([Finding("turned-picture", pair.name, escaped(str(pair.image_path)), 0, what)])
    survey.statistics.image_sizes[size[1], size[0]] += 1
    survey.num_pixels += size[0] * size[1]
    return size


def _read_labels(pair: Pair, chunk: Chunk, size: tuple[float, float], survey: Survey) -> Labels:
    """The labels of a picture that can be read; what is wrong with others is told."""
    if pair.label_path is None:
        return NO_LABELS
    statistics, path = survey.statistics, escaped(str(pair.label_path))
    problems: list[LabelError] = []
    try:
        if chunk.settings.dataset == "rolabelimg":
            annotation = read_annotation(pair.label_path, problems.append)
            labels = annotation.labels
            survey.add(_annotation_findings(annotation, pair, path, size))
            turned = turned_fault(annotation, pair.image_path) if pair.image_path and not np.isnan(size[0]) else None
            if turned:  # training refuses the file
                raise LabelError(pair.label_path, 1, turned)
        else:
            labels = chunk.read(pair.label_path, problems.append)
    except LabelError as error:  # the whole file
        problems, labels = [error], NO_LABELS
    except OSError as error:
        problems, labels = [LabelError(pair.label_path, 0, error.strerror or str(error))], NO_LABELS
    survey.add([_bad_line(pair, path, problem) for problem in problems])
    statistics.num_label_files += 1
    statistics.num_empty += not labels.names and not problems
    survey.num_lines.update(labels.names)
    survey.roles.update((name, pair.role) for name in labels.names)
    statistics.pictures.update(set(labels.names))
    counted = zip(labels.names, labels.ignored.tolist(), strict=True)
    statistics.objects.update((name, pair.part) for name, is_ignored in counted if not is_ignored)
    for name, line in zip(labels.names, labels.lines.tolist(), strict=True):
        if name not in survey.first_places:
            survey.first_places[name] = (pair.name, path, line)
    return labels


def _annotation_findings(annotation: Annotation, pair: Pair, path: str, size: tuple[float, float]) -> list[Finding]:
    """What a roLabelImg file tells beyond its objects."""
    found = [
        Finding(
            "degrees", pair.name, path, int(annotation.labels.lines[row]), "the angle is beyond a full turn of 2 pi"
        )
        for row in annotation.wide_angles
    ]
    if annotation.hw is not None and annotation.hw != size and not np.isnan(size[0]):
        height, width = annotation.hw
        what = f"<size> tells {width} x {height}, the picture is {size[1]} x {size[0]} pixels"
        found.append(Finding("other-size", pair.name, path, 0, what))
    return found


def _bad_line(pair: Pair, path: str, problem: LabelError) -> Finding:
    what = problem.reason.partition("; ")[0]
    return Finding(problem.kind, pair.name, path, int(problem.line), escaped(what))


def _tell(survey: Survey, flagged: Flagged, worst: Sequence[tuple[Pair, int, str, float]]) -> None:
    """Add the findings of one check; the rest of them are counted."""
    findings = []
    for pair, line, what, badness in worst:
        path = (line and pair.label_path) or pair.image_path
        findings.append(Finding(flagged.kind, pair.name, escaped(str(path)), line, what, badness))
    survey.add(findings, Counter({flagged.kind: flagged.count - len(findings)}))


def _class_findings(survey: Survey) -> Iterator[Finding]:
    is_listed = survey.classes_from == "classes.txt"
    for name, (picture, path, line) in survey.first_places.items():
        is_read = is_listed or not survey.roles.isdisjoint({(name, "train"), (name, "val")})
        if name in survey.classes or name == IGNORED_CLASS or not is_read:
            continue
        nearest = nearest_class(name, survey.classes)
        why = f"; did you mean '{escaped(nearest)}'?" if nearest else ""
        if not is_listed and (name, "train") not in survey.roles:
            why += "; no picture that is trained on has it"
        elif survey.classes_from == "guess" and not nearest:
            why += "; there is no classes.txt, so that the classes of DOTA are taken"
        count, files = survey.num_lines[name], survey.statistics.pictures[name]
        times = f"{counted(count, 'time')} in {counted(files, 'file')}"
        yield Finding("unknown-class", picture, path, line, f"'{escaped(name)}' {times}{why}", count)


def _set_findings(survey: Survey, layout: DataLayout, path: str) -> Iterator[Finding]:
    """What is wrong with the set as a whole."""
    statistics = survey.statistics
    share = statistics.horizontal_share
    if statistics.num_objects >= MIN_BOXES_FOR_SHARE and share > HORIZONTAL_SHARE:
        yield Finding("horizontal", "", path, 0, f"{share:.1%} of the {statistics.num_objects} boxes are horizontal")
    yield from _alike_classes(survey, path)
    for name in survey.classes:
        counts = statistics.of_class(name)
        count = counts["train"] if "train" in layout.parts else sum(counts.values())
        if 0 < count < FEW_OBJECTS <= statistics.num_objects / 10:
            yield Finding("few-objects", "", path, 0, f"{count} of '{escaped(name)}' to train on", -count)
    unused = [escaped(name) for name in survey.classes if not survey.num_lines[name]]
    if unused and survey.classes_from == "classes.txt":
        yield Finding("unused-class", "", path, 0, f"no object of {first_of(unused, 20)}")
    if len(layout.parts) == 2 and not survey.counts["both-lists"]:  # of such pictures the first list alone is counted
        for name in survey.classes:
            parts = [part for part in ("train", "val") if statistics.objects[name, part]]
            if len(parts) == 1:
                count, there = statistics.objects[name, parts[0]], layout.parts[parts[0]].path.name
                what = f"all {count} of '{escaped(name)}' in lists are in {there}"
                yield Finding("class-in-one-list", "", path, 0, what, count)


def _alike_classes(survey: Survey, path: str) -> Iterator[Finding]:
    """Names that differ in capitals and in what stands between words alone: each is trained as a class of its own."""
    alike: dict[str, list[str]] = {}
    for name in survey.num_lines:
        # Blanks, _ and - between letters alone: A+ is not A-, and M1.5 not M15.
        alike.setdefault(re.sub(r"(?<=\w)[\s_-]+(?=\w)", "", name.casefold()), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            counts = ", ".join(f"'{escaped(name)}' {survey.num_lines[name]} times" for name in sorted(names))
            yield Finding("alike-classes", "", path, 0, counts, sum(survey.num_lines[name] for name in names))


_EXAMPLE = Objects(
    np.array([[[0.0, 0.0], [9.0, 0.0], [9.0, 9.0], [0.0, 9.0]]] * 2),
    np.zeros(2, np.int64),
    np.zeros(2, bool),
    np.zeros(2, np.int64),
    np.zeros(2, np.int64),
    np.array([[9.0, 9.0]]),
)
