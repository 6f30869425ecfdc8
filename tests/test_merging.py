"""Tile boxes come back to the picture once each: pieces give way to wholes, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.evaluation import evaluate
from DOTA_devkit.iou import poly_iou
from DOTA_devkit.merging import BORDER, border_weight, merge_tiles
from DOTA_devkit.metrics import metrics_dict
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.tiling import Tile, cut_labels, lay_tiles, tile_windows
from DOTA_devkit.truths import ImageTruth


def box(xmin: float, ymin: float, xmax: float, ymax: float) -> list[list[float]]:
    return [[xmin, ymin], [xmax, ymin], [xmax, ymax], [xmin, ymax]]


def spread_out(rng: np.random.Generator, hw: tuple[int, int], most: float) -> np.ndarray:
    """Rectangles at any angle whose outer boxes, of up to `most` pixels, lie in the picture and do not overlap."""
    quads = []
    for top in np.arange(0, hw[0] - most, most + 2):
        for left in np.arange(0, hw[1] - most, most + 2):
            angle, outer = rng.uniform(0, np.pi), rng.uniform(0.1, 1) * most
            long, ratio = 1.0, rng.uniform(0.15, 1)
            extent = max(
                long * abs(np.cos(angle)) + ratio * abs(np.sin(angle)),
                long * abs(np.sin(angle)) + ratio * abs(np.cos(angle)),
            )
            width, height = outer / extent, ratio * outer / extent
            center = np.array([left, top]) + outer / 2 + rng.uniform(0, most - outer, 2)
            quads.append(boxes_to_quads(np.array([[*center, width, height, angle]]), "rolabelimg")[0])
    return np.array(quads)


def detect_truth(
    quads: np.ndarray, labels: np.ndarray, tiles: list[Tile], size: int, hw: tuple[int, int], min_visible: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a perfect detector finds in the tiles, pieces included: quads, labels, tile numbers."""
    cuts = [cut_labels(quads, np.zeros(len(quads)), tile, size, hw, min_visible) for tile in tiles]
    normal = [~cut.hidden for cut in cuts]
    return (
        np.concatenate([cut.quads[keep] for cut, keep in zip(cuts, normal, strict=True)]),
        np.concatenate([labels[cut.rows[keep]] for cut, keep in zip(cuts, normal, strict=True)]),
        np.concatenate([np.full(keep.sum(), number) for number, keep in enumerate(normal)]),
    )


def score(found: ImageDetections, quads: np.ndarray, labels: np.ndarray, num_classes: int) -> dict:
    truth = ImageTruth(quads, labels, np.zeros(len(quads), np.int64))
    return metrics_dict(evaluate({"p": found}, {"p": truth}, [f"class {k}" for k in range(num_classes)]))


# ----------------------------------------------------------------------------------------------- truth comes back


