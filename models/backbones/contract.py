"""The contract of a backbone: four maps at fixed strides, and channels that are declared, not discovered."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.freezing import Freezable

_PROBE_HW = (64, 96)  # the smallest input that tells height from width and holds every stride of the contract twice


class BackboneError(ValueError):
    """A backbone that does not keep the contract, or cannot be had here; the message says why and what to do."""


class Backbone(Freezable):
    """A base network: an image batch in, the maps C1, C2, C3, C4 out.

    A subclass sets `out_channels` (and `strides`, where they differ). A network of five parts in a row hands these to
    the constructor, and is done; any other overrides `forward` (and, to be freezable, `stage_modules`). Nothing else in
    the project writes down a channel number: the combination modules and the heads are derived from these attributes.

    Args:
        stages: the stem, and what leads from there to C1, C2, C3 and C4; or none.

    Attributes:
        out_channels: channels of C1, C2, C3, C4.
        strides: input pixels per cell of C1, C2, C3, C4; C1 is at 4, the stride of the targets, and each next stride is
            the one before or its double.
        left_out: beginnings of the names in an ImageNet file that come after C4 and have no place here.
    """

    out_channels: tuple[int, int, int, int]
    strides: tuple[int, ...] = (4, 8, 16, 32)
    left_out: tuple[str, ...] = ("fc.", "classifier.")

    def __init__(self, *stages: nn.Module) -> None:
        super().__init__()
        if stages:
            if len(stages) != 5:
                raise BackboneError(
                    f"{type(self).__name__} is made of {len(stages)} stages; it takes 5: the stem, and what leads to "
                    "C1, C2, C3 and C4"
                )
            self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W), H and W multiples of 32, to C1 .. C4, each (B, out_channels[i], H/s, W/s)."""
        if not hasattr(self, "stages"):
            raise NotImplementedError(f"{type(self).__name__} has no forward(images) -> (C1, C2, C3, C4)")
        x, maps = images, []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps[1:])

    def stage_modules(self) -> Sequence[nn.Module]:
        """List five parts from the input on: the stem, and what leads from there to C1, C2, C3 and C4.

        Raises BackboneError where they are not known; nothing can be frozen then.
        """
        if not hasattr(self, "stages"):
            raise BackboneError(f"{type(self).__name__} has no stage_modules(), and so nothing that can be frozen")
        return list(self.stages)


def init_convolutions(network: nn.Module) -> None:
    """Initialise as torchvision does: He et al. (ICCV 2015) for ReLU, fan-out; batch norms are 1 and 0 by default.

    Weights without memory (on the meta device) are passed over: to draw them takes torch a second of imports.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def check_declared(backbone: Backbone, name: str) -> None:
    """Raises BackboneError unless `out_channels` and `strides` are what the contract allows."""
    channels, strides = getattr(backbone, "out_channels", None), backbone.strides
    is_four = isinstance(channels, Sequence) and len(channels) == 4
    if not is_four or not all(type(number) is int and number > 0 for number in channels):
        raise BackboneError(f"backbone '{name}': out_channels is {channels!r}; give four numbers, of C1 to C4")
    is_four = isinstance(strides, Sequence) and len(strides) == 4
    if not is_four or strides[0] != 4 or any(b not in (a, 2 * a) for a, b in zip(strides, strides[1:], strict=False)):
        raise BackboneError(
            f"backbone '{name}': strides is {strides!r}; the first is 4, and each next is the one before or its double"
        )


def check_maps(backbone: Backbone, name: str, hw: tuple[int, int] = _PROBE_HW) -> None:
    """Run the backbone on one black image of hw pixels, in evaluation, on the device that it is on.

    Raises:
        BackboneError: the maps are not what `out_channels` and `strides` promise; with both numbers.
    """
    check_declared(backbone, name)
    first = next(backbone.parameters(), None)
    was_training = backbone.training
    try:
        with torch.no_grad():
            maps = backbone.eval()(torch.zeros(1, 3, *hw, device=None if first is None else first.device))
    finally:
        backbone.train(was_training)
    if not isinstance(maps, Sequence) or len(maps) != 4 or not all(isinstance(found, Tensor) for found in maps):
        what = f"{len(maps)} things" if isinstance(maps, Sequence) else f"a {type(maps).__name__}"
        raise BackboneError(f"backbone '{name}': forward returned {what}; it returns four maps, C1 to C4")
    for number, (found, channels, stride) in enumerate(zip(maps, backbone.out_channels, backbone.strides, strict=True)):
        where, expected = f"backbone '{name}': C{number + 1}", (hw[0] // stride, hw[1] // stride)
        if found.ndim != 4 or len(found) != 1:
            raise BackboneError(f"{where} is {tuple(found.shape)}; it is (1, channels, height, width) for one image")
        if found.shape[1] != channels:
            raise BackboneError(f"{where} has {found.shape[1]} channels; out_channels promises {channels}")
        if tuple(found.shape[2:]) != expected:
            raise BackboneError(
                f"{where} is {found.shape[2]} x {found.shape[3]} (height x width) for an image of {hw[0]} x {hw[1]}; "
                f"its stride of {stride} promises {expected[0]} x {expected[1]}"
            )
