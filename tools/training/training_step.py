"""One step of training: forward, loss over the whole batch of all ranks, gradient, optimiser; or nothing at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from datasets.targets import Targets
from models import BBAVectorsLoss, Positives, normalize
from models.preprocessing import Preprocessing, gain_and_shift
from tools.engine import Engine


class StepResult(NamedTuple):
    """The loss terms over the whole batch, whether the step was taken, whether any rank asked to stop, and whether it
    was not taken because fp16's scale of the loss was too high, which the scaler mends by itself."""

    terms: dict[str, float]
    taken: bool
    stop: bool
    overflow: bool = False


class TrainingStep:
    """Steps of one network.

    The batch of a step is what all ranks hold together; the loss is divided by the objects of all of it, so that
    neither the number of ranks nor that of the parts changes what is learnt (batch norm aside, which sees a part).

    Args:
        model: as `Engine.prepare` returned it. clip_norm: longest gradient, 0 for any. sparse: compute the heads only
            where the loss reads them. num_parts: parts in which a rank works its share off.
    """

    def __init__(
        self,
        engine: Engine,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        criterion: BBAVectorsLoss,
        preprocessing: Preprocessing,
        *,
        clip_norm: float = 0.0,
        sparse: bool = True,
        num_parts: int = 1,
    ) -> None:
        self.engine, self.model, self.optimizer = engine, model, optimizer
        self.criterion = criterion.to(engine.device)
        self.preprocessing = preprocessing
        self.clip_norm, self.sparse, self.num_parts = clip_norm, sparse, num_parts
        self._scaling = gain_and_shift(preprocessing, engine.device)
        # A list for each type: with several in one list a GPU would be asked once for each of its tensors.
        self._buffers = [
            [b for b in model.buffers() if b.dtype == dtype] for dtype in {b.dtype for b in model.buffers()}
        ]
        self._before = [[buffer.clone() for buffer in part] for part in self._buffers]

    def __call__(self, images: Tensor, targets: Targets, stop: bool = False, is_blank: bool = False) -> StepResult:
        """Train on this rank's share: images (B, H, W, c) uint8 BGR, at least one, and their targets.

        With a gradient that is not finite, on any rank, weights and batch norm statistics stay as they were. The latter
        also do where the share `is_blank`: a picture without content takes the place of an empty one, since the other
        ranks wait for this one's gradient (with --sync_norm it is among the pictures of their statistics). What a GPU
        finds is read once, when all of the gradient is under way: every look at it waits for what it has still to do.
        """
        parts = self._parts(images, targets)
        positives = [self.criterion.positives(targets) for _, targets in parts]
        totals = sum((found.totals for found in positives), torch.zeros(2, device=self.engine.device))
        totals, num_stops = self.engine.total(torch.cat((totals, totals.new_full((1,), float(stop))))).split((2, 1))
        self._copy(self._buffers, self._before)
        self.optimizer.zero_grad(set_to_none=True)
        sums = self._backward(parts, positives, totals)
        norm = self.engine.accelerator.clip_grad_norm_(self.model.parameters(), self.clip_norm or math.inf)
        *values, length, stops = torch.cat((*(value[None] for value in sums.values()), norm[None], num_stops)).tolist()
        terms = dict(zip(sums, values, strict=True))
        taken = self._update(math.isfinite(length) and math.isfinite(terms["total"]))
        if not taken or is_blank:
            self._copy(self._before, self._buffers)
        scaler = self.engine.accelerator.scaler
        overflow = not taken and scaler is not None and scaler.get_scale() > 1 and math.isfinite(terms["total"])
        return StepResult(terms, taken, stops > 0, overflow)

    @staticmethod
    def _copy(sources: Sequence[Sequence[Tensor]], targets: Sequence[Sequence[Tensor]]) -> None:
        for source, target in zip(sources, targets, strict=True):
            torch._foreach_copy_(target, source)

    def _parts(self, images: Tensor, targets: Targets) -> list[tuple[Tensor, Targets]]:
        """The share in parts; the targets on the device, the pictures still as they were loaded."""
        device = self.engine.device
        targets = Targets(*(field.to(device, non_blocking=True) for field in targets))
        chunks = [field.tensor_split(min(self.num_parts, len(images))) for field in (images, *targets)]
        return [(part, Targets(*rest)) for part, *rest in zip(*chunks, strict=True)]

    def _input(self, images: Tensor) -> Tensor:
        images = normalize(images.to(self.engine.device, non_blocking=True), self.preprocessing, self._scaling)
        return images.contiguous(memory_format=self.engine.layout)

    def _backward(
        self, parts: Sequence[tuple[Tensor, Targets]], positives: Sequence[Positives], totals: Tensor
    ) -> dict[str, Tensor]:
        """Gradients of all parts; returns the terms, summed over parts and ranks."""
        sums: dict[str, Tensor] = {}
        for number, ((images, targets), found) in enumerate(zip(parts, positives, strict=True)):
            is_last = number == len(parts) - 1
            with nullcontext() if is_last else self.engine.accelerator.no_sync(self.model):
                inputs = self._input(images)
                maps = self.model(inputs, found.cells) if self.sparse else self.model(inputs)
                terms = self.criterion(maps, targets, found, totals)
                # The ranks' gradients are averaged, but the terms are shares of a sum already.
                self.engine.accelerator.backward(terms["total"] * self.engine.num_ranks)
            sums = {name: sums.get(name, 0.0) + term.detach() for name, term in terms.items()}
        return dict(zip(sums, self.engine.total(torch.stack(list(sums.values()))), strict=True))

    def _update(self, is_finite: bool) -> bool:
        """Step unless something is not finite; every rank decides the same, for all see the same numbers."""
        accelerator = self.engine.accelerator
        if not is_finite:
            if accelerator.scaler is not None:  # it has seen the gradient in clipping, and lowers its scale
                accelerator.scaler.update()
            return False
        self.optimizer.step()
        return not accelerator.optimizer_step_was_skipped
