"""Tests of greedy suppression, against the plain definition and, for speed, against shapely's tree."""

from __future__ import annotations

import time

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from DOTA_devkit import poly_nms
from DOTA_devkit.iou import poly_iou

SQUARE = np.array([[0.0, 0], [2, 0], [2, 2], [0, 2]])


def detections(rng: np.random.Generator, n: int, side: float, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotated boxes of `low` to `high` pixels in a square of that side, five around each place; and their scores."""
    places = -(-n // 5)
    center = np.repeat(rng.uniform(0, side, (places, 2)), 5, axis=0)[:n]
    sizes = np.repeat(10 ** rng.uniform(np.log10(low), np.log10(high), (places, 2)), 5, axis=0)[:n]
    angle = np.repeat(rng.uniform(0, np.pi, places), 5)[:n] + rng.normal(0, 0.05, n)
    center = center + rng.normal(0, 0.1, (n, 2)) * sizes
    sizes = sizes * rng.uniform(0.9, 1.1, (n, 2))
    u = np.stack([np.cos(angle), np.sin(angle)], -1) * sizes[:, :1] / 2
    v = np.stack([-np.sin(angle), np.cos(angle)], -1) * sizes[:, 1:] / 2
    return center[:, None] + np.stack([-u - v, u - v, u + v, v - u], 1), rng.uniform(0, 1, n)


def picture(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of 10 to 60 pixels, always of the same density: 50,000 on 4000 x 4000 pixels."""
    return detections(np.random.default_rng(seed), n, 4000 * (n / 50_000) ** 0.5, 10, 60)


def nms_by_definition(
    quads: np.ndarray, scores: np.ndarray, threshold: float, labels: np.ndarray | None = None
) -> list[int]:
    overlap = poly_iou(quads, quads)
    if labels is not None:
        overlap[labels[:, None] != labels[None]] = 0
    kept: list[int] = []
    for i in sorted(np.flatnonzero(~np.isnan(scores)), key=lambda i: (-scores[i], i)):
        if not any(overlap[i, j] > threshold for j in kept):
            kept.append(int(i))
    return kept


def nms_by_tree(quads: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """The same job with shapely's STRtree and vectorised intersection."""
    order = np.argsort(-scores, kind="stable")
    polygons = shapely.polygons(quads[order])
    first, second = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    first, second = first[first < second], second[first < second]
    areas = shapely.area(polygons)
    common = shapely.area(shapely.intersection(polygons[first], polygons[second]))
    over = common / (areas[first] + areas[second] - common) > threshold
    first, second = first[over], second[over]
    by_first = np.argsort(first, kind="stable")
    starts, second = np.searchsorted(first[by_first], np.arange(len(quads) + 1)), second[by_first]
    alive = np.ones(len(quads), bool)
    for i in range(len(quads)):
        if alive[i]:
            alive[second[starts[i] : starts[i + 1]]] = False
    return order[alive]


def best_time(job: object, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return min(times)


def test_nms_keeps_the_higher_score() -> None:
    kept = poly_nms(np.stack([SQUARE, SQUARE + 0.1, SQUARE + 9]), np.array([0.5, 0.9, 0.1]), 0.5)
    assert kept.tolist() == [1, 2]
    assert kept.dtype == np.int64


def test_a_suppressed_box_suppresses_nothing() -> None:
    chain = SQUARE + np.array([0.0, 1, 2]).reshape(3, 1, 1) * [1, 0]
    assert poly_nms(chain, np.array([0.9, 0.8, 0.7]), 0.3).tolist() == [0, 2]


def test_an_overlap_equal_to_the_threshold_does_not_suppress() -> None:
    halves = np.stack([SQUARE, SQUARE * [1, 0.5]])
    assert poly_iou(halves, halves)[0, 1] == 0.5
    assert poly_nms(halves, np.array([0.9, 0.8]), 0.5).tolist() == [0, 1]
    assert poly_nms(halves, np.array([0.9, 0.8]), np.nextafter(0.5, 0)).tolist() == [0]


def test_equal_scores_are_ordered_by_index() -> None:
    quads = np.stack([SQUARE + 9, SQUARE, SQUARE, SQUARE + 9])
    assert poly_nms(quads, np.full(4, 0.5), 0.5).tolist() == [0, 1]


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 120),
    st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.9, 1.0]),
    st.sampled_from([(10, 60, 300), (1, 1e5, 1e4), (0.01, 10, 30), (1, 1e5, 10)]),
    st.sampled_from([0.0, -1e6, 12345.678]),
    st.booleans(),
)
def test_nms_is_the_greedy_definition(
    seed: int, n: int, threshold: float, scale: tuple[float, float, float], offset: float, labelled: bool
) -> None:
    """For any mixture of sizes, any place, with ties, NaN scores and quads without area among them."""
    rng = np.random.default_rng(seed)
    quads, scores = detections(rng, n, scale[2], scale[0], scale[1])
    quads[rng.random(n) < 0.02] = np.nan
    quads[rng.random(n) < 0.02] = 5.0
    scores = np.where(rng.random(n) < 0.3, np.round(scores, 1), scores)
    scores[rng.random(n) < 0.05] = np.nan
    labels = rng.integers(-1, 2, n) if labelled else None
    expected = nms_by_definition(quads + offset, scores, threshold, labels)
    assert poly_nms(quads + offset, scores, threshold, labels).tolist() == expected


