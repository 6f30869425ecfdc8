"""Heads at the peaks alone say what they say on the whole map."""

from __future__ import annotations

import pytest
import torch

from models import CTRBOX, decode
from models.cell_norm import CellNorm
from models.peak_heads import PeakHead, PeakNetwork


@pytest.fixture(scope="module", params=["none", "batch", "layer"])
def network(request) -> CTRBOX:
    torch.manual_seed(0)
    network = CTRBOX(2, "resnet18", head_norm=request.param)
    for head in (network.hm, network.wh, network.reg, network.cls_theta):
        torch.nn.init.normal_(head[-1].weight, std=0.1)
        for layer in head:
            if isinstance(layer, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(layer.weight, 0.5, 2.0)
                torch.nn.init.normal_(layer.bias)
                torch.nn.init.uniform_(layer.running_var, 0.5, 2.0)
                torch.nn.init.normal_(layer.running_mean)
            elif isinstance(layer, CellNorm):
                torch.nn.init.uniform_(layer.weight, 0.5, 2.0)
                torch.nn.init.normal_(layer.bias)
    return network.eval()


@pytest.mark.parametrize("name", ["wh", "reg", "cls_theta"])
def test_every_cell_of_the_map_is_what_it_is_on_the_whole_map(network, name) -> None:
    """The cells at the border, beyond which lies the padding of either convolution, are among them."""
    features, head = torch.randn(2, 64, 5, 7), getattr(network, name)
    cells = torch.stack([torch.randperm(35), torch.randperm(35)])
    with torch.inference_mode():
        whole = head(features).flatten(2).transpose(1, 2)
        found = PeakHead(head)(features, cells)
    expected = torch.stack([whole[image, cells[image]] for image in range(2)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_boxes_are_the_same(network) -> None:
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        expected, found = decode(network(images), 40), decode(PeakNetwork(network)(images), 40)
    assert (expected.scores > 0).sum() > 40
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)
