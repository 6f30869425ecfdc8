"""A checkpoint -> one ONNX file that has proved to do the same; what `tools.export_onnx` and the benchmark build."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from torch import nn

from datasets.demo import draw_scene
from datasets.picture_files.image_folders import find_images
from DOTA_devkit.atomic import atomic_write
from models.exported_detector import ExportedDetector, ExportOptions
from models.peak_heads import PeakNetwork
from models.views import ViewedNetwork
from tools.architecture import Architecture
from tools.checkpoint import load_named, settings_in
from tools.detection.results import file_hash
from tools.exported.export_parity import HALF_LIMITS, Limits, ParityError, measure_parity
from tools.exported.onnx_facts import FileFacts
from tools.exported.onnx_file import build_file
from tools.onnx_detector import OnnxDetector
from tools.running.command_line import SettingsError
from tools.running.messages import warn

SHOWN_PICTURES = 4  # on which the file is compared with the network


@dataclass(frozen=True)
class ExportSettings:
    """What the file is to be; see the flags of the same names. fixed_hw: the size of the pictures, None where it is
    free."""

    num_peaks: int = 500
    nms: bool = False
    conf_thresh: float = 0.01
    nms_thresh: float = 0.3
    num_views: int = 1
    letterbox: bool = True
    float_input: bool = False
    half: bool = False
    opset: int = 17
    batch: int = 1
    fixed_hw: tuple[int, int] | None = None
    dynamic: bool = True
    pictures: Path | None = None
    backbone: str | None = None


def export_checkpoint(checkpoint: Path, output: Path, settings: ExportSettings) -> str:
    """Write the checkpoint as an ONNX file, compare the two, and return a line on what was compared. Warns when there
    was nothing to compare.

    The file appears when it has proved itself, and not at all otherwise. Raises CheckpointError, SettingsError,
    ParityError, and OSError where it cannot be written.
    """
    paths = _found_pictures(settings.pictures)
    content, network, architecture, facts = build_export(checkpoint, settings)
    scenes = [facts.read_picture(path) for path in paths] or drawn_scenes(SHOWN_PICTURES, facts.in_channels)
    with _draft_of(output) as draft:
        with atomic_write(draft, "wb") as file:
            file.write(content)
        detector = OnnxDetector(draft)
        batches = _batches(scenes, facts.input_hw, settings, facts.letterbox)
        limits = HALF_LIMITS if settings.half else Limits()
        parity = measure_parity(network, architecture.preprocessing, detector, batches, limits)
        try:
            parity.check(limits)
        except ParityError as error:
            raise ParityError(f"{output} was not written, it does not do what {checkpoint} does: {error}") from error
        draft.replace(output)
    if not parity.num_boxes:
        what = "of --pictures" if paths else "that were drawn for it"
        warn(
            f"no box scores {settings.conf_thresh} in the {parity.num_pictures} pictures {what}, so that no box was "
            "compared; name pictures with objects by --pictures FOLDER"
        )
    return str(parity)


def build_export(checkpoint: Path, settings: ExportSettings) -> tuple[bytes, nn.Module, Architecture, FileFacts]:
    """The file's bytes, not yet compared with anything; the network in float32, with the views that it has there; its
    architecture, the file's facts."""
    network, architecture, content = load_named(checkpoint, settings.backbone)
    network.eval()
    picture_hw = settings.fixed_hw or architecture.input_hw
    # A picture that always has the network's size needs no letterbox.
    letterbox = settings.letterbox and (settings.dynamic or picture_hw != architecture.input_hw)
    seen_hw = architecture.input_hw if letterbox else picture_hw
    cells = (seen_hw[0] // network.down_ratio) * (seen_hw[1] // network.down_ratio) * len(architecture.class_names)
    facts = _facts_of(
        checkpoint,
        architecture,
        settings,
        letterbox=letterbox,
        num_peaks=min(settings.num_peaks, cells),
        chosen=settings_in(content).classes is not None,
    )
    options = ExportOptions(facts.num_peaks, settings.nms, settings.conf_thresh, settings.nms_thresh, letterbox)
    seen = network if settings.num_views == 1 else ViewedNetwork(network, settings.num_views).eval()
    exported = PeakNetwork(network).eval() if seen is network else seen
    exported = deepcopy(exported).half() if settings.half else exported
    detector = ExportedDetector(exported, architecture.preprocessing, architecture.input_hw, options).eval()
    return build_file(detector, facts, (settings.batch, *picture_hw), settings.opset), seen, architecture, facts


def _facts_of(
    checkpoint: Path,
    architecture: Architecture,
    settings: ExportSettings,
    *,
    letterbox: bool,
    num_peaks: int,
    chosen: bool,
) -> FileFacts:
    """What the file will say of itself; the last three are as `FileFacts` has them."""
    preprocessing = architecture.preprocessing
    return FileFacts(
        class_names=architecture.class_names,
        input_hw=architecture.input_hw,
        input_kind="float32" if settings.float_input else "uint8",
        letterbox=letterbox,
        nms=settings.nms,
        dynamic=settings.dynamic,
        num_peaks=num_peaks,
        conf_thresh=settings.conf_thresh,
        nms_thresh=settings.nms_thresh,
        num_views=settings.num_views,
        chosen=chosen,
        network_color=preprocessing.color,
        scale=preprocessing.scale,
        mean=preprocessing.mean,
        std=preprocessing.std,
        fill_bgr=preprocessing.fill_bgr,
        precision="fp16" if settings.half else "fp32",
        backbone=architecture.backbone,
        checkpoint=checkpoint.name,
        sha256=file_hash(checkpoint),
        picture_hw=architecture.usual_hw,
        value_range=architecture.value_range,
        bands=architecture.bands,
    )


@contextmanager
def _draft_of(output: Path) -> Iterator[Path]:
    """A block with the path of a draft in the output's folder (made if missing), which is gone when the block ends."""
    draft = output.with_name(f".{output.stem[:40]}.{secrets.token_hex(6)}.onnx")
    try:
        yield draft
    except OSError as error:
        is_draft = error.filename is not None and Path(error.filename).name == draft.name
        raise (OSError(error.errno, error.strerror, str(output)) if is_draft else error) from error
    finally:
        with suppress(OSError):  # a file in its folder's place, which has been told
            draft.unlink()


def _found_pictures(folder: Path | None) -> list[Path]:
    """The first pictures of the folder, on which the file is compared; none where there is no folder."""
    if folder is None:
        return []
    if not folder.is_dir():
        raise SettingsError(f"--pictures {folder}: no such folder")
    found = list(find_images(folder, skips_previews=True).values())[:SHOWN_PICTURES]
    if not found:
        raise SettingsError(f"--pictures {folder}: no picture there")
    return found


def drawn_scenes(count: int, num_channels: int, seed: int = 7) -> list[np.ndarray]:
    """Scenes of the demo set (H, W, channels) for a file that reads so many: colours, and what is not of these grey."""
    scenes = [draw_scene(np.random.default_rng([seed, number]))[0] for number in range(count)]
    if num_channels == 3:
        return scenes
    greys = [np.rint(scene.mean(axis=2, keepdims=True)).astype(np.uint8) for scene in scenes]
    if num_channels == 1:
        return greys
    return [
        np.concatenate([scene, grey.repeat(num_channels - 3, axis=2)], axis=2)
        for scene, grey in zip(scenes, greys, strict=True)
    ]


def _batches(
    scenes: Sequence[np.ndarray], input_hw: tuple[int, int], settings: ExportSettings, letterbox: bool
) -> list[list[np.ndarray]]:
    """The scenes at several sizes and batch sizes, as far as the file takes them."""
    height, width = settings.fixed_hw or input_hw
    if not settings.dynamic:
        sizes = [((height, width), settings.batch)] * 2
    elif not letterbox:
        sizes = [((height, width), 1), ((height, width), 3), ((height + 32, width + 64), 1)]
    else:
        wide, tall = (height, 3 * width // 2 + 1), (2 * height + 3, width - 1)
        sizes = [((height, width), 1), (wide, 3), (tall, 1), ((height // 2, width // 2 + 5), 2)]
    return [
        [
            # OpenCV drops the axis of a single channel.
            cv2.resize(scenes[(start + k) % len(scenes)], hw[::-1], interpolation=cv2.INTER_LINEAR).reshape(*hw, -1)
            for k in range(count)
        ]
        for start, (hw, count) in enumerate(sizes)
    ]
