"""Augmentation: picture and boxes go through one and the same warp, and objects at borders stay rectangles."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.augment import (
    Augmentation,
    jitter_colours,
    letterbox_matrix,
    random_matrix,
    random_window_matrix,
    warp_image,
    warp_quads,
)
from datasets.letterbox import letterbox_image, letterbox_scale
from DOTA_devkit.boxes import boxes_to_quads, polygon_area, signed_area
from DOTA_devkit.clipping import clip_quads
from DOTA_devkit.iou import intersection_over_first, paired_iou

IMAGE_HW, INPUT_HW = (180, 240), (160, 192)
IDENTITY = np.array([[1.0, 0, 0], [0, 1.0, 0]])
NO_CHANGE = Augmentation(flip=0, rotate=0, scale=(1, 1), shift=0, gain=0, offset=0)
# Everything of the picture stays in the input, so that a box can be compared with its drawing.
ALL_VISIBLE = Augmentation(scale=(0.55, 0.7), shift=0.02, rotate=180.0)


def box(cx: float, cy: float, w: float, h: float, angle: float) -> np.ndarray:
    """A rectangle as quads (1, 4, 2)."""
    return boxes_to_quads(np.array([[cx, cy, w, h, angle]]), "rolabelimg")


def painted(quad: np.ndarray) -> np.ndarray:
    """A black picture with the clockwise quad (4, 2) in white, each pixel as bright as it is covered."""
    middles = np.stack(np.meshgrid(np.arange(IMAGE_HW[1]), np.arange(IMAGE_HW[0])), axis=-1) + 0.5
    sides = np.roll(quad, -1, axis=0) - quad
    inwards = np.column_stack([-sides[:, 1], sides[:, 0]]) / np.linalg.norm(sides, axis=1, keepdims=True)
    depth = ((middles[:, :, None] - quad) * inwards).sum(axis=-1).min(axis=-1)
    grey = np.rint(255 * np.clip(depth + 0.5, 0, 1)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def drawn_rectangle(image: np.ndarray) -> np.ndarray:
    """The minimum-area rectangle (1, 4, 2) of what is bright, pixel i covering [i, i + 1)."""
    (cx, cy), (w, h), angle = cv2.minAreaRect(cv2.findNonZero((image[..., 0] > 127).astype(np.uint8)))
    return boxes_to_quads(np.array([[cx + 0.5, cy + 0.5, w + 1, h + 1, np.deg2rad(angle)]]), "oc")


def is_rectangle(quads: np.ndarray) -> np.ndarray:
    """Which of quads (N, 4, 2) have right angles, to 1e-6."""
    sides = np.roll(quads, -1, axis=1) - quads
    products = np.abs((sides * np.roll(sides, -1, axis=1)).sum(axis=2))
    return products.max(axis=1) < 1e-6 * (sides**2).sum(axis=2).max(axis=1)


# -- matrices


@pytest.mark.parametrize("hw", [(90, 160), (160, 90), (512, 640), (33, 47), (192, 192)])
def test_the_matrix_of_the_letterbox_has_the_letterboxs_geometry(hw: tuple[int, int]) -> None:
    """Training must see a picture where testing sees it."""
    matrix = letterbox_matrix(hw, INPUT_HW)
    scale = letterbox_scale(hw, INPUT_HW)
    assert np.array_equal(matrix, [[scale, 0, 0], [0, scale, 0]])
    image = np.random.default_rng(0).integers(0, 256, (*hw, 3), dtype=np.uint8)
    image = cv2.blur(image, (9, 9), borderType=cv2.BORDER_REFLECT)
    exact, warped = letterbox_image(image, INPUT_HW, (0, 0, 0)), warp_image(image, matrix, INPUT_HW, (0, 0, 0))
    margin = 1 + int(np.ceil(scale / 2))  # half a pixel of the picture, where the warp mixes in the fill colour
    inner = np.s_[margin : int(hw[0] * scale) - margin, margin : int(hw[1] * scale) - margin]
    assert np.abs(exact - warped)[inner].max() < 3


@pytest.mark.slow
@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=100)
def test_a_random_matrix_keeps_shapes_and_stays_in_its_bounds(seed: int) -> None:
    augmentation = Augmentation(scale=(0.7, 1.4), shift=0.15, rotate=180.0)
    matrix = random_matrix(np.random.default_rng(seed), IMAGE_HW, INPUT_HW, augmentation)
    assert np.array_equal(matrix, random_matrix(np.random.default_rng(seed), IMAGE_HW, INPUT_HW, augmentation))
    turn = matrix[:, :2]
    scale = np.sqrt(abs(np.linalg.det(turn)))
    assert np.allclose(turn @ turn.T, scale**2 * np.eye(2)), "no shear, so that rectangles stay rectangles"
    factor = scale / letterbox_scale(IMAGE_HW, INPUT_HW)
    assert 0.7 - 1e-9 <= factor <= 1.4 + 1e-9
    middle = turn @ [IMAGE_HW[1] / 2, IMAGE_HW[0] / 2] + matrix[:, 2]
    sides = np.array(INPUT_HW[::-1])
    assert (np.abs(middle / sides - 0.5) <= 0.15 + 1e-9).all()


def test_random_matrices_reach_their_bounds_and_flip_half_of_the_time() -> None:
    rng = np.random.default_rng(0)
    augmentation = Augmentation(rotate=30, scale=(0.7, 1.4))
    turns = np.array([random_matrix(rng, (100, 100), (100, 100), augmentation)[:, :2] for _ in range(2000)])
    scales = np.sqrt(np.abs(np.linalg.det(turns)))
    assert scales.min() < 0.71
    assert scales.max() > 1.38
    assert np.median(scales) == pytest.approx(0.98, abs=0.03)  # as often smaller as larger: sqrt(0.7 * 1.4)
    assert (np.linalg.det(turns) < 0).mean() == pytest.approx(0.5, abs=0.05)
    angles = np.rad2deg(np.arcsin(np.abs(turns[:, 1, 0]) / scales))
    assert 29 < angles.max() <= 30 + 1e-9


def test_quarter_turns_keep_upright_boxes_upright_and_come_in_all_four() -> None:
    turning = Augmentation(flip=0, quarter_turns=True, rotate=0, scale=(1, 1), shift=0)
    rng, angles = np.random.default_rng(0), set()
    for _ in range(60):
        matrix = random_matrix(rng, IMAGE_HW, INPUT_HW, turning)
        angles.add(round(float(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0]))) % 360))
    assert angles == {0, 90, 180, 270}


def test_windows_show_things_as_large_as_the_whole_input_and_mostly_an_object() -> None:
    rng, window_hw = np.random.default_rng(0), (64, 96)
    same_size = Augmentation(scale=(1, 1), rotate=180.0)
    centers = np.array([[20.0, 30.0], [200.0, 150.0]])
    num_seen = 0
    for _ in range(200):
        matrix = random_window_matrix(rng, IMAGE_HW, INPUT_HW, window_hw, centers, same_size)
        scale = letterbox_scale(IMAGE_HW, INPUT_HW)
        np.testing.assert_allclose(np.linalg.norm(matrix[:, :2], axis=0), scale)
        shown = centers @ matrix[:, :2].T + matrix[:, 2]
        num_seen += ((shown >= 0) & (shown <= (96, 64))).all(axis=1).any()
    assert num_seen > 150


def test_windows_of_a_picture_without_objects_lie_anywhere() -> None:
    rng = np.random.default_rng(0)
    places = []
    for _ in range(100):
        matrix = random_window_matrix(rng, IMAGE_HW, INPUT_HW, (64, 64), np.zeros((0, 2)), NO_CHANGE)
        places.append(np.linalg.solve(matrix[:, :2], np.array([32, 32]) - matrix[:, 2]))
    assert (np.ptp(places, axis=0) > np.array([200, 150])).all()


def test_no_change_is_the_letterbox_about_the_middle() -> None:
    matrix = random_matrix(np.random.default_rng(0), (100, 100), (64, 64), NO_CHANGE)
    assert np.allclose(matrix, letterbox_matrix((100, 100), (64, 64)))


# -- pictures


def test_the_identity_changes_no_pixel_and_the_outside_is_filled() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    warped = warp_image(image, IDENTITY, (32, 64), (103.53, 116.28, 123.675))
    assert (warped.shape, warped.dtype) == ((32, 64, 3), np.uint8)
    assert np.array_equal(warped[:20, :30], image)
    assert (warped[21:, 31:] == (104, 116, 124)).all()


def test_a_flip_moves_whole_pixels() -> None:
    """Pixel i covers [i, i + 1): mirroring is x -> W - x, not W - 1 - x; half a pixel is a cell's eighth."""
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    mirror = np.array([[-1.0, 0, 30], [0, 1.0, 0]])
    assert np.array_equal(warp_image(image, mirror, (20, 30), (0, 0, 0)), image[:, ::-1])
    quarter = np.array([[0.0, -1, 20], [1.0, 0, 0]])
    assert np.array_equal(warp_image(image, quarter, (30, 20), (0, 0, 0)), np.rot90(image, -1))


