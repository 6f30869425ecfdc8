"""Tiles of other programs get the index that those of tools.split_tiles have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import main as program
from DOTA_devkit.tile_index import read_index
from DOTA_devkit.tiling import lay_tiles
from tests.conftest import save_finding_network
from tools import split_tiles
from tools.index_tiles import index_of, main

SIZE = ["--size", "96", "--overlap", "32", "--workers", "0"]


@pytest.fixture
def tiles(dota_folder, tmp_path: Path) -> tuple[Path, Path]:
    """Tiles at two scales, and the whole pictures."""
    whole = dota_folder("whole", names=("a__1__b", "小"), hw=(150, 190), lists={"train": ["小"], "val": ["a__1__b"]})
    assert split_tiles.main([str(whole), str(tmp_path / "tiles"), *SIZE, "--scales", "0.5", "1"]) == 0
    return tmp_path / "tiles", whole


def test_tiles_of_the_devkit_have_the_index_that_ours_have(tiles, tmp_path: Path, capsys) -> None:
    """Their names are the same."""
    folder, whole = tiles
    assert main([str(folder), str(whole), str(tmp_path / "index.json")]) == 0
    assert "14 tiles of 96 px at scale 0.5, 1, of 2 pictures" in capsys.readouterr().out
    found, expected = read_index(tmp_path / "index.json"), read_index(folder)
    assert (found.size, found.source, found.pictures, found.tiles) == (
        expected.size, expected.source, expected.pictures, expected.tiles,
    )  # fmt: skip
    assert found.num_skipped == {}


def test_tiles_of_mmrotate_are_cut_of_the_picture_as_it_is() -> None:
    pictures = {"P1": (700, 1500), "P2": (100, 100)}
    tiles = {f"P1__1024__{x}___0": (1024, 1024) for x in (0, 476)} | {"P2__1024__0___0": (1024, 1024)}
    index, unknown = index_of(tiles, pictures)
    assert (index.size, unknown, index.num_skipped, index.pictures) == (1024, [], {}, pictures)
    assert [(tile.scale, tile.x, tile.y) for tile in index.tiles.values()] == [(1, 0, 0), (1, 476, 0), (1, 0, 0)]


def test_tiles_that_are_not_padded_end_with_their_picture() -> None:
    tiles = {"P__1__0___0": (60, 100), "P__1__50___0": (60, 100), "P__0.5__0___0": (30, 75)}
    index, _ = index_of(tiles, {"P": (60, 150)})
    assert (index.size, index.num_skipped) == (100, {})


@pytest.mark.parametrize("missing", range(9))
def test_a_picture_that_lacks_a_tile_is_noted(missing: int) -> None:
    names = [tile.name for tile in lay_tiles("P", 250, 260, 100, 20)]
    assert len(names) == 9
    del names[missing]
    index, _ = index_of(dict.fromkeys(names, (100, 100)), {"P": (250, 260)})
    assert set(index.num_skipped) == {"P"}


def test_what_is_none_of_the_tiles_is_told(tiles, tmp_path: Path, capsys) -> None:
    folder, whole = tiles
    shutil.copyfile(folder / "images" / "小__1__0___0.png", folder / "images" / "other__1__0___0.png")
    assert main([str(folder), str(whole), str(tmp_path / "index.json")]) == 0
    assert "1 tiles are of none of the pictures, and left out, such as 'other__1__0___0'" in capsys.readouterr().err
    (folder / "images" / "小__1__0___0.png").unlink()
    assert main([str(folder), str(whole), str(tmp_path / "less.json")]) == 0
    assert "1 pictures have not all of their tiles, such as 小; they are not scored whole" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tiles", "sentence"),
    [
        ({"P__x__0___0": (9, 9)}, "none of 1 tiles is called <picture>__<rate or size>__<x>___<y>"),
        ({"Q__1__0___0": (9, 9)}, "such as Q__1__0___0; are these the pictures"),
        ({}, "none of 0 tiles"),
        (
            {"P__100__0___0": (100, 100), "P__200__0___0": (200, 200)},
            "P__100__0___0: is 100 x 100 pixels, and others",
        ),
    ],
)
def test_tiles_that_cannot_be_indexed_are_a_sentence(tiles: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        index_of(tiles, {"P": (500, 500)})


def test_wrong_places_are_one_sentence(tiles, tmp_path: Path, capsys) -> None:
    folder, whole = tiles
    for arguments, code, sentence in (
        ([folder, whole, folder / "tiles.json"], 2, "tiles.json: is there; name another file"),
        ([tmp_path / "no", whole, tmp_path / "x.json"], 1, "no: no such folder"),
        ([folder, folder, tmp_path / "x.json"], 1, "are these the pictures that they were cut from?"),
    ):
        assert main([*map(str, arguments)]) == code
        said = capsys.readouterr().err
        assert sentence in said
        assert said.count("\n") == 1
    assert not (tmp_path / "x.json").exists()


@pytest.mark.slow
def test_by_the_index_an_evaluation_scores_the_whole_pictures(tiles, tmp_path: Path) -> None:
    folder, whole = tiles
    save_finding_network(tmp_path / "run" / "best.pth")
    (tmp_path / "run" / "settings.toml").touch()
    flags = ["--phase", "eval", "--resume", str(tmp_path / "run"), "--data_dir", str(folder), "--num_workers", "0"]
    counts = []
    for _ in range(2):
        assert program.main(flags) == 0
        metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
        counts.append((metrics["num_images"], metrics["num_truths"], metrics["num_detections"]))
        (folder / "tiles.json").unlink()
        assert main([str(folder), str(whole), str(folder / "tiles.json")]) == 0
    assert counts[0] == counts[1]
    assert counts[0][0] == 1
