"""The benchmark of the samples runs and says what it measured; how fast is for a person to judge, not for a test."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tools.benchmarks.benchmark_data import benchmark_data, random_sample


@pytest.fixture(autouse=True)
def _opencv_threads():
    num_threads = cv2.getNumThreads()
    yield
    cv2.setNumThreads(num_threads)


def test_data_compares_samples_with_a_warp(capsys):
    times = benchmark_data(size=64, num_classes=2, rounds=2)
    assert set(times) == {"cv2.warpAffine", "empty", "400 objects"}
    assert all(value > 0 for value in times.values())
    assert "x cv2.warpAffine" in capsys.readouterr().out


def test_random_boxes_are_rectangles_of_the_stated_size():
    sample = random_sample(np.random.default_rng(0), 50, 300, 3)
    sides = np.linalg.norm(np.roll(sample.quads, -1, axis=1) - sample.quads, axis=2)
    assert sides.min() > 9.99
    assert sides.max() < 60.01
    np.testing.assert_allclose(sides[:, 0], sides[:, 2], rtol=1e-4)


def test_no_boxes_are_no_boxes():
    assert random_sample(np.random.default_rng(0), 0, 300, 3).quads.shape == (0, 4, 2)
