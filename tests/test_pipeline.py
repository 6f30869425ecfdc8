"""The whole road on drawn data: train, test, eval, in DOTA text and in roLabelImg XML, and it learns."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio

import main
from datasets.picture_files.images import read_image
from datasets.picture_files.layouts import Reading
from DOTA_devkit.boxes import quads_to_boxes
from DOTA_devkit.labels import read_labels
from tools import check_data, draw_labels, export_onnx, infer_onnx, split_tiles, split_train_val
from tools.checkpoint import load_checkpoint
from tools.onnx_detector import OnnxDetector

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


def _store_bands(data_dir: Path, num_channels: int, kind: type) -> None:
    """Store the pictures again, as grey ones or with a fourth band, of 8 or 16 bits."""
    for path in (data_dir / "images").iterdir():
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        grey = image.mean(axis=2, keepdims=True).round().astype(np.uint8)
        bands = grey if num_channels == 1 else np.concatenate((image, 255 - grey), axis=2)
        path.write_bytes(cv2.imencode(".png", bands.astype(kind) * (200 if kind is np.uint16 else 1))[1].tobytes())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_channels", "kind"), [pytest.param(1, np.uint8, marks=pytest.mark.long), (1, np.uint16), (4, np.uint8)]
)
def test_pictures_of_other_bands_go_all_the_way(dota_folder, tmp_path, num_channels, kind):
    """Grey, 16-bit thermal, near infrared: trained, validated with a page, tested whole and in tiles, drawn, scored."""
    data_dir, run_dir = dota_folder(), tmp_path / "run"
    _store_bands(data_dir, num_channels, kind)
    flags = [*SMALL, *LIGHT, "--data_dir", str(data_dir), "--num_epoch", "1", "--in_channels", str(num_channels)]
    assert main.main(["--phase", "train", "--out", str(run_dir), *flags]) == 0
    model, architecture, _ = load_checkpoint(run_dir / "best.pth")
    assert architecture.in_channels == model.base_network.features[0][0].in_channels == num_channels
    again = ["--resume", str(run_dir), "--num_workers", "0"]
    assert main.main(["--phase", "test", *again]) == 0
    assert main.main(["--phase", "eval", *again, "--in_channels", str(num_channels)]) == 0
    assert _metrics(run_dir)["classes"]
    out = ["--out", str(tmp_path / "tiles"), "--input", str(data_dir / "images" / "scene_0.png")]
    assert main.main(["--phase", "test", *again, *out, "--tile", "96", "--overlap", "32"]) == 0
    assert cv2.imread(str(tmp_path / "tiles" / "drawings" / "scene_0.png")).shape == (128, 128, 3)


@pytest.mark.slow
def test_chosen_bands_hold_in_training_testing_tiles_and_the_exported_file(dota_folder, tmp_path, capsys) -> None:
    """Colours are the bands 5, 3 and 2 of TIFF files that do not say so, as those of some satellites."""
    data_dir, chosen = dota_folder(), ["--bands", "5", "3", "2"]
    whole = _store_six_bands(data_dir)
    images, tiles = data_dir / "images", tmp_path / "tiles"
    assert check_data.main([str(data_dir), "--decode", *chosen]) == 0
    lists = ["--out", str(tmp_path / "lists"), "--near_duplicates"]
    assert split_train_val.main([str(data_dir), *lists, *chosen]) == 0
    assert "cannot be read" not in capsys.readouterr().err
    assert draw_labels.main([str(data_dir), str(tmp_path / "drawn"), *chosen]) == 0
    assert draw_labels.main([str(data_dir), str(tmp_path / "not"), "--num", "1"]) == 1
    assert "has 6 bands" in capsys.readouterr().err

    sizes = ["--size", "96", "--overlap", "32", "--workers", "0"]
    assert split_tiles.main([str(data_dir), str(tiles), *sizes, *chosen]) == 0
    assert np.array_equal(read_image(tiles / "images" / "scene_0__1__0___0.png"), whole["scene_0"][:96, :96])
    flags = [*SMALL, *LIGHT, "--num_epoch", "1"]
    how = {"whole": ["--data_dir", str(data_dir), *chosen], "tiles": ["--data_dir", str(tiles)]}
    for name, data in how.items():
        assert main.main(["--phase", "train", "--out", str(tmp_path / f"run_{name}"), *flags, *data]) == 0
        architecture = load_checkpoint(tmp_path / f"run_{name}" / "best.pth")[1]
        assert architecture.bands == (5, 3, 2)
        assert np.array_equal(architecture.read_picture(images / "scene_0.tif"), whole["scene_0"])
        assert main.main(["--phase", "eval", "--resume", str(tmp_path / f"run_{name}"), "--num_workers", "0"]) == 0

    again = ["--phase", "test", "--resume", str(tmp_path / "run_whole"), "--num_workers", "0", "--conf_thresh", "0"]
    assert main.main([*again, "--input", str(images), "--out", str(tmp_path / "a")]) == 0
    model = tmp_path / "model.onnx"
    assert (
        export_onnx.main(["--resume", str(tmp_path / "run_whole"), "--output", str(model), "--conf_thresh", "0"]) == 0
    )
    assert OnnxDetector(model).facts.bands == (5, 3, 2)
    assert infer_onnx.main([str(model), str(images), str(tmp_path / "b")]) == 0
    found, exported = (_detections(tmp_path / folder)[0]["boxes"][0] for folder in ("a", "b"))
    assert found["score"] == pytest.approx(exported["score"], abs=1e-4)

    capsys.readouterr()
    assert main.main([*again, "--bands", "3", "2", "1"]) == 2
    assert "--bands 3 2 1 contradicts the checkpoint" in capsys.readouterr().err
    wrong = ((["3", "2"], "give the numbers of"), (["0"], "from 1 on"), (["1", "--in_channels", "3"], "as many"))
    for flag, message in wrong:
        assert main.main(["--phase", "train", "--bands", *flag]) == 2
        assert message in capsys.readouterr().err
    assert main.main(["--phase", "train", *how["tiles"], "--in_channels", "1", "--out", str(tmp_path / "grey")]) == 2
    assert "--in_channels 1: the tiles were cut with --bands 5 3 2" in capsys.readouterr().err


def _store_six_bands(data_dir: Path) -> dict[str, np.ndarray]:
    """The pictures as TIFF files of six bands, of which 5, 3 and 2 are red, green and blue; the colours (H, W, 3)."""
    pictures = {}
    for path in sorted((data_dir / "images").iterdir()):
        pictures[path.stem] = picture = read_image(path)
        bands = np.zeros((6, *picture.shape[:2]), np.uint8)
        bands[[1, 2, 4]] = np.moveaxis(picture, 2, 0)
        shape = {"count": 6, "height": picture.shape[0], "width": picture.shape[1], "dtype": "uint8"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            how = {"driver": "GTiff", "photometric": "minisblack"}
            with rasterio.open(path.with_suffix(".tif"), "w", **how, **shape) as file:
                file.write(bands)
        path.unlink()
    return pictures


@pytest.mark.slow
def test_a_range_of_values_holds_in_training_testing_tiles_and_the_exported_file(dota_folder, tmp_path, capsys):
    data_dir, run_dir = dota_folder(), tmp_path / "run"
    _store_bands(data_dir, 1, np.uint16)
    images = data_dir / "images"
    how, sizes = ["--value_range", "1000", "60000"], ["--size", "96", "--overlap", "32", "--workers", "0"]
    assert split_tiles.main([str(data_dir), str(tmp_path / "tiles"), *sizes, *how]) == 0
    whole = read_image(images / "scene_0.png", 1, Reading((1000, 60000)))
    tile = read_image(tmp_path / "tiles" / "images" / "scene_0__1__0___0.png", 1)
    assert np.array_equal(tile, whole[:96, :96])
    flags = [*SMALL, *LIGHT, "--num_epoch", "1", "--in_channels", "1"]
    assert main.main(["--phase", "train", "--data_dir", str(tmp_path / "tiles"), "--out", str(run_dir), *flags]) == 0
    architecture = load_checkpoint(run_dir / "best.pth")[1]
    assert architecture.value_range == (1000, 60000), "that of the tiles"
    assert np.array_equal(architecture.read_picture(images / "scene_0.png"), whole)

    again = ["--phase", "test", "--resume", str(run_dir), "--num_workers", "0", "--conf_thresh", "0"]
    assert main.main([*again, "--input", str(images), "--out", str(tmp_path / "a"), *how]) == 0
    model = tmp_path / "model.onnx"
    assert export_onnx.main(["--resume", str(run_dir), "--output", str(model), "--conf_thresh", "0"]) == 0
    assert OnnxDetector(model).facts.value_range == (1000, 60000)
    assert infer_onnx.main([str(model), str(images), str(tmp_path / "b")]) == 0
    for name in ("scene_0", "scene_3"):
        found, exported = (
            next(item["boxes"] for item in _detections(tmp_path / folder) if Path(item["image"]).stem == name)
            for folder in ("a", "b")
        )
        assert found[0]["score"] == pytest.approx(exported[0]["score"], abs=1e-4)
        np.testing.assert_allclose(found[0]["quad"], exported[0]["quad"], atol=0.05)

    capsys.readouterr()
    assert main.main([*again, "--input", str(images), "--value_range", "0", "9"]) == 2
    assert "--value_range 0 9 contradicts the checkpoint" in capsys.readouterr().err
    assert main.main(["--phase", "train", "--value_range", "9", "0"]) == 2
    assert "give the value of black and a larger one of white" in capsys.readouterr().err


@pytest.mark.slow
def test_a_picture_of_other_bands_or_a_contradicting_flag_is_a_sentence(dota_folder, tmp_path, capsys):
    data_dir, run_dir = dota_folder(), tmp_path / "run"
    flags = [*SMALL, *LIGHT, "--data_dir", str(data_dir), "--num_epoch", "1"]
    assert main.main(["--phase", "train", "--out", str(run_dir), *flags, "--in_channels", "4"]) == 1
    assert "has 3 bands, and --in_channels is 4" in capsys.readouterr().err
    assert main.main(["--phase", "train", "--out", str(tmp_path / "other"), *flags]) == 0
    assert main.main(["--phase", "test", "--resume", str(tmp_path / "other"), "--in_channels", "1"]) == 2
    assert "--in_channels 1 contradicts the checkpoint" in capsys.readouterr().err
    assert main.main(["--phase", "train", "--in_channels", "2"]) == 2
    assert "--in_channels is 2; pictures of 1, 3 and 4 bands can be read" in capsys.readouterr().err


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
