"""How far apart two oriented boxes are, as Gaussians: smooth where IoU is flat, and blind to which side is called top.

A rectangle with half axes u and v about c is the Gaussian of mean c and covariance (u u^T + v v^T) / 3, that of a
point drawn evenly from it. The distance is Hellinger's (ProbIoU: Llerena et al., "Gaussian Bounding Boxes and
Probabilistic Intersection-over-Union for Object Detection", 2021, sections III and IV), which is 0 for equal boxes, 1
for boxes far apart, and the same for two boxes and their enlargements: a small object's error counts as a large one's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_BLUR = 0.01  # squared cells added to every variance; a vector of no length would be a Gaussian without a width
_LEAST = 1e-4  # under the root, where its slope would be infinite, and under the logarithm


class _Gaussian(NamedTuple):
    """P Gaussians: means (P, 2), variances along x and y and covariance, (P,)."""

    mean: Tensor
    xx: Tensor
    yy: Tensor
    xy: Tensor


def gaussian_distance(wh: Tensor, reg: Tensor, target_wh: Tensor, target_reg: Tensor) -> Tensor:
    """Return the Hellinger distance, (P,) in [0, 1], of predicted and true boxes.

    Args:
        wh, target_wh: (P, 10) as `Maps.wh`; of these the vectors t, r, b, l, in cells.
        reg, target_reg: (P, 2), centres from one and the same point of each pair, in cells.
    """
    first, second = _gaussian(wh.float(), reg.float()), _gaussian(target_wh.float(), target_reg.float())
    xx, yy, xy = first.xx + second.xx, first.yy + second.yy, first.xy + second.xy
    dx, dy = (first.mean - second.mean).unbind(-1)
    determinant = (xx * yy - xy * xy).clamp(min=_LEAST)
    mahalanobis = (yy * dx * dx + xx * dy * dy - 2 * xy * dx * dy) / determinant
    # The determinant of the mean covariance is a quarter of the sum's.
    spread = torch.log(determinant / 4) - (torch.log(_determinant(first)) + torch.log(_determinant(second))) / 2
    bhattacharyya = mahalanobis / 4 + spread / 2
    return torch.sqrt(1 - torch.exp(-bhattacharyya.clamp(min=0.0)) + _LEAST)


def _gaussian(wh: Tensor, reg: Tensor) -> _Gaussian:
    """The corners are c + t + l and so on, so the centre moves by half the sum of the four, and the half axes are
    (r - l) / 2 and (b - t) / 2."""
    top, right, bottom, left = wh[:, :8].unflatten(-1, (4, 2)).unbind(1)
    u, v = (right - left) / 2, (bottom - top) / 2
    mean = reg + (top + right + bottom + left) / 2
    xx, yy = ((u * u + v * v) / 3 + _BLUR).unbind(-1)
    xy = (u[:, 0] * u[:, 1] + v[:, 0] * v[:, 1]) / 3
    return _Gaussian(mean, xx, yy, xy)


def _determinant(gaussian: _Gaussian) -> Tensor:
    return (gaussian.xx * gaussian.yy - gaussian.xy * gaussian.xy).clamp(min=_LEAST)
