"""The training loss: focal loss on the centres, smooth L1 on vectors and offsets, cross-entropy on the orientation.

Everything is computed in float32 from logits, whatever the type of the maps, so that no logit gives log(0).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.ctrbox import Maps

# Below this many centres in a batch the focal sum is divided by more, not by less; see `BBAVectorsLoss`.
FEW_CENTERS = 10


class BatchTargets(Protocol):
    """What the loss reads: any object with these attributes. Lengths in cells of the stride-4 map."""

    hm: Tensor  # (B, C, h, w) in [0, 1], 1 in the cells of centres; negative in cells to ignore
    wh: Tensor  # (B, M, 10) as `Maps.wh`
    reg: Tensor  # (B, M, 2)
    cls_theta: Tensor  # (B, M, 1), 1 for rotated
    ind: Tensor  # (B, M) int64, y * w + x of the centre's cell
    mask: Tensor  # (B, M) bool, which of the M slots hold an object


class BBAVectorsLoss(nn.Module):
    """Weighted sum of the four terms of Yi et al., WACV 2021, section 3.3.

    The focal sum runs over all cells and is divided by the number of centres in the batch, n, if n >= 10, and by
    20 - n otherwise. The published code does not divide at all where n = 0: an empty batch there weighs 372 against
    5.5 of one with 100 objects, and throws the weights about. The background's part of the sum hardly depends on n,
    so max(n, 1) would leave the same jump, and even max(n, 10) leaves an empty batch a longer gradient than one with
    ten objects (38 against 32 at 512 x 512, one class, random weights): no centre pulls against the background there.
    Reflected at ten, the divisor is continuous, and the gradient of an empty batch is the shorter one at every size.
    The other terms are means over the objects, and 0 where there are none.

    Args:
        hm_weight, wh_weight, reg_weight, cls_theta_weight: weights of the terms in the sum.
    """

    def __init__(
        self,
        hm_weight: float = 1.0,
        wh_weight: float = 1.0,
        reg_weight: float = 1.0,
        cls_theta_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.weights = {"hm": hm_weight, "wh": wh_weight, "reg": reg_weight, "cls_theta": cls_theta_weight}

    def forward(self, maps: Maps, targets: BatchTargets, num_centers: Tensor | None = None) -> dict[str, Tensor]:
        """Return the terms `hm`, `wh`, `reg`, `cls_theta` (unweighted) and their weighted sum `total`, all scalars.

        Args:
            maps: the network's output for B images.
            targets: as in `BatchTargets`.
            num_centers: scalar, the number of objects to divide by, where the batch is a part of a larger one
                (accumulated or distributed): the terms of the parts then add up to those of the whole.
        """
        count = targets.mask.sum() if num_centers is None else num_centers
        objects = count.clamp(min=1)
        image, slot = targets.mask.nonzero(as_tuple=True)
        row_length = maps.hm.shape[-1]
        cell = targets.ind[image, slot]
        y, x = cell // row_length, cell % row_length

        def at_centers(values: Tensor) -> Tensor:
            return values[image, :, y, x].float()

        wh, reg, cls_theta = (term[image, slot].float() for term in (targets.wh, targets.reg, targets.cls_theta))
        terms = {
            "hm": focal_sum(maps.hm, targets.hm) / _focal_divisor(count),
            "wh": functional.smooth_l1_loss(at_centers(maps.wh), wh, reduction="sum") / (10 * objects),
            "reg": functional.smooth_l1_loss(at_centers(maps.reg), reg, reduction="sum") / (2 * objects),
            "cls_theta": functional.binary_cross_entropy_with_logits(
                at_centers(maps.cls_theta), cls_theta, reduction="sum"
            )
            / objects,
        }
        return terms | {"total": sum(self.weights[name] * term for name, term in terms.items())}


def focal_sum(logits: Tensor, heatmap: Tensor) -> Tensor:
    """Return the focal loss of CornerNet (Law and Deng, ECCV 2018, eq. 1), alpha 2 and beta 4, summed over all cells.

    With p = sigmoid(logit): -(1-p)^2 log(p) where the heat map is 1, -(1-g)^4 p^2 log(1-p) where it is g < 1, nothing
    where it is negative. log(p) and log(1-p) are -softplus(-logit) and -softplus(logit), which stay finite.

    Args:
        logits: (B, C, h, w), any floating type.
        heatmap: (B, C, h, w), in [0, 1], or negative in cells to ignore.
    """
    logits = logits.float()
    heatmap = heatmap.float()
    is_center = heatmap == 1
    probability = logits.sigmoid()
    # sigmoid(-x) and not 1 - sigmoid(x): the latter rounds to 0, and its gradient with it, long before the former.
    at_center = torch.sigmoid(-logits).square() * functional.softplus(-logits)
    elsewhere = (1 - heatmap).pow(4) * probability.square() * functional.softplus(logits)
    return torch.where(is_center, at_center, torch.where(heatmap < 0, 0.0, elsewhere)).sum()


def _focal_divisor(num_centers: Tensor) -> Tensor:
    return FEW_CENTERS + (num_centers - FEW_CENTERS).abs()
