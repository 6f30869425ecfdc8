"""Runtimes: what is not installed, not there or not loadable is a sentence that says what to do."""

from __future__ import annotations

import importlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tools.exported.onnx_facts import ModelFileError
from tools.exported.runtimes import _run_error, open_runtime
from tools.running.command_line import SettingsError


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_both_runtimes_give_the_same_outputs(exported, runtime: str) -> None:
    path = exported(nms=True)
    images = np.random.default_rng(0).integers(0, 256, (2, 70, 80, 3), dtype=np.uint8)
    run = open_runtime(path, runtime, threads=1)
    assert run.input_shape == (None, None, None, 3)
    found, expected = run(images), open_runtime(path, threads=1)(images)
    assert found["count"].min() > 0
    for name, atol in (("boxes", 1e-2), ("scores", 1e-4), ("labels", 0), ("count", 0)):
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_allclose(found[name], expected[name], atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_threads_get_the_outputs_of_their_own_pictures(exported, runtime: str) -> None:
    """With OpenVINO three threads got those of each other's pictures, without a word."""
    run = open_runtime(exported(nms=True), runtime, threads=1)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 1, 70, 80, 3), dtype=np.uint8)
    alone = [run(picture)["scores"] for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda number: run(pictures[number % 4])["scores"], range(80)))
    for number, scores in enumerate(together):
        np.testing.assert_allclose(scores, alone[number % 4], atol=1e-5)
    assert not np.allclose(alone[0], alone[1], atol=1e-4)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_runtime_that_is_not_installed_is_named_with_the_pip_line(exported, runtime, monkeypatch) -> None:
    real = importlib.import_module

    def refuse(name: str, *rest: object) -> object:
        if name == runtime:
            raise ModuleNotFoundError(f"No module named '{name}'")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(SettingsError, match=rf"package {runtime} is not installed.*pip install -r requirements-deploy"):
        open_runtime(exported(nms=True), runtime)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("onnxruntime", "cuda"), "--provider cuda is not in the installed onnxruntime, which has cpu"),
        (("onnxruntime", "tensorrt"), "pip install onnxruntime-gpu"),
        (("onnxruntime", "npu"), "--provider is 'npu'; it can be cpu, cuda, tensorrt"),
        (("openvino", "cuda"), "--provider cuda is for --runtime onnxruntime"),
        (("tvm",), "--runtime is 'tvm'; it can be onnxruntime, openvino"),
    ],
)
def test_what_is_not_there_is_refused_by_a_sentence(exported, arguments, message) -> None:
    with pytest.raises(SettingsError, match=message):
        open_runtime(exported(nms=True), *arguments)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_file_that_a_runtime_does_not_load_is_named(tmp_path, runtime) -> None:
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x08\x12\x07nothing")
    with pytest.raises(ModelFileError, match=r"cut\.onnx: (ONNX Runtime|OpenVINO) does not load it"):
        open_runtime(tmp_path / "cut.onnx", runtime)


def test_pictures_that_the_file_does_not_take_are_a_sentence(exported) -> None:
    run = open_runtime(exported(nms=True))
    with pytest.raises(ValueError, match=r"the runtime failed on pictures of shape \(1, 8, 8\)"):
        run(np.zeros((1, 8, 8), np.uint8))


def test_want_of_memory_is_told_with_the_remedy() -> None:
    error = _run_error(RuntimeError("Failed to allocate memory for requested buffer of size 1"), np.zeros((1, 5, 7, 3)))
    assert str(error).startswith("not enough memory for 1 pictures of 7 x 5; cut them with --tile 600 --overlap 100")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_signals_are_handled_after_two_files_were_opened_and_closed(exported, runtime: str) -> None:
    """The stack for signals was that of a plugin gone by then: the next worker that ended killed the training."""
    program = """
import os, pathlib, signal, sys
from tools.exported.runtimes import open_runtime
path, runtime = pathlib.Path(sys.argv[1]), sys.argv[2]
first = open_runtime(path, runtime, threads=1)
second = open_runtime(path, runtime, threads=1)
del first
del second
signal.signal(signal.SIGUSR1, lambda *signal: print("handled"))
os.kill(os.getpid(), signal.SIGUSR1)
"""
    command = [sys.executable, "-c", program, str(exported(nms=True)), runtime]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n")


@pytest.mark.slow
def test_no_runtime_is_imported_before_it_is_asked_for() -> None:
    """Nor torch, by the commands that run an exported file: it may not be installed there."""
    program = "import sys, tools.infer_onnx; print(*{'onnxruntime', 'openvino', 'torch'}.intersection(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
