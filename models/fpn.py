"""The feature pyramid neck: the light alternative to the combination modules, one width from top to bottom.

Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, section 3: lateral 1x1 convolutions, nearest
up-sampling, sums and 3x3 smoothing. Only the stride-4 level is made, for the heads read no other, so each sum is
smoothed on its way down. Batch norms, as in the combination modules, let it learn from random weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class FPN(nn.Module):
    """Merge C1 .. C4 into one map at the stride of C1.

    Args:
        out_channels: channels of C1 .. C4.
        width: channels of every map inside and of the output, at least 1.

    Raises:
        ValueError: a width below 1.
    """

    def __init__(self, out_channels: Sequence[int], width: int) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"the width of the neck must be at least 1, not {width}")
        self.lateral = nn.ModuleList(_conv_norm(channels, width, 1) for channels in out_channels)
        self.smooth = nn.ModuleList(
            nn.Sequential(_conv_norm(width, width, 3), nn.ReLU(inplace=True)) for _ in out_channels[:-1]
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Merge C1 .. C4, (B, c_i, h_i, w_i) from fine to coarse: (B, width, h_1, w_1)."""
        *finer, coarsest = (lateral(c) for lateral, c in zip(self.lateral, maps, strict=True))
        x = coarsest
        for smooth, fine in zip(reversed(self.smooth), reversed(finer), strict=True):
            # To the size of the finer map, not times two: a backbone may keep its resolution from one map to the next.
            x = smooth(fine + functional.interpolate(x, size=fine.shape[-2:], mode="nearest"))
        return x


def _conv_norm(c_in: int, c_out: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))
