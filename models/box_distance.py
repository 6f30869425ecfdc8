"""How far apart two oriented boxes are, as Gaussians: smooth where IoU is flat, and blind to which side is called top.

A rectangle with half axes u and v about c is the Gaussian of mean c and covariance (u u^T + v v^T) / 3, that of a
point drawn evenly from it. The distance is Hellinger's (ProbIoU: Llerena et al., "Gaussian Bounding Boxes and
Probabilistic Intersection-over-Union for Object Detection", 2021, sections III and IV), which is 0 for equal boxes
(here 0.01, see `_LEAST`), 1 for boxes far apart, and the same for two boxes and their enlargements: a small object's
error counts as a large one's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_BLUR = 0.01  # squared cells added to every variance; a vector of no length would be a Gaussian without a width
_LEAST = 1e-4  # under the root, where its slope would be infinite, and under the logarithm


class _Gaussian(NamedTuple):
    """P Gaussians: means (P, 2), and the K vectors (P, K, 2) of which a third of the sum of squares w w^T, with the
    blur, is the covariance."""

    mean: Tensor
    axes: Tensor


def gaussian_distance(wh: Tensor, reg: Tensor, target_wh: Tensor, target_reg: Tensor) -> Tensor:
    """Return the Hellinger distance, (P,) from 0.01 to 1 (`_LEAST`), of predicted and true boxes.

    Args:
        wh, target_wh: (P, 10) as `Maps.wh`; of these the vectors t, r, b, l, in cells.
        reg, target_reg: (P, 2), centres from one and the same point of each pair, in cells.
    """
    return _hellinger(_gaussian(wh.float(), reg.float()), _gaussian(target_wh.float(), target_reg.float()))


def rectangle_distance(quads: Tensor, target_wh: Tensor, target_reg: Tensor) -> Tensor:
    """The same distance, (P,), of rectangles (P, 4, 2), in cells, from the true boxes."""
    return _hellinger(_gaussian_of(quads.float()), _gaussian(target_wh.float(), target_reg.float()))


def _hellinger(first: _Gaussian, second: _Gaussian) -> Tensor:
    both = torch.cat((first.axes, second.axes), dim=1)
    between = first.mean - second.mean
    determinant = _determinant(both, 2 * _BLUR)
    across = _cross(both, between[:, None]).square().sum(1) / 3 + 2 * _BLUR * between.square().sum(1)
    mahalanobis = across / determinant
    # The determinant of the mean covariance is a quarter of the sum's.
    alone = (torch.log(_determinant(part.axes, _BLUR)) for part in (first, second))
    spread = torch.log(determinant / 4) - sum(alone) / 2
    bhattacharyya = mahalanobis / 4 + spread / 2
    return torch.sqrt(1 - torch.exp(-bhattacharyya.clamp(min=0.0)) + _LEAST)


def _gaussian(wh: Tensor, reg: Tensor) -> _Gaussian:
    """The corners are c + t + l and so on, so the centre moves by half the sum of the four, and the half axes are
    (r - l) / 2 and (b - t) / 2."""
    top, right, bottom, left = wh[:, :8].unflatten(-1, (4, 2)).unbind(1)
    mean = reg + (top + right + bottom + left) / 2
    return _Gaussian(mean, torch.stack(((right - left) / 2, (bottom - top) / 2), dim=1))


def _gaussian_of(quads: Tensor) -> _Gaussian:
    """Of rectangles, corners (P, 4, 2) in their order around."""
    middles = (quads + quads.roll(-1, 1)) / 2
    return _Gaussian(quads.mean(1), (middles[:, :2] - middles[:, 2:]) / 2)


def _determinant(axes: Tensor, blur: float) -> Tensor:
    """Of the covariances of axes (P, K, 2), blurred, (P,): by cross products, since xx * yy - xy * xy leaves nothing of
    the determinant of a long thin box in fp32."""
    first, second = torch.triu_indices(axes.shape[1], axes.shape[1], 1, device=axes.device)
    area = _cross(axes[:, first], axes[:, second]).square().sum(1) / 9
    return (area + blur * axes.square().sum((1, 2)) / 3 + blur**2).clamp(min=_LEAST)


def _cross(first: Tensor, second: Tensor) -> Tensor:
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
