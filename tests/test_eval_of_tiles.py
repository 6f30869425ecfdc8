"""Phase eval on tiles: what is merged and scored on the whole pictures, and whose the merged results are."""

from __future__ import annotations

import json

import pytest
import torch

import main
from models import IMAGENET
from tests.conftest import save_finding_network
from tests.test_eval import LISTS, write_truth_as_results
from tools import convert_labels, merge_results, split_tiles
from tools.architecture import Architecture
from tools.checkpoint import save_checkpoint
from tools.config import settings_dict
from tools.running.folder_lock import locked
from tools.setting_flags import parse_settings


@pytest.mark.slow
def test_tiles_are_merged_and_scored_on_the_whole_pictures(thin_backbones, dota_folder, tmp_path, capsys):
    """A data folder with an index of tiles; the truth, fed back in tiles, scores 1 on the pictures."""
    whole, tiles, run_dir = dota_folder("whole", hw=(150, 190), lists=LISTS), tmp_path / "tiles", tmp_path / "run"
    assert split_tiles.main([str(whole), str(tiles), "--size", "96", "--overlap", "48", "--workers", "0"]) == 0
    torch.manual_seed(0)
    run_dir.mkdir()
    architecture = Architecture("resnet18", "none", ("car", "boat"), (64, 64), IMAGENET)
    config = parse_settings(["--data_dir", str(tiles)])
    save_checkpoint(run_dir / "best.pth", architecture.build(), architecture, settings=settings_dict(config))
    (run_dir / "settings.toml").touch()
    flags = ["--phase", "eval", "--resume", str(run_dir), "--num_workers", "0"]
    assert main.main(flags) == 0
    names = (tiles / "val.txt").read_text(encoding="utf-8").split("\n")[:-1]
    write_truth_as_results(run_dir, tiles, names)
    assert main.main(flags) == 0
    assert "3 whole pictures" in capsys.readouterr().out
    metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["num_images"], metrics["mAP50"]) == (3, 1.0)
    written = {"Task1_car.txt", "Task1_boat.txt", "detections.json", "origin.json"}
    assert {path.name for path in (run_dir / "merged").iterdir()} == written
    back = [
        str(run_dir),
        str(tmp_path / "labels"),
        "--from",
        "detections",
        "--to",
        "dota",
        "--copy_images",
        "--min_score",
        "0",
    ]
    assert convert_labels.main(back) == 0
    assert sorted(path.stem for path in (tmp_path / "labels" / "images").iterdir()) == [*LISTS["val"]]
    tile = tiles / "images" / f"{names[0]}.png"
    pixels = tile.read_bytes()
    tile.write_bytes(b"damaged")  # of one whose picture has others
    assert main.main([*flags, "--on_bad_label", "skip"]) == 1
    tile.write_bytes(pixels)
    (whole / "labelTxt").rename(whole / "gone")
    assert main.main(flags) == 0
    assert "scoring the tiles as they are" in capsys.readouterr().err
    assert not (run_dir / "merged").exists(), "it is of another evaluation"


@pytest.mark.slow
def test_what_is_merged_and_scored_of_a_class_does_not_hang_on_the_others_that_are_asked_for(
    dota_folder, tmp_path, monkeypatch
):
    """With --agnostic_nms others no longer suppressed its boxes over tiles, where it alone was asked for."""
    whole, tiles, run_dir = dota_folder("whole", hw=(150, 190), lists=LISTS), tmp_path / "tiles", tmp_path / "run"
    assert split_tiles.main([str(whole), str(tiles), "--size", "96", "--overlap", "48", "--workers", "0"]) == 0
    save_finding_network(run_dir / "best.pth")
    (run_dir / "settings.toml").touch()
    flags = ["--phase", "eval", "--resume", str(run_dir), "--data_dir", str(tiles), "--num_workers", "0"]
    counts = {}
    for more in ([], ["--classes", "boat"]):
        for out in ("a", f"b{len(more)}"):  # by results that are there, and by new ones
            assert main.main([*flags, "--agnostic_nms", "--out", str(tmp_path / out), *more]) == 0
            metrics = json.loads((tmp_path / out / "metrics.json").read_text(encoding="utf-8"))
            counts[(*more, out)] = metrics["classes"]["boat"]
            assert list(metrics["classes"]) == (["boat"] if more else ["car", "boat"])
    assert len({json.dumps(values) for values in counts.values()}) == 1, counts
    assert counts["a",]["num_detections"] > 0


@pytest.mark.slow
def test_merged_results_are_those_of_whoever_wrote_last(dota_folder, tmp_path, capsys):
    """Those of an earlier evaluation were handed on, by one way or another."""
    whole, tiles, run_dir = dota_folder("whole", hw=(150, 190), lists=LISTS), tmp_path / "tiles", tmp_path / "run"
    assert split_tiles.main([str(whole), str(tiles), "--size", "96", "--overlap", "48", "--workers", "0"]) == 0
    save_finding_network(run_dir / "best.pth")
    (run_dir / "settings.toml").touch()
    flags = ["--phase", "eval", "--resume", str(run_dir), "--data_dir", str(tiles), "--num_workers", "0"]
    by_hand = [str(run_dir / "results"), str(run_dir / "merged"), "--index", str(tiles), "--workers", "0"]
    test = ["--phase", "test", "--resume", str(run_dir), "--input", str(whole / "images"), "--num_workers", "0"]
    assert main.main(flags) == 0
    assert merge_results.main(by_hand) == 0
    names = {path.name for path in (run_dir / "merged").iterdir()}
    assert names == {"Task1_car.txt", "Task1_boat.txt", ".merge_results.json"}
    for kind, taken in (("task1", "3 pictures"), ("detections", "27 pictures")):
        capsys.readouterr()
        labels = [str(run_dir), str(tmp_path / kind), "--from", kind, "--to", "dota", "--min_score", "0"]
        assert convert_labels.main(labels) == 0
        said = capsys.readouterr()
        assert taken in said.out
        assert ("perhaps of tiles, are taken; those in" in said.err) == (kind == "detections")
    assert main.main(flags) == 0
    assert not (run_dir / "merged" / ".merge_results.json").exists()
    with locked(run_dir / "results"):
        assert main.main(test) == 2
    assert "another process is writing results" in capsys.readouterr().err
    assert (run_dir / "merged" / "origin.json").is_file(), "a command that is refused changes nothing"
    assert main.main(test) == 0
    assert not (run_dir / "merged").exists()
