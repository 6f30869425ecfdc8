"""Training on what data sets seldom hold: very many classes, very many objects, one picture, none with objects."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import main
from DOTA_devkit.boxes import boxes_to_quads
from tests.short_runs import FIVE, LISTS, NAMES, arguments
from tools.checkpoint import load_file
from tools.training.training_step import TrainingStep


@pytest.mark.slow
@pytest.mark.usefixtures("thin_backbones")
def test_300_classes_train_and_are_scored(dota_folder, tmp_path, monkeypatch):
    """Known defect 10: class numbers in uint8; the two that occur are 298 and 299, which would be 42 and 43."""
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    names = [*(f"class {number}" for number in range(298)), "car", "boat"]
    (data_dir / "classes.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    step, trained = TrainingStep.__call__, set()

    def watched_step(self, images, targets, *rest):
        trained.update((targets.hm == 1).any(dim=(0, 2, 3)).nonzero()[:, 0].tolist())
        return step(self, images, targets, *rest)

    monkeypatch.setattr(TrainingStep, "__call__", watched_step)
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    assert trained == {298, 299}
    content = load_file(run_dir / "best.pth")
    assert content["architecture"]["class_names"] == names
    content["model_state_dict"]["hm.3.bias"][298:] = 3.0  # sees cars and boats everywhere
    torch.save(content, run_dir / "best.pth")
    flags = ("--num_workers", "0", "--conf_thresh", "0.5")
    assert main.main(["--phase", "eval", "--resume", str(run_dir), *flags]) == 0
    filled = {path.name for path in (run_dir / "results").glob("Task1_*.txt") if path.stat().st_size}
    assert filled == {"Task1_car.txt", "Task1_boat.txt"}
    classes = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))["classes"]
    assert classes["car"]["num_truths"] + classes["boat"]["num_truths"] > 0
    assert all(classes[name]["num_detections"] for name in ("car", "boat"))
    assert not any(classes[name]["num_detections"] or classes[name]["num_truths"] for name in names[:298])


@pytest.mark.slow
def test_2000_objects_in_a_tile_train(dota_folder, tmp_path, capsys):
    """Known defect 8: more than 500 in a crop were left out in silence. Many share a cell of the 16 x 16 map."""
    data_dir = dota_folder(lists=LISTS)
    rng = np.random.default_rng(0)
    boxes = np.column_stack((rng.uniform(4, 124, (2000, 2)), rng.uniform(5, 20, (2000, 2)), rng.uniform(0, 3, 2000)))
    quads = boxes_to_quads(boxes, "rolabelimg").reshape(-1, 8)
    lines = [" ".join(f"{value:.2f}" for value in quad) + " car 0\n" for quad in quads]
    (data_dir / "labelTxt" / "scene_0.txt").write_text("".join(lines), encoding="utf-8")
    assert main.main(arguments(data_dir, tmp_path / "run", "--num_epoch", "1")) == 0
    assert load_file(tmp_path / "run" / "last.pth")["progress"]["skipped"] == 0
    objects = capsys.readouterr().out.split("3 pictures to train on, ")[1].split()[0]
    assert int(objects) > 2000


@pytest.mark.slow
@pytest.mark.usefixtures("thin_backbones")
@pytest.mark.parametrize("recipe", ["default", "published"])
def test_one_picture_is_enough(dota_folder, tmp_path, recipe: str):
    data_dir = dota_folder(names=("only", "empty"), lists={"train": ["only"], "val": ["only"]})
    assert main.main(arguments(data_dir, tmp_path / "run", "--recipe", recipe)) == 0
    assert load_file(tmp_path / "run" / "last.pth")["progress"]["num_images"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["default", "published"])
def test_pictures_without_objects_train_without_throwing_the_weights_about(dota_folder, tmp_path, capsys, recipe: str):
    """Known defect 2: the loss of an empty batch was 372."""
    data_dir = dota_folder(names=NAMES, lists=FIVE)
    for path in (data_dir / "labelTxt").iterdir():
        path.write_text("", encoding="utf-8")
    assert main.main(arguments(data_dir, tmp_path / "run", "--recipe", recipe)) == 0
    said = capsys.readouterr()
    assert "warning: no training picture holds an object; the network will learn to see nothing" in said.err
    assert "mAP50 n/a" in said.out
    content = load_file(tmp_path / "run" / "last.pth")
    assert content["progress"]["skipped"] == 0
    assert all(value.isfinite().all() for value in content["model_state_dict"].values())
