"""The distance of boxes as Gaussians: its formula, its symmetries, and finite whatever the network says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.box_distance import gaussian_distance

SIDES = st.floats(1, 60)
TURNS = st.floats(-math.pi, math.pi)
SHIFTS = st.floats(-20, 20)
BOXES = st.tuples(SHIFTS, SHIFTS, SIDES, SIDES, TURNS)
NEAR_ZERO = 0.0101  # sqrt(1e-4), what equal boxes have

Box = tuple[float, float, float, float, float]  # cx, cy, w, h in cells, angle in radians


def vectors_of(*boxes: Box) -> tuple[Tensor, Tensor]:
    """`wh` (P, 10) and `reg` (P, 2) of boxes; the outer box, which the distance does not read, is NaN."""
    cx, cy, w, h, angle = torch.tensor(boxes, dtype=torch.float64).T
    cos, sin = angle.cos(), angle.sin()
    right = torch.stack((cos * w, sin * w), -1) / 2
    bottom = torch.stack((-sin * h, cos * h), -1) / 2
    outer = torch.full((len(boxes), 2), math.nan, dtype=torch.float64)
    return torch.cat((-bottom, right, bottom, -right, outer), -1).float(), torch.stack((cx, cy), -1).float()


def distance(first: Box, second: Box) -> float:
    return gaussian_distance(*vectors_of(first), *vectors_of(second)).item()


def formula(first: Box, second: Box) -> float:
    """ProbIoU's Hellinger distance (Llerena et al., 2021, eq. 2 to 4) with matrices, in float64; 0.01 on variances."""
    gaussians = []
    for cx, cy, w, h, angle in (first, second):
        u = np.array([math.cos(angle), math.sin(angle)]) * w / 2
        v = np.array([-math.sin(angle), math.cos(angle)]) * h / 2
        gaussians.append((np.array([cx, cy]), (np.outer(u, u) + np.outer(v, v)) / 3 + 0.01 * np.eye(2)))
    (mean_1, cov_1), (mean_2, cov_2) = gaussians
    cov, step = (cov_1 + cov_2) / 2, mean_1 - mean_2
    spread = np.log(np.linalg.det(cov) / np.sqrt(np.linalg.det(cov_1) * np.linalg.det(cov_2)))
    bhattacharyya = step @ np.linalg.inv(cov) @ step / 8 + spread / 2
    return math.sqrt(max(0.0, 1 - math.exp(-bhattacharyya)) + 1e-4)


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(first=BOXES, second=BOXES)
def test_it_is_the_formula_of_the_paper(first: Box, second: Box):
    assert distance(first, second) == pytest.approx(formula(first, second), abs=2e-3)


