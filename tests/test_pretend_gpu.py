"""What runs on a GPU: nothing of it stays on the CPU, and it is looked at as seldom as can be. Checked without one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models import CTRBOX, IMAGENET, preprocessing
from models.preprocessing import Preprocessing, gain_and_shift
from tests.pretend_gpu import DEVICE, FarTensor, PretendGPU, move_module
from tests.test_ctrbox import OddBackbone
from tests.test_training_step import make_batch
from tools.architecture import Architecture
from tools.detection.detect import Inference
from tools.engine import Engine
from tools.outcomes import DetectionSettings
from tools.setting_flags import parse_settings
from tools.training.averaging import WeightAverage
from tools.training.optimizer import make_criterion
from tools.training.training_step import TrainingStep


def make_network() -> CTRBOX:
    torch.manual_seed(0)
    return CTRBOX(2, OddBackbone(), head_norm="layer")


def far_scaling(facts: Preprocessing) -> tuple[torch.Tensor, ...]:
    """`torch.tensor` makes nothing on the pretended device; what is made here is moved instead."""
    return tuple(FarTensor(part) for part in gain_and_shift(facts, torch.device("cpu")))


def make_step(*flags: str, far: bool = True) -> TrainingStep:
    """A step of a small network by these flags, on the pretended GPU or here. Torch's fused optimisers refuse a device
    that they do not know, so plain SGD moves the weights."""
    config, network, engine = parse_settings(list(flags)), make_network(), Engine("cpu", "fp32")
    criterion = make_criterion(config)
    if far:
        move_module(network)
        move_module(criterion)
        engine.device = DEVICE
    optimizer = engine.accelerator.prepare(torch.optim.SGD(network.parameters(), 0.01, foreach=False))
    options = {"clip_norm": config.clip_norm, "sparse": config.sparse_heads, "num_parts": config.accumulate}
    step = TrainingStep(engine, network.train(), optimizer, criterion, IMAGENET, **options)
    if far:
        step._scaling = far_scaling(IMAGENET)
    return step


def test_the_pretended_gpu_computes_as_the_cpu_does_and_refuses_what_lies_on_the_cpu():
    weights = torch.arange(6.0).reshape(2, 3)
    with PretendGPU() as gpu:
        layer = nn.Linear(3, 2, bias=False)
        layer.weight.data = weights.clone()
        move_module(layer)
        (layer(torch.ones(1, 3, device=DEVICE)) ** 2).sum().backward()
        assert layer.weight.grad.device == DEVICE
        with pytest.raises(RuntimeError, match="same device"):
            layer(torch.ones(1, 3))
        assert not gpu.looks
        layer.weight.sum().item()
        layer.weight.cpu()
        torch.ones(3).to(DEVICE, non_blocking=True)
        operators = [look.split(" in ")[0] for look in gpu.looks]
        assert operators == [
            "aten._local_scalar_dense.default",
            "aten._to_copy.default",
        ]
    assert torch.equal(layer.weight.grad.near, torch.tensor([[6.0, 6.0, 6.0], [24.0, 24.0, 24.0]]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "num_looks"),
    [
        # Counts of the objects, of the cells that they claim and that they get, and of the cells of the sparse heads.
        ((), 5),
        (("--no-sparse_heads",), 4),
        (("--accumulate", "2"), 9),
        (("--recipe", "published"), 2),
    ],
)
def test_a_step_reads_counts_before_the_network_and_all_its_numbers_at_once(flags: tuple[str, ...], num_looks: int):
    step, here = make_step(*flags), make_step(*flags, far=False)
    with PretendGPU() as gpu:
        result = step(*make_batch(4))
    assert result.terms == pytest.approx(here(*make_batch(4)).terms, rel=1e-5)
    assert len(gpu.looks) == num_looks, gpu.looks
    assert [look for look in gpu.looks if look.startswith("tolist in __call__")] == gpu.looks[-1:]


def test_averaging_sends_two_numbers_to_the_gpu_and_asks_for_none():
    network = make_network()
    average = WeightAverage(network, 0.998)
    move_module(network)
    move_module(average.module)
    with PretendGPU() as gpu:
        for _ in range(3):
            average.update(network)
    assert average.num_steps == 3
    # Torch sends its count of steps to the weights' device, once for floats and once for counters.
    assert len(gpu.looks) == 4  # the first weights are taken as they are
    assert all("update_parameters" in look for look in gpu.looks)


def test_detecting_brings_boxes_from_the_gpu_and_asks_it_for_nothing_else(monkeypatch: pytest.MonkeyPatch):
    network = make_network().eval()
    architecture = Architecture("resnet18", "layer", ("car", "boat"), (64, 64), IMAGENET)
    images, settings = torch.rand(2, 64, 64, 3) * 255, DetectionSettings(num_peaks=20)
    here = Inference(network, architecture, settings, torch.device("cpu")).batch(images)
    move_module(network)
    monkeypatch.setattr(preprocessing, "gain_and_shift", lambda facts, _: far_scaling(facts))
    with PretendGPU() as gpu:
        found = Inference(network, architecture, settings, DEVICE).batch(images)
    for far, near in zip(found, here, strict=True):
        assert torch.allclose(far, near, rtol=1e-5)
    assert len(gpu.looks) == 3, gpu.looks  # quads, scores and labels
