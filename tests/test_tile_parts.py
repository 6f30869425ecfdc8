"""The tiles of one picture are parted by place: nothing that trains is seen in validation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.tile_parts import part_by_place, tiles_on_shared_ground
from DOTA_devkit.tile_index import TileIndex
from DOTA_devkit.tiling import lay_tiles, tile_windows


def index_of(hw: tuple[int, int], size: int, overlap: int, scales: tuple[float, ...] = (1.0,)) -> TileIndex:
    tiles = lay_tiles("图 1", *hw, size, overlap, scales)
    return TileIndex(size, overlap, ("car",), {"图 1": hw}, {tile.name: tile for tile in tiles})


def along(index: TileIndex, name: str) -> tuple[float, float]:
    """Where a tile begins and ends along the longer side of the picture."""
    tile, hw = index.tiles[name], index.pictures["图 1"]
    start = (tile.x if hw[1] >= hw[0] else tile.y) / tile.scale
    return start, min(start + index.size / tile.scale, max(hw))


@given(
    hw=st.tuples(st.integers(50, 2000), st.integers(50, 2000)),
    size=st.integers(64, 300),
    share=st.floats(0, 0.9),
    scales=st.sampled_from([(1.0,), (0.5, 1.0), (2.0,), (0.7,)]),
    fractions=st.sampled_from([(0.8, 0.2), (0.7, 0.2, 0.1)]),
    seed=st.integers(0, 99),
)
def test_no_place_is_in_two_lists(
    hw: tuple[int, int],
    size: int,
    share: float,
    scales: tuple[float, ...],
    fractions: tuple[float, ...],
    seed: int,
) -> None:
    index = index_of(hw, size, int(share * size), scales)
    rng = np.random.default_rng(seed)
    counts = {name: int(rng.integers(5)) for name in index.tiles}
    found = part_by_place(index, counts, fractions, rng)
    assert found.keys() == index.tiles.keys()
    assert set(found.values()) >= set(range(len(fractions))) or set(found.values()) == {0}
    spans = [[along(index, name) for name in found if found[name] == number] for number in range(len(fractions))]
    reach = sorted((min(low for low, _ in part), max(high for _, high in part)) for part in spans if part)
    assert all(first[1] <= second[0] + 1e-6 for first, second in zip(reach, reach[1:], strict=False))


@pytest.mark.parametrize("hw", [(400, 3000), (3000, 400)])
def test_objects_are_shared_out_as_asked(hw: tuple[int, int]) -> None:
    index = index_of(hw, 200, 100)
    # Dense at one end: by tiles alone a fifth of them would hold two thirds of the objects.
    counts = {name: 50 if along(index, name)[0] >= 2400 else 2 for name in index.tiles}
    for seed in range(4):
        found = part_by_place(index, counts, (0.8, 0.2), np.random.default_rng(seed))
        shares = [sum(counts[name] for name in found if found[name] == number) for number in (0, 1)]
        assert shares[1] / sum(shares) == pytest.approx(0.2, abs=0.12)
        assert sum(number < 0 for number in found.values()) < 0.15 * len(found)


def test_a_picture_of_one_tile_trains() -> None:
    index = index_of((100, 100), 200, 50)
    assert set(part_by_place(index, dict.fromkeys(index.tiles, 1), (0.8, 0.2), np.random.default_rng(0)).values()) == {
        0
    }


@pytest.mark.parametrize("scale", [0.1, 0.3, 0.7, 1.1])
def test_tiles_that_end_where_the_line_is_are_kept_at_any_scale(scale: float) -> None:
    """That a tile ends at 100 / 0.7 and the next begins there differ by the last bit; such tiles were in no list."""
    index = index_of((100, 4000), 100, 0, (scale,))
    grid = {name: 1 for name, tile in index.tiles.items() if tile.x % 100 == 0}  # not the last, which is shifted back
    for seed in range(4):
        found = part_by_place(index, grid, (0.7, 0.2, 0.1), np.random.default_rng(seed))
        assert set(found.values()) <= {0, 1, 2}


@given(seed=st.integers(0, 99), overlap=st.sampled_from([0, 30]), scales=st.sampled_from([(1.0,), (0.5, 1.0)]))
def test_tiles_of_two_lists_share_ground_where_their_windows_do(
    seed: int, overlap: int, scales: tuple[float, ...]
) -> None:
    index = index_of((200, 300), 100, overlap, scales)
    names = list(index.tiles)
    is_held_out = np.random.default_rng(seed).random(len(names)) < 0.3
    train, val = ([name for name, out in zip(names, is_held_out, strict=True) if out == wanted] for wanted in (0, 1))
    found = tiles_on_shared_ground(index, [*train, "no tile"], [*val, "another"])
    windows = {name: tile_windows([index.tiles[name]], index.size)[0] for name in names}
    for name in val:
        shares = [
            (
                np.minimum(windows[name][2:], windows[other][2:]) > np.maximum(windows[name][:2], windows[other][:2])
            ).all()
            for other in train
        ]
        assert (name in found) == any(shares)
        if name in found:
            assert shares[train.index(found[name])]
    assert found.keys() <= {*val}


def test_lists_that_are_parted_by_place_share_no_ground() -> None:
    index = index_of((400, 3000), 200, 100)
    lists = part_by_place(index, dict.fromkeys(index.tiles, 1), (0.8, 0.2), np.random.default_rng(0))
    train, val = ([name for name, number in lists.items() if number == wanted] for wanted in (0, 1))
    assert train
    assert val
    assert not tiles_on_shared_ground(index, train, val)
