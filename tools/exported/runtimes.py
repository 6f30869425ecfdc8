"""Runtimes that execute an exported file: ONNX Runtime and OpenVINO behind one call; imports neither until asked."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from DOTA_devkit.reasons import first_line
from tools.exported.onnx_facts import ModelFileError
from tools.running.command_line import SettingsError

RUNTIMES = ("onnxruntime", "openvino")
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
MOST_THREADS = 1024  # runtimes start as many as they are told, until the machine has no more
INSTALL = "pip install -r requirements-deploy.txt"
_FULL = "cannot be allocated, std::bad_alloc, Failed to allocate, out of memory, bad allocation"


class Runtime(Protocol):
    """A loaded file. input_shape: (N, H, W, 3), None where an axis is free."""

    input_shape: tuple[int | None, ...]

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run on pictures (N, H, W, 3); the outputs by name. Several threads may call it."""


def open_runtime(path: Path, runtime: str = "onnxruntime", provider: str = "cpu", threads: int = 0) -> Runtime:
    """Load the file. `provider` (cpu, cuda or tensorrt) is ONNX Runtime's; `threads` 0 lets the runtime choose.

    Raises SettingsError for a runtime that is not installed, a provider that is not there or a number of threads that
    no machine has, ModelFileError for a file that the runtime refuses.
    """
    if runtime not in RUNTIMES:
        raise SettingsError(f"--runtime is '{runtime}'; it can be {', '.join(RUNTIMES)}")
    if not 0 <= threads <= MOST_THREADS:
        raise SettingsError(f"--threads {threads} must lie between 0 and {MOST_THREADS}")
    if runtime == "openvino":
        if provider != "cpu":
            raise SettingsError(f"--provider {provider} is for --runtime onnxruntime; OpenVINO runs on the CPU here")
        return _OpenVino(path, threads)
    return _OnnxRuntime(path, provider, threads)


class _OnnxRuntime:
    def __init__(self, path: Path, provider: str, threads: int) -> None:
        ort = _imported("onnxruntime")
        if provider not in PROVIDERS:
            raise SettingsError(f"--provider is '{provider}'; it can be {', '.join(PROVIDERS)}")
        there = ort.get_available_providers()
        if PROVIDERS[provider] not in there:
            names = [name for name, full in PROVIDERS.items() if full in there]
            raise SettingsError(
                f"--provider {provider} is not in the installed onnxruntime, which has {', '.join(names)}; "
                "pip install onnxruntime-gpu (in place of onnxruntime) on a machine with an NVIDIA GPU"
            )
        options = ort.SessionOptions()
        options.log_severity_level = 3  # what goes wrong is raised, too
        options.intra_op_num_threads = threads
        fallback = ["CPUExecutionProvider"] if provider != "cpu" else []
        try:
            self._session = ort.InferenceSession(str(path), options, providers=[PROVIDERS[provider], *fallback])
        except Exception as error:  # the kinds of error are not public
            raise ModelFileError(f"{path}: ONNX Runtime does not load it ({first_line(error)})") from error
        if PROVIDERS[provider] not in self._session.get_providers():
            raise SettingsError(
                f"--provider {provider} could not start, its libraries or its GPU are missing; give --provider cpu"
            )
        entry = self._session.get_inputs()[0]
        self._input = entry.name
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.input_shape = tuple(side if isinstance(side, int) else None for side in entry.shape)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        try:
            found = self._session.run(self._outputs, {self._input: images})
        except Exception as error:
            raise _run_error(error, images) from error
        return dict(zip(self._outputs, found, strict=True))


class _OpenVino:
    def __init__(self, path: Path, threads: int) -> None:
        core = _core_of(_imported("openvino"))
        settings: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            # Kernels of so many sizes are kept: by default of thousands, and a service that is given pictures of any
            # size grew by 50 MB for each thousand of them.
            "CPU_RUNTIME_CACHE_CAPACITY": 100,
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            self._model = core.compile_model(str(path), "CPU", settings)
        except Exception as error:
            raise ModelFileError(f"{path}: OpenVINO does not load it ({first_line(error)})") from error
        shape = self._model.inputs[0].partial_shape
        self.input_shape = tuple(None if side.is_dynamic else side.get_length() for side in shape)
        self._outputs = [output.get_any_name() for output in self._model.outputs]
        # A compiled model has one request, and threads that used it at once got the boxes of each other's pictures.
        self._one_at_a_time = Lock()

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        with self._one_at_a_time:
            try:
                found = self._model([images])
            except Exception as error:
                raise _run_error(error, images) from error
            return {name: np.array(found[number]) for number, name in enumerate(self._outputs)}


@cache
def _core_of(openvino: ModuleType) -> Any:
    """The one `openvino.Core` of the process, for as long as it lives.

    Its CPU plugin gives the thread that compiles first another stack for signals, and puts the earlier one back when
    the core goes. Where a second core goes after the first, that is the stack of the first, whose memory is free by
    then: the next signal (a data worker that ends, Ctrl-C) kills the process by SIGSEGV (OpenVINO 2026.4).
    """
    return openvino.Core()


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SettingsError(f"the package {name} is not installed or does not start ({error}); {INSTALL}") from error


def _run_error(error: Exception, images: np.ndarray) -> Exception:
    if any(word.lower() in str(error).lower() for word in _FULL.split(", ")):
        count, height, width = images.shape[:3]
        return ValueError(
            f"not enough memory for {count} pictures of {width} x {height}; cut them with --tile 600 --overlap 100, or "
            "lower --batch_size"
        )
    return ValueError(f"the runtime failed on pictures of shape {images.shape} ({first_line(error)})")
