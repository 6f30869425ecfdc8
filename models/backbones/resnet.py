"""The ResNet family as one parametrised class, cut after its last stage, with torchvision's parameter names.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016); the bottleneck has its stride in the 3x3
convolution ("ResNet v1.5"), as in torchvision's published weights. Groups and width give ResNeXt (Xie et al., CVPR
2017) and Wide ResNet (Zagoruyko and Komodakis, BMVC 2016), dilation gives the "DC5" variant of DETR.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from models.backbones.contract import Backbone, init_convolutions
from models.recompute import recomputed


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (B, c_in, h, w) -> (B, planes, h/stride, w/stride)."""

    expansion = 1

    def __init__(
        self, c_in: int, planes: int, stride: int, groups: int = 1, width_per_group: int = 64, dilation: int = 1
    ) -> None:
        super().__init__()
        if groups != 1 or width_per_group != 64 or dilation != 1:
            raise ValueError("BasicBlock has neither groups, nor another width, nor dilation; use Bottleneck")
        self.conv1 = nn.Conv2d(c_in, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _shortcut(c_in, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(shortcut(x) + residual(x))."""
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        return self.relu(residual + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut: (B, c_in, h, w) -> (B, 4 * planes, h/stride, w/stride)."""

    expansion = 4

    def __init__(
        self, c_in: int, planes: int, stride: int, groups: int = 1, width_per_group: int = 64, dilation: int = 1
    ) -> None:
        super().__init__()
        width = planes * width_per_group // 64 * groups
        c_out = planes * self.expansion
        self.conv1 = _unset_conv(c_in, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _unset_conv(width, width, 3, stride, dilation, dilation, groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _unset_conv(width, c_out, 1)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(c_in, c_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(shortcut(x) + residual(x))."""
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        return self.relu(residual + (x if self.downsample is None else self.downsample(x)))


class ResNet(Backbone):
    """A residual network without average pool and classifier.

    Args:
        block: `BasicBlock` (18 and 34 layers) or `Bottleneck`.
        layers: blocks in each of the four stages.
        groups: groups of the 3x3 convolutions (ResNeXt).
        width_per_group: channels of a group where planes are 64 (ResNeXt, Wide ResNet).
        replace_stride_with_dilation: for stages 2, 3 and 4: keep the resolution and dilate instead.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: tuple[int, int, int, int],
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: tuple[bool, bool, bool] = (False, False, False),
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

        c_in, total_stride, dilation, strides = 64, 4, 1, []
        for stage, (num_blocks, dilate) in enumerate(zip(layers, (False, *replace_stride_with_dilation), strict=True)):
            planes = 64 << stage
            stride = 1 if stage == 0 or dilate else 2
            # The first block of a dilated stage still has the dilation of the stage before, as in torchvision.
            first = block(c_in, planes, stride, groups, width_per_group, dilation)
            c_in = planes * block.expansion
            dilation, total_stride = dilation * (2 if dilate else 1), total_stride * stride
            rest = (block(c_in, planes, 1, groups, width_per_group, dilation) for _ in range(1, num_blocks))
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *rest))
            strides.append(total_stride)

        self.strides = tuple(strides)
        self.out_channels = tuple((64 << stage) * block.expansion for stage in range(4))
        init_convolutions(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W) to the outputs of the four stages."""
        c1 = self.layer1(recomputed(self._pool, self.conv1(images), norm=self.bn1))
        c2 = self.layer2(c1)
        c3 = self.layer3(c2)
        c4 = self.layer4(c3)
        return c1, c2, c3, c4

    def _pool(self, x: Tensor) -> Tensor:
        """End the stem, at the finest resolution of all: half of its memory is what goes into the pooling."""
        return self.maxpool(self.relu(self.bn1(x)))

    def stage_modules(self) -> list[nn.Module]:
        """List the stem and the four layers."""
        return [nn.ModuleList([self.conv1, self.bn1]), self.layer1, self.layer2, self.layer3, self.layer4]


def _unset_conv(
    c_in: int, c_out: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Make a convolution whose weights are still to be set: drawing them twice doubles the time to build 90 million."""
    sizes = (c_in, c_out, kernel, stride, padding, dilation, groups)
    return skip_init(nn.Conv2d, *sizes, bias=False, device=torch.get_default_device())


def _shortcut(c_in: int, c_out: int, stride: int) -> nn.Sequential | None:
    """Return the 1x1 projection, or None where the input already has the shape of the output."""
    if stride == 1 and c_in == c_out:
        return None
    return nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))
