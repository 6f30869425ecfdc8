"""The optimiser's groups and the learning rate of a step."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from models import CTRBOX
from tests.test_ctrbox import OddBackbone
from tools.config import Config
from tools.setting_flags import parse_settings
from tools.training.optimizer import learning_rate, make_criterion, make_optimizer, restore_optimizer, set_rate


@pytest.mark.parametrize(
    ("flags", "weights", "others"),
    [
        (
            "",
            {"hm": 1, "wh": 0.5, "reg": 1, "cls_theta": 0.25, "box": 1},
            {"vector_beta": 0.1, "rotated_weight": 4, "positive_radius": 1, "better_box": True},
        ),
        (
            "--recipe published",
            {"hm": 1, "wh": 1, "reg": 1, "cls_theta": 1},
            {"vector_beta": 1, "rotated_weight": 1, "positive_radius": 0, "better_box": False},
        ),
        (
            "--vector_weight 2 --theta_weight 3 --box_weight 4 --vector_beta 5 --rotated_weight 6 --positive_radius 7",
            {"hm": 1, "wh": 2, "reg": 1, "cls_theta": 3, "box": 4},
            {"vector_beta": 5, "rotated_weight": 6, "positive_radius": 7, "better_box": True},
        ),
    ],
)
def test_the_loss_has_the_weights_of_the_settings(flags: str, weights: dict[str, float], others: dict[str, float]):
    criterion = make_criterion(parse_settings(flags.split()))
    assert criterion.weights == weights
    assert {name: getattr(criterion, name) for name in others} == others
    assert not make_criterion(parse_settings([*flags.split(), "--theta_rule", "tilt"])).better_box


def rates_of(config: Config, num_steps: int, steps_per_epoch: int) -> list[float]:
    return [learning_rate(config, step, num_steps, steps_per_epoch) for step in range(num_steps)]


def test_the_rate_warms_up_then_falls_to_zero_along_a_cosine():
    rates = rates_of(Config(init_lr=2.0, warmup=0.05), 100, 10)
    assert rates[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert max(rates) == 2.0
    assert all(a >= b for a, b in zip(rates[4:], rates[5:], strict=False))
    assert rates[5 + 95 // 2] == pytest.approx(1.0, abs=0.02)
    assert 0 < rates[-1] < 0.01


def test_the_published_rate_falls_by_a_factor_each_epoch():
    """Known defect 11: the published schedule begins anew when a run is resumed; this one is a function of the step."""
    rates = rates_of(Config(init_lr=1.0, schedule="exponential", lr_decay=0.96, warmup=0.0), 9, 3)
    assert rates == pytest.approx([1.0] * 3 + [0.96] * 3 + [0.96**2] * 3)


def test_the_published_rate_can_warm_up_too():
    rates = rates_of(Config(init_lr=1.0, schedule="exponential", lr_decay=0.5, warmup=0.25), 8, 4)
    assert rates == pytest.approx([0.5, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_every_step_has_a_rate_above_zero_and_at_most_the_highest(schedule: str, warmup: float, num_steps: int):
    rates = rates_of(Config(init_lr=1e-3, schedule=schedule, warmup=warmup), num_steps, 1)
    assert all(0 < rate <= 1e-3 for rate in rates)
    assert math.isclose(max(rates), 1e-3, rel_tol=1e-9)


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_weight_decay_falls_on_convolutions_only(name: str, kind: type):
    network = CTRBOX(1, "resnet18", head_norm="batch")
    optimizer = make_optimizer(network, Config(optimizer=name, weight_decay=0.02, init_lr=0.5))
    assert type(optimizer) is kind
    groups = optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.02, 0.02, 0.0, 0.0]
    assert [group["lr"] for group in groups] == [0.5] * 4
    assert [{p.ndim for p in group["params"]} for group in groups] == [{4}, {4}, {1}, {1}]
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_no_weight_decay_falls_on_tables_and_norms_of_a_transformer():
    """By their number of axes, a Swin's tables of relative positions were shrunk towards nothing."""

    class Attention(OddBackbone):
        def __init__(self) -> None:
            super().__init__()
            self.attention_biases = torch.nn.Parameter(torch.zeros(4, 9))
            self.query = torch.nn.Linear(4, 4)

    network = CTRBOX(1, Attention(), head_norm="batch")
    groups = make_optimizer(network, Config(weight_decay=0.02)).param_groups
    decayed = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
    names = {name for name, parameter in network.named_parameters() if id(parameter) in decayed}
    assert {"base_network.query.weight", "hm.0.weight", "wh.3.weight"} <= names
    assert not {"base_network.attention_biases", "base_network.query.bias", "hm.1.weight"} & names
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_the_state_of_other_parameters_is_refused():
    network = CTRBOX(1, OddBackbone(), head_norm="batch")
    optimizer = make_optimizer(network, Config())
    sum(parameter.sum() for parameter in network.parameters()).backward()
    optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"][0], saved["state"][5] = saved["state"][5], saved["state"][0]
    with pytest.raises(ValueError, match="in another order"):
        restore_optimizer(make_optimizer(network, Config()), saved)


