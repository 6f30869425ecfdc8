"""Near twins: what is hashed alike and what is not, pairs and groups, and the frames of a real video."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import near_duplicates
from datasets.near_duplicates import (
    MAX_DISTANCE,
    NO_HASH,
    image_hash,
    join_pairs,
    picture_hashes,
    twin_groups,
    twin_rows,
    twins_across,
)
from datasets.picture_files.images import ImageError, read_image


def draw_scene(seed: int, hw: tuple[int, int] = (240, 320)) -> np.ndarray:
    """A picture (H, W, 3) uint8 of soft patches, another one for each seed."""
    rng = np.random.default_rng(seed)
    patches = cv2.resize(rng.uniform(0, 255, (6, 8, 3)).astype(np.float32), hw[::-1], interpolation=cv2.INTER_CUBIC)
    return patches.clip(0, 255).astype(np.uint8)


def write(path: Path, image: np.ndarray, *options: int) -> Path:
    path.write_bytes(cv2.imencode(path.suffix, image, list(options))[1].tobytes())
    return path


def distance(one: np.ndarray, other: np.ndarray) -> int:
    return (image_hash(one) ^ image_hash(other)).bit_count()


# -- hashes


@pytest.mark.parametrize("seed", range(5))
def test_a_copy_saved_anew_resized_or_brightened_is_a_twin(seed: int) -> None:
    image = draw_scene(seed)
    saved = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    copies = (
        saved,
        cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        cv2.resize(image, None, fx=2, fy=2),
        cv2.convertScaleAbs(image, alpha=0.8, beta=20),
        np.roll(image, 3, axis=1),
    )
    assert max(distance(image, copy) for copy in copies) <= MAX_DISTANCE


def test_different_scenes_are_no_twins() -> None:
    hashes = np.array([image_hash(draw_scene(seed)) for seed in range(60)], np.uint64)
    assert len(pairs_of(hashes)) == 0
    assert NO_HASH not in hashes


def test_flat_pictures_are_not_all_twins_of_each_other(tmp_path: Path) -> None:
    """Black tiles without data and open water would chain half of a data set into one group."""
    rng = np.random.default_rng(0)
    flat = [np.full((100, 100, 3), grey, np.uint8) for grey in (0, 0, 90, 255)]
    flat += [rng.normal(grey, 6, (300, 300, 3)).clip(0, 255).astype(np.uint8) for grey in (60, 60, 200)]
    assert [image_hash(image) for image in flat] == [NO_HASH] * len(flat)
    hashes = picture_hashes([write(tmp_path / f"{k}.jpg", image) for k, image in enumerate(flat)])
    assert pairs_of(hashes).shape == (0, 2)
    assert twin_groups(hashes).tolist() == [*range(len(flat))]


def test_a_small_object_on_open_water_is_enough_to_be_hashed() -> None:
    image = np.full((600, 600, 3), 60, np.uint8)
    image[100:140, 300:330] = 220
    other = np.full((600, 600, 3), 60, np.uint8)
    other[450:480, 80:140] = 220
    assert image_hash(image) != NO_HASH
    assert distance(image, other) > MAX_DISTANCE


@pytest.mark.parametrize("num_workers", [0, 3])
def test_what_cannot_be_decoded_is_reported_and_nobodys_twin(tmp_path: Path, num_workers: int) -> None:
    folder = tmp_path / "数据"
    folder.mkdir()
    paths = [write(folder / f"图 {k}.png", draw_scene(k // 2)) for k in range(4)]
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    paths[2:2] = [folder / "damaged.png", folder / "lost.jpg"]
    reported: list[ImageError] = []
    hashes = picture_hashes(paths, num_workers, lambda path, error: reported.append(error))
    assert (hashes.dtype, hashes.shape) == (np.uint64, (6,))
    assert [str(error).split(":")[0] for error in reported] == [str(paths[2]), str(paths[3])]
    assert hashes[2:4].tolist() == [NO_HASH, NO_HASH]
    assert twin_groups(hashes).tolist() == [0, 0, 1, 2, 3, 3]
    assert (picture_hashes(paths, num_workers) == hashes).all(), "reports to nobody"


def test_the_progress_of_hashing_can_be_watched(tmp_path: Path) -> None:
    seen = []

    def track(hashes):
        for value in hashes:
            seen.append(value)
            yield value

    hashes = picture_hashes([write(tmp_path / "a.png", draw_scene(0))] * 3, track=track)
    assert hashes.tolist() == seen


def test_of_no_pictures_there_are_no_hashes_and_no_twins() -> None:
    hashes = picture_hashes([])
    assert hashes.shape == (0,)
    assert pairs_of(hashes).shape == (0, 2)
    assert twin_groups(hashes).shape == (0,)


# -- pairs and groups


def pairs_of(hashes: np.ndarray, max_distance: int = MAX_DISTANCE) -> np.ndarray:
    """All pairs of twins (P, 2)."""
    pairs = [[first, second] for first, seconds, _ in twin_rows(hashes, max_distance) for second in seconds.tolist()]
    return np.array(pairs, np.int64).reshape(-1, 2)


@given(values=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40), max_size=25), max_distance=st.integers(0, 31))
@settings(deadline=None, max_examples=80)
def test_pairs_are_those_that_differ_in_few_bits_and_groups_their_chains(values: list[int], max_distance: int) -> None:
    hashes = np.array(values, np.uint64)
    expected = [
        [i, j]
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if values[i] and values[j] and (values[i] ^ values[j]).bit_count() <= max_distance
    ]
    assert pairs_of(hashes, max_distance).tolist() == expected
    for first, seconds, bits in twin_rows(hashes, max_distance):
        assert [(values[first] ^ values[second]).bit_count() for second in seconds] == bits.tolist()
    groups = [*range(len(values))]
    for i, j in expected:
        groups = [groups[i] if group == groups[j] else group for group in groups]
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    assert twin_groups(hashes, max_distance).tolist() == [numbers[group] for group in groups]


@given(values=st.lists(st.integers(1, 40), max_size=25), data=st.data())
@settings(deadline=None, max_examples=40)
def test_those_with_a_twin_on_the_other_side_are_told(values: list[int], data: st.DataObject) -> None:
    side = np.array([data.draw(st.booleans()) for _ in values], bool)
    hashes = np.array(values, np.uint64)
    expected = {item for i, j in pairs_of(hashes, 1).tolist() if side[i] != side[j] for item in (i, j)}
    found = twins_across(hashes, side, 1)
    assert np.flatnonzero(found).tolist() == sorted(expected)


def test_of_alike_frames_not_all_pairs_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are as many as the square: 6,500 frames of one scene took 2.5 GB."""
    hashes = np.repeat(np.array([7, 2**40 + 11, 2**50 + 1, 2**63], np.uint64), 60)
    whole = twin_groups(hashes, 1)
    held: list[int] = []

    def watched(num_items: int, pairs: np.ndarray) -> np.ndarray:
        held.append(len(pairs))
        return join_pairs(num_items, pairs)

    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", 100)
    monkeypatch.setattr(near_duplicates, "join_pairs", watched)
    assert twin_groups(hashes, 1).tolist() == whole.tolist() == np.repeat(np.arange(4), 60).tolist()
    assert max(held) <= 100 + 60 + len(hashes)


