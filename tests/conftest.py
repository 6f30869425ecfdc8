"""Fixtures that tests share: the folders of real data, and small data sets drawn on the spot."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

# Before torch and OpenBLAS come to life, and for the tests' sub-processes: threads that outnumber the free cores wait
# for one another, and a step of a small network then takes a hundred times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pytest
import torch
from hypothesis import settings

from DOTA_devkit.boxes import boxes_to_quads
from models import IMAGENET, normalize
from models.backbones import BACKBONES, Backbone
from models.backbones.resnet import Bottleneck
from tools.architecture import Architecture
from tools.checkpoint import save_checkpoint
from tools.config import Config
from tools.running.messages import forget_warnings
from tools.training import transfer

REPOSITORY = Path(__file__).resolve().parent.parent
CLASS_NAMES = ("car", "boat")
COLOURS_BGR = ((40, 60, 220), (230, 200, 60))
SIZES = ((26, 13), (36, 11))  # width and height of a car and of a boat, pixels


# The same examples in every run, however slow the machine; a search for others is asked for.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("other", deadline=None, print_blob=True)
settings.load_profile("other" if os.environ.get("BBAV_OTHER_EXAMPLES") else "same")


def _declare_torchvisions_operators() -> torch.library.Library | None:
    """timm imports torchvision, whose operators do not load where its build is for another torch (one for CUDA beside a
    torch for the CPU alone). It then looks for two that timm never calls: their schemas are enough."""
    found = importlib.util.find_spec("torchvision")
    if found is None or not found.submodule_search_locations:
        return None
    if hasattr(torch.ops.torchvision, "nms"):  # pytest and `from tests.conftest import` load this file once each
        return None
    try:
        for path in Path(found.submodule_search_locations[0]).glob("_C*.so"):
            torch.ops.load_library(str(path))
            return None
    except OSError:
        pass
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


_TORCHVISION = _declare_torchvisions_operators()  # a library that is let go takes its schemas with it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A long test is a slow one."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def _no_log_of_another_test() -> Iterator[None]:
    yield
    forget_warnings()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; a test that asks for it is skipped where there is none."""
    named = os.environ.get("BBAV_REAL_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not a folder; name one by the environment variable BBAV_REAL_DATA")
    return folder


@pytest.fixture(scope="session")
def real_folder(real_data: Path) -> Callable[[str], Path]:
    """`real_folder("hit-uav")`: that part of the real data; a test that asks for a missing one is skipped."""

    def find(name: str) -> Path:
        if not (real_data / name).is_dir():
            pytest.skip(f"no real data of that name: {real_data / name} is not a folder")
        return real_data / name

    return find


@pytest.fixture(scope="session")
def finding_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small network, untrained, that finds boxes of both classes, rotated and upright, everywhere."""
    path = tmp_path_factory.mktemp("network") / "best.pth"
    save_finding_network(path)
    return path


def save_finding_network(
    path: Path,
    backbone: str = "resnet18",
    input_hw: tuple[int, int] = (64, 96),
    in_channels: int = 3,
    **neck_and_widths: str | int,
) -> None:
    """Write such a checkpoint."""
    torch.manual_seed(0)
    colours = IMAGENET.for_channels(in_channels)
    architecture = Architecture(backbone, Config().head_norm, CLASS_NAMES, input_hw, colours, **neck_and_widths)
    model = architecture.build()
    for head, std, bias in ((model.hm, 0.05, -3.0), (model.wh, 0.02, None), (model.cls_theta, 0.2, 2.0)):
        torch.nn.init.normal_(head[-1].weight, std=std)
        if bias is not None:
            torch.nn.init.constant_(head[-1].bias, bias)
    with torch.no_grad():
        model.wh[-1].bias.copy_(torch.tensor([-2.0, -3, 2, -2, 2, 3, -2, 2, 7, 7]))
        # Batch norms learn what they normalise; untrained, a deep network's values grow beyond what float32 resolves,
        # and every block of random weights enlarges the rounding of the one before: residuals are kept small.
        for layer in model.modules():
            if isinstance(layer, Bottleneck):
                layer.bn3.weight.fill_(0.2)
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        model.train()(
            normalize(torch.randint(0, 256, (4, *input_hw, in_channels), dtype=torch.uint8), architecture.preprocessing)
        )
    save_checkpoint(path, model, architecture)


def label_what_is_found(out: Path, data_dir: Path) -> None:
    """Every other box of a test becomes an object, so that what found it scores neither 0 nor 1."""
    for record in json.loads((out / "results" / "detections.json").read_text(encoding="utf-8")):
        lines = [" ".join(map(str, box["quad"])) + f" {box['class']} 0\n" for box in record["boxes"][::2]]
        labels = data_dir / "labelTxt" / f"{Path(record['image']).stem}.txt"
        labels.write_text("".join(lines), encoding="utf-8")


@pytest.fixture(scope="session")
def exported(finding_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`exported(nms=True)`: that checkpoint as an ONNX file by these settings of `ExportSettings`, made once."""
    from tools.exported.onnx_export import ExportSettings, export_checkpoint

    folder, made = tmp_path_factory.mktemp("exported"), {}

    def export(**settings: object) -> Path:
        key = tuple(sorted(settings.items()))
        if key not in made:
            made[key] = folder / f"model_{len(made)}.onnx"
            export_checkpoint(finding_checkpoint, made[key], ExportSettings(**settings))
        return made[key]

    return export


