"""The whole network: sizes, names, initialisation, and that it trains."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from models import CTRBOX, Backbone, BBAVectorsLoss, Maps
from models.cell_norm import CellNorm
from models.ctrbox import HEAD_NORMS, NECKS
from models.losses import BatchTargets
from tests.test_losses import make_targets
from tools import config


class OddBackbone(Backbone):
    """Channels that nobody would have written into a table by hand."""

    out_channels = (7, 11, 13, 17)

    def __init__(self, strides: tuple[int, ...] = (4, 8, 16, 32)) -> None:
        super().__init__()
        self.strides = strides
        channels = (3, *self.out_channels)
        self.stages = nn.ModuleList(
            nn.Conv2d(c_in, c_out, 5, stride=stride // before, padding=2)
            for (c_in, c_out), (before, stride) in zip(pairwise(channels), pairwise((1, *strides)), strict=True)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        maps = []
        for stage in self.stages:
            images = stage(images).relu()
            maps.append(images)
        return tuple(maps)


def published_resnet101_names(num_batches_tracked: bool = True) -> set[str]:
    """Names in the published file: torchvision's resnet101, three modules, four heads."""
    batch_norm = ["weight", "bias", "running_mean", "running_var"] + ["num_batches_tracked"] * num_batches_tracked
    names = ["base_network.conv1.weight", *(f"base_network.bn1.{kind}" for kind in batch_norm)]
    for layer, num_blocks in enumerate((3, 4, 23, 3), start=1):
        for block in range(num_blocks):
            at = f"base_network.layer{layer}.{block}"
            for i in (1, 2, 3):
                names += [f"{at}.conv{i}.weight", *(f"{at}.bn{i}.{kind}" for kind in batch_norm)]
            if block == 0:
                names += [f"{at}.downsample.0.weight", *(f"{at}.downsample.1.{kind}" for kind in batch_norm)]
    for module in ("dec_c2", "dec_c3", "dec_c4"):
        for part in ("up", "cat_conv"):
            names += [f"{module}.{part}.0.weight", f"{module}.{part}.0.bias"]
            names += [f"{module}.{part}.1.{kind}" for kind in batch_norm]
    for head in ("hm", "wh", "reg", "cls_theta"):
        names += [f"{head}.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")]
    return set(names)


