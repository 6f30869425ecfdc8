"""The command that detects with an exported file: the files of phase test, no torch, a sentence for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import main as program
from DOTA_devkit.task_files import read_results
from tools.detection.results import read_origin
from tools.infer_onnx import main

REPOSITORY = Path(__file__).resolve().parent.parent


def _write(path: Path, picture: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(path.suffix.lower(), picture)[1].tobytes())


@pytest.fixture
def pictures(dota_folder) -> Path:
    """A folder with a foreign name; pictures of several sizes, kinds of pixels and names."""
    folder = dota_folder("数据", names=["图 1", "b__c"]) / "images"
    rng = np.random.default_rng(0)
    _write(folder / "grey.JPG", rng.integers(0, 256, (90, 50), dtype=np.uint8))
    _write(folder / "dot.bmp", rng.integers(0, 256, (1, 1, 3), dtype=np.uint8))
    _write(folder / "rgba.png", rng.integers(0, 256, (40, 60, 4), dtype=np.uint8))
    _write(folder / "deep.png", rng.integers(0, 65536, (60, 40, 3), dtype=np.uint16))
    return folder


@pytest.mark.slow
def test_a_folder_gives_the_files_that_phase_test_gives(
    exported, finding_checkpoint, pictures, tmp_path, capsys
) -> None:
    before = sorted(pictures.iterdir())
    out = tmp_path / "出"
    assert main([str(exported(nms=True)), str(pictures), str(out), "--draw_score", "0.02"]) == 0
    assert "on 6 pictures" in capsys.readouterr().out
    assert sorted(pictures.iterdir()) == before
    torch_out = tmp_path / "torch"
    flags = ["--phase", "test", "--resume", str(finding_checkpoint), "--input", str(pictures), "--out", str(torch_out)]
    assert program.main([*flags, "--num_workers", "0", "--draw_score", "0.02"]) == 0
    for part in ("results", "drawings"):
        names = [{path.name for path in (folder / part).iterdir()} for folder in (out, torch_out)]
        assert names[0] == names[1]
    records, expected = (
        json.loads((folder / "results" / "detections.json").read_text(encoding="utf-8")) for folder in (out, torch_out)
    )
    assert [record["image"] for record in records] == [record["image"] for record in expected]
    for ours, theirs in zip(records, expected, strict=True):
        assert (ours["height"], ours["width"]) == (theirs["height"], theirs["width"])
        assert [box["class"] for box in ours["boxes"]] == [box["class"] for box in theirs["boxes"]]
        for box, other in zip(ours["boxes"], theirs["boxes"], strict=True):
            np.testing.assert_allclose(box["quad"], other["quad"], atol=2e-2)
    results = read_results(out / "results", ["car", "boat"]).images
    assert len(results["图 1"].scores) == len(records[[r["image"] for r in records].index("图 1.png")]["boxes"]) > 0
    origin = read_origin(out / "results")
    assert set(origin["images"]) == {"图 1", "b__c", "grey", "dot", "rgba", "deep"}
    assert origin.keys() == read_origin(torch_out / "results").keys()
    drawings = [cv2.imdecode(np.fromfile(folder / "drawings" / "图 1.png", np.uint8), 1) for folder in (out, torch_out)]
    assert np.abs(drawings[0].astype(int) - drawings[1]).mean() < 0.5


@pytest.mark.slow
def test_some_of_the_classes_can_be_asked_for(exported, pictures, tmp_path, capsys) -> None:
    command = [str(exported(nms=True)), str(pictures), str(tmp_path / "all")]
    assert main(command) == 0
    assert main([*command[:2], str(tmp_path / "boats"), "--classes", "boat"]) == 0
    found, boats = (read_results(tmp_path / name / "results") for name in ("all", "boats"))
    assert boats.class_names == ["boat"]
    expected = {name: boxes.quads[boxes.labels == 0] for name, boxes in found.images.items()}  # in alphabetical order
    assert {name: boxes.quads.tolist() for name, boxes in boats.images.items()} == {
        name: quads.tolist() for name, quads in expected.items() if len(quads)
    }
    assert main([*command[:2], str(tmp_path / "none"), "--classes", "bus"]) == 2
    assert "--classes bus: the network of" in capsys.readouterr().err


@pytest.mark.slow
def test_one_picture_in_tiles_on_openvino(exported, tmp_path, capsys) -> None:
    _write(tmp_path / "big.png", np.random.default_rng(0).integers(0, 256, (150, 250, 3), dtype=np.uint8))
    arguments = [str(exported(nms=True)), str(tmp_path / "big.png"), str(tmp_path / "out"), "--num_drawings", "0"]
    assert main(arguments) == 0
    assert "big.png is 250 x 150, much larger than the network is used to" in capsys.readouterr().err
    tiles = ["--tile", "96", "--overlap", "32", "--batch_size", "4", "--runtime", "openvino", "--threads", "1"]
    assert main([*arguments, *tiles]) == 0
    assert "much larger" not in capsys.readouterr().err
    records = json.loads((tmp_path / "out" / "results" / "detections.json").read_text(encoding="utf-8"))
    corners = np.array([box["quad"] for box in records[0]["boxes"]]).reshape(-1, 4, 2)
    assert len(corners) > 20
    assert corners.max(axis=(0, 1))[0] > 150
    assert not (tmp_path / "out" / "drawings").exists()
    assert read_origin(tmp_path / "out" / "results")["tiles"] == [96, 32, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"nms": True}, {"letterbox": False}])
def test_no_torch_is_imported(exported, pictures, tmp_path, settings) -> None:
    code = (
        "import sys; from tools.infer_onnx import main; code = main(sys.argv[1:]); "
        "assert not {'torch', 'torchvision', 'matplotlib', 'accelerate'} & sys.modules.keys(); sys.exit(code)"
    )
    arguments = [str(exported(**settings)), str(pictures / "b__c.png"), str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_bad_picture_stops_by_name_or_is_left_out_with_exit_code_1(exported, pictures, tmp_path, capsys) -> None:
    """What was found before it is kept: it was lost."""
    (pictures / "cut.png").write_bytes((pictures / "b__c.png").read_bytes()[:300])
    arguments = [str(exported(nms=True)), str(pictures), str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "cut.png: the file is cut off" in capsys.readouterr().err
    origin = read_origin(tmp_path / "out" / "results")
    assert (origin["images"], origin["stopped"]) == (["b__c"], True)
    assert main([*arguments, "--on_bad_picture", "skip"]) == 1
    assert "cut" not in read_origin(tmp_path / "out" / "results")["images"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--provider", "tensorrt"], 2, "--provider tensorrt is not in the installed onnxruntime"),
        (["--tile", "50", "--overlap", "50"], 2, "the overlap must lie within [0, size)"),
        (["--tile", "50", "--overlap", "5", "--scales", "0"], 2, "--scales is [0.0]; each must be at least 0.01"),
        (["--conf_thresh", "2"], 2, "--conf_thresh is 2.0; it must lie between 0 and 1"),
        (["--agnostic_nms"], 2, "--agnostic_nms: NMS by class is inside"),
        (["--batch_size", "0"], 2, "--batch_size is 0; it must be at least 1"),
        (["--threads", "100000"], 2, "--threads 100000 must lie between 0 and 1024"),
        (["--line_width", "40000"], 2, "--line_width is 40000; it must lie between 0 and 1000"),
        (["--scales", "0.5"], 2, "--scales goes with --tile"),
        (["--tile", "1", "--overlap", "0"], 2, "--tile is 1; it must be at least 32"),
    ],
)
def test_a_wrong_flag_is_one_sentence(exported, pictures, tmp_path, capsys, flags, code, message) -> None:
    assert main([str(exported(nms=True)), str(pictures), str(tmp_path / "out"), *flags]) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_wrong_files_are_one_sentence(exported, pictures, tmp_path, capsys) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "empty").mkdir()
    model = str(exported(nms=True))
    for arguments, code, message in (
        (["nowhere.onnx", str(pictures), "out"], 1, "nowhere.onnx: no such file"),
        ([str(tmp_path / "text.onnx"), str(pictures), str(tmp_path / "out")], 1, "is damaged, or no ONNX file"),
        ([model, "nowhere", "out"], 2, "nowhere: no such file or folder"),
        ([model, str(tmp_path / "empty"), "out"], 2, "no picture there"),
        ([model, str(pictures), str(pictures)], 2, "lies in the inputs"),
    ):
        assert main(arguments) == code
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


def test_a_file_where_a_folder_is_needed_is_told_before_the_work(exported, pictures, tmp_path, capsys) -> None:
    model = str(exported(nms=True))
    (tmp_path / "file").touch()
    assert main([model, str(pictures), str(tmp_path / "file")]) == 2
    (tmp_path / "out" / "results").mkdir(parents=True)
    (tmp_path / "out" / "results" / "detections.json").write_text("earlier")
    (tmp_path / "out" / "drawings").touch()
    assert main([model, str(pictures), str(tmp_path / "out")]) == 2
    assert f"{tmp_path / 'out' / 'drawings'}: is a file; name another folder" in capsys.readouterr().err
    assert (tmp_path / "out" / "results" / "detections.json").read_text() == "earlier"


@pytest.mark.slow
def test_boxes_that_the_files_k_cuts_off_are_told_of(exported, pictures, tmp_path, capsys, monkeypatch) -> None:
    """Known defect 18; phase test told of them, and the exported file was silent."""
    monkeypatch.setattr("tools.outcomes.SOUND_SCORE", 0.0)  # of a network that has learnt little
    model, source = str(exported(num_peaks=5, conf_thresh=0.0)), str(pictures / "图 1.png")
    for number, (tile, what) in enumerate((((), "picture"), (("--tile", "64", "--overlap", "0"), "tile"))):
        assert main([model, source, str(tmp_path / str(number)), *tile]) == 0
        told = capsys.readouterr().err
        assert f"all 5 boxes that are kept of a {what} score" in told
        assert "export it with --K 10" in told
    assert main([model, source, str(tmp_path / "c"), "--conf_thresh", "1"]) == 0
    assert "boxes that are kept" not in capsys.readouterr().err
