"""What is found in tiles is scored on the pictures that they were cut from, where these can be had."""

from __future__ import annotations

import numpy as np

from datasets.readers import read_samples
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.tiling import read_index
from tools.data import truths_of
from tools.split_tiles import main as split
from tools.whole_pictures import on_whole_pictures

CLASSES = ("car", "boat")


def test_the_truth_of_the_tiles_becomes_that_of_the_pictures(dota_folder, tmp_path, capsys) -> None:
    pictures, tiles = dota_folder(hw=(150, 190)), tmp_path / "tiles"
    assert on_whole_pictures(pictures, {}, [], CLASSES, 0.3) is None  # no tiles
    assert split([str(pictures), str(tiles), "--size", "96", "--overlap", "48", "--workers", "0"]) == 0
    names = [name for name, tile in read_index(tiles).tiles.items() if tile.picture in ("scene_0", "scene_1")]
    truths = truths_of(read_samples("dota", tiles, names, CLASSES))
    found = {
        name: ImageDetections(truth.quads, np.ones(len(truth.labels)), truth.labels)
        for name, truth in truths.items()
        if not name.startswith("scene_1")  # without an entry: missed, and told so by the evaluation
    }
    whole = on_whole_pictures(tiles, found, names, CLASSES, 0.3)
    assert list(whole.truths) == ["scene_0", "scene_1"]
    assert list(whole.detections) == ["scene_0"]
    expected = whole.truths["scene_0"].quads
    distances = np.abs(whole.detections["scene_0"].quads[:, None] - expected).max(axis=(2, 3))
    assert distances.min(axis=0).max() < 1e-4  # float32
    assert whole.source == f"2 whole pictures of {pictures}, merged from {len(names)} tiles"
    (pictures / "labelTxt").rename(pictures / "gone")
    assert on_whole_pictures(tiles, found, names, CLASSES, 0.3) is None
    assert "scoring the tiles as they are" in capsys.readouterr().err
