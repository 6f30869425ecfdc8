"""The index of a folder of tiles, a JSON file: of which picture, scale and place each tile is."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from DOTA_devkit.atomic import write_text
from DOTA_devkit.names import is_text, spelling_in
from DOTA_devkit.tiling import Tile, check_grid, num_tiles, scaled_size
from DOTA_devkit.value_ranges import are_ranges

INDEX_NAME = "tiles.json"


@dataclass(frozen=True)
class TileIndex:
    """What a folder of tiles is made of; tile names are looked up here and never taken apart.

    size, overlap: pixels of a tile.  class_names: empty where the pictures have no labels.
    pictures: (height, width) by name.  tiles: by name.  source: the folder of the whole pictures, "" if not known.
    num_skipped: how many of its tiles a picture lacks, since they were empty; pictures that lack none are not there.
    value_range: in deep pictures, the values that became black and white, in all bands or in each; None: each picture's
    own.
    bands: of TIFF files, the numbers of the bands that tiles hold, from 1 on, red, green and blue first; None: as the
    file tells.
    """

    size: int
    overlap: int
    class_names: tuple[str, ...]
    pictures: Mapping[str, tuple[int, int]]
    tiles: Mapping[str, Tile]
    source: str = ""
    num_skipped: Mapping[str, int] = field(default_factory=dict)
    value_range: tuple[float, ...] | None = None
    bands: tuple[int, ...] | None = None

    def called_as(self, names: Iterable[str]) -> TileIndex:
        """The index with its tiles called as `names` spells them, as far as these are tiles: the files may have the
        other form of an umlaut, which macOS gives them."""
        others = [name for name in names if name not in self.tiles]
        renamed = {known: name for name in others if (known := spelling_in(self.tiles, name)) is not None}
        if not renamed:
            return self
        called = (tile._replace(name=renamed.get(name, name)) for name, tile in self.tiles.items())
        return replace(self, tiles={tile.name: tile for tile in called})


def write_index(path: Path, index: TileIndex) -> None:
    """Write the index as JSON, a tile a line, whole or not at all."""
    head = {
        "source": index.source,
        "size": index.size,
        "overlap": index.overlap,
        "classes": list(index.class_names),
    }
    for key, chosen in (("value_range", index.value_range), ("bands", index.bands)):
        if chosen is not None:
            head[key] = list(chosen)
    lines = [json.dumps(key) + ": " + json.dumps(value, ensure_ascii=False) for key, value in head.items()]
    pictures = [
        _line(name, {"height": hw[0], "width": hw[1], "skipped": index.num_skipped.get(name, 0)})
        for name, hw in index.pictures.items()
    ]
    tiles = [
        _line(name, {"picture": tile.picture, "scale": tile.scale, "x": tile.x, "y": tile.y})
        for name, tile in index.tiles.items()
    ]
    for key, rows in (("pictures", pictures), ("tiles", tiles)):
        lines.append(f'"{key}": {{\n' + ",\n".join(rows) + "\n}")
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def read_index(path: Path) -> TileIndex:
    """Read an index that `write_index` wrote; `path` is the file or the folder of tiles that it is in.

    An index of an earlier version does not tell how many tiles were skipped; then it is what the grid has more of.
    Raises FileNotFoundError when it is not there, ValueError that says what is wrong in it.
    """
    path = Path(path)
    path = path / INDEX_NAME if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such index of tiles; python -m tools.split_tiles writes one")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        pictures = {name: (int(hw["height"]), int(hw["width"])) for name, hw in content["pictures"].items()}
        tiles = {name: _read_tile(name, row) for name, row in content["tiles"].items()}
        classes = tuple(str(name) for name in content["classes"])
        if strange := next((name for name in (*classes, *pictures, *tiles) if not is_text(name)), None):
            raise ValueError(f"the name {strange!r} cannot be written")
        size, overlap, source = int(content["size"]), int(content["overlap"]), str(content.get("source", ""))
        value_range, bands = _read_range(content.get("value_range")), _read_bands(content.get("bands"))
        told = {name: int(row["skipped"]) for name, row in content["pictures"].items() if "skipped" in row}
        for name, tile in tiles.items():
            if tile.picture not in pictures:
                raise ValueError(f"tile '{name}' is of picture '{tile.picture}', which is not among the pictures")
            if not (math.isfinite(tile.scale) and tile.scale > 0):
                raise ValueError(f"tile '{name}' has scale {tile.scale}; it must be a number above 0")
        skipped = _num_missing(pictures, tiles, size, overlap) | told
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: is not an index of tiles ({what}); write it anew with tools.split_tiles") from error
    skipped = {name: count for name, count in skipped.items() if count > 0}
    return TileIndex(size, overlap, classes, pictures, tiles, source, skipped, value_range, bands)


def _read_range(said: object) -> tuple[float, ...] | None:
    if said is None:
        return None
    values = tuple(map(float, said))  # type: ignore[call-overload]
    if not are_ranges(values):
        raise ValueError(f"value_range is {said}; it must be a value and a larger one, or such a pair for each band")
    return values


def _read_bands(said: object) -> tuple[int, ...] | None:
    if said is None:
        return None
    bands = tuple(map(int, said))  # type: ignore[call-overload]
    if not bands or min(bands) < 1:
        raise ValueError(f"bands is {said}; they must be numbers from 1 on")
    return bands


def _num_missing(
    pictures: Mapping[str, tuple[int, int]], tiles: Mapping[str, Tile], size: int, overlap: int
) -> dict[str, int]:
    """How many tiles each picture has less than the grid, at all scales that there are tiles of."""
    check_grid(size, overlap)
    scales = {tile.scale for tile in tiles.values()}
    present = Counter(tile.picture for tile in tiles.values())
    return {
        name: sum(num_tiles(*scaled_size(*hw, scale), size, overlap) for scale in scales) - present[name]
        for name, hw in pictures.items()
    }


def _line(name: str, fields: Mapping[str, Any]) -> str:
    return f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(fields, ensure_ascii=False)}"


def _read_tile(name: str, row: Mapping[str, Any]) -> Tile:
    return Tile(name, row["picture"], float(row["scale"]), int(row["x"]), int(row["y"]))
