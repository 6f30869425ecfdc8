"""The largest overlap is found in fewer looks, and is the same as by all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DOTA_devkit import matching
from DOTA_devkit.iou import intersection_over_first, poly_iou, prepare
from DOTA_devkit.matching import largest_overlap
from tests.test_evaluation import rectangles


def brute_force(
    quads: np.ndarray, group: np.ndarray, others: np.ndarray, starts: np.ndarray, over_union: bool
) -> tuple[list[int], list[float]]:
    """Every quad with every other of its group, in their order; the first of equals."""
    inside = poly_iou(quads, others) if over_union else intersection_over_first(quads, others)
    best, overlap = [], []
    for i, number in enumerate(group.tolist()):
        row = inside[i, starts[number] : starts[number + 1]]
        best.append(int(starts[number] + row.argmax()) if len(row) and row.max() > 0 else -1)
        overlap.append(float(row.max(initial=0.0)))
    return best, overlap


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(
    st.integers(0, 2**32),
    st.integers(0, 60),
    st.integers(0, 60),
    st.sampled_from([0, 1, 2]),
    st.booleans(),
    st.booleans(),
)
def test_the_largest_overlap_is_that_of_all_pairs_to_the_last_bit(
    seed: int, num_found: int, num_others: int, digits: int, over_union: bool, is_tall: bool
) -> None:
    """Ties, doubles, nested and very long boxes, several groups, boxes without an area and such as are no numbers."""
    rng = np.random.default_rng(seed)
    quads, others = (np.round(rectangles(rng, count, 60.0), digits) for count in (num_found, num_others))
    others[rng.random(num_others) < 0.1] *= [[1.0, 8.0]] if is_tall else [[8.0, 1.0]]
    twins = rng.random(num_others) < 0.3
    others[twins] = others[rng.integers(max(num_others, 1), size=twins.sum())]
    for item, value in ((others, np.nan), (others, np.inf), (others, 1e200), (quads, 1e200), (quads, 0.0)):
        item[rng.random(len(item)) < 0.03, rng.integers(4), rng.integers(2)] = value
        item[rng.random(len(item)) < 0.02] = value
    group, of_others = rng.integers(3, size=num_found), np.sort(rng.integers(3, size=num_others))
    starts = np.concatenate([[0], np.cumsum(np.bincount(of_others, minlength=3))])
    best, overlap = largest_overlap(prepare(quads), group, prepare(others), starts, over_union)
    assert (best.tolist(), overlap.tolist()) == brute_force(quads, group, others, starts, over_union)


@pytest.mark.parametrize("axis", [0, 1])
def test_boxes_in_a_strip_are_looked_at_along_it(monkeypatch: pytest.MonkeyPatch, axis: int) -> None:
    """All of them were where they share their x: 40,000 took ten seconds."""
    quads = np.tile(np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]]), (100, 1, 1))
    quads[..., axis] += 10 * np.arange(100)[:, None]
    shapes, seen = prepare(quads), []
    monkeypatch.setattr(matching, "_sweep", lambda *parts: seen.append(parts[-2]))
    largest_overlap(shapes, np.zeros(100, int), shapes, np.array([0, 100]), True)
    assert seen[0].tolist() == (10.0 * np.arange(100)).tolist()


def test_the_first_of_equals_is_taken_wherever_it_begins() -> None:
    """All four cover half of the detection; they are looked at from the right."""
    found = np.array([[[0, 0], [10, 0], [10, 10], [0, 10]]], float)
    others = np.array([[[x, 0], [x + 10, 0], [x + 10, 10], [x, 10]] for x in (-5, 5, -5, 5)], float)
    for rows, first in (([0, 1, 2, 3], 0), ([1, 0, 3, 2], 0), ([3], 0)):
        shapes = prepare(np.ascontiguousarray(others[rows]))
        best, overlap = largest_overlap(prepare(found), np.zeros(1, int), shapes, np.array([0, len(rows)]), False)
        assert (best.tolist(), overlap.tolist()) == ([first], [0.5])


def test_of_nothing_and_among_nothing() -> None:
    nothing, one = prepare(np.zeros((0, 4, 2))), prepare(np.array([[[0, 0], [10, 0], [10, 10], [0, 10]]], float))
    best, overlap = largest_overlap(nothing, np.zeros(0, int), one, np.array([0, 1]), True)
    assert len(best) == len(overlap) == 0
    best, overlap = largest_overlap(one, np.zeros(1, int), nothing, np.array([0, 0]), True)
    assert (best.tolist(), overlap.tolist()) == ([-1], [0.0])
