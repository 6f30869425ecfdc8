"""The layers hold: an import goes down or stays in its folder (the checker itself is tested on made-up sources)."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
LAYERS = ("DOTA_devkit", "models", "datasets", "tools", "main", "tests")
# What a layer may import of the project; and of others, where the design says so.
FIRST_PARTY = {
    "DOTA_devkit": {"DOTA_devkit"},
    "models": {"models", "DOTA_devkit"},
    "datasets": {"datasets", "DOTA_devkit"},
    "tools": {"tools", "datasets", "models", "DOTA_devkit"},
    "main": {"tools"},
}
THIRD_PARTY = {"DOTA_devkit": {"numpy", "numba"}, "models": {"torch", "timm"}, "main": set()}
FILE_CALLS = {"open", "read_bytes", "read_text", "write_bytes", "write_text", "torch.load", "torch.save"}


def imported_names(path: str, source: str) -> list[tuple[int, str]]:
    """(line, absolute dotted name) of all that the source at `path` imports, at its top or in a function.

    Relative imports are made absolute; `import_module` and `__import__` count by the part of the name that is written
    out.
    """
    package, found = Path(path).parent.parts, []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Call) and called_name(node).split(".")[-1] in ("import_module", "__import__"):
            literal = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            if isinstance(literal, ast.Constant):
                found.append((node.lineno, str(literal.value)))
    return found


def called_name(call: ast.Call) -> str:
    """`torch.load` for a call of that; for a method of anything longer than a name, the method alone."""
    if isinstance(call.func, ast.Attribute):
        owner = call.func.value
        is_torch = isinstance(owner, ast.Name) and owner.id == "torch"
        return f"torch.{call.func.attr}" if is_torch else call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def broken_rules(path: str, source: str) -> list[str]:
    """What a source file at `path` (from the repository's root) imports or does that its layer may not."""
    layer = Path(path).with_suffix("").parts[0]
    broken = []
    for line, name in imported_names(path, source):
        top = name.split(".")[0]
        allowed = FIRST_PARTY[layer] if top in LAYERS else THIRD_PARTY.get(layer)
        if top not in LAYERS and (allowed is None or top in sys.stdlib_module_names):
            continue
        if top not in allowed:
            broken.append(f"{path}:{line}: {layer} may not import {name}")
    if layer == "models":
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        broken += [f"{path}:{call.lineno}: models opens no files" for call in calls if called_name(call) in FILE_CALLS]
    return broken


def sources() -> list[str]:
    files = [REPOSITORY / "main.py"]
    for layer in FIRST_PARTY:
        files += sorted((REPOSITORY / layer).rglob("*.py"))
    return [path.relative_to(REPOSITORY).as_posix() for path in files]


@pytest.mark.slow
@pytest.mark.parametrize("path", sources())
def test_imports_go_down_or_stay_in_their_folder(path: str) -> None:
    assert broken_rules(path, (REPOSITORY / path).read_text(encoding="utf-8")) == []


def test_every_layer_is_looked_at() -> None:
    layers = {path.split("/")[0] for path in sources()}
    assert layers == {"DOTA_devkit", "models", "datasets", "tools", "main.py"}
    assert "models/backbones/resnet.py" in sources()


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("DOTA_devkit/iou.py", "import torch"),
        ("DOTA_devkit/iou.py", "import cv2"),
        ("DOTA_devkit/iou.py", "def f():\n    import shapely.geometry"),
        ("DOTA_devkit/iou.py", "from datasets.readers import Sample"),
        ("DOTA_devkit/iou.py", "from ..tools import config"),
        ("models/ctrbox.py", "import cv2"),
        ("models/ctrbox.py", "import numpy"),
        ("models/ctrbox.py", "from datasets import targets"),
        ("models/backbones/resnet.py", "from ...datasets.targets import Targets"),
        ("models/ctrbox.py", "import tools.config"),
        ("models/ctrbox.py", "weights = torch.load(path)"),
        ("models/ctrbox.py", "text = open(path).read()"),
        ("models/ctrbox.py", "text = Path(path).read_text()"),
        ("datasets/loader.py", "from models import CTRBOX"),
        ("datasets/loader.py", "from tools.config import Config"),
        ("datasets/demo_scenes/things.py", "import models.decoder as decoder"),
        ("datasets/loader.py", "import importlib\nimportlib.import_module('models.decoder')"),
        ("datasets/loader.py", "__import__(f'tools.{name}')"),
        ("tools/train.py", "import main"),
        ("tools/train.py", "from tests.conftest import real_data"),
        ("main.py", "from models import CTRBOX"),
        ("main.py", "import torch"),
        ("main.py", "from datasets.demo import ensure_demo"),
    ],
)
def test_an_import_up_or_sideways_is_found(path: str, source: str) -> None:
    assert len(broken_rules(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("DOTA_devkit/iou.py", "import math\nimport numpy as np\nfrom DOTA_devkit.jit import njit\nimport numba"),
        ("models/ctrbox.py", "import torch.nn.functional\nfrom DOTA_devkit.boxes import free_quads\nmaps.save()"),
        ("models/backbones/resnet.py", "from .contract import Backbone\nfrom ..ctrbox import CTRBOX"),
        ("datasets/loader.py", "import torch, cv2, defusedxml\nfrom DOTA_devkit.labels import Labels"),
        ("tools/train.py", "import tqdm\nfrom datasets import loader\nfrom models import CTRBOX\nimport tools.config"),
        ("main.py", "import importlib\nfrom tools.config import parse\nimportlib.import_module(f'tools.{phase}')"),
        ("main.py", ""),
    ],
)
def test_an_import_down_or_within_the_folder_is_fine(path: str, source: str) -> None:
    assert broken_rules(path, source) == []


