"""The list of backbones: what it says of each, in which order, and how it is asked."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from models import CTRBOX, known_backbones
from tools import list_backbones as module
from tools.list_backbones import NUM_CLASSES, list_backbones, main

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def listed():
    return list_backbones(with_timing=False)


def test_every_native_backbone_is_listed_lightest_first(listed):
    assert sorted(item.name for item in listed) == sorted(known_backbones())
    assert [item.flops for item in listed] == sorted(item.flops for item in listed)
    assert all(item.has_weights for item in listed)
    assert all(item.latency is None for item in listed)


def test_the_numbers_are_those_of_the_whole_detector(listed):
    """By hand, for ResNet-18 at 608 x 608, two FLOP a weight and cell."""
    found = next(item for item in listed if item.name == "resnet18")
    network = CTRBOX(NUM_CLASSES, "resnet18")
    assert found.parameters == sum(value.numel() for value in network.parameters())
    heads = 2 * 4 * 64 * 256 * 9 * 152**2 + 2 * 256 * (NUM_CLASSES + 10 * 9 + 2 + 1) * 152**2
    combined = 2 * 9 * (512 * 256 * 38**2 + 256 * 128 * 76**2 + 128 * 64 * 152**2)
    combined += 2 * 2 * (256 * 256 * 38**2 + 128 * 128 * 76**2 + 64 * 64 * 152**2)
    stem = 2 * 3 * 64 * 49 * 304**2
    stages = 2 * 9 * 64 * 64 * 4 * 152**2 + sum(
        2 * side**2 * width**2 * (9 * (3 + 1 / 2) + 1 / 2) for width, side in ((128, 76), (256, 38), (512, 19))
    )
    assert found.flops == pytest.approx(heads + combined + stem + stages, rel=1e-9)


@pytest.mark.slow
def test_the_table_and_its_file_hold_a_row_a_backbone(tmp_path, capsys):
    path = tmp_path / "数据" / "table.md"
    path.parent.mkdir()
    assert main(["--pattern", "*net50*", "--no_timing", "--markdown", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["backbone", "channels", "of"]
    assert [line.split()[0] for line in lines[1:-1]] == ["resnet50", "resnet50_dc5", "wide_resnet50_2"]
    assert "256, 512, 1024, 2048 (strides 4, 8, 16, 16)" in lines[2]
    table = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert len({line.count("|") for line in table}) == 1
    assert "CPU ms" not in table[0]


def test_timing_adds_a_column(monkeypatch, capsys):
    monkeypatch.setattr(module, "SIDE", 64)
    assert main(["--pattern", "mobilenetv2"]) == 0
    head, row, note = capsys.readouterr().out.splitlines()
    assert "CPU ms" in head
    assert float(row.split()[7]) > 0
    assert "the median of 3" in note


@pytest.mark.slow
def test_short_names_and_timms_are_listed_when_asked_for():
    pytest.importorskip("timm")
    assert [item.name for item in list_backbones("*b0", with_timing=False)] == ["efficientnet_b0"]
    told = []
    found = list_backbones("timm/vit_tiny_patch16_22*", with_timing=False, report=told.append)
    assert found == []
    assert "timm/vit_tiny_patch16_224 is left out: timm/vit_tiny_patch16_224 has maps at strides 16" in told[0]
    (found,) = list_backbones("timm/mobilenetv4_conv_small", with_timing=False)
    assert (found.channels, found.has_weights) == ((32, 64, 96, 960), True)


def test_a_pattern_that_matches_nothing_is_a_wrong_setting(capsys):
    assert main(["--pattern", "nothing*", "--no_timing"]) == 2
    assert "--pattern 'nothing*' matches no backbone; for those of timm it begins with timm/" in capsys.readouterr().err
    assert main(["--patern", "x"]) == 2


@pytest.mark.long
def test_without_timing_it_takes_less_than_five_seconds_of_its_own():
    """Against an import of torch, which is a third of it: the machine may do other things."""
    import_only = _seconds("-c", "import torch")
    assert _seconds("-m", "tools.list_backbones", "--no_timing") < max(5.0, 3.5 * import_only)


def _seconds(*arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, check=True)
    return time.perf_counter() - started
