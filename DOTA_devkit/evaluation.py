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
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.truths import HIT_IOU, ImageTruth, flat_detections, flat_truth

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
# Square roots of areas, in pixels, that part objects by size: where "tiny" ends in AI-TOD (Wang et al., ICPR 2020), and
# where "small" and "medium" end in COCO.
SIZE_BOUNDS = (16, 32, 96)


class Hits(NamedTuple):
    """Objects that were found, and the detections that found them: scores (h,), best first, iou (h,), and the quads
    (h, 4, 2) of both."""

    scores: np.ndarray
    iou: np.ndarray
    found: np.ndarray
    truth: np.ndarray


class SizeScore(NamedTuple):
    """The objects of a class that are of one range of sizes: how many have to be found, and their AP at overlap 0.5,
    None where there are none."""

    num_truths: int
    ap: float | None
    ap_07: float | None


class ClassEvaluation(NamedTuple):
    """A class: its curves in the order of the thresholds, and what was counted in the listed images.

    num_truths: objects that have to be found; num_difficult: objects flagged 1 or 2; num_detections: all of them.
    image_truths (num_images,): the objects that have to be found in each picture, by sorted name.
    hits: at overlap 0.5; None where that was not measured.  by_size: likewise, one for each range that `SIZE_BOUNDS`
    part; empty where that was not measured.
    """

    curves: list[Curve]
    num_truths: int
    num_difficult: int
    num_detections: int
    image_truths: np.ndarray
    hits: Hits | None = None
    by_size: tuple[SizeScore, ...] = ()


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

    By size, an object of another range is treated like a difficult one, and a detection of another range that would be
    a false alarm of nothing like one in an ignore region (COCO's protocol).

    The result does not depend on the order of the mappings: equal scores go by image name, then by index.
    Raises ValueError, naming the image, for a detection whose score or corner is not finite, a label that is no
    class, or arrays of different lengths.
    """
    images, num_classes = sorted(truths), len(class_names)
    if len(set(class_names)) < num_classes:
        raise ValueError(f"class names must differ from one another, got {list(class_names)}")
    if difficult not in ("ignore", "count"):
        raise ValueError(f"difficult must be 'ignore' or 'count', got {difficult!r}")
    truth, truth_image = flat_truth(truths, images, num_classes)
    own = truth.labels != EVERY_CLASS
    counted = own & (truth.difficult == 0)
    if difficult == "count":
        counted |= own & ((truth.difficult == 1) | ((truth.difficult == IGNORE_FLAG) & (ignore_overlap is None)))
    found, found_image = flat_detections(detections, images, num_classes)
    compared = _compare(found, found_image, truth, truth_image, counted, num_classes, ignore_overlap)
    curves = [compared.curves(threshold) for threshold in iou_thresholds]
    measures_hits = HIT_IOU in iou_thresholds
    hits = compared.hits() if measures_hits else [None] * num_classes
    by_size = compared.by_size() if measures_hits else [()] * num_classes

    truth_group = truth_image * num_classes + truth.labels
    image_truths = np.bincount(truth_group[counted], minlength=len(images) * num_classes)
    image_truths = image_truths.reshape(len(images), num_classes).T
    num_difficult = np.bincount(truth.labels[own & (truth.difficult > 0)], minlength=num_classes).tolist()
    num_detections = np.bincount(found.labels, minlength=num_classes).tolist()
    unlisted = tuple(sorted(set(detections) - set(truths)))
    return Evaluation(
        iou_thresholds=tuple(iou_thresholds),
        classes={
            name: ClassEvaluation(
                curves=[of_classes[label] for of_classes in curves],
                num_truths=int(image_truths[label].sum()),
                num_difficult=num_difficult[label],
                num_detections=num_detections[label],
                image_truths=image_truths[label],
                hits=hits[label],
                by_size=by_size[label],
            )
            for label, name in enumerate(class_names)
        },
        num_images=len(images),
        num_unlisted=sum(len(detections[name].scores) for name in unlisted),
        missing=tuple(name for name in images if name not in detections),
        unlisted=unlisted,
    )


@dataclass(frozen=True)
class _Compared:
    """Detections, class by class and best first, beside the truths that they overlap most.

    found (D): the detections; image (D,): the number of the picture of each.
    truth (R): the objects of a class, group by group; counted (R,) bool: those that have to be found.
    best, overlap (D,): the object of its class and picture that each overlaps most, -1 for none, and by how much.
    in_region (D,) bool: which lie in an ignore region.  size (D,), truth_size (R,): numbers of ranges of sizes.
    """

    found: ImageDetections
    image: np.ndarray
    truth: ImageTruth
    counted: np.ndarray
    best: np.ndarray
    overlap: np.ndarray
    in_region: np.ndarray
    size: np.ndarray
    truth_size: np.ndarray
    num_classes: int

    def curves(self, threshold: float) -> list[Curve]:
        """The curve of each class at an overlap."""
        outcome = self._outcome(threshold, self.counted, self.in_region)
        return self._curves(outcome, self._num_truths(self.counted))

    def hits(self) -> list[Hits]:
        """What was found of each class at `HIT_IOU`."""
        rows = np.flatnonzero(self._outcome(HIT_IOU, self.counted, self.in_region) == 1)
        parts = np.split(rows, np.searchsorted(self.found.labels[rows], np.arange(1, self.num_classes)))
        found, truth = self.found, self.truth.quads
        return [
            Hits(found.scores[part], self.overlap[part], found.quads[part], truth[self.best[part]])
            for part in parts[: self.num_classes]
        ]

    def by_size(self) -> list[tuple[SizeScore, ...]]:
        """The score of each range of sizes at `HIT_IOU`, of each class."""
        scores = []
        for number in range(len(SIZE_BOUNDS) + 1):
            counted = self.counted & (self.truth_size == number)
            outcome = self._outcome(HIT_IOU, counted, self.in_region | (self.size != number))
            counts = self._num_truths(counted)
            curves = self._curves(outcome, counts)
            scores.append([SizeScore(count, item.ap, item.ap_07) for count, item in zip(counts, curves, strict=True)])
        return list(zip(*scores, strict=True))

    def _outcome(self, threshold: float, counted: np.ndarray, is_left_out: np.ndarray) -> np.ndarray:
        """What becomes of each detection (D,): 1 a hit, 0 a false alarm, -1 neither, as a false alarm about no object
        is that `is_left_out`."""
        outcome = np.where(is_left_out, -1, 0)
        over = np.flatnonzero((self.best >= 0) & (self.overlap > threshold))
        truth = self.best[over]
        first = np.empty(len(counted), np.int64)
        first[truth[::-1]] = over[::-1]  # of several detections of a truth the one written last stays: the best score
        outcome[over] = np.where(counted[truth], first[truth] == over, -1)
        return outcome

    def _num_truths(self, counted: np.ndarray) -> list[int]:
        """How many objects of each class are among those of a mask (R,)."""
        return np.bincount(self.truth.labels[counted], minlength=self.num_classes).tolist()

    def _curves(self, outcome: np.ndarray, counts: Sequence[int]) -> list[Curve]:
        """The curve of each class, of which there are so many objects, from what becomes of the detections."""
        edges = np.searchsorted(self.found.labels, np.arange(self.num_classes + 1))
        parts = [slice(*ends) for ends in zip(edges[:-1], edges[1:], strict=True)]
        return [
            curve_of(self.found.scores[part], outcome[part], self.image[part], count)
            for part, count in zip(parts, counts, strict=True)
        ]


def _compare(
    found: ImageDetections,
    found_image: np.ndarray,
    truth: ImageTruth,
    truth_image: np.ndarray,
    counted: np.ndarray,
    num_classes: int,
    ignore_overlap: float | None,
) -> _Compared:
    """Set the detections of many pictures beside the truths; a group is a class within a picture."""
    order = np.lexsort((-found.scores, found.labels))  # class by class, best first; all sorts here are stable
    found, found_image = found.at(order), found_image[order]
    group, truth_group = found_image * num_classes + found.labels, truth_image * num_classes + truth.labels
    num_groups = num_classes * (1 + int(max(truth_image.max(initial=0), found_image.max(initial=0))))
    own = truth.labels != EVERY_CLASS
    shapes = prepare(found.quads)
    rivals, starts = _grouped(truth_group, own, num_groups)
    rival_shapes = prepare(truth.quads[rivals])
    best, overlap = largest_overlap(shapes, group, rival_shapes, starts, True)
    in_region = np.zeros(len(order), dtype=bool)
    if ignore_overlap is not None:
        in_region |= _cover(shapes, found_image, truth.quads, truth_image, ~own) > ignore_overlap
        regions = own & (truth.difficult == IGNORE_FLAG)
        in_region |= _cover(shapes, group, truth.quads, truth_group, regions) > ignore_overlap
    rival_truth = ImageTruth(*(values[rivals] for values in truth))
    sizes = (np.searchsorted(SIZE_BOUNDS, np.sqrt(item.areas)) for item in (shapes, rival_shapes))
    return _Compared(found, found_image, rival_truth, counted[rivals], best, overlap, in_region, *sizes, num_classes)


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