def test_phases_and_commands_are_no_libraries() -> None:
    """What one of them shares with another stands in a file of its own; benchmarks run them, as people do."""
    files = {path: (REPOSITORY / path).read_text(encoding="utf-8") for path in sources() if path.startswith("tools/")}
    doers = {"tools.train", "tools.test", "tools.eval"}
    doers |= {path[:-3].replace("/", ".") for path, source in files.items() if "__main__" in source}
    found = [
        f"{path}:{line}: {name}"
        for path, source in files.items()
        if not path.startswith(("tools/benchmark.py", "tools/benchmarks/"))
        for line, name in imported_names(path, source)
        if name.rpartition(".")[0] in doers or name in doers
    ]
    assert len(doers) > 20
    assert found == []


@pytest.mark.slow
def test_only_tools_and_main_see_the_settings() -> None:
    readers = {
        path.split("/")[0]
        for path in sources()
        for _, name in imported_names(path, (REPOSITORY / path).read_text(encoding="utf-8"))
        if f"{name}.".startswith(("tools.config.", "tools.setting_flags."))
    }
    assert readers == {"tools", "main.py"}


def test_nothing_needs_a_compiler_a_removed_module_or_an_edited_search_path() -> None:
    """Defect 19: swig and a compiler, `imp` and `distutils`, `sys.path` edits."""
    for path in sorted((REPOSITORY / "DOTA_devkit").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        names = {name.split(".")[0] for _, name in imported_names(f"DOTA_devkit/{path.name}", source)}
        assert not names & {"imp", "distutils", "setuptools", "ctypes", "subprocess"}, path
        assert "sys.path" not in source, path
    assert not [
        path for suffix in ("i", "c", "cpp", "pyx") for path in (REPOSITORY / "DOTA_devkit").glob(f"*.{suffix}")
    ]


@pytest.mark.parametrize("name", ["datasets", "tools", "models", "DOTA_devkit", "tests"])
def test_a_package_of_the_same_name_that_is_installed_does_not_take_our_place(name: str, tmp_path: Path) -> None:
    """Ours stood back behind any other without an __init__.py: `datasets` of Hugging Face, say, broke every command."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise ImportError('theirs')")
    program = [sys.executable, "-c", f"import {name}; print({name}.__file__)"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(program, cwd=REPOSITORY, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.strip() == str(REPOSITORY / name / "__init__.py"), done.stderr
