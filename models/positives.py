"""Positives: the cells in which vectors, offset and orientation are trained, and what they should say there.

The published training reads these three in one cell an object, the centre's. Its neighbours see the object as well,
and the peak of an untrained heat map often falls on one of them; so they are asked for the same box, seen from
where they are, with a weight that falls off with the distance. TTFNet (Liu et al., AAAI 2020, section 4) trains
CenterNet's sizes so and needs a tenth of the time.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

SIGMA = 0.7  # cells


class BatchTargets(Protocol):
    """What the loss reads: any object with these attributes. Lengths in cells of the stride-4 map."""

    hm: Tensor  # (B, C, h, w) in [0, 1], 1 in the cells of centres; negative in cells to ignore
    wh: Tensor  # (B, M, 10) as `Maps.wh`
    reg: Tensor  # (B, M, 2)
    cls_theta: Tensor  # (B, M, 1), 1 for rotated
    ind: Tensor  # (B, M) int64, y * w + x of the centre's cell
    mask: Tensor  # (B, M) bool, which of the M slots hold an object


class Cells(NamedTuple):
    """P cells of a batch of maps: image, row and column of each, (P,) int64."""

    image: Tensor
    y: Tensor
    x: Tensor


class Positives(NamedTuple):
    """The cells to train in and their targets, float32; `totals` is what the loss is divided by."""

    cells: Cells
    wh: Tensor  # (P, 10)
    reg: Tensor  # (P, 2) from the cell's integer position to the object's centre; beyond [0, 1) in a neighbour
    cls_theta: Tensor  # (P, 1)
    weight: Tensor  # (P,) in (0, 1], 1 in the cell of a centre
    totals: Tensor  # (2,) number of objects, sum of the weights; those of the parts of a batch add up


def find_positives(targets: BatchTargets, radius: int = 0) -> Positives:
    """List the centres' cells and, where `radius` > 0, their (2 radius + 1)^2 neighbourhoods.

    A cell that several objects claim belongs to the one whose centre is nearest to the cell's middle; cells outside
    the map fall away.

    Args:
        targets: of B images.
        radius: in cells; 0 is the published choice, the centres' cells alone.

    The weight at distance d from the centre's cell is exp(-d^2 / (2 SIGMA^2)).
    """
    height, width = targets.hm.shape[-2:]
    image, slot = targets.mask.nonzero(as_tuple=True)
    cell = targets.ind[image, slot]
    y, x = cell // width, cell % width
    wh, reg, cls_theta = (part[image, slot].float() for part in (targets.wh, targets.reg, targets.cls_theta))
    weight = torch.ones(len(image), device=image.device)
    count = targets.mask.sum().float()
    if radius == 0 or len(image) == 0:
        return Positives(Cells(image, y, x), wh, reg, cls_theta, weight, torch.stack((count, count)))
    around = torch.arange(-radius, radius + 1, device=image.device)
    step_y, step_x = (grid.flatten() for grid in torch.meshgrid(around, around, indexing="ij"))
    steps = torch.stack((step_x, step_y), dim=-1).float()
    all_y, all_x = y[:, None] + step_y, x[:, None] + step_x
    all_reg = reg[:, None] - steps
    place = (image[:, None] * height + all_y) * width + all_x
    inside = (all_y >= 0) & (all_y < height) & (all_x >= 0) & (all_x < width)
    chosen = _nearest_claims(place.flatten(), (all_reg - 0.5).square().sum(-1).flatten(), inside.flatten())
    owner = chosen // len(steps)
    weight = torch.exp(-steps.square().sum(-1) / (2 * SIGMA**2))[chosen % len(steps)]
    cells = Cells(image[owner], all_y.flatten()[chosen], all_x.flatten()[chosen])
    totals = torch.stack((count, weight.sum()))
    return Positives(cells, wh[owner], all_reg.flatten(0, 1)[chosen], cls_theta[owner], weight, totals)


def _nearest_claims(place: Tensor, distance: Tensor, valid: Tensor) -> Tensor:
    """Return, of the valid claims (Q,) on each place (Q,), the number of the one with the least distance (Q,)."""
    claims = valid.nonzero()[:, 0]
    claims = claims[distance[claims].argsort(stable=True)]
    claims = claims[place[claims].argsort(stable=True)]
    of_place = place[claims]
    first = torch.ones_like(of_place, dtype=torch.bool)
    first[1:] = of_place[1:] != of_place[:-1]
    return claims[first]
