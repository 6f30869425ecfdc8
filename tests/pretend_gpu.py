"""A pretended GPU for machines without one: what lies on it may not meet what lies on the CPU, and whoever looks at it
is written down, for a look waits until a GPU has done all that it was asked for."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

# Not "cuda": without CUDA the gradients of such tensors have no thread to be computed in. On "meta" they have.
DEVICE = torch.device("meta")
_ASKS_FOR_VALUES = (
    "aten._local_scalar_dense",
    "aten.is_nonzero",
    "aten.item",
    "aten.nonzero",
    "aten.masked_select",
    "aten.equal",
    "aten._unique",
)
_MOVES = ("aten.copy_", "aten._to_copy", "aten.to.")


class FarTensor(Tensor):
    """A tensor on the pretended device; `near` holds its values."""

    @staticmethod
    def __new__(cls, near: Tensor) -> FarTensor:
        facts = {"strides": near.stride(), "storage_offset": near.storage_offset(), "dtype": near.dtype}
        return Tensor._make_wrapper_subclass(cls, near.shape, device=DEVICE, **facts)

    def __init__(self, near: Tensor) -> None:
        self.near = near

    def __repr__(self) -> str:
        return f"FarTensor({self.near})"

    def tolist(self) -> list:
        """Torch refuses it to tensors of one's own."""
        if PretendGPU.current is not None:
            PretendGPU.current.looks.append(_place("tolist"))
        return self.near.tolist()

    @classmethod
    def __torch_dispatch__(cls, operator: Any, types: Sequence[type], args: tuple = (), kwargs: dict | None = None):
        return _compute(operator, args, kwargs or {})


class PretendGPU(TorchDispatchMode):
    """While it is entered, factories on `DEVICE` make `FarTensor`s, and `looks` grows by the operator and the line of
    code of every wait: values that the CPU asks for, and copies that do not say `non_blocking`.

    Operators on tensors of both devices raise, as CUDA does; a CPU tensor without dimensions is a number.
    """

    current: PretendGPU | None = None

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[str] = []

    def __enter__(self) -> PretendGPU:
        PretendGPU.current = self
        super().__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        PretendGPU.current = None
        super().__exit__(*problem)

    def __torch_dispatch__(self, operator: Any, types: Sequence[type], args: tuple = (), kwargs: dict | None = None):
        return _compute(operator, args, kwargs or {})


def move_module(module: nn.Module) -> None:
    """Put parameters and buffers onto the pretended device; `Module.to` would leave their values behind."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                part._parameters[name] = nn.Parameter(FarTensor(value.data), value.requires_grad)
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = FarTensor(value)


def _compute(operator: Any, args: tuple, kwargs: dict) -> Any:
    name = str(operator)
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    far = [tensor for tensor in tensors if isinstance(tensor, FarTensor)]
    near = [tensor for tensor in tensors if not isinstance(tensor, FarTensor)]
    if far and any(tensor.ndim for tensor in near) and not name.startswith(_MOVES):
        shapes = [tuple(tensor.shape) for tensor in near]
        raise RuntimeError(f"{name}: expected all tensors on the same device; of these shapes on the CPU: {shapes}")
    device = kwargs.get("device")
    goes_far = bool(far) if device is None else device == DEVICE
    current = PretendGPU.current
    if current is not None and _waits(name, args, kwargs, bool(far), bool(near), goes_far):
        current.looks.append(_place(name))
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    near_args, near_kwargs = tree_map_only(FarTensor, lambda tensor: tensor.near, (args, kwargs))
    result = operator(*near_args, **near_kwargs)
    if not goes_far:
        return result
    same = {id(tensor.near): tensor for tensor in far}  # an operator in place gives its argument back
    return tree_map_only(Tensor, lambda near: same[id(near)] if id(near) in same else FarTensor(near), result)


def _waits(name: str, args: tuple, kwargs: dict, reads_far: bool, reads_near: bool, goes_far: bool) -> bool:
    if name.startswith(_MOVES):
        crosses = reads_far and reads_near if name.startswith("aten.copy_") else reads_far != goes_far
        return crosses and not (kwargs.get("non_blocking") or any(arg is True for arg in args))
    if name.startswith("aten.index") and reads_far:
        return any(isinstance(leaf, Tensor) and leaf.dtype == torch.bool for leaf in tree_leaves(args[1:2]))
    return reads_far and name.startswith(_ASKS_FOR_VALUES)


def _place(name: str) -> str:
    """The operator and the innermost line of the project that led to it."""
    own = [
        frame
        for frame in traceback.extract_stack()
        if "site-packages" not in frame.filename and frame.filename != __file__
    ]
    return f"{name} in {own[-1].name}: {own[-1].line}"
