"""The benchmarks are found by name, and wrong flags are told in a sentence."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tools import benchmark


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["train", "--size", "100"], "--size is 100; it must be a multiple of 32"),
        (["train", "--rounds", "0"], "--rounds is 0; it must be at least 1"),
        (["train", "--backbone", "resnet19"], "--backbone is 'resnet19'; it can be resnet18"),
        (["train", "--settings", "fp8"], "invalid choice: 'fp8'"),
        (["train", "--device", "nowhere"], "--device nowhere is not here"),
        (["data", "--sise", "3"], "--sise"),
        (["deploy", "--size", "100"], "--size is 100; it must be a multiple of 32"),
        (["deploy", "--num", "0"], "--num is 0; it must be at least 1"),
        (["data", "--size", "0"], "--size is 0; it must be at least 1"),
        (["data", "--rounds", "0"], "--rounds is 0; it must be at least 1"),
        (["windows", "--side", "0"], "--side is 0; it must be at least 64"),
        ([], "{data,train,network,deploy,devkit,nms,check,windows,review}"),
    ],
)
def test_a_wrong_flag_is_a_sentence(flags, message, capsys):
    assert benchmark.main(flags) == 2
    assert message in capsys.readouterr().err


def test_torch_is_imported_only_where_it_is_needed():
    """The trials' processes import this module again, and their memory is measured."""
    code = "import sys, tools.benchmark; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_checking_label_files_is_timed(capsys):
    assert benchmark.main(["check", "--files", "30", "--workers", "0"]) == 0
    assert "check_data, 30 label files, 0 processes: " in capsys.readouterr().out
