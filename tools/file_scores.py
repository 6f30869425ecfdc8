"""Result files against label files -> scores, with a warning of all that makes them low without being wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from datasets.class_lists import DOTA_CLASSES, of_known_classes, slips
from datasets.label_formats.annotations import name_in_list
from datasets.readers import read_objects
from datasets.splits import find_name
from DOTA_devkit.boxes import outer_quads
from DOTA_devkit.evaluation import IOU_THRESHOLDS, Evaluation, evaluate
from DOTA_devkit.labels import (
    EVERY_CLASS,
    IGNORED_CLASS,
    NO_LABELS,
    LabelError,
    Labels,
    OnBad,
    did_you_mean,
    read_labels,
    read_names,
)
from DOTA_devkit.metrics import metrics_dict
from DOTA_devkit.names import spelling_in
from DOTA_devkit.task_files import ImageDetections, Results, read_results, result_files
from DOTA_devkit.truths import ImageTruth
from tools.running.messages import warn
from tools.running.progress import progress_bar

Boxes = TypeVar("Boxes", ImageTruth, ImageDetections)


def score_files(
    results_dirs: Sequence[Path],
    labels_dir: Path,
    class_names: Sequence[str] | None = None,
    *,
    image_set: Path | None = None,
    task: Literal[1, 2] = 1,
    iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
    difficult: Literal["ignore", "count"] = "ignore",
    ignore_overlap: float | None = 0.5,
    missing_labels: Literal["error", "empty"] = "error",
    on_bad: OnBad = None,
    skip_others: bool = False,
) -> list[Evaluation]:
    """Score the `Task1_<class>.txt` (or Task 2) files of each folder against the same labelTxt files.

    The pictures that count are those of the list `image_set`, else those that have a label file. Without
    `class_names` the classes are all that stand in the labels or have a result file in any of the folders. With
    `skip_others` labels and results of classes that `class_names` leaves out are passed over; it warns of the labels,
    and one that is like a class of the list, and none of DOTA's, stays a bad line. Task 2 compares outer horizontal
    boxes. `difficult`, `ignore_overlap` as in `evaluate`; None is the published protocol, which in task 2 counts
    xmax and ymax as pixels inside. Warns of pictures and classes without detections and of detections not scored.

    Raises LabelError for a bad line or an unknown class, with `on_bad` it is given to that and left out, and a
    picture of whose labels none can be used does not count; LabelError for a listed picture without a label file,
    unless `missing_labels` is "empty"; OSError for what cannot be read.
    """
    files = [result_files(folder, class_names, task) for folder in results_dirs]  # raises before the labels are read
    paths = _label_paths(labels_dir, image_set, missing_labels)
    items = progress_bar(paths.items(), desc="labels", unit=" files")
    labels: dict[str, Labels] = {}
    for name, path in items:
        found_in = read_objects(Path(name), path, read_labels, on_bad, missing_is_empty=False) if path else NO_LABELS
        if found_in is not None:
            labels[name] = found_in
    if not labels:
        raise ValueError(f"{labels_dir}: of none of the {len(paths)} label files can a label be used; correct them")
    if class_names is None:
        of_results = {name for of_folder in files for name in of_folder.values()}
        class_names = _classes_found(labels, of_results)
        _warn_of_strange_classes(of_results, labels)
    elif skip_others:
        labels = _without_others(labels, class_names)
    number_of = {name: number for number, name in enumerate(class_names)} | {IGNORED_CLASS: EVERY_CLASS}
    truths = {name: _make_truth(paths[name], item, number_of, on_bad) for name, item in labels.items()}
    if task == 2:
        truths = _outer(truths, ignore_overlap is None)
    found = []
    for folder in results_dirs:
        results = read_results(folder, class_names, task, on_bad, skip_others)
        results = results._replace(images=called_as(results.images, truths, folder))
        detections = results.images if task == 1 else _outer(results.images, ignore_overlap is None)
        found.append(evaluate(detections, truths, class_names, iou_thresholds, difficult, ignore_overlap))
        _warn_of_gaps(folder, found[-1], truths, results)
    return found


def called_as(images: Mapping[str, ImageDetections], names: Container[str], folder: Path) -> dict[str, ImageDetections]:
    """Results whose pictures are called as the labels are, which may have the other form of an umlaut. Raises
    ValueError where both forms stand in the results."""
    called: dict[str, ImageDetections] = {}
    for name, boxes in images.items():
        known = spelling_in(names, name) or name
        if known in called:
            raise ValueError(f"{folder}: two pictures are called '{known}', but for the form of a letter; rename one")
        called[known] = boxes
    return called


def _outer(boxes: Mapping[str, Boxes], is_published: bool) -> dict[str, Boxes]:
    """The outer horizontal boxes, by picture."""
    return {name: item._replace(quads=outer_quads(item.quads, is_published)) for name, item in boxes.items()}


def score_metrics(scored: Evaluation, metric: Literal["area", "07"] = "area") -> dict[str, Any]:
    """The numbers of metrics.json by one metric: with "07" every AP in it is the mean of eleven points."""
    if metric == "07":
        classes = {
            name: item._replace(
                curves=[curve._replace(ap=curve.ap_07) for curve in item.curves],
                by_size=tuple(score._replace(ap=score.ap_07) for score in item.by_size),
            )
            for name, item in scored.classes.items()
        }
        scored = replace(scored, classes=classes)
    return metrics_dict(scored) | {"metric": metric}


def _label_paths(labels_dir: Path, image_set: Path | None, missing_labels: str) -> dict[str, Path | None]:
    """The label file of each picture that counts, by the picture's name; None for one taken as empty."""
    if not labels_dir.is_dir():
        raise FileNotFoundError(f"{labels_dir}: no such folder of label files")
    found = (path for path in sorted(labels_dir.iterdir()) if path.suffix.lower() == ".txt" and path.name[0] != ".")
    there = {path.stem: path for path in found}
    if image_set is None:
        if not there:
            remedy = "name the folder that holds one <picture>.txt a picture"
            raise FileNotFoundError(f"{labels_dir}: holds no label file; {remedy}")
        return dict(there)
    listed: dict[str, Path | None] = {}
    missing: dict[str, int] = {}
    for entry, line in read_names(image_set).items():
        name = find_name(entry, there) or name_in_list(image_set, line, entry)
        listed[name] = there.get(name)
        if listed[name] is None:
            missing[name] = line
    if missing and missing_labels == "error":
        name, line = next(iter(missing.items()))
        others = f" (nor for {len(missing) - 1} more of the list)" if len(missing) > 1 else ""
        remedy = "write it (an empty file means no objects), remove the line, or give --missing_labels empty"
        raise LabelError(image_set, line, f"no label file {labels_dir / name}.txt{others}; {remedy}")
    return listed


