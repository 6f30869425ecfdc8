"""Weights into a network: what fits is counted, told and copied; what does not fit well enough is refused."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import CTRBOX, Backbone, build_backbone, known_backbones
from tools.training.transfer import (
    CheckpointError,
    TransferReport,
    base_weights,
    compare,
    num_not_finite,
    recognise_backbone,
    transfer,
    unwrapped,
)


@pytest.fixture(scope="module")
def resnet18():
    torch.manual_seed(0)
    return build_backbone("resnet18")


def _copy(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def _small(names):
    """A backbone that is a parameter a name, which is quick to build."""
    network = Backbone()
    for name in names:
        network.register_parameter(name, torch.nn.Parameter(torch.zeros(2)))
    return network


def test_each_tensor_is_in_one_part_of_the_report(resnet18):
    weights = _copy(resnet18)
    del weights["bn1.bias"]
    weights["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    weights["extra"] = torch.zeros(1)
    weights["fc.weight"] = torch.zeros(1000, 512)  # a classifier has no place here, and is not counted
    report = compare(resnet18, weights)
    assert len(report.matched) == 100 - 2  # resnet18: 20 convolutions and 20 batch norms of 4, counters not counted
    assert (report.missing, report.unknown) == (("bn1.bias",), ("extra",))
    assert report.reshaped == (("conv1.weight", (64, 1, 7, 7), (64, 3, 7, 7)),)
    assert str(report) == (
        "98 tensors matched (98 %), 1 re-shaped (conv1.weight (64, 1, 7, 7) -> (64, 3, 7, 7)), 1 missing (bn1.bias), "
        "1 unknown (extra)"
    )


def test_the_empty_case_matches_nothing(resnet18):
    assert compare(resnet18, {}).share == 0
    assert TransferReport((), (), (), ()).share == 0
    assert not TransferReport((), (), (), ()).is_whole


@settings(deadline=None, max_examples=50)
@given(num_matched=st.integers(0, 60), num_missing=st.integers(0, 20), num_unknown=st.integers(0, 20))
def test_ninety_percent_of_both_sides_are_needed(num_matched, num_missing, num_unknown):
    own = [f"a{number}" for number in range(num_matched + num_missing)]
    given = {name: torch.ones(2) for name in own[:num_matched]}
    given |= {f"b{number}": torch.ones(2) for number in range(num_unknown)}
    network = _small(own)
    is_enough = num_matched > 0 and 10 * num_matched >= 9 * (num_matched + max(num_missing, num_unknown))
    refused = pytest.raises(CheckpointError, match=f" {num_matched} tensors matched")
    with nullcontext() if is_enough else refused:
        transfer(network, given, "x.pth", "it", cause="why")
    copied = {name for name, value in network.state_dict().items() if value.all()}
    assert copied == (set(own[:num_matched]) if is_enough else set())


def test_the_share_is_never_told_higher_than_it_is():
    names = tuple(map(str, range(8999)))
    assert "(89.9 %)" in str(TransferReport(names, (), ("a",) * 1001, ()))
    assert "(100 %)" in str(TransferReport(names, (), (), ()))


def test_what_matches_is_copied_and_the_rest_stays(resnet18):
    weights = {name: torch.full_like(value, 7) for name, value in resnet18.state_dict().items()}
    del weights["bn1.bias"]
    network = build_backbone("resnet18")
    transfer(network, weights, "x.pth", "the backbone resnet18")
    assert not network.bn1.bias.any()
    assert (network.bn1.weight == 7).all()
    assert network.bn1.num_batches_tracked == 7


@pytest.mark.slow
def test_a_resnet101_is_no_resnet50_though_it_has_all_its_tensors():
    """The names and shapes of a resnet50 are a part of a resnet101's."""
    with torch.device("meta"):
        big, small = build_backbone("resnet101"), build_backbone("resnet50")
    report = compare(small, big.state_dict())
    assert not report.missing
    assert not report.reshaped
    with pytest.raises(CheckpointError, match="its backbone is resnet101: give --backbone resnet101"):
        transfer(small, big.state_dict(), "x.pth", "the backbone resnet50")


