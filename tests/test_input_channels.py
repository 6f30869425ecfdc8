"""Backbones for pictures of one or four channels: the weights that they keep, and that they answer as before."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from models import adapt_input, adapt_weights, build_backbone
from models.backbones import Backbone
from models.input_channels import adapt_kernel
from tests.test_ctrbox import OddBackbone


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenetv2"])
@pytest.mark.parametrize("num_channels", [1, 4])
def test_every_backbone_can_read_other_pictures(name: str, num_channels: int) -> None:
    with torch.device("meta"):
        plain, adapted = build_backbone(name), build_backbone(name)
        adapt_input(adapted, num_channels)
        maps = adapted.train()(torch.zeros(2, num_channels, 64, 96))
    assert [m.shape[1] for m in maps] == list(adapted.out_channels)
    changed = [key for key, value in adapted.state_dict().items() if value.shape != plain.state_dict()[key].shape]
    assert len(changed) == 1


def test_a_grey_picture_is_answered_as_its_three_equal_channels_were() -> None:
    torch.manual_seed(0)
    backbone, grey = OddBackbone(), torch.randn(2, 1, 64, 96)
    before = backbone(grey.expand(-1, 3, -1, -1))
    adapt_input(backbone, 1)
    for ours, theirs in zip(backbone(grey), before, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_colours_twice_over_are_answered_as_once() -> None:
    torch.manual_seed(0)
    backbone, image = OddBackbone(), torch.randn(2, 3, 64, 96)
    before = backbone(image)
    adapt_input(backbone, 6)
    for ours, theirs in zip(backbone(image.repeat(1, 2, 1, 1)), before, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_kernels_are_those_of_timm() -> None:
    timm = pytest.importorskip("timm.models", exc_type=(ImportError, RuntimeError), reason="timm is not at hand here")
    kernel = torch.randn(5, 3, 7, 7)
    for num_channels in (1, 3, 4, 6, 13):
        torch.testing.assert_close(adapt_kernel(kernel, num_channels), timm.adapt_input_conv(num_channels, kernel))


class Branches(OddBackbone):
    """A second convolution beside the first, which reads every so manieth pixel."""

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        self.every, self.beside = every, nn.Conv2d(3, 7, 1, stride=4 // every)

    def forward(self, images):
        c1, *others = super().forward(images)
        return c1 + self.beside(images[..., :: self.every, :: self.every]), *others


def test_several_convolutions_side_by_side_are_all_adapted_and_weights_of_a_file_fit() -> None:
    source, target = Branches(), Branches()
    adapt_input(target, 4)
    fitted = adapt_weights(source.state_dict(), target, 4)
    target.load_state_dict(fitted)
    changed = [key for key, value in fitted.items() if value.shape != source.state_dict()[key].shape]
    assert changed == ["stages.0.weight", "beside.weight"]


def test_inner_convolutions_of_as_many_channels_are_left_alone() -> None:
    """Four bands from three turned the weights of a squeeze and excitation of four channels to zeros, too."""

    class Excited(OddBackbone):
        def __init__(self) -> None:
            super().__init__()
            width = self.out_channels[0]
            self.squeeze, self.excite = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)

        def forward(self, images):
            c1, *others = super().forward(images)
            return c1 * self.excite(self.squeeze(c1.mean((2, 3), keepdim=True))), *others

    source, target = Excited(), Excited()
    adapt_input(target, 4)
    weights = source.state_dict()
    fitted = adapt_weights(weights, target, 4, sources=[2, 0, 1, None])
    assert [name for name, value in fitted.items() if not torch.equal(value, weights.get(name))] == ["stages.0.weight"]
    assert torch.equal(fitted["stages.0.weight"][:, 0], weights["stages.0.weight"][:, 2])
    assert not fitted["stages.0.weight"][:, 3].any()


def test_a_branch_that_reads_every_other_pixel_is_adapted_too() -> None:
    """As in timm's RepVGG, MobileOne and FastViT."""
    backbone = Branches(every=2)
    adapt_input(backbone, 4)
    assert backbone.beside.in_channels == 4
    assert backbone(torch.zeros(1, 4, 64, 64))[0].shape[1] == backbone.out_channels[0]


def test_a_network_that_reads_no_colours_is_refused() -> None:
    class Grey(OddBackbone):
        def forward(self, images):
            return super().forward(images[:, 1:4])

    with pytest.raises(ValueError, match="Grey cannot be made to read"):
        adapt_input(Grey(), 4)


def test_training_mode_and_what_is_frozen_stay() -> None:
    backbone = OddBackbone()
    backbone.freeze_parts([backbone.stages[0]])
    adapt_input(backbone.train(), 1)
    assert backbone.training
    assert not backbone.stages[0].weight.requires_grad


def test_a_network_that_reads_its_image_otherwise_is_refused_in_a_sentence() -> None:
    class Flat(Backbone):
        out_channels = (1, 1, 1, 1)

        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(3), conv=nn.Conv2d(3, 1, 1)))

        def forward(self, images):
            return (self.parts(images),) * 4

    with pytest.raises(ValueError, match="Flat cannot be made to read 4 channels: something beside convolutions"):
        adapt_input(Flat(), 4)
    with pytest.raises(ValueError, match="a picture has at least 1 channel, not 0"):
        adapt_input(OddBackbone(), 0)
