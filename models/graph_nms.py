"""Exact polygon NMS of rectangles in plain tensor arithmetic: part of an exported file, in standard operators alone.

`DOTA_devkit.nms` is the definition, and `poly_nms` what it is tested against.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from models.decoder import Detections

_ROUNDING = 1e-6  # of areas; at a threshold of 0 boxes that only touch would suppress each other
_NOTHING = 1e-30  # far below the last bit of any difference


class Survivors(NamedTuple):
    """The boxes that NMS kept, best first, and how many: quads (B, K, 4, 2), scores (B, K), labels (B, K) int64; rows
    from count (B,) int64 on are zero."""

    quads: Tensor
    scores: Tensor
    labels: Tensor
    count: Tensor


def suppress(found: Detections, conf_thresh: float, nms_thresh: float) -> Survivors:
    """Greedy NMS per class of detections that are true rectangles, best first (as `decode` returns them).

    Kept are boxes of score `conf_thresh` and more, above 0, that no better kept box of their class overlaps by more
    than `nms_thresh` (IoU). K x K overlaps are worked out at once, in float32. Traceable.
    """
    quads, scores, labels = found
    rivals = overlapping(quads, nms_thresh) & (labels[:, :, None] == labels[:, None, :])
    is_box = (scores >= conf_thresh) & (scores > 0)
    kept = _greedy(rivals.float().tril(-1), is_box.float()[..., None])[..., 0]
    # Kept boxes to the front, in their order: the key is 0 for all others.
    num_boxes = int(scores.shape[1])  # a constant in a trace: TensorRT wants it so
    key = kept * torch.arange(num_boxes, 0, -1, device=kept.device)
    key, order = key.topk(num_boxes)
    is_kept = key > 0
    quads = quads.gather(1, order[..., None, None].expand(-1, -1, 4, 2))
    return Survivors(
        torch.where(is_kept[..., None, None], quads, 0.0),
        torch.where(is_kept, scores.gather(1, order), 0.0),
        torch.where(is_kept, labels.gather(1, order), 0),
        is_kept.sum(1),
    )


def overlapping(quads: Tensor, threshold: float) -> Tensor:
    """Which of the rectangles (B, K, 4, 2) overlap by an IoU above `threshold`: (B, K, K) bool, seen in the frame of
    the second. Nothing overlaps a rectangle without area, nor by less than float32 can tell from nothing."""
    intersection, area = intersections(quads)
    total = area[:, :, None] + area[:, None, :]
    return intersection * (1 + threshold) > (threshold + _ROUNDING) * total


def intersections(quads: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of the intersections (B, K, K) and of the rectangles (B, K), in pixels squared.

    A's corners are brought into B's frame, in halves of B's sides, so that B is the square from -1 to 1. There the
    area is |sum over A's edges of the integral of clamp(y) dx, x clamped|: no sorting of corners, and an edge that
    both share counts once. The antiderivative of clamp(y) is F(y) = c y - c c / 2 with c = clamp(y), so an edge gives
    dx (F(y2) - F(y1)) / (y2 - y1). This quotient is a mean of clamp(y) over the edge and is held between its ends, for
    where y2 is near y1 it is all rounding.
    """
    center = (quads[..., 0, :] + quads[..., 2, :]) / 2
    across, down = (quads[..., 1, :] - quads[..., 0, :]) / 2, (quads[..., 3, :] - quads[..., 0, :]) / 2
    area = 4 * _length(across) * _length(down)
    # From B to A, subtracted while the numbers are exact. All that follows is of (B, K, K), one thing at a time: what
    # stacks them would take longer than the arithmetic.
    away_x, away_y = (center[..., axis][:, :, None] - center[..., axis][:, None, :] for axis in (0, 1))
    frame_x, frame_y = _inverse(across), _inverse(down)  # B's axes, over its half sides
    x0, y0 = (away_x * axis[:, None, :, 0] + away_y * axis[:, None, :, 1] for axis in (frame_x, frame_y))
    (x1, y1), (x2, y2) = ((side @ frame_x.transpose(1, 2), side @ frame_y.transpose(1, 2)) for side in (across, down))
    left, right, upper, lower = x0 - x1, x0 + x1, y0 - y1, y0 + y1
    corners = [(left - x2, upper - y2), (right - x2, lower - y2), (right + x2, lower + y2), (left + x2, upper + y2)]
    clamped = [x.clamp(-1.0, 1.0) for x, _ in corners]
    slopes = [_slope(x1, y1), _slope(x2, y2)]
    covered = torch.zeros_like(x0)
    for first, second, slope in zip((0, 1, 2, 3), (1, 2, 3, 0), slopes * 2, strict=True):
        # Where the edge enters and leaves the columns that B covers.
        start, end = (corners[n][1] + (clamped[n] - corners[n][0]) * slope for n in (first, second))
        covered = covered + (clamped[second] - clamped[first]) * _mean_clamped(start, end)
    return covered.abs() * (area / 4)[:, None, :], area


def _mean_clamped(start: Tensor, end: Tensor) -> Tensor:
    """The mean of clamp(y, -1, 1) for y from `start` to `end`."""
    low, high = start.clamp(-1.0, 1.0), end.clamp(-1.0, 1.0)
    rise = high * (end - high * 0.5) - low * (start - low * 0.5)
    mean = rise / (end - start + _NOTHING)  # of an edge without a rise 0, which the ends then hold to their own value
    return torch.maximum(torch.minimum(mean, torch.maximum(low, high)), torch.minimum(low, high))


def _slope(dx: Tensor, dy: Tensor) -> Tensor:
    """dy / dx; of an edge that runs straight up, on which x is the same everywhere, 0."""
    return torch.where(dx == 0, 0.0, dy) / torch.where(dx == 0, 1.0, dx)


def _length(vector: Tensor) -> Tensor:
    return (vector * vector).sum(-1).sqrt()


def _inverse(half_side: Tensor) -> Tensor:
    """The vector (..., 2) whose product with a point is its coordinate along `half_side`, in lengths of that."""
    square = (half_side * half_side).sum(-1, keepdim=True)
    return half_side / torch.where(square > 0, square, 1.0)


@torch.jit.script_if_tracing  # a trace would unroll the loop of one example; a script becomes a `Loop` of the file
def _greedy(better: Tensor, kept: Tensor) -> Tensor:
    """The fixed point of "kept if no kept better box overlaps it", from `kept` (B, K, 1), ones and zeros, on.

    better (B, K, K): 1 where the second box is better than the first and overlaps it. The best k boxes are final after
    k rounds at the latest, so it ends; in a picture it takes as many as the longest chain of boxes.
    """
    is_box = kept
    changed = True
    while changed:
        now = torch.where(torch.matmul(better, kept) > 0.5, torch.zeros_like(kept), is_box)
        changed = bool((now != kept).any())
        kept = now
    return kept
