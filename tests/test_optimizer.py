"""One step of training: rates, weight decay, and steps that are not finite."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from datasets.targets import Targets
from models import CTRBOX, Backbone, BBAVectorsLoss
from tools.config import Config
from tools.optimizer import learning_rate, make_optimizer, train_step


def _one_object_targets(h: int = 16, w: int = 16, num_classes: int = 1) -> Targets:
    hm = torch.zeros(1, num_classes, h, w)
    hm[0, 0, 4, 5] = 1
    return Targets(
        hm, torch.ones(1, 1, 10), torch.full((1, 1, 2), 0.5), torch.ones(1, 1, 1),
        torch.tensor([[4 * w + 5]]), torch.tensor([[True]]),
    )  # fmt: skip


class _OddBackbone(Backbone):
    """Channels that no published network has."""

    out_channels = (7, 11, 13, 17)
    strides = (4, 8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        sides = (3, *self.out_channels)
        self.stages = nn.ModuleList(
            nn.Conv2d(sides[i], sides[i + 1], 4 if i == 0 else 2, 4 if i == 0 else 2) for i in range(4)
        )

    def forward(self, images):
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return tuple(maps)


def test_a_made_up_backbone_trains_a_step():
    torch.manual_seed(0)
    model = CTRBOX(1, _OddBackbone()).train()
    before = model.base_network.stages[0].weight.clone()
    optimizer = make_optimizer(model, 1e-3)
    terms, taken = train_step(
        model, BBAVectorsLoss(), optimizer, torch.randn(1, 3, 64, 64), _one_object_targets(), torch.float32
    )
    assert taken
    assert set(terms) == {"hm", "wh", "reg", "cls_theta", "total"}
    assert not torch.equal(model.base_network.stages[0].weight, before)


def test_a_step_that_is_not_finite_leaves_the_weights():
    """Defect 3: the published code printed and stepped anyway."""
    torch.manual_seed(0)
    model = CTRBOX(1, _OddBackbone()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = make_optimizer(model, 1e-3)
    images = torch.full((1, 3, 64, 64), math.nan)
    terms, taken = train_step(model, BBAVectorsLoss(), optimizer, images, _one_object_targets(), torch.float32)
    assert not taken
    assert math.isnan(terms["total"])
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name]), name


def test_learning_rate_warms_up_then_falls_to_zero():
    config = Config(init_lr=2.0)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert max(rates) == rates[4]
    assert all(a >= b for a, b in zip(rates[4:], rates[5:], strict=False))
    assert rates[-1] < 0.01
    assert learning_rate(config, 0, 1) == 2.0


def test_norms_and_biases_have_no_weight_decay():
    optimizer = make_optimizer(CTRBOX(1, "resnet18", head_norm=True), 1e-3)
    decayed, others = optimizer.param_groups
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim == 1 for p in others["params"])
    assert others["weight_decay"] == 0 < decayed["weight_decay"]
