"""Pictures that must be in one list, or in none: by name, tile, ground and likeness, and what these chain together."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import pytest

from datasets.splits import ListError
from DOTA_devkit.tile_index import TileIndex, write_index
from DOTA_devkit.tiling import lay_tiles
from tools.picture_groups import Pictures, group_pictures, part_pictures
from tools.running.command_line import SettingsError

NO_GROUND = np.zeros((0, 2), np.int64)


def pictures_of(names: list[str]) -> Pictures:
    return Pictures(names, [Path(f"{name}.png") for name in names], ("car",), np.ones((len(names), 1), np.int64))


def options_of(data_dir: Path, **chosen: object) -> argparse.Namespace:
    usual = {"group_by": None, "group_by_ground": False, "near_duplicates": False}
    return argparse.Namespace(data_dir=data_dir, **usual | chosen)


def write_tiles(data_dir: Path, *pictures: str) -> list[str]:
    """The names of the tiles, of which the index in the folder knows."""
    tiles = {tile.name: tile for name in pictures for tile in lay_tiles(name, 100, 400, 100, 0)}
    write_index(data_dir / "tiles.json", TileIndex(100, 0, ("car",), dict.fromkeys(pictures, (100, 400)), tiles))
    return list(tiles)


def test_what_one_rule_and_another_join_is_one_group(tmp_path: Path) -> None:
    names = ["cam1_0", "cam1_1", "cam2_0", "cam2_1", "cam3_0"]
    options = options_of(tmp_path, group_by=re.compile(r"^(cam\d)"), group_by_ground=True)
    groups, twins = group_pictures(pictures_of(names), options, np.array([[1, 2]]))
    assert twins is None
    assert len({*groups[:4].tolist()}) == 1
    assert groups[4] != groups[0]


def test_ground_joins_only_where_it_is_asked_for(tmp_path: Path) -> None:
    groups, _ = group_pictures(pictures_of(["a", "b"]), options_of(tmp_path), np.array([[0, 1]]))
    assert groups[0] != groups[1]


@pytest.mark.parametrize("spell", [str, lambda name: name.replace("\u00f6", "o\u0308")])
def test_tiles_of_a_picture_are_one_group_however_their_files_spell_an_umlaut(tmp_path: Path, spell) -> None:
    """Tiles that had been on a Mac were in groups of their own, and so on both sides."""
    names = [spell(name) for name in write_tiles(tmp_path, "H\u00f6he", "b")]
    groups, _ = group_pictures(pictures_of([*names, "no tile"]), options_of(tmp_path), NO_GROUND)
    assert [len({*part}) for part in (groups[:4].tolist(), groups[4:8].tolist(), groups.tolist())] == [1, 1, 3]
    numbers, lists = part_pictures(pictures_of(names), options_of(tmp_path), (0.5, 0.5), np.random.default_rng(0))
    assert numbers.tolist() == [0] * 4 + [1] * 4
    assert sorted(lists.tolist()) == [0] * 4 + [1] * 4


def test_what_cannot_be_parted_by_place_is_told(tmp_path: Path) -> None:
    options, rng = options_of(tmp_path), np.random.default_rng(0)
    with pytest.raises(SettingsError, match=r"--part_pictures: .* holds no tiles.json, and so no tiles"):
        part_pictures(pictures_of(["a"]), options, (0.8, 0.2), rng)
    names = write_tiles(tmp_path, "a")
    with pytest.raises(ListError, match=r"'b' is no tile of tiles.json; remove it, or cut the pictures anew"):
        part_pictures(pictures_of([*names, "b"]), options, (0.8, 0.2), rng)
    with pytest.raises(ListError, match="no picture has enough tiles to be parted; cut smaller ones"):
        part_pictures(pictures_of(names[:1]), options, (0.8, 0.2), rng)


def test_an_expression_that_finds_nothing_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--group_by 'x' finds nothing in any name, such as 'a'"):
        group_pictures(pictures_of(["a", "b"]), options_of(tmp_path, group_by=re.compile("x")), NO_GROUND)
