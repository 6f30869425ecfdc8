"""The polygon kit's benchmark runs, and what it compares with does the same job; how fast is for a person to judge."""

from __future__ import annotations

import numpy as np
import pytest

from DOTA_devkit import poly_nms
from DOTA_devkit.evaluation import evaluate
from tools import benchmark
from tools.benchmarks import benchmark_devkit


@pytest.mark.slow
def test_the_quick_run_says_what_it_measured(capsys: pytest.CaptureFixture) -> None:
    assert benchmark.main(["devkit", "--quick"]) == 0
    said = capsys.readouterr().out
    assert "poly_nms" in said
    assert "x the time of 500" in said
    assert "reading the files and scoring" in said
    assert "merge_results, 10,000 boxes" in said
    assert said.count("x faster") == 3


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5])
def test_shapely_suppresses_the_same_boxes(threshold: float) -> None:
    rng = np.random.default_rng(1)
    quads, scores = benchmark_devkit.random_quads(rng, 300, 400.0), rng.random(300).round(1)
    kept = benchmark_devkit.shapely_nms(quads, scores, threshold)
    assert 20 < len(kept) < 300
    assert kept.tolist() == poly_nms(quads, scores, threshold).tolist()


def test_shapely_suppresses_nothing_of_nothing() -> None:
    assert benchmark_devkit.shapely_nms(np.zeros((0, 4, 2)), np.zeros(0), 0.3).tolist() == []


def test_the_loop_over_shapely_gives_the_same_precision() -> None:
    detections, truths = benchmark_devkit.draw_evaluation(np.random.default_rng(2), 3, 40, 200)
    scored = evaluate(detections, truths, benchmark_devkit.CLASS_NAMES)
    ours = [[curve.ap for curve in item.curves] for item in scored.classes.values()]
    plain = benchmark_devkit.shapely_evaluate(detections, truths, len(ours))
    np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-9)
    assert 0.05 < np.mean(ours) < 0.95


def test_random_quads_are_of_the_stated_size() -> None:
    quads = benchmark_devkit.random_quads(np.random.default_rng(0), 200, 1000.0)
    sides = np.linalg.norm(np.roll(quads, -1, axis=1) - quads, axis=2)
    assert sides.min() >= 10 - 1e-9
    assert sides.max() <= 60 + 1e-9
    assert benchmark_devkit.random_quads(np.random.default_rng(0), 0, 10.0).shape == (0, 4, 2)


def test_drawn_tiles_hold_as_many_boxes_as_asked_for() -> None:
    detections, index = benchmark_devkit.draw_tiles(np.random.default_rng(0), 7000)
    assert sum(len(item.scores) for item in detections.values()) == 7000
    assert detections.keys() == index.tiles.keys()
    assert len(index.pictures) == 2
    assert 60 < np.mean([len(item.scores) for item in list(detections.values())[:64]]) < 140


@pytest.mark.long
def test_the_first_compile_is_measured_in_processes_of_its_own() -> None:
    numbers = benchmark_devkit.benchmark_compile()
    assert 0 < numbers["compile cached"] < numbers["compile"]