# -- boxes


@pytest.mark.slow
@given(
    seed=st.integers(0, 2**32),
    cx=st.floats(60, 180),
    cy=st.floats(60, 120),
    w=st.floats(50, 90),
    h=st.floats(30, 48),
    angle=st.floats(0, np.pi),
)
@settings(deadline=None, max_examples=60)
def test_a_box_goes_where_its_drawing_goes(seed: int, cx: float, cy: float, w: float, h: float, angle: float) -> None:
    quads = box(cx, cy, w, h, angle)
    input_hw = (480, 640)  # large enough that a pixel of the drawing is small beside the box
    matrix = random_matrix(np.random.default_rng(seed), IMAGE_HW, input_hw, ALL_VISIBLE)
    warped, rows, hidden = warp_quads(quads, matrix, IMAGE_HW, input_hw, 0.5)
    assert (rows.tolist(), hidden.tolist()) == ([0], [False])
    drawing = drawn_rectangle(warp_image(painted(quads[0]), matrix, input_hw, (0, 0, 0)))
    assert paired_iou(warped, drawing)[0] > 0.9
    assert np.linalg.norm(warped.mean(axis=1) - drawing.mean(axis=1)) < 0.75


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_boxes_stay_clockwise_under_flips(seed: int) -> None:
    rng = np.random.default_rng(seed)
    quads = np.concatenate([box(*rng.uniform(20, 160, 2), 40, 15, rng.uniform(0, np.pi)) for _ in range(5)])
    matrix = random_matrix(rng, IMAGE_HW, INPUT_HW, Augmentation(rotate=180.0))
    warped, rows, _ = warp_quads(quads, matrix, IMAGE_HW, INPUT_HW, 0.5)
    assert (signed_area(warped) > 0).all()
    assert (np.diff(rows) > 0).all()


