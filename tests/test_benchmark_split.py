"""The benchmark of splitting runs, on pictures that it draws."""

from __future__ import annotations

import pytest

from tools.benchmarks.benchmark_split import benchmark_split


@pytest.mark.slow
def test_both_codecs_are_compared_with_bare_coding(capsys):
    numbers = benchmark_split(2, (300, 650), workers=1, rounds=1)
    assert {"split .png share", "split .jpg share"} <= set(numbers)
    assert all(value > 0 for value in numbers.values())
    assert "bare coding" in capsys.readouterr().out