def test_weights_without_one_matching_name_are_refused_even_in_part(resnet18):
    """Defect 11: strict=False took a checkpoint with no matching key, and the boxes were random."""
    before = _copy(resnet18)
    for weights in ({}, {"other": torch.ones(1)}, {"conv1.weight": torch.ones(1)}):
        with pytest.raises(CheckpointError, match="nothing in it is of the backbone resnet18: 0 tensors matched"):
            transfer(resnet18, weights, "x.pth", "the backbone resnet18", allow_partial=True)
    assert all(torch.equal(value, before[name]) for name, value in resnet18.state_dict().items())


def test_a_part_is_enough_when_allowed(resnet18):
    part = {name: torch.ones_like(value) for name, value in resnet18.state_dict().items() if "layer1" in name}
    network = build_backbone("resnet18")
    with pytest.raises(CheckpointError, match="--allow_partial starts from what matches"):
        transfer(network, part, "x.pth", "the backbone resnet18")
    report = transfer(network, part, "x.pth", "the backbone resnet18", allow_partial=True)
    assert len(report.matched) == 20
    assert (network.layer1[0].conv1.weight == 1).all()


def test_weights_that_are_not_finite_are_refused_and_nothing_is_copied(resnet18):
    weights = {name: torch.ones_like(value) for name, value in resnet18.state_dict().items()}
    weights["bn1.bias"][3] = float("inf")
    network = build_backbone("resnet18")
    with pytest.raises(CheckpointError, match=r"x\.pth: holds weights that are not finite"):
        transfer(network, weights, "x.pth", "the backbone resnet18")
    assert not (network.conv1.weight == 1).all()


def test_weights_without_values_are_a_sentence(resnet18):
    """Of a quantised network, or of one that was saved as an outline."""
    weights = _copy(resnet18) | {"bn1.bias": torch.zeros(64, device="meta")}
    with pytest.raises(CheckpointError, match=r"x\.pth: holds weights that are not plain numbers"):
        transfer(build_backbone("resnet18"), weights, "x.pth", "the backbone resnet18")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_values_that_are_not_finite_are_counted_in_tensors_of_any_kind():
    nan, inf = float("nan"), float("inf")
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        assert num_not_finite(torch.tensor([1, nan, inf, -inf], dtype=dtype)) == 3
    assert num_not_finite(torch.tensor([1, nan], dtype=torch.float8_e4m3fn)) == 1
    assert num_not_finite(torch.tensor([1, complex(0, nan)])) == 1
    assert num_not_finite(torch.tensor([[0, nan]]).to_sparse()) == 1
    assert num_not_finite(torch.zeros(0)) == num_not_finite(torch.zeros(2, dtype=torch.int64)) == 0
    assert num_not_finite(torch.tensor([True])) == num_not_finite(torch.zeros(2, device="meta")) == 0
    assert num_not_finite(torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)) == 0


def test_what_wrappers_put_before_a_name_is_taken_away():
    weights = {"module._orig_mod.hm.0.bias": 1, "_orig_mod.module.wh.0.bias": 2, "hm.module.weight": 3, "n_averaged": 4}
    assert unwrapped(weights) == {"hm.0.bias": 1, "wh.0.bias": 2, "hm.module.weight": 3}


def test_a_whole_model_gives_its_base_network():
    assert base_weights({"base_network.conv1.weight": 1, "hm.0.weight": 2}) == {"conv1.weight": 1}
    assert base_weights({"conv1.weight": 1}) == {"conv1.weight": 1}


@pytest.mark.parametrize("name", known_backbones())
def test_every_backbone_is_recognised_alone_and_in_a_whole_model(name):
    with torch.device("meta"):
        backbone = build_backbone(name)
        model = CTRBOX(2, backbone)
    known = name.removesuffix("_dc5")  # whose weights are the same; a dilation has none
    assert recognise_backbone(backbone.state_dict()) == known
    assert recognise_backbone(model.state_dict()) == known


def test_a_strange_network_is_not_recognised():
    assert recognise_backbone({}) is None
    assert recognise_backbone({"conv1.weight": torch.ones(64, 3, 7, 7)}) is None
