"""Weights of timm's networks: from a file of timm's, from its cache, and where there is no network."""

from __future__ import annotations

import pytest
import torch

from models import CTRBOX, build_backbone
from tools.checkpoint import CheckpointError
from tools.training import timm_weights as module
from tools.training.timm_weights import timm_weights
from tools.training.weights import find_backbone_weights, pretrained_backbone

timm = pytest.importorskip("timm", reason="timm is not installed: pip install -r requirements-timm.txt")

NAME = "mobilenetv4_conv_small"


@pytest.fixture(scope="module")
def whole():
    """A whole network of timm's, classifier included."""
    torch.manual_seed(3)
    return timm.create_model(NAME)


def test_a_file_of_timms_fills_the_backbone(whole, tmp_path):
    torch.save(whole.state_dict(), tmp_path / "timm 1.pth")
    backbone, line = pretrained_backbone(str(tmp_path / "timm 1.pth"), f"timm/{NAME}")
    assert line.endswith("225 tensors matched (100 %), 0 re-shaped, 0 missing, 0 unknown")
    own = dict(backbone.network.named_parameters())
    assert all(torch.equal(value, own[key]) for key, value in whole.named_parameters() if key in own)


def test_a_checkpoint_of_ours_fills_it_by_our_names(tmp_path):
    model = CTRBOX(2, f"timm/{NAME}")
    torch.save({"model_state_dict": model.state_dict()}, tmp_path / "ours.pth")
    backbone, line = pretrained_backbone(str(tmp_path / "ours.pth"), f"timm/{NAME}")
    assert "(100 %)" in line
    assert torch.equal(backbone.network.conv_stem.weight, model.base_network.network.conv_stem.weight)


@pytest.mark.slow
def test_a_file_of_another_network_is_refused_with_the_count(whole, tmp_path):
    """timm itself takes what fits, here nothing, without a word."""
    torch.save(whole.state_dict(), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"x.pth: these weights are not of .* hgnetv2_b0: 0 of its 317 tensors"):
        pretrained_backbone(str(tmp_path / "x.pth"), "timm/hgnetv2_b0")
    torch.save(build_backbone("mobilenetv2").state_dict(), tmp_path / "y.pth")
    with pytest.raises(CheckpointError, match="these weights are not of timm's efficientnet_b0"):
        pretrained_backbone(str(tmp_path / "y.pth"), "efficientnet_b0")


def test_the_cache_is_used_without_the_network(whole, tmp_path, monkeypatch):
    torch.save(whole.state_dict(), tmp_path / "pytorch_model.bin")
    asked = []

    def find(repo: str, name: str) -> str | None:
        asked.append((repo, name))
        return str(tmp_path / name) if (tmp_path / name).exists() else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", find)
    found = timm_weights(NAME, lambda host: pytest.fail(f"asked {host}"))
    assert torch.equal(found["network.conv_stem.weight"], whole.conv_stem.weight)
    assert {repo for repo, _ in asked} == {f"timm/{NAME}.e2400_r224_in1k"}


def test_without_network_auto_says_so_in_one_line_and_imagenet_refuses(monkeypatch):
    def refuse(url: str) -> None:
        raise OSError(f"{url} does not answer")

    monkeypatch.setattr("tools.training.weights._probe", refuse)
    monkeypatch.setattr(module, "_cached_file", lambda *_: None)
    found, line = find_backbone_weights("auto", f"timm/{NAME}")
    assert found is None
    assert line.startswith(f"backbone: random weights, for timm's weights of {NAME} cannot be had (")
    assert "\n" not in line
    with pytest.raises(CheckpointError, match=r"cannot be had \(.* does not answer\); give --pretrained FILE or"):
        find_backbone_weights("imagenet", "efficientnet_b0")


def test_a_network_without_published_weights_says_so(monkeypatch):
    name = next(name for name in timm.list_models("resnet*") if not timm.get_pretrained_cfg(name).has_weights)
    with pytest.raises(OSError, match="it publishes none"):
        timm_weights(name, lambda host: pytest.fail(f"asked {host}"))


def test_a_download_that_fails_is_a_reason_not_a_traceback(monkeypatch):
    monkeypatch.setattr(module, "_cached_file", lambda *_: "/no/such/file.bin")
    with pytest.raises(OSError, match=r"^[A-Za-z]+: .*"):
        timm_weights(NAME, lambda host: None)
