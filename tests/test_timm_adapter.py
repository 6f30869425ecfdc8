"""Networks of timm's as backbones: ten families keep the contract, and what cannot be one is refused in a sentence."""

from __future__ import annotations

import builtins
import sys

import pytest
import torch

from models import CTRBOX, Backbone, BackboneError, build_backbone, timm_name
from models.backbones import timm_adapter
from models.backbones.timm_adapter import TimmBackbone, timm_names
from tests.test_freezing import moved, names_of

pytest.importorskip("timm", reason="timm is not installed: pip install -r requirements-timm.txt")

# The smallest of each family, with the channels that timm's own documentation gives.
FAMILIES = {
    "convnext_tiny": (96, 192, 384, 768),
    "hgnetv2_b0": (64, 256, 512, 1024),
    "fastvit_t8": (48, 96, 192, 384),
    "swin_tiny_patch4_window7_224": (96, 192, 384, 768),
    "pvt_v2_b0": (32, 64, 160, 256),
    "hrnet_w18_small": (128, 256, 512, 1024),
    "dla34": (64, 128, 256, 512),
    "mobilenetv4_conv_small": (32, 64, 96, 960),
    "regnety_002": (24, 56, 152, 368),
    "edgenext_xx_small": (24, 48, 88, 168),
    "mobilenetv3_large_100": (24, 40, 112, 960),
    "efficientnet_b0": (24, 40, 112, 320),
    "vgg16_bn": (256, 512, 512, 512),
}


def families(*at_once: str) -> list:
    """All of them, those that are not tested at once as slow ones."""
    return [pytest.param(name, marks=() if name in at_once else pytest.mark.long) for name in FAMILIES]


@pytest.mark.slow
@pytest.mark.parametrize("name", families("hgnetv2_b0", "swin_tiny_patch4_window7_224", "mobilenetv4_conv_small"))
def test_ten_families_keep_what_they_declare_at_another_shape(name: str) -> None:
    backbone = build_backbone(f"timm/{name}").eval()
    with torch.no_grad():
        maps = backbone(torch.rand(2, 3, 96, 64))
    assert isinstance(backbone, Backbone)
    assert backbone.out_channels == FAMILIES[name]
    assert backbone.strides == (4, 8, 16, 32)
    assert [found.shape for found in maps] == [
        (2, channels, 96 // stride, 64 // stride)
        for channels, stride in zip(backbone.out_channels, backbone.strides, strict=True)
    ]
    assert all(found.is_contiguous() or found.is_contiguous(memory_format=torch.channels_last) for found in maps)


@pytest.mark.parametrize("name", [*families("dla34", "hrnet_w18_small", "vgg16_bn"), "cspnext_tiny"])
def test_the_five_stages_of_ten_families_hold_every_parameter_and_buffer_once(name: str) -> None:
    with torch.device("meta"):
        backbone = build_backbone(f"timm/{name}")
    stages = backbone.stage_modules()
    found = [id(value) for stage in stages for value in stage.state_dict(keep_vars=True).values()]
    assert len(stages) == 5
    assert sorted(found) == sorted(id(value) for value in backbone.state_dict(keep_vars=True).values())


@pytest.mark.parametrize("name", ["mobilenetv4_conv_small", "pvt_v2_b0"])
def test_what_lies_behind_a_map_is_in_a_later_stage(name: str) -> None:
    """C_k does not change when the stages after its own do."""
    torch.manual_seed(0)
    backbone, images = build_backbone(f"timm/{name}").eval(), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = backbone(images)
        for stage in backbone.stage_modules()[3:]:
            for parameter in stage.parameters():
                parameter.add_(1.0)
        after = backbone(images)
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, True, False, False]


def test_frozen_stages_of_a_timm_network_stay_bit_for_bit_and_the_rest_learns() -> None:
    torch.manual_seed(0)
    network = CTRBOX(2, "timm/mobilenetv4_conv_small")
    network.freeze(2)
    stages = network.base_network.stage_modules()
    changed = moved(network)
    assert not changed & names_of(network, stages[:2])
    assert {f"base_network.{name}" for name, _ in network.base_network.named_parameters()} - names_of(
        network, stages[:2]
    ) <= changed


@pytest.mark.slow
def test_stages_that_are_not_known_are_a_sentence() -> None:
    with torch.device("meta"):
        backbone = build_backbone("timm/mvitv2_tiny")
    with pytest.raises(BackboneError, match="the stages of timm/mvitv2_tiny are not known"):
        backbone.stage_modules()


