"""Tests of the exact overlap of quads, with shapely as the reference, and of the compilation behind it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from DOTA_devkit.iou import (
    SCRATCH,
    intersection_over_first,
    one_to_many_iou,
    paired_intersection,
    paired_iou,
    poly_iou,
    prepare,
    shapes_intersection,
)

ROOT = Path(__file__).parents[1]
SQUARE = np.array([[0.0, 0], [2, 0], [2, 2], [0, 2]])
BOW_TIE = SQUARE[[0, 2, 1, 3]]
DART = np.array([[0.0, 0], [4, 2], [0, 4], [1, 2]])  # simple, not convex; area 6
seeds = st.integers(0, 2**32 - 1)


def convex_quads(rng: np.random.Generator, n: int, size: np.ndarray) -> np.ndarray:
    """Four points of an ellipse each, turned by any angle: (n, 4, 2) about the origin, `size` pixels wide."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, (n, 4)), axis=1)
    points = np.stack([np.cos(angles), np.sin(angles) * rng.uniform(0.05, 1, (n, 1))], -1)
    turn = rng.uniform(0, 2 * np.pi, n)
    rotation = np.stack([np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)], -1).reshape(n, 2, 2)
    return points @ rotation * size[:, None, None]


def overlapping_pairs(seed: int, n: int = 40, ratio: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of convex quads of 0.01 to 1e5 pixels, up to 1e6 pixels from the origin, near each other."""
    rng = np.random.default_rng(seed)
    size = 10 ** rng.uniform(-2, 5, n)
    other = np.clip(size * ratio ** rng.uniform(-1, 1, n), 0.01, 1e5)
    offset = rng.uniform(-1e6, 1e6, (n, 1, 2))
    shift = rng.normal(0, 0.4, (n, 1, 2)) * np.maximum(size, other)[:, None, None]
    return convex_quads(rng, n, size) + offset, convex_quads(rng, n, other) + offset + shift


def shapely_intersection(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Areas of the intersections and of both quads (P, 4, 2), shifted to a common origin first."""
    first, second = shapely.polygons(a - a[:, :1]), shapely.polygons(b - a[:, :1])
    return shapely.area(shapely.intersection(first, second)), shapely.area(first), shapely.area(second)


@settings(deadline=None, max_examples=100)
@given(seeds, st.sampled_from([1.0, 10.0, 1e7]))
def test_iou_agrees_with_shapely_at_any_size_and_offset(seed: int, ratio: float) -> None:
    a, b = overlapping_pairs(seed, ratio=ratio)
    intersection, area_a, area_b = shapely_intersection(a, b)
    assert paired_iou(a, b) == pytest.approx(intersection / (area_a + area_b - intersection), abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(seeds)
def test_the_pairwise_matrix_is_symmetric_to_the_last_bit_and_one_on_its_diagonal(seed: int) -> None:
    quads = np.concatenate([np.concatenate(overlapping_pairs(seed, 8)), SQUARE + np.arange(3).reshape(3, 1, 1)])
    overlap = poly_iou(quads, quads)
    assert np.array_equal(overlap, overlap.T)
    assert np.array_equal(np.diag(overlap), np.ones(len(quads)))
    assert overlap.min() >= 0.0
    assert overlap.max() <= 1.0


@settings(deadline=None, max_examples=50)
@given(seeds)
def test_near_duplicates_have_an_iou_near_one(seed: int) -> None:
    """Sides that almost coincide are where clipping goes wrong first."""
    rng = np.random.default_rng(seed)
    a = convex_quads(rng, 40, np.full(40, 100.0))
    b = a + rng.choice([0.0, 1e-13, -1e-13, 1e-10], a.shape)
    reliable = shapely.area(shapely.polygons(a)) > 1000  # so that 1e-10 pixels of each side stay below 1e-9 of it
    assert paired_iou(a, b)[reliable] == pytest.approx(np.ones(reliable.sum()), abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(seeds)
def test_non_convex_quads_are_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    quads = rng.uniform(0, 10, (200, 4, 2))
    quads = quads[shapely.is_valid(shapely.polygons(quads))]
    a, b = quads[: len(quads) // 2], quads[len(quads) // 2 :][: len(quads) // 2]
    intersection, area_a, area_b = shapely_intersection(a, b)
    assert paired_iou(a, b) == pytest.approx(intersection / (area_a + area_b - intersection), abs=1e-9)


def test_a_dart_does_not_cover_its_notch() -> None:
    notch = np.array([[0.0, 1.9], [0.2, 1.9], [0.2, 2.1], [0, 2.1]])
    assert paired_intersection(DART[None], notch[None])[0] == 0.0
    assert paired_iou(DART[None], DART[None])[0] == 1.0
    for turn in range(4):
        rolled = np.roll(DART, turn, axis=0)[::-1]
        around = np.array([[-9.0, -9], [9, -9], [9, 9], [-9, 9]])
        assert paired_intersection(rolled[None], around[None])[0] == pytest.approx(6.0)


@pytest.mark.parametrize("order", [[0, 2, 1, 3], [0, 1, 3, 2], [2, 0, 1, 3], [3, 1, 2, 0]])
def test_a_self_crossing_quad_stands_for_its_hull(order: list[int]) -> None:
    """Defect 20: the old kit answers -1 for a self-crossing quad with itself."""
    crossing = SQUARE[order][None]
    assert paired_iou(crossing, crossing)[0] == 1.0
    assert paired_iou(crossing, SQUARE[None] + 1)[0] == pytest.approx(1 / 7)


@pytest.mark.parametrize(
    "quad",
    [
        np.full((4, 2), 3.0),
        SQUARE[[0, 1, 0, 1]],
        np.array([[0.1, 0.3], [0.2, 0.6], [0.3, 0.9], [0.4, 1.2]]),
        np.full((4, 2), np.nan),
        np.where(SQUARE == 2, np.inf, SQUARE),
        np.where(SQUARE == 2, np.nan, SQUARE),
        SQUARE * 1e200,
    ],
    ids=["point", "line", "slanted line", "nan", "infinite", "partly nan", "area overflows"],
)
def test_a_quad_without_finite_area_overlaps_nothing(quad: np.ndarray) -> None:
    """Defect 20: the old kit answers NaN for zero area."""
    both = np.stack([quad, SQUARE])
    assert np.array_equal(poly_iou(both, both), [[0, 0], [0, 1]])
    assert np.array_equal(intersection_over_first(both, both), [[0, 0], [0, 1]])
    assert np.array_equal(paired_intersection(both, both), [0, 4])


def test_a_repeated_corner_makes_a_triangle() -> None:
    triangle = SQUARE[[0, 1, 2, 2]][None]
    assert paired_intersection(triangle, SQUARE[None])[0] == pytest.approx(2.0)
    assert paired_iou(triangle, triangle)[0] == 1.0


def test_tiny_coordinates_are_as_good_as_any() -> None:
    """Defect 20: the old kit answers up to 15 on coordinates near 1e-4."""
    assert paired_iou(SQUARE[None] * 1e-4, (SQUARE[None] + 1) * 1e-4)[0] == pytest.approx(1 / 7, abs=1e-12)
    assert paired_iou(SQUARE[None] * 1e-60, (SQUARE[None] + 1) * 1e-60)[0] == pytest.approx(1 / 7, abs=1e-12)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(arrays(np.float64, (3, 4, 2), elements=st.floats(width=64) | st.integers(-3, 3).map(float)))
def test_no_input_gives_nan_or_leaves_the_range(quads: np.ndarray) -> None:
    for overlap in (poly_iou(quads, quads), intersection_over_first(quads, quads)):
        assert np.all((overlap >= 0) & (overlap <= 1))
    assert np.all(paired_intersection(quads, quads[::-1]) >= 0)


def test_direction_and_first_corner_do_not_matter() -> None:
    quads = np.stack([np.roll(order, k, axis=0) for k in range(4) for order in (SQUARE, SQUARE[::-1])])
    assert poly_iou(quads, SQUARE[None] + 1) == pytest.approx(np.full((8, 1), 1 / 7))


def test_quads_that_only_touch_do_not_overlap() -> None:
    assert np.array_equal(poly_iou(SQUARE[None], SQUARE[None] + [[2.0, 0], [2, 2]][0]), [[0.0]])
    assert paired_intersection(SQUARE[None], SQUARE[None] + 2)[0] == 0.0


def test_all_forms_give_the_same_numbers() -> None:
    a, b = overlapping_pairs(7, 6)
    matrix = poly_iou(a, b)
    assert np.array_equal(np.diag(matrix), paired_iou(a, b))
    assert np.array_equal(matrix[2], one_to_many_iou(a[2], b))
    shared = paired_intersection(a, b)
    union = paired_intersection(a, a) + paired_intersection(b, b) - shared
    assert shared / union == pytest.approx(paired_iou(a, b))


def test_intersection_over_first_is_the_covered_part_of_the_first() -> None:
    big = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
    assert intersection_over_first(SQUARE[None] + 3, big[None]) == pytest.approx(np.array([[1 / 4]]))
    assert intersection_over_first(big[None], SQUARE[None] + 3) == pytest.approx(np.array([[1 / 16]]))


def test_other_number_types_and_layouts_are_accepted() -> None:
    integers = SQUARE[None].astype(np.int32)
    turned = np.asfortranarray(SQUARE[None].astype(np.float32) + 1)
    assert poly_iou(integers, turned)[0, 0] == pytest.approx(1 / 7)
    assert poly_iou([SQUARE.tolist()], turned)[0, 0] == pytest.approx(1 / 7)


def test_empty_sets_give_empty_results() -> None:
    none = np.zeros((0, 4, 2))
    assert poly_iou(none, SQUARE[None]).shape == (0, 1)
    assert poly_iou(SQUARE[None], []).shape == (1, 0)
    assert intersection_over_first(none, none).shape == (0, 0)
    assert one_to_many_iou(SQUARE, none).shape == (0,)
    assert paired_iou(none, none).shape == (0,)
    assert paired_intersection(none, none).shape == (0,)


def test_a_wrong_shape_is_an_error_that_names_the_argument() -> None:
    with pytest.raises(ValueError, match=r"b must have shape \(N, 4, 2\), got \(1, 8\)"):
        poly_iou(SQUARE[None], SQUARE.reshape(1, 8))
    with pytest.raises(ValueError, match="same number of quads, got 1 and 2"):
        paired_iou(SQUARE[None], np.stack([SQUARE, SQUARE]))


def test_scratch_memory_that_is_too_small_is_refused() -> None:
    shapes = prepare(SQUARE[None])
    assert shapes_intersection(shapes, 0, shapes, 0, np.empty(SCRATCH)) == 4.0
    with pytest.raises(ValueError, match="SCRATCH"):
        shapes_intersection(shapes, 0, shapes, 0, np.empty((4, 8, 2)))


def run_python(source: str, folder: Path, **environment: str) -> str:
    variables = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]), "PATH": os.environ.get("PATH", "")}
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, env=variables | environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_kernels_work_where_no_cache_folder_can_be_written(tmp_path: Path) -> None:
    """numba's own switch takes away the folders beside the source and in the home, as a read-only system would."""
    source = (
        "from DOTA_devkit.boxes import fit_rectangle, minimum_area_rectangles\n"
        "minimum_area_rectangles([[[0, 0], [1, 0], [1, 2]]])\n"
        "print(type(fit_rectangle._cache).__name__)"
    )
    assert run_python(source, tmp_path, NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator") == "NullCache"


@pytest.mark.slow
def test_a_cached_kernel_is_compiled_anew_when_a_kernel_that_it_imports_has_changed(tmp_path: Path) -> None:
    """numba looks at the function's own file only, and would run the old code after an update."""
    (tmp_path / "outer.py").write_text(
        "from DOTA_devkit.jit import njit\nfrom inner import part\n@njit\ndef whole():\n    return part() + 1\n"
    )
    results = []
    for value in (1, 2):
        (tmp_path / "inner.py").write_text(
            f"from DOTA_devkit.jit import njit\n@njit\ndef part():\n    return {value}\n"
        )
        results.append(run_python("import outer; print(outer.whole())", tmp_path, PYTHONDONTWRITEBYTECODE="1"))
    assert results == ["2", "3"]
