"""What is made again for the gradient is the same to the last bit, and is not kept."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models import CTRBOX
from models.recompute import all_kept, recomputed

IMAGES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def learn(network: nn.Module, steps: int = 2) -> dict[str, Tensor]:
    """Gradients, and buffers after some steps in training."""
    for _ in range(steps):
        network.zero_grad()
        sum((values**2).mean() for values in network(IMAGES)).backward()
    gradients = {f"gradient of {name}": value.grad for name, value in network.named_parameters()}
    return {**gradients, **dict(network.named_buffers())}


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2"])
def test_gradients_and_running_statistics_are_those_without_it(backbone: str, precision: torch.dtype) -> None:
    network = CTRBOX(2, backbone, head_norm="batch").train()
    other = copy.deepcopy(network)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        found = learn(network)
        with all_kept():
            expected = learn(other)
    assert found.keys() == expected.keys()
    assert not [name for name in found if not torch.equal(found[name], expected[name])]
    assert int(network.dec_c2.up[1].num_batches_tracked) == 2


@pytest.mark.slow
def test_frozen_batch_norms_stay_as_they_are() -> None:
    network = CTRBOX(2, "resnet18")
    network.freeze(1, norms="all")
    network.train()
    before = copy.deepcopy(dict(network.named_buffers()))
    learn(network)
    assert all(torch.equal(values, before[name]) for name, values in network.named_buffers())


def test_a_graph_can_be_gone_through_twice() -> None:
    network = CTRBOX(2, "resnet18").train()
    loss = (network(IMAGES).hm ** 2).mean()
    loss.backward(retain_graph=True)
    once = network.base_network.conv1.weight.grad.clone()
    loss.backward()
    torch.testing.assert_close(network.base_network.conv1.weight.grad, 2 * once)
    assert int(network.base_network.bn1.num_batches_tracked) == 1


def test_a_batch_norm_has_its_own_statistics_again_after_an_error() -> None:
    norm, calls = nn.BatchNorm1d(3), []

    def fails_the_second_time(x: Tensor) -> Tensor:
        calls.append(len(calls))
        if len(calls) == 2:
            raise MemoryError
        return norm(x) ** 2

    loss = recomputed(fails_the_second_time, torch.rand(4, 3, requires_grad=True), norm=norm).sum()
    own = dict(norm.named_buffers())
    with pytest.raises(MemoryError):
        loss.backward()
    assert all(values is own[name] for name, values in norm.named_buffers())


class Memories(TorchDispatchMode):
    """The memories of all tensors that are made within the block."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, operation: Callable, types: tuple, arguments: tuple = (), keywords: dict | None = None
    ):
        results = operation(*arguments, **(keywords or {}))
        for values in tree_leaves(results):
            if isinstance(values, Tensor):
                storage = values.untyped_storage()
                self.made[storage.data_ptr()] = (StorageWeakRef(storage), storage.nbytes())
        return results


def kept_bytes(network: nn.Module) -> int:
    """What a forward pass holds on to until its gradient."""
    with Memories() as memories:
        maps = network(IMAGES)
    assert len(maps) == 4
    return sum(num_bytes for storage, num_bytes in memories.made.values() if not storage.expired())


def test_less_is_kept_until_the_gradient() -> None:
    network = CTRBOX(2, "resnet18").train()
    with all_kept():
        everything = kept_bytes(network)
    assert kept_bytes(network) < 0.8 * everything


def test_without_gradients_and_compiled_nothing_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.recompute.checkpoint", lambda *_, **__: pytest.fail("wrapped"))
    x = torch.ones(2, requires_grad=True)
    with torch.no_grad():
        assert recomputed(torch.exp, x).tolist() == torch.exp(x).tolist()
    with torch.inference_mode():
        assert CTRBOX(1, "resnet18").eval()(IMAGES).hm.shape == (2, 1, 16, 24)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert recomputed(torch.exp, x).requires_grad
