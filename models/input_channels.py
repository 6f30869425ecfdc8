"""The first convolution of a backbone for pictures of one channel, or of more than three, with its weights kept.

As timm does: for one channel the weights of the colours are added up, so that a grey picture is answered as the same
picture in three equal channels would be; for more they are repeated, and made as much smaller as the channels are more.
Where it is known which channel showed before what each one shows now, the weights go with what they have learnt to see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from DOTA_devkit.reasons import first_line
from models.backbones import Backbone

_COLOURS = 3
_PROBE_SIDE = 64


def adapt_input(backbone: Backbone, num_channels: int) -> None:
    """Let a backbone that reads three channels read another number, in place.

    Raises:
        ValueError: less than one channel, or a network in which not only convolutions of three channels read the image.
    """
    if num_channels < 1:
        raise ValueError(f"a picture has at least 1 channel, not {num_channels}")
    if num_channels == _COLOURS:
        return
    for module in _input_convolutions(backbone, _COLOURS).values():
        kernel = adapt_kernel(module.weight.detach(), num_channels)
        module.weight = nn.Parameter(kernel, requires_grad=module.weight.requires_grad)
        module.in_channels = num_channels
    _check(backbone, num_channels)


def adapt_weights(
    weights: Mapping[str, Tensor],
    backbone: Backbone,
    num_channels: int,
    sources: Sequence[int | None] | None = None,
) -> dict[str, Tensor]:
    """Return a backbone's weights with those that read the image made for num_channels, which the backbone reads; by
    `sources`, as of `rearranged_kernel`, where these are known."""
    adapted = dict(weights)
    for name in _input_convolutions(backbone, num_channels):
        kernel = weights.get(f"{name}.weight")
        if kernel is None or kernel.ndim != 4 or not kernel.shape[1]:
            continue
        is_known = sources is not None and max((s for s in sources if s is not None), default=-1) < kernel.shape[1]
        adapted[f"{name}.weight"] = (
            rearranged_kernel(kernel, sources) if is_known else adapt_kernel(kernel, num_channels)
        )
    return adapted


def rearranged_kernel(kernel: Tensor, sources: Sequence[int | None]) -> Tensor:
    """Turn weights (c_out, c, rows, columns) into those of other channels, (c_out, n, rows, columns), each of which
    shows what the channel `sources` names showed. One of which it names none starts with zeros: it says nothing until
    it has learnt to, and the others are answered as before."""
    nothing = torch.zeros_like(kernel[:, 0])
    return torch.stack([nothing if source is None else kernel[:, source] for source in sources], dim=1)


def adapt_kernel(kernel: Tensor, num_channels: int) -> Tensor:
    """Turn weights (c_out, c, rows, columns) into those of num_channels channels, (c_out, num_channels, rows, columns).

    One channel gets their sum; more get them over and over, times c / num_channels.
    """
    given = kernel.shape[1]
    if num_channels == given:
        return kernel
    if num_channels == 1:
        return kernel.sum(dim=1, keepdim=True)
    repeated = kernel.repeat(1, -(-num_channels // given), 1, 1)[:, :num_channels]
    return (repeated * (given / num_channels)).contiguous()


def _input_convolutions(backbone: Backbone, num_channels: int) -> dict[str, nn.Conv2d]:
    """Find what reads the image of so many channels: convolutions of as many, at its own size or half of it, where
    inner ones of as many channels are not. Most networks have one, some several side by side. Raises ValueError for a
    network that takes no such image."""
    seen: set[nn.Module] = set()

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].shape[1] == num_channels and min(inputs[0].shape[2:]) >= _PROBE_SIDE // 2:
            seen.add(module)

    convolutions = {
        name: module
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == num_channels and module.groups == 1
    }
    hooks = [module.register_forward_pre_hook(look) for module in convolutions.values()]
    try:
        _check(backbone, num_channels)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: module for name, module in convolutions.items() if module in seen}


def _check(backbone: Backbone, num_channels: int) -> None:
    """Show the backbone, which stays as it is, an image of so many channels. Raises ValueError unless it takes it."""
    weight, was_training = next(backbone.parameters()), backbone.training
    try:
        with torch.no_grad():
            backbone.eval()(torch.zeros(1, num_channels, _PROBE_SIDE, _PROBE_SIDE, device=weight.device))
    except RuntimeError as error:
        raise ValueError(
            f"{type(backbone).__name__} cannot be made to read {num_channels} channels: something beside convolutions "
            f"of {_COLOURS} channels reads its image ({first_line(error)})"
        ) from error
    finally:
        backbone.train(was_training)
