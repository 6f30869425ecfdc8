"""Phase eval: scores, files, and results that are used again only when they are the right ones."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil

import cv2
import numpy as np
import pytest
import torch

import main
from DOTA_devkit.evaluation import evaluate
from DOTA_devkit.labels import read_labels
from DOTA_devkit.metrics import metrics_dict
from DOTA_devkit.truths import ImageTruth
from models import IMAGENET
from tools import eval as evaluation
from tools import show_results, split_tiles
from tools.architecture import Architecture
from tools.checkpoint import save_checkpoint
from tools.config import settings_dict
from tools.setting_flags import parse_settings

LISTS = {"train": ("scene_0",), "val": ("scene_1", "scene_2", "scene_3"), "few": ("scene_1",)}


@pytest.fixture
def evaluated(thin_backbones, dota_folder, tmp_path, capsys):
    """A run folder and a data folder, evaluated once: (run folder, flags, data folder). Defect 16: no AP printed."""
    torch.manual_seed(0)
    run_dir, data_dir = tmp_path / "run", dota_folder(lists=LISTS)
    architecture = Architecture("resnet18", "none", ("car", "boat"), (64, 64), IMAGENET)
    run_dir.mkdir()
    config = parse_settings(["--data_dir", str(data_dir)])
    save_checkpoint(run_dir / "best.pth", architecture.build(), architecture, settings=settings_dict(config))
    (run_dir / "settings.toml").touch()
    flags = ["--phase", "eval", "--resume", str(run_dir), "--num_workers", "0"]
    assert main.main(flags) == 0
    said = capsys.readouterr().out
    assert "running the detector" in said
    assert re.search(r"class +truths +detections +AP50 +AP75", said)
    return run_dir, flags, data_dir


def write_truth_as_results(run_dir, data_dir, names) -> None:
    """Replace the boxes of the results by those of the labels."""
    lines = {"car": [], "boat": []}
    for name in names:
        labels = read_labels(data_dir / "labelTxt" / f"{name}.txt")
        for quad, label in zip(labels.quads, labels.names, strict=True):
            lines[label].append(f"{name} 0.9 " + " ".join(map(str, quad.ravel())) + "\n")
    for label, text in lines.items():
        (run_dir / "results" / f"Task1_{label}.txt").write_text("".join(text), encoding="utf-8")


def test_the_files_of_an_evaluation(evaluated):
    run_dir, _, _ = evaluated
    metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    assert {"mAP50", "mAP75", "mAP50_95", "classes"} <= set(metrics)
    assert {"AP50", "AP75", "AP50_95", "precision", "recall"} <= set(metrics["classes"]["car"])
    assert metrics["results"] | {"checkpoint": str(run_dir / "best.pth"), "num_views": 1} == metrics["results"]
    assert metrics["results"]["images"] == len(LISTS["val"])
    with (run_dir / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["car", "boat"]
    curves = cv2.imread(str(run_dir / "pr_curves.png"))
    assert curves is not None
    assert curves.std() > 1


def test_the_command_that_shows_the_results_is_told_and_works(evaluated, capsys, tmp_path):
    _, flags, _ = evaluated
    assert main.main(flags) == 0
    command = re.search(r"in a browser: python -m tools\.show_results (.*)", capsys.readouterr().out)[1]
    assert show_results.main(shlex.split(command.replace("NEW_FOLDER", str(tmp_path / "page")))) == 0
    assert (tmp_path / "page" / "results.html").is_file()


def test_results_of_this_checkpoint_and_split_are_used_again(evaluated, capsys):
    run_dir, flags, data_dir = evaluated
    write_truth_as_results(run_dir, data_dir, LISTS["val"])
    assert main.main(flags) == 0
    assert "scoring the results" in capsys.readouterr().out
    metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["mAP50"] == metrics["mAP50_95"] == 1.0


@pytest.mark.slow
def test_intervals_of_ap50_when_asked_for(evaluated, capsys):
    """The cars of one picture of two are found, and the only boat: the table, the JSON and the CSV tell how sure."""
    run_dir, flags, data_dir = evaluated
    car, boat = ("5 5 25 5 25 15 5 15 car 0\n", "50 50 80 50 80 60 50 60 boat 0\n")
    for name, text in zip(LISTS["val"], (car + boat, "", car), strict=True):
        (data_dir / "labelTxt" / f"{name}.txt").write_text(text, encoding="utf-8")
    write_truth_as_results(run_dir, data_dir, LISTS["val"][:1])
    assert main.main([*flags, "--bootstrap", "200"]) == 0
    assert "AP50 95 %" in capsys.readouterr().out
    metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["classes"]["car"]["AP50_interval"] == [0.0, 1.0]
    assert metrics["classes"]["boat"]["AP50_interval"] is None  # in one picture alone
    assert metrics["mAP50_interval"] == [0.0, 1.0]
    assert (metrics["bootstrap"], metrics["seed"]) == (200, 0)
    with (run_dir / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert [float(rows["car"][end]) for end in ("AP50_low", "AP50_high")] == [0.0, 1.0]
    assert main.main(flags) == 0
    assert "AP50_low" not in (run_dir / "metrics.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(("flags_more", "ap50"), [([], 1.0), (["--ignore_overlap", "1"], 0.5)])
def test_difficult_objects_and_false_alarms_in_ignore_regions_do_not_count(evaluated, flags_more, ap50):
    """A car that is found; one flagged difficult that is missed; the best score of all is a false alarm in DontCare."""
    run_dir, flags, data_dir = evaluated
    lines = ("5 5 25 5 25 15 5 15 car 0\n", "50 5 70 5 70 15 50 15 car 1\n", "50 50 99 50 99 99 50 99 DontCare 0\n")
    for name, text in zip(LISTS["val"], ("".join(lines), "", ""), strict=True):
        (data_dir / "labelTxt" / f"{name}.txt").write_text(text, encoding="utf-8")
    found = "scene_1 0.5 5 5 25 5 25 15 5 15\nscene_1 0.9 60 60 80 60 80 70 60 70\n"
    (run_dir / "results" / "Task1_car.txt").write_text(found, encoding="utf-8")
    (run_dir / "results" / "Task1_boat.txt").write_text("", encoding="utf-8")
    assert main.main([*flags, *flags_more]) == 0
    metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["classes"]["car"]["AP50"] == ap50
    assert (metrics["num_truths"], metrics["num_difficult"]) == (1, 1)


@pytest.mark.parametrize("change", [["--split", "few"], ["--nms_thresh", "0.5"], ["--quads"], ["--K", "7"]])
def test_results_of_another_split_or_setting_are_not(evaluated, capsys, change):
    _, flags, _ = evaluated
    assert main.main([*flags, *change]) == 0
    assert "running the detector" in capsys.readouterr().out


@pytest.mark.slow
def test_results_of_other_pictures_of_the_same_names_are_not(evaluated, capsys, tmp_path):
    _, flags, data_dir = evaluated
    lists = ["--lists", str(data_dir)]
    assert main.main([*flags, *lists]) == 0
    assert main.main([*flags, *lists]) == 0
    assert capsys.readouterr().out.count("running the detector") == 0
    foggy = shutil.copytree(data_dir, tmp_path / "foggy")
    assert main.main([*flags, *lists, "--data_dir", str(foggy)]) == 0
    assert "running the detector" in capsys.readouterr().out
    picture = foggy / "images" / "scene_2.png"
    assert cv2.imwrite(str(picture), 255 - cv2.imread(str(picture)))
    assert main.main([*flags, *lists, "--data_dir", str(foggy)]) == 0
    assert "running the detector" in capsys.readouterr().out


def test_results_of_another_checkpoint_are_not(evaluated, capsys):
    run_dir, flags, _ = evaluated
    architecture = Architecture("resnet18", "none", ("car", "boat"), (64, 64), IMAGENET)
    save_checkpoint(run_dir / "best.pth", architecture.build(), architecture)
    assert main.main([*flags, "--data_dir", str(evaluated[2])]) == 0
    assert "running the detector" in capsys.readouterr().out


def test_pictures_without_results_are_warned_of(evaluated, capsys):
    """Defect 17: a result set that covered only part of the pictures scored low without a word."""
    run_dir, flags, data_dir = evaluated
    origin = json.loads((run_dir / "results" / "origin.json").read_text(encoding="utf-8"))
    (data_dir / "images" / "scene_1.png").write_bytes(b"damaged")
    (run_dir / "results" / "origin.json").unlink()
    assert origin["images"] == list(LISTS["val"])
    assert main.main([*flags, "--on_bad_label", "skip"]) == 1
    assert "1 of the 3 listed pictures have no results, such as 'scene_1'" in capsys.readouterr().err


def test_classes_without_truth_are_not_counted(evaluated, capsys):
    """Defect 24: a class without ground truth counted as 0 in the mean."""
    run_dir, flags, data_dir = evaluated
    for name in LISTS["val"]:
        path = data_dir / "labelTxt" / f"{name}.txt"
        path.write_text("".join(line for line in path.read_text().splitlines(True) if "boat" not in line))
    write_truth_as_results(run_dir, data_dir, LISTS["val"])
    assert main.main(flags) == 0
    assert "n/a" in capsys.readouterr().out
    metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["classes"]["boat"]["AP50"] is None
    assert metrics["mAP50"] == 1.0


def test_many_classes_and_none_with_truth_still_draw(tmp_path):
    scored = evaluate({}, {}, [f"class {number}" for number in range(20)])
    metrics = metrics_dict(scored)
    evaluation.write_evaluation(tmp_path, scored, metrics)
    assert (tmp_path / "pr_curves.png").stat().st_size > 1000
    assert np.isnan(metrics["mAP50"]) if metrics["mAP50"] is not None else True


@pytest.mark.slow
def test_an_index_of_another_program_is_told_before_the_detector_runs(evaluated, capsys):
    """It ended the evaluation after the detector had run."""
    run_dir, flags, data_dir = evaluated
    (data_dir / "tiles.json").write_text('{"columns": 3}', encoding="utf-8")
    (run_dir / "results" / "origin.json").unlink()
    (run_dir / "metrics.json").unlink()
    assert main.main(flags) == 0
    said = capsys.readouterr()
    assert "tiles.json: is not an index of tiles (lacks 'pictures')" in said.err
    assert (run_dir / "metrics.json").is_file()
    (data_dir / "images" / "scene_1.png").write_bytes(b"damaged")
    assert main.main(flags) == 1
    assert "is not an index of tiles" in capsys.readouterr().err  # though the detector was stopped


def test_a_slip_of_the_pen_is_no_other_class_where_some_are_asked_for(evaluated, capsys):
    """Labels called `boot` were background for --classes boat, and the boats false alarms."""
    _, flags, data_dir = evaluated
    (data_dir / "classes.txt").unlink()
    label = data_dir / "labelTxt" / "scene_1.txt"
    label.write_text("1 1 30 1 30 20 1 20 boot 0\n1 1 30 1 30 20 1 20 zebra 0\n", encoding="utf-8")
    assert main.main([*flags, "--classes", "boat"]) == 1
    assert "scene_1.txt:1: class 'boot' is none that the network knows" in capsys.readouterr().err
    label.write_text("1 1 30 1 30 20 1 20 boat 0\n1 1 30 1 30 20 1 20 zebra 0\n", encoding="utf-8")
    assert main.main([*flags, "--classes", "boat"]) == 0
    assert "1 zebra" in capsys.readouterr().out


@pytest.mark.slow
def test_some_of_the_classes_can_be_scored_by_the_results_of_all(evaluated, capsys):
    run_dir, flags, data_dir = evaluated
    write_truth_as_results(run_dir, data_dir, LISTS["val"])
    assert main.main(flags) == 0
    whole = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    assert main.main([*flags, "--classes", "boat"]) == 0
    assert "scoring the results" in capsys.readouterr().out
    metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["classes"] == {"boat": whole["classes"]["boat"]}
    assert metrics["classes"]["boat"]["num_truths"] > 0
    assert (run_dir / "results" / "Task1_car.txt").stat().st_size > 0


def test_results_with_a_file_missing_are_made_again(evaluated, capsys):
    run_dir, flags, _ = evaluated
    (run_dir / "results" / "Task1_car.txt").unlink()
    assert main.main(flags) == 0
    assert "running the detector" in capsys.readouterr().out


def test_class_names_that_look_like_formulas_are_drawn_as_they_are(tmp_path):
    quads = np.array([[[0, 0], [9, 0], [9, 9], [0, 9]]] * 2)
    truth = {"a": ImageTruth(quads, np.array([0, 1]), np.zeros(2, int))}
    scored = evaluate({}, truth, ["$\\frac$", "_hidden"])
    evaluation.write_evaluation(tmp_path, scored, metrics_dict(scored))
    assert (tmp_path / "pr_curves.png").exists()


def test_results_of_phase_test_are_used_also_where_a_label_file_cannot_be_read(evaluated, capsys):
    _, flags, data_dir = evaluated
    (data_dir / "labelTxt" / "scene_2.txt").write_bytes(b"\xff\xfe nonsense")
    assert main.main([*flags, "--on_bad_label", "skip"]) == 0
    said = capsys.readouterr()
    assert "scoring the results" in said.out
    assert "running the detector" not in said.out


@pytest.mark.slow
@pytest.mark.usefixtures("thin_backbones")
@pytest.mark.parametrize("tiled", [False, True])
def test_a_network_of_chosen_classes_is_scored_on_these(dota_folder, tmp_path, capsys, tiled):
    """Objects of the others are neither trained on, nor scored, nor unknown; also on whole pictures behind tiles."""
    data_dir = dota_folder(lists={"train": ("scene_0", "scene_1"), "val": ("scene_1", "scene_2")})
    num_boats = sum(
        (data_dir / "labelTxt" / f"{name}.txt").read_text().count("boat") for name in ("scene_1", "scene_2")
    )
    if tiled:
        command = [str(data_dir), str(tmp_path / "tiles"), "--size", "96", "--overlap", "32", "--workers", "0"]
        assert split_tiles.main(command) == 0
        data_dir = tmp_path / "tiles"
    run_dir = tmp_path / "run"
    flags = ["--data_dir", str(data_dir), "--out", str(run_dir), "--classes", "boat", "--input_h", "64"]
    flags += ["--input_w", "64", "--num_workers", "0", "--tensorboard", "off", "--pretrained", "none"]
    assert main.main([*flags, "--num_epoch", "2", "--val_every", "2"]) == 0
    assert "classes: boat; objects of others are background" in capsys.readouterr().out
    assert (run_dir / "classes.txt").read_text() == "boat\n"
    assert main.main(["--phase", "eval", "--resume", str(run_dir), "--num_workers", "0"]) == 0
    metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
    assert list(metrics["classes"]) == ["boat"]
    assert metrics["num_truths"] == num_boats > 0
    assert main.main(["--phase", "eval", "--resume", str(run_dir), "--classes", "car"]) == 2
    assert f"--classes car: the network of {run_dir / 'best.pth'} has boat" in capsys.readouterr().err
    assert main.main(["--resume_train", str(run_dir), "--classes", "car"]) == 2
    assert "--classes ('car',) differs from the run in" in capsys.readouterr().err
    assert main.main(["--resume_train", str(run_dir)]) == 0
    assert "nothing left to do: the run has had its 2 epochs; for more give --num_epoch" in capsys.readouterr().out
    assert main.main(["--resume_train", str(run_dir), "--num_epoch", "3", "--num_workers", "0"]) == 0


def test_a_network_of_fewer_classes_is_scored_on_data_of_more_when_asked(evaluated, tmp_path, capsys):
    _, flags, data_dir = evaluated
    (data_dir / "classes.txt").write_text("car\nboat\ntrain\n", encoding="utf-8")
    (data_dir / "labelTxt" / "scene_1.txt").write_text("1 1 9 1 9 9 1 9 train 0\n", encoding="utf-8")
    assert main.main(flags) == 1
    said = capsys.readouterr().err
    assert "scene_1.txt:1: class 'train' is none that the network knows: car, boat; did you mean other data" in said
    assert "tools.convert_labels --rename train=NEW" in said
    assert main.main([*flags, "--classes", "boat", "car"]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert list(metrics["classes"]) == ["car", "boat"]
