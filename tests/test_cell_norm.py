"""A layer norm of maps looks at one cell: not at others, nor at other pictures, nor at whether it trains."""

from __future__ import annotations

import pytest
import torch

from models.cell_norm import CellNorm, _of_one_type


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_cell_is_brought_to_mean_and_deviation_and_then_scaled_and_shifted(memory_format):
    norm = CellNorm(7)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    maps = 5 + 3 * torch.randn(2, 7, 4, 3)
    expected = (maps - maps.mean(1, keepdim=True)) / torch.sqrt(maps.var(1, keepdim=True, unbiased=False) + norm.eps)
    expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(maps.contiguous(memory_format=memory_format)), expected, atol=1e-5, rtol=1e-5)


def test_a_cell_is_the_same_alone_and_among_others():
    norm, maps = CellNorm(5).train(), torch.randn(3, 5, 6, 4)
    torch.testing.assert_close(norm(maps[1:2, :, 2:3, 3:4]), norm(maps)[1:2, :, 2:3, 3:4])


def test_bf16_stays_bf16_under_autocast():
    norm, maps = CellNorm(5), torch.randn(1, 5, 2, 2, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        said = norm(maps)
    as_on_a_gpu = _of_one_type(maps.permute(0, 2, 3, 1), norm).permute(0, 3, 1, 2)
    for found in (said, as_on_a_gpu):
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), norm(maps.float()), atol=0.02, rtol=0.02)


def test_equal_channels_are_no_nan():
    assert CellNorm(4)(torch.full((1, 4, 1, 1), 3.0)).abs().max() == 0
