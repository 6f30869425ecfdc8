"""The command line as a user meets it: exit codes, one sentence an error, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def _run(*arguments: str, module: str | None = None) -> subprocess.CompletedProcess:
    program = ["-m", module] if module else [str(REPOSITORY / "main.py")]
    return subprocess.run(
        [sys.executable, *program, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def test_a_mistyped_flag_ends_with_2_and_names_the_nearest():
    done = _run("--backbones", "resnet18")
    assert done.returncode == 2
    assert done.stderr == "error: unknown flag --backbones; nearest: --backbone; python main.py --help lists all\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--phase", "train", "--data_dir", "no/such/folder"], "no/such/folder: no such folder"),
        (["--phase", "train", "--dataset", "dota"], "--dataset dota needs --data_dir"),
        (["--phase", "test", "--resume", "no.pth"], "no.pth: no such file"),
    ],
)
def test_a_wrong_path_is_one_sentence_without_a_traceback(arguments, message):
    done = _run(*arguments)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_backbone_lists_the_known_ones(dota_folder, tmp_path):
    done = _run("--backbone", "resnet19", "--data_dir", str(dota_folder()), "--out", str(tmp_path / "run"))
    assert done.returncode == 1
    assert "unknown backbone 'resnet19'; known: [" in done.stderr
    assert not (tmp_path / "run" / "last.pth").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["data", "--help"], ["train", "--help"]])
def test_the_benchmark_explains_itself(arguments):
    done = _run(*arguments, module="tools.benchmark")
    assert done.returncode == 0
    assert "usage: python -m tools.benchmark" in done.stdout
