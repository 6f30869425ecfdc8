"""The training loss: focal loss on the centres, smooth L1 on vectors and offsets, cross-entropy on the orientation.

Everything is computed in float32 from logits, whatever the type of the maps, so that no logit gives log(0).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.better_box import better_boxes, with_moment_sizes
from models.box_distance import gaussian_distance
from models.ctrbox import Maps, MapsAtCells
from models.positives import BatchTargets, Positives, find_positives

# Below this many centres in a batch the focal sum is divided by more, not by less; see `BBAVectorsLoss`.
FEW_CENTERS = 10


class BBAVectorsLoss(nn.Module):
    """Weighted sum of the four terms of Yi et al., WACV 2021, section 3.3.

    The focal sum runs over all cells and is divided by the number of centres in the batch, n, if n >= 10, and by
    20 - n otherwise. The published code does not divide at all where n = 0: an empty batch there weighs 372 against
    5.5 of one with 100 objects, and throws the weights about. The background's part of the sum hardly depends on n,
    so max(n, 1) would leave the same jump, and even max(n, 10) leaves an empty batch a longer gradient than one with
    ten objects (38 against 32 at 512 x 512, one class, random weights): no centre pulls against the background there.
    Reflected at ten, the divisor is continuous, and the gradient of an empty batch is the shorter one at every size.
    The other terms are means over the positives, weighted, and 0 where there are none; `box`, which the paper does
    not have, is the distance of the decoded boxes as Gaussians (`models/box_distance.py`).

    Args:
        hm_weight, wh_weight, reg_weight, cls_theta_weight, box_weight: weights of the terms in the sum; a weight of 0
            leaves the box term out. Published: 1, 1, 1, 1, 0.
        vector_beta: where smooth L1 turns from square to straight, cells; 0 is L1. Published: 1.
        rotated_weight: weight of rotated objects in `cls_theta`. The decoder calls a box rotated above 0.8, so with a
            weight of 1 one is horizontal even where rotated is likelier; with 4 the two meet at a half. Published: 1.
        positive_radius: cells around a centre's that are trained as well, see `find_positives`. Published: 0.
        better_box: teach `cls_theta` which of the decoder's two boxes is the better one, and make the horizontal one
            better, see `models/better_box.py`. Published: False, the tilt of the object and its outer box.
    """

    def __init__(
        self,
        hm_weight: float = 1.0,
        wh_weight: float = 1.0,
        reg_weight: float = 1.0,
        cls_theta_weight: float = 1.0,
        box_weight: float = 0.0,
        vector_beta: float = 1.0,
        rotated_weight: float = 1.0,
        positive_radius: int = 0,
        better_box: bool = False,
    ) -> None:
        super().__init__()
        self.weights = {"hm": hm_weight, "wh": wh_weight, "reg": reg_weight, "cls_theta": cls_theta_weight}
        if box_weight:
            self.weights["box"] = box_weight
        self.vector_beta = vector_beta
        # A buffer: made anew from a number in every step, it would wait for all that a GPU has still to do.
        self.register_buffer("rotated_weight", torch.tensor(rotated_weight), persistent=False)
        self.positive_radius = positive_radius
        self.better_box = better_box

    def positives(self, targets: BatchTargets) -> Positives:
        """List the cells to train in; `CTRBOX.forward` can be asked for these alone."""
        return find_positives(targets, self.positive_radius)

    def forward(
        self,
        maps: Maps | MapsAtCells,
        targets: BatchTargets,
        positives: Positives | None = None,
        totals: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms `hm`, `wh`, `reg`, `cls_theta` [, `box`] (unweighted) and their weighted sum `total`.

        Args:
            maps: the network's output for B images, whole or at the positives' cells.
            targets: as in `BatchTargets`.
            positives: what `self.positives(targets)` returned, where it is at hand.
            totals: (2,) number of objects and sum of weights to divide by, where the batch is a part of a larger one
                (accumulated or distributed): the terms of the parts then add up to those of the whole.
        """
        positives = self.positives(targets) if positives is None else positives
        return self.divided(self.sums(maps, targets, positives), positives.totals if totals is None else totals)

    def sums(self, maps: Maps | MapsAtCells, targets: BatchTargets, positives: Positives) -> dict[str, Tensor]:
        """Return the terms before they are divided, and without their sum; those of the parts of a batch add up."""
        maps = maps.at(positives.cells) if isinstance(maps, Maps) else maps
        weight = positives.weight[:, None]
        wh, reg, cls_theta = (part.float() for part in maps[1:])
        is_rotated, theta_weight = positives.cls_theta, weight
        if self.better_box:
            positives = positives._replace(wh=with_moment_sizes(positives.wh))
            is_rotated, stake = better_boxes(wh, reg, positives.wh, positives.reg)
            theta_weight = weight * stake
        sums = {
            "hm": focal_sum(maps.hm, targets.hm),
            "wh": (weight * self._distance(wh, positives.wh)).sum(),
            "reg": (weight * self._distance(reg, positives.reg)).sum(),
            "cls_theta": functional.binary_cross_entropy_with_logits(
                cls_theta,
                is_rotated,
                weight=theta_weight,
                reduction="sum",
                pos_weight=self.rotated_weight.to(cls_theta.device),
            ),
        }
        if "box" in self.weights:
            distance = gaussian_distance(wh, reg, positives.wh, positives.reg)
            sums["box"] = (positives.weight * distance).sum()
        return sums

    def divided(self, sums: Mapping[str, Tensor], totals: Tensor) -> dict[str, Tensor]:
        """Return the terms and their weighted sum, of what `sums` returned, for (2,) number of objects and sum of
        weights."""
        count, weight_sum = totals
        divisor = weight_sum.clamp(min=1)
        divisors = {"hm": _focal_divisor(count), "wh": 10 * divisor, "reg": 2 * divisor}
        terms = {name: value / divisors.get(name, divisor) for name, value in sums.items()}
        return terms | {"total": sum(self.weights[name] * term for name, term in terms.items())}

    def _distance(self, values: Tensor, targets: Tensor) -> Tensor:
        return functional.smooth_l1_loss(values, targets, reduction="none", beta=self.vector_beta)


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
    # Both branches are one function of the logit of being wrong. sigmoid(-x) and not 1 - sigmoid(x): the latter rounds
    # to 0, and its gradient with it, long before the former.
    is_ignored = heatmap < 0
    wrong = torch.where(is_center, -logits, torch.where(is_ignored, 0.0, logits))  # 0 times infinity would be no number
    weight = torch.where(is_center, 1.0, torch.where(is_ignored, 0.0, (1 - heatmap).pow(4)))
    return (weight * wrong.sigmoid().square() * functional.softplus(wrong)).sum()


def _focal_divisor(num_centers: Tensor) -> Tensor:
    return FEW_CENTERS + (num_centers - FEW_CENTERS).abs()