@pytest.mark.slow
def test_fastvit_gives_timms_maps_and_lives_through_a_step_in_channels_last() -> None:
    """The gradient of its stem's strided 1x1 convolution killed the process."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    backbone, images = build_backbone("timm/fastvit_t8").eval(), torch.rand(2, 3, 64, 96)
    theirs = timm.create_model("fastvit_t8", features_only=True).eval()
    theirs.load_state_dict(backbone.network.state_dict())
    with torch.no_grad():
        for one, other in zip(backbone(images), theirs(images), strict=True):
            torch.testing.assert_close(one, other)
    backbone.train().to(memory_format=torch.channels_last)
    for _ in range(2):
        sum(found.mean() for found in backbone(images.to(memory_format=torch.channels_last))).backward()
    assert all(value.grad.isfinite().all() for value in backbone.parameters())


def test_short_names_are_aliases_of_timms() -> None:
    assert timm_name("mobilenetv3_large") == "mobilenetv3_large_100"
    assert timm_name("timm/dla34") == "dla34"
    assert timm_name("resnet18") is None
    assert build_backbone("efficientnet_b0").out_channels == (24, 40, 112, 320)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("vit_tiny_patch16_224", "timm/vit_tiny_patch16_224 has maps at strides 16; a backbone needs 4, 8, 16 and 32"),
        ("csatv2", "timm/csatv2 has maps at strides 8, 16, 32, 64; a backbone needs"),
        ("efficientformerv2_s0", r"takes inputs of 224 x 224 alone \(.*a backbone takes any multiple of 32"),
        ("inception_v3", r"timm/inception_v3 fails on an image of 64 x 96: Calculated padded input size"),
        ("convnext_tinny", r"knows no network 'convnext_tinny'; nearest: timm/convnext_tiny, "),
        ("convnext_tiny.nope", r"timm/convnext_tiny.nope: Invalid pretrained tag \(nope\)"),
        ("hf-hub:someone/net", "knows no network 'hf-hub:someone/net'"),
        ("local-dir:/tmp/net", "knows no network 'local-dir:/tmp/net'"),
        ("", "knows no network ''"),
    ],
)
def test_a_network_that_cannot_be_a_backbone_is_refused_by_name(name: str, sentence: str) -> None:
    with pytest.raises(BackboneError, match=sentence):
        build_backbone(f"timm/{name}")


@pytest.mark.slow
def test_a_network_of_fixed_size_takes_others_where_timm_lets_it() -> None:
    """Swin's published size is 224 x 224; sides that its windows do not divide are padded inside."""
    backbone = TimmBackbone("swin_tiny_patch4_window7_224").eval()
    with torch.no_grad():
        assert [found.shape[-2:] for found in backbone(torch.rand(1, 3, 96, 160))] == [
            (24, 40), (12, 20), (6, 10), (3, 5),
        ]  # fmt: skip


def test_maps_are_chosen_by_stride_not_by_number() -> None:
    """DLA's maps begin at stride 1, ResNet's at 2, ConvNeXt's at 4."""
    assert {timm_adapter._survey(name).indices for name in ("dla34", "resnet18", "convnext_tiny")} == {
        (2, 3, 4, 5), (1, 2, 3, 4), (0, 1, 2, 3),
    }  # fmt: skip


@pytest.fixture
def no_timm(monkeypatch):
    """A function that makes `import timm` fail with an error."""

    def fail(error: Exception) -> None:
        real = builtins.__import__

        def refuse(name: str, *arguments: object, **options: object) -> object:
            if name == "timm":
                raise error
            return real(name, *arguments, **options)

        monkeypatch.delitem(sys.modules, "timm")
        monkeypatch.setattr(builtins, "__import__", refuse)
        timm_names.cache_clear()
        timm_adapter._survey.cache_clear()

    yield fail
    timm_names.cache_clear()
    timm_adapter._survey.cache_clear()


def test_without_timm_the_sentence_names_the_pip_line(no_timm) -> None:
    no_timm(ImportError("No module named 'timm'"))
    with pytest.raises(BackboneError, match=r"need it: pip install -r requirements-timm.txt"):
        build_backbone("efficientnet_b0")
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet19'; known: .*; nearest: 'resnet18'"):
        build_backbone("resnet19")


def test_a_torchvision_of_another_build_is_told_with_what_to_do(no_timm) -> None:
    no_timm(RuntimeError("operator torchvision::nms does not exist"))
    with pytest.raises(
        BackboneError, match=r"torchvision::nms does not exist\): install the torchvision that goes with"
    ):
        build_backbone("timm/dla34")


def test_an_unknown_plain_name_is_answered_with_timms_too() -> None:
    with pytest.raises(ValueError, match=r"unknown backbone 'convnext_tiny'; .*; nearest: 'timm/convnext_tiny'"):
        build_backbone("convnext_tiny")
