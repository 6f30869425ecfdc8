"""MobileNetV2 (Sandler et al., CVPR 2018), cut after its last inverted residual, with torchvision's parameter names."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from models.backbones.contract import Backbone, init_convolutions

# Table 2 of the paper: expansion, channels, blocks, stride of the first block.
_SETTINGS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_MAP_ENDS = (3, 6, 13, 17)  # C1 .. C4 come after these blocks, the last of strides 4, 8, 16 and 32


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter by a depthwise 3x3, narrow by a linear 1x1: (B, c_in, h, w) -> (B, c_out, h/s, w/s)."""

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        widen = [] if expansion == 1 else [_conv_bn_relu6(c_in, hidden, 1)]
        self.conv = nn.Sequential(
            *widen,
            _conv_bn_relu6(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, c_out, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        self.has_shortcut = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, with the shortcut added where the shapes allow one."""
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


class MobileNetV2(Backbone):
    """MobileNetV2 of width 1 without the last 1x1 convolution and the classifier."""

    left_out = (*Backbone.left_out, "features.18.")

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [_conv_bn_relu6(3, 32, 3, stride=2)]
        widths = [32]
        for expansion, c_out, num_blocks, first_stride in _SETTINGS:
            for i in range(num_blocks):
                blocks.append(InvertedResidual(widths[-1], c_out, first_stride if i == 0 else 1, expansion))
                widths.append(c_out)
        self.features = nn.Sequential(*blocks)
        self.out_channels = tuple(widths[end] for end in _MAP_ENDS)
        init_convolutions(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W) to the maps after blocks 3, 6, 13 and 17."""
        x, maps = images, []
        for i, block in enumerate(self.features):
            x = block(x)
            if i in _MAP_ENDS:
                maps.append(x)
        return tuple(maps)

    def stage_modules(self) -> list[nn.Module]:
        """List the first convolution with the first block, and the blocks up to C1, C2, C3 and C4."""
        bounds = (0, 2, *(end + 1 for end in _MAP_ENDS))
        return [self.features[first:last] for first, last in pairwise(bounds)]


def _conv_bn_relu6(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU6(inplace=True),
    )
