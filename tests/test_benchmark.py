"""The benchmarks run and say what they measured; how fast is for a person to judge, not for a test."""

from __future__ import annotations

import numpy as np

from tools import benchmark


def test_data_compares_samples_with_a_warp(capsys):
    times = benchmark.benchmark_data(size=64, num_classes=2, rounds=2)
    assert set(times) == {"cv2.warpAffine", "empty", "400 objects"}
    assert all(value > 0 for value in times.values())
    assert "x cv2.warpAffine" in capsys.readouterr().out


def test_train_compares_with_plain_fp32(capsys):
    assert benchmark.main(["train", "--size", "64", "--batch_size", "2", "--rounds", "1"]) == 0
    said = capsys.readouterr().out
    assert "x fp32 NCHW" in said
    assert "images/s" in said


def test_random_boxes_are_rectangles_of_the_stated_size():
    sample = benchmark._random_sample(np.random.default_rng(0), 50, 300, 3)
    sides = np.linalg.norm(np.roll(sample.quads, -1, axis=1) - sample.quads, axis=2)
    assert sides.min() > 9.99
    assert sides.max() < 60.01
    np.testing.assert_allclose(sides[:, 0], sides[:, 2], rtol=1e-4)