def test_the_backbone_has_a_rate_of_its_own():
    network = CTRBOX(1, "resnet18", head_norm="batch")
    optimizer = make_optimizer(network, Config(init_lr=0.5, backbone_lr_scale=0.1))
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.5, 0.05, 0.5]
    set_rate(optimizer, 0.2)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.02, 0.2, 0.02, 0.2])
    slow = {id(p) for group in optimizer.param_groups[::2] for p in group["params"]}
    assert slow == {id(p) for p in network.base_network.parameters()}


def groups_of_old(network: torch.nn.Module) -> torch.optim.Optimizer:
    """As runs had it before the backbone had groups of its own."""
    parameters = list(network.parameters())
    return torch.optim.AdamW(
        [{"params": [p for p in parameters if p.ndim > 1]}, {"params": [p for p in parameters if p.ndim <= 1]}], lr=0.5
    )


def test_the_state_of_a_run_without_such_groups_is_taken_over_parameter_by_parameter():
    torch.manual_seed(0)
    network = CTRBOX(1, OddBackbone(), head_norm="batch")
    old = groups_of_old(network)
    network(torch.randn(2, 3, 64, 64)).hm.square().sum().backward()
    old.step()
    new = make_optimizer(network, Config(init_lr=0.25, backbone_lr_scale=0.1, weight_decay=0.07))
    restore_optimizer(new, old.state_dict())
    moved = [p for p in network.parameters() if p in old.state]
    assert moved
    assert all(torch.equal(new.state[p]["exp_avg"], old.state[p]["exp_avg"]) for p in moved)
    assert [group["weight_decay"] for group in new.param_groups] == [0.07, 0.07, 0.0, 0.0]
    assert [group["lr_scale"] for group in new.param_groups] == [0.1, 1.0, 0.1, 1.0]


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_run_goes_on_in_another_memory_layout(name: str):
    """fp32 on a CPU trains in NCHW, bf16 and GPUs in channels_last; a fused step pairs numbers by their places."""
    layers, optimizers = [], []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        layers.append(torch.nn.Conv2d(3, 4, 3).to(memory_format=layout))
        optimizers.append(make_optimizer(layers[-1], Config(optimizer=name, init_lr=0.1)))
    images = torch.randn(1, 3, 8, 8)
    layers[0](images).square().sum().backward()
    optimizers[0].step()
    layers[1].load_state_dict(layers[0].state_dict())
    restore_optimizer(optimizers[1], copy.deepcopy(optimizers[0].state_dict()))
    for layer, optimizer in zip(layers, optimizers, strict=True):
        layer.zero_grad()
        layer(images).square().sum().backward()
        optimizer.step()
    assert layers[1].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layers[1].weight, layers[0].weight)


def test_the_state_of_other_parameters_is_refused_with_both_counts():
    network = CTRBOX(1, OddBackbone())
    old = groups_of_old(network).state_dict()
    network.freeze_parts([network.base_network.stages[0]])
    with pytest.raises(ValueError, match=r"it is of \d+ parameters, and \d+ are trained; another --freeze\?"):
        restore_optimizer(make_optimizer(network, Config()), old)


def test_what_is_frozen_is_left_out():
    network = CTRBOX(1, "resnet18")
    network.freeze(5, "all")
    given = [p for group in make_optimizer(network, Config()).param_groups for p in group["params"]]
    assert all(p.requires_grad for p in given)
    assert len(given) == sum(p.requires_grad for p in network.parameters()) > 0


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_a_step_moves_the_weights_in_channels_last(name: str):
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    before = layer.weight.detach().clone()
    optimizer = make_optimizer(layer, Config(optimizer=name, init_lr=0.1))
    layer(torch.randn(1, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(layer.weight, before)
    assert layer.weight.isfinite().all()
