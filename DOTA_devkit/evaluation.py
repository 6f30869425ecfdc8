"""Average precision of oriented boxes by the published DOTA protocol, with exact polygon overlap.

The protocol (PASCAL VOC devkit, Everingham et al., IJCV 2010, section 4.2, as DOTA applies it): the detections of a
class, over all images, go by descending score. Each belongs to the truth of its class and image that it overlaps
most, difficult ones included. Overlap above the threshold: a hit the first time, a false alarm when the truth is
already taken, neither when the truth is difficult. Overlap not above it: a false alarm.

One addition, which `ignore_overlap=None` switches off: a false alarm of the last kind that lies mostly in an ignore
region is neither hit nor false alarm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from DOTA_devkit.average_precision import Curve, curve_of
from DOTA_devkit.iou import Shapes, prepare
from DOTA_devkit.labels import EVERY_CLASS, IGNORE_FLAG
from DOTA_devkit.matching import largest_overlap
from DOTA_devkit.task_files import ImageDetections, check_detections

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
HIT_IOU = 0.5  # beyond it a box is of an object


class ImageTruth(NamedTuple):
    """What is in one picture.

    quads: (n, 4, 2) pixels.  labels: (n,) class numbers, or -1: an ignore region of every class ("DontCare").
    difficult: (n,) 0 normal, 1 difficult, 2 ignore region of its own class.
    """

    quads: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray

    @property
    def ignored(self) -> np.ndarray:
        """(n,) bool: ignore regions, of every class or of their own."""
        return (self.labels == EVERY_CLASS) | (self.difficult == IGNORE_FLAG)


class Hits(NamedTuple):
    """Objects that were found, and the detections that found them: scores (h,), best first, iou (h,), and the quads
    (h, 4, 2) of both."""

    scores: np.ndarray
    iou: np.ndarray
    found: np.ndarray
    truth: np.ndarray


class ClassEvaluation(NamedTuple):
    """A class: its curves in the order of the thresholds, and what was counted in the listed images.

    num_truths: objects that have to be found; num_difficult: objects flagged 1 or 2; num_detections: all of them.
    image_truths (num_images,): the objects that have to be found in each picture, by sorted name.
    hits: at overlap 0.5; None where that was not measured.
    """

    curves: list[Curve]
    num_truths: int
    num_difficult: int
    num_detections: int
    image_truths: np.ndarray
    hits: Hits | None = None


@dataclass(frozen=True)
class Evaluation:
    """The outcome of `evaluate`.

    missing: listed images for which `detections` has no entry; unlisted: images with an entry that are not listed,
    whose num_unlisted detections were not scored. Both sorted.
    """

    iou_thresholds: tuple[float, ...]
    classes: dict[str, ClassEvaluation]
    num_images: int
    num_unlisted: int
    missing: tuple[str, ...]
    unlisted: tuple[str, ...]


def evaluate(
    detections: Mapping[str, ImageDetections],
    truths: Mapping[str, ImageTruth],
    class_names: Sequence[str],
    iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
    difficult: Literal["ignore", "count"] = "ignore",
    ignore_overlap: float | None = 0.5,
) -> Evaluation:
    """Score `detections` against `truths`, both by image name; the images of `truths` are the ones that count.

    difficult: "ignore" leaves objects flagged 1 out, "count" treats them like any other.
    ignore_overlap: a would-be false alarm that overlaps no truth of its class above the threshold is left out when
    more than this part of its own area lies in one ignore region (label -1, or flag 2 and its class). None is the
    published protocol: flag 2 means what flag 1 means, label -1 is dropped.

    The result does not depend on the order of the mappings: equal scores go by image name, then by index.
    Raises ValueError, naming the image, for a detection whose score or corner is not finite, a label that is no
    class, or arrays of different lengths.
    """
    images, num_classes = sorted(truths), len(class_names)
    if len(set(class_names)) < num_classes:
        raise ValueError(f"class names must differ from one another, got {list(class_names)}")
    if difficult not in ("ignore", "count"):
        raise ValueError(f"difficult must be 'ignore' or 'count', got {difficult!r}")
    truth, truth_image = _flat_truth(truths, images, num_classes)
    found, found_image = _flat_detections(detections, images, num_classes)

    # Detections class by class, best first. A group is a class within an image. All sorts here are stable.
    order = np.lexsort((-found.scores, found.labels))
    found, found_image = found.at(order), found_image[order]
    group, truth_group = found_image * num_classes + found.labels, truth_image * num_classes + truth.labels
    shapes = prepare(found.quads)

    own = truth.labels != EVERY_CLASS
    counted = own & (truth.difficult == 0)
    if difficult == "count":
        counted |= own & ((truth.difficult == 1) | ((truth.difficult == IGNORE_FLAG) & (ignore_overlap is None)))
    rivals, starts = _grouped(truth_group, own, len(images) * num_classes)
    best, overlap = largest_overlap(shapes, group, prepare(truth.quads[rivals]), starts, True)
    in_region = np.zeros(len(order), dtype=bool)
    if ignore_overlap is not None:
        in_region |= _cover(shapes, found_image, truth.quads, truth_image, ~own) > ignore_overlap
        regions = own & (truth.difficult == IGNORE_FLAG)
        in_region |= _cover(shapes, group, truth.quads, truth_group, regions) > ignore_overlap

    edges = np.searchsorted(found.labels, np.arange(num_classes + 1))
    image_truths = np.bincount(truth_group[counted], minlength=len(images) * num_classes)
    image_truths = image_truths.reshape(len(images), num_classes).T
    num_truths = image_truths.sum(axis=1)
    num_difficult = np.bincount(truth.labels[own & (truth.difficult > 0)], minlength=num_classes)
    curves: list[list[Curve]] = [[] for _ in class_names]
    hits: list[Hits | None] = [None] * num_classes
    for threshold in iou_thresholds:
        outcome = _match(best, overlap, in_region, counted[rivals], threshold)
        for label in range(num_classes):
            part = slice(edges[label], edges[label + 1])
            if threshold == HIT_IOU:
                rows = edges[label] + np.flatnonzero(outcome[part] == 1)
                hits[label] = Hits(
                    found.scores[rows], overlap[rows], found.quads[rows], truth.quads[rivals[best[rows]]]
                )
            curves[label].append(curve_of(found.scores[part], outcome[part], found_image[part], num_truths[label]))
    unlisted = tuple(sorted(set(detections) - set(truths)))
    counts = (num_truths.tolist(), num_difficult.tolist(), np.diff(edges).tolist(), image_truths, hits)
    return Evaluation(
        iou_thresholds=tuple(iou_thresholds),
        classes={name: ClassEvaluation(*row) for name, *row in zip(class_names, curves, *counts, strict=True)},
        num_images=len(images),
        num_unlisted=sum(len(detections[name].scores) for name in unlisted),
        missing=tuple(name for name in images if name not in detections),
        unlisted=unlisted,
    )


def _flat_truth(truths: Mapping[str, ImageTruth], images: list[str], num_classes: int) -> tuple[ImageTruth, np.ndarray]:
    """All truths one after the other, and the number (n,) of the image that each is in."""
    for image in images:
        quads, labels, flags = (np.asarray(item) for item in truths[image])
        if not len(quads) == len(labels) == len(flags):
            raise ValueError(f"image {image!r}: {len(quads)} quads, {len(labels)} labels and {len(flags)} flags")
        if len(labels) and (labels.min() < EVERY_CLASS or labels.max() >= num_classes):
            raise ValueError(f"image {image!r}: labels {labels.min()} to {labels.max()}, but {num_classes} classes")
    items = [truths[image] for image in images]
    quads = _joined([item.quads for item in items], np.float64).reshape(-1, 4, 2)
    flat = ImageTruth(quads, *(_joined([item[k] for item in items], np.int64) for k in (1, 2)))
    return flat, np.repeat(np.arange(len(images)), [len(item.labels) for item in items])


def _flat_detections(
    detections: Mapping[str, ImageDetections], images: list[str], num_classes: int
) -> tuple[ImageDetections, np.ndarray]:
    """The detections of the listed images one after the other, and the number (n,) of the image that each is in."""
    listed = [(number, image) for number, image in enumerate(images) if image in detections]
    items = [detections[image] for _, image in listed]
    for (_, image), item in zip(listed, items, strict=True):
        check_detections(image, item, num_classes)
    quads = _joined([item.quads for item in items], np.float64).reshape(-1, 4, 2)
    scores = _joined([item.scores for item in items], np.float64)
    flat = ImageDetections(quads, scores, _joined([item.labels for item in items], np.int64))
    numbers = np.array([number for number, _ in listed], dtype=np.int64)
    return flat, np.repeat(numbers, [len(item.scores) for item in items])


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    """The numbers of all parts in one flat array."""
    return np.concatenate([np.empty(0, dtype), *(np.asarray(part, dtype=dtype).reshape(-1) for part in parts)])


def _grouped(group: np.ndarray, chosen: np.ndarray, num_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the chosen ones group by group, and where each group starts in them: (num_groups + 1,)."""
    indices = np.flatnonzero(chosen)
    indices = indices[np.argsort(group[indices], kind="stable")]
    return indices, np.concatenate([[0], np.cumsum(np.bincount(group[indices], minlength=num_groups))])


def _cover(
    shapes: Shapes, group: np.ndarray, quads: np.ndarray, region_group: np.ndarray, chosen: np.ndarray
) -> np.ndarray:
    """The largest part of each detection's area that lies in one of the chosen regions of its group: (D,)."""
    num_groups = 1 + max(group.max(initial=0), region_group.max(initial=0))
    indices, starts = _grouped(region_group, chosen, num_groups)
    return largest_overlap(shapes, group, prepare(quads[indices]), starts, False)[1]


def _match(
    best: np.ndarray, overlap: np.ndarray, in_region: np.ndarray, counted: np.ndarray, threshold: float
) -> np.ndarray:
    """What becomes of each detection, in the order of their scores: 1 a hit, 0 a false alarm, -1 neither."""
    outcome = np.where(in_region, -1, 0)
    over = np.flatnonzero((best >= 0) & (overlap > threshold))
    truth = best[over]
    first = np.empty(len(counted), np.int64)
    first[truth[::-1]] = over[::-1]  # of several detections of a truth the one written last stays: the best score
    outcome[over] = np.where(counted[truth], first[truth] == over, -1)
    return outcome
