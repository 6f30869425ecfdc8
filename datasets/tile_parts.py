"""The tiles of a picture parted by place: one side of it trains, the other validates, and no tile shows both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from DOTA_devkit.tile_index import TileIndex
from DOTA_devkit.tiling import Tile, tile_windows

SLACK = 1e-6  # pixels that rounding at scales as 0.7 makes of a tile which ends at a line
MOST_LINES = 200  # places for a line that are tried in a picture


def part_by_place(
    index: TileIndex, counts: Mapping[str, int], fractions: Sequence[float], rng: np.random.Generator
) -> dict[str, int]:
    """The list, 0 to L-1, of each of the tiles that `counts` has, with the number of its objects; -1 for a tile that
    reaches over a line between two lists.

    fractions (L,): of the lists, above 0 and 1 in all. Each picture is cut across its longer side, from an end that
    `rng` draws, so that the objects are shared out as near to `fractions` as can be (the least sum of
    (share - fraction)^2 / fraction). One that is too small to give each list a tile is in the first list.
    """
    of_picture: dict[str, list[Tile]] = {}
    for name in counts:
        of_picture.setdefault(index.tiles[name].picture, []).append(index.tiles[name])
    found: dict[str, int] = {}
    for picture in sorted(of_picture):
        tiles = of_picture[picture]
        low, high = _spans(tiles, index.size, index.pictures[picture], is_turned=bool(rng.integers(2)))
        weights = np.array([counts[tile.name] + 1.0 for tile in tiles])  # tiles without objects count a little, too
        lists = _cut(low, high, weights, np.asarray(fractions, float))
        found |= {tile.name: number for tile, number in zip(tiles, lists.tolist(), strict=True)}
    return found


def tiles_on_shared_ground(index: TileIndex, train: Sequence[str], val: Sequence[str]) -> dict[str, str]:
    """The tiles of `val` that show ground which a tile of `train` shows, too, and the first such one of each; names
    that are no tiles have none."""
    of_picture: dict[str, list[Tile]] = {}
    for name in train:
        if name in index.tiles:
            of_picture.setdefault(index.tiles[name].picture, []).append(index.tiles[name])
    windows = {picture: tile_windows(tiles, index.size) for picture, tiles in of_picture.items()}
    found = {}
    for name in val:
        tile = index.tiles.get(name)
        if tile is None or tile.picture not in windows:
            continue
        others, own = windows[tile.picture], tile_windows([tile], index.size)
        shared = np.minimum(others[:, 2:], own[:, 2:]) - np.maximum(others[:, :2], own[:, :2])
        rows = np.flatnonzero((shared > SLACK).all(axis=1))
        if len(rows):
            found[name] = of_picture[tile.picture][rows[0]].name
    return found


def _spans(tiles: Sequence[Tile], size: int, hw: tuple[int, int], is_turned: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where the tiles begin and end along the longer side, (N,) pixels of the picture; from its other end if turned."""
    side = max(hw)
    start = np.array([(tile.x if hw[1] >= hw[0] else tile.y) / tile.scale for tile in tiles])
    end = np.minimum(start + size / np.array([tile.scale for tile in tiles]), side)
    return (side - end, side - start) if is_turned else (start, end)


def _cut(low: np.ndarray, high: np.ndarray, weights: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """The list of each tile, by the lines that share the weights out best; all in the first where no lines can be."""
    lines = np.unique(low)[1:]
    lines = lines[:: -(-len(lines) // MOST_LINES) or 1]
    best, chosen = np.inf, np.zeros(len(low), np.int64)
    for places in combinations(lines.tolist(), len(fractions) - 1):
        ends = [-np.inf, *places, np.inf]
        members = np.array(
            [(low >= left - SLACK) & (high <= right + SLACK) for left, right in zip(ends, ends[1:], strict=False)]
        )
        if not members.any(axis=1).all():
            continue
        shares = members @ weights / weights.sum()
        cost = float(((shares - fractions) ** 2 / fractions).sum())
        if cost < best:
            best, chosen = cost, np.where(members.any(axis=0), members.argmax(axis=0), -1)
    return chosen