def _classes_found(labels: Mapping[str, Labels], of_results: Iterable[str]) -> tuple[str, ...]:
    """All classes that stand in the labels or have a result file: DOTA's in its order, then the others by name."""
    found = {name for item in labels.values() for name in item.names}.union(of_results) - {IGNORED_CLASS}
    order = {name: number for number, name in enumerate(DOTA_CLASSES["2.0"])}
    return tuple(sorted(found, key=lambda name: (order.get(name, len(order)), name)))


def _warn_of_strange_classes(of_results: Iterable[str], labels: Mapping[str, Labels]) -> None:
    """Warn of result files of classes that no label has, DOTA's left out, of which some are often not seen: a copy of a
    file, or a name that is spelt otherwise."""
    known = {name for item in labels.values() for name in item.names} - {IGNORED_CLASS}
    strange = sorted({*of_results} - known - {*DOTA_CLASSES["2.0"]})
    if known and strange:
        meant = did_you_mean(strange[0], known)
        what = " ".join(filter(None, [f"such as '{strange[0]}';", meant, "no object is there to be found"]))
        warn(f"{len(strange)} result files are of classes that no label has, {what}")


def _without_others(labels: Mapping[str, Labels], class_names: Sequence[str]) -> dict[str, Labels]:
    """The labels without those of other classes, but for names that may be meant for one of these."""
    found = {name for item in labels.values() for name in item.names} - {*class_names, IGNORED_CLASS}
    others = found - slips(found, class_names)
    counts: Counter[str] = Counter()
    kept = {}
    for picture, item in labels.items():
        counts.update(name for name in item.names if name in others)
        kept[picture] = item.at(np.array([row for row, name in enumerate(item.names) if name not in others], np.int64))
    if counts:
        listed = ", ".join(f"{name} {count}" for name, count in counts.most_common())
        warn(f"objects of classes that are not listed do not count: {listed}")
    return kept


def _make_truth(path: Path | None, labels: Labels, number_of: Mapping[str, int], on_bad: OnBad) -> ImageTruth:
    """The labels with class numbers; a label of no class of the list is a bad line."""

    def reason(name: str) -> str:
        remedy = "correct the line, or choose other classes with --version or --classes"
        what = " ".join(filter(None, [did_you_mean(name, number_of), remedy]))
        return f"class '{name}' is not among the classes; {what}"

    labels = of_known_classes(labels, number_of, path, reason, on_bad)
    numbers = np.array([number_of[name] for name in labels.names], dtype=np.int64)
    return ImageTruth(labels.quads, numbers, labels.difficult)


def _warn_of_gaps(folder: Path, scored: Evaluation, truths: Mapping[str, ImageTruth], results: Results) -> None:
    """Say what makes a score low without being wrong: parts of the result set that are not there or do not match."""
    if scored.missing:
        missed = sum(int(((truths[name].labels >= 0) & (truths[name].difficult == 0)).sum()) for name in scored.missing)
        warn(
            f"{folder}: {len(scored.missing)} of the {scored.num_images} listed pictures have no detection, such as "
            f"'{scored.missing[0]}'; their {missed} objects count as missed"
        )
    if scored.unlisted:
        doubt = "; compare the names in the results with those of the label files" * (
            len(scored.missing) == scored.num_images
        )
        warn(
            f"{folder}: {scored.num_unlisted} detections of {len(scored.unlisted)} pictures that are not listed, such "
            f"as '{scored.unlisted[0]}', are left out{doubt}"
        )
    absent = [name for name in results.without_file if scored.classes[name].num_truths]
    if absent:
        missed = f"{len(absent)} classes with objects have no result file, such as '{absent[0]}'; they count as missed"
        warn(f"{folder}: {missed}")
    if not any(item.num_truths for item in scored.classes.values()):
        warn("the listed pictures hold no object to be found, so there is nothing to measure")
