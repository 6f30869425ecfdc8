"""Tiles of a big picture: where they lie, what they are called, the labels cut to them.

A picture is scaled first and cut afterwards: its point (x, y) lies at (x * scale, y * scale) of the scaled picture, at
exactly this scale, and at (x * scale - tile.x, y * scale - tile.y) of a tile. Every tile has the same size; a picture
smaller than that is padded at the right and at the bottom.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from DOTA_devkit.boxes import as_quads
from DOTA_devkit.clipping import clip_quads
from DOTA_devkit.labels import IGNORE_FLAG, geometry_faults

MIN_VISIBLE = 0.7  # of an object's area; less of it in a tile is no object to learn from
SLACK = 1e-9  # rounding must not cost a pixel, nor make an object hidden that is visible to just the fraction asked for


class Tile(NamedTuple):
    """A tile: its name, its picture, the scale of that, and its first corner in pixels of the scaled picture."""

    name: str
    picture: str
    scale: float
    x: int
    y: int


class CutLabels(NamedTuple):
    """The objects seen in a tile.

    rows: (n,) which of the given objects.  quads: (n, 4, 2) pixels of the tile.
    difficult: (n,) their flags, 2 for those hidden.  hidden: (n,) bool, the tile shows too little of the object.
    """

    rows: np.ndarray
    quads: np.ndarray
    difficult: np.ndarray
    hidden: np.ndarray


def tile_grid(height: int, width: int, size: int, overlap: int) -> np.ndarray:
    """First corners (T, 2), x then y, of tiles of `size` pixels that cover a picture, row by row.

    Neighbours share `overlap` pixels; the last row and column are shifted back to end where the picture ends, and
    share more. Along a side that is no longer than a tile there is one tile, at 0, which is padded.

    Raises ValueError for a picture without pixels and an overlap outside [0, size).
    """
    check_grid(size, overlap)
    if height < 1 or width < 1:
        raise ValueError(f"a picture of {height} x {width} pixels cannot be cut into tiles")
    corners = np.meshgrid(_positions(width, size, overlap), _positions(height, size, overlap))
    return np.stack(corners, axis=-1).reshape(-1, 2)


def check_grid(size: int, overlap: int) -> None:
    """Raise ValueError unless tiles of this size and overlap make progress."""
    if size < 1 or not 0 <= overlap < size:
        raise ValueError(f"tiles of {size} px with an overlap of {overlap} px: the overlap must lie within [0, size)")


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width of the scaled picture: rounded up, so that the last row and column are in it.

    Raises ValueError for a scale that is not a positive number.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale is {scale}; it must be a number above 0")
    return tuple(max(1, math.ceil(side * scale - SLACK)) for side in (height, width))


def lay_tiles(
    picture: str, height: int, width: int, size: int, overlap: int, scales: Sequence[float] = (1.0,)
) -> list[Tile]:
    """The tiles of a picture of height x width pixels, scale after scale, each row by row."""
    return [
        Tile(tile_name(picture, scale, x, y), picture, float(scale), x, y)
        for scale in scales
        for x, y in tile_grid(*scaled_size(height, width, scale), size, overlap).tolist()
    ]


def tile_name(picture: str, scale: float, x: int, y: int) -> str:
    """`<image>__<scale>__<x>___<y>`, as the field has it (`P0706__0.5__500___0`). No two tiles share a name."""
    return f"{picture}__{repr(float(scale)).removesuffix('.0')}__{x}___{y}"


def tile_windows(tiles: Sequence[Tile], size: int) -> np.ndarray:
    """Where tiles lie in their pictures: (T, 4) xmin, ymin, xmax, ymax in pixels of the picture, padding included."""
    windows = np.array([(tile.x, tile.y, tile.x + size, tile.y + size) for tile in tiles], np.float64).reshape(-1, 4)
    return windows / np.array([tile.scale for tile in tiles]).reshape(-1, 1)


def cut_labels(
    quads: np.ndarray,
    difficult: np.ndarray,
    tile: Tile,
    size: int,
    picture_hw: tuple[int, int],
    min_visible: float = MIN_VISIBLE,
) -> CutLabels:
    """What a tile shows of the objects with quads (N, 4, 2), in pixels of the picture, and flags difficult (N,).

    An object inside the tile keeps its quad; of one that the tile cuts, the rest is replaced by its minimum-area
    rectangle, and is an ignore region (difficult 2) if it is less than `min_visible` of the object's area. Nothing
    is cut where the tile ends with the picture: an object that touches the last column or row is inside, and one that
    the annotator drew beyond the border stays as drawn. But one that reaches into padding, which no reader of the tile
    can tell from the picture, is an ignore region where the picture shows less than `min_visible` of it, as in training
    on the whole picture. Slivers that a label file cannot hold are left out, and so are objects that lie in the
    padding.
    """
    flags = np.asarray(difficult, dtype=np.int64).reshape(-1)
    quads = as_quads(quads) * tile.scale - np.array([tile.x, tile.y], np.float64)
    height, width = scaled_size(*picture_hw, tile.scale)
    last = np.array([width - tile.x, height - tile.y], np.float64)  # where the picture ends, in pixels of the tile
    shown, in_both = clip_quads(quads, 0, 0, *np.minimum(last, size))
    rows = np.flatnonzero(in_both > 0)
    quads = quads[rows]
    low = np.where([tile.x == 0, tile.y == 0], quads.min(axis=(0, 1), initial=0), 0)
    high = np.where(last <= size, quads.max(axis=(0, 1), initial=size), size)
    pieces, visible = clip_quads(quads, *low, *high)
    in_picture = clip_quads(quads, -tile.x, -tile.y, *last)[1]
    padded = ((quads > last) & (last < size)).any(axis=(1, 2)) & (in_picture < min_visible - SLACK)
    pieces[padded] = shown[rows[padded]]
    hidden = padded | (visible < min_visible - SLACK)
    flags = np.where(hidden, IGNORE_FLAG, flags[rows])
    cut = np.flatnonzero(padded | (visible < 1))
    slivers = cut[list(geometry_faults(pieces[cut]))]
    if len(slivers):
        rows, pieces, flags, hidden = (np.delete(part, slivers, axis=0) for part in (rows, pieces, flags, hidden))
    return CutLabels(rows, pieces, flags, hidden)


def cut_all_labels(
    quads: np.ndarray,
    difficult: np.ndarray,
    tiles: Sequence[Tile],
    size: int,
    picture_hw: tuple[int, int],
    min_visible: float = MIN_VISIBLE,
) -> Iterator[CutLabels]:
    """`cut_labels` for one tile of a picture after the other, each with the objects alone whose outer boxes meet it."""
    quads, flags = as_quads(quads), np.asarray(difficult, dtype=np.int64).reshape(-1)
    low, high = quads.min(axis=1), quads.max(axis=1)
    for tile, (xmin, ymin, xmax, ymax) in zip(tiles, tile_windows(tiles, size).tolist(), strict=True):
        # Those that touch it are among them: by its own rounding `cut_labels` decides whether it shows any of these.
        meets = (low[:, 0] <= xmax) & (low[:, 1] <= ymax) & (high[:, 0] >= xmin) & (high[:, 1] >= ymin)
        near = np.flatnonzero(meets)
        cut = cut_labels(quads[near], flags[near], tile, size, picture_hw, min_visible)
        yield cut._replace(rows=near[cut.rows])


def unlearnt_objects(difficult: np.ndarray, cuts: Sequence[CutLabels]) -> np.ndarray:
    """Indices of the objects, flags difficult (N,), that no tile shows enough of; ignore regions are not asked for."""
    shown = np.asarray(difficult).reshape(-1) == IGNORE_FLAG
    for cut in cuts:
        shown[cut.rows[~cut.hidden]] = True
    return np.flatnonzero(~shown)


def check_picture_name(name: str) -> None:
    """Raise ValueError for a name that could not be read back from lists and result lines, which hold one a line."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"the picture name {name!r} is not UTF-8 text; rename the picture") from None
    if not name or name != name.strip() or name[0] == "\ufeff" or len(name.splitlines()) != 1:
        raise ValueError(f"the picture name {name!r} begins or ends with a blank or has a line break; rename it")


def _positions(length: int, size: int, overlap: int) -> np.ndarray:
    """Where tiles begin along a side of `length` pixels."""
    starts = (size - overlap) * np.arange(_num_positions(length, size, overlap))
    return np.minimum(starts, max(length - size, 0))


def num_tiles(height: int, width: int, size: int, overlap: int) -> int:
    """How many tiles `tile_grid` lays over a picture."""
    check_grid(size, overlap)
    return math.prod(_num_positions(side, size, overlap) for side in (height, width))


def _num_positions(length: int, size: int, overlap: int) -> int:
    return 1 - -max(length - size, 0) // (size - overlap)
