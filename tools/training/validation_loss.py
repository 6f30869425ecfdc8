"""The training loss on the validation pictures, by the maps that they are detected by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from datasets.loader import stacked
from datasets.readers import Sample
from datasets.targets import Targets
from datasets.training_set import targets_of_letterbox
from models import BBAVectorsLoss, Maps
from tools.engine import Engine


class ValidationLoss:
    """The terms of the loss as training forms them, a mean over batches of `batch_size` pictures, but of the pictures
    whole and unchanged and in their order: so they depend neither on the number of processes nor on how many pictures
    are looked at at once.

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
        self._parts: dict[int, Tensor] = {}  # by picture: the sums of its terms, and what they are to be divided by

    def add(self, rows: Sequence[int], samples: Sequence[Sample], sizes: Sequence[Sequence[int]], maps: Maps) -> None:
        """Take in pictures: their numbers in the list of all, what is on them, height and width of each, and what the
        network says of them."""
        for index, (row, sample, hw) in enumerate(zip(rows, samples, sizes, strict=True)):
            found = targets_of_letterbox(sample, tuple(hw), self._input_hw, self._num_classes, self._min_visible)
            targets = Targets(*(field.to(self._engine.device) for field in stacked([found])))
            with torch.inference_mode():
                positives = self._criterion.positives(targets)
                sums = self._criterion.sums(Maps(*(part[index : index + 1] for part in maps)), targets, positives)
                self._parts[row] = torch.stack([*(sums[name] for name in self._names), *positives.totals])

    def terms(self, batch_size: int) -> dict[str, float]:
        """The terms over the pictures of all processes, each of which must ask, and their weighted sum `total`; none
        where there is no picture."""
        own = {row: part.tolist() for row, part in self._parts.items()}
        parts = {row: values for share in self._engine.all_of(own) for row, values in share.items()}
        whole = torch.tensor([parts[row] for row in sorted(parts)], dtype=torch.float64)
        totals: Counter[str] = Counter()
        for batch in whole.split(batch_size) if len(whole) else ():
            sums = batch.sum(dim=0)
            terms = self._criterion.divided(dict(zip(self._names, sums[:-2], strict=True)), sums[-2:])
            totals.update({name: float(value) * len(batch) for name, value in terms.items()})
        return {name: value / len(whole) for name, value in totals.items()}
