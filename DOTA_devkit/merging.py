"""Tile boxes -> picture boxes: brought to the picture, those cut by a tile's border given up for whole ones, NMS.

A tile's inner border (one beyond which the picture goes on) cuts objects, and what is found there is a piece. A box is
the less trusted the nearer it comes to such a border: its weight falls from 1, at `BORDER` pixels, to 1/2, where it
touches the border or crosses it. Boxes compete by score times weight, twice:

1. by polygon NMS over the whole picture, so that of two boxes that agree the one that is less cut stays;
2. a box near a border also gives way to one of another tile that weighs more and ranks no lower, if the two overlap
   enough in the view of the tile with the border: what of both lies in that tile, intersection over union, above the
   same threshold. A piece of 25 % overlaps its whole by 0.25 on the picture, but by 1 in this view; and a small object
   beside a large one is not taken for a piece of it.

So nothing is given up that no other box stands for: a large object that every tile cuts keeps its pieces, and what a
lower scored whole box covers stays. Scores are written as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from DOTA_devkit.boxes import as_quads
from DOTA_devkit.iou import paired_intersection
from DOTA_devkit.jit import njit
from DOTA_devkit.nms import poly_nms
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.tile_index import TileIndex
from DOTA_devkit.tiling import tile_windows

BORDER = 8.0  # pixels of the tile within which a box may have been cut: two cells of the network's map
LEAST_WEIGHT = 0.5  # of a box that touches an inner border
# The overlap in a tile's view that is enough whatever the threshold: the smallest rectangle around a piece, which is
# what its label is, can be twice as large as the piece.
ENOUGH = 0.45
SAME_PLACE = 1e-6  # pixels within which a tile's side is the picture's


def merge_tiles(
    quads: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    tiles: np.ndarray,
    windows: np.ndarray,
    tile_size: int,
    picture_hw: tuple[int, int],
    nms_threshold: float = 0.3,
    agnostic: bool = False,
) -> ImageDetections:
    """Merge the boxes found in the tiles of one picture; the result is in pixels of the picture, best score first.

    quads (N, 4, 2) in pixels of their tile, scores (N,), labels (N,) int; tiles (N,) which window each was found in.
    windows (T, 4): xmin, ymin, xmax, ymax of the tiles in pixels of the picture (`tiling.tile_windows`), of all
    scales; tile_size: pixels. agnostic: boxes of different labels compete, too. The same input
    gives the same output on every machine; equal scores go by index.

    Raises ValueError when shapes do not fit, a tile number is no row of `windows`, or the threshold is outside [0, 1].
    """
    quads, scores, labels = as_quads(quads), np.asarray(scores), np.asarray(labels, dtype=np.int64).reshape(-1)
    tiles, windows = np.asarray(tiles, dtype=np.int64).reshape(-1), np.asarray(windows, np.float64).reshape(-1, 4)
    if not len(quads) == len(scores) == len(labels) == len(tiles):
        raise ValueError(
            f"{len(quads)} quads, {len(scores)} scores, {len(labels)} labels and {len(tiles)} tile numbers do not go "
            "together"
        )
    if len(tiles) and not 0 <= tiles.min() <= tiles.max() < len(windows):
        raise ValueError(f"tile numbers {tiles.min()} to {tiles.max()}, but {len(windows)} windows")
    pixel = ((windows[:, 2] - windows[:, 0]) / tile_size)[tiles]  # picture pixels in a pixel of the tile
    weight = border_weight(quads, windows[tiles], tile_size, picture_hw)
    quads = quads * pixel[:, None, None] + windows[tiles, None, :2]
    rank = scores - (1 - weight) * np.abs(scores)  # a negative score, too, gets worse
    rivals = np.zeros_like(labels) if agnostic else labels
    best = _compete(_Boxes(quads, rank, weight, rivals, tiles), windows, nms_threshold)
    best = best[np.lexsort((best, -scores[best]))]
    return ImageDetections(quads[best], scores[best], labels[best])


def merge_pictures(
    in_tiles: Mapping[str, ImageDetections], index: TileIndex, nms_threshold: float, agnostic: bool = False
) -> dict[str, ImageDetections]:
    """Detections by tile -> detections by picture, in the order of the index; tiles that it has not are left out.
    `agnostic`: boxes of different classes compete, too."""
    of_picture: dict[str, list[str]] = {}
    for name in in_tiles:
        if name in index.tiles:
            of_picture.setdefault(index.tiles[name].picture, []).append(name)
    merged = {}
    for picture, hw in index.pictures.items():
        names = sorted(of_picture.get(picture, ()))
        if names:
            parts = [in_tiles[name] for name in names]
            merged[picture] = merge_tiles(
                np.concatenate([part.quads for part in parts]),
                np.concatenate([part.scores for part in parts]),
                np.concatenate([part.labels for part in parts]),
                np.repeat(np.arange(len(parts)), [len(part.scores) for part in parts]),
                tile_windows([index.tiles[name] for name in names], index.size),
                index.size,
                hw,
                nms_threshold,
                agnostic,
            )
    return merged


def border_weight(quads: np.ndarray, windows: np.ndarray, tile_size: int, picture_hw: tuple[int, int]) -> np.ndarray:
    """How far boxes can be trusted to be whole: (N,), 1 away from inner borders, falling to 1/2 at one.

    quads (N, 4, 2) in pixels of the tile; windows (N, 4), each box's tile in pixels of the picture.
    """
    height, width = picture_hw
    distance = np.concatenate([quads.min(axis=1), tile_size - quads.max(axis=1)], axis=1)
    is_inner = np.concatenate(
        [windows[:, :2] > SAME_PLACE, windows[:, 2:] < np.array([width, height]) - SAME_PLACE], axis=1
    )
    nearest = np.where(is_inner, distance, np.inf).min(axis=1)
    return LEAST_WEIGHT + (1 - LEAST_WEIGHT) * np.clip(nearest / BORDER, 0, 1)


class _Boxes(NamedTuple):
    """N boxes in pixels of the picture: quads (N, 4, 2); rank, weight, labels and tiles (N,)."""

    quads: np.ndarray
    rank: np.ndarray
    weight: np.ndarray
    labels: np.ndarray
    tiles: np.ndarray

    def at(self, rows: np.ndarray) -> _Boxes:
        return _Boxes(*(part[rows] for part in self))


def _compete(boxes: _Boxes, windows: np.ndarray, nms_threshold: float) -> np.ndarray:
    """The rows of the boxes that stay.

    A piece that is given up takes its claims with it: all the others compete again, until nothing more is given up.
    """
    is_in = np.ones(len(boxes.quads), bool)
    while True:
        rows = np.flatnonzero(is_in)
        kept = rows[poly_nms(boxes.quads[rows], boxes.rank[rows], nms_threshold, boxes.labels[rows])]
        given_up = _given_up(boxes.at(kept), windows, min(nms_threshold, ENOUGH))
        if not given_up.any():
            return kept
        is_in[kept[given_up]] = False


def _given_up(found: _Boxes, windows: np.ndarray, threshold: float) -> np.ndarray:
    """Which of the boxes (N,) are pieces that a box of another tile stands for."""
    quads, rank, weight, labels, tiles = found
    given_up = np.zeros(len(quads), bool)
    order = np.argsort(tiles, kind="stable")
    starts = np.searchsorted(tiles[order], np.arange(len(windows) + 1))
    boxes = np.concatenate([quads.min(axis=1), quads.max(axis=1)], axis=1)
    used = np.flatnonzero(np.diff(starts))  # tiles with boxes, from left to right
    used = used[np.argsort(windows[used, 0], kind="stable")]
    left, right = windows[used, 0], windows[used, 2]
    firsts = np.searchsorted(left, left - (right - left).max(initial=0))  # further left, even the widest tile ends
    ends = np.searchsorted(left, right)
    pieces, wholes = _rivals(boxes, rank, weight, labels, order, starts, used, firsts, ends, windows).T
    view = windows[tiles[pieces]][:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    seen_piece, seen_whole = paired_intersection(quads[pieces], view), paired_intersection(quads[wholes], view)
    shared = np.minimum(paired_intersection(quads[pieces], quads[wholes]), np.minimum(seen_piece, seen_whole))
    agree = np.flatnonzero(shared > threshold * (seen_piece + seen_whole - shared))
    # The heaviest pieces first, so that whatever stands for a piece is itself decided.
    agree = agree[np.argsort(-weight[pieces[agree]], kind="stable")]
    for piece, whole in zip(pieces[agree].tolist(), wholes[agree].tolist(), strict=True):
        given_up[piece] |= not given_up[whole]
    return given_up


@njit
def _rivals(
    boxes: np.ndarray,
    rank: np.ndarray,
    weight: np.ndarray,
    labels: np.ndarray,
    order: np.ndarray,
    starts: np.ndarray,
    used: np.ndarray,
    firsts: np.ndarray,
    ends: np.ndarray,
    windows: np.ndarray,
) -> np.ndarray:
    """Pairs (P, 2) of a box near a border and a weightier one of its class, of another tile, that it may overlap.

    boxes (N, 4) outer boxes; `order` lists them tile by tile, tile t from starts[t] on; `used` (U,) are the tiles with
    boxes, by xmin, of which number k can overlap those from firsts[k] to ends[k]. All in pixels of the picture.
    """
    pairs, count = np.empty((64, 2), np.int64), 0
    for k in range(len(used)):
        tile = used[k]
        own = windows[tile]
        for place in range(starts[tile], starts[tile + 1]):
            piece = order[place]
            if weight[piece] >= 1.0:
                continue
            xmin, ymin = max(boxes[piece, 0], own[0]), max(boxes[piece, 1], own[1])
            xmax, ymax = min(boxes[piece, 2], own[2]), min(boxes[piece, 3], own[3])
            for neighbour in range(firsts[k], ends[k]):
                other = used[neighbour]
                window = windows[other]
                if other == tile or window[2] <= xmin or window[3] <= ymin or window[0] >= xmax or window[1] >= ymax:
                    continue
                for there in range(starts[other], starts[other + 1]):
                    whole = order[there]
                    box = boxes[whole]
                    if box[0] >= xmax or box[1] >= ymax or box[2] <= xmin or box[3] <= ymin:
                        continue
                    if labels[whole] != labels[piece] or weight[whole] <= weight[piece] or rank[whole] < rank[piece]:
                        continue
                    if count == len(pairs):
                        fewer, pairs = pairs, np.empty((2 * count, 2), np.int64)
                        for i in range(count):
                            pairs[i, 0], pairs[i, 1] = fewer[i, 0], fewer[i, 1]
                    pairs[count, 0], pairs[count, 1] = piece, whole
                    count += 1
    return pairs[:count]
