"""Layer norm of maps: over the channels of each cell alone."""

from __future__ import annotations

from torch import Tensor, nn


class CellNorm(nn.LayerNorm):
    """Bring the channels of each cell to mean 0 and deviation 1, then scale and shift each channel: (B, c, h, w) to the
    same (Ba et al., "Layer Normalization", 2016; of convolutions Liu et al., CVPR 2022).

    What a cell becomes does not hang on other cells, as with a batch norm: it is the same in training and afterwards,
    however few the pictures of a batch, and whether a head is computed on the whole map or in chosen cells.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__(num_channels)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
