"""Parity of an exported file with the network it was made from: the same pictures, box by box."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from datasets.letterbox import letterbox_image, letterbox_scale
from DOTA_devkit import poly_iou
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from models import Detections, decode, normalize
from models.decoder import THETA_THRESHOLD
from models.preprocessing import Preprocessing
from tools.onnx_detector import OnnxDetector
from tools.outcomes import DetectionSettings, survivors

# What float32 decides and not the network: differences below these in a probability and an IoU; and in two scores, as a
# multiple of the difference that is allowed in one: each of the two may be off by as much.
NEAR_THETA, NEAR_IOU, NEAR_SCORE = 1e-4, 1e-3, 2.0
REACH = 4.0  # pixels; farther apart two boxes are not the same


@dataclass(frozen=True)
class Limits:
    """How much the file may differ: a corner (pixels of the picture), a score, and the part of the boxes that only one
    of the two has (beside those whose score is so near the threshold that the difference allowed decides); the
    largest value that its numbers can hold, which on a CPU, where they are widened, does not show; and the difference
    of two logits of the heat map below which rounding decides which of them is the peak."""

    pixels: float = 1e-2
    score: float = 1e-4
    unmatched: float = 0.0
    largest: float = math.inf
    near_logit: float = 1e-4


HALF_LIMITS = Limits(2.0, 2e-2, 2e-2, 65504.0, 2e-2)  # what 11 bits of a number leave of it after a network's depth


class ParityError(ValueError):
    """The exported file gives other boxes than the network."""


@dataclass
class Parity:
    """What was compared, and the largest differences: corners in pixels of the picture, scores. `largest`: value within
    the network."""

    num_pictures: int = 0
    num_boxes: int = 0
    pixels: float = 0.0
    score: float = 0.0
    largest: float = 0.0
    unmatched: list[str] = field(default_factory=list)

    def check(self, limits: Limits) -> None:
        """Raises ParityError beyond the limits."""
        if not self.largest <= limits.largest:
            raise ParityError(
                f"values within the network reach {self.largest:.3g}, and fp16 ends at {limits.largest:g}: a GPU would "
                "find nothing; export without --half"
            )
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
    network: nn.Module,
    preprocessing: Preprocessing,
    detector: OnnxDetector,
    batches: Sequence[Sequence[np.ndarray]],
    limits: Limits,
) -> Parity:
    """Run both on batches of pictures (H, W, 3) uint8 BGR, those of a batch of one size, and compare.

    The pictures must be such as the file takes as they are. Boxes are matched by class and nearest corners. A box that
    either has and the other may well not have, by rounding alone, is none that is missed: its score is at the
    threshold; it is one of neighbours on the heat map that are about equal (as all are in the padding), or overlaps
    one; its overlap is at NMS's threshold, or `cls_theta` at its own; or it overlaps a box of about the same score, so
    that either may suppress the other.
    """
    parity = Parity()
    for pictures in batches:
        with _watched(network, parity):
            expected = _reference(network, preprocessing, detector, pictures, limits)
        for picture, rows, torch_found in zip(pictures, detector.rows(pictures, as_inputs=True), expected, strict=True):
            parity.num_pictures += 1
            what = f"{picture.shape[1]} x {picture.shape[0]}"
            _compare(rows, torch_found, detector.settings, limits, parity, what)
    return parity


@contextmanager
def _watched(network: nn.Module, parity: Parity) -> Iterator[None]:
    """Within the block, note the largest value that a layer gives."""

    def note(_: nn.Module, __: tuple, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            parity.largest = max(parity.largest, float(output.abs().nan_to_num(nan=math.inf).amax()))

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Expected(NamedTuple):
    """What torch finds in a picture. variants: the boxes, in all the ways that rounding might choose at thresholds, the
    plain one first; doubtful: boxes of cells of the heat map that differ from a neighbour by rounding alone, each of
    which may be the peak, and of overlapping boxes whose order in NMS is rounding's."""

    variants: list[ImageDetections]
    doubtful: ImageDetections = NO_DETECTIONS


def _reference(
    network: nn.Module,
    preprocessing: Preprocessing,
    detector: OnnxDetector,
    pictures: Sequence[np.ndarray],
    limits: Limits,
) -> list[Expected]:
    """What torch finds in each picture, in its pixels."""
    facts, settings = detector.facts, detector.settings
    hw = pictures[0].shape[:2]
    input_hw = facts.input_hw if facts.letterbox else hw
    scale = letterbox_scale(hw, input_hw)
    boxed = np.stack([letterbox_image(picture, input_hw, preprocessing.fill_bgr) for picture in pictures])
    with torch.inference_mode():
        maps = network(normalize(torch.from_numpy(boxed), preprocessing))
        found = [
            decode(maps, settings.num_peaks, theta_threshold=THETA_THRESHOLD + shift)
            for shift in (0, -NEAR_THETA, NEAR_THETA)
        ]
        ties = [decode(maps._replace(hm=hm), settings.num_peaks) for hm in _near_ties(maps.hm, limits.near_logit)]
    expected = []
    for index in range(len(pictures)):
        variants = [
            _kept(_boxes(way, index, scale), settings, facts.nms, shift)
            for way in found
            for shift in ((0.0, -NEAR_IOU, NEAR_IOU) if facts.nms else (0.0,))
        ]
        doubtful = [_boxes(way, index, scale) for way in ties]
        if facts.nms:
            doubtful.append(_order_ties(_boxes(found[0], index, scale), settings, NEAR_SCORE * limits.score))
        parts = zip(NO_DETECTIONS, *doubtful, strict=True)
        expected.append(Expected(variants, ImageDetections(*(np.concatenate(part) for part in parts))))
    return expected


