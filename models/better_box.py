"""Which of the decoder's two boxes is the better one, and by how much: what `cls_theta` and the horizontal box can be
taught instead of the tilt and the outer box of Yi et al., WACV 2021, section 3.2.

Near the axes the four vectors cannot be trusted: where an object is turned through one, top becomes right, and a
network that cannot tell the angle to a few degrees says something between the two, which is a box at 45 degrees. The
paper calls objects horizontal that fill more than 0.95 of their outer box, which at 2 : 1 are those within 1.2
degrees; the network errs so much farther away, and how far depends on the pictures and on how long it has learnt.
"""

from __future__ import annotations

import torch
from torch import Tensor

from DOTA_devkit.boxes import horizontal_quads, rectangle_quads
from models.box_distance import rectangle_distance

STAKE = 6.0  # brings the orientation's term to about what it is by the tilt: one box is seldom better by more than 0.3


@torch.no_grad()
def better_boxes(wh: Tensor, reg: Tensor, target_wh: Tensor, target_reg: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the box by the vectors is nearer to the truth than the horizontal one, (P, 1) in {0, 1}, and the weight
    of that, (P, 1): `STAKE` times how much nearer. Between equally good boxes nothing is at stake, and what is learnt
    so is the choice that is better on the average, not the one that is better more often.

    Args:
        wh, reg: (P, 10) and (P, 2), as the network says.
        target_wh, target_reg: the truth; of `target_wh` the vectors.
    """
    rotated = rectangle_quads(reg, wh[:, :8].unflatten(1, (4, 2)), xp=torch)
    horizontal = horizontal_quads(reg, wh[:, 8:].clamp(min=0), xp=torch)
    by_vectors, by_sizes = (rectangle_distance(quads, target_wh, target_reg) for quads in (rotated, horizontal))
    return (by_vectors < by_sizes).float()[:, None], STAKE * (by_vectors - by_sizes).abs()[:, None]


def with_moment_sizes(wh: Tensor) -> Tensor:
    """Targets (P, 10) with width and height of the horizontal box that has the rectangle's second moments along both
    axes, in place of its outer box: 2 : 1 at 10 degrees, their IoU with the rectangle is 0.83 and 0.70; at 0 degrees
    the two are the same."""
    top, right, bottom, left = wh[:, :8].unflatten(1, (4, 2)).unbind(1)
    return torch.cat((wh[:, :8], torch.hypot(right - left, bottom - top)), dim=1)
