"""The engine of one process: everything is its own, and a program may train twice. Two ranks: test_distributed.py."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tools.engine import Engine
from tools.running.command_line import SettingsError


@pytest.fixture
def engine() -> Engine:
    return Engine("cpu")


def test_alone_it_is_the_main_process_and_all_there_is(engine: Engine):
    assert (engine.rank, engine.num_ranks, engine.is_main) == (0, 1, True)
    assert engine.device == torch.device("cpu")
    assert engine.share([3, 1, 2]) == [3, 1, 2]
    assert list(engine.gathered(iter("abc"), 3)) == ["a", "b", "c"]
    assert engine.all_of("x") == ["x"]
    assert engine.from_main(lambda: {"a": None}) == {"a": None}
    assert torch.equal(engine.total(torch.tensor([1.0, 2.0])), torch.tensor([1.0, 2.0]))
    with engine.main_first():
        engine.wait()
    engine.close()
    engine.close()  # twice is no harm


def test_nothing_is_shared_and_gathered_as_nothing(engine: Engine):
    assert engine.share([]) == []
    assert list(engine.gathered(iter(()), 0)) == []


@given(num_items=st.integers(0, 30), num_ranks=st.integers(1, 5))
def test_the_shares_hold_every_item_once(num_items: int, num_ranks: int):
    engine = Engine.__new__(Engine)
    shares = []
    for engine.rank in range(num_ranks):
        engine.num_ranks = num_ranks
        shares.append(engine.share(range(num_items)))
    assert sorted(item for share in shares for item in share) == list(range(num_items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_program_may_train_twice_in_different_precisions():
    """Accelerate keeps one state a process, and refuses."""
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp32", torch.float32)):
        engine = Engine("cpu", precision)
        assert engine.dtype == dtype
        linear = nn.Linear(2, 2)
        model, _ = engine.prepare(linear, torch.optim.SGD(linear.parameters(), lr=0.1))
        with engine.accelerator.autocast():
            product = linear.weight @ linear.weight
        assert product.dtype == dtype
        assert model(torch.zeros(1, 2)).dtype == torch.float32  # what the loss reads


@pytest.mark.parametrize(("precision", "layout"), [("fp32", torch.contiguous_format), ("bf16", torch.channels_last)])
def test_a_prepared_model_is_in_the_layout_that_is_fast_in_its_precision(precision: str, layout: torch.memory_format):
    engine = Engine("cpu", precision)
    layer = nn.Conv2d(3, 4, 3)
    model, optimizer = engine.prepare(layer, torch.optim.SGD(layer.parameters(), lr=0.1))
    assert model.weight.is_contiguous(memory_format=layout)
    assert optimizer.param_groups[0]["params"][0] is layer.weight


def test_accelerate_launch_may_ask_for_the_cpu(monkeypatch: pytest.MonkeyPatch):
    """On a machine with a GPU, too: the network would be on one device and its images on another."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    assert Engine("auto").device == torch.device("cpu")


def test_a_device_that_is_not_there_is_a_sentence():
    with pytest.raises(SettingsError, match="--device cuda:77 is not here"):
        Engine("cuda:77")
