"""What detection without torch imports is what requirements-deploy.txt brings."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import cv2
import numpy as np
import pytest

REPOSITORY = Path(__file__).parent.parent
PROGRAM = """
import sys
from tools.{command} import main
code = main(sys.argv[1:])
names = {{name.partition(".")[0] for name, module in sys.modules.items() if "site-packages" in str(module)}}
print("imported:", *sorted(names))
sys.exit(code)
"""


def named_in(file_name: str) -> set[str]:
    """The distributions of a file of requirements, and of those that it refers to."""
    found: set[str] = set()
    for line in (REPOSITORY / file_name).read_text().splitlines():
        if line.startswith("-r "):
            found |= named_in(line[3:].strip())
        elif line.strip():
            found.add(normal(line))
    return found


def normal(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-").replace(".", "-")


def brought_by(names: set[str]) -> set[str]:
    """The distributions, and what they need in turn."""
    everything, new = set(), set(names)
    while new:
        everything |= new
        needed = set()
        for name in new:
            try:
                needed |= {normal(item) for item in requires(name) or () if "extra ==" not in item}
            except PackageNotFoundError:
                continue  # of another system
        new = needed - everything
    return everything


@pytest.mark.slow
@pytest.mark.parametrize("command", ["infer_onnx", "quantize_onnx"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_machine_that_only_detects_needs_no_more_than_is_said(exported, tmp_path, command: str, runtime: str) -> None:
    """The first command of such a machine ended in a traceback: cv2, then numba, then tqdm were missing."""
    pytest.importorskip(runtime)
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), np.zeros((40, 60, 3), np.uint8))
    flags = [tmp_path / "in", tmp_path / "out", "--runtime", runtime]
    if command == "quantize_onnx":
        flags = [tmp_path / "out.onnx", "--calibration", tmp_path / "in"]
    program = [sys.executable, "-c", PROGRAM.format(command=command), exported(nms=True), *flags]
    done = subprocess.run(list(map(str, program)), cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = done.stdout.split("imported:")[1].split()
    by_package = packages_distributions()
    needed = {normal(by_package[name][0]) for name in imported if name in by_package}
    assert {"numpy", "opencv-python-headless", "onnx"} <= needed
    not_asked_for = {"setuptools", "pip", "absl-py"}  # openvino takes absl where something else has brought it
    assert needed - brought_by(named_in("requirements-deploy.txt")) - not_asked_for == set()


def test_training_needs_what_detection_does_and_torch() -> None:
    assert named_in("requirements.txt") - named_in("requirements-base.txt") == {"torch", "accelerate"}