@pytest.mark.slow
def test_published_resnet101_weights_fit_name_by_name() -> None:
    state = CTRBOX(15, "resnet101").state_dict()
    assert set(state) == published_resnet101_names()
    # Shapes of the published file's decoder and heads.
    assert state["dec_c4.up.0.weight"].shape == (1024, 2048, 3, 3)
    assert state["dec_c2.cat_conv.0.weight"].shape == (256, 512, 1, 1)
    assert state["hm.0.weight"].shape == (256, 256, 3, 3)
    last = {"hm": (15, 256, 1, 1), "wh": (10, 256, 3, 3), "reg": (2, 256, 1, 1), "cls_theta": (1, 256, 1, 1)}
    assert {head: tuple(state[f"{head}.2.weight"].shape) for head in last} == last


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet18", "resnet101", "mobilenetv2"])
@pytest.mark.parametrize("size", [(32, 64), (96, 160)])
def test_maps_are_exactly_a_quarter_of_the_input(backbone: str, size: tuple[int, int]) -> None:
    """Whatever the backbone: the stride is 4 and no parameter changes it (known defect 25: an own down_ratio)."""
    with torch.inference_mode():
        maps = CTRBOX(3, backbone).eval()(torch.zeros(2, 3, *size))
    assert isinstance(maps, Maps)
    quarter = (size[0] // 4, size[1] // 4)
    assert [tuple(m.shape) for m in maps] == [(2, depth, *quarter) for depth in (3, 10, 2, 1)]
    assert CTRBOX.down_ratio == 4


@pytest.mark.parametrize("argument", ["down_ratio", "heads", "pretrained"])
def test_the_constructor_takes_nothing_else(argument: str) -> None:
    with pytest.raises(TypeError, match=argument):
        CTRBOX(3, "resnet18", **{argument: 2})


@pytest.mark.parametrize(("size", "fitting"), [(602, 608), (606, 608), (610, 640)])
def test_a_size_that_does_not_fit_is_named_with_the_next_that_does(size: int, fitting: int) -> None:
    """Known defect 6: 602, 606 and 610 crash in the middle of the published network."""
    with pytest.raises(ValueError, match=rf"input of {size} x 64 .* multiples of 32; .* is {fitting} x 64"):
        CTRBOX(1, OddBackbone())(torch.zeros(1, 3, size, 64))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"num_classes": 0}, "num_classes must be at least 1, not 0"),
        ({"head_width": 0}, "head_width must be at least 1, not 0"),
        ({"neck": "fpn", "neck_width": 0}, "width of the neck must be at least 1, not 0"),
        ({"neck": "pafpn"}, "unknown neck 'pafpn'; known: combination, fpn"),
    ],
)
def test_a_network_that_cannot_be_is_refused_in_a_sentence(wrong: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        CTRBOX(**{"num_classes": 1, "backbone": OddBackbone(), **wrong})


@pytest.mark.parametrize("neck", NECKS)
@pytest.mark.parametrize("strides", [(4, 8, 16, 32), (4, 8, 16, 16), (4, 4, 8, 16)])
def test_any_channels_and_strides_meet_in_four_maps_at_a_quarter_of_the_input(
    neck: str, strides: tuple[int, ...]
) -> None:
    """No number of a neck or a head is written by hand, and down_ratio is 4 for all of them."""
    net = CTRBOX(3, OddBackbone(strides), head_norm="batch", neck=neck, neck_width=6, head_width=20)
    maps = net(torch.randn(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(2, depth, 16, 24) for depth in (3, 10, 2, 1)]
    assert {getattr(net, head)[0].out_channels for head in ("hm", "wh", "reg", "cls_theta")} == {20}
    assert {getattr(net, head)[0].in_channels for head in ("hm", "wh", "reg", "cls_theta")} == {
        7 if net.neck is None else 6
    }
    sum(m.square().sum() for m in maps).backward()
    assert all(p.grad is not None and p.grad.any() for n, p in net.named_parameters() if not n.endswith("0.bias"))


def test_the_neck_has_its_own_names_and_leaves_the_published_ones() -> None:
    light, published = (set(CTRBOX(1, "resnet18", neck=neck).state_dict()) for neck in ("fpn", "combination"))
    assert {name.split(".")[0] for name in published - light} == {"dec_c2", "dec_c3", "dec_c4"}
    assert {name.split(".")[0] for name in light - published} == {"neck"}


@pytest.mark.parametrize("neck", NECKS)
def test_an_exported_network_says_the_same_in_onnxruntime(neck: str, tmp_path: Path) -> None:
    """At another size and batch than it was exported at, with maps of equal stride inside."""
    torch.manual_seed(0)
    net = CTRBOX(2, OddBackbone((4, 8, 16, 16)), head_norm="batch", neck=neck, neck_width=8, head_width=16)
    net(torch.randn(4, 3, 64, 64))  # some statistics for the batch norms
    net.eval()
    axes = {"images": {0: "batch", 2: "height", 3: "width"}}
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            net, (torch.zeros(1, 3, 64, 96),), tmp_path / "net.onnx", dynamo=False, opset_version=17,
            input_names=["images"], dynamic_axes=axes,
        )  # fmt: skip
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    images = torch.randn(2, 3, 96, 160)
    with torch.inference_mode():
        expected = net(images)
    for ours, theirs in zip(expected, session.run(None, {"images": images.numpy()}), strict=True):
        torch.testing.assert_close(torch.from_numpy(theirs), ours, atol=1e-5, rtol=1e-4)


def test_the_setting_knows_every_norm_of_the_heads() -> None:
    assert set(config.HEAD_NORMS) == set(HEAD_NORMS)


@pytest.mark.parametrize("head_norm", ["none", "batch", "layer"])
def test_heads_start_at_their_priors(head_norm: str) -> None:
    """Known defect 13: the published initialisation tests a Sequential for being a Conv2d, so biases stay random."""
    net = CTRBOX(5, OddBackbone(), head_norm=head_norm)
    for name in ("hm", "wh", "reg", "cls_theta"):
        first, *middle, last = getattr(net, name)
        of_others = {"none": [], "batch": [nn.BatchNorm2d], "layer": [CellNorm]}[head_norm]
        norm = [nn.BatchNorm2d] if (name, head_norm) == ("hm", "layer") else of_others
        assert [type(m) for m in middle] == [*norm, nn.ReLU]
        assert not first.bias.any()
        assert torch.all(last.bias == (-2.19 if name == "hm" else 0.0))
        assert 0.005 < last.weight.std() < 0.015
    maps = net(torch.randn(2, 3, 64, 64))
    torch.testing.assert_close(maps.hm.sigmoid().mean(), torch.tensor(0.1), atol=0.02, rtol=0)


def test_a_made_up_backbone_builds_and_trains_a_step() -> None:
    torch.manual_seed(0)
    net = CTRBOX(2, OddBackbone(), head_norm="batch")
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    total = BBAVectorsLoss()(net(torch.randn(2, 3, 64, 64)), make_targets(num_classes=2, size=16))["total"]
    total.backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    assert total.isfinite()
    # A batch norm takes away the mean, and with it any bias in front of it: all else has moved.
    fixed = [n for n, p in net.named_parameters() if torch.equal(p, before[n])]
    assert not [n for n in fixed if not n.endswith("0.bias")]


@pytest.mark.slow
def test_bf16_autocast_and_channels_last_stay_near_plain_float32() -> None:
    torch.manual_seed(0)
    net = CTRBOX(2, "resnet18").eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        plain = net(images)
        net.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            fast = net(images.to(memory_format=torch.channels_last))
    for a, b in zip(plain, fast, strict=True):
        assert (a - b.float()).abs().max() < 0.05 * plain.wh.abs().max() + 0.05


def three_losses(net: nn.Module, images: Tensor, targets: BatchTargets) -> list[float]:
    criterion, optimizer = BBAVectorsLoss(), torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(3):
        total = criterion(net(images), targets)["total"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    return losses


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_loss_of_three_training_steps_is_the_recorded_one() -> None:
    """A refactor may not move training: same seed, same three losses."""
    torch.manual_seed(7)
    net = CTRBOX(2, "resnet18")
    losses = three_losses(net, torch.randn(2, 3, 64, 64), make_targets(num_classes=2, size=16))
    # Recorded with this very test on torch 2.13.0+cpu, AMD EPYC, one thread, when the network was first written.
    assert losses == pytest.approx([4.885277, 4.450706, 3.943650], abs=1e-4)
