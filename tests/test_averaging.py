"""The averaged weights: the formula, the warm-up of the decay, and what a checkpoint brings back."""

from __future__ import annotations

import torch
from torch import nn

from models import CTRBOX
from tests.test_ctrbox import OddBackbone
from tools.training.averaging import WeightAverage


class Small(nn.Module):
    """A weight, a buffer, and a counter."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((2, 3), value))
        self.norm = nn.BatchNorm2d(2)

    def set_to(self, value: float) -> None:
        with torch.no_grad():
            self.weight.fill_(value)
            self.norm.running_mean.fill_(value)
            self.norm.num_batches_tracked += 1


def decay_of(decay: float, number: int) -> float:
    return min(decay, (1 + number) / (10 + number))


def test_it_is_the_moving_average_with_a_rising_decay():
    """(1 + n) / (10 + n) until that is above the decay, as TensorFlow's; after step 1 the start hardly counts."""
    network, decay = Small(1.0), 0.4
    average, expected = WeightAverage(network, decay), 1.0
    for number in range(12):
        network.set_to(float(number))
        average.update(network)
        # torch takes the first weights as they are; from then on it counts the steps that are in.
        kept = 0.0 if number == 0 else decay_of(decay, number)
        expected = kept * expected + (1 - kept) * number
        torch.testing.assert_close(average.module.weight, torch.full((2, 3), expected))
        torch.testing.assert_close(average.module.norm.running_mean, torch.full((2,), expected))
    assert average.num_steps == 12


def test_counters_are_copied_and_nothing_asks_for_a_gradient():
    network = Small()
    average = WeightAverage(network, 0.9)
    for value in (1.0, 2.0, 3.0):
        network.set_to(value)
        average.update(network)
    assert average.module.norm.num_batches_tracked == 3
    assert not any(parameter.requires_grad for parameter in average.module.parameters())


def test_it_is_apart_from_the_network_that_is_trained():
    network = Small(1.0)
    average = WeightAverage(network, 0.9)
    network.set_to(5.0)
    assert average.module.weight[0, 0] == 1.0
    average.module.weight.data.fill_(9.0)
    assert network.weight[0, 0] == 5.0


def test_without_a_decay_it_is_the_network_when_it_is_asked_for():
    network = Small(1.0)
    average = WeightAverage(network, 0.0)
    network.set_to(2.0)
    average.update(network)
    assert average.module.weight[0, 0] == 1.0
    average.catch_up(network)
    assert average.module.weight[0, 0] == 2.0
    assert average.module.norm.num_batches_tracked == 1


def test_with_a_decay_it_does_not_catch_up():
    network = Small(1.0)
    average = WeightAverage(network, 0.5)
    average.update(network)
    network.set_to(2.0)
    average.catch_up(network)
    assert average.module.weight[0, 0] == 1.0


def test_restored_it_goes_on_bit_for_bit():
    torch.manual_seed(0)
    values = torch.rand(20).tolist()
    straight = Small(1.0)
    average = WeightAverage(straight, 0.998)
    for value in values[:7]:
        straight.set_to(value)
        average.update(straight)
    kept = {name: tensor.clone() for name, tensor in average.module.state_dict().items()}
    resumed = Small()
    resumed.load_state_dict(straight.state_dict())
    other = WeightAverage(resumed, 0.998)
    other.restore(kept, average.num_steps)
    for value in values[7:]:
        for network, of in ((straight, average), (resumed, other)):
            network.set_to(value)
            of.update(network)
    assert other.num_steps == average.num_steps == 20
    others = other.module.state_dict()
    assert all(torch.equal(value, others[name]) for name, value in average.module.state_dict().items())


def test_it_averages_a_detector_that_still_detects():
    torch.manual_seed(0)
    network = CTRBOX(2, OddBackbone(), head_norm="batch")
    average = WeightAverage(network, 0.9)
    average.update(network)
    network.train()(torch.randn(2, 3, 64, 64))
    average.update(network)
    assert set(average.module.state_dict()) == set(network.state_dict())
    with torch.inference_mode():
        assert average.module.eval()(torch.zeros(1, 3, 64, 64)).hm.isfinite().all()
