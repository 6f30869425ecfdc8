"""Phase test: any pictures in, result files and drawings out, nothing beside the inputs."""

from __future__ import annotations

import json
import socket
import weakref
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import cv2
import numpy as np
import pytest
import torch

import main
from DOTA_devkit.iou import poly_iou
from DOTA_devkit.task_files import read_results
from models import IMAGENET
from tests.short_runs import arguments
from tools import convert_labels
from tools.architecture import Architecture
from tools.checkpoint import load_checkpoint, save_checkpoint
from tools.config import settings_dict
from tools.detection.loaded_run import load_run
from tools.detection.results import ResultFiles
from tools.outcomes import Found
from tools.setting_flags import parse_settings
from tools.training import weights


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    """A run folder with a network that finds something everywhere."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("runs") / "x"
    architecture = Architecture("resnet18", "none", ("car", "boat"), (64, 96), IMAGENET)
    model = architecture.build()
    torch.nn.init.normal_(model.hm[2].weight, std=0.1)
    torch.nn.init.normal_(model.wh[2].weight, std=0.2)
    torch.nn.init.constant_(model.cls_theta[2].bias, 5.0)
    folder.mkdir()
    save_checkpoint(folder / "best.pth", model, architecture, settings=settings_dict(parse_settings([])))
    (folder / "settings.toml").touch()
    return folder


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Pictures of all kinds: another size each, grey, in another script, of one pixel, with an upper-case suffix."""
    folder = tmp_path / "数据"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (
        ("图 1.png", (50, 80, 3)),
        ("grey.JPG", (200, 90)),
        ("dot.bmp", (1, 1, 3)),
        ("a__b.png", (64, 64, 3)),
    ):
        data = cv2.imencode(Path(name).suffix.lower(), rng.integers(0, 256, shape, dtype=np.uint8))[1]
        (folder / name).write_bytes(data.tobytes())
    return folder


def _arguments(run_dir: Path, out: Path, *more: str) -> list[str]:
    return ["--phase", "test", "--resume", str(run_dir), "--out", str(out), "--num_workers", "0", *more]


@pytest.mark.slow
def test_a_folder_of_any_pictures_gives_files_and_drawings(run_dir, pictures, tmp_path):
    before = sorted(pictures.iterdir())
    out = tmp_path / "out"
    assert main.main(_arguments(run_dir, out, "--input", str(pictures), "--draw_score", "0")) == 0
    assert sorted(pictures.iterdir()) == before
    assert {path.name for path in (out / "results").iterdir()} == {
        "Task1_car.txt", "Task1_boat.txt", "detections.json", "origin.json",
    }  # fmt: skip
    assert {path.name for path in (out / "drawings").iterdir()} == {"图 1.png", "grey.png", "dot.png", "a__b.png"}
    records = json.loads((out / "results" / "detections.json").read_text(encoding="utf-8"))
    assert {record["image"]: (record["height"], record["width"]) for record in records} == {
        "图 1.png": (50, 80), "grey.JPG": (200, 90), "dot.bmp": (1, 1), "a__b.png": (64, 64),
    }  # fmt: skip
    drawn = cv2.imdecode(np.frombuffer((out / "drawings" / "图 1.png").read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (50, 80, 3)
    assert any(record["boxes"] for record in records)


@pytest.mark.slow
def test_boxes_are_rectangles_unless_quads_are_asked_for(run_dir, pictures, tmp_path):
    """Defect 7: corners were sums of four free vectors."""

    def skew(*more: str) -> float:
        assert main.main(_arguments(run_dir, tmp_path / "out", "--input", str(pictures / "a__b.png"), *more)) == 0
        records = json.loads((tmp_path / "out" / "results" / "detections.json").read_text(encoding="utf-8"))
        quads = np.array([box["quad"] for box in records[0]["boxes"]]).reshape(-1, 4, 2)
        assert len(quads)
        return float(np.abs(quads[:, 0] + quads[:, 2] - quads[:, 1] - quads[:, 3]).max()) + float(
            np.abs(
                np.linalg.norm(quads[:, 0] - quads[:, 2], axis=1) - np.linalg.norm(quads[:, 1] - quads[:, 3], axis=1)
            ).max()
        )

    assert skew() < 0.01
    assert skew("--quads") > 0.1


TILES = ("--tile", "64", "--overlap", "16")


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), TILES])
def test_each_picture_is_decoded_once(run_dir, pictures, tmp_path, monkeypatch, flags: tuple[str, ...]):
    """Defect 15: pictures were decoded twice, for the network and for the drawing."""
    decode, decoded = cv2.imdecode, []
    monkeypatch.setattr(cv2, "imdecode", lambda values, how: decoded.append(bytes(values)) or decode(values, how))
    assert main.main(_arguments(run_dir, tmp_path / "out", "--input", str(pictures), "--draw_score", "0", *flags)) == 0
    assert len(list((tmp_path / "out" / "drawings").iterdir())) == len(decoded)
    assert sorted(decoded) == sorted(path.read_bytes() for path in pictures.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), TILES])
