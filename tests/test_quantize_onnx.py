"""A quantised file is int8 where it should be, keeps what the file says of itself, and finds nearly the same boxes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from datasets.demo import draw_scene
from datasets.picture_files.images import read_image
from tools import quantize_onnx
from tools.exported.onnx_facts import read_properties
from tools.exported.onnx_network import HEAT_MAP
from tools.exported.quantization import calibration_pictures, quantize_file
from tools.exported.runtimes import open_runtime
from tools.onnx_detector import OnnxDetector


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Four pictures of different sizes."""
    folder = tmp_path_factory.mktemp("数据")
    for number, height in enumerate((200, 256, 120, 256)):
        scene = draw_scene(np.random.default_rng([3, number]))[0][:height]
        (folder / f"图 {number}.png").write_bytes(cv2.imencode(".png", scene)[1].tobytes())
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def quantized(exported, pictures, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "model_int8.onnx"
    assert quantize_file(exported(nms=True), path, pictures, "drawn scenes") == 27
    return path


def test_the_network_is_in_int8_but_for_the_last_layer(quantized, exported) -> None:
    model = onnx.load(quantized)
    unpacked = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    plain = {n.name for n in model.graph.node if n.op_type == "Conv" and not {n.input[0], n.input[1]} <= unpacked}
    assert {name.split("/")[2] for name in plain} == {"hm"}
    assert len(plain) == 1
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
    assert quantized.stat().st_size < 0.3 * exported(nms=True).stat().st_size


def test_the_file_says_what_it_said_and_what_it_was_calibrated_on(quantized, exported) -> None:
    before, after = read_properties(exported(nms=True)), read_properties(quantized)
    changed = {key for key in after if after[key] != before.get(key)}
    assert changed == {"precision", "calibration", "quantized_from", "quantized_from_sha256"}
    assert set(before) <= set(after)
    assert after["precision"] == "int8"
    assert json.loads(after["calibration"])["pictures"] == 4
    assert json.loads(after["calibration"])["from"] == "drawn scenes"


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_heat_map_is_nearly_the_same(runtime, quantized, exported, pictures, tmp_path) -> None:
    """Of weights drawn at random, whose boxes are far more sensitive than those of a trained network."""
    picture = read_image(pictures[1])[None]
    expected, found = (_heat_map(path, runtime, picture, tmp_path) for path in (exported(nms=True), quantized))
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.95
    assert np.abs(expected - found).max() > 0


def _heat_map(path, runtime, picture, folder) -> np.ndarray:
    model = onnx.load(path)
    name = [node.output[0] for node in model.graph.node if HEAT_MAP.match(node.name)][-1]
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    onnx.save(model, folder / "maps.onnx")
    return list(open_runtime(folder / "maps.onnx", runtime)(picture).values())[-1]


@pytest.mark.long
def test_a_file_with_views_is_quantised_but_for_the_last_layer_of_each(exported, pictures, tmp_path) -> None:
    """It was refused as one without convolutions."""
    path = tmp_path / "q.onnx"
    assert quantize_file(exported(num_views=2), path, pictures, "drawn scenes") >= 2 * 20
    model = onnx.load(path)
    unpacked = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    plain = [n.name for n in model.graph.node if n.op_type == "Conv" and not {n.input[0], n.input[1]} <= unpacked]
    last = [name for name in plain if HEAT_MAP.match(name)]
    assert len(last) == 2
    assert len({HEAT_MAP.match(name)[1] for name in last}) == 1
    alone = tmp_path / "alone.onnx"  # whose weights the two views share: each had its own, so that int8 saved nothing
    quantize_file(exported(num_views=1), alone, pictures, "drawn scenes")
    assert path.stat().st_size < 1.2 * alone.stat().st_size
    picture = read_image(pictures[1])[None]
    expected, found = (_heat_map(file, "onnxruntime", picture, tmp_path) for file in (exported(num_views=2), path))
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.95


@pytest.mark.long
@pytest.mark.parametrize("how", [{"dynamic": False, "batch": 2}, {"letterbox": False}, {"float_input": True}])
def test_every_kind_of_file_can_be_quantised(how, exported, pictures, tmp_path) -> None:
    quantize_file(exported(**how), tmp_path / "q.onnx", pictures, "x")
    assert len(OnnxDetector(tmp_path / "q.onnx").detect([read_image(pictures[0])])[0].scores)


def test_calibration_takes_training_pictures_spread_evenly(dota_folder, tmp_path) -> None:
    names = [f"p{number}" for number in range(9)]
    data_dir = dota_folder(names=names, lists={"train": names[2:], "val": names[:2]})
    assert [path.stem for path in calibration_pictures(data_dir, 3)] == ["p2", "p5", "p8"]
    assert len(calibration_pictures(data_dir, 100)) == 7
    flat = data_dir.parent / "flat"  # pictures and labels side by side: those of val are no pictures to calibrate on
    flat.mkdir()
    for name in ("a", "b", "c"):
        shutil.copy(data_dir / "images" / "p0.png", flat / f"{name}.png")
        (flat / f"{name}.xml").write_text("<annotation/>", encoding="utf-8")
    (flat / "train.txt").write_text("a\n")
    (flat / "val.txt").write_text("b\nc\n")
    assert [path.stem for path in calibration_pictures(flat, 10)] == ["a"]
    folder = data_dir / "images"
    assert [path.stem for path in calibration_pictures(folder, 2)] == ["p0", "p8"]
    assert calibration_pictures(folder / "p4.png", 5) == [folder / "p4.png"]


@pytest.mark.slow
def test_the_command_says_what_it_did(exported, pictures, tmp_path, capsys) -> None:
    out = tmp_path / "new" / "q.onnx"
    model, folder = str(exported(nms=True)), str(pictures[0].parent)
    assert quantize_onnx.main([model, str(out), "--calibration", folder, "--num", "1"]) == 0
    assert "27 convolutions in int8" in capsys.readouterr().out
    assert OnnxDetector(out).facts.precision == "int8"
    assert [path.name for path in out.parent.iterdir()] == ["q.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["MODEL", "OUT", "--calibration", "PICTURES", "--num", "0"], 2, "--num is 0; it must be at least 1"),
        (["MODEL", "OUT.txt", "--calibration", "PICTURES"], 2, "name an output that ends in .onnx"),
        (["MODEL", "MODEL", "--calibration", "PICTURES"], 2, "is the input"),
        (["MODEL", "OUT"], 2, "--calibration"),
        (["MODEL", "OUT", "--calibration", "nowhere"], 2, "nowhere: no such file or folder"),
        (["MODEL", "OUT", "--calibration", "EMPTY"], 2, "no picture there, and no data folder"),
        (["MODEL", "OUT", "--calibration", "MODEL"], 2, "not a picture"),
        (["MODEL", "OUT", "--calibration", "DAMAGED"], 1, "broken.png"),
        (["TEXT", "OUT", "--calibration", "PICTURES"], 1, "no ONNX file"),
        (["OTHER", "OUT", "--calibration", "PICTURES"], 1, "an ONNX file of something else"),
        (["INT8", "OUT", "--calibration", "PICTURES"], 1, "is in int8; quantise the file in fp32"),
        (["nowhere.onnx", "OUT", "--calibration", "PICTURES"], 1, "no such file"),
    ],
)
def test_bad_input_is_a_sentence(words, code, said, exported, quantized, pictures, tmp_path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "broken.png").write_bytes(pictures[0].read_bytes()[:500])
    (tmp_path / "text.onnx").write_text("hello")
    onnx.save(_other_model(), tmp_path / "other.onnx")
    paths = {
        "MODEL": exported(nms=True), "OUT": tmp_path / "q.onnx", "OUT.txt": tmp_path / "q.txt",
        "PICTURES": pictures[0].parent, "EMPTY": tmp_path / "empty", "DAMAGED": tmp_path / "damaged",
        "TEXT": tmp_path / "text.onnx", "OTHER": tmp_path / "other.onnx", "INT8": quantized,
    }  # fmt: skip
    assert quantize_onnx.main([str(paths.get(word, word)) for word in words]) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("error: ")
    assert not (tmp_path / "q.onnx").exists()


def _other_model() -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    return helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out]))


@pytest.mark.slow
def test_no_torch_is_imported() -> None:
    code = "import sys, tools.quantize_onnx, tools.exported.onnx_network; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
