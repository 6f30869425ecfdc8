"""The exponential moving average of the weights, which is validated and saved: torch's own averaging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from models import CTRBOX


class WeightAverage:
    """ema <- decay * ema + (1 - decay) * weights after every step, batch norm statistics included.

    The decay rises to its value as (1 + n) / (10 + n) over the first n steps, so that the random weights of the
    beginning are soon forgotten. With a decay of 0 it is the weights themselves, taken when they are asked for.
    """

    def __init__(self, model: CTRBOX, decay: float) -> None:
        self.decay = decay
        self._averaged = AveragedModel(model, multi_avg_fn=self._blend, use_buffers=True)
        self._averaged.requires_grad_(False)

    @property
    def module(self) -> CTRBOX:
        """The averaged network; in fp32, apart from the one that is trained."""
        return self._averaged.module

    def update(self, model: CTRBOX) -> None:
        """Take the weights of a step in."""
        if self.decay:
            self._averaged.update_parameters(model)

    def catch_up(self, model: CTRBOX) -> None:
        """Before it is used: without averaging, copy the weights."""
        if not self.decay:
            self.module.load_state_dict(model.state_dict())

    @property
    def num_steps(self) -> int:
        """Steps taken in."""
        return int(self._averaged.n_averaged)

    def restore(self, weights: Mapping[str, Tensor], num_steps: int) -> None:
        """Go on from the averaged weights of a checkpoint, after so many steps."""
        self.module.load_state_dict(weights)
        self._averaged.n_averaged.fill_(num_steps)

    def _blend(self, averages: Sequence[Tensor], weights: Sequence[Tensor], _: Tensor | int) -> None:
        if not averages[0].is_floating_point():  # counters of the batch norms
            torch._foreach_copy_(averages, weights)
            return
        number = self.num_steps  # it lies on the CPU; what is handed in is a copy of it, which a GPU must be asked for
        decay = min(self.decay, (1 + number) / (10 + number))
        torch._foreach_lerp_(averages, weights, 1 - decay)