def test_labels_of_any_kind_keep_their_boxes_apart() -> None:
    quads, scores = np.stack([SQUARE, SQUARE, SQUARE]), np.array([0.7, 0.8, 0.9])
    assert poly_nms(quads, scores, 0.5, np.array([0, 1, 1])).tolist() == [2, 0]
    assert poly_nms(quads, scores, 0.5, np.array(["plane", "ship", "ship"])).tolist() == [2, 0]
    assert poly_nms(quads, scores, 0.5, np.array([0, 1, 1], np.uint8)).tolist() == [2, 0]
    assert poly_nms(quads, scores, 0.5, np.array([43, 299, 299])).tolist() == [2, 0]  # 43 = 299 - 256


def test_a_score_of_nan_is_never_kept_and_suppresses_nothing() -> None:
    assert poly_nms(np.stack([SQUARE, SQUARE]), np.array([np.nan, 0.1]), 0.5).tolist() == [1]
    assert poly_nms(np.stack([SQUARE, SQUARE]), np.full(2, np.nan), 0.5).tolist() == []
    assert poly_nms(np.stack([SQUARE, SQUARE + 9]), np.array([-np.inf, np.inf]), 0.5).tolist() == [1, 0]


def test_quads_without_area_are_kept() -> None:
    quads = np.stack([np.full((4, 2), np.nan), np.zeros((4, 2)), np.full((4, 2), np.inf), SQUARE, SQUARE * 1e-300])
    assert poly_nms(quads, np.arange(5.0), 0.0).tolist() == [4, 3, 2, 1, 0]


def test_no_boxes_and_one_box() -> None:
    assert poly_nms(np.zeros((0, 4, 2)), np.zeros(0), 0.5).shape == (0,)
    assert poly_nms([], [], 0.5, []).dtype == np.int64
    assert poly_nms(SQUARE[None], [0.3], 0.5).tolist() == [0]


def test_wrong_arguments_are_errors_that_say_what_is_expected() -> None:
    with pytest.raises(ValueError, match=r"scores must have shape \(1,\), one for each quad, got \(2,\)"):
        poly_nms(SQUARE[None], [0.1, 0.2], 0.5)
    with pytest.raises(ValueError, match=r"labels must have shape \(1,\)"):
        poly_nms(SQUARE[None], [0.1], 0.5, [1, 2])
    for threshold in (-0.1, 1.5, float("nan"), 50):
        with pytest.raises(ValueError, match=r"iou_threshold must be within \[0, 1\]"):
            poly_nms(SQUARE[None], [0.1], threshold)


def test_the_input_is_not_changed() -> None:
    quads, scores = picture(100)
    before = quads.copy(), scores.copy()
    poly_nms(quads, scores, 0.1)
    assert np.array_equal(quads, before[0])
    assert np.array_equal(scores, before[1])


def test_many_boxes_in_one_place_take_no_quadratic_time() -> None:
    rng = np.random.default_rng(0)
    quads = SQUARE * 20 + rng.normal(0, 0.1, (200_000, 1, 2))
    start = time.perf_counter()
    assert len(poly_nms(quads, rng.uniform(0, 1, len(quads)), 0.3)) == 1
    assert time.perf_counter() - start < 5  # all pairs would take an hour; this takes about 0.2 s


def test_a_few_boxes_far_apart_take_no_grid_of_the_whole_plane() -> None:
    quads = np.stack([SQUARE * 1e-3, SQUARE * 1e-3 + 1e9, SQUARE * 1e9, SQUARE * 1e-3 - 1e9])
    assert poly_nms(quads, np.array([0.1, 0.2, 0.3, 0.4]), 0.0).tolist() == [3, 2]


@pytest.mark.slow
def test_nms_agrees_with_the_tree_on_ten_thousand_boxes() -> None:
    quads, scores = picture(10_000)
    assert np.array_equal(poly_nms(quads, scores, 0.1), nms_by_tree(quads, scores, 0.1))


@pytest.mark.long
@pytest.mark.parametrize("n", [10_000, 50_000])
def test_nms_is_thirty_times_faster_than_a_tree(n: int) -> None:
    """Here: 100 to 200 times, by threshold and density."""
    quads, scores = picture(n)
    poly_nms(quads, scores, 0.1)
    ours = best_time(lambda: poly_nms(quads, scores, 0.1), 3)
    assert best_time(lambda: nms_by_tree(quads, scores, 0.1), 1) > 30 * ours


@pytest.mark.long
def test_a_million_boxes_take_at_most_45_times_as_long_as_fifty_thousand() -> None:
    """Here: 22 to 28 times."""
    few, many = picture(50_000), picture(1_000_000)
    poly_nms(*few, 0.1)
    assert best_time(lambda: poly_nms(*many, 0.1), 2) < 45 * best_time(lambda: poly_nms(*few, 0.1), 5)
