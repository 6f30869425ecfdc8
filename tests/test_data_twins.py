"""Near-twins: each told once, with the other picture; those across the lists as what they are, a leak."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools import split_tiles
from tools.data_check.data_folder import lay_out
from tools.data_check.data_twins import find_shared_ground, find_twins
from tools.running.stop_request import StopRequest


@pytest.fixture
def twins(dota_folder) -> Path:
    """b is a brighter copy of a, and d of c; a trains, b validates."""
    data_dir = dota_folder(names=("a", "b", "c", "d", "e"), lists={"train": ["a", "c", "d"], "val": ["b", "e"]})
    images = data_dir / "images"
    rng = np.random.default_rng(0)
    for name in "ace":
        picture = cv2.resize(rng.integers(0, 200, (6, 6, 3), np.uint8), (128, 128), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(images / f"{name}.png"), picture)
    for name, copy in ("ab", "cd"):
        cv2.imwrite(str(images / f"{copy}.png"), cv2.add(cv2.imread(str(images / f"{name}.png")), 8))
    return data_dir


def find(data_dir: Path, unreadable: frozenset[str] = frozenset()):
    return find_twins(lay_out("dota", data_dir), unreadable, 0, StopRequest())


def test_twins_in_a_list_are_a_note_and_across_lists_a_leak(twins):
    told = sorted((item.kind, item.picture, item.other) for item in find(twins))
    assert told == [("near-duplicate", "d", "c"), ("near-duplicate-lists", "b", "a")]


def test_a_leak_is_told_of_the_picture_that_validates(twins):
    (twins / "train.txt").write_text("b\n")
    (twins / "val.txt").write_text("a\n")
    (leak,) = (item for item in find(twins) if item.kind == "near-duplicate-lists")
    assert (leak.picture, leak.other) == ("a", "b")
    assert "b.png, which is trained on" in leak.what


def test_each_twin_of_many_is_told_once(twins):
    for name in ("f", "g", "h"):
        shutil.copy(twins / "images" / "c.png", twins / "images" / f"{name}.png")
    assert sorted(item.picture for item in find(twins)) == ["b", "d", "f", "g", "h"]


def test_the_nearest_twin_is_named_and_a_leak_goes_before_it(twins):
    """g is c with a stripe, f is g again: g is nearer to f than c; in the other list, c is nearer to it than to g."""
    striped = cv2.imread(str(twins / "images" / "c.png"))
    striped[:40] = cv2.add(striped[:40], 25)
    for name in ("f", "g"):
        cv2.imwrite(str(twins / "images" / f"{name}.png"), striped)
    told = {item.picture: (item.kind, item.other) for item in find(twins)}
    assert (told["g"], told["d"]) == (("near-duplicate", "f"), ("near-duplicate", "c"))
    (twins / "val.txt").write_text("b\ng\n")
    told = {item.picture: (item.kind, item.other) for item in find(twins)}
    assert told["g"] == ("near-duplicate-lists", "c")


@pytest.mark.parametrize("folder", ["data", "my: set"])
def test_damaged_pictures_are_told_unless_they_are_known(twins, folder):
    """In a folder with ": " in its name the path was cut there."""
    twins = twins.rename(twins.with_name(folder))
    path = twins / "images" / "e.png"
    path.write_bytes(path.read_bytes()[:200])
    (damaged,) = (item for item in find(twins) if item.kind == "unreadable-picture")
    assert (damaged.picture, damaged.path) == ("e", str(path))
    assert damaged.what == "the file is cut off before its end; copy it again"
    assert not [item for item in find(twins, frozenset("e")) if item.kind == "unreadable-picture"]


def test_tiles_of_two_lists_that_show_the_same_ground_are_found(dota_folder, tmp_path: Path) -> None:
    """Mixed lists of tiles had no finding at all."""
    src, tiles = dota_folder(names=("a",), hw=(150, 150), lists={}), tmp_path / "tiles"
    assert split_tiles.main([str(src), str(tiles), "--size", "96", "--overlap", "32", "--workers", "0"]) == 0
    names = sorted(path.stem for path in (tiles / "images").iterdir())
    (tiles / "train.txt").write_text("\n".join(names[:-1]), encoding="utf-8")
    (tiles / "val.txt").write_text(names[-1], encoding="utf-8")
    (finding,) = find_shared_ground(lay_out("dota", tiles))
    assert (finding.kind, finding.picture) == ("shared-ground", names[-1])
    assert "shows ground that the tile a__1__" in finding.what
