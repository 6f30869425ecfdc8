"""The command that writes the index of tiles that another program has cut: `python -m tools.index_tiles`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.label_formats.dota_folder import is_dota_folder
from datasets.picture_files.image_folders import find_images
from datasets.picture_files.image_sizes import read_header
from datasets.readers import list_images
from DOTA_devkit.tile_index import INDEX_NAME, TileIndex, write_index
from DOTA_devkit.tiling import Tile, scaled_size
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.messages import warn
from tools.running.progress import progress_bar

NAME = re.compile(r"(?P<picture>.+)__(?P<what>[0-9]+(\.[0-9]+)?)__(?P<x>[0-9]+)___(?P<y>[0-9]+)")
LARGEST_RATE = 16.0  # what stands in the place of the rate and is larger is a size
SHOWN = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the index and print what is in it; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a
    person can mend, 130 stopped by Ctrl-C."""
    return exit_code(lambda: _run(_parse(arguments)))


def index_of(
    tiles: Mapping[str, tuple[int, int]], pictures: Mapping[str, tuple[int, int]], source: str = ""
) -> tuple[TileIndex, list[str]]:
    """The index of tiles by their names, and the names that tell nothing. tiles, pictures: height and width by name.

    The DOTA devkit calls a tile `<picture>__<rate>__<x>___<y>`, with the corner in pixels of the picture scaled by the
    rate; mmrotate `<picture>__<size>__<x>___<y>`, in pixels of the picture, which it never scales. A picture of which
    tiles are missing is noted as such, and is not scored whole.

    Raises ValueError where no name tells anything, and for tiles of several sizes, of which an index holds one.
    """
    found: dict[str, Tile] = {}
    unknown = []
    for name in tiles:
        match = NAME.fullmatch(name)
        if match is None or match["picture"] not in pictures:
            unknown.append(name)
            continue
        rate = float(match["what"])
        scale = rate if 0 < rate <= LARGEST_RATE else 1.0
        found[name] = Tile(name, match["picture"], scale, int(match["x"]), int(match["y"]))
    if not found:
        example = f", such as {unknown[0]}" if unknown else ""
        raise ValueError(
            f"none of {len(unknown)} tiles is called <picture>__<rate or size>__<x>___<y> by one of the "
            f"{len(pictures)} pictures{example}; are these the pictures that they were cut from?"
        )
    size = max(max(tiles[name]) for name in found)  # those that are not padded are smaller where their picture ends
    strange = [name for name, tile in found.items() if not _fits(tiles[name], tile, size, pictures[tile.picture])]
    if strange:
        raise ValueError(
            f"{strange[0]}: is {tiles[strange[0]][1]} x {tiles[strange[0]][0]} pixels, and others {size} x {size}; an "
            "index is of tiles of one size (mmrotate's of several rates are not; index those of each by themselves)"
        )
    of_picture: dict[str, list[Tile]] = {}
    for tile in found.values():
        of_picture.setdefault(tile.picture, []).append(tile)
    lacking = {name: _num_lacking(its, size, pictures[name]) for name, its in of_picture.items()}
    index = TileIndex(
        size,
        0,
        (),
        {name: hw for name, hw in pictures.items() if name in of_picture},
        found,
        source=source,
        num_skipped={name: count for name, count in lacking.items() if count},
    )
    return index, unknown


def _fits(hw: tuple[int, int], tile: Tile, size: int, picture_hw: tuple[int, int]) -> bool:
    """Whether each side of a tile is the usual one, or ends with the picture."""
    ends = (side - start for side, start in zip(scaled_size(*picture_hw, tile.scale), (tile.y, tile.x), strict=True))
    return all(side == size or abs(side - end) <= 1 for side, end in zip(hw, ends, strict=True))


def _num_lacking(tiles: Sequence[Tile], size: int, picture_hw: tuple[int, int]) -> int:
    """How many tiles a picture has less than whole rows and columns, up to its end, at each of its scales."""
    count = 0
    for scale in {tile.scale for tile in tiles}:
        corners = {(tile.x, tile.y) for tile in tiles if tile.scale == scale}
        for axis, side in zip((1, 0), scaled_size(*picture_hw, scale), strict=True):
            starts = sorted({corner[axis] for corner in corners})
            ends = [0, *(start + size for start in starts)]
            # One pixel: scaled pictures are rounded up here and down elsewhere.
            count += sum(start > end for start, end in zip([*starts, side - 1], ends, strict=True))
        columns, rows = (len({corner[axis] for corner in corners}) for axis in (0, 1))
        count += columns * rows - len(corners)
    return count


def _run(options: argparse.Namespace) -> None:
    if options.out.exists():
        raise SettingsError(f"{options.out}: is there; name another file, or remove it")
    images, wholes = _images(options.tiles), _images(options.pictures)
    tiles = _sizes(images, "tiles")
    index, unknown = index_of(tiles, _sizes(wholes, "pictures"), str(options.pictures.resolve()))
    write_index(options.out, index)
    if unknown:
        names = ", ".join(f"'{name}'" for name in sorted(unknown)[:SHOWN])
        warn(f"{len(unknown)} tiles are of none of the pictures, and left out, such as {names}")
    if index.num_skipped:
        name = min(index.num_skipped)
        warn(
            f"{len(index.num_skipped)} pictures have not all of their tiles, such as {name}; they are not scored whole"
        )
    scales = ", ".join(f"{scale:g}" for scale in sorted({tile.scale for tile in index.tiles.values()}))
    print(f"{len(index.tiles)} tiles of {index.size} px at scale {scales}, of {len(index.pictures)} pictures")
    print(f"written: {options.out}")


def _images(folder: Path) -> dict[str, Path]:
    """The pictures of a data folder in DOTA's layout, or of a folder of pictures alone."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    has_layout = is_dota_folder(folder) or (folder / "images").is_dir()
    return list_images("dota", folder) if has_layout else find_images(folder)


def _sizes(images: Mapping[str, Path], what: str) -> dict[str, tuple[int, int]]:
    items = progress_bar(images.items(), desc=what, unit="file")
    return {name: (header.height, header.width) for name, path in items for header in [read_header(path)]}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "index_tiles",
        description=f"Write the index, {INDEX_NAME}, of tiles that the DOTA devkit or mmrotate has cut, by their "
        "names. By it tools.merge_results joins their results, and phase eval scores on the whole pictures where it "
        "lies in the folder of the tiles. Tiles of tools.split_tiles have one.",
        epilog="Exit codes: 0 done, 1 something in the data, 2 a wrong flag.",
    )
    add = parser.add_argument
    add("tiles", type=Path, metavar="TILES", help="folder of the tiles, as phase train takes it")
    add("pictures", type=Path, metavar="PICTURES", help="folder of the whole pictures, with images/ and labelTxt/")
    add("out", type=Path, metavar="OUT", help=f"the file to write, such as TILES/{INDEX_NAME}")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
