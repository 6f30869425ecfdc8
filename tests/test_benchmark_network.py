"""The benchmark of networks: its table holds what was asked for."""

from __future__ import annotations

import pytest

from tools import benchmark
from tools.benchmarks.benchmark_network import benchmark_network


@pytest.mark.slow
def test_a_row_for_each_network_with_its_size_and_ratio(capsys):
    names = ["mobilenetv2", "mobilenetv2,fpn32,heads64"]
    heavy, light = benchmark_network(names, 64, 1, onnx=True)
    assert [heavy.name, light.name] == names
    assert light.num_parameters < heavy.num_parameters
    assert 0 < light.num_flops < heavy.num_flops / 2
    assert min(*heavy[3:], *light[3:]) > 0
    assert capsys.readouterr().out.splitlines()[2].split()[-1] == "1.00"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["resnet18,fpn"], "'resnet18,fpn' is no network; an example: mobilenetv2,fpn32,heads64"),
        (["--size", "100"], "--size is 100; it must be a multiple of 32"),
        (["--rounds", "0"], "--rounds is 0"),
    ],
)
def test_a_wrong_flag_is_a_sentence(flags, message, capsys):
    assert benchmark.main(["network", *flags]) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_backbone_is_a_sentence(capsys):
    assert benchmark.main(["network", "resnet19"]) == 1
    assert "unknown backbone 'resnet19'" in capsys.readouterr().err
