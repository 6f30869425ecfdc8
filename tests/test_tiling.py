"""Tiles cover the picture, keep their names apart, and show of every object what there is to see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.augment import warp_quads
from datasets.readers import read_samples
from DOTA_devkit.boxes import boxes_to_quads, polygon_area
from DOTA_devkit.clipping import clip_quads
from DOTA_devkit.iou import paired_intersection, paired_iou
from DOTA_devkit.labels import read_labels, write_labels
from DOTA_devkit.tiling import (
    Tile,
    check_picture_name,
    cut_all_labels,
    cut_labels,
    lay_tiles,
    scaled_size,
    tile_grid,
    tile_name,
    tile_windows,
    unlearnt_objects,
)

NAMES = ("P0706", "my__image", "my", "a b", "v1.2.final", "港口 图", "P1__1__0___0", 'quo"te', "back\\slash")


def random_quads(rng: np.random.Generator, count: int, hw: tuple[int, int], most: float) -> np.ndarray:
    """Rectangles at any angle that lie in the picture, with outer boxes of at most `most` pixels."""
    angle = rng.uniform(0, np.pi, count)
    sides = rng.uniform(3, most, (count, 2))
    outer = np.abs(np.cos(angle))[:, None] * sides + np.abs(np.sin(angle))[:, None] * sides[:, ::-1]
    shrink = np.minimum(1, most / outer.max(axis=1))[:, None]
    sides, outer = sides * shrink, outer * shrink
    centers = outer / 2 + rng.uniform(0, 1, (count, 2)) * (np.array(hw[::-1]) - outer)
    return boxes_to_quads(np.column_stack([centers, sides, angle]), "rolabelimg")


# ------------------------------------------------------------------------------------------------------------- grid


@settings(deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 30), st.data())
def test_tiles_cover_every_pixel_the_last_row_and_column_included(height, width, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    count = np.zeros((height, width), int)
    corners = tile_grid(height, width, size, overlap)
    for x, y in corners.tolist():
        count[y : y + size, x : x + size] += 1
    assert count.min() >= 1
    assert len(np.unique(corners, axis=0)) == len(corners)
    assert (corners >= 0).all()
    assert corners[:, 0].max() == max(width - size, 0)
    assert corners[:, 1].max() == max(height - size, 0)


@settings(deadline=None)
@given(st.integers(1, 2000), st.integers(1, 300), st.data())
def test_neighbours_share_at_least_the_overlap(length, size, data):
    overlap = data.draw(st.integers(max(0, size - 50), size - 1))
    steps = np.diff(tile_grid(1, length, size, overlap)[:, 0])
    assert (steps <= size - overlap).all()
    assert (steps > 0).all()
    assert (steps[:-1] == size - overlap).all()


def test_the_grid_of_the_field():
    """600/100 on P0706 of DOTA, 1111 x 1182 pixels: steps of 500, the last shifted back."""
    assert tile_grid(1182, 1111, 600, 100).tolist() == [[x, y] for y in (0, 500, 582) for x in (0, 500, 511)]


def test_a_picture_smaller_than_a_tile_is_one_tile():
    assert tile_grid(10, 600, 600, 100).tolist() == [[0, 0]]


@pytest.mark.parametrize(("size", "overlap"), [(100, 100), (100, 101), (100, -1), (0, 0)])
def test_an_overlap_that_makes_no_progress_is_refused(size, overlap):
    with pytest.raises(ValueError, match="the overlap must lie within"):
        tile_grid(50, 50, size, overlap)


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(ValueError, match="0 x 5 pixels"):
        tile_grid(0, 5, 10, 2)


@pytest.mark.parametrize(
    ("hw", "scale", "scaled"), [((101, 100), 0.5, (51, 50)), ((100, 3), 0.3, (30, 1)), ((1, 1), 0.01, (1, 1))]
)
def test_the_scaled_size_is_rounded_up(hw, scale, scaled):
    assert scaled_size(*hw, scale) == scaled


@pytest.mark.parametrize("scale", [0, -1, np.nan, np.inf])
def test_a_scale_that_is_no_positive_number_is_refused(scale):
    with pytest.raises(ValueError, match="scale is"):
        scaled_size(10, 10, scale)


# ---------------------------------------------------------------------------------------------------- names, windows


def test_names_follow_the_convention_of_the_field():
    assert tile_name("P0706", 0.5, 500, 0) == "P0706__0.5__500___0"
    assert tile_name("P0706", 1.0, 0, 12) == "P0706__1__0___12"


@settings(deadline=None)
@given(
    st.sets(
        st.tuples(st.text("a1_.", min_size=1, max_size=8), st.sampled_from([0.5, 1.0, 1.5]), *[st.integers(0, 20)] * 2)
    )
)
def test_no_two_tiles_share_a_name(tiles):
    """Defect 22: `my__image` and `my` were merged into one."""
    assert len({tile_name(*tile) for tile in tiles}) == len(tiles)


def test_windows_are_in_pixels_of_the_picture():
    tiles = [Tile("a", "p", 0.5, 500, 0), Tile("b", "p", 1.0, 500, 100)]
    assert tile_windows(tiles, 600).tolist() == [[1000, 0, 2200, 1200], [500, 100, 1100, 700]]
    assert tile_windows([], 600).shape == (0, 4)


def test_tiles_are_laid_scale_after_scale():
    tiles = lay_tiles("p", 700, 600, 600, 100, (0.5, 1))
    assert [tile.name for tile in tiles] == ["p__0.5__0___0", "p__1__0___0", "p__1__0___100"]
    assert tiles[0].scale == 0.5


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "a\u2028b", "\ufeffa", "a\udcff"])
def test_picture_names_that_lists_cannot_hold_are_refused(name):
    with pytest.raises(ValueError, match="the picture name"):
        check_picture_name(name)


@pytest.mark.parametrize("name", NAMES)
def test_all_other_picture_names_are_fine(name):
    check_picture_name(name)


# ------------------------------------------------------------------------------------------------------------ labels


def test_what_is_inside_keeps_its_corners_bit_for_bit():
    quads = np.array([[[10.123456789, 20], [30.5, 22], [29, 40.25], [9, 38]]])
    cut = cut_labels(quads, np.array([1]), Tile("t", "p", 1.0, 0, 0), 100, (200, 200))
    assert cut.quads.tolist() == quads.tolist()
    assert cut.difficult.tolist() == [1]


def test_no_coordinate_is_truncated():
    """Defect 21: coordinates were truncated to whole pixels twice."""
    quads = np.array([[[710.3, 420.7], [730.9, 420.7], [730.9, 440.1], [710.3, 440.1]]])
    cut = cut_labels(quads, np.zeros(1), Tile("t", "p", 0.5, 300, 200), 100, (2000, 2000))
    np.testing.assert_allclose(cut.quads, quads * 0.5 - [300, 200], rtol=0, atol=1e-12)


def test_objects_that_touch_the_last_column_or_row_are_not_cut():
    """Defect 21: objects that touch the last column or row counted as cut."""
    hw = (90, 120)
    quads = np.array([[[100, 70], [120, 70], [120, 90], [100, 90]], [[0, 0], [20, 0], [20, 20], [0, 20]]], float)
    tiles = lay_tiles("p", *hw, 60, 20)
    cuts = {tile[3:]: cut_labels(quads, np.zeros(2), tile, 60, hw, 1.0) for tile in tiles}
    assert cuts[60, 30].rows.tolist() == [0]
    assert not cuts[60, 30].hidden.any()
    assert cuts[60, 30].quads.tolist() == (quads[:1] - [60, 30]).tolist()
    assert cuts[0, 0].rows.tolist() == [1]
    assert not cuts[0, 0].hidden.any()


def test_objects_drawn_beyond_the_picture_stay_as_drawn():
    quads = np.array([[[-5, -3], [15, -3], [15, 10], [-5, 10]], [[84, 30], [101, 30], [101, 51], [84, 51]]], float)
    cut = cut_labels(quads, np.zeros(2), Tile("t", "p", 1.0, 0, 0), 200, (50, 100), 0.85)
    assert cut.quads.tolist() == quads.tolist()
    assert not cut.hidden.any()


def test_objects_of_which_the_padding_holds_too_much_are_hidden_as_in_training_on_the_whole_picture():
    """Defect: they were objects to find in the grey of the padding."""
    hw, quads = (300, 300), np.array([[[x, 20], [x + 150, 20], [x + 150, 60], [x, 60]] for x in (250, 180)], float)
    quads = np.concatenate([quads, quads[..., ::-1][:, ::-1]])
    for scale in (1.0, 0.5):
        cut = cut_labels(quads, np.zeros(4), Tile("t", "p", scale, 0, 0), 600, hw)
        _, rows, hidden = warp_quads(quads, np.eye(2, 3), hw, (600, 600), 0.7)
        assert cut.rows.tolist() == rows.tolist()
        assert cut.hidden.tolist() == hidden.tolist() == [True, False, True, False]
        assert cut.difficult.tolist() == [2, 0, 2, 0]
        seen = np.array([[250, 20], [300, 20], [300, 60], [250, 60]]) * scale
        np.testing.assert_allclose(cut.quads[0], seen, rtol=0, atol=1e-9)
        assert cut.quads[1::2].tolist() == (quads[1::2] * scale).tolist()
        assert unlearnt_objects(np.zeros(4), [cut]).tolist() == [0, 2]


def test_the_padding_hides_no_more_of_an_object_than_the_picture_does():
    """Of one that ends beyond the picture at the bottom and is cut by the tile at the right, the worse of both counts,
    as in training."""
    quads = np.array([[[80, 32], [105, 32], [105, 52], [80, 52]]], float)
    tile, hw = Tile("t", "p", 1.0, 0, 0), (50, 200)
    cut = cut_labels(quads, np.zeros(1), tile, 100, hw, 0.75)  # 0.8 of it in the tile, 0.9 in the picture, 0.72 in both
    assert not cut.hidden.any()
    assert cut.quads.tolist() == [[[80, 32], [100, 32], [100, 52], [80, 52]]]


def test_objects_outside_the_picture_are_in_no_tile():
    quads = np.array([[[120, 10], [140, 10], [140, 20], [120, 20]]], float)
    cut = cut_labels(quads, np.zeros(1), Tile("t", "p", 1.0, 0, 0), 200, (50, 100))
    assert len(cut.rows) == 0
    assert unlearnt_objects(np.zeros(1), [cut]).tolist() == [0]


def test_below_the_visible_fraction_the_rest_is_an_ignore_region():
    quads = np.array([[[x, 10], [x + 20, 10], [x + 20, 20], [x, 20]] for x in (85, 86, 87)], float)
    cut = cut_labels(quads, np.array([0, 0, 1]), Tile("t", "p", 1.0, 0, 0), 100, (200, 200), 0.7)
    assert cut.hidden.tolist() == [False, False, True]  # 15, 14 and 13 of 20 pixels
    assert cut.difficult.tolist() == [0, 0, 2]
    assert cut.quads[2].tolist() == [[87, 10], [100, 10], [100, 20], [87, 20]]


def test_ignore_regions_stay_what_they_are():
    quads = np.array([[[10, 10], [20, 10], [20, 20], [10, 20]]], float)
    cut = cut_labels(quads, np.array([2]), Tile("t", "p", 1.0, 0, 0), 100, (200, 200))
    assert cut.difficult.tolist() == [2]
    assert unlearnt_objects(np.array([2]), []).tolist() == []


def test_cut_labels_of_nothing():
    cut = cut_labels(np.zeros((0, 4, 2)), np.zeros(0), Tile("t", "p", 0.5, 0, 0), 100, (50, 50))
    assert cut.quads.shape == (0, 4, 2)
    assert len(cut.rows) == len(cut.difficult) == len(cut.hidden) == 0
    assert unlearnt_objects(np.zeros(0), [cut]).tolist() == []


def test_labels_agree_with_what_is_visible():
    """Defect 21: five-corner pieces were bent, pieces with more corners dropped; IoU with the visible part 0.87."""
    rng = np.random.default_rng(0)
    hw = (900, 1000)
    quads = random_quads(rng, 300, hw, 150)
    for tile in lay_tiles("p", *hw, 600, 100):
        cut = cut_labels(quads, np.zeros(300), tile, 600, hw, 0.7)
        local = quads - [tile.x, tile.y]
        inside = ((local >= 0) & (local <= 600)).all(axis=(1, 2))
        assert set(np.flatnonzero(inside)) <= set(cut.rows[~cut.hidden])
        # Every piece is a rectangle that holds all that is visible, with a side along it: at most twice its area.
        seen, visible = local[cut.rows], clip_quads(local[cut.rows], 0, 0, 600, 600)[1] * polygon_area(local[cut.rows])
        shared = paired_intersection(cut.quads, seen)
        assert (shared >= visible - 1e-6).all()
        assert (polygon_area(cut.quads) <= 2 * visible + 1e-6).all()


@pytest.mark.parametrize(("size", "overlap"), [(600, 100), (1024, 200)])
def test_every_object_up_to_the_overlap_is_whole_in_some_tile(size, overlap):
    """Defect 21: of 1,500 random boxes many had no normal label in any tile."""
    hw = (2101, 1999)
    quads = random_quads(np.random.default_rng(1), 1500, hw, overlap)
    best = np.zeros(1500)
    for tile in lay_tiles("p", *hw, size, overlap):
        cut = cut_labels(quads, np.zeros(1500), tile, size, hw)
        iou = paired_iou(cut.quads + np.array([tile.x, tile.y]), quads[cut.rows])
        best[cut.rows[~cut.hidden]] = np.maximum(best[cut.rows[~cut.hidden]], iou[~cut.hidden])
    assert best.min() > 1 - 1e-9


def test_larger_objects_have_a_normal_label_or_are_reported():
    """Defect 21: 334 of 1,500 boxes of 150-450 px had no normal label in any tile, and nobody was told."""
    hw, rng = (3000, 3000), np.random.default_rng(2)
    quads = random_quads(rng, 1500, hw, 450)
    cuts = [cut_labels(quads, np.zeros(1500), tile, 600, hw) for tile in lay_tiles("p", *hw, 600, 100)]
    labelled = np.unique(np.concatenate([cut.rows[cut.difficult == 0] for cut in cuts]))
    unlearnt = unlearnt_objects(np.zeros(1500), cuts)
    assert sorted([*labelled, *unlearnt]) == list(range(1500))
    assert 0 < len(unlearnt) < 334
    both = cuts + [cut_labels(quads, np.zeros(1500), tile, 600, hw) for tile in lay_tiles("p", *hw, 600, 100, [0.5])]
    assert len(unlearnt_objects(np.zeros(1500), both)) < len(unlearnt)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([0.3, 0.5, 1.0, 2.0]), st.integers(0, 60))
def test_the_objects_near_a_tile_give_what_all_objects_give(seed, scale, count):
    rng, hw = np.random.default_rng(seed), (200, 300)
    quads = np.round(random_quads(rng, count, hw, 150) + rng.uniform(-60, 60, (count, 1, 2)), rng.integers(3))
    flags, tiles = rng.integers(3, size=count), lay_tiles("p", *hw, 100, 30, [scale])
    for tile, cut in zip(tiles, cut_all_labels(quads, flags, tiles, 100, hw, 0.6), strict=True):
        for part, expected in zip(cut, cut_labels(quads, flags, tile, 100, hw, 0.6), strict=True):
            assert np.array_equal(part, expected)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([0.3, 0.5, 1.0, 2.0]), st.floats(0, 1))
def test_every_label_that_is_cut_can_be_written_and_read_back(tmp_path_factory, seed, scale, min_visible):
    folder = tmp_path_factory.mktemp("labels")
    (folder / "images").mkdir()
    (folder / "images" / "t.png").touch()
    (folder / "classes.txt").write_text("large vehicle\n", encoding="utf-8")
    rng = np.random.default_rng(seed)
    hw = (200, 300)
    quads = random_quads(rng, 40, hw, 150) + rng.uniform(-60, 60, (40, 1, 2))
    quads[:10] = np.round(quads[:10])  # corners on the borders
    for tile in lay_tiles("p", *hw, 100, 30, [scale]):
        cut = cut_labels(quads, np.zeros(40), tile, 100, hw, min_visible)
        write_labels(folder / "labelTxt/t.txt", cut.quads, ["large vehicle"] * len(cut.rows), cut.difficult, sync=False)
        labels = read_labels(folder / "labelTxt/t.txt")
        assert labels.quads.tobytes() == cut.quads.tobytes()
        assert labels.difficult.tolist() == cut.difficult.tolist()
        (sample,) = read_samples("dota", folder, ["t"], ["large vehicle"])
        assert len(sample.quads) == len(cut.rows)
