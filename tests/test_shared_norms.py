"""Batch norms over all processes: the same network, whatever else its norms do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models import CTRBOX, BackboneError
from models.freezing import batch_norms
from models.shared_norms import share_norms
from tests.test_ctrbox import OddBackbone

IMAGES = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


class ScaledNorm(nn.BatchNorm2d):
    """Does more than torch's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2", "efficientnet_b0", "mobilenetv3_large"])
def test_the_network_stays_the_same(backbone: str) -> None:
    """torch's own conversion loses the activations that are part of timm's batch norms."""
    if backbone in ("efficientnet_b0", "mobilenetv3_large"):
        pytest.importorskip("timm", reason="timm is not installed: pip install -r requirements-timm.txt")
    torch.manual_seed(0)
    network = CTRBOX(2, backbone, head_norm="batch").eval()
    names, before = list(network.state_dict()), network(IMAGES)
    shared = share_norms(network)
    assert len(batch_norms(shared)) > 10
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in batch_norms(shared))
    assert list(shared.state_dict()) == names
    for found, expected in zip(shared.eval()(IMAGES), before, strict=True):
        assert torch.equal(found, expected)


def test_a_norm_of_another_kind_is_refused_by_name() -> None:
    network = CTRBOX(2, OddBackbone())
    network.base_network.stages.append(ScaledNorm(3))
    with pytest.raises(
        BackboneError, match="--sync_norm knows torch's batch norms; the backbone has another, ScaledNorm"
    ):
        share_norms(network)