def test_a_whole_box_keeps_its_corners_and_only_a_mirror_changes_the_first() -> None:
    quad = box(100, 80, 40, 20, 0.4)
    moved = np.array([[1.0, 0, 5], [0, 1.0, 7]])
    assert np.allclose(warp_quads(quad, moved, IMAGE_HW, INPUT_HW, 0.5)[0], quad + np.array([5, 7]))
    mirror = np.array([[-1.0, 0, 180], [0, 1.0, 0]])
    mirrored = quad * [-1, 1] + [180, 0]
    assert np.allclose(warp_quads(quad, mirror, IMAGE_HW, INPUT_HW, 0.5)[0], mirrored[:, [1, 0, 3, 2]])


@given(
    cx=st.floats(-20, 260),
    cy=st.floats(-20, 200),
    w=st.floats(5, 120),
    h=st.floats(5, 60),
    angle=st.floats(0, np.pi),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=150)
def test_border_objects_are_cut_and_refitted_never_skewed(
    cx: float, cy: float, w: float, h: float, angle: float, seed: int
) -> None:
    """Defect 8: corners clamped one by one at the border gave skewed quads."""
    quads = box(cx, cy, w, h, angle)
    matrix = random_matrix(np.random.default_rng(seed), IMAGE_HW, INPUT_HW, Augmentation(rotate=180.0))
    warped, rows, hidden = warp_quads(quads, matrix, IMAGE_HW, INPUT_HW, 0.5)
    assert len(warped) == len(rows) == len(hidden) <= 1
    assert is_rectangle(warped).all()
    assert (polygon_area(warped) > 0).all()
    if len(warped) == 0:
        return
    whole = quads @ matrix[:, :2].T + matrix[:, 2]
    assert polygon_area(warped)[0] <= polygon_area(whole)[0] * (1 + 1e-9), "a part is not larger than the whole"
    window = np.array([[[0, 0], [INPUT_HW[1], 0], INPUT_HW[::-1], [0, INPUT_HW[0]]]], float)
    assert intersection_over_first(warped, window)[0, 0] > 0.4, "it covers the visible part"


