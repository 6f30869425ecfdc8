"""What is in pictures, and the boxes of many pictures, true and found ones, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from DOTA_devkit.labels import EVERY_CLASS, IGNORE_FLAG
from DOTA_devkit.task_files import ImageDetections, check_detections

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


def flat_truth(truths: Mapping[str, ImageTruth], images: list[str], num_classes: int) -> tuple[ImageTruth, np.ndarray]:
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


def flat_detections(
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
