"""The command that holds a backbone to the contract."""

from __future__ import annotations

import pytest

from tools import backbone_checks
from tools.backbone_checks import CHECKS
from tools.check_backbone import main


@pytest.mark.slow
def test_the_command_prints_a_line_a_check_and_its_outcome(capsys, monkeypatch) -> None:
    few = {line: check for line, check in CHECKS.items() if "608" not in line}
    monkeypatch.setattr(backbone_checks, "CHECKS", few)  # not an entry of it: put back, it would be the last one
    assert main(["mobilenetv2", "--no_compile"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "mobilenetv2: channels 24, 32, 96, 320 at strides 4, 8, 16, 32; 1.8 M parameters"
    assert [line[:4] for line in out[1:]] == ["ok  "] * 5 + ["--  "]


def test_the_command_refuses_an_unknown_name_and_a_mistyped_flag(capsys) -> None:
    assert main(["resnet19"]) == 2
    assert "unknown backbone 'resnet19'; known: [" in capsys.readouterr().err
    assert main(["resnet18", "--nocompile"]) == 2
    assert main(["no/such.py:Net"]) == 2
    assert "no/such.py: the file is not there" in capsys.readouterr().err
