"""The training loss on the validation pictures, by the maps that they are detected by."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from datasets.loader import stacked
from datasets.readers import Sample
from datasets.targets import Targets
from datasets.training_set import targets_of_letterbox
from models import BBAVectorsLoss, Maps
from tools.engine import Engine


class ValidationLoss:
    """The terms of the loss as of one batch that holds all pictures, whole and unchanged: so they depend neither on the
    number of processes nor on the size of a batch.

    num_classes, input_hw: of the network. min_visible: as in training.
    """

    def __init__(
        self,
        criterion: BBAVectorsLoss,
        engine: Engine,
        num_classes: int,
        input_hw: tuple[int, int],
        min_visible: float,
    ) -> None:
        self._criterion, self._engine = criterion, engine
        self._num_classes, self._input_hw, self._min_visible = num_classes, input_hw, min_visible
        self._names = tuple(criterion.weights)
        # In double precision: of thousands of pictures the last ones would be rounded away.
        self._sums = torch.zeros(len(self._names), dtype=torch.float64, device=engine.device)
        self._totals = torch.zeros(2, dtype=torch.float64, device=engine.device)

    def add(self, samples: Sequence[Sample], sizes: Sequence[Sequence[int]], maps: Maps) -> None:
        """Take in a batch: its pictures, height and width of each, and what the network says of them."""
        found = [
            targets_of_letterbox(sample, tuple(hw), self._input_hw, self._num_classes, self._min_visible)
            for sample, hw in zip(samples, sizes, strict=True)
        ]
        targets = Targets(*(field.to(self._engine.device) for field in stacked(found)))
        with torch.inference_mode():
            positives = self._criterion.positives(targets)
            sums = self._criterion.sums(maps, targets, positives)
            self._sums += torch.stack([sums[name] for name in self._names])
            self._totals += positives.totals

    def terms(self) -> dict[str, float]:
        """The terms over the pictures of all processes, each of which must ask, and their weighted sum `total`."""
        whole = self._engine.total(torch.cat((self._sums, self._totals)))
        terms = self._criterion.divided(dict(zip(self._names, whole[:-2], strict=True)), whole[-2:])
        return {name: float(value) for name, value in terms.items()}