@pytest.fixture
def dota_folder(tmp_path: Path) -> Callable[..., Path]:
    """Draws a tiny data set in DOTA's layout and returns its folder.

    `dota_folder("data", names=("a", "b"), hw=(128, 128), suffix=".png", lists={"train": ["a"]}, seed=0)`: scenes of up
    to four cars and boats at any angle on a rough ground, the last one empty; labelTxt/, classes.txt and the lists.
    """

    def draw(
        folder: str = "data",
        names: Sequence[str] = ("scene_0", "scene_1", "scene_2", "scene_3"),
        hw: tuple[int, int] = (128, 128),
        suffix: str = ".png",
        lists: Mapping[str, Sequence[str]] | None = None,
        seed: int = 0,
    ) -> Path:
        data_dir = tmp_path / folder
        (data_dir / "images").mkdir(parents=True)
        (data_dir / "labelTxt").mkdir()
        (data_dir / "classes.txt").write_text("".join(f"{name}\n" for name in CLASS_NAMES), encoding="utf-8")
        for split, listed in (lists or {}).items():
            (data_dir / f"{split}.txt").write_text("".join(f"{name}\n" for name in listed), encoding="utf-8")
        for number, name in enumerate(names):
            rng = np.random.default_rng([seed, number])
            image, lines = _draw_scene(rng, hw, is_empty=number == len(names) - 1)
            # Written by Python: OpenCV cannot write to paths in a foreign script on every system.
            (data_dir / "images" / f"{name}{suffix}").write_bytes(cv2.imencode(suffix, image)[1].tobytes())
            (data_dir / "labelTxt" / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
        return data_dir

    return draw


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For recorded numbers: sums round otherwise where they are shared out."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def thin_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every backbone becomes a thin one under its name: for tests of the road around the network, not of the network,
    most of whose time goes into making, averaging and saving millions of weights."""
    for name in BACKBONES:
        monkeypatch.setitem(BACKBONES, name, _ThinBackbone)
    # Outlines of backbones are kept by their names: none of a thin one may outlast the test, nor one of a whole one be
    # met within it.
    monkeypatch.setattr(transfer, "_outline", cache(transfer._outline.__wrapped__))


# A file of one's own: what it drops out depends on the random numbers of each step.
DROPPING = """
from torch import nn
from models import Backbone, register_backbone


def block(c_in):
    return nn.Sequential(nn.Conv2d(c_in, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))


@register_backbone
class Dropping(Backbone):
    out_channels = (8, 8, 8, 8)

    def __init__(self):
        super().__init__(*(block(c_in) for c_in in (3, 8, 8, 8, 8)))
"""


@pytest.fixture
def dropping_backbone(tmp_path: Path) -> str:
    """The name of a small backbone with dropout."""
    path = tmp_path / "dropping.py"
    path.write_text(DROPPING, encoding="utf-8")
    return f"{path}:Dropping"


class _ThinBackbone(Backbone):
    """Five convolutions of eight channels each."""

    out_channels = (8, 8, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        parts = [torch.nn.Conv2d(3, 8, 3, 2, 1), *(torch.nn.Conv2d(8, 8, 3, 2, 1) for _ in range(4))]
        self.parts = torch.nn.ModuleList(torch.nn.Sequential(part, torch.nn.BatchNorm2d(8)) for part in parts)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps = []
        for part in self.parts:
            images = torch.relu(part(images))
            maps.append(images)
        return tuple(maps[1:])

    def stage_modules(self) -> list[torch.nn.Module]:
        return list(self.parts)


def _draw_scene(rng: np.random.Generator, hw: tuple[int, int], is_empty: bool) -> tuple[np.ndarray, list[str]]:
    """A scene (H, W, 3) uint8 BGR and its label lines: at most one object in each quarter, so that none overlap."""
    image = rng.normal(105, 12, (*hw, 3)).clip(0, 255).astype(np.uint8)
    lines = []
    for quarter in np.ndindex(0 if is_empty else 2, 2):
        if lines and rng.random() < 0.25:
            continue
        label = int(rng.integers(2))
        cy, cx = (np.array(quarter) + 0.5 + rng.uniform(-0.06, 0.06, 2)) * np.array(hw) / 2
        quad = boxes_to_quads(np.array([[cx, cy, *SIZES[label], rng.uniform(0, np.pi)]]), "rolabelimg")[0]
        # OpenCV counts from the middle of the first pixel, in sixteenths here.
        corners = np.rint((quad - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(image, [corners], COLOURS_BGR[label], lineType=cv2.LINE_AA, shift=4)
        lines.append(" ".join(f"{value:.2f}" for value in quad.ravel()) + f" {CLASS_NAMES[label]} 0\n")
    return image, lines
