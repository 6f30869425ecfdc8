"""The picture of an input's targets: what is drawn lies where the decoder would put it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.targets import make_targets
from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.iou import paired_iou
from tools.drawings.target_picture import (
    HORIZONTAL_COLOR,
    IGNORED_COLOR,
    ROTATED_COLOR,
    draw_targets,
    share_ignored,
    target_quads,
)

NO_CELLS = np.zeros((0, 2), np.int64)


def _targets(quads: np.ndarray, ignored: bool = False, num_classes: int = 2):
    count = len(quads)
    return make_targets(quads, np.zeros(count, int), np.full(count, ignored), num_classes, (128, 160))


def _has(picture: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((np.abs(picture[80:].astype(int) - color).max(axis=2) < 8).any())  # below the legend


@settings(deadline=None, max_examples=60)
@given(st.floats(10, 150), st.floats(10, 118), st.floats(6, 60), st.floats(6, 60), st.floats(0.25, 1.3))
def test_a_rotated_box_comes_back_from_its_targets(x, y, width, height, angle):
    quad = boxes_to_quads(np.array([[x, y, width, height, angle]]), "rolabelimg")
    targets = _targets(quad)
    centers, boxes, outer = target_quads(targets)
    np.testing.assert_allclose(centers, [[x, y]], atol=1e-3)
    wanted = quad if targets.cls_theta[0, 0] else outer
    assert paired_iou(boxes, wanted)[0] > 0.999
    np.testing.assert_allclose(outer.min(axis=1), quad.min(axis=1), atol=1e-3)


@pytest.mark.parametrize(
    ("angle", "color", "other"), [(0.5, ROTATED_COLOR, HORIZONTAL_COLOR), (0.0, HORIZONTAL_COLOR, ROTATED_COLOR)]
)
def test_the_flag_has_a_colour(angle, color, other):
    quads = boxes_to_quads(np.array([[80.0, 64.0, 60.0, 30.0, angle]]), "rolabelimg")
    picture = draw_targets("a", np.zeros((128, 160, 3), np.uint8), _targets(quads), ["car", "boat"], NO_CELLS)
    left = picture[:, : picture.shape[1] // 2]
    assert _has(left, color)
    assert not _has(left, other)


@pytest.mark.slow
def test_ignored_cells_are_marked_on_both_sides():
    quads = boxes_to_quads(np.array([[80.0, 64.0, 60.0, 30.0, 0.5]]), "rolabelimg")
    image = np.zeros((128, 160, 3), np.uint8)
    targets = _targets(quads, ignored=True)
    assert 0 < share_ignored(targets) < 0.2
    picture = draw_targets("a", image, targets, ["car", "boat"], NO_CELLS)
    middle = picture.shape[1] // 2
    assert _has(picture[:, :middle], IGNORED_COLOR)
    assert _has(picture[:, middle:], IGNORED_COLOR)
    assert not _has(draw_targets("a", image, _targets(quads), ["car", "boat"], NO_CELLS), IGNORED_COLOR)
    assert not image.any()


def test_positive_cells_are_framed_and_nothing_is_fine():
    targets = _targets(np.zeros((0, 4, 2)))
    image = np.zeros((128, 160, 3), np.uint8)
    plain = draw_targets("图 1", image, targets, ["小车", "b"], NO_CELLS)
    framed = draw_targets("图 1", image, targets, ["小车", "b"], np.array([[3, 4], [3, 5], [4, 4]]))
    changed = (plain != framed).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert columns.min() > plain.shape[1] // 2
    cell = 4 * round(1200 / 160)
    assert columns.max() - columns.min() + 1 == rows.max() - rows.min() + 1 == 2 * cell
