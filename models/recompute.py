"""Maps that are cheap to make and large to keep: made again for the gradient instead of stored until then.

Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016), section 3. Only what needs no convolution is made
again, so that it costs next to no time, and all numbers stay the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_is_on = True


def recomputed(function: Callable[..., Tensor], *inputs: Tensor, norm: nn.Module | None = None) -> Tensor:
    """`function(*inputs)`; of what happens inside, only the inputs are kept for the gradient.

    A layer that ends the function is not run again: the second time ends where its input is known. `norm` is a batch
    norm inside, which would otherwise count the batch twice in its running statistics.
    """
    if not (_is_on and torch.is_grad_enabled()) or torch.compiler.is_compiling():  # compiled code decides for itself
        return function(*inputs)
    contexts = (nullcontext(), nullcontext() if norm is None else _StatisticsKept(norm))
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=lambda: contexts)


@contextmanager
def all_kept() -> Iterator[None]:
    """Within the block everything is kept, as torch does by itself: to measure what this file is worth."""
    global _is_on
    before, _is_on = _is_on, False
    try:
        yield
    finally:
        _is_on = before


class _StatisticsKept(AbstractContextManager[None]):
    """Within, a batch norm works on copies of its running statistics: without any it would keep other things for its
    gradient. May be entered again, as a second gradient of the same graph does."""

    def __init__(self, norm: nn.Module) -> None:
        self._norm = norm

    def __enter__(self) -> None:
        self._own = dict(self._norm.named_buffers(recurse=False))
        self._lend({name: values.clone() for name, values in self._own.items()})

    def __exit__(self, *_: object) -> None:
        self._lend(self._own)

    def _lend(self, buffers: Mapping[str, Tensor]) -> None:
        for name, values in buffers.items():
            setattr(self._norm, name, values)
