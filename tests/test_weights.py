"""Backbone weights: files, the cache, and a network that is not there."""

from __future__ import annotations

import socket
import time

import pytest
import torch

from models import CTRBOX, WEIGHTS_URLS, build_backbone
from tools import weights
from tools.checkpoint import CheckpointError
from tools.weights import find_backbone_weights


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """No route to anywhere, and an empty cache."""

    def refuse(*_, **__):
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def test_none_asks_for_nothing(monkeypatch):
    monkeypatch.setattr(weights, "_fetch", lambda *_: pytest.fail("asked the network"))
    assert find_backbone_weights("none", "resnet18")[0] is None


def test_auto_without_network_says_so_in_one_line_and_goes_on(no_network):
    """Defect 9: no network was a crash."""
    started = time.perf_counter()
    found, line = find_backbone_weights("auto", "resnet18")
    assert found is None
    assert "random weights" in line
    assert "\n" not in line
    assert time.perf_counter() - started < weights.PROBE_SECONDS + 1


def test_a_name_server_that_hangs_is_not_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: time.sleep(30))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    started = time.perf_counter()
    assert "does not answer within 0.2 s" in find_backbone_weights("auto", "resnet18")[1]
    assert time.perf_counter() - started < 5


def test_imagenet_without_network_names_address_and_cache(no_network):
    with pytest.raises(CheckpointError) as caught:
        find_backbone_weights("imagenet", "resnet18")
    assert WEIGHTS_URLS["resnet18"] in str(caught.value)
    assert str(no_network / "resnet18-f37072fd.pth") in str(caught.value)


def test_the_cache_is_used_without_the_network(no_network):
    no_network.mkdir(parents=True)
    torch.save(build_backbone("resnet18").state_dict(), no_network / "resnet18-f37072fd.pth")
    found, line = find_backbone_weights("auto", "resnet18")
    assert "ImageNet" in line
    build_backbone("resnet18", found)


def test_a_file_of_a_whole_model_gives_its_base_network(tmp_path):
    model = CTRBOX(2, "resnet18")
    torch.save({"model_state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "x.pth")
    found, _ = find_backbone_weights(str(tmp_path / "x.pth"), "resnet18")
    built = build_backbone("resnet18", found)
    assert torch.equal(built.conv1.weight, model.base_network.conv1.weight)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no\.pth: no such file"):
        find_backbone_weights(str(tmp_path / "no.pth"), "resnet18")


def test_real_mobilenet_weights_load(real_folder):
    path = real_folder("weights") / "mobilenet_v2_imagenet.pth"
    found, line = find_backbone_weights(str(path), "mobilenetv2")
    assert str(path) in line
    backbone = build_backbone("mobilenetv2", found)
    assert torch.equal(backbone.state_dict()["features.0.0.weight"], found["features.0.0.weight"])


def test_weights_of_another_backbone_are_refused(real_folder):
    found, _ = find_backbone_weights(str(real_folder("weights") / "mobilenet_v2_imagenet.pth"), "resnet18")
    with pytest.raises(ValueError, match="not of backbone 'resnet18'"):
        build_backbone("resnet18", found)
