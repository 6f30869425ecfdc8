"""Parts of a network that training leaves as they are, batch norm statistics included."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class Freezable(nn.Module):
    """A network of which parts can be frozen."""

    _frozen: tuple[nn.Module, ...] = ()

    def freeze_parts(self, parts: Iterable[nn.Module]) -> None:
        """Leave these parts as they are from now on, also in training."""
        self._frozen = (*self._frozen, *parts)
        for part in self._frozen:
            part.requires_grad_(False)
            part.eval()

    def train(self, mode: bool = True) -> Self:
        """Switch to training; what is frozen stays in evaluation."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self


def batch_norms(network: nn.Module) -> list[nn.Module]:
    """List the batch norms of a network."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]