def test_clamped_corners_would_be_skewed_where_ours_are_not() -> None:
    """Defect 8: a car at 45 degrees over the left border."""
    quads = box(5, 90, 60, 25, np.pi / 4)
    clamped = np.clip(quads, 0, [IMAGE_HW[1], IMAGE_HW[0]])
    assert not is_rectangle(clamped).any()
    warped, _, hidden = warp_quads(quads, IDENTITY, IMAGE_HW, IMAGE_HW, 0.5)
    assert is_rectangle(warped).all()
    assert not hidden.any()


@pytest.mark.parametrize(
    ("left", "min_visible", "expected"),
    [(-10, 0.5, False), (-19.9, 0.5, False), (-20.1, 0.5, True), (-10, 0.8, True), (-39, 0.0, False), (-39, 0.5, True)],
)
def test_a_box_that_is_mostly_cut_off_is_hidden(left: float, min_visible: float, expected: bool) -> None:
    """A box 40 px wide of which `left` lies beyond the border: an ignore region below the visible fraction."""
    quads = np.array([[[left, 50], [left + 40, 50], [left + 40, 70], [left, 70]]])
    for matrix, image_hw in ((IDENTITY, (100, 100)), (np.array([[1.0, 0, left], [0, 1.0, 0]]), (100, 100))):
        moved = quads if matrix is IDENTITY else quads - [left, 0]  # cut by the picture's border, or by the input's
        warped, rows, hidden = warp_quads(moved, matrix, image_hw, (100, 100), min_visible)
        assert (rows.tolist(), hidden.tolist()) == ([0], [expected])
        assert np.allclose(warped[0], [[0, 50], [left + 40, 50], [left + 40, 70], [0, 70]])


def test_boxes_cut_at_both_borders_count_what_is_left_of_the_original() -> None:
    quads = np.array([[[-10.0, 40], [30, 40], [30, 60], [-10, 60]]])  # 30 of 40 columns are in the picture,
    matrix = np.array([[1.0, 0, -12], [0, 1.0, 0]])  # 18 of them in the input: 0.45
    assert warp_quads(quads, matrix, (100, 100), (100, 100), 0.44)[2].tolist() == [False]
    assert warp_quads(quads, matrix, (100, 100), (100, 100), 0.46)[2].tolist() == [True]


