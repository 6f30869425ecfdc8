"""The command that draws what is trained on: the same inputs, the counts, the warning, the refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from datasets.augment import Augmentation
from datasets.readers import Sample
from datasets.targets import make_targets
from datasets.training_set import TrainingSet
from tools.draw_targets import choose_rows, main, positive_cells

REPOSITORY = Path(__file__).resolve().parent.parent
SMALL = ["--input_h", "128", "--input_w", "128"]


def _summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def test_every_picture_is_counted_and_so_many_are_drawn(dota_folder, tmp_path, capsys):
    data_dir = dota_folder(
        "数据", names=("图 1", "b", "c", "empty"), lists={"train": ["图 1", "b", "c", "empty"], "val": ["b"]}
    )
    before = sorted(path.name for path in data_dir.rglob("*"))
    out = tmp_path / "drawn 图"
    assert main([str(data_dir), str(out), "--num", "2", *SMALL]) == 0
    summary = _summary(out)
    assert (summary["pictures"], summary["without_objects"]) == (4, 1)
    assert sum(item["objects"] for item in summary["classes"].values()) == summary["objects"] > 4
    pictures = list(out.glob("*.png"))
    assert len(pictures) == 2
    assert cv2.imdecode(np.fromfile(pictures[0], np.uint8), cv2.IMREAD_COLOR).shape[1] > 2 * 1100
    assert "empty.png" not in [path.name for path in pictures]  # pictures with objects come first
    assert sorted(path.name for path in data_dir.rglob("*")) == before
    assert "4 pictures, 1 of them without objects" in capsys.readouterr().out


def test_pictures_of_one_channel_are_drawn(dota_folder, tmp_path):
    data_dir = dota_folder()
    for path in (data_dir / "images").iterdir():
        path.write_bytes(cv2.imencode(".png", cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))[1].tobytes())
    out = tmp_path / "drawn"
    assert main([str(data_dir), str(out), "--num", "1", "--in_channels", "1", *SMALL]) == 0
    assert cv2.imread(str(next(out.glob("*.png")))).ndim == 3
    assert main([str(data_dir), str(tmp_path / "other"), "--num", "1", "--in_channels", "4", *SMALL]) == 1


@pytest.mark.parametrize("rule", ["better", "tilt"])
def test_the_inputs_are_those_of_the_first_epoch_of_training(dota_folder, tmp_path, monkeypatch, rule):
    data_dir = dota_folder(lists={"train": ["scene_0", "scene_1"], "val": ["scene_2"]})
    seen = {}

    def keep(name: str, image: np.ndarray, targets: object, *others: object) -> np.ndarray:
        seen[name] = (image, targets)
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr("tools.drawings.target_picture.draw_targets", keep)
    assert main([str(data_dir), str(tmp_path / "out"), "--seed", "3", "--theta_rule", rule, *SMALL]) == 0
    from models import IMAGENET
    from models.better_box import with_moment_sizes
    from tools.data import data_classes, open_data, read_split
    from tools.setting_flags import parse_settings

    config = parse_settings(["--data_dir", str(data_dir), "--seed", "3"])
    data = open_data(config)
    _, samples = read_split(config, data, "train", data_classes(config, data))
    augmentation = Augmentation(scale=config.augment_scale, rotate=config.augment_rotate)
    trained = TrainingSet(samples, 2, (128, 128), IMAGENET.fill_bgr, augmentation, config.min_visible, 3)
    for row, sample in enumerate(samples):
        image, targets, _ = trained[0, row]
        if rule == "better":
            level = with_moment_sizes(torch.from_numpy(targets.wh)).numpy()
            assert not np.allclose(level, targets.wh)
            targets = targets._replace(wh=level)
        np.testing.assert_array_equal(seen[sample.name][0], image)
        for shown, made in zip(seen[sample.name][1], targets, strict=True):
            np.testing.assert_array_equal(shown, made)


def test_horizontal_labels_are_warned_of_and_the_turn_of_augmentation_does_not_hide_them(dota_folder, tmp_path, capsys):
    """'Why are all my boxes horizontal?' (what users ask for, 10)."""
    data_dir = dota_folder(lists={"train": ["scene_0", "scene_1"], "val": ["scene_2"]})
    assert main([str(data_dir), str(tmp_path / "turned"), "--num", "0", *SMALL]) == 0
    assert "horizontal" not in capsys.readouterr().err
    for name in ("scene_0", "scene_1"):
        (data_dir / "labelTxt" / f"{name}.txt").write_text(
            "20 20 60 20 60 40 20 40 car 0\n70 70 90 70 90 99 70 99 boat 0\n"
        )
    turned = ["--augment_rotate", "180", *SMALL]
    assert main([str(data_dir), str(tmp_path / "level"), "--num", "0", *turned]) == 0
    assert "100.0% of the labelled boxes are horizontal" in capsys.readouterr().err
    assert _summary(tmp_path / "level")["horizontal"] == 1.0
    assert _summary(tmp_path / "level")["inputs"]["horizontal"] < 1.0


def test_flags_of_training_decide_what_is_drawn(dota_folder, tmp_path, capsys):
    """Exactly what is trained on: windows where training takes windows, and a mistyped flag is named."""
    data_dir = dota_folder(names=("a",), lists={"train": ["a"]})
    flags = ["--window_h", "64", "--window_w", "96", *SMALL]
    drawn = {}
    for name, more in (("window", []), ("whole", ["--no-augment"])):
        assert main([str(data_dir), str(tmp_path / name), *flags, *more]) == 0
        drawn[name] = cv2.imread(str(tmp_path / name / "a.png")).shape
    assert drawn["window"][1] == drawn["whole"][1]  # small inputs are enlarged to one width
    assert drawn["window"][0] == pytest.approx(drawn["whole"][0] * 64 / 96, abs=60)
    assert main([str(data_dir), str(tmp_path / "x"), "--window_g", "64"]) == 2
    assert "--window_g; nearest: --window_" in capsys.readouterr().err


def test_flags_of_training_may_stand_before_the_folders(dota_folder, tmp_path, capsys):
    """They swallowed the folders: 512 was taken for DATA_DIR, and DATA_DIR for OUT_DIR."""
    data_dir, out = str(dota_folder(names=("a",), lists={"train": ["a"]})), tmp_path / "out"
    flags = ["--on-bad-label", "skip", "--cache", "--augment_scale", "0.5", "1", "--no-flip", "--dataset", "dota"]
    assert main([*SMALL, data_dir, *flags, str(out)]) == 2  # no such flag
    assert "unknown flag --no-flip" in capsys.readouterr().err
    flags.remove("--no-flip")
    assert main([*SMALL, *flags, data_dir, str(out)]) == 0
    assert main([f"--input_h={96}", *flags, data_dir, "--input_w", "128", str(out), "--augment_scale", "1", "1"]) == 0
    assert _summary(out)["input_hw"] == [96, 128]


def test_lost_objects_are_counted_by_reason(dota_folder, tmp_path, capsys):
    """Defect 8: objects lost in silence."""
    data_dir = dota_folder(names=("a",), lists={"train": ["a"]})
    lines = [
        "20 20 60 25 58 45 18 40 car 0",  # whole
        "500 500 540 500 540 520 500 520 car 0",  # outside
        "110 40 150 40 150 60 110 60 car 0",  # less than half inside
        "20 100 60 100 60 101 20 101 car 0",  # a side of 1 pixel
        "80 80 100 80 100 90 80 90 DontCare 0",
        "80 20 100 20 100 30 80 30 boat 2",
    ]
    (data_dir / "labelTxt" / "a.txt").write_text("\n".join(lines) + "\n")
    assert main([str(data_dir), str(tmp_path / "out"), "--no-augment", *SMALL]) == 0
    summary = _summary(tmp_path / "out")
    assert summary["lost"] == {"outside": 1, "mostly outside": 1, "too thin": 1, "centre outside": 0}
    assert (summary["objects"], summary["ignore_regions"], summary["inputs"]["objects"]) == (1, 2, 1)
    assert "lost: 3 objects (1 outside the picture, 1 less than 0.5 of them inside" in capsys.readouterr().out


def test_pictures_of_others_are_never_drawn_over(dota_folder, capsys):
    data_dir, others = dota_folder("a"), dota_folder("b")
    before = {path: path.read_bytes() for path in (others / "images").iterdir()}
    assert main([str(data_dir), str(others / "images"), *SMALL]) == 2
    assert "is there and is no earlier drawing" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (others / "images").iterdir()} == before


@pytest.mark.parametrize("text", ['{"mine": 1}', '{\n  "source": "mine"\n}'])
def test_a_summary_of_others_is_never_written_over(dota_folder, tmp_path, capsys, text):
    out = tmp_path / "out"
    out.mkdir()
    (out / "summary.json").write_text(text)
    assert main([str(dota_folder()), str(out), *SMALL]) == 2
    assert "summary.json is there, and was not written by this command; name another folder" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["summary.json"]
    assert (out / "summary.json").read_text() == text
    (out / "summary.json").unlink()
    for _ in range(2):
        assert main([str(tmp_path / "data"), str(out), "--num", "1", *SMALL]) == 0


@pytest.mark.parametrize("inside", ["", "drawn", "images/drawn"])
def test_nothing_is_written_into_the_data_folder(dota_folder, capsys, inside):
    data_dir = dota_folder()
    assert main([str(data_dir), str(data_dir / inside), *SMALL]) == 2
    assert "lies in the data folder" in capsys.readouterr().err
    assert not list(data_dir.rglob("summary.json"))


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--num", "-1"], 2, "--num is -1"),
        (["--input_h", "100"], 2, "multiple of 32"),
        (["--min_visible", "2"], 2, "--min_visible is 2.0"),
        (["--split", "nowhere"], 1, "no such list"),
        (["--dataset", "dotta"], 1, "unknown dataset 'dotta'"),
        (["--nom", "1"], 2, "unknown flag --nom"),
        (["third"], 2, "third: DATA_DIR and OUT_DIR are all"),
    ],
)
def test_a_wrong_flag_is_one_sentence(dota_folder, tmp_path, capsys, flags, code, message):
    assert main([str(dota_folder()), str(tmp_path / "out"), *flags]) == code
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_mosaics_are_drawn_and_the_pictures_as_they_are_counted(dota_folder, tmp_path):
    for number, flags in enumerate(((), ("--augment_mosaic", "1"))):
        assert main([str(dota_folder(f"data{number}")), str(tmp_path / f"out{number}"), *SMALL, *flags]) == 0
    plain, mosaic = (_summary(tmp_path / name) for name in ("out0", "out1"))
    for counted in ("pictures", "objects", "classes", "lost"):
        assert plain[counted] == mosaic[counted]
    drawn = [(tmp_path / name / "scene_0.png").read_bytes() for name in ("out0", "out1")]
    assert drawn[0] != drawn[1]


def test_a_bad_picture_stops_or_is_left_out(dota_folder, tmp_path, capsys):
    data_dir = dota_folder(lists={"train": ["scene_0", "scene_1"], "val": ["scene_2"]})
    (data_dir / "images" / "scene_1.png").write_bytes(b"no picture")
    assert main([str(data_dir), str(tmp_path / "out"), *SMALL]) == 1
    assert "scene_1.png" in capsys.readouterr().err
    assert main([str(data_dir), str(tmp_path / "out"), "--on_bad_label", "skip", *SMALL]) == 0
    assert _summary(tmp_path / "out")["pictures"] == 1


def test_only_empty_pictures_are_no_error(dota_folder, tmp_path):
    data_dir = dota_folder(names=("empty",), lists={"train": ["empty"]})
    assert main([str(data_dir), str(tmp_path / "out"), *SMALL]) == 0
    assert _summary(tmp_path / "out")["horizontal"] is None
    assert (tmp_path / "out" / "empty.png").is_file()


def test_pictures_with_objects_are_chosen_first_and_by_seed():
    none = np.zeros((0, 4, 2), np.float32)
    samples = [Sample(Path(f"{i}.png"), none, np.zeros(0, int), np.zeros(0, int)) for i in range(20)]
    full = Sample(Path("full.png"), np.zeros((1, 4, 2), np.float32), np.zeros(1, int), np.zeros(1, int))
    samples[7] = samples[13] = full
    assert choose_rows(samples, 2, 0) == [7, 13]
    assert choose_rows(samples, 5, 0) != choose_rows(samples, 5, 1)
    assert choose_rows(samples, 99, 0) == list(range(20))
    assert choose_rows([], 3, 0) == []


def test_the_published_recipe_learns_in_the_centres_cell_alone():
    quad = np.array([[[20, 20], [60, 20], [60, 40], [20, 40]]], float)
    targets = make_targets(quad, np.zeros(1, int), np.zeros(1, bool), 1, (128, 128))
    assert positive_cells(targets, 0).tolist() == [[7, 10]]
    assert len(positive_cells(targets, 1)) == 9
    nothing = make_targets(quad[:0], np.zeros(0, int), np.zeros(0, bool), 1, (128, 128))
    assert positive_cells(nothing, 1).shape == (0, 2)


def test_help_needs_no_torch():
    code = (
        "import sys; from tools.draw_targets import main\ntry: main(['--help'])\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("False\n")
    assert "pixels" in done.stdout
