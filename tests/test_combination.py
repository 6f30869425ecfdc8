"""The combination module and the channel table."""

from __future__ import annotations

import torch

from models.combination import CombinationModule, channel_table


def test_the_channel_table_follows_from_the_backbone_alone() -> None:
    table = channel_table((256, 512, 1024, 2048))  # resnet101, as in the published code
    assert table == {"dec_c4": (2048, 1024), "dec_c3": (1024, 512), "dec_c2": (512, 256)}


def test_the_output_has_size_and_channels_of_the_fine_map() -> None:
    module = CombinationModule(c_low=11, c_up=7)
    out = module(torch.randn(2, 11, 3, 5), torch.randn(2, 7, 6, 10))
    assert out.shape == (2, 7, 6, 10)
    assert module(torch.zeros(2, 11, 2, 2), torch.zeros(2, 7, 2, 2)).shape == (2, 7, 2, 2)  # dilated: sizes are equal


def test_parameter_names_are_those_of_the_published_weights() -> None:
    names = {name for name, _ in CombinationModule(8, 4).named_parameters()}
    assert names == {f"{part}.{i}.{kind}" for part in ("up", "cat_conv") for i in (0, 1) for kind in ("weight", "bias")}


def test_the_coarse_map_is_enlarged_with_half_pixel_centres() -> None:
    """Two cells become four: 0, 1/4, 3/4, 1 of the way (align_corners=False), then conv, ReLU, conv, ReLU."""
    module = CombinationModule(1, 1).eval()  # fresh batch norms, which change nothing but for their epsilon
    with torch.no_grad():
        for convolution in (module.up[0], module.cat_conv[0]):
            for parameter in convolution.parameters():
                parameter.zero_()
        module.up[0].weight[0, 0, 1, 1] = 1.0
        module.cat_conv[0].weight[0, 1] = 1.0
    out = module(torch.tensor([[[[0.0, 1.0]]]]), torch.zeros(1, 1, 1, 4))
    torch.testing.assert_close(out, torch.tensor([[[[0.0, 0.25, 0.75, 1.0]]]]), atol=1e-4, rtol=0)