@pytest.mark.parametrize("sides", [(60.0, 2.0), (150.0, 1.0), (256.0, 1.0), (512.0, 0.5)])
def test_long_thin_boxes_keep_value_and_gradient_in_float32(sides: tuple[float, float]):
    """A quay of 600 x 4 px is 150 x 1 cells. By xx * yy - xy * xy its gradient was wrong by half."""
    turns = np.linspace(0.05, 1.5, 30)
    truth = [(0.0, 0.0, *sides, turn) for turn in turns]
    boxes = [(0.3, -0.2, sides[0] * 1.1, sides[1] * 1.3, turn + 0.001) for turn in turns]
    wh, reg = vectors_of(*boxes)
    found = gaussian_distance(wh.requires_grad_(), reg, *vectors_of(*truth))
    expected = [formula(*pair) for pair in zip(boxes, truth, strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=2e-3)
    found.sum().backward()
    step = 1e-4
    for row in (0, 13, 29):
        cx, cy, w, h, turn = boxes[row]
        slope = (formula((cx, cy, w, h + step, turn), truth[row]) - formula(boxes[row], truth[row])) / step
        down = np.array([-math.sin(turn), math.cos(turn)]) / 2  # how the vector b changes with h, and t against it
        gradient = wh.grad[row].double().numpy()
        assert (gradient[4:6] - gradient[0:2]) @ down == pytest.approx(slope, rel=0.02)


@settings(deadline=None)
@given(box=BOXES)
def test_equal_boxes_have_none(box: Box):
    assert distance(box, box) <= NEAR_ZERO + 1e-3


@settings(deadline=None)
@given(first=BOXES, second=BOXES)
def test_it_is_the_same_both_ways(first: Box, second: Box):
    assert distance(first, second) == pytest.approx(distance(second, first), abs=1e-3)


@settings(deadline=None)
@given(first=BOXES, second=BOXES, turn=TURNS, dx=SHIFTS, dy=SHIFTS)
def test_turning_and_shifting_both_changes_nothing(first, second, turn, dx, dy):
    cos, sin = math.cos(turn), math.sin(turn)
    moved = [
        (cos * cx - sin * cy + dx, sin * cx + cos * cy + dy, w, h, angle + turn)
        for cx, cy, w, h, angle in (first, second)
    ]
    assert distance(*moved) == pytest.approx(distance(first, second), abs=2e-3)


@settings(deadline=None)
@given(first=BOXES, second=BOXES, quarters=st.integers(1, 3))
def test_which_side_is_called_top_does_not_matter(first, second, quarters):
    """That is what smooth L1 on the vectors punishes most: near 90 degrees a box and its vectors change their names."""
    wh, reg = vectors_of(first)
    named = torch.cat((wh[:, :8].unflatten(-1, (4, 2)).roll(quarters, dims=1).flatten(1), wh[:, 8:]), -1)
    expected = gaussian_distance(wh, reg, *vectors_of(second))
    torch.testing.assert_close(gaussian_distance(named, reg, *vectors_of(second)), expected, atol=1e-3, rtol=0)


@settings(deadline=None)
@given(first=BOXES, second=BOXES, factor=st.floats(1, 8))
def test_enlarging_both_changes_little(first, second, factor):
    """Nothing but for the blur, which is 0.01 of a variance of at least 4^2 / 12 here."""
    pairs = [(cx * 4, cy * 4, w * 4, h * 4, angle) for cx, cy, w, h, angle in (first, second)]
    larger = [(cx * factor, cy * factor, w * factor, h * factor, angle) for cx, cy, w, h, angle in pairs]
    assert distance(*larger) == pytest.approx(distance(*pairs), abs=0.02)


@pytest.mark.parametrize(
    "steps",
    [
        [(0, 0, 20, 6, math.radians(degrees)) for degrees in (0, 2, 5, 10, 20, 45, 90)],
        [(x, 0, 20, 6, 0) for x in (0, 0.5, 1, 2, 5, 10, 20, 40)],
        [(0, y, 20, 6, 0) for y in (0, 0.5, 1, 2, 5, 10)],
        [(0, 0, side, 6, 0) for side in (20, 22, 26, 40, 80)],
        [(0, 0, side, 6, 0) for side in (20, 18, 14, 9, 6)],
    ],
)
def test_it_grows_with_angle_shift_and_size(steps: list[Box]):
    distances = [distance(steps[0], box) for box in steps]
    assert distances == sorted(distances)
    assert len(set(distances)) == len(distances)
    assert all(0 <= value <= 1.001 for value in distances)


def test_boxes_far_apart_have_nearly_one():
    assert distance((0, 0, 8, 4, 0.3), (100, 50, 8, 4, 0.3)) == pytest.approx(1, abs=1e-3)


def test_vectors_that_do_not_add_up_to_zero_move_the_centre():
    """The corners are c + t + l and so on: the decoded box lies half the sum of the four vectors away from c."""
    wh, reg = vectors_of((0, 0, 10, 4, 0.5))
    pushed = wh.clone()
    pushed[:, :8] += 0.5  # four vectors, half a cell each
    expected = gaussian_distance(*vectors_of((1, 1, 10, 4, 0.5)), wh, reg)
    torch.testing.assert_close(gaussian_distance(pushed, reg, wh, reg), expected)


def test_no_boxes_have_no_distances():
    assert gaussian_distance(*[torch.zeros(0, 10), torch.zeros(0, 2)] * 2).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_it_is_computed_in_float32(dtype: torch.dtype):
    first, second = vectors_of((0, 0, 8, 4, 0.3)), vectors_of((0.5, 0, 9, 4, 0.4))
    low = gaussian_distance(*(part.to(dtype) for part in first), *second)
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(distance((0, 0, 8, 4, 0.3), (0.5, 0, 9, 4, 0.4)), abs=0.02)


NUMBERS = st.one_of(st.floats(-1e4, 1e4, width=32), st.sampled_from([0.0, 1e-30, 1e4, -1e4, 65504.0]))


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(values=st.lists(NUMBERS, min_size=10, max_size=10), truth=BOXES)
def test_whatever_the_network_says_value_and_gradient_are_finite(values: list[float], truth: Box):
    wh = torch.tensor([[*values[:8], 0, 0]], requires_grad=True)
    reg = torch.tensor([values[8:]], requires_grad=True)
    found = gaussian_distance(wh, reg, *vectors_of(truth))
    found.sum().backward()
    assert 0 <= found.item() <= 1.001
    assert wh.grad.isfinite().all()
    assert reg.grad.isfinite().all()


@pytest.mark.parametrize("value", [0.0, 1.0, 1e4, 65504.0, 1e6])
def test_vectors_that_are_all_alike_are_finite(value: float):
    """Boxes without width, length or both, near and far: the determinants vanish."""
    wh = torch.full((1, 10), value, requires_grad=True)
    gaussian_distance(wh, torch.zeros(1, 2), *vectors_of((0, 0, 8, 4, 0.3))).sum().backward()
    assert wh.grad.isfinite().all()
