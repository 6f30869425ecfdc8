"""The C++ program is built and finds in a picture what `tools.infer_onnx` finds with the same file."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from datasets.demo import draw_scene
from datasets.picture_files.images import read_image
from DOTA_devkit.task_files import ImageDetections
from tools.onnx_detector import OnnxDetector

SOURCE = Path(__file__).resolve().parent.parent / "tools" / "deploy_cpp"
NAMES = ('船 "x"', "a\\b\tc")  # class names that JSON must escape

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def program(request, tmp_path_factory) -> Path:
    """The program, built with this runtime; skipped where a part of it is missing."""
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed; apt-get install cmake g++")
    if request.param == "openvino":
        if importlib.util.find_spec("openvino") is None:
            pytest.skip("openvino is not installed; pip install -r requirements-deploy.txt")
        flags = [f"-DPython3_EXECUTABLE={sys.executable}"]
    else:
        root = os.environ.get("ONNXRUNTIME_ROOT")
        if root is None:
            pytest.skip("the Python package has no C++ headers; name a folder of ONNX Runtime by ONNXRUNTIME_ROOT")
        flags = [f"-DONNXRUNTIME_ROOT={root}"]
    folder = tmp_path_factory.mktemp(request.param)
    made = _run("cmake", "-S", SOURCE, "-B", folder, f"-DRUNTIME={request.param}", *flags)
    if made.returncode and "opencv" in made.stderr.lower():
        pytest.skip("OpenCV's headers are not installed; apt-get install libopencv-imgcodecs-dev libopencv-imgproc-dev")
    assert made.returncode == 0, made.stderr
    built = _run("cmake", "--build", folder)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "warning" not in built.stderr
    return folder / "detect"


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("数据") / "图 1.png"
    path.write_bytes(cv2.imencode(".png", draw_scene(np.random.default_rng(5))[0][:200])[1].tobytes())
    return path


def _run(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in words], capture_output=True, encoding="utf-8", check=False)


def test_prints_and_draws_the_boxes_that_python_finds(program, picture, exported, tmp_path) -> None:
    model, drawing = exported(nms=True), tmp_path / "图.png"
    found = OnnxDetector(model).detect([read_image(picture)])[0]
    score = float(found.scores[9:11].mean())  # ten boxes have more
    expected = ImageDetections(*(part[:10] for part in found))
    ran = _run(program, model, picture, drawing, "--score", score)
    assert ran.returncode == 0, ran.stderr
    rows = [line.rsplit(" ", 9) for line in ran.stdout.splitlines()]
    class_names = ("car", "boat")
    assert [row[0] for row in rows] == [class_names[label] for label in expected.labels]
    numbers = np.array([row[1:] for row in rows], float)
    np.testing.assert_allclose(numbers[:, 0], expected.scores, atol=2e-4)
    np.testing.assert_allclose(numbers[:, 1:], expected.quads.reshape(-1, 8), atol=2e-2)
    drawn, plain = read_image(drawing), read_image(picture)
    assert drawn.shape == plain.shape
    assert 0.005 < (drawn != plain).any(-1).mean() < 0.7


def test_class_names_are_those_of_the_file_in_any_script(program, picture, exported, tmp_path) -> None:
    model = onnx.load(exported(nms=True))
    next(entry for entry in model.metadata_props if entry.key == "classes").value = json.dumps(NAMES)
    onnx.save(model, tmp_path / "名.onnx")
    ran = _run(program, tmp_path / "名.onnx", picture, tmp_path / "o.png", "--score", 0.01)
    assert ran.returncode == 0, ran.stderr
    assert {line.rsplit(" ", 9)[0] for line in ran.stdout.splitlines()} <= set(NAMES)
    assert ran.stdout


def test_bad_input_is_a_sentence(program, picture, exported, tmp_path) -> None:
    model, out = exported(nms=True), tmp_path / "o.png"
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    deep, cut = tmp_path / "deep.png", tmp_path / "cut.jpg"
    deep.write_bytes(cv2.imencode(".png", np.zeros((32, 32), np.uint16))[1].tobytes())
    jpeg = cv2.imencode(".jpg", read_image(picture))[1].tobytes()
    cut.write_bytes(jpeg[:2] + b"\xff\xe2\0\x06\xff\xd8\xff\xd9" + jpeg[2 : len(jpeg) // 2])  # with a thumbnail's end
    before = picture.read_bytes()
    cases = [
        ((), 2, "usage: detect MODEL.onnx PICTURE OUT.png"),
        ((model, picture, out, "--score", "1.5x"), 2, "must be a number within 0 and 1"),
        ((tmp_path / "text.onnx", picture, out), 1, "error: "),
        ((tmp_path / "nowhere.onnx", picture, out), 1, "error: "),
        ((exported(), picture, out), 1, "export it with --nms"),
        ((model, tmp_path / "text.png", out), 1, "cannot be read as a picture"),
        ((model, tmp_path / "empty.png", out), 1, "cannot be read as a picture"),
        ((model, deep, out), 1, "deep.png: has more than 8 bits a value"),
        ((model, cut, out), 1, "cut.jpg: the file is cut off before its end"),
        ((model, picture, tmp_path / "nowhere" / "o.png"), 1, "cannot be written"),
        ((model, picture, picture), 2, "is an input; name another file"),
        ((model, picture, picture.parent / "." / picture.name), 2, "is an input; name another file"),
    ]
    for words, code, said in cases:
        ran = _run(program, *words)
        assert (ran.returncode, said in ran.stderr) == (code, True), (words, ran.stderr)
    assert not out.exists()
    assert picture.read_bytes() == before
