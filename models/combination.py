"""The combination module, which merges a coarse map into the next finer one, and the channel table of the three.

Yi et al., WACV 2021, section 3.1. Parameter names are those of the published weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.recompute import recomputed


class CombinationModule(nn.Module):
    """Bring a coarse map (c_low channels) to the size and channels of a finer one (c_up) and merge the two.

    Args:
        c_low: channels of the coarse map.
        c_up: channels of the fine map and of the output.
    """

    def __init__(self, c_low: int, c_up: int) -> None:
        super().__init__()
        self.up = _conv_norm_relu(c_low, c_up, 3)
        self.cat_conv = _conv_norm_relu(2 * c_up, c_up, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Merge coarse (B, c_low, h', w') into fine (B, c_up, h, w): (B, c_up, h, w)."""
        enlarge = partial(functional.interpolate, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        up = _run(self.up, enlarge, coarse)
        return _run(self.cat_conv, lambda *maps: torch.cat(maps, dim=1), fine, up)


def channel_table(out_channels: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Return (c_low, c_up) of the three modules, from the channels of C1 .. C4 and nothing else."""
    c1, c2, c3, c4 = out_channels
    return {"dec_c4": (c4, c3), "dec_c3": (c3, c2), "dec_c2": (c2, c1)}


def _conv_norm_relu(c_in: int, c_out: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))


def _run(layers: nn.Sequential, prepare: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """Run a convolution and what follows on the prepared maps, which are as large as all that the module keeps
    besides, and so are prepared again for the gradient."""
    conv, *rest = layers
    x = recomputed(lambda *inputs: conv(prepare(*inputs)), *maps)
    for layer in rest:
        x = layer(x)
    return x
