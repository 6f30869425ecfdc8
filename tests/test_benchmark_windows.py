"""The benchmark of big files runs, on a small one that it draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.picture_files.picture_windows import PictureWindows
from tools.benchmarks.benchmark_windows import benchmark_windows, draw_survey


@pytest.mark.slow
def test_windows_are_compared_with_the_whole_file(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = benchmark_windows(700)
    assert set(numbers) == {"in windows s", "in windows MiB", "whole s", "whole MiB"}
    assert all(value > 0 for value in numbers.values())
    assert "700 x 700" in capsys.readouterr().out


def test_the_drawn_file_is_full_of_scenes(tmp_path: Path) -> None:
    draw_survey(tmp_path / "a.tif", 600)
    picture = PictureWindows(tmp_path / "a.tif")
    assert picture.shape == (600, 600, 3)
    assert all(np.ptp(picture[y : y + 88, x : x + 88]) > 40 for y in range(0, 600, 256) for x in range(0, 600, 256))