def _boxes(found: Detections, index: int, scale: float) -> ImageDetections:
    quads, scores, labels = (part[index].numpy() for part in found)
    keep = scores > 0
    return ImageDetections(quads[keep].astype(np.float64) / scale, scores[keep], labels[keep])


def _kept(boxes: ImageDetections, settings: DetectionSettings, nms: bool, shift: float) -> ImageDetections:
    """The boxes, with `nms` those that survive it at a threshold shifted by so much."""
    if not nms:
        return boxes
    thresh = min(max(settings.nms_thresh + shift, 0.0), 1.0)
    return survivors(*boxes, replace(settings, nms_thresh=thresh))


def _order_ties(boxes: ImageDetections, settings: DetectionSettings, near: float) -> ImageDetections:
    """The boxes that overlap one of their class so much that the worse of the two goes, and score about the same."""
    boxes = boxes.at(np.flatnonzero(boxes.scores >= settings.conf_thresh))
    is_tie = poly_iou(boxes.quads, boxes.quads) > settings.nms_thresh - NEAR_IOU
    is_tie &= np.abs(boxes.scores[:, None] - boxes.scores[None]) <= near
    is_tie &= boxes.labels[:, None] == boxes.labels[None]
    np.fill_diagonal(is_tie, False)
    return boxes.at(np.flatnonzero(is_tie.any(axis=1)))


def _near_ties(hm: torch.Tensor, near_logit: float) -> Iterator[torch.Tensor]:
    """The heat maps (B, C, h, w) with nothing but the cells that might be peaks and might not: those that are about as
    high as their highest neighbour. Nine times a ninth of them, so that none is beside another and all are peaks."""
    height, width = hm.shape[-2:]
    padded = functional.pad(hm, (1, 1, 1, 1), value=-torch.inf)
    shifts = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    around = torch.stack([padded[..., y : y + height, x : x + width] for y, x in shifts]).amax(0)
    is_tie = (hm - around).abs() <= near_logit
    for y, x in np.ndindex(3, 3):
        ninth = torch.full_like(hm, -torch.inf)
        ninth[..., y::3, x::3] = torch.where(is_tie, hm, -torch.inf)[..., y::3, x::3]
        yield ninth


def _compare(
    rows: ImageDetections, expected: Expected, settings: DetectionSettings, limits: Limits, parity: Parity, what: str
) -> None:
    """Match the file's rows with those of torch and note the differences."""
    plain = expected.variants[0].scores
    floor = settings.conf_thresh
    if len(rows.scores) >= settings.num_peaks and len(plain):  # of the last of K rounding decides, too
        floor = max(floor, float(plain[-1]))
    floor += limits.score
    possible = Counter(key for variant in expected.variants for key in _by_row(variant))
    partner = _matched(list(_by_row(rows)), list(possible))
    parity.num_boxes += sum(key[1] >= settings.conf_thresh for key in partner)
    pairs = [pair for pair in partner.items() if pair[1] is not None and pair[0][1] >= settings.conf_thresh]
    pixels = [float(np.abs(np.subtract(key[2:], other[2:])).max()) for key, other in pairs]
    # Of neighbours that are about equal each side may have chosen its own, a cell apart: two boxes, and no difference.
    two_peaks = [
        far > limits.pixels and _excused(pair, expected.doubtful, settings).all()
        for pair, far in zip(pairs, pixels, strict=True)
    ]
    for (key, other), far, is_none in zip(pairs, pixels, two_peaks, strict=True):
        if not is_none:
            parity.pixels, parity.score = max(parity.pixels, far), max(parity.score, abs(key[1] - other[1]))
    certain = {key for key, count in possible.items() if count == len(expected.variants)}
    alone = [(key, "in the file alone") for key, other in partner.items() if other is None]
    alone += [(key, "in torch alone") for key in certain - set(partner.values())]
    alone = [(key, where) for key, where in alone if key[1] > floor]
    excuses = _excused([key for key, _ in alone], expected.doubtful, settings)
    for (key, where), excused in zip(alone, excuses, strict=True):
        if not excused:
            parity.unmatched.append(f"a box of class {key[0]} and score {key[1]:.4f} {where}, {what}")


def _excused(boxes: Sequence[tuple], doubtful: ImageDetections, settings: DetectionSettings) -> np.ndarray:
    """Which of the boxes are of a doubtful peak (also those without an area, which overlap nothing), or may have been
    suppressed by one."""
    if not boxes or not len(doubtful.scores):
        return np.zeros(len(boxes), bool)
    keys = np.array(boxes)
    quads, same = keys[:, 2:].reshape(-1, 4, 2), keys[:, :1] == doubtful.labels[None]
    overlaps = poly_iou(quads, doubtful.quads) > settings.nms_thresh - NEAR_IOU
    is_near = np.abs(quads[:, None] - doubtful.quads[None]).max((2, 3)) <= REACH
    return ((overlaps | is_near) & same).any(1)


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
