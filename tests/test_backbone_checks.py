"""The contract as checks: every native backbone and ten timm families keep it, and each check can fail."""

from __future__ import annotations

import shutil
from itertools import pairwise

import onnxruntime
import pytest
import torch
from torch import nn

import main
from datasets.demo import write_demo
from models import CTRBOX, Backbone, BackboneError, build_backbone, known_backbones
from tests.test_timm_adapter import FAMILIES
from tools.backbone_checks import (
    CHECKS,
    check_compile,
    check_gradients,
    check_onnx,
    check_repeats,
    check_sizes,
    check_stages,
    export_maps,
)
from tools.checkpoint import load_checkpoint

LIGHT = ("resnet18", "mobilenetv2")
QUICK = [line for line in CHECKS if line not in ("torch.compile", "channels and strides at 608 x 608")]


def names() -> list:
    """Light ones at once; the rest, and all of timm's, when there is time."""
    natives = [pytest.param(name, marks=() if name in LIGHT else pytest.mark.long) for name in known_backbones()]
    return [*natives, *(pytest.param(f"timm/{name}", marks=pytest.mark.long) for name in FAMILIES)]


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_backbone_keeps_the_contract(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name)
    for line in QUICK:
        CHECKS[line](backbone, name)


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory):
    """The first six training scenes of the demo and two of its validation."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    write_demo(folder, num_train=6, num_val=2)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("name", [*known_backbones(), *(f"timm/{name}" for name in FAMILIES)])
def test_every_backbone_trains_ten_steps_on_the_demo_and_exports(name, small_demo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tools.data.ensure_demo", lambda folder: small_demo)
    monkeypatch.setattr("tools.data.DEMO_DIR", small_demo)
    flags = ["--num_images", "20", "--batch_size", "2", "--input_h", "64", "--input_w", "96", "--num_workers", "0"]
    flags += ["--warmup", "0", "--ema", "0", "--val_every", "99", "--tensorboard", "off", "--out", "run"]
    try:
        assert main.main(["--backbone", name, "--pretrained", "none", *flags]) == 0, capsys.readouterr().err
        model, architecture, content = load_checkpoint(tmp_path / "run" / "last.pth")
        assert architecture.backbone == name
        assert content["progress"]["num_images"] == 20
        assert content["progress"]["skipped"] == 0
        session = onnxruntime.InferenceSession(export_maps(model, torch.zeros(1, 3, 64, 96)))
        hm = session.run(["hm"], {"images": torch.rand(1, 3, 64, 96).numpy()})[0]
        assert hm.shape == (1, len(architecture.class_names), 16, 24)
    finally:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)  # a gigabyte for the largest


@pytest.mark.long
@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2", "timm/pvt_v2_b0", "timm/swin_tiny_patch4_window7_224"])
def test_some_compile_and_take_608(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name)
    check_sizes(backbone, name, (608, 608))
    check_compile(backbone, name)


class Five(Backbone):
    """Five convolutions, and whatever a test adds."""

    out_channels = (4, 4, 8, 8)

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(*(nn.Conv2d(c_in, c_out, 3, 2, 1) for c_in, c_out in pairwise((3, 4, 4, 4, 8, 8))))


def test_a_parameter_without_a_part_in_the_maps_is_found() -> None:
    backbone = Five()
    assert check_gradients(backbone, "") == "10 parameters"
    assert all(value.grad is None for value in backbone.parameters())
    backbone.head = nn.Linear(3, 3)
    with pytest.raises(BackboneError, match=r"2 of 12 parameters have no part in the four maps, such as head.weight"):
        check_gradients(backbone, "")


def test_a_gradient_that_is_not_finite_is_found() -> None:
    backbone = Five()
    backbone.stages[4].register_forward_hook(lambda _module, _inputs, found: (found * 0).sqrt() + found)
    with pytest.raises(BackboneError, match=r"the gradient of stages\.\d\.weight is not finite"):
        check_gradients(backbone, "")


def test_chance_in_evaluation_is_found() -> None:
    backbone = Five()
    assert check_repeats(backbone, "") == ""
    backbone.stages[2].register_forward_hook(lambda _module, _inputs, found: nn.functional.dropout(found))
    with pytest.raises(BackboneError, match="C2 differs from run to run in evaluation"):
        check_repeats(backbone, "")


def test_an_image_that_depends_on_its_neighbours_is_found() -> None:
    backbone = Five()
    backbone.stages[3].register_forward_hook(lambda _module, _inputs, found: found - found.mean(0))
    with pytest.raises(BackboneError, match="C3 of an image depends on the other images of its batch"):
        check_repeats(backbone, "")


def test_stages_that_miss_or_repeat_a_parameter_are_found(monkeypatch) -> None:
    backbone = Five()
    assert check_stages(backbone, "").endswith(" M")
    stages = list(backbone.stages)
    for listed, sentence in (
        (stages[:4], "lists 4 parts"),
        ([*stages[:4], nn.Identity()], r"stages.4.weight is in no stage, so that --freeze would miss it"),
        ([*stages[:4], nn.Sequential(*stages[3:])], "stages.3.weight is in two stages"),
    ):
        monkeypatch.setattr(backbone, "stage_modules", lambda found=listed: found)
        with pytest.raises(BackboneError, match=sentence):
            check_stages(backbone, "")


def test_what_cannot_be_exported_is_found() -> None:
    backbone = Five()
    assert check_onnx(backbone, "").endswith("onnxruntime agrees")
    backbone.stages[4].register_forward_hook(
        lambda _module, _inputs, found: torch.linalg.svd(found).S[..., None] + found
    )
    with pytest.raises(Exception, match="svd"):
        check_onnx(backbone, "")


def test_the_exported_file_gives_the_four_maps_by_name() -> None:
    network, images = CTRBOX(3, Five()), torch.rand(1, 3, 64, 96)
    session = onnxruntime.InferenceSession(export_maps(network, images), providers=["CPUExecutionProvider"])
    assert [(part.name, part.shape) for part in session.get_outputs()] == [
        ("hm", [1, 3, 16, 24]), ("wh", [1, 10, 16, 24]), ("reg", [1, 2, 16, 24]), ("cls_theta", [1, 1, 16, 24]),
    ]  # fmt: skip