def test_twins_of_twins_are_in_one_group() -> None:
    assert join_pairs(6, np.array([[0, 3], [3, 5], [1, 2]])).tolist() == [0, 1, 1, 0, 2, 0]
    assert join_pairs(2, np.zeros((0, 2), np.int64)).tolist() == [0, 1]


@pytest.mark.long
def test_a_hundred_thousand_pictures_are_compared_in_seconds() -> None:
    """3.8 s on one core, hardly more than counting the bits of as many values takes on the same machine; in this
    process's own time, for the machine may do other things."""
    hashes = np.random.default_rng(0).integers(1, 2**63, 100_000).astype(np.uint64)
    hashes[70_000] = hashes[5] ^ np.uint64(0b1011)
    half, counting = hashes[:50_000], []
    for _ in range(5):
        started = time.process_time()
        for _ in range(200):
            np.bitwise_count(half ^ hashes[0])
        counting.append(time.process_time() - started)
    started = time.process_time()
    pairs = pairs_of(hashes, 4)
    seconds = time.process_time() - started
    assert [5, 70_000] in pairs.tolist()
    assert seconds < 5 * 500 * min(counting)


# -- real frames


@pytest.fixture(scope="module")
def frames(real_folder: Callable[[str], Path]) -> tuple[list[str], np.ndarray]:
    """Every frame of three series of HIT-UAV, and their hashes."""
    folder = real_folder("hit-uav") / "images"
    paths = [path for stem in ("1_130_70", "1_60_50", "0_100_40") for path in sorted(folder.glob(f"{stem}_*.jpg"))]
    return [path.stem for path in paths], picture_hashes(paths)


def test_twins_among_real_frames_are_neighbours_in_time(frames: tuple[list[str], np.ndarray]) -> None:
    names, hashes = frames
    pairs = pairs_of(hashes)
    assert len(pairs) > 50
    numbers = np.array([int(name.rsplit("_", 1)[1]) for name in names])
    assert all(names[i].rsplit("_", 1)[0] == names[j].rsplit("_", 1)[0] for i, j in pairs)
    assert np.median(np.abs(numbers[pairs[:, 0]] - numbers[pairs[:, 1]])) < 15


def test_real_twins_agree_in_their_pixels(
    frames: tuple[list[str], np.ndarray], real_folder: Callable[[str], Path]
) -> None:
    names, hashes = frames
    folder = real_folder("hit-uav") / "images"

    def thumbnail(name: str) -> np.ndarray:
        image = cv2.resize(read_image(folder / f"{name}.jpg"), (32, 32), interpolation=cv2.INTER_AREA)
        return image.mean(axis=2).ravel()

    correlations = [np.corrcoef(thumbnail(names[i]), thumbnail(names[j]))[0, 1] for i, j in pairs_of(hashes)[::5]]
    assert min(correlations) > 0.5
    assert np.median(correlations) > 0.85
