"""What is found in tiles is scored on the pictures that they were cut from, where these can be had."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.readers import read_samples
from DOTA_devkit.labels import LabelError
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.tile_index import INDEX_NAME, read_index
from tools.config import Config
from tools.data import truths_of
from tools.detection.whole_pictures import whole_pictures_of
from tools.split_tiles import main as split

CLASSES = ("car", "boat")


def test_the_truth_of_the_tiles_becomes_that_of_the_pictures(dota_folder, tmp_path, capsys) -> None:
    pictures, tiles = dota_folder(hw=(150, 190)), tmp_path / "tiles"
    assert whole_pictures_of(pictures, [], CLASSES, Config()) is None  # no tiles
    assert split([str(pictures), str(tiles), "--size", "96", "--overlap", "48", "--workers", "0"]) == 0
    names = [name for name, tile in read_index(tiles).tiles.items() if tile.picture in ("scene_0", "scene_1")]
    truths = truths_of(read_samples("dota", tiles, names, CLASSES))
    found = {
        name: ImageDetections(truth.quads, np.ones(len(truth.labels)), truth.labels)
        for name, truth in truths.items()
        if not name.startswith("scene_1")  # without an entry: missed, and told so by the evaluation
    }
    whole = whole_pictures_of(tiles, names, CLASSES, Config())
    assert list(whole.truths) == ["scene_0", "scene_1"]
    merged = whole.merged(found, 0.3)
    assert list(merged) == ["scene_0"]
    expected = whole.truths["scene_0"].quads
    distances = np.abs(merged["scene_0"].quads[:, None] - expected).max(axis=(2, 3))
    assert distances.min(axis=0).max() < 1e-4  # float32
    assert whole.source == f"2 whole pictures of {pictures}, merged from {len(names)} tiles"
    (pictures / "labelTxt").rename(pictures / "gone")
    assert whole_pictures_of(tiles, names, CLASSES, Config()) is None
    assert "scoring the tiles as they are" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{}", '[{"tiles": 3}]', '{"tiles": {}, "pictures": {}}', "\xff"])
def test_an_index_that_is_damaged_or_of_another_program_is_warned_of_and_not_used(tmp_path, capsys, text) -> None:
    (tmp_path / INDEX_NAME).write_text(text, encoding="latin-1")
    assert whole_pictures_of(tmp_path, ["a"], CLASSES, Config()) is None
    said = capsys.readouterr().err
    assert f"{tmp_path / INDEX_NAME}: is not an index of tiles" in said
    assert "; scoring the pictures of the folder as they are" in said
    (tmp_path / INDEX_NAME).unlink()
    (tmp_path / INDEX_NAME).mkdir()
    assert whole_pictures_of(tmp_path, ["a"], CLASSES, Config()) is None
    assert capsys.readouterr().err == ""


def split_three(dota_folder, tmp_path):
    pictures, tiles = dota_folder(hw=(150, 190)), tmp_path / "tiles"
    assert split([str(pictures), str(tiles), "--size", "96", "--overlap", "48", "--workers", "0"]) == 0
    return pictures, tiles, list(read_index(tiles).tiles)


def test_a_list_that_holds_a_part_of_a_picture_is_scored_tile_by_tile(dota_folder, tmp_path, capsys) -> None:
    """Objects in the other tiles would count as missed. Known defect 17."""
    _, tiles, names = split_three(dota_folder, tmp_path)
    assert whole_pictures_of(tiles, names, CLASSES, Config()) is not None
    assert whole_pictures_of(tiles, names[::2], CLASSES, Config()) is None
    assert "pictures have tiles that are not listed, such as scene_0; scoring the tiles as" in capsys.readouterr().err
    assert whole_pictures_of(tiles, [*names, "other"], CLASSES, Config()) is None
    assert "1 of the listed pictures are no tiles of tiles.json, such as other" in capsys.readouterr().err


def test_pictures_whose_empty_tiles_were_skipped_are_scored_tile_by_tile(dota_folder, tmp_path, capsys) -> None:
    """False alarms there are nowhere, and the AP of the whole pictures was too high."""
    pictures = dota_folder(names=["a", "b", "c"], hw=(200, 400), lists={"train": ["a", "c"], "val": ["b"]})
    (pictures / "labelTxt" / "a.txt").write_text("10 10 30 10 30 20 10 20 car 0\n", encoding="utf-8")
    tiles = tmp_path / "tiles"
    flags = ["--size", "96", "--overlap", "16", "--workers", "0", "--skip_empty", "1"]
    assert split([str(pictures), str(tiles), *flags]) == 0
    index = read_index(tiles)
    by_list = {kind: (tiles / f"{kind}.txt").read_text(encoding="utf-8").split("\n")[:-1] for kind in ("train", "val")}
    assert whole_pictures_of(tiles, by_list["val"], CLASSES, Config()) is not None  # never skipped
    assert index.num_skipped == {"a": 3 * 5 - len(by_list["train"]), "c": 3 * 5}
    capsys.readouterr()
    assert whole_pictures_of(tiles, by_list["train"], CLASSES, Config()) is None
    said = capsys.readouterr().err
    assert "1 of 1 pictures lack the empty tiles that tools.split_tiles --skip_empty left out, such as a; " in said
    assert "cut the pictures again without it" in said


def test_whole_pictures_that_are_gone_leave_the_tiles(dota_folder, tmp_path, capsys) -> None:
    pictures, tiles, names = split_three(dota_folder, tmp_path)
    (pictures / "images" / "scene_1.png").unlink()
    assert whole_pictures_of(tiles, names, CLASSES, Config()) is None
    assert "1 of the whole pictures are gone from" in capsys.readouterr().err
    (pictures / "images").rename(pictures / "gone")
    assert whole_pictures_of(tiles, names, CLASSES, Config()) is None
    assert "the whole pictures are gone (" in capsys.readouterr().err


def test_bad_labels_of_whole_pictures_are_left_out_where_asked(dota_folder, tmp_path, capsys) -> None:
    pictures, tiles, names = split_three(dota_folder, tmp_path)
    with (pictures / "labelTxt" / "scene_0.txt").open("a", encoding="utf-8") as file:
        file.write("1 2 3 car 0\n")
    with pytest.raises(LabelError, match=r"scene_0\.txt"):
        whole_pictures_of(tiles, names, CLASSES, Config())
    assert whole_pictures_of(tiles, names, CLASSES, Config(on_bad_label="skip")) is not None
    assert "1 bad labels of whole pictures left out" in capsys.readouterr().err
