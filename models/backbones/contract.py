"""The contract of a backbone: four maps at fixed strides, and channels that are declared, not discovered."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models.freezing import Freezable


class Backbone(Freezable):
    """A base network: an image batch in, the maps C1, C2, C3, C4 out.

    A subclass sets `out_channels` (and `strides`, where they differ) and overrides `forward` (and, to be freezable,
    `stage_modules`). Nothing else in the project writes down a channel number: the combination modules and the heads
    are derived from these two attributes.

    Attributes:
        out_channels: channels of C1, C2, C3, C4.
        strides: input pixels per cell of C1, C2, C3, C4; C1 is at 4, the stride of the targets.
        left_out: beginnings of the names in an ImageNet file that come after C4 and have no place here.
    """

    out_channels: tuple[int, int, int, int]
    strides: tuple[int, ...] = (4, 8, 16, 32)
    left_out: tuple[str, ...] = ("fc.", "classifier.")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W), H and W multiples of 32, to C1 .. C4, each (B, out_channels[i], H/s, W/s)."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(images) -> (C1, C2, C3, C4)")

    def stage_modules(self) -> Sequence[nn.Module]:
        """List five parts from the input on: the stem, and what leads from there to C1, C2, C3 and C4."""
        raise NotImplementedError(f"{type(self).__name__} has no stage_modules(), and so nothing that can be frozen")
