"""The index of tiles: what is written is read back, and what is no index is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DOTA_devkit.tile_index import TileIndex, read_index, write_index
from DOTA_devkit.tiling import (
    Tile,
    lay_tiles,
    tile_name,
)

NAMES = ("P0706", "my__image", "my", "a b", "v1.2.final", "港口 图", "P1__1__0___0", 'quo"te', "back\\slash")


def example_index() -> TileIndex:
    pictures = {name: (700, 650 + number) for number, name in enumerate(NAMES)}
    tiles = [tile for name, hw in pictures.items() for tile in lay_tiles(name, *hw, 600, 100, (0.5, 1.0))]
    tiles = {tile.name: tile for tile in tiles if tile.name != "my__0.5__0___0"}
    return TileIndex(600, 100, ("ship", "large vehicle", "船"), pictures, tiles, "/data/some where", {"my": 1})


def test_the_index_survives_any_name(tmp_path):
    """Defect 22: names were taken apart at double underscores, and names with blanks crashed."""
    index = example_index()
    write_index(tmp_path / "tiles.json", index)
    assert read_index(tmp_path / "tiles.json") == index
    assert read_index(tmp_path) == index


def test_the_index_tells_the_range_of_values_if_there_is_one(tmp_path):
    write_index(tmp_path / "tiles.json", example_index())
    assert "value_range" not in json.loads((tmp_path / "tiles.json").read_text(encoding="utf-8"))
    index = replace(example_index(), value_range=(-20.0, 60.5))
    write_index(tmp_path / "tiles.json", index)
    assert read_index(tmp_path) == index


def test_an_index_of_nothing_is_read_back(tmp_path):
    index = TileIndex(600, 100, (), {}, {}, "")
    write_index(tmp_path / "tiles.json", index)
    assert read_index(tmp_path) == index


def test_the_index_is_json_that_others_can_read(tmp_path):
    write_index(tmp_path / "tiles.json", example_index())
    content = json.loads((tmp_path / "tiles.json").read_text(encoding="utf-8"))
    assert content["tiles"]["my__image__0.5__0___0"] == {"picture": "my__image", "scale": 0.5, "x": 0, "y": 0}


def test_an_index_of_an_earlier_version_is_read_and_its_skipped_tiles_are_counted(tmp_path):
    """It does not tell of them, but the grid does."""
    index = example_index()
    write_index(tmp_path / "tiles.json", index)
    content = json.loads((tmp_path / "tiles.json").read_text(encoding="utf-8"))
    assert content["pictures"]["my"] == {"height": 700, "width": 652, "skipped": 1}
    for row in content["pictures"].values():
        del row["skipped"]
    (tmp_path / "tiles.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_index(tmp_path) == index


@settings(deadline=None, max_examples=50)
@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), scale=st.floats(1e-3, 16))
def test_names_and_scales_are_read_back_exactly(tmp_path_factory, name, scale):
    path = tmp_path_factory.mktemp("index") / "tiles.json"
    tile = Tile(tile_name(name, scale, 3, 4), name, scale, 3, 4)
    index = TileIndex(60, 10, (), {name: (70, 80)}, {tile.name: tile})
    write_index(path, index)
    assert read_index(path) == index


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is not an index of tiles"),
        ("[1]", "is not an index of tiles"),
        ('{"size": 600}', "lacks 'pictures'"),
        (
            '{"size":6,"overlap":1,"classes":[],"pictures":{},"tiles":{"t":{"picture":"p","scale":1,"x":0,"y":0}}}',
            "'p'",
        ),
        (
            '{"size":6,"overlap":1,"classes":[],"pictures":{"p":{"height":1,"width":2}},'
            '"tiles":{"t":{"picture":"p","scale":0,"x":0,"y":0}}}',
            "tile 't' has scale 0",
        ),
        (
            '{"size":6,"overlap":1,"classes":[],"pictures":{},"tiles":{},"value_range":[2,1]}',
            "value_range is",
        ),
        ('{"size":Infinity,"overlap":1,"classes":[],"pictures":{},"tiles":{}}', "is not an index of tiles"),
        (
            '{"size":6,"overlap":1,"classes":["\\ud800"],"pictures":{},"tiles":{}}',
            r"the name '.ud800' cannot be written",
        ),
        ('{"size":6,"overlap":6,"classes":[],"pictures":{},"tiles":{}}', "the overlap must lie within"),
    ],
)
def test_a_file_that_is_no_index_is_refused_with_its_name(tmp_path, text, what):
    path = tmp_path / "tiles.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=what) as caught:
        read_index(path)
    assert str(path) in str(caught.value)


def test_a_picture_of_impossible_size_in_an_index_takes_no_memory(tmp_path):
    """Its tiles were laid out to be counted: damaged numbers asked for more memory than there is."""
    path = tmp_path / "tiles.json"
    tile = '"tiles":{"t":{"picture":"p","scale":1,"x":0,"y":0}}'
    side = 10**15
    path.write_text(
        f'{{"size":10,"overlap":0,"classes":[],"pictures":{{"p":{{"height":{side},"width":{side}}}}},{tile}}}'
    )
    assert read_index(path).num_skipped == {"p": 10**28 - 1}


def test_a_missing_index_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tiles\.json: no such index of tiles"):
        read_index(tmp_path)
