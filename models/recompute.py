"""Maps that are cheap to make and large to keep: made again for the gradient instead of stored until then.

Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016), section 3. Only what needs no convolution is made
again, so that it costs next to no time, and all numbers stay the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

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
    contexts = (nullcontext(), nullcontext() if norm is None else _statistics_kept(norm))
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


@contextmanager
def _statistics_kept(norm: nn.Module) -> Iterator[None]:
    """Lend the norm copies of its running statistics: without any it would keep other things for its gradient."""
    own = dict(norm.named_buffers(recurse=False))
    try:
        for name, values in own.items():
            setattr(norm, name, values.clone())
        yield
    finally:
        for name, values in own.items():
            setattr(norm, name, values)
