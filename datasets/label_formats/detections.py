"""Results of a detector as labels: `Task1_<class>.txt` files, and our own `detections.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datasets.label_formats.annotations import (
    AnnotatedSet,
    Ledger,
    Picture,
    Row,
    as_labels,
    clean_name,
    name_in_list,
    picture_name,
    refuse_same_names,
    sound_rows,
    take_objects,
)
from datasets.label_formats.json_documents import entries_by_line, fields_of, number, numbers, picture_hw, read_document
from DOTA_devkit.labels import LabelError, OnBad, report_faults
from DOTA_devkit.task_files import DETECTIONS, ORIGIN, ImageDetections, ResultWriter, read_results

SCORES = "scores of boxes, which the format does not hold, were left out"
IGNORED = "boxes of ignore regions, which results do not hold, were left out"
BELOW = "boxes with a score below {} were left out (--min_score)"


def read_task1(
    src: Path,
    on_bad: OnBad = None,
    changed: Counter[str] | None = None,
    least: Callable[[str], float] = lambda class_name: 0.0,
) -> AnnotatedSet:
    """A folder of Task1 files, or one of them: the pictures with a box, and those that origin.json names besides. Boxes
    below the `least` score of their class are left out."""
    results = read_results(src, on_bad=on_bad)
    looked_at, class_names = _told(src)
    own_names = {*looked_at}
    faults: list[LabelError] = []
    pictures: list[Picture] = []
    for image, boxes in results.images.items():
        places = results.places[image].tolist()
        try:
            name = picture_name(image, has_suffix=image not in own_names)
        except ValueError as error:
            faults.append(LabelError(results.files[places[0][0]], places[0][1], str(error)))
            continue
        of_file: dict[int, list[Row]] = {}
        columns = (boxes.quads, boxes.labels.tolist(), boxes.scores.tolist(), places)
        for quad, label, score, (file, line) in zip(*columns, strict=True):
            if _is_wanted(score, least(results.class_names[label]), changed):
                of_file.setdefault(file, []).append(Row(quad, results.class_names[label], 0, line, score))
        rows = [row for file, its in of_file.items() for row in sound_rows(results.files[file], its, faults)]
        pictures.append(_with_scores(Picture(name, file_name=image), rows))
    refuse_same_names((picture.name, f"{src}: {picture.file_name}") for picture in pictures)
    found = {picture.name for picture in pictures}
    pictures += [Picture(name) for name in looked_at if name not in found]
    report_faults(faults, on_bad)
    ordered = sorted(pictures, key=lambda picture: picture.name)
    return AnnotatedSet(ordered, _in_order(class_names, results.class_names))


def read_detections(
    src: Path,
    on_bad: OnBad = None,
    changed: Counter[str] | None = None,
    least: Callable[[str], float] = lambda class_name: 0.0,
) -> AnnotatedSet:
    """detections.json, or the folder that it is in: every picture that was looked at, with its size; boxes as
    `read_task1` has them."""
    path = src / DETECTIONS if src.is_dir() else src
    faults: list[LabelError] = []
    pictures: list[Picture] = []
    for line, record in entries_by_line(path):
        try:
            pictures.append(_picture(path, record, line, faults, changed, least))
        except ValueError as error:
            faults.append(LabelError(path, line, str(error)))
    refuse_same_names((picture.name, f"{path}: {picture.file_name}") for picture in pictures)
    report_faults(faults, on_bad)
    names = {name for picture in pictures for name in picture.labels.names}
    return AnnotatedSet(pictures, _in_order(_told(path)[1], sorted(names)))


def write_task(dst: Path, annotated: AnnotatedSet, ledger: Ledger, task: Literal[1, 2]) -> None:
    """Write predictions as DOTA's server takes them: Task1_<class>.txt with the corners, Task2_<class>.txt with the
    outer horizontal boxes, one for each class, also without a box."""
    numbers = {name: number for number, name in enumerate(annotated.class_names)}
    with ResultWriter(dst, annotated.class_names, task) as writer:
        for picture in annotated.pictures:
            found = take_objects(picture, np.flatnonzero(~picture.labels.ignored))  # --rename may make such
            ledger.changed[IGNORED] += len(picture.labels.names) - len(found.labels.names)
            if found.labels.names:
                labels = np.array([numbers[name] for name in found.labels.names], np.int64)
                scores = found.scores.astype(np.float32)  # what they were, in as many digits
                writer.write(picture.name, ImageDetections(found.labels.quads, scores, labels))


def without_scores(annotated: AnnotatedSet, ledger: Ledger) -> AnnotatedSet:
    """The set for a format that holds no scores."""
    scored = [picture for picture in annotated.pictures if picture.scores is not None]
    ledger.changed[SCORES] += sum(len(picture.scores) for picture in scored)
    return annotated._replace(pictures=[picture._replace(scores=None) for picture in annotated.pictures])


def _told(src: Path) -> tuple[list[str], list[str]]:
    """What our own results say of themselves, beside their file or in their folder: the pictures that they are of, with
    or without a box, and the classes of the network in its order; none where nothing does."""
    path = src / ORIGIN if src.is_dir() else src.with_name(ORIGIN)
    if not path.is_file():
        return [], []
    document = read_document(path)
    images, classes = (document.entries(key) if key in document.fields else () for key in ("images", "classes"))
    names = [name_in_list(path, line, name, has_suffix=False) for line, name in images]
    return names, [clean_name(name) for _, name in classes]


def _in_order(known: Sequence[str], found: Sequence[str]) -> tuple[str, ...]:
    """The known classes, and the others that were found behind them."""
    return tuple(dict.fromkeys((*known, *found)))


def _picture(
    path: Path,
    record: Any,
    line: int,
    faults: list[LabelError],
    changed: Counter[str] | None,
    least: Callable[[str], float],
) -> Picture:
    fields = fields_of(record, "the record of a picture")
    name = picture_name(fields.get("image"))
    boxes = fields.get("boxes")
    if not isinstance(boxes, list):
        raise ValueError(f'the record of {name} has no list "boxes"; is it a detections.json?')
    rows = []
    for box in boxes:
        try:
            row = _box(fields_of(box, "a box"), line)
        except ValueError as error:
            faults.append(LabelError(path, line, str(error)))
            continue
        if _is_wanted(row.score, least(row.name), changed):
            rows.append(row)
    picture = Picture(name, file_name=fields["image"], hw=picture_hw(fields, "height", "width"))
    return _with_scores(picture, sound_rows(path, rows, faults))


def _with_scores(picture: Picture, rows: Sequence[Row]) -> Picture:
    return picture._replace(labels=as_labels(rows), scores=np.array([row.score for row in rows], np.float64))


def _box(fields: Mapping[str, Any], line: int) -> Row:
    corners = numbers(fields.get("quad"), '"quad"')
    if len(corners) != 8:
        raise ValueError(f'a "quad" of {len(corners)} numbers; it needs 8, x and y of four corners')
    quad, name = np.array(corners).reshape(4, 2), clean_name(fields.get("class"))
    return Row(quad, name, 0, line, number(fields.get("score"), '"score"'))


def _is_wanted(score: float, min_score: float, changed: Counter[str] | None) -> bool:
    is_wanted = np.float32(score) >= np.float32(min_score)  # as `ImageDetections.reach` has it
    if changed is not None and not is_wanted:
        changed[BELOW.format(f"{min_score:g}")] += 1
    return bool(is_wanted)
