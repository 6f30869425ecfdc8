"""Every registered backbone keeps the contract; names are torchvision's; weights load wholly or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.backbones import BACKBONES, WEIGHTS_URLS, Backbone, build_backbone, known_backbones
from models.backbones.resnet import BasicBlock, Bottleneck, ResNet

REAL_DATA = Path(os.environ.get("BBAV_REAL_DATA", Path(__file__).parents[1] / "../shared/data"))
CHANNELS = {  # spec.md, "Network"
    "resnet18": (64, 128, 256, 512),
    "resnet34": (64, 128, 256, 512),
    "resnet50": (256, 512, 1024, 2048),
    "resnet101": (256, 512, 1024, 2048),
    "resnet152": (256, 512, 1024, 2048),
    "mobilenetv2": (24, 32, 96, 320),
}
# Trainable parameters of torchvision's networks (its documentation, IMAGENET1K_V1) minus what the cut leaves out:
# 1000 * 512 + 1000 (18, 34), 1000 * 2048 + 1000 (50 and up); classifier 1,281,000 and last conv 412,160 (mobilenet).
NUM_PARAMETERS = {
    "resnet18": 11_689_512 - 513_000,
    "resnet34": 21_797_672 - 513_000,
    "resnet50": 25_557_032 - 2_049_000,
    "resnet101": 44_549_160 - 2_049_000,
    "resnet152": 60_192_808 - 2_049_000,
    "mobilenetv2": 3_504_872 - 1_281_000 - 412_160,
}


@pytest.mark.parametrize("name", known_backbones())
def test_every_backbone_keeps_what_it_declares(name: str) -> None:
    with torch.device("meta"):  # shapes without the arithmetic
        backbone = build_backbone(name).eval()
        maps = backbone(torch.zeros(1, 3, 64, 96))
    assert isinstance(backbone, Backbone)
    assert [m.shape[1] for m in maps] == list(backbone.out_channels)
    assert [tuple(m.shape[2:]) for m in maps] == [(64 // s, 96 // s) for s in backbone.strides]
    assert backbone.strides[0] == 4


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_and_size_are_those_of_the_spec_and_torchvision(name: str) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name)
    assert backbone.out_channels == CHANNELS[name]
    assert backbone.strides == (4, 8, 16, 32)
    assert sum(p.numel() for p in backbone.parameters()) == NUM_PARAMETERS[name]


def test_resnet18_has_torchvisions_names() -> None:
    names = set(build_backbone("resnet18").state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer1.0.conv2.weight", "layer4.0.downsample.1.bias"} <= names
    assert not [name for name in names if name.startswith(("fc", "layer1.0.downsample"))]


def test_every_weights_address_belongs_to_a_backbone_and_carries_its_hash() -> None:
    assert set(WEIGHTS_URLS) <= set(BACKBONES)
    for url in WEIGHTS_URLS.values():
        assert int(url.removesuffix(".pth").rsplit("-", 1)[1], 16)


def test_an_unknown_name_is_answered_with_the_known_and_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet19'; known: \['resnet18', .*; nearest: 'resnet18'"):
        build_backbone("resnet19")
    with pytest.raises(ValueError, match=r"known: \[.*\]$"):
        build_backbone("")


def test_pretrained_weights_are_copied_and_the_classifier_left_out() -> None:
    source = build_backbone("resnet18").state_dict()
    given = {k: v for k, v in source.items() if not k.endswith("num_batches_tracked")}  # as in old ImageNet files
    given |= {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    loaded = build_backbone("resnet18", given).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in source.items())


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda d: d.pop("layer2.0.conv1.weight"), r"119 of its 120 .*; 1 missing \(layer2\.0\.conv1\.weight\)"),
        (lambda d: d.update({"conv1.weight": torch.zeros(64, 1, 7, 7)}), r"1 of another shape .*64, 1, 7, 7.*64, 3, 7"),
        (lambda d: d.update({"layer5.weight": torch.zeros(1)}), r"120 of its 120 .* 1 unknown .*layer5\.weight"),
        (dict.clear, r"0 of its 120 tensors match; 100 missing \(conv1\.weight, bn1\.weight, bn1\.bias, \.\.\.\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    damage: Callable[[dict[str, torch.Tensor]], object], sentence: str
) -> None:
    """Known defect 11: the published code loads with strict=False, so a file without one matching name is accepted."""
    weights = dict(build_backbone("resnet18").state_dict())
    damage(weights)
    with pytest.raises(ValueError, match=sentence):
        build_backbone("resnet18", weights)


def test_torchvisions_mobilenet_file_loads() -> None:
    path = REAL_DATA / "weights" / "mobilenet_v2_imagenet.pth"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    weights = torch.load(path, weights_only=True)
    backbone = build_backbone("mobilenetv2", weights)
    assert torch.equal(backbone.state_dict()["features.17.conv.2.weight"], weights["features.17.conv.2.weight"])
    with pytest.raises(ValueError, match="not of backbone 'resnet18'"):
        build_backbone("resnet18", weights)


def test_the_resnet_family_reaches_its_relatives() -> None:
    """ResNeXt and Wide ResNet have torchvision's parameter counts, a dilated last stage keeps stride 16."""
    with torch.device("meta"):
        resnext = ResNet(Bottleneck, (3, 4, 6, 3), groups=32, width_per_group=4)
        wide = ResNet(Bottleneck, (3, 4, 6, 3), width_per_group=128)
    assert sum(p.numel() for p in resnext.parameters()) == 25_028_904 - 2_049_000  # torchvision, resnext50_32x4d
    assert sum(p.numel() for p in wide.parameters()) == 68_883_240 - 2_049_000  # torchvision, wide_resnet50_2
    dilated = ResNet(Bottleneck, (1, 1, 1, 2), replace_stride_with_dilation=(False, False, True)).eval()
    assert dilated.strides == (4, 8, 16, 16)
    assert dilated(torch.zeros(1, 3, 64, 64))[3].shape == (1, 2048, 4, 4)
    with pytest.raises(ValueError, match="use Bottleneck"):
        ResNet(BasicBlock, (2, 2, 2, 2), groups=32)


def test_a_backbone_without_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Backbone has no forward"):
        Backbone()(torch.zeros(1, 3, 32, 32))
