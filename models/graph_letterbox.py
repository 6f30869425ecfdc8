"""The letterbox of `datasets.letterbox` in tensors: part of an exported file, so that users need not write it again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_NUDGE = 1 + 2.0**-22  # runtimes multiply in float32 and round down; a side that fits exactly must not lose a pixel


def shrink(images: Tensor, input_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Resize pictures of one size (N, 3, H, W) float32 so that they fit `input_hw`.

    Aspect kept, bilinear with half-pixel centres, no anti-aliasing, as `datasets.letterbox.letterbox_image` does.

    Returns the pictures (N, 3, h, w) and how many picture pixels an input pixel is, (). Traceable; H and W may be
    dynamic.
    """
    # In a trace `images.shape` holds Python numbers, of which these operators would make constants.
    sides = torch._shape_as_tensor(images)[2:].float()
    pixel = (sides / torch.tensor(input_hw, dtype=torch.float32)).amax()
    scales = torch.maximum(1 / pixel, 1 / sides) * _NUDGE
    return _Resize.apply(images, torch.cat((torch.ones(2), scales))), pixel


def pad(inputs: Tensor, input_hw: tuple[int, int]) -> Tensor:
    """Pad (N, 3, h, w) at the right and at the bottom to `input_hw` with zeros: the mean colour, once normalised."""
    return functional.pad(inputs, (0, input_hw[1] - inputs.shape[3], 0, input_hw[0] - inputs.shape[2]))


class _Resize(torch.autograd.Function):
    """`Resize` at exactly the given scales; a trace of `interpolate` would hold the scales of one example."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, scales: Tensor) -> Tensor:
        # Not by `interpolate`, which copies an axis that keeps its size, at whatever scale.
        for axis in (2, 3):
            side, scale = images.shape[axis], float(scales[axis])
            places = ((torch.arange(int(side * scale), dtype=torch.float64) + 0.5) / scale - 0.5).clamp(0, side - 1)
            low = places.floor().long()
            share = (places - low).float()
            share = share[:, None] if axis == 2 else share
            first, second = (images.index_select(axis, row) for row in (low, (low + 1).clamp(max=side - 1)))
            images = first + (second - first) * share
        return images

    @staticmethod
    def symbolic(g: Any, images: Any, scales: Any) -> Any:
        """The operator in the file. Its second input, a region of interest, is that of another mode."""
        no_region = g.op("Constant", value_t=torch.empty(0))
        how = {"mode_s": "linear", "coordinate_transformation_mode_s": "half_pixel"}
        return g.op("Resize", images, no_region, scales, **how)
