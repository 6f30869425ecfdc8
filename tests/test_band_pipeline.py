"""The whole road of pictures that are not 8-bit colours: grey, deep, near infrared, bands that are chosen."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio

import main
from datasets.picture_files.images import ImageError, read_image
from datasets.picture_files.layouts import Reading
from datasets.picture_files.picture_windows import read_whole
from tools import check_data, draw_labels, draw_targets, export_onnx, infer_onnx, split_tiles, split_train_val
from tools.checkpoint import load_checkpoint
from tools.detection.results import reading_in
from tools.onnx_detector import OnnxDetector

SMALL = ["--pretrained", "none", "--input_h", "128", "--input_w", "128", "--num_workers", "0", "--precision", "fp32"]
LIGHT = ["--backbone", "mobilenetv2", "--neck", "fpn", "--neck_width", "16", "--head_width", "16"]
MANY = (5, 3, 2, 6, 1)  # bands of a picture; the fourth of these shows what the first three do not


def _metrics(run_dir: Path) -> dict:
    return json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))


def _detections(out: Path) -> list[dict]:
    return json.loads((out / "results" / "detections.json").read_text(encoding="utf-8"))


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

    other = ["--bands", "3", "2", "1"]
    assert main.main(["--phase", "train", *how["tiles"], *other, "--out", str(tmp_path / "x")]) == 2
    assert "its tiles were cut with --bands 5 3 2, and what is asked for is --bands 3 2 1" in capsys.readouterr().err
    assert (
        main.main(["--phase", "train", "--data_dir", str(data_dir), *other, *flags, "--out", str(tmp_path / "y")]) == 0
    )
    for phase in ("test", "eval"):
        assert main.main(["--phase", phase, "--resume", str(tmp_path / "y"), *how["tiles"]]) == 2
        assert f"what {tmp_path / 'y' / 'best.pth'} reads is --bands 3 2 1" in capsys.readouterr().err

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
    assert {reading_in(tmp_path / folder / "results") for folder in ("a", "b")} == {Reading(bands=(5, 3, 2))}
    capsys.readouterr()
    assert main.main(["--phase", "eval", "--resume", str(tmp_path / "run_whole"), "--num_workers", "0"]) == 0
    assert "scoring the results in" in capsys.readouterr().out

    capsys.readouterr()
    assert main.main([*again, "--bands", "3", "2", "1"]) == 2
    assert "--bands 3 2 1 contradicts the checkpoint" in capsys.readouterr().err
    wrong = (
        (["3", "2"], "such as 3 3 2"),
        (["0"], "from 1 on"),
        (["1", "--in_channels", "3"], "as many"),
    )
    for flag, message in wrong:
        assert main.main(["--phase", "train", "--bands", *flag]) == 2
        assert message in capsys.readouterr().err
    assert main.main(["--phase", "train", *how["tiles"], "--in_channels", "1", "--out", str(tmp_path / "grey")]) == 2
    assert "--in_channels 1: the tiles were cut with --bands 5 3 2" in capsys.readouterr().err


def _write_bands(path: Path, bands: np.ndarray) -> None:
    """A TIFF file of (bands, H, W), none of which it calls a colour."""
    count, height, width = bands.shape
    shape = {"count": count, "height": height, "width": width, "dtype": bands.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver="GTiff", photometric="minisblack", **shape) as file:
            file.write(bands)


def _store_six_bands(data_dir: Path, is_camouflaged: bool = False) -> dict[str, np.ndarray]:
    """The pictures as TIFF files of six bands, of which 5, 3 and 2 are red, green and blue; the colours (H, W, 3).
    The others are noise; camouflaged all but the sixth are, which shows the scene."""
    pictures = {}
    for path in sorted((data_dir / "images").iterdir()):
        pictures[path.stem] = picture = read_image(path)
        bands = np.random.default_rng(len(pictures)).integers(0, 256, (6, *picture.shape[:2]), dtype=np.uint8)
        if is_camouflaged:
            bands[5] = picture.mean(axis=2)
        else:
            bands[[1, 2, 4]] = np.moveaxis(picture, 2, 0)
        _write_bands(path.with_suffix(".tif"), bands)
        path.unlink()
    return pictures


@pytest.mark.slow
def test_many_bands_hold_in_training_testing_tiles_and_the_exported_file(dota_folder, tmp_path, capsys) -> None:
    """Five of six, as of a satellite: tiles are TIFF files, which know which bands of the picture they hold."""
    data_dir, tiles, run_dir = dota_folder(), tmp_path / "tiles", tmp_path / "run"
    colours = _store_six_bands(data_dir)
    chosen, images = ["--bands", *map(str, MANY)], data_dir / "images"
    sizes = ["--size", "96", "--overlap", "32", "--scales", "0.7", "1", "--workers", "0"]
    assert split_tiles.main([str(data_dir), str(tiles), *sizes, *chosen]) == 0
    tile = tiles / "images" / "scene_0__1__0___0.tif"
    pixels = read_whole(tile, 5, Reading(bands=MANY))
    assert np.array_equal(pixels, read_whole(images / "scene_0.tif", 5, Reading(bands=MANY))[:96, :96])
    assert np.array_equal(pixels[:, :, :3], colours["scene_0"][:96, :96])
    assert np.array_equal(read_whole(tile), pixels[:, :, :3]), "without a word its colours are read"
    with pytest.raises(ImageError, match=r"is a tile of the bands 5 3 2 6 1, and the bands 4 are to be read"):
        read_whole(tile, 1, Reading(bands=(4,)))
    corner = read_whole(tiles / "images" / "scene_0__0.7__0___0.tif", 5, Reading(bands=MANY))[-1, -1]
    assert corner.tolist() == [104, 116, 124, 124, 116], "beyond the picture, as the letterbox fills"
    capsys.readouterr()
    assert split_tiles.main([str(data_dir), str(tmp_path / "x"), *sizes, *chosen, "--suffix", "png"]) == 2
    assert "--suffix png: holds no 5 bands" in capsys.readouterr().err

    flags = [*SMALL, *LIGHT, "--num_epoch", "1", "--augment_mosaic", "0.5", "--augment_rotate", "20"]
    assert draw_targets.main([str(tiles), str(tmp_path / "targets"), "--num", "1", *SMALL[2:6]]) == 0
    assert main.main(["--phase", "train", "--data_dir", str(tiles), "--out", str(run_dir), *flags]) == 0
    model, architecture, _ = load_checkpoint(run_dir / "best.pth")
    assert (architecture.bands, model.base_network.features[0][0].in_channels) == (MANY, 5)
    again = ["--resume", str(run_dir), "--num_workers", "0"]
    assert main.main(["--phase", "eval", *again]) == 0
    assert _metrics(run_dir)["classes"]
    test = ["--phase", "test", *again, "--input", str(images), "--conf_thresh", "0"]
    assert main.main([*test, "--out", str(tmp_path / "a"), "--tile", "96", "--overlap", "32", "--scales", "0.7"]) == 0
    assert cv2.imread(str(tmp_path / "a" / "drawings" / "scene_0.png")).shape == (128, 128, 3)
    model = tmp_path / "model.onnx"
    assert export_onnx.main(["--resume", str(run_dir), "--output", str(model), "--conf_thresh", "0"]) == 0
    assert infer_onnx.main([str(model), str(images), str(tmp_path / "b")]) == 0
    assert main.main([*test, "--out", str(tmp_path / "c")]) == 0
    found, exported = (_detections(tmp_path / folder)[0]["boxes"][0] for folder in ("c", "b"))
    assert found["score"] == pytest.approx(exported["score"], abs=1e-4)


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
    assert split_tiles.main([str(data_dir), str(tmp_path / "without"), *sizes]) == 0
    late = ["--data_dir", str(tmp_path / "without"), "--value_range", "0", "9", "--out", str(tmp_path / "late")]
    assert main.main(["--phase", "train", *flags, *late]) == 0
    assert (
        "--value_range says nothing of tiles of 8 bits; python -m tools.split_tiles takes it" in capsys.readouterr().err
    )
    assert main.main([*again, "--input", str(images), "--value_range", "0", "9"]) == 2
    assert "--value_range 0 9 contradicts the checkpoint" in capsys.readouterr().err
    assert main.main(["--phase", "train", "--value_range", "9", "0"]) == 2
    assert "--value_range 9 0: give the value of black and a larger one of white" in capsys.readouterr().err
    each = ["--value_range", "0", "9", "0", "8"]
    assert main.main(["--phase", "train", "--bands", "3", "2", "1", *each]) == 2
    assert "--value_range 0 9 0 8: give the value of black and a larger one of white, or 3 such pairs" in (
        capsys.readouterr().err
    )


@pytest.mark.slow
def test_a_picture_of_other_bands_or_a_contradicting_flag_is_a_sentence(dota_folder, tmp_path, capsys):
    data_dir, run_dir = dota_folder(), tmp_path / "run"
    flags = [*SMALL, *LIGHT, "--data_dir", str(data_dir), "--num_epoch", "1"]
    assert main.main(["--phase", "train", "--out", str(run_dir), *flags, "--in_channels", "4"]) == 1
    assert "has 3 bands, and the network reads 4 (--in_channels)" in capsys.readouterr().err
    assert main.main(["--phase", "train", "--out", str(tmp_path / "other"), *flags]) == 0
    assert main.main(["--phase", "test", "--resume", str(tmp_path / "other"), "--in_channels", "1"]) == 2
    assert "--in_channels 1 contradicts the checkpoint" in capsys.readouterr().err
    assert main.main(["--phase", "train", "--in_channels", "2"]) == 2
    assert (
        "--in_channels is 2; it can be 1, 3 or 4; of two or more than four name them with --bands"
        in capsys.readouterr().err
    )


@pytest.mark.long
def test_what_only_a_fifth_band_shows_is_found(dota_folder, tmp_path) -> None:
    """Camouflage: noise in red, green and blue, and in another band; of scenes that it has not seen."""
    names = [f"scene_{number:02}" for number in range(40)]
    data_dir = dota_folder(names=names, lists={"train": names[:32], "val": names[32:]})
    _store_six_bands(data_dir, is_camouflaged=True)
    flags = [*SMALL, "--backbone", "resnet18", "--neck", "fpn", "--neck_width", "16", "--head_width", "32"]
    flags += ["--data_dir", str(data_dir), "--num_epoch", "30", "--val_every", "30", "--init_lr", "2e-3"]
    scores = {}
    for bands in ("532", "53216"):
        run_dir = tmp_path / bands
        assert main.main(["--phase", "train", "--out", str(run_dir), *flags, "--bands", *bands]) == 0
        assert main.main(["--phase", "eval", "--resume", str(run_dir), "--num_workers", "0"]) == 0
        scores[bands] = _metrics(run_dir)["mAP50"]
    assert scores["532"] < 0.1 < 0.4 < scores["53216"], scores


@pytest.mark.slow
def test_a_band_that_others_leave_black_is_told_of(dota_folder, tmp_path, capsys) -> None:
    """A height beside reflectances: of the fifth band one level was left."""
    data_dir = dota_folder(lists={"train": ["scene_0", "scene_1"], "val": ["scene_2"]})
    for path in sorted((data_dir / "images").iterdir()):
        bands = np.random.default_rng(0).integers(500, 4000, (5, 128, 128)).astype(np.float32)
        bands[4] = np.linspace(0, 5, 128)
        _write_bands(path.with_suffix(".tif"), bands)
        path.unlink()
    flags = [*SMALL, *LIGHT, "--data_dir", str(data_dir), "--num_epoch", "1", "--bands", "1", "2", "3", "5", "4"]
    assert main.main(["--phase", "train", "--out", str(tmp_path / "a"), *flags]) == 0
    assert "band 5 shows next to nothing where others show" in capsys.readouterr().err
    ranges = ["0", "4000"] * 3 + ["0", "5", "0", "4000"]
    assert main.main(["--phase", "train", "--out", str(tmp_path / "b"), *flags, "--value_range", *ranges]) == 0
    assert "next to nothing" not in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "b" / "best.pth")[1].value_range == tuple(map(float, ranges))
