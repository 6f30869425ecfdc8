"""The measurement behind the default NMS threshold."""

from __future__ import annotations

import numpy as np
import pytest

import main
from DOTA_devkit.truths import ImageTruth
from tools import benchmark
from tools.benchmarks.benchmark_nms import benchmark_nms, count_dropped

SQUARE = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])


def _truth(labels, difficult) -> dict[str, ImageTruth]:
    quads = np.stack([SQUARE + np.array([5 * n, 0]) for n in range(len(labels))])  # IoU of neighbours: 1/3
    return {"a": ImageTruth(quads, np.array(labels), np.array(difficult))}


def test_neighbours_of_a_class_that_overlap_more_than_the_threshold_are_dropped():
    assert count_dropped(_truth([0, 0, 0], [0, 0, 0]), 0.3) == 1
    assert count_dropped(_truth([0, 0, 0], [0, 0, 0]), 0.4) == 0
    assert count_dropped(_truth([0, 1, 0], [0, 0, 0]), 0.3) == 0


def test_ignore_regions_are_no_objects():
    assert count_dropped(_truth([0, -1, 0], [0, 0, 2]), 0.1) == 0
    assert count_dropped({}, 0.1) == 0


@pytest.mark.slow
def test_a_run_is_measured_at_each_threshold(dota_folder, tmp_path, capsys):
    lists = {"train": ["scene_0"], "val": ["scene_1", "scene_2"]}
    size = ["--input_h", "64", "--input_w", "64", "--num_epoch", "1", "--num_workers", "0", "--pretrained", "none"]
    assert main.main(["--data_dir", str(dota_folder(lists=lists)), "--out", str(tmp_path / "run"), *size]) == 0
    capsys.readouterr()
    outcome = benchmark_nms(tmp_path / "run", thresholds=(0.1, 0.5))
    assert set(outcome) == {0.1, 0.5}
    assert all(dropped == 0 and 0 <= score <= 1 for dropped, score in outcome.values())
    assert "2 pictures" in capsys.readouterr().out


def test_a_missing_run_is_a_sentence(capsys):
    assert benchmark.main(["nms", "--resume", "no/where.pth"]) == 1
    assert "no/where.pth: no such file" in capsys.readouterr().err