def test_detections_are_let_go_as_they_are_written(run_dir, tmp_path, monkeypatch, flags: tuple[str, ...]):
    """Defect 15: those of the whole set were held in memory."""
    (tmp_path / "many").mkdir()
    for number in range(20):
        picture = np.random.default_rng(number).integers(0, 256, (64, 96, 3), dtype=np.uint8)
        (tmp_path / "many" / f"{number}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    given, alive, write = [], [], ResultFiles.write

    def watched_write(results: ResultFiles, path: Path, found: Found) -> None:
        assert len(found.detections.scores)
        given.append(weakref.ref(found.detections.quads))
        alive.append(sum(reference() is not None for reference in given))
        write(results, path, found)

    monkeypatch.setattr(ResultFiles, "write", watched_write)
    assert main.main(_arguments(run_dir, tmp_path / "out", "--input", str(tmp_path / "many"), *flags)) == 0
    assert len(alive) == 20
    assert max(alive) <= 3


@pytest.mark.slow
def test_thresholds_and_k_change_what_comes_out(run_dir, pictures, tmp_path):
    """Defect 18: NMS at 0.1 and confidence 0.18 were hard-coded."""

    def boxes(*flags: str) -> list[dict]:
        assert main.main(_arguments(run_dir, tmp_path / "out", "--input", str(pictures / "a__b.png"), *flags)) == 0
        return json.loads((tmp_path / "out" / "results" / "detections.json").read_text(encoding="utf-8"))[0]["boxes"]

    def most_overlap(found: list[dict]) -> float:
        quads, classes = np.array([box["quad"] for box in found]), np.array([box["class"] for box in found])
        overlaps = poly_iou(quads.reshape(-1, 4, 2), quads.reshape(-1, 4, 2))
        return overlaps[np.triu(classes[:, None] == classes, 1)].max()

    usual = boxes()
    middle = float(np.median([box["score"] for box in usual]))
    assert boxes("--conf_thresh", str(middle)) == [box for box in usual if box["score"] >= middle]
    loose, strict = boxes("--nms_thresh", "0.7"), boxes("--nms_thresh", "0.05")
    assert len(loose) > len(usual) > len(strict)
    assert most_overlap(strict) <= 0.05 + 1e-3 < most_overlap(usual) <= 0.3 + 1e-3 < most_overlap(loose) <= 0.7 + 1e-3
    few = boxes("--K", "3", "--nms_thresh", "1")
    assert len(few) == 3
    assert few == boxes("--nms_thresh", "1")[:3]


@pytest.mark.slow
@pytest.mark.usefixtures("thin_backbones")
def test_only_a_new_training_asks_for_weights_from_the_network(dota_folder, tmp_path, monkeypatch):
    """Defect 9: ImageNet weights were fetched at test time, too."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    asked = []

    def refuse(*_: object, **__: object) -> None:
        asked.append(1)
        raise URLError("no network here")

    for owner, name in (
        (weights, "_probe"),
        (weights, "_fetch"),
        (socket, "create_connection"),
        (torch.hub, "download_url_to_file"),
        (torch.hub, "load_state_dict_from_url"),
    ):
        monkeypatch.setattr(owner, name, refuse)
    data_dir = dota_folder(lists={"train": ["scene_0", "scene_1"], "val": ["scene_2"]})
    run = tmp_path / "run"
    assert main.main(arguments(data_dir, run, "--num_epoch", "1", "--pretrained", "auto")) == 0
    assert asked
    asked.clear()
    assert main.main(["--phase", "test", "--resume", str(run), "--num_workers", "0"]) == 0
    assert main.main(["--phase", "eval", "--resume", str(run), "--num_workers", "0", "--K", "7"]) == 0
    assert main.main(["--resume_train", str(run), "--num_epoch", "2", "--pretrained", "auto"]) == 0
    assert not asked


@pytest.mark.slow
def test_drawings_stop_at_the_number_asked_for(run_dir, pictures, tmp_path):
    arguments = _arguments(run_dir, tmp_path / "out", "--input", str(pictures), "--num_drawings", "1")
    assert main.main([*arguments, "--line_width", "2", "--no_draw_labels"]) == 0
    assert len(list((tmp_path / "out" / "drawings").iterdir())) == 1


@pytest.mark.slow
def test_a_damaged_picture_stops_by_name_or_is_left_out_with_exit_code_1(run_dir, pictures, tmp_path, capsys):
    (pictures / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    arguments = _arguments(run_dir, tmp_path / "out", "--input", str(pictures))
    assert main.main(arguments) == 1
    assert "bad.png: the file is cut off" in capsys.readouterr().err
    assert not (tmp_path / "out" / "results" / "origin.json").exists()
    assert main.main([*arguments, "--on_bad_label", "skip"]) == 1
    assert "1 pictures could not be read" in capsys.readouterr().err
    assert "bad" not in json.loads((tmp_path / "out" / "results" / "origin.json").read_text("utf-8"))["images"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--input", "nowhere"], "no such file or folder"),
        (["--resume", "nowhere.pth"], r"nowhere.pth: no such file"),
        (["--backbone", "resnet101"], "contradicts the checkpoint"),
        (["--input_h", "608"], "contradicts the checkpoint"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run_dir, tmp_path, capsys, flags, message):
    code = main.main(_arguments(run_dir, tmp_path / "out", *flags))
    assert code in (1, 2)
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.slow
def test_an_empty_folder_is_refused(run_dir, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main.main(_arguments(run_dir, tmp_path / "out", "--input", str(tmp_path / "empty"))) == 2
    assert "no picture there; known suffixes" in capsys.readouterr().err
    (tmp_path / "empty" / "cam1").mkdir()
    (tmp_path / "empty" / "cam1" / "a.JPG").touch()
    assert main.main(_arguments(run_dir, tmp_path / "out", "--input", str(tmp_path / "empty"))) == 2
    assert "no picture there but in folders of it, such as cam1; name one of them" in capsys.readouterr().err


@pytest.mark.slow
def test_data_and_seed_come_from_the_run_unless_a_flag_says_otherwise(run_dir, dota_folder, monkeypatch):
    data_dir = dota_folder()
    loaded = load_run(parse_settings(["--phase", "test", "--resume", str(run_dir)]))
    assert loaded.config.data_dir is None
    flags = ["--phase", "test", "--resume", str(run_dir), "--data_dir", str(data_dir), "--seed", "5"]
    loaded = load_run(parse_settings(flags))
    assert (loaded.config.data_dir, loaded.config.seed) == (data_dir, 5)


def test_no_permission_is_a_sentence_that_names_the_folder(run_dir, pictures, tmp_path, capsys, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main.main(_arguments(run_dir, tmp_path / "out", "--input", str(pictures))) == 1
    said = capsys.readouterr().err
    assert "permission denied" in said
    assert str(tmp_path / "out") in said


@pytest.mark.slow
def test_no_window_is_opened_and_no_key_waited_for(run_dir, pictures, tmp_path, monkeypatch):
    """Defect 14: a window, a wait for a key, nothing saved, a failure without a display."""
    for name in ("imshow", "waitKey", "namedWindow"):
        monkeypatch.setattr(cv2, name, lambda *_: pytest.fail("opened a window"), raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert main.main(_arguments(run_dir, tmp_path / "out", "--input", str(pictures))) == 0
    assert (tmp_path / "out" / "results" / "detections.json").exists()


@pytest.mark.slow
def test_pictures_of_the_size_that_was_trained_on_are_not_called_large(finding_checkpoint, tmp_path, capsys):
    """Trained on pictures shrunk to a third, a network was told to look at tiles that were not shrunk."""
    model, architecture, _ = load_checkpoint(finding_checkpoint)
    save_checkpoint(tmp_path / "own.pth", model, replace(architecture, picture_hw=(192, 288)))
    for (height, width), said in (((200, 310), ""), ((500, 800), "--tile 192 --overlap 32")):
        picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        (tmp_path / "a.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        flags = ["--phase", "test", "--resume", str(tmp_path / "own.pth"), "--input", str(tmp_path / "a.png")]
        assert main.main([*flags, "--out", str(tmp_path / "out"), "--num_workers", "0"]) == 0
        found = capsys.readouterr().err
        assert ("much larger" in found) == bool(said)
        assert said in found


@pytest.mark.slow
def test_big_pictures_are_cut_merged_and_drawn_without_writing_tiles(run_dir, tmp_path, capsys):
    folder = tmp_path / "big"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        picture = np.random.default_rng(0).integers(0, 256, (200, 310, 3), dtype=np.uint8)
        (folder / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    arguments = _arguments(run_dir, tmp_path / "out", "--input", str(folder), "--num_drawings", "1")
    assert main.main(arguments) == 0
    assert "a.png is 310 x 200, much larger" in capsys.readouterr().err
    assert main.main([*arguments, "--tile", "96", "--overlap", "32", "--scales", "0.5", "1"]) == 0
    assert "much larger" not in capsys.readouterr().err
    records = json.loads((tmp_path / "out" / "results" / "detections.json").read_text(encoding="utf-8"))
    assert [record["image"] for record in records] == ["a.png", "b.png"]
    assert all(record["boxes"] for record in records)
    assert {path.name for path in (tmp_path / "out" / "drawings").iterdir()} == {"a.png"}
    assert {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()} == {
        "a.png", "Task1_car.txt", "Task1_boat.txt", "detections.json", "origin.json", "log.txt",
    }  # fmt: skip


@pytest.mark.slow
def test_drawings_without_a_box_say_why(run_dir, pictures, tmp_path, capsys):
    arguments = _arguments(run_dir, tmp_path / "out", "--input", str(pictures))
    assert main.main([*arguments, "--draw_score", "1"]) == 0
    assert "so no box was drawn; lower --draw_score" in capsys.readouterr().err
    assert main.main([*arguments, "--draw_score", "0.01"]) == 0
    assert "no box was drawn" not in capsys.readouterr().err


def test_other_pictures_in_the_folder_of_drawings_are_not_replaced(run_dir, pictures, tmp_path, capsys):
    """`--input mine/images --out mine`: what a user drew into mine/drawings may be the only copy."""
    out = tmp_path / "out"
    name = next(iter(sorted(path.stem for path in pictures.iterdir())))
    (out / "drawings").mkdir(parents=True)
    (out / "drawings" / f"{name}.png").write_bytes(b"mine")
    assert main.main(_arguments(run_dir, out, "--input", str(pictures))) == 2
    assert "is there and is no earlier drawing; name another folder" in capsys.readouterr().err
    assert (out / "drawings" / f"{name}.png").read_bytes() == b"mine"
    assert not (out / "results").exists()


def test_a_name_that_results_cannot_hold_is_refused_before_the_work(run_dir, pictures, tmp_path, capsys):
    bad = next(iter(pictures.iterdir()))
    bad.rename(bad.with_name(f"zz {bad.suffix}"))
    assert main.main(_arguments(run_dir, tmp_path / "out", "--input", str(pictures))) == 1
    said = capsys.readouterr()
    assert "'zz ' begins or ends with a blank" in said.err
    assert "detecting: " not in said.err


@pytest.mark.slow
def test_drawings_of_other_pictures_do_not_stay_among_the_new_ones(run_dir, pictures, tmp_path):
    out = tmp_path / "out"
    assert main.main(_arguments(run_dir, out, "--input", str(pictures))) == 0
    before = sorted(path.name for path in (out / "drawings").iterdir())
    one = next(path for path in sorted(pictures.iterdir()))
    assert main.main(_arguments(run_dir, out, "--input", str(one))) == 0
    assert len(before) > 1
    assert [path.name for path in (out / "drawings").iterdir()] == [f"{one.stem}.png"]


@pytest.mark.slow
def test_boxes_that_k_cuts_off_are_told_of(run_dir, pictures, tmp_path, capsys, monkeypatch):
    """Known defect 18."""
    monkeypatch.setattr("tools.outcomes.SOUND_SCORE", 0.0)  # of a network that has learnt little
    for tile, what in (((), "picture"), (("--tile", "64", "--overlap", "0"), "tile")):
        flags = ["--input", str(pictures), "--K", "5", "--conf_thresh", "0", *tile]
        assert main.main(_arguments(run_dir, tmp_path / what, *flags)) == 0
        assert f"all 5 boxes that are kept of a {what} score" in capsys.readouterr().err
    assert main.main(_arguments(run_dir, tmp_path / "c", "--input", str(pictures), "--conf_thresh", "1")) == 0
    assert "boxes that are kept" not in capsys.readouterr().err


@pytest.mark.slow
def test_the_precision_of_a_test_is_fp32_unless_another_is_asked_for(run_dir, pictures, tmp_path):
    """And stands with the results, so that phase eval does not take the one for the other."""
    for name, flags in (("fp32", ()), ("fp32", ("--precision", "auto")), ("bf16", ("--precision", "bf16"))):
        out = tmp_path / "-".join([name, *flags])
        assert main.main(_arguments(run_dir, out, "--input", str(pictures), "--num_drawings", "0", *flags)) == 0
        assert json.loads((out / "results" / "origin.json").read_text(encoding="utf-8"))["precision"] == name


@pytest.mark.slow
def test_pictures_of_one_name_in_several_folders_have_results_and_drawings_of_their_own(run_dir, tmp_path):
    for number, folder in enumerate(("a", "b")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        picture = np.full((64, 96, 3), 80 * number, np.uint8)
        (tmp_path / "in" / folder / "1.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    out, pattern = tmp_path / "out", tmp_path / "in" / "*" / "*.png"
    assert main.main(_arguments(run_dir, out, "--input", str(pattern))) == 0
    assert {path.stem for path in (out / "drawings").iterdir()} == {"a_1", "b_1"}
    assert set(read_results(out / "results").images) == {"a_1", "b_1"}
    coco = [str(out), str(tmp_path / "found.json"), "--from", "detections", "--to", "coco"]
    assert convert_labels.main(coco) == 0
    images = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["images"]
    assert [image["file_name"] for image in images] == ["a_1.png", "b_1.png"]
    back = [str(out), str(tmp_path / "labels"), "--from", "detections", "--to", "labelme", "--copy_images"]
    assert convert_labels.main(back) == 0
    for name in ("a", "b"):
        copied = tmp_path / "labels" / f"{name}_1.png"
        assert copied.read_bytes() == (tmp_path / "in" / name / "1.png").read_bytes()
        assert json.loads(copied.with_suffix(".json").read_text(encoding="utf-8"))["imagePath"] == copied.name


@pytest.mark.slow
def test_some_of_the_classes_can_be_asked_for(run_dir, pictures, tmp_path, capsys):
    found = {}
    for more in ((), ("--classes", "boat")):
        out = tmp_path / f"out{len(more)}"
        assert main.main(_arguments(run_dir, out, "--input", str(pictures), *more)) == 0
        found[more] = {path.name: path.read_bytes() for path in (out / "results").glob("Task1_*")}
        records = json.loads((out / "results" / "detections.json").read_text(encoding="utf-8"))
        assert {box["class"] for record in records for box in record["boxes"]} == (
            {"boat"} if more else {"car", "boat"}
        )
    assert found["--classes", "boat"] == {"Task1_boat.txt": found[()]["Task1_boat.txt"]}
    assert main.main(_arguments(run_dir, tmp_path / "no", "--input", str(pictures), "--classes", "bota")) == 2
    assert "--classes bota: did you mean 'boat'? the network of" in capsys.readouterr().err


@pytest.mark.slow
def test_agnostic_boxes_leave_one_of_two_classes(run_dir, pictures, tmp_path):
    counts = []
    for more in ((), ("--agnostic_nms",)):
        out = tmp_path / f"out{len(more)}"
        flags = ["--input", str(pictures), "--num_drawings", "0", "--nms_thresh", "0.1", *more]
        assert main.main(_arguments(run_dir, out, *flags)) == 0
        records = json.loads((out / "results" / "detections.json").read_text(encoding="utf-8"))
        counts.append(sum(len(record["boxes"]) for record in records))
        assert json.loads((out / "results" / "origin.json").read_text(encoding="utf-8"))["agnostic"] == bool(more)
    assert counts[0] > counts[1] > 0
