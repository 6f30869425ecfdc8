"""Test-time augmentation: what a network says of pictures and of their mirror images, as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.ctrbox import Maps

# Axes along which the pictures of a view are mirrored, by the number of views.
VIEWS: dict[int, tuple[tuple[int, ...], ...]] = {1: ((),), 2: ((), (-1,)), 4: ((), (-1,), (-2,), (-2, -1))}


def maps_of_views(model: nn.Module, images: Tensor, num_views: int = 1) -> Maps:
    """The mean maps of so many views (1: the images alone; 2: also from right to left; 4: also upside down, and both),
    one view after the other: in that many times the time, and the memory of one.

    The mean is of the logits of `hm` and `cls_theta`, which tell apart what probabilities round to 1. Which side of a
    box is called t may differ between views, near the axes above all; sides go together that lie together.

    Args:
        model: images (B, 3 or as many channels, H, W) -> `Maps`. num_views: a key of `VIEWS`.

    Raises ValueError for another number.
    """
    if num_views not in VIEWS:
        raise ValueError(f"num_views is {num_views}; it can be {', '.join(map(str, VIEWS))}")
    first = total = None
    for axes in VIEWS[num_views]:
        maps = mirrored_maps(model(images.flip(axes) if axes else images), axes)
        if first is None:
            first = total = maps
            continue
        maps = maps._replace(wh=_renamed(maps.wh, first.wh))
        total = Maps(*(one + other for one, other in zip(total, maps, strict=True)))
    return total if num_views == 1 else Maps(*(values / num_views for values in total))


class ViewedNetwork(nn.Module):
    """A network with the mean maps of so many views in place of its own, for a file that is exported."""

    def __init__(self, network: nn.Module, num_views: int) -> None:
        super().__init__()
        self.network, self.num_views = network, num_views

    def forward(self, images: Tensor) -> Maps:
        """Normalised images (B, channels, H, W) -> maps."""
        return maps_of_views(self.network, images, self.num_views)


def mirrored_maps(maps: Maps, axes: tuple[int, ...]) -> Maps:
    """What the maps say of the picture that is mirrored along the axes (-1: from right to left, -2: upside down)."""
    if not axes:
        return maps
    hm, wh, reg, cls_theta = (values.float().flip(axes) for values in maps)
    vectors, size = wh[:, :8].unflatten(1, (2, 2, 2)), wh[:, 8:]  # (t, r), (b, l), each x and y
    for axis in axes:
        # Upside down the vectors of the quadrants up-left, up-right, down-right, down-left are l, b, r, t, and from
        # right to left r, t, l, b.
        vectors = vectors.flip((2,) if axis == -1 else (1, 2))
        x, y = vectors.unbind(3)
        vectors = torch.stack((-x, y) if axis == -1 else (x, -y), 3)
        column, row = reg.unbind(1)
        reg = torch.stack((1 - column, row) if axis == -1 else (column, 1 - row), 1)
    return Maps(hm, torch.cat((vectors.flatten(1, 3), size), 1), reg, cls_theta)


def _renamed(wh: Tensor, other: Tensor) -> Tensor:
    """`wh` (B, 10, h, w) with t, r, b, l named in each cell such that they lie nearest to those of the other map: the
    vectors of an upright box point up, right, down, left, those of any other into the quadrants, and where a network
    does not know which it is, its views may say either."""
    vectors, others = wh[:, :8].unflatten(1, (4, 2)), other[:, :8].unflatten(1, (4, 2)).float()
    ways = torch.stack([vectors.roll(turn, 1) for turn in range(4)], 1)  # (B, 4, 4, 2, h, w)
    nearest = (ways - others[:, None]).square().sum((2, 3)).argmin(1)  # (B, h, w)
    index = nearest[:, None, None, None].expand(-1, 1, 4, 2, -1, -1)
    return torch.cat((ways.gather(1, index).flatten(1, 3), wh[:, 8:]), 1)