@given(
    cx=st.floats(-20, 40),
    cy=st.floats(-20, 40),
    w=st.floats(10, 60),
    h=st.floats(5, 40),
    angle=st.floats(0, np.pi),
    min_visible=st.floats(0.05, 0.95),
)
@settings(deadline=None, max_examples=150)
def test_a_border_that_picture_and_input_share_counts_once(
    cx: float, cy: float, w: float, h: float, angle: float, min_visible: float
) -> None:
    """Under the letterbox. Cut twice, one in seven of the objects that are more than half visible was hidden."""
    quads = box(cx, cy, w, h, angle)
    visible = clip_quads(quads, 0, 0, IMAGE_HW[1], IMAGE_HW[0])[1]
    _, rows, hidden = warp_quads(quads, IDENTITY, IMAGE_HW, IMAGE_HW, min_visible)
    assert rows.tolist() == np.flatnonzero(visible > 0).tolist()
    assert hidden.tolist() == (visible[rows] < min_visible).tolist()


def test_boxes_outside_are_dropped_and_rows_tell_which_are_left() -> None:
    quads = np.concatenate(
        [box(300, 90, 20, 10, 0), box(50, 50, 20, 10, 0), box(-50, 90, 20, 10, 1), box(9, 9, 8, 4, 1)]
    )
    warped, rows, hidden = warp_quads(quads, IDENTITY, IMAGE_HW, IMAGE_HW, 0.5)
    assert rows.tolist() == [1, 3]
    assert warped.shape == (2, 4, 2)
    assert not hidden.any()


@pytest.mark.parametrize("quads", [np.zeros((0, 4, 2)), np.zeros((0, 4, 2), np.float32), box(500, 500, 9, 9, 0)])
def test_no_boxes_give_no_boxes(quads: np.ndarray) -> None:
    warped, rows, hidden = warp_quads(quads, IDENTITY, IMAGE_HW, INPUT_HW, 0.5)
    assert (warped.shape, rows.shape, hidden.shape) == ((0, 4, 2), (0,), (0,))
    assert hidden.dtype == bool


# -- colours


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_jitter_keeps_type_and_range_and_is_drawn_from_the_rng_alone(seed: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    before = image.copy()
    jittered = jitter_colours(np.random.default_rng(seed), image, Augmentation(rotate=180.0))
    assert (jittered.shape, jittered.dtype) == (image.shape, np.uint8)
    assert np.array_equal(jittered, jitter_colours(np.random.default_rng(seed), image, Augmentation(rotate=180.0)))
    assert np.array_equal(image, before)
    # (level - 127.5) * (1 +- 0.26) + 127.5 +- 255 * 0.13: brightness shared, a third of it apart
    assert np.abs(jittered.astype(float) - image).max() <= 127.5 * 0.26 + 255 * 0.13 + 1


def test_jitter_of_nothing_changes_nothing_and_keeps_the_order_of_levels() -> None:
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    rng = np.random.default_rng(0)
    assert np.array_equal(jitter_colours(rng, levels, NO_CHANGE), levels)
    for _ in range(20):
        assert (np.diff(jitter_colours(rng, levels, Augmentation(rotate=180.0)).astype(int), axis=1) >= 0).all()


@given(st.integers(0, 2**32 - 1))
def test_jitter_rounds_to_the_nearest_level(seed: int) -> None:
    """Levels were cut to whole numbers, which made pictures darker by 0.4 on the average."""
    augmentation = replace(NO_CHANGE, offset=0.1)
    shared, apart = (np.random.default_rng(seed).uniform(-1, 1, 8)[part] for part in (slice(2), slice(2, 8)))
    wanted = 127 + 25.5 * (shared[1] + 0.3 * apart[3:])
    jittered = jitter_colours(np.random.default_rng(seed), np.full((1, 1, 3), 127, np.uint8), augmentation)
    assert np.abs(jittered[0, 0] - wanted).max() <= 0.5 + 1e-6


def test_jitter_takes_a_picture_of_one_pixel() -> None:
    white = np.full((1, 1, 3), 255, np.uint8)
    assert jitter_colours(np.random.default_rng(0), white, Augmentation(rotate=180.0)).shape == (1, 1, 3)
