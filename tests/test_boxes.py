"""Tests of the codec: areas, minimum-area rectangles, boundary vectors, angle conventions."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from DOTA_devkit.boxes import (
    CONVENTIONS,
    boxes_to_quads,
    encode_vectors,
    fit_rectangle,
    free_quads,
    horizontal_quads,
    minimum_area_rectangles,
    order_clockwise,
    outer_quads,
    polygon_area,
    quads_to_boxes,
    rectangle_quads,
    self_crossing,
    signed_area,
)

SQUARE = np.array([[0.0, 0], [2, 0], [2, 2], [0, 2]])
NONE = np.zeros((0, 4, 2))
seeds = st.integers(0, 2**32 - 1)


def rectangle(cx: float, cy: float, w: float, h: float, angle: float) -> np.ndarray:
    """Corners by the formula for roLabelImg in the specification: centre +- w/2 (cos, sin) +- h/2 (-sin, cos)."""
    u = np.array([math.cos(angle), math.sin(angle)]) * w / 2
    v = np.array([-math.sin(angle), math.cos(angle)]) * h / 2
    return np.array([cx, cy]) + np.stack([-u - v, u - v, u + v, v - u])


def random_rectangles(seed: int, n: int = 50) -> np.ndarray:
    rng = np.random.default_rng(seed)
    sizes = 10 ** rng.uniform(-1, 3, (n, 2))
    places = rng.uniform(-1000, 1000, (n, 2))
    angles = rng.choice([0.0, math.pi / 2, math.pi / 4, 1e-4, -1e-4, 1.0], n) + rng.uniform(0, 7, n) * (
        rng.random(n) < 0.7
    )
    return np.stack([rectangle(*c, *s, a) for c, s, a in zip(places, sizes, angles, strict=True)])


def same_corners(a: np.ndarray, b: np.ndarray, tolerance: float = 1e-6) -> bool:
    """Whether both quads have the same corners, whichever comes first."""
    distance = np.linalg.norm(a[:, None] - b[None], axis=-1)
    return bool(distance.min(0).max() < tolerance and distance.min(1).max() < tolerance)


def test_the_area_does_not_suffer_far_from_the_origin() -> None:
    assert polygon_area(SQUARE) == 4.0
    assert polygon_area(SQUARE[None, ::-1] + 1e9) == pytest.approx([4.0], abs=0)
    assert polygon_area(np.array([[0, 0], [4, 0], [4, 4], [2, 1], [0, 4]])) == pytest.approx(10.0)


def test_outer_quads_enclose() -> None:
    diamond = np.array([[[5, 0], [10, 4], [5, 8], [0, 4]]], dtype=float)
    assert outer_quads(diamond).tolist() == [[[0, 0], [10, 0], [10, 8], [0, 8]]]
    assert outer_quads(diamond, whole_pixels=True).tolist() == [[[0, 0], [11, 0], [11, 9], [0, 9]]]
    assert outer_quads(np.empty((0, 4, 2))).shape == (0, 4, 2)


def test_signed_area_is_positive_clockwise_on_the_screen() -> None:
    assert signed_area(SQUARE) == 4.0
    assert signed_area(SQUARE[::-1]) == -4.0


def test_order_clockwise_turns_quads_and_keeps_the_first_corner() -> None:
    turned = order_clockwise(np.stack([SQUARE, SQUARE[[2, 1, 0, 3]]]))
    assert np.array_equal(turned, [SQUARE, SQUARE[[2, 3, 0, 1]]])


def test_only_quads_with_crossing_sides_are_self_crossing() -> None:
    dart = np.array([[0.0, 0], [4, 2], [0, 4], [1, 2]])
    triangle, line = SQUARE[[0, 1, 2, 2]], SQUARE[[0, 1, 0, 1]]
    quads = np.stack([SQUARE, SQUARE[::-1], dart, triangle, line, SQUARE[[0, 2, 1, 3]], SQUARE[[0, 1, 3, 2]]])
    assert self_crossing(quads).tolist() == [False, False, False, False, False, True, True]


@settings(deadline=None, max_examples=50)
@given(seeds)
def test_self_crossing_agrees_with_shapely(seed: int) -> None:
    quads = np.random.default_rng(seed).uniform(0, 1, (100, 4, 2))
    assert np.array_equal(self_crossing(quads), ~shapely.is_valid(shapely.polygons(quads)))


@settings(deadline=None, max_examples=50)
@given(seeds, st.integers(3, 9))
def test_the_minimum_area_rectangle_is_the_smallest_and_holds_all_points(seed: int, num_points: int) -> None:
    points = np.random.default_rng(seed).normal(0, 50, (20, num_points, 2))
    rectangles = minimum_area_rectangles(points)
    reference = shapely.area(shapely.oriented_envelope(shapely.multipoints(points)))
    assert polygon_area(rectangles) == pytest.approx(reference, rel=1e-9)
    around = shapely.buffer(shapely.polygons(rectangles), 1e-9)
    assert shapely.contains(around, shapely.multipoints(points)).all()
    assert (signed_area(rectangles) > 0).all()


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(seeds)
def test_a_rectangle_is_its_own_minimum_area_rectangle_whichever_corner_comes_first(seed: int) -> None:
    """Defect 4: nothing may depend on where the corners or the angles start."""
    quads = random_rectangles(seed)
    fitted = minimum_area_rectangles(quads)
    for order in ([0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 1], [3, 2, 1, 0], [0, 2, 1, 3]):
        assert minimum_area_rectangles(quads[:, order]) == pytest.approx(fitted, abs=1e-9)
    assert all(same_corners(a, b) for a, b in zip(quads, fitted, strict=True))


def test_repeated_points_change_nothing() -> None:
    triangle = np.array([[0.0, 0], [6, 0], [1, 3]])
    padded = triangle[[0, 1, 2, 2, 2, 0]]
    assert minimum_area_rectangles(padded[None]) == pytest.approx(minimum_area_rectangles(triangle[None]), abs=1e-12)


@pytest.mark.parametrize("points", [np.full((4, 2), 7.3), np.array([[0.1, 0.3]]), np.outer([1.0, 2, 3, 9], [0.6, 0.8])])
def test_points_without_area_give_a_rectangle_without_area(points: np.ndarray) -> None:
    fitted = minimum_area_rectangles(points[None])
    assert np.isfinite(fitted).all()
    assert polygon_area(fitted) == pytest.approx([0.0], abs=1e-12)
    encoded = encode_vectors(fitted)
    assert all(np.isfinite(part).all() for part in encoded)


def test_minimum_area_rectangles_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(N, P, 2\)"):
        minimum_area_rectangles(np.zeros((4, 2)))


# Origin: worked out by hand from the specification ("Targets"); 40 x 20 box about (100, 50).
GOLDEN_VECTORS = {
    "axis-aligned": (0.0, [[0, -10], [20, 0], [0, 10], [-20, 0]]),
    "upright": (math.pi / 2, [[0, -20], [10, 0], [0, 20], [-10, 0]]),
    "30 degrees": (  # the long side falls to the right: r becomes the end of the short axis that points up-right
        math.pi / 6,
        [[-20 * 0.75**0.5, -10], [5, -10 * 0.75**0.5], [20 * 0.75**0.5, 10], [-5, 10 * 0.75**0.5]],
    ),
    "-30 degrees": (
        -math.pi / 6,
        [[-5, -10 * 0.75**0.5], [20 * 0.75**0.5, -10], [5, 10 * 0.75**0.5], [-20 * 0.75**0.5, 10]],
    ),
}


@pytest.mark.parametrize(("angle", "expected"), GOLDEN_VECTORS.values(), ids=GOLDEN_VECTORS)
@pytest.mark.parametrize("first", range(4))
def test_boundary_vectors_are_ordered_by_geometry(angle: float, expected: list[list[float]], first: int) -> None:
    """Defect 4: the order of the published code follows the angle that the installed OpenCV chooses."""
    quad = np.roll(rectangle(100, 50, 40, 20, angle), first, axis=0)
    encoded = encode_vectors(np.stack([quad, quad[::-1]]))
    assert encoded.center == pytest.approx(np.array([[100.0, 50]] * 2))
    assert encoded.vectors == pytest.approx(np.array([expected] * 2), abs=1e-9)


@settings(deadline=None, max_examples=100)
@given(st.floats(-7, 7), st.floats(0.5, 100), st.floats(0.5, 100))
def test_boundary_vectors_lie_in_their_quadrants_or_along_the_axes(angle: float, w: float, h: float) -> None:
    t, r, b, l = encode_vectors(rectangle(5, 5, w, h, angle)[None]).vectors[0]  # noqa: E741
    assert t == pytest.approx(-b)
    assert l == pytest.approx(-r)
    from_axis = abs((angle + math.pi / 4) % (math.pi / 2) - math.pi / 4)
    if from_axis < 1e-3 - 1e-9:
        assert t[1] < 0 < b[1]
        assert l[0] < 0 < r[0]
        assert max(abs(t[0] / t[1]), abs(r[1] / r[0])) < 1.01e-3
    elif from_axis > 1e-3 + 1e-9:
        signs = np.sign([t, r, b, l])
        assert np.array_equal(signs, [[-1, -1], [1, -1], [1, 1], [-1, 1]])


@pytest.mark.parametrize("angle", [5e-4, -5e-4, math.pi / 2 - 5e-4, math.pi / 2 + 5e-4])
def test_a_thousandth_of_a_radian_still_counts_as_axis_aligned(angle: float) -> None:
    t, r, b, l = encode_vectors(rectangle(0, 0, 30, 30, angle)[None]).vectors[0]  # noqa: E741
    assert np.stack([t, r, b, l]) == pytest.approx(np.array([[0, -15], [15, 0], [0, 15], [-15, 0]]), abs=0.02)


def test_the_rotated_flag_is_the_share_of_the_outer_box() -> None:
    """Defect 5: an IoU rasterised on the stride-4 grid flips the flag of small boxes; this one ignores the size."""
    for size in (0.5, 4, 30, 3000):
        below, above = (  # a square turned by a fills 1 / (cos a + sin a)^2 = 1 / (1 + sin 2a) of its outer box
            math.asin(1 / 0.95 - 1) / 2 + step for step in (-1e-6, 1e-6)
        )
        quads = np.stack([rectangle(3.3, 8.1, size, size, angle) for angle in (below, above)])
        encoded = encode_vectors(quads)
        assert encoded.rotated.tolist() == [False, True]
        side = size * (math.cos(below) + math.sin(below))
        assert encoded.outer[0] == pytest.approx([side, side])


def test_a_quad_that_is_no_rectangle_is_refitted() -> None:
    leaning = np.array([[0.0, 0], [4, 0], [5, 2], [1, 2]])
    fitted = minimum_area_rectangles(leaning[None])
    assert polygon_area(fitted) == pytest.approx([10.0])
    assert encode_vectors(leaning[None]).vectors == pytest.approx(encode_vectors(fitted).vectors)


@settings(deadline=None, max_examples=50)
@given(seeds)
def test_decoding_gives_back_the_encoded_rectangle(seed: int) -> None:
    """Both decoders; the corners start where those of the minimum-area rectangle do."""
    quads = random_rectangles(seed)
    encoded, fitted = encode_vectors(quads), minimum_area_rectangles(quads)
    assert free_quads(encoded.center, encoded.vectors) == pytest.approx(fitted, abs=1e-9)
    assert rectangle_quads(encoded.center, encoded.vectors) == pytest.approx(fitted, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(seeds)
def test_any_four_vectors_decode_to_a_true_rectangle(seed: int) -> None:
    """Defect 7: the published corners are sums of free vectors, never forced to be a rectangle."""
    rng = np.random.default_rng(seed)
    center, vectors = rng.normal(0, 30, (20, 2)), rng.normal(0, 30, (20, 4, 2))
    t, r, b, l = np.moveaxis(vectors, 1, 0)  # noqa: E741
    corners = rectangle_quads(center, vectors)
    along, down = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    assert corners[:, 2] - corners[:, 1] == pytest.approx(down)
    assert (along * down).sum(-1) == pytest.approx(np.zeros(20), abs=1e-8)
    assert corners.mean(1) == pytest.approx(center + (t + r + b + l) / 2)
    assert np.linalg.norm(along, axis=1) == pytest.approx(np.linalg.norm(r - l, axis=1))
    assert np.linalg.norm(down, axis=1) == pytest.approx(np.linalg.norm(b - t, axis=1))
    mean = (r - l) + np.stack([(b - t)[:, 1], -(b - t)[:, 0]], -1)
    assert (signed_area(corners) >= 0).all()
    assert along / np.linalg.norm(along, axis=1)[:, None] == pytest.approx(
        mean / np.linalg.norm(mean, axis=1)[:, None], abs=1e-8
    )


def test_vectors_of_no_length_decode_without_nan() -> None:
    center, vectors = np.array([[3.0, 4]]), np.zeros((1, 4, 2))
    assert np.array_equal(rectangle_quads(center, vectors), np.full((1, 4, 2), [3.0, 4]))
    vectors[0, 1, 0], vectors[0, 3, 0] = 5, -5  # a side without a height
    assert np.array_equal(rectangle_quads(center, vectors)[0], [[-2, 4], [8, 4], [8, 4], [-2, 4]])


def test_numpy_and_torch_decode_from_one_definition() -> None:
    rng = np.random.default_rng(0)
    center, vectors, sizes = (
        rng.normal(0, 30, shape).astype(np.float32) for shape in ((2, 5, 2), (2, 5, 4, 2), (2, 5, 2))
    )
    vectors[0, 0] = 0
    for decode, argument in ((free_quads, vectors), (rectangle_quads, vectors), (horizontal_quads, sizes)):
        by_numpy = decode(center, argument)
        by_torch = decode(torch.from_numpy(center), torch.from_numpy(argument), torch)
        assert by_numpy.shape == by_torch.shape == (2, 5, 4, 2)
        assert by_numpy.dtype == np.float32
        assert by_torch.dtype == torch.float32
        assert by_torch.numpy() == pytest.approx(by_numpy, rel=1e-5, abs=1e-5)


def test_horizontal_quads_start_at_the_top_left() -> None:
    assert np.array_equal(horizontal_quads(np.array([5.0, 4]), np.array([6.0, 2])), [[2, 3], [8, 3], [8, 5], [2, 5]])


RANGES = {
    "oc": (0, math.pi / 2),
    "le90": (-math.pi / 2, math.pi / 2),
    "le135": (-math.pi / 4, 3 * math.pi / 4),
    "yolo": (-math.pi / 4, 3 * math.pi / 4),
    "rolabelimg": (0, math.pi),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
@settings(deadline=None, max_examples=50)
@given(seed=seeds)
def test_boxes_of_every_convention_come_back_as_the_same_quads(convention: str, seed: int) -> None:
    quads = random_rectangles(seed)
    boxes = quads_to_boxes(quads, convention)
    low, high = RANGES[convention]
    angles = boxes[:, 4]
    assert ((angles > low) & (angles <= high) if convention == "oc" else (angles >= low) & (angles < high)).all()
    if convention in ("le90", "le135", "yolo"):
        assert (boxes[:, 2] >= boxes[:, 3]).all()
    back = boxes_to_quads(boxes, convention)
    assert all(same_corners(a, b) for a, b in zip(quads, back, strict=True))
    assert (signed_area(back) > 0).all()


# Origin: the definitions of the conventions, applied by hand to a 40 x 20 box whose long side is at the angle.
GOLDEN_ANGLES = {  # long side's angle in degrees -> (long side first?, angle in degrees) for each convention
    0: {"oc": (False, 90), "le90": (True, 0), "le135": (True, 0), "yolo": (True, 0), "rolabelimg": (True, 0)},
    30: {"oc": (True, 30), "le90": (True, 30), "le135": (True, 30), "yolo": (True, 30), "rolabelimg": (False, 120)},
    90: {"oc": (True, 90), "le90": (True, -90), "le135": (True, 90), "yolo": (True, 90), "rolabelimg": (False, 0)},
    150: {"oc": (False, 60), "le90": (True, -30), "le135": (True, -30), "yolo": (True, -30), "rolabelimg": (True, 150)},
    100: {"oc": (False, 10), "le90": (True, -80), "le135": (True, 100), "yolo": (True, 100), "rolabelimg": (True, 100)},
}


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("degrees", GOLDEN_ANGLES)
def test_angles_follow_the_definition_of_their_convention(degrees: int, convention: str) -> None:
    long_first, expected = GOLDEN_ANGLES[degrees][convention]
    quad = np.array([[0.0, 0], [40, 0], [40, 20], [0, 20]])
    if degrees == 90:
        quad = np.array([[0.0, 0], [20, 0], [20, 40], [0, 40]])
    elif degrees:
        quad = rectangle(0, 0, 40, 20, math.radians(degrees))
    box = quads_to_boxes(quad[None], convention)[0]
    assert box[2:] == pytest.approx([40 if long_first else 20, 20 if long_first else 40, math.radians(expected)])


@settings(deadline=None, max_examples=50)
@given(seeds)
def test_oc_boxes_mean_the_same_to_opencv(seed: int) -> None:
    for quad, box in zip(*(lambda q: (q, quads_to_boxes(q, "oc")))(random_rectangles(seed, 10)), strict=True):
        corners = cv2.boxPoints((tuple(box[:2]), tuple(box[2:4]), math.degrees(box[4])))
        assert same_corners(quad, corners.astype(np.float64), tolerance=1e-2)


def test_rolabelimg_boxes_follow_the_formula_of_the_specification() -> None:
    assert boxes_to_quads([[10, 20, 8, 4, 2.5]], "rolabelimg")[0] == pytest.approx(rectangle(10, 20, 8, 4, 2.5))


def test_an_unknown_convention_is_an_error_that_names_the_known_ones() -> None:
    for convert, argument in ((quads_to_boxes, SQUARE[None]), (boxes_to_quads, np.zeros((1, 5)))):
        with pytest.raises(
            ValueError, match="unknown angle convention 'le180'; known: oc, le90, le135, yolo, rolabelimg"
        ):
            convert(argument, "le180")


def test_empty_sets_give_empty_results() -> None:
    assert polygon_area(NONE).shape == (0,)
    assert signed_area(NONE).shape == (0,)
    assert self_crossing(NONE).shape == (0,)
    assert order_clockwise(NONE).shape == (0, 4, 2)
    assert minimum_area_rectangles(np.zeros((0, 7, 2))).shape == (0, 4, 2)
    assert [part.shape for part in encode_vectors(NONE)] == [(0, 2), (0, 4, 2), (0, 2), (0,)]
    assert free_quads(np.zeros((0, 2)), NONE).shape == (0, 4, 2)
    assert rectangle_quads(np.zeros((0, 2)), NONE).shape == (0, 4, 2)
    assert horizontal_quads(np.zeros((0, 2)), np.zeros((0, 2))).shape == (0, 4, 2)
    for convention in CONVENTIONS:
        assert quads_to_boxes(NONE, convention).shape == (0, 5)
        assert boxes_to_quads(np.zeros((0, 5)), convention).shape == (0, 4, 2)


def test_corners_beyond_all_measure_do_not_hang() -> None:
    points, rectangle = np.array([[-1.7e308, 0], [1.7e308, 1.7e308], [0, -1.7e308], [1, 1]]), np.zeros((4, 2))
    fit_rectangle(points, rectangle)
    assert rectangle.shape == (4, 2)
