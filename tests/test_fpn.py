"""The feature pyramid: what it adds up, at which sizes, and how light it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models.combination import CombinationModule, channel_table
from models.fpn import FPN


def maps_of(channels: tuple[int, ...], strides: tuple[int, ...] = (4, 8, 16, 32)) -> list[Tensor]:
    return [torch.randn(2, c, 64 // s, 96 // s) for c, s in zip(channels, strides, strict=True)]


@pytest.mark.parametrize("strides", [(4, 8, 16, 32), (4, 8, 16, 16), (4, 4, 8, 8)])
def test_the_output_has_the_size_of_the_finest_map_and_the_width(strides: tuple[int, ...]) -> None:
    channels = (7, 11, 13, 17)
    assert FPN(channels, 5)(maps_of(channels, strides)).shape == (2, 5, 16, 24)


def test_coarse_cells_are_repeated_and_added() -> None:
    """With convolutions that pass on what they get: C1 + the cell of C2, C3 and C4 that covers it."""
    fpn = FPN((1, 1, 1, 1), 1).eval()
    with torch.no_grad():
        for conv in (module for module in fpn.modules() if isinstance(module, nn.Conv2d)):
            conv.weight.zero_()
            conv.weight[..., conv.kernel_size[0] // 2, conv.kernel_size[0] // 2] = 1.0
    maps = [torch.rand(1, 1, side, side) for side in (8, 4, 2, 1)]
    expected = sum(m.repeat_interleave(8 // m.shape[-1], -1).repeat_interleave(8 // m.shape[-1], -2) for m in maps)
    torch.testing.assert_close(fpn(maps), expected, rtol=1e-4, atol=1e-4)  # batch norms divide by sqrt(1 + 1e-5)


def test_every_parameter_learns() -> None:
    channels = (7, 11, 13, 17)
    fpn = FPN(channels, 5)
    fpn(maps_of(channels)).sin().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in fpn.parameters())


def test_it_is_a_fraction_of_the_combination_modules() -> None:
    def size(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    channels = (64, 128, 256, 512)  # resnet18
    modules = nn.ModuleList(CombinationModule(*pair) for pair in channel_table(channels).values())
    assert size(FPN(channels, 32)) < 0.05 * size(modules)


def test_a_width_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="the width of the neck must be at least 1, not 0"):
        FPN((7, 11, 13, 17), 0)
