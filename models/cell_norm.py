"""Layer norm of maps: over the channels of each cell alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class CellNorm(nn.LayerNorm):
    """Bring the channels of each cell to mean 0 and deviation 1, then scale and shift each channel: (B, c, h, w) to the
    same (Ba et al., "Layer Normalization", 2016; of convolutions Liu et al., CVPR 2022).

    What a cell becomes does not hang on other cells, as with a batch norm: it is the same in training and afterwards,
    however few the pictures of a batch, and whether a head is computed on the whole map or in chosen cells.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__(num_channels)

    def forward(self, x: Tensor) -> Tensor:
        cells = x.permute(0, 2, 3, 1)
        if not x.is_cuda:
            return super().forward(cells).permute(0, 3, 1, 2)
        # There autocast would do it in float32, and keep input and output as such for the gradient: twice the memory,
        # for nothing, since sums are in float32 anyway.
        with torch.autocast("cuda", enabled=False):
            return _of_one_type(cells, self).permute(0, 3, 1, 2)


def _of_one_type(cells: Tensor, norm: nn.LayerNorm) -> Tensor:
    weight, bias = norm.weight.to(cells.dtype), norm.bias.to(cells.dtype)
    return functional.layer_norm(cells, norm.normalized_shape, weight, bias, norm.eps)
