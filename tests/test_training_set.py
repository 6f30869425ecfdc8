"""An input and its targets: the same for the same key, and every object is learnt, ignored or told of; mosaics."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.augment import Augmentation
from datasets.letterbox import letterbox_image
from datasets.loader import make_training_loader
from datasets.picture_files.images import ImageError, read_image
from datasets.readers import Sample
from datasets.targets import Targets
from datasets.training_set import MIN_SIDE, TrainingSet
from tests.test_loader import AUGMENTATION, FILL, INPUT_HW, sample_of, samples, training_set

__all__ = ["samples"]


def test_a_key_gives_the_same_input_and_another_epoch_row_or_seed_another(samples: list[Sample]) -> None:
    dataset = training_set(samples)
    image, targets, row = dataset[3, 1]
    again, targets_again, _ = dataset[3, 1]
    assert row == 1
    assert np.array_equal(image, again)
    assert all(np.array_equal(a, b) for a, b in zip(targets, targets_again, strict=True))
    for other in (dataset[4, 1], dataset[3, 2], training_set(samples, seed=1)[3, 1]):
        assert not np.array_equal(image, other[0])


def test_a_window_is_smaller_than_the_input_and_has_targets_of_its_size(samples: list[Sample]) -> None:
    windows = TrainingSet(samples, 2, INPUT_HW, FILL, AUGMENTATION, window_hw=(64, 96))
    image, targets, row = windows[0, 0]
    assert image.shape == (64, 96, 3)
    assert targets.hm.shape == (2, 16, 24)
    assert row == 0
    whole = TrainingSet(samples, 2, INPUT_HW, FILL, None, window_hw=(64, 96))
    assert whole[0, 0][0].shape == (*INPUT_HW, 3)  # without augmentation the whole input


def test_pictures_kept_in_memory_give_the_same_inputs(samples: list[Sample]) -> None:
    kept = training_set(samples)
    kept.decode_all()
    assert all(picture is not None for picture in kept.pictures)
    fresh = training_set(samples)
    for row in range(len(samples)):
        np.testing.assert_array_equal(kept[3, row][0], fresh[3, row][0])


def test_without_augmentation_an_input_is_the_letterboxed_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = cv2.blur(rng.integers(0, 256, (192, 128, 3), dtype=np.uint8), (9, 9))
    sample = sample_of(tmp_path / "a.png", image, (64, 96, 40, 20, 0))
    made, targets, _ = training_set([sample], augmentation=None)[0, 0]
    assert np.abs(made - letterbox_image(image, INPUT_HW, FILL))[1:95, 1:62].max() < 3
    assert (made[:, 65:] == np.float32(FILL)).all()
    assert targets.wh[0, 8:] == pytest.approx([5, 2.5])  # 40 x 20 px, halved, in cells
    assert targets.ind.tolist() == [12 * 32 + 8]


def test_small_objects_are_trained_on_down_to_half_a_cell(tmp_path: Path) -> None:
    """Defect 8: objects of 10 px or less along an axis were left out, in silence. Below 2 px: ignore regions."""
    image = np.zeros((*INPUT_HW, 3), np.uint8)
    boxes = [(20, 20, 9, 9, 0.4), (50, 20, 6, 3, 0), (80, 20, 2.1, 2.1, 0), (20, 60, 30, 1.9, 0), (80, 60, 1, 1, 0)]
    _, targets, _ = training_set([sample_of(tmp_path / "a.png", image, *boxes)], augmentation=None)[0, 0]
    assert MIN_SIDE == 2
    assert len(targets.mask) == 3
    assert (targets.hm == 1).sum() == 3
    assert targets.hm[0, 15, 20] == -1


@pytest.mark.parametrize("start", range(4))
def test_a_large_object_with_two_corners_close_together_is_learnt(tmp_path: Path, start: int) -> None:
    """Sides as they are drawn told how small it is, and it became an ignore region in silence."""
    image = np.zeros((*INPUT_HW, 3), np.uint8)
    quad = np.array([[10, 10], [11.5, 10], [100, 30], [20, 80]], np.float32)
    sample = sample_of(tmp_path / "a.png", image, (20, 20, 9, 9, 0.4))
    sample = replace(sample, quads=np.roll(quad, start, axis=0)[None])
    _, targets, _ = training_set([sample], augmentation=None)[0, 0]
    assert targets.mask.tolist() == [True]
    assert (targets.hm < 0).sum() == 0


def test_ignore_regions_of_a_sample_are_neither_objects_nor_background(tmp_path: Path) -> None:
    """Defect 8: fragments marked difficult=2 were trained as normal objects."""
    image = np.zeros((*INPUT_HW, 3), np.uint8)
    boxes = [(22, 22, 20, 12, 0), (62, 22, 20, 12, 0), (102, 22, 20, 12, 0), (62, 62, 20, 12, 0)]
    plain = sample_of(tmp_path / "a.png", image, *boxes)
    sample = Sample(plain.image_path, plain.quads, np.array([0, 1, 1, -1]), np.array([1, 2, 0, 0]))
    _, targets, _ = training_set([sample], augmentation=None)[0, 0]
    assert targets.ind.tolist() == [5 * 32 + 5, 5 * 32 + 25]
    assert targets.hm[:, 5, [5, 25]].tolist() == [[1, 0], [0, 1]]
    assert targets.hm[:, 5, 15].tolist() == [0, -1], "of its own class alone"
    assert targets.hm[:, 15, 15].tolist() == [-1, -1], "of every class"


def test_more_than_500_objects_reach_the_batch(tmp_path: Path) -> None:
    """Defect 8: 500 a crop, in silence."""
    places = np.stack(np.meshgrid(np.arange(30) * 4 + 3.0, np.arange(20) * 4 + 3.0), axis=-1).reshape(-1, 2)
    boxes = [(x, y, 3.0, 3.0, 0.0) for x, y in places]
    sample = sample_of(tmp_path / "a.png", np.zeros((*INPUT_HW, 3), np.uint8), *boxes)
    dataset = training_set([sample], augmentation=None)
    (batch,) = make_training_loader(dataset, 1, 0)
    assert batch.targets.mask.sum() == 600


def test_an_object_at_the_border_is_trained_on_or_ignored_by_its_visible_fraction(tmp_path: Path) -> None:
    image = np.zeros((*INPUT_HW, 3), np.uint8)
    sample = sample_of(tmp_path / "a.png", image, (4, 30, 24, 12, 0), (-4, 70, 24, 12, 0))
    kept = []  # of the boxes two thirds and one third are visible
    for min_visible in (0.2, 0.5, 0.8):
        dataset = TrainingSet([sample], 1, INPUT_HW, FILL, None, min_visible)
        targets: Targets = dataset[0, 0][1]
        kept.append(len(targets.mask))
        assert targets.hm[0, 7, 2] in (1, -1), "never background"
        assert targets.hm[0, 17, 1] in (1, -1), "never background"
    assert kept == [2, 1, 0]


def test_make_input_takes_a_decoded_picture(samples: list[Sample]) -> None:
    dataset = training_set(samples)
    image, targets = dataset.make_input(
        np.random.default_rng([0, 0, 1]), [(read_image(samples[1].image_path), samples[1])]
    )
    assert np.array_equal(image, dataset[0, 1][0])
    assert np.array_equal(targets.hm, dataset[0, 1][1].hm)


def mosaics(samples: list[Sample], **changes: object) -> TrainingSet:
    """A set of nothing but mosaics of pictures that are not changed otherwise."""
    plain = Augmentation(flip=0.0, scale=(1.0, 1.0), shift=0.0, gain=0.0, offset=0.0, mosaic=1.0)
    return TrainingSet(samples, 2, INPUT_HW, FILL, replace(plain, **changes))


def test_a_mosaic_shows_four_pictures_each_at_its_scale_with_its_objects(tmp_path: Path) -> None:
    """Each picture is of one colour, with a bright object of 24 x 12 pixels every 40; in a mosaic they are as large."""
    shades, found = (40, 80, 120), []
    centers = [(x, y) for x in range(20, 128, 40) for y in range(16, 96, 40)]
    samples = []
    for shade in shades:
        image = np.full((*INPUT_HW, 3), shade, np.uint8)
        for x, y in centers:
            image[y - 6 : y + 6, x - 12 : x + 12] = 250
        samples.append(sample_of(tmp_path / f"{shade}.png", image, *((x, y, 24, 12, 0) for x, y in centers)))
    dataset = mosaics(samples)
    for epoch in range(12):
        image, targets, row = dataset[epoch, 0]
        assert row == 0
        assert image.shape == (*INPUT_HW, 3)
        seen = {shade for shade in shades if (image == shade).all(axis=2).mean() > 0.02}
        assert shades[0] in seen, "its own picture"
        found.append(len(seen))
        whole = targets.wh[(targets.wh[:, 8:] * 4 == (24, 12)).all(axis=1)]
        cells = targets.ind[(targets.wh[:, 8:] * 4 == (24, 12)).all(axis=1)]
        assert len(whole) >= 1
        for cell, offset in zip(cells, targets.reg[(targets.wh[:, 8:] * 4 == (24, 12)).all(axis=1)], strict=True):
            x, y = (np.array([cell % 32, cell // 32]) + offset) * 4
            assert (image[round(y) - 4 : round(y) + 4, round(x) - 10 : round(x) + 10] > 240).all()
    assert max(found) == 3


def test_a_mosaic_is_the_same_for_the_same_key_and_as_often_as_asked(samples: list[Sample]) -> None:
    dataset = mosaics(samples)
    assert np.array_equal(dataset[3, 1][0], dataset[3, 1][0])
    assert not np.array_equal(dataset[3, 1][0], dataset[4, 1][0])
    half, never = mosaics(samples, mosaic=0.5), mosaics(samples, mosaic=0.0)
    share = np.mean([not np.array_equal(half[epoch, 1][0], never[epoch, 1][0]) for epoch in range(60)])
    assert 0.3 < share < 0.7


def test_objects_that_the_seam_of_a_mosaic_cuts_are_learnt_or_ignored_by_what_is_left(tmp_path: Path) -> None:
    """Bright where the object is: each part shows it up to the part's own border, and learns or ignores it there."""
    image = np.full((*INPUT_HW, 3), 20, np.uint8)
    image[18:78, 34:94] = 220
    sample = sample_of(tmp_path / "a.png", image, (64, 48, 60, 60, 0))
    learnt = hidden = 0
    for epoch in range(20):
        shown, targets, _ = mosaics([sample])[epoch, 0]
        centers = np.stack([targets.ind % 32, targets.ind // 32], axis=1) + targets.reg
        for (x, y), (width, height) in zip(centers * 4, targets.wh[:, 8:] * 4, strict=True):
            inside = shown[round(y - height / 2) + 2 : round(y + height / 2) - 2, round(x - width / 2) + 2 :]
            assert (inside[:, : round(width) - 4] > 200).all()
        learnt += len(centers)
        ignored = (targets.hm < 0).any(axis=0)
        if ignored.any():
            hidden += 1
            assert (shown[2::4, 2::4, 0][ignored] > 200).mean() > 0.7
    assert learnt > 5
    assert hidden > 5


def test_a_part_of_a_mosaic_of_whole_inputs_shows_no_padding_where_the_picture_is_large_enough(tmp_path: Path) -> None:
    """A quarter of them was padding."""
    image = np.full((*INPUT_HW, 3), 200, np.uint8)
    sample = sample_of(tmp_path / "a.png", image, (4, 4, 6, 6, 0), (124, 92, 6, 6, 0))
    for epoch in range(10):
        assert (mosaics([sample])[epoch, 0][0] == 200).all()
    small = sample_of(tmp_path / "b.png", np.full((400, 20, 3), 200, np.uint8), (10, 200, 6, 6, 0))
    shown = [(mosaics([small])[epoch, 0][0] == 200).all(axis=2).sum() for epoch in range(10)]
    assert min(shown) > 100  # letterboxed it is five pixels wide, as high as the part, in each of four


def test_a_picture_that_cannot_be_read_is_replaced_in_mosaics_and_told_of_in_its_turn(
    samples: list[Sample],
) -> None:
    samples[2].image_path.write_bytes(b"")
    assert all(not isinstance(mosaics(samples)[epoch, 1], ImageError) for epoch in range(12))
    assert "scene_2.png: the file is empty" in str(mosaics(samples)[0, 2])


def test_a_mosaic_of_one_picture_and_of_windows_is_one(samples: list[Sample]) -> None:
    alone = mosaics(samples[:1])
    assert not np.array_equal(alone[0, 0][0], mosaics(samples[:1], mosaic=0.0)[0, 0][0])
    plain, mosaic = (
        TrainingSet(samples, 2, INPUT_HW, FILL, Augmentation(mosaic=share), window_hw=(32, 64)) for share in (0.0, 1.0)
    )
    image, targets, _ = mosaic[0, 0]
    assert image.shape == (32, 64, 3)
    assert targets.hm.shape == (2, 8, 16)
    assert not np.array_equal(image, plain[0, 0][0])


@pytest.mark.slow
def test_training_inputs_need_no_torch() -> None:
    """The checks of data are made by their rules, and start in no time."""
    program = "import sys; import datasets.training_set, tools.data_check.data_checks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
