"""The benchmark of training runs its settings in turns and says what it measured."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from datasets.format_detection import detect_format
from datasets.readers import read_classes, read_samples
from tools import benchmark
from tools.benchmarks import benchmark_train
from tools.benchmarks.benchmark_train import SETTINGS, TrialProcess, draw_data
from tools.benchmarks.benchmark_trial import Job


class _Trial:
    """A process that is none, with made-up times."""

    log: list[str] = []  # noqa: RUF012

    def __init__(self, setting, job):
        self.setting, self.times = setting, iter([1000.0, 100.0, 300.0, 200.0])
        self.factor = 1.0 if setting.is_plain else 0.5

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def answer(self):
        self.log.append(f"{self.setting.name} is ready")

    def ask(self, name):
        self.log.append(f"{self.setting.name} {name}")
        if name == "take_turn":
            return [self.factor * next(self.times)]
        return benchmark_train.Outcome(20.0, 0.01, 5.0, 300.0, 300 + 1000 * self.factor, None)


@pytest.mark.slow
def test_the_settings_take_turns_and_the_first_turn_does_not_count(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(benchmark_train, "TrialProcess", _Trial)
    monkeypatch.setattr(_Trial, "log", [])
    flags = ["--settings", "sparse", "--size", "64", "--batch_size", "1", "--rounds", "3", "--device", "cpu"]
    assert benchmark.main(["train", *flags, "--json", str(tmp_path / "表.json")]) == 0
    plain, sparse = SETTINGS["plain"].name, SETTINGS["sparse"].name
    assert _Trial.log[:4] == [f"{name} {what}" for what in ("is ready", "load") for name in (plain, sparse)]
    assert _Trial.log[4:8] == [f"{plain} take_turn", f"{sparse} take_turn"] * 2
    assert [line for line in _Trial.log if line.endswith("take_turn")] == _Trial.log[4:12]
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("training step, resnet18, batch 1, 64 x 64, cpu, ")
    assert len({len(line) for line in said[1:4]}) == 1  # aligned
    assert "GPU busy" not in said[1]
    rows = json.loads((tmp_path / "表.json").read_text(encoding="utf-8"))["settings"]
    assert rows[plain]["step_ms"] == 100
    assert rows[plain]["step_ms_median"] == 200
    assert rows[sparse]["step_x"] == 0.5
    assert rows[sparse]["peak_x"] == pytest.approx(800 / 1300)
    assert rows[sparse]["above_start_x"] == 0.5


def test_the_flags_choose_what_is_measured(monkeypatch):
    asked = []
    monkeypatch.setattr(benchmark_train, "benchmark_train", lambda *arguments: asked.append(arguments))
    for flags in ([], ["--compile"], ["--settings", "bf16"], ["--quick"]):
        assert benchmark.main(["train", *flags]) == 0
    assert asked[0][1] == ["tf32", "channels_last", "bf16", "sparse", "auto"]
    assert asked[1][1][-1] == "compile"
    assert asked[2][1] == ["bf16"]
    assert all(set(names) <= set(SETTINGS) for _, names, _ in asked)
    assert asked[0][0] == Job("resnet18", 608, 4, 5, 2, "auto", Path())
    assert asked[3][0] == Job("resnet18", 64, 2, 2, 0, "auto", Path())


@pytest.mark.slow
def test_drawn_data_is_what_the_readers_read(tmp_path):
    data_dir = tmp_path / "数据"
    draw_data(data_dir, benchmark_train.DRAWN + 3, 96)
    names = (data_dir / "train.txt").read_text(encoding="utf-8").split()
    assert len(names) == benchmark_train.DRAWN + 3
    assert detect_format(data_dir) == "dota"
    samples = read_samples("dota", data_dir, names, read_classes("dota", data_dir, names))
    quads = np.concatenate([sample.quads for sample in samples])
    assert len(quads) > 50
    assert 60 < quads.max() < 160  # of 96 pixels; the border cuts some
    np.testing.assert_array_equal(samples[0].quads, samples[benchmark_train.DRAWN].quads)


def test_a_process_that_dies_is_a_sentence(tmp_path):
    with TrialProcess(SETTINGS["plain"], Job("resnet18", 64, 1, 1, 0, "cpu", tmp_path)) as trial:
        os.kill(trial._process.pid, signal.SIGKILL)
        with pytest.raises(ChildProcessError, match=r"'fp32 NCHW' died.*smaller --batch_size"):
            trial.ask("take_turn")


@pytest.mark.long
def test_the_quick_run_says_what_it_measured(capsys, tmp_path):
    assert benchmark.main(["train", "--quick", "--settings", "sparse", "--json", str(tmp_path / "a.json")]) == 0
    said = capsys.readouterr().out
    assert "bf16 channels_last sparse heads" in said
    rows = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["settings"]
    assert rows["fp32 NCHW"]["step_x"] == rows["fp32 NCHW"]["peak_x"] == 1
    assert all(row["start_mib"] < row["peak_mib"] for row in rows.values())


@pytest.mark.long
def test_bad_data_in_a_trial_is_told_in_this_process(tmp_path):
    with (
        TrialProcess(SETTINGS["plain"], Job("resnet18", 64, 1, 1, 0, "cpu", tmp_path)) as trial,
        pytest.raises(ValueError, match="data"),
    ):
        trial.answer()
