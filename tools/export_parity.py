"""Parity of an exported file with the network it was made from: the same pictures, box by box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional

from datasets.letterbox import letterbox_image, letterbox_scale
from DOTA_devkit.task_files import ImageDetections
from models import CTRBOX, decode, normalize
from models.preprocessing import Preprocessing
from tools.onnx_detector import OnnxDetector
from tools.outcomes import DetectionSettings, survivors

# What float32 decides and not the network: differences below these in a logit, a probability and an IoU.
NEAR_LOGIT, NEAR_THETA, NEAR_IOU = 1e-4, 1e-4, 1e-3
THETA = 0.8
REACH = 4.0  # pixels; farther apart two boxes are not the same


@dataclass(frozen=True)
class Limits:
    """How much the file may differ: a corner (pixels of the picture), a score, and the part of the boxes that only one
    of the two has (beside those whose score is so near the threshold that the difference allowed decides)."""

    pixels: float = 1e-2
    score: float = 1e-4
    unmatched: float = 0.0


HALF_LIMITS = Limits(2.0, 2e-2, 2e-2)  # what 11 bits of a number leave of it after a network's depth


class ParityError(ValueError):
    """The exported file gives other boxes than the network."""


@dataclass
class Parity:
    """What was compared, and the largest differences: corners in pixels of the picture, scores."""

    num_pictures: int = 0
    num_boxes: int = 0
    pixels: float = 0.0
    score: float = 0.0
    unmatched: list[str] = field(default_factory=list)

    def check(self, limits: Limits) -> None:
        """Raises ParityError beyond the limits."""
        if len(self.unmatched) > limits.unmatched * self.num_boxes:
            raise ParityError(f"{len(self.unmatched)} of {self.num_boxes} boxes differ: {self.unmatched[0]}")
        if self.pixels > limits.pixels or self.score > limits.score:
            raise ParityError(
                f"corners differ by up to {self.pixels:.2g} px and scores by up to {self.score:.2g}; allowed are "
                f"{limits.pixels:g} px and {limits.score:g}"
            )

    def __str__(self) -> str:
        return (
            f"{self.num_boxes} boxes in {self.num_pictures} pictures, largest difference {self.pixels:.2g} px and "
            f"{self.score:.2g} of a score, {len(self.unmatched)} without a partner"
        )


def measure_parity(
    network: CTRBOX,
    preprocessing: Preprocessing,
    detector: OnnxDetector,
    batches: Sequence[Sequence[np.ndarray]],
    limits: Limits,
) -> Parity:
    """Run both on batches of pictures (H, W, 3) uint8 BGR, those of a batch of one size, and compare.

    The pictures must be such as the file takes as they are. Boxes are matched by class and nearest corners. A box that
    either has and the other may well not have (its score is at the threshold, or it is one of two that differ by
    rounding alone: equal neighbours on the heat map, an overlap at NMS's threshold, `cls_theta` at its own) is none
    that is missed.
    """
    parity = Parity()
    for pictures in batches:
        expected = _reference(network, preprocessing, detector, pictures)
        for picture, rows, variants in zip(pictures, detector.rows(pictures, as_inputs=True), expected, strict=True):
            parity.num_pictures += 1
            _compare(rows, variants, detector.settings, limits, parity, f"{picture.shape[1]} x {picture.shape[0]}")
    return parity


def _reference(
    network: CTRBOX, preprocessing: Preprocessing, detector: OnnxDetector, pictures: Sequence[np.ndarray]
) -> list[list[ImageDetections]]:
    """What torch finds in each picture, in its pixels, in all the ways that rounding might choose; the first is the
    plain one."""
    facts, settings = detector.facts, detector.settings
    hw = pictures[0].shape[:2]
    input_hw = facts.input_hw if facts.letterbox else hw
    scale = letterbox_scale(hw, input_hw)
    boxed = np.stack([letterbox_image(picture, input_hw, preprocessing.fill_bgr) for picture in pictures])
    with torch.inference_mode():
        maps = network(normalize(torch.from_numpy(boxed), preprocessing))
        untied = maps._replace(hm=_without_near_ties(maps.hm))
        ways = [(maps, THETA), (maps, THETA - NEAR_THETA), (maps, THETA + NEAR_THETA), (untied, THETA)]
        found = [decode(way, settings.num_peaks, theta_threshold=theta) for way, theta in ways]
    per_picture = []
    for index in range(len(pictures)):
        variants = []
        for way in found:
            quads, scores, labels = (part[index].numpy() for part in way)
            quads = quads.astype(np.float64) / scale
            for shift in (0.0, -NEAR_IOU, NEAR_IOU) if facts.nms else (0.0,):
                variants.append(_kept(quads, scores, labels, settings, facts.nms, shift))
        per_picture.append(variants)
    return per_picture


def _kept(
    quads: np.ndarray, scores: np.ndarray, labels: np.ndarray, settings: DetectionSettings, nms: bool, shift: float
) -> ImageDetections:
    if not nms:
        keep = scores > 0
        return ImageDetections(quads[keep], scores[keep], labels[keep])
    thresh = min(max(settings.nms_thresh + shift, 0.0), 1.0)
    return survivors(quads, scores, labels, DetectionSettings(settings.num_peaks, settings.conf_thresh, thresh))


def _without_near_ties(hm: torch.Tensor) -> torch.Tensor:
    """The heat maps (B, C, h, w) without the peaks that hardly exceed a neighbour, which then is the peak."""
    padded = functional.pad(hm, (1, 1, 1, 1), value=-torch.inf)
    height, width = hm.shape[-2:]
    shifts = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    around = torch.stack([padded[..., y : y + height, x : x + width] for y, x in shifts]).amax(0)
    return torch.where((hm >= around) & (hm < around + NEAR_LOGIT), around - NEAR_LOGIT, hm)


def _compare(
    rows: ImageDetections,
    variants: Sequence[ImageDetections],
    settings: DetectionSettings,
    limits: Limits,
    parity: Parity,
    what: str,
) -> None:
    """Match the file's rows with those of torch and note the differences."""
    plain = variants[0].scores
    floor = settings.conf_thresh
    if len(rows.scores) >= settings.num_peaks and len(plain):  # of the last of K rounding decides, too
        floor = max(floor, float(plain[-1]))
    floor += limits.score
    found = _by_row(rows)
    possible: dict[tuple, int] = {}
    for variant in variants:
        for key in _by_row(variant):
            possible[key] = possible.get(key, 0) + 1
    certain = {key for key, count in possible.items() if count == len(variants)}
    partner = _matched(list(found), list(possible))
    for key, other in partner.items():
        if key[1] >= settings.conf_thresh:
            parity.num_boxes += 1
        if other is None:
            if key[1] > floor:
                parity.unmatched.append(f"a box of class {key[0]} and score {key[1]:.4f} in the file alone, {what}")
            continue
        if key[1] >= settings.conf_thresh:
            parity.pixels = max(parity.pixels, float(np.abs(np.subtract(key[2:], other[2:])).max()))
            parity.score = max(parity.score, abs(key[1] - other[1]))
    for key in certain - set(partner.values()):
        if key[1] > floor:
            parity.unmatched.append(f"a box of class {key[0]} and score {key[1]:.4f} in torch alone, {what}")


def _by_row(boxes: ImageDetections) -> Mapping[tuple, None]:
    """The boxes as (label, score, eight coordinates), best first."""
    columns = np.column_stack([boxes.scores.astype(np.float64), boxes.quads.reshape(-1, 8)])
    return dict.fromkeys(
        (label, *row) for label, row in zip(boxes.labels.tolist(), map(tuple, columns.tolist()), strict=True)
    )


def _matched(found: list[tuple], possible: list[tuple]) -> dict[tuple, tuple | None]:
    """The nearest of `possible` for each of `found`, of its class and each taken once; None beyond the size of a cell
    and where none is left."""
    partner: dict[tuple, tuple | None] = dict.fromkeys(found)
    if not found or not possible:
        return partner
    ours, theirs = np.array(found), np.array(possible)
    far = np.abs(ours[:, None, 2:] - theirs[None, :, 2:]).max(-1)
    far[ours[:, :1] != theirs[None, :, 0]] = np.inf
    sides = np.abs(ours[:, None, 1] - theirs[None, :, 1])
    order = np.argsort(far + sides, axis=None, kind="stable")
    taken = np.zeros(len(possible), bool)
    done = np.zeros(len(found), bool)
    for place in order:
        row, column = divmod(int(place), len(possible))
        if not np.isfinite(far[row, column]) or far[row, column] > REACH:
            break
        if not done[row] and not taken[column]:
            done[row], taken[column] = True, True
            partner[found[row]] = possible[column]
    return partner
