"""The whole road on drawn data: train, test, eval, in DOTA text and in roLabelImg XML, and it learns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import main
from DOTA_devkit.boxes import quads_to_boxes
from DOTA_devkit.labels import read_labels

BOX_TAGS = ("cx", "cy", "w", "h", "angle")
SMALL = ["--pretrained", "none", "--input_h", "128", "--input_w", "128", "--num_workers", "0", "--precision", "fp32"]


def _metrics(run_dir: Path) -> dict:
    return json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))


def _detections(out: Path) -> list[dict]:
    return json.loads((out / "results" / "detections.json").read_text(encoding="utf-8"))


def _to_rolabelimg(data_dir: Path) -> None:
    """Turn a DOTA folder into one as roLabelImg leaves it: pictures and XML beside one another."""
    for path in (data_dir / "labelTxt").glob("*.txt"):
        labels = read_labels(path)
        objects = "".join(
            f"<object><type>robndbox</type><name>{name}</name><robndbox>"
            + "".join(
                f"<{tag}>{value}</{tag}>" for tag, value in zip(("cx", "cy", "w", "h", "angle"), box, strict=True)
            )
            + "</robndbox></object>\n"
            for name, box in zip(labels.names, quads_to_boxes(labels.quads, "rolabelimg").tolist(), strict=True)
        )
        (data_dir / f"{path.stem}.xml").write_text(f"<annotation>\n{objects}</annotation>\n", encoding="utf-8")
        path.unlink()
    for path in (data_dir / "images").iterdir():
        path.rename(data_dir / path.name)
    (data_dir / "images").rmdir()
    (data_dir / "labelTxt").rmdir()
    (data_dir / "classes.txt").unlink()


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["dota", "rolabelimg"])
def test_train_test_eval_on_a_folder_without_lists_in_a_foreign_script(dota_folder, tmp_path, layout, capsys):
    data_dir, run_dir = dota_folder("数据 1", names=[f"图 {n}" for n in range(5)], suffix=".JPG"), tmp_path / "跑"
    if layout == "rolabelimg":
        _to_rolabelimg(data_dir)
    flags = [*SMALL, "--data_dir", str(data_dir), "--num_epoch", "1", "--batch_size", "2"]
    assert main.main(["--phase", "train", "--backbone", "mobilenetv2", "--out", str(run_dir), *flags]) == 0
    assert main.main(["--phase", "test", "--resume", str(run_dir), "--num_workers", "0"]) == 0
    assert main.main(["--phase", "eval", "--resume", str(run_dir), "--num_workers", "0"]) == 0
    assert "scoring the results" in capsys.readouterr().out
    assert set(_metrics(run_dir)["classes"]) == {"car", "boat"}
    kept = (run_dir / "lists" / "val.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert [path.stem for path in (run_dir / "drawings").iterdir()] == kept


LIGHT = ["--backbone", "mobilenetv2", "--neck", "fpn", "--neck_width", "16", "--head_width", "16"]


@pytest.mark.slow
def test_a_network_learns_a_handful_of_scenes_by_heart(dota_folder, tmp_path):
    names = [f"scene_{n}" for n in range(5)]
    data_dir = dota_folder(names=names, lists={"train": names, "val": names[:4]})
    run_dir = tmp_path / "run"
    flags = [*SMALL, "--data_dir", str(data_dir), "--num_epoch", "50", "--batch_size", "5", "--val_every", "50"]
    assert main.main(["--phase", "train", "--out", str(run_dir), *flags]) == 0
    assert main.main(["--phase", "eval", "--resume", str(run_dir), "--num_workers", "0"]) == 0
    assert _metrics(run_dir)["mAP50"] > 0.6


@pytest.mark.long
def test_an_epoch_on_real_pictures(real_folder, tmp_path):
    """Ten steps' worth of HIT-UAV, read as roLabelImg leaves it, DontCare included."""
    source, data_dir = real_folder("hit-uav"), tmp_path / "hit-uav"
    data_dir.mkdir()
    for name in ("images", "xml"):
        (data_dir / name).symlink_to(source / name)
    for name, count in (("train", 40), ("val", 20)):
        lines = (source / f"{name}.txt").read_text().splitlines()[:count]
        (data_dir / f"{name}.txt").write_text("\n".join(lines) + "\n")
    run_dir = tmp_path / "run"
    flags = [
        "--data_dir",
        str(data_dir),
        "--num_epoch",
        "1",
        "--input_h",
        "256",
        "--input_w",
        "320",
        "--batch_size",
        "4",
    ]
    assert main.main(["--out", str(run_dir), "--pretrained", "none", *flags]) == 0
    assert main.main(["--phase", "eval", "--resume", str(run_dir)]) == 0
    assert _metrics(run_dir)["num_truths"] > 50
    assert len(list((run_dir / "drawings").iterdir())) == 20
