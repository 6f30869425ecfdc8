"""Device and precision: by name, by what the machine has, and a sentence for what it has not."""

from __future__ import annotations

import pytest
import torch

from tools.device import pick_device, pick_precision, training_layout
from tools.running.command_line import SettingsError


def test_auto_takes_what_is_there():
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["cuda:77", "abacus", "hpu"])
def test_a_device_that_is_not_there_is_a_sentence(name):
    with pytest.raises(SettingsError, match=f"--device {name} is not here"):
        pick_device(name)


def test_a_launcher_hands_out_the_gpus(monkeypatch):
    """Also to a single process: Accelerate would put its network on another GPU than --device says."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [pick_device("auto", rank, 2).index for rank in (0, 1)] == [0, 1]
    assert pick_device("auto").index == 0
    with pytest.raises(SettingsError, match="--device cuda:1: a launcher gives each process its own GPU; give auto"):
        pick_device("cuda:1", 0, 1)
    with pytest.raises(SettingsError, match="3 processes, but 2 GPUs"):
        pick_device("auto", 0, 3)


def test_precision_follows_the_hardware(monkeypatch):
    cpu = torch.device("cpu")
    for has_bf16, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has_bf16=has_bf16: {"avx512_bf16": has_bf16})
        assert pick_precision("auto", cpu) == expected
    assert pick_precision("fp32", cpu) == torch.float32
    assert pick_precision("bf16", cpu) == torch.bfloat16
    with pytest.raises(SettingsError, match="--precision fp16 is for GPUs"):
        pick_precision("fp16", cpu)
    with pytest.raises(SettingsError, match="--precision half is not known; give one of fp32, bf16, fp16"):
        pick_precision("half", cpu)


def test_maps_are_nchw_only_in_fp32_on_a_cpu():
    assert training_layout(torch.device("cpu"), torch.float32) == torch.contiguous_format
    assert training_layout(torch.device("cpu"), torch.bfloat16) == torch.channels_last
    assert training_layout(torch.device("cuda"), torch.float32) == torch.channels_last


def test_a_number_alone_is_told_the_name_of_that_gpu() -> None:
    with pytest.raises(SettingsError, match="--device 0: GPUs are called cuda:0"):
        pick_device("0")