@pytest.mark.parametrize(("size", "overlap"), [(600, 100), (1024, 200)])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0)])
@pytest.mark.parametrize("min_visible", [0.0, 0.7])
def test_truth_split_and_merged_is_the_truth(size, overlap, scales, min_visible):
    """Defect 21 and 22 in one: every object up to the overlap comes back once, as it was; AP is 1.0 for every class."""
    hw, rng = (2307, 1999), np.random.default_rng(size)
    quads = spread_out(rng, hw, overlap)
    labels = rng.integers(0, 3, len(quads))
    tiles = lay_tiles("p", *hw, size, overlap, scales)
    found, found_labels, numbers = detect_truth(quads, labels, tiles, size, hw, min_visible)
    assert len(found) > len(quads)
    merged = merge_tiles(found, np.ones(len(found)), found_labels, numbers, tile_windows(tiles, size), size, hw)
    assert len(merged.quads) == len(quads)
    assert poly_iou(quads, merged.quads).max(axis=1).min() > 0.999
    metrics = score(merged, quads, labels, 3)
    assert metrics["mAP50_95"] == 1.0
    assert all(item["AP50"] == 1.0 for item in metrics["classes"].values())


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(40, 160), st.data())
def test_truth_comes_back_for_any_grid_and_scores(seed, size, data):
    overlap = data.draw(st.integers(8, size // 2))
    threshold = data.draw(st.sampled_from([0.05, 0.3, 0.7]))
    rng = np.random.default_rng(seed)
    hw = tuple(rng.integers(overlap + 3, 500, 2).tolist())
    quads = spread_out(rng, hw, overlap)
    if len(quads) == 0:
        return
    tiles = lay_tiles("p", *hw, size, overlap, [1.0])
    found, labels, numbers = detect_truth(quads, np.zeros(len(quads), np.int64), tiles, size, hw)
    merged = merge_tiles(
        found, np.full(len(found), 0.9), labels, numbers, tile_windows(tiles, size), size, hw, threshold
    )
    assert len(merged.quads) == len(quads)
    assert poly_iou(quads, merged.quads).max(axis=1).min() > 0.999


# ------------------------------------------------------------------------------------------------------- the rule

HW = (600, 1100)
TILES = lay_tiles("p", *HW, 600, 100)  # two, from 0 and from 500
WINDOWS = tile_windows(TILES, 600)


def merge(*rows: tuple[list[list[float]], float, int], threshold: float = 0.3) -> ImageDetections:
    """Merge boxes given in pixels of the picture, with their scores and tiles."""
    quads = np.array([quad for quad, _, _ in rows]).reshape(-1, 4, 2)
    numbers = np.array([number for _, _, number in rows], np.int64)
    local = quads - WINDOWS[numbers][:, None, :2]
    scores = np.array([value for _, value, _ in rows])
    return merge_tiles(local, scores, np.zeros(len(rows), np.int64), numbers, WINDOWS, 600, HW, threshold)


def test_a_piece_gives_way_to_the_whole_of_the_neighbour():
    """A piece of 25 % overlaps its whole by 0.25 only, which plain NMS at 0.3 would leave."""
    whole, piece = box(580, 50, 660, 80), box(580, 50, 600, 80)
    merged = merge((piece, 0.9, 0), (whole, 0.8, 1))
    assert merged.quads.tolist() == [whole]
    assert merged.scores.tolist() == [0.8]


def test_a_piece_gives_way_though_it_scores_higher_and_overlaps_much():
    whole, piece = box(520, 50, 605, 80), box(520, 50, 600, 80)
    assert merge((piece, 0.9, 0), (whole, 0.6, 1)).quads.tolist() == [whole]


def test_a_box_that_competes_again_may_win():
    """The piece at 0.9 had suppressed the box at 0.4 and gives way to the whole at 0.6; 0.2 is no better for it."""
    whole, piece = box(40, 0, 300, 100), box(540, 0, 600, 100)
    right, left = box(510, 0, 570, 100), box(480, 0, 540, 100)
    rest = ((right, 0.4, 0), (left, 0.2, 0))
    alone = merge((whole, 0.6, 0), *rest)
    assert alone.scores.tolist() == [0.6, 0.4]
    merged = merge((whole, 0.6, 0), (box(540, 0, 700, 100), 0.5, 1), (piece, 0.9, 0), *rest)
    assert merged.scores.tolist() == [0.6, 0.5, 0.4]


def test_a_piece_stays_where_no_whole_box_covers_it():
    piece = box(580, 50, 600, 80)
    assert merge((piece, 0.9, 0), (box(580, 300, 660, 330), 0.8, 1)).quads.tolist()[0] == piece


def test_pieces_of_an_object_that_both_tiles_cut_stay():
    pieces = [box(300, 50, 600, 80), box(500, 50, 800, 80)]
    assert len(merge((pieces[0], 0.9, 0), (pieces[1], 0.9, 1)).quads) == 2


def test_a_piece_is_not_given_up_for_a_box_of_hardly_any_score():
    piece, junk = box(400, 50, 600, 80), box(520, 50, 610, 80)
    assert merge((piece, 0.9, 0), (junk, 0.02, 1)).quads.tolist()[0] == piece


def test_a_small_object_beside_a_large_one_is_no_piece_of_it():
    """Both lie at the border; intersection over the smaller area would take the small one for a piece."""
    small, large = box(575, 50, 599, 60), box(520, 40, 640, 90)
    merged = merge((small, 0.9, 0), (large, 0.8, 1))
    assert sorted(merged.quads.tolist()) == sorted([small, large])


def test_a_guess_beyond_the_border_gives_way_too():
    whole, guess = box(570, 50, 660, 80), box(570, 50, 615, 80)
    assert merge((guess, 0.9, 0), (whole, 0.8, 1), threshold=0.6).quads.tolist() == [whole]


def test_boxes_of_different_classes_do_not_compete():
    local = np.array([box(580, 50, 600, 80), box(80, 50, 160, 80)], float)
    merged = merge_tiles(local, np.array([0.9, 0.8]), np.array([0, 1]), np.array([0, 1]), WINDOWS, 600, HW)
    assert len(merged.quads) == 2


def test_boxes_at_the_border_of_the_picture_are_whole():
    quads = np.array([box(0, 0, 20, 20), box(590, 580, 600, 600)], float)
    weight = border_weight(quads, np.array([[0, 0, 600, 600], [500, 0, 1100, 600]]), 600, HW)
    assert weight.tolist() == [1, 1]


def test_the_weight_falls_towards_an_inner_border():
    quads = np.array([box(500, 50, right, 80) for right in (600 - BORDER - 1, 600 - BORDER / 2, 600, 620)])
    weight = border_weight(quads, np.repeat(WINDOWS[:1], 4, axis=0), 600, HW)
    assert weight.tolist() == [1, 0.75, 0.5, 0.5]


def test_of_two_copies_the_one_farther_from_its_border_stays():
    assert merge((box(510, 50, 597, 80), 0.9, 0), (box(510, 50, 590, 80), 0.85, 1)).scores.tolist() == [0.85]
    assert merge((box(510, 50, 590, 80), 0.9, 0), (box(503, 50, 590, 80), 0.95, 1)).scores.tolist() == [0.9]


def test_nothing_merges_to_nothing():
    merged = merge_tiles(np.zeros((0, 4, 2)), np.zeros(0), np.zeros(0), np.zeros(0), WINDOWS, 600, HW)
    assert merged.quads.shape == (0, 4, 2)
    assert len(merged.scores) == len(merged.labels) == 0
    assert len(merge_tiles([], [], [], [], np.zeros((0, 4)), 600, HW).scores) == 0


def test_the_result_is_sorted_by_score_and_keeps_the_scores_as_they_were():
    merged = merge((box(590, 10, 600, 20), 0.5, 0), (box(100, 10, 120, 20), 0.4, 0), (box(200, 10, 220, 20), 0.6, 0))
    assert merged.scores.tolist() == [0.6, 0.5, 0.4]


def test_scores_of_either_sign_rank_alike():
    merged = merge((box(520, 50, 600, 80), -0.5, 0), (box(520, 50, 604, 80), -0.6, 1))
    assert merged.scores.tolist() == [-0.6]


def test_tiles_of_all_scales_meet_on_the_picture():
    tiles = [Tile("a", "p", 0.5, 0, 0), Tile("b", "p", 1.0, 500, 0)]
    quads = np.array([box(300, 50, 350, 80), box(100, 100, 200, 160)], float)
    merged = merge_tiles(
        quads, np.array([0.7, 0.9]), np.zeros(2, int), np.array([0, 1]), tile_windows(tiles, 600), 600, (1200, 1200)
    )
    assert merged.quads.tolist() == [box(600, 100, 700, 160)]


@pytest.mark.parametrize(
    ("scores", "numbers", "what"), [([1.0], [0, 0], "do not go together"), ([1.0, 1.0], [0, 2], "tile numbers 0 to 2")]
)
def test_arrays_that_do_not_fit_are_refused(scores, numbers, what):
    with pytest.raises(ValueError, match=what):
        merge_tiles(np.zeros((2, 4, 2)), scores, [0, 0], numbers, WINDOWS, 600, HW)


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
@example(158)  # a piece had suppressed a box, and was then itself given up for a third, far from that box
def test_whatever_is_left_out_has_a_box_that_stands_for_it(seed):
    """Every box of the input overlaps a kept box of its class, or is kept itself."""
    rng = np.random.default_rng(seed)
    hw, size = (300, 400), 120
    tiles = lay_tiles("p", *hw, size, 40)
    count = 400
    numbers = rng.integers(0, len(tiles), count)
    centers, sides = rng.uniform(-5, size + 5, (count, 2)), rng.uniform(4, 60, (count, 2))
    local = boxes_to_quads(np.column_stack([centers, sides, rng.uniform(0, np.pi, count)]), "rolabelimg")
    labels, scores = rng.integers(0, 2, count), rng.uniform(0, 1, count)
    windows = tile_windows(tiles, size)
    merged = merge_tiles(local, scores, labels, numbers, windows, size, hw)
    again = merge_tiles(local, scores, labels, numbers, windows, size, hw)
    assert merged.quads.tobytes() == again.quads.tobytes()
    quads = local + windows[numbers][:, None, :2]
    overlap = poly_iou(quads, merged.quads) * (labels[:, None] == merged.labels)
    assert (overlap.max(axis=1) > 0).all()
    assert (np.diff(merged.scores) <= 0).all()
