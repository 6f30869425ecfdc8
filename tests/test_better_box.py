"""Of the decoder's two boxes the better one is told, with what is at stake; the horizontal one is as good as can be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from DOTA_devkit.boxes import boxes_to_quads, encode_vectors
from DOTA_devkit.iou import poly_iou
from models.better_box import STAKE, better_boxes, with_moment_sizes


def turned(degrees: float, w: float = 6.0, h: float = 3.0) -> Tensor:
    """The targets (1, 10) of a box that is turned so far, with its outer box."""
    angle = math.radians(degrees)
    boxes = encode_vectors(boxes_to_quads(np.array([[0.0, 0.0, w, h, angle]]), "le90"))
    return torch.from_numpy(np.concatenate([boxes.vectors.reshape(1, 8), boxes.outer], axis=1)).float()


def choice(wh: Tensor, truth: Tensor) -> tuple[float, float]:
    """Whether the box by the vectors is the better one of what the network says, and by how much."""
    is_rotated, stake = better_boxes(wh, torch.zeros(1, 2), truth, torch.zeros(1, 2))
    return is_rotated.item(), stake.item() / STAKE


@pytest.mark.parametrize("degrees", [2, 5, -5, 88])
def test_near_the_axes_vectors_that_waver_make_the_horizontal_box_the_better_one(degrees: float) -> None:
    """A network that cannot tell 5 degrees from -5 gives vectors between those of the two, a box at 45 degrees; called
    rotated by its tilt, every object within 8 degrees of an axis had an IoU below 0.75."""
    truth, beyond = turned(degrees), turned(round(degrees / 90) * 180 - degrees)
    is_rotated, stake = choice((truth + beyond) / 2, truth)
    assert is_rotated == 0
    assert stake > 0.15
    assert choice(truth, truth)[0] == 1  # a network that can is taken at its word


@pytest.mark.parametrize("degrees", [20, 45, -30])
def test_far_from_the_axes_the_vectors_make_the_better_box(degrees: float) -> None:
    truth = turned(degrees)
    assert choice(0.8 * truth, truth)[0] == 1
    assert choice(turned(degrees + 8), truth)[0] == 1


def test_little_is_at_stake_between_boxes_that_are_equally_good_and_much_where_one_is_bad() -> None:
    along, across = turned(0), turned(0, w=3.0, h=6.0)
    assert choice(along, along)[1] == pytest.approx(0, abs=1e-3)
    truth = turned(45)
    assert choice(truth, truth)[1] > 0.15 > choice(turned(3), turned(3))[1]
    wrong = torch.cat((along[:, :8], across[:, 8:]), dim=1)
    is_rotated, stake = choice(wrong, along)
    assert is_rotated == 1
    assert stake > 0.3


@given(degrees=st.floats(-90, 90), w=st.floats(2, 60), h=st.floats(2, 60))
def test_the_horizontal_box_of_equal_moments_is_no_worse_than_the_outer_one(degrees: float, w: float, h: float) -> None:
    truth = turned(degrees, w, h)
    ours = with_moment_sizes(truth)
    assert torch.equal(ours[:, :8], truth[:, :8])
    boxes = torch.cat((ours, truth))[:, 8:].double().numpy()
    quads = boxes_to_quads(np.column_stack((np.zeros((2, 2)), boxes, np.zeros(2))), "le90")
    true_quad = boxes_to_quads(np.array([[0.0, 0.0, w, h, math.radians(degrees)]]), "le90")
    overlap = poly_iou(quads, true_quad)[:, 0]
    assert overlap[0] >= overlap[1] - 1e-6


def test_at_an_axis_the_two_horizontal_boxes_are_the_same() -> None:
    assert torch.allclose(with_moment_sizes(turned(0)), turned(0))
    assert torch.allclose(with_moment_sizes(turned(90)), turned(90), atol=1e-5)
