"""Freezing: what is named stays bit for bit in training, statistics included, and every backbone has its stages."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models import CTRBOX, BBAVectorsLoss
from models.backbones import build_backbone, known_backbones
from models.freezing import Freezable, batch_norms
from tests.test_losses import make_targets


def moved(network: CTRBOX, num_steps: int = 2) -> set[str]:
    """Names of the parameters and buffers that some steps of training change."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer, criterion = torch.optim.SGD(trained, lr=0.1, weight_decay=0.1), BBAVectorsLoss()
    network.train()
    for _ in range(num_steps):
        optimizer.zero_grad()
        images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        criterion(network(images), make_targets(num_classes=2, size=16))["total"].backward()
        optimizer.step()
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


def names_of(network: nn.Module, parts: list[nn.Module]) -> set[str]:
    inside = {id(tensor) for part in parts for tensor in part.state_dict(keep_vars=True).values()}
    return {name for name, tensor in network.state_dict(keep_vars=True).items() if id(tensor) in inside}


@pytest.mark.parametrize("name", known_backbones())
def test_the_five_stages_hold_every_parameter_and_buffer_once(name: str):
    with torch.device("meta"):
        backbone = build_backbone(name)
    stages = backbone.stage_modules()
    assert len(stages) == 5
    found = [id(value) for stage in stages for value in stage.state_dict(keep_vars=True).values()]
    assert sorted(found) == sorted(id(value) for value in backbone.state_dict(keep_vars=True).values())


@pytest.mark.parametrize("name", known_backbones())
def test_the_stages_come_in_the_order_of_the_maps(name: str):
    """With the weights of the first k + 1 stages alone, the maps up to C_k are what they were."""
    with torch.device("meta"):
        backbone = build_backbone(name)
        stages, reached = backbone.stage_modules(), []
        for stage in stages:
            last = [module for module in stage.modules() if isinstance(module, nn.BatchNorm2d)][-1]
            last.register_forward_hook(lambda _module, _inputs, output: reached.append(tuple(output.shape)))
        maps = backbone.eval()(torch.zeros(1, 3, 64, 64))
    sides = [shape[2:] for shape in reached]
    assert sides[1:] == [tuple(found.shape[2:]) for found in maps]
    assert len(sides) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "num_stages"), [("resnet18", 1), ("resnet18", 3), ("mobilenetv2", 2), ("resnet18", 5)]
)
def test_frozen_stages_stay_bit_for_bit_and_the_rest_learns(name: str, num_stages: int):
    """Running statistics and their counters are frozen too."""
    torch.manual_seed(0)
    network = CTRBOX(2, name)
    network.freeze(num_stages)
    stages = network.base_network.stage_modules()
    frozen, changed = names_of(network, stages[:num_stages]), moved(network)
    assert frozen
    assert not changed & frozen
    rest = {item for item in set(network.state_dict()) - frozen if not item.endswith(".0.bias")}
    assert rest <= changed  # a bias before a batch norm has no effect, and no gradient


@pytest.mark.slow
@pytest.mark.parametrize("norms", ["none", "backbone", "all"])
def test_frozen_batch_norms_stay_bit_for_bit_and_convolutions_learn(norms: str):
    torch.manual_seed(0)
    network = CTRBOX(2, "resnet18", head_norm="batch")
    network.freeze(norms=norms)
    chosen = {"none": [], "backbone": batch_norms(network.base_network), "all": batch_norms(network)}[norms]
    frozen, changed = names_of(network, chosen), moved(network)
    assert not changed & frozen
    assert names_of(network, batch_norms(network)) - frozen <= changed
    assert {f"{head}.3.weight" for head in ("hm", "wh", "reg", "cls_theta")} <= changed
    assert "base_network.layer4.1.conv2.weight" in changed


def test_batch_norms_are_those_of_the_whole_network():
    network = CTRBOX(2, "resnet18", head_norm="batch")
    assert len(batch_norms(network)) == 20 + 6 + 4  # ResNet-18, two in each combination module, one a head
    assert batch_norms(nn.Conv2d(3, 3, 1)) == []


def test_training_and_evaluation_switch_all_but_the_frozen():
    network = CTRBOX(2, "resnet18", head_norm="batch")
    network.freeze(2, "backbone")
    network.eval()
    assert network.train() is network
    assert not network.base_network.layer1.training
    assert not any(module.training for module in batch_norms(network.base_network))
    assert network.base_network.layer3[0].conv1.training
    assert network.hm[1].training
    network.train(False)
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize("num_stages", [-1, 6])
def test_more_stages_than_there_are_are_refused(num_stages: int):
    with pytest.raises(ValueError, match=f"cannot freeze {num_stages} stages; a backbone has 5"):
        CTRBOX(2, "resnet18").freeze(num_stages)


def test_parts_add_up_and_nothing_frozen_changes_nothing():
    class Pair(Freezable):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.BatchNorm1d(2), nn.BatchNorm1d(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    pair = Pair()
    pair.freeze_parts([])
    assert pair.train().first.training
    pair.freeze_parts([pair.first])
    pair.freeze_parts([pair.second])
    pair.train()
    assert not pair.first.training
    assert not pair.second.training
    assert [name for name, parameter in pair.named_parameters() if parameter.requires_grad] == []
