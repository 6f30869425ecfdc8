"""Heads at the peaks alone: what an exported file computes of three of the four heads, at a twentieth of their cost.

The decoder reads vectors, offset and orientation in K cells of some twenty thousand, and to compute them everywhere is
a quarter of the network's time. `models.sparse_heads` does the same for training, where the cells are known before.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.cell_norm import CellNorm
from models.ctrbox import CTRBOX


class PeakMaps(NamedTuple):
    """What `decode` takes in place of `Maps`: hm (B, C, h, w), the features (B, c, h, w) that the other heads read, and
    these heads."""

    hm: Tensor
    features: Tensor
    heads: tuple[PeakHead, PeakHead, PeakHead]

    def in_cells(self, cell: Tensor) -> tuple[Tensor, ...]:
        """What wh, reg and cls_theta say in the cells (B, K), numbered row by row: each (B, K, channels) float32."""
        return tuple(head(self.features, cell) for head in self.heads)


class PeakNetwork(nn.Module):
    """A CTRBOX in evaluation mode that leaves all heads but `hm` to the decoder; the boxes are the same."""

    def __init__(self, network: CTRBOX) -> None:
        super().__init__()
        self.network = network
        self.wh, self.reg, self.cls_theta = (PeakHead(head) for head in (network.wh, network.reg, network.cls_theta))

    def forward(self, images: Tensor) -> PeakMaps:
        """Normalised images (B, channels, H, W) -> maps."""
        features = self.network.features(images)
        return PeakMaps(self.network.hm(features), features, (self.wh, self.reg, self.cls_theta))


class PeakHead(nn.Module):
    """A head of 3x3 convolution, [norm,] ReLU and a convolution of an odd kernel, both padded with zeros, as two
    matrices."""

    def __init__(self, head: nn.Sequential) -> None:
        super().__init__()
        first, *between, last = head
        self.norm: nn.LayerNorm | None = None
        for layer in between:
            if isinstance(layer, nn.BatchNorm2d):
                first = fuse_conv_bn_eval(first.eval(), layer.eval())
            elif isinstance(layer, CellNorm):
                self.norm = nn.LayerNorm(layer.normalized_shape)
                self.norm.load_state_dict(layer.state_dict())
        self.reach = last.kernel_size[0] // 2
        for name, convolution in (("first", first), ("last", last)):
            # As a patch is laid out: rows, columns, channels.
            matrix = convolution.weight.detach().permute(2, 3, 1, 0).flatten(0, 2)
            self.register_buffer(f"{name}_matrix", matrix.clone())
            self.register_buffer(f"{name}_bias", convolution.bias.detach().clone())

    def forward(self, features: Tensor, cell: Tensor) -> Tensor:
        """Features (B, c, h, w), cells (B, K) numbered row by row -> (B, K, channels) float32."""
        (batch, channels, height, width), reach = features.shape, self.reach
        border = reach + 1
        table = functional.pad(features, (border,) * 4).permute(0, 2, 3, 1).reshape(-1, channels)
        y, x = torch.div(cell, width, rounding_mode="trunc"), cell % width
        # The cells around, reach in each direction, whose hidden values the last convolution reads.
        steps = torch.arange(-reach, reach + 1)
        around_y = y[..., None] + steps.repeat_interleave(2 * reach + 1)
        around_x = x[..., None] + steps.repeat(2 * reach + 1)
        corner = torch.arange(3)
        padded_width = width + 2 * border
        image = torch.arange(batch)[:, None, None] * ((height + 2 * border) * padded_width)
        start = image + (around_y + reach) * padded_width + around_x + reach
        rows = start[..., None] + (corner[:, None] * padded_width + corner).flatten()
        patches = table[rows.flatten()].reshape(-1, 9 * channels)
        hidden = patches @ self.first_matrix + self.first_bias
        hidden = functional.relu(hidden if self.norm is None else self.norm(hidden))
        # Beyond the map's border there is the padding of the last convolution, which is zero.
        inside = (around_y >= 0) & (around_y < height) & (around_x >= 0) & (around_x < width)
        hidden = hidden * inside.reshape(-1, 1).to(hidden.dtype)
        values = hidden.reshape(-1, self.last_matrix.shape[0]) @ self.last_matrix + self.last_bias
        return values.reshape(batch, -1, self.last_matrix.shape[1]).float()
