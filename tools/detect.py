"""Pictures -> detections: the loop that training's validation, test and eval share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from datasets.loader import PictureSet, make_picture_loader
from DOTA_devkit import poly_nms
from DOTA_devkit.labels import ImageDetections
from models import CTRBOX, Detections, decode, normalize
from tools.checkpoint import Architecture


@dataclass(frozen=True)
class DetectionSettings:
    """What becomes of the maps: K, most boxes of a picture; the lowest score kept; the overlap (IoU) above which the
    worse of two boxes of a class goes; whether rotated boxes are made rectangles."""

    num_peaks: int = 500
    conf_thresh: float = 0.01
    nms_thresh: float = 0.3
    true_rectangles: bool = True


class Found(NamedTuple):
    """One picture's outcome: its row in the list, its boxes in its own pixels, its size (height, width), the picture
    itself where it was to be kept, and what was wrong with it where it could not be read (then there are no boxes)."""

    row: int
    detections: ImageDetections
    size: tuple[int, int]
    picture: np.ndarray | None = None
    problem: str | None = None


def detect(
    model: CTRBOX,
    architecture: Architecture,
    paths: Sequence[Path],
    settings: DetectionSettings,
    *,
    device: torch.device,
    batch_size: int,
    num_workers: int,
    num_kept: int = 0,
) -> Iterator[Found]:
    """Detect on the pictures, in batches, in fp32; every picture is decoded once. The first `num_kept` are handed on.

    The model is put into evaluation mode and left in it.
    """
    model.eval()
    pictures = PictureSet(paths, architecture.input_hw, architecture.preprocessing.fill_bgr, num_kept)
    for batch in make_picture_loader(pictures, batch_size, num_workers):
        for row, problem in batch.problems.items():
            yield Found(row, _nothing(), (0, 0), problem=problem)
        if not len(batch.rows):
            continue
        with torch.inference_mode():
            images = normalize(batch.images.to(device, non_blocking=True), architecture.preprocessing)
            found = decode(model(images), settings.num_peaks, settings.true_rectangles)
        found = Detections(*(part.cpu() for part in found))
        for index, row in enumerate(batch.rows.tolist()):
            picture = batch.pictures[index]
            yield Found(
                row,
                select(found, index, float(batch.scales[index]), settings),
                tuple(batch.sizes[index].tolist()),
                None if picture is None else picture.numpy(),
            )


def select(found: Detections, index: int, scale: float, settings: DetectionSettings) -> ImageDetections:
    """The boxes of one image of a batch that score enough and survive NMS, in pixels of the picture, best first."""
    scores = found.scores[index].numpy()
    keep = np.flatnonzero((scores >= settings.conf_thresh) & (scores > 0))
    quads = found.quads[index].numpy()[keep].astype(np.float64) / scale
    labels = found.labels[index].numpy()[keep]
    best = poly_nms(quads, scores[keep], settings.nms_thresh, labels)
    return ImageDetections(quads[best], scores[keep][best], labels[best])


def _nothing() -> ImageDetections:
    return ImageDetections(np.zeros((0, 4, 2)), np.zeros(0, np.float32), np.zeros(0, np.int64))
