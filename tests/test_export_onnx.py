"""The command that exports: every kind of file proves itself, and one that cannot is not left behind."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.conftest import save_finding_network
from tools import export_onnx
from tools.detector import Detector
from tools.export_onnx import main
from tools.exported import export_parity
from tools.exported.onnx_facts import FileFacts, read_properties
from tools.onnx_detector import OnnxDetector
from tools.outcomes import Tiling


def _facts(path) -> FileFacts:
    return FileFacts.from_properties(read_properties(path), path)


@pytest.mark.slow
def test_the_command_writes_a_file_that_says_what_it_is(finding_checkpoint, dota_folder, tmp_path, capsys) -> None:
    output = tmp_path / "模型" / "图 1.onnx"
    pictures = str(dota_folder() / "images")
    flags = ["--nms", "--K", "64", "--pictures", pictures]
    assert main(["--resume", str(finding_checkpoint), "--output", str(output), *flags]) == 0
    said = capsys.readouterr().out
    assert "same as the checkpoint: " in said
    assert "0 without a partner" in said
    facts = _facts(output)
    assert (facts.class_names, facts.input_hw, facts.num_peaks) == (("car", "boat"), (64, 96), 64)
    assert (facts.nms, facts.letterbox, facts.dynamic, facts.conf_thresh, facts.nms_thresh) == (
        True, True, True, 0.01, 0.3,
    )  # fmt: skip
    assert len(facts.sha256) == 64
    assert [path.name for path in output.parent.iterdir()] == ["图 1.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "shape", "letterbox"),
    [
        ({"letterbox": False}, (None, None, None, 3), False),
        pytest.param({"float_input": True, "dynamic": False}, (1, 64, 96, 3), False, marks=pytest.mark.long),
        pytest.param(
            {"dynamic": False, "batch": 2, "fixed_hw": (90, 70), "nms": True}, (2, 90, 70, 3), True,
            marks=pytest.mark.long,
        ),
    ],
)  # fmt: skip
def test_other_kinds_of_file(finding_checkpoint, exported, settings, shape, letterbox) -> None:
    """Each was compared with the checkpoint when it was made; here with the usual file, on pictures of other sizes."""
    path = exported(**settings)
    detector = OnnxDetector(path)
    sides = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert tuple(side.dim_value or None for side in sides) == shape
    assert detector.facts.letterbox == letterbox
    for output in onnx.load(path).graph.output:
        first = output.type.tensor_type.shape.dim[0]
        assert (first.dim_value or first.dim_param) == ("batch" if shape[0] is None else shape[0])
    assert ("divide them by k" in read_properties(path)["output_boxes"]) == (not letterbox)
    assert detector.facts.input_kind == ("float32" if settings.get("float_input") else "uint8")
    usual = OnnxDetector(exported(nms=True))
    size = shape[1:3] if None not in shape[1:3] else (64, 96)
    pictures = [np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8) for seed in range(3)]
    for found, expected in zip(detector.detect(pictures), usual.detect(pictures), strict=True):
        num = min(len(found.scores), len(expected.scores), 60)
        assert num > 5
        np.testing.assert_allclose(found.scores[:num], expected.scores[:num], atol=1e-4)
        np.testing.assert_allclose(found.quads[:num], expected.quads[:num], atol=2e-2)


@pytest.mark.slow
@pytest.mark.parametrize("in_channels", [1, 4, 7])
def test_a_light_network_of_other_channels_is_exported_and_finds_in_whole_pictures_and_in_tiles(
    tmp_path, in_channels
) -> None:
    """The command itself compares the file with the checkpoint, box by box."""
    checkpoint, path = tmp_path / "best.pth", tmp_path / "light.onnx"
    light = {"neck": "fpn", "neck_width": 16, "head_width": 24}
    save_finding_network(checkpoint, "mobilenetv2", in_channels=in_channels, **light)
    assert main(["--resume", str(checkpoint), "--output", str(path), "--K", "32"]) == 0
    detector = OnnxDetector(path)
    assert detector.facts.in_channels == in_channels
    sides = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert sides[-1].dim_value == in_channels
    picture = np.random.default_rng(0).integers(0, 256, (100, 120, in_channels), dtype=np.uint8)
    assert len(detector.detect([picture])[0].scores) > 0
    assert len(detector.detect_tiled(picture, Tiling(64, 16)).scores) > 0


@pytest.mark.long
def test_half_is_half_as_large_and_finds_nearly_the_same(exported) -> None:
    half, whole = exported(half=True), exported(nms=False)
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    assert _facts(half).precision == "fp16"
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    found, expected = (OnnxDetector(path).detect([picture])[0] for path in (half, whole))
    num = min(len(found.scores), len(expected.scores)) // 2
    assert num > 5
    np.testing.assert_allclose(found.scores[:num], expected.scores[:num], atol=2e-2)


@pytest.mark.slow
def test_an_export_in_which_no_box_was_compared_says_so(finding_checkpoint, tmp_path, capsys) -> None:
    flags = ["--resume", str(finding_checkpoint), "--output", str(tmp_path / "a.onnx"), "--conf_thresh", "1"]
    assert main(flags) == 0
    assert "no box scores 1.0 in the" in capsys.readouterr().err


@pytest.mark.slow
def test_a_file_that_differs_is_not_left_behind(finding_checkpoint, tmp_path, capsys, monkeypatch) -> None:
    def differ(self, limits) -> None:
        raise export_parity.ParityError("corners differ by up to 3 px")

    monkeypatch.setattr(export_parity.Parity, "check", differ)
    output = tmp_path / "model.onnx"
    assert main(["--resume", str(finding_checkpoint), "--output", str(output), "--K", "20"]) == 1
    said = capsys.readouterr().err
    assert "model.onnx was not written, it does not do what" in said
    assert "corners differ by up to 3 px" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--opset", "9"], 2, "--opset 9 is too old"),
        (["--K", "4000"], 2, "--K is 4000; it must lie between 1 and 3840"),
        (["--nms_thresh", "1.5"], 2, "--nms_thresh is 1.5; it must lie between 0 and 1"),
        (["--batch", "2"], 2, "give --no_dynamic with them"),
        (["--no_dynamic", "--height", "64"], 2, "--height and --width go together"),
        (["--no_dynamic", "--no_letterbox", "--height", "60", "--width", "64"], 2, "must be multiples of 32"),
        (["--output", "model.txt"], 2, "name a file that ends in .onnx"),
        (["--resume", "nowhere.pth"], 1, "nowhere.pth: no such file"),
        (["--pictures", "nowhere"], 2, "--pictures nowhere: no such folder"),
        (["--nmss"], 2, "unrecognized arguments: --nmss"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(finding_checkpoint, tmp_path, capsys, flags, code, message) -> None:
    arguments = ["--resume", str(finding_checkpoint), "--output", str(tmp_path / "model.onnx"), *flags]
    assert main(arguments) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_onnxruntime_the_pip_line_is_named(finding_checkpoint, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(export_onnx.importlib.util, "find_spec", lambda name: None)
    assert main(["--resume", str(finding_checkpoint), "--output", str(tmp_path / "model.onnx")]) == 2
    assert "pip install -r requirements-deploy.txt" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_file_of_four_views_finds_what_the_checkpoint_finds_in_them(finding_checkpoint, exported, runtime) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    file = OnnxDetector(exported(nms=True, num_views=4), runtime)
    assert (file.facts.num_views, file.settings.num_views) == (4, 4)
    expected = Detector(finding_checkpoint, tta_views=4).detect([picture])[0]
    plain = Detector(finding_checkpoint).detect([picture])[0]
    for found, is_same in ((expected, True), (plain, False)):
        boxes = file.detect([picture])[0]
        num = min(len(boxes.scores), len(found.scores))
        assert num > 5
        assert np.allclose(boxes.scores[:num], found.scores[:num], atol=1e-4) == is_same
    assert len(boxes.scores) == len(expected.scores)


@pytest.mark.slow
def test_what_the_disk_refuses_names_the_file_that_was_asked_for(finding_checkpoint, tmp_path, capsys) -> None:
    """It named a hidden one."""
    (tmp_path / "file").touch()
    assert main(["--resume", str(finding_checkpoint), "--output", str(tmp_path / "file" / "b.onnx")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'file' / 'b.onnx'}: ")
