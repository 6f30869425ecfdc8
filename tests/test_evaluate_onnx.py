"""The command that scores an exported file gives what phase eval gives the checkpoint."""

from __future__ import annotations

import json

import pytest

import main as program
from tests.conftest import label_what_is_found
from tools.evaluate_onnx import main
from tools.export_onnx import main as export
from tools.split_tiles import main as split


def _metrics(path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _assert_same_scores(ours: dict, theirs: dict) -> None:
    assert set(ours["classes"]) == set(theirs["classes"]) == {"car", "boat"}
    assert ours["num_truths"] == theirs["num_truths"] > 20
    assert ours["num_detections"] == theirs["num_detections"]
    for name, scores in theirs["classes"].items():
        assert 0.2 < scores["AP50"] < 0.9
        for key in ("AP50", "AP75"):
            assert ours["classes"][name][key] == pytest.approx(scores[key], abs=1e-3)


@pytest.mark.slow
def test_the_scores_are_those_of_the_checkpoint(exported, finding_checkpoint, dota_folder, tmp_path, capsys) -> None:
    names = [f"图 {n}" for n in range(4)]
    data_dir = dota_folder("数据", names=names, lists={"train": names[3:], "val": names[:3]})
    flags = ["--resume", str(finding_checkpoint), "--out", str(tmp_path / "run"), "--num_workers", "0"]
    data, table = ["--data_dir", str(data_dir)], tmp_path / "scores.json"
    assert program.main(["--phase", "test", *flags, *data]) == 0
    label_what_is_found(tmp_path / "run", data_dir)
    capsys.readouterr()
    assert main([str(exported(nms=True)), *data, "--json", str(table)]) == 0
    said = capsys.readouterr().out
    assert "on 3 pictures of" in said
    assert "AP50" in said
    assert program.main(["--phase", "eval", *flags, *data]) == 0
    _assert_same_scores(_metrics(table), _metrics(tmp_path / "run" / "metrics.json"))


def test_an_index_of_another_program_is_warned_of_and_not_used(exported, dota_folder, tmp_path, capsys) -> None:
    data_dir = dota_folder(lists={"train": ["scene_3"], "val": ["scene_0"]})
    (data_dir / "tiles.json").write_text('{"columns": 3}', encoding="utf-8")
    assert main([str(exported(nms=True)), "--data_dir", str(data_dir)]) == 0
    said = capsys.readouterr()
    assert "tiles.json: is not an index of tiles (lacks 'pictures')" in said.err
    assert "on 1 pictures of" in said.out


@pytest.mark.slow
def test_tiles_are_merged_and_scored_on_the_whole_pictures(
    exported, finding_checkpoint, dota_folder, tmp_path, capsys
) -> None:
    pictures = dota_folder(hw=(150, 190), lists={"train": ["scene_3"], "val": ["scene_0", "scene_1", "scene_2"]})
    tiles, table = tmp_path / "tiles", tmp_path / "scores.json"
    assert split([str(pictures), str(tiles), "--size", "96", "--overlap", "48", "--workers", "0"]) == 0
    flags = ["--resume", str(finding_checkpoint), "--out", str(tmp_path / "run"), "--num_workers", "0"]
    whole = ["--input", str(pictures / "images"), "--tile", "96", "--overlap", "48"]
    assert program.main(["--phase", "test", *flags, *whole]) == 0
    label_what_is_found(tmp_path / "run", pictures)
    capsys.readouterr()
    data = ["--data_dir", str(tiles)]
    assert main([str(exported(nms=True)), *data, "--json", str(table)]) == 0
    count = len((tiles / "val.txt").read_text(encoding="utf-8").split())
    said = f"3 whole pictures of {pictures}, merged from {count} tiles of {tiles / 'val.txt'}"
    assert said in capsys.readouterr().out
    assert program.main(["--phase", "eval", *flags, *data]) == 0
    ours, theirs = _metrics(table), _metrics(tmp_path / "run" / "metrics.json")
    assert ours["num_images"] == theirs["num_images"] == 3
    _assert_same_scores(ours, theirs)


def test_data_that_is_not_there_is_one_sentence(exported, tmp_path, capsys) -> None:
    assert main([str(exported(nms=True)), "--data_dir", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no such data folder" in capsys.readouterr().err


@pytest.mark.long
def test_a_network_that_has_learned_scores_alike_in_a_file_on_both_runtimes(dota_folder, tmp_path) -> None:
    names = [f"scene_{n}" for n in range(5)]
    data_dir, run_dir = dota_folder(names=names, lists={"train": names, "val": names[:4]}), tmp_path / "run"
    size = ["--input_h", "128", "--input_w", "128", "--num_workers", "0", "--pretrained", "none"]
    learning = ["--num_epoch", "50", "--batch_size", "5", "--val_every", "50", "--precision", "fp32"]
    assert program.main(["--data_dir", str(data_dir), "--out", str(run_dir), *size, *learning]) == 0
    assert program.main(["--phase", "eval", "--resume", str(run_dir), "--num_workers", "0"]) == 0
    expected = _metrics(run_dir / "metrics.json")["mAP50"]
    assert expected > 0.6
    for number, flags in enumerate((["--nms"], [])):
        model = tmp_path / f"{number}.onnx"
        assert export(["--resume", str(run_dir), "--output", str(model), *flags]) == 0
        for runtime in ("onnxruntime", "openvino"):
            table = tmp_path / f"{number}_{runtime}.json"
            arguments = ["--data_dir", str(data_dir), "--json", str(table), "--runtime", runtime]
            assert main([str(model), *arguments]) == 0
            assert _metrics(table)["mAP50"] == pytest.approx(expected, abs=1e-3)
