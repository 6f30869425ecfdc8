"""The generated label files are what `tools.check_data` reads, and good."""

from __future__ import annotations

from datasets.format_detection import detect_format
from tools.benchmarks.benchmark_check import make_label_files
from tools.check_data import main


def test_generated_label_files_are_without_fault(tmp_path, capsys):
    make_label_files(tmp_path / "data", 30)
    assert detect_format(tmp_path / "data") == "dota"
    assert main([str(tmp_path / "data"), "--workers", "0"]) == 0
    assert "0 errors, 0 warnings, 0 notes" in capsys.readouterr().out


def test_generated_label_files_are_the_same_for_a_seed(tmp_path):
    for name in ("a", "b"):
        make_label_files(tmp_path / name, 3, seed=4)
    first, second = ([path.read_bytes() for path in sorted((tmp_path / name).rglob("*.txt"))] for name in ("a", "b"))
    assert first == second
    assert len(first) == 3
