"""The command that exports a checkpoint: `python -m tools.export_onnx --resume runs/x/best.pth --output model.onnx`."""

from __future__ import annotations

import argparse
import importlib.util
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from datasets.demo import draw_scene
from datasets.images import find_images
from tools.command_line import Parser, SettingsError, exit_code
from tools.config import Config, settings_from
from tools.messages import warn
from tools.run_folder import checkpoint_path

MOST_PEAKS = 3840  # TensorRT's TopK takes no more
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Export; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a person can mend, 130 and
    143 stopped by Ctrl-C and SIGTERM."""
    return exit_code(lambda: _run(_parse(arguments)))


def export_checkpoint(checkpoint: Path, output: Path, settings: ExportSettings) -> str:
    """Write the checkpoint as an ONNX file, compare the two, and return a line on what was compared. Warns when there
    was nothing to compare.

    The file appears when it has proved itself, and not at all otherwise. Raises CheckpointError, SettingsError,
    ParityError, and OSError where it cannot be written.
    """
    from DOTA_devkit.atomic import atomic_write
    from tools.export_parity import HALF_LIMITS, Limits, ParityError, measure_parity
    from tools.onnx_detector import OnnxDetector

    paths = _found_pictures(settings.pictures)
    content, network, architecture, facts = build_export(checkpoint, settings)
    scenes = [facts.read_picture(path) for path in paths] or drawn_scenes(SHOWN_PICTURES, facts.num_channels)
    with _beside(output) as draft:
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


def build_export(checkpoint: Path, settings: ExportSettings) -> tuple:
    """The file's bytes, not yet compared with anything; the network in float32, with the views that it has there; its
    architecture, the file's facts."""
    from copy import deepcopy

    from models.peak_heads import PeakNetwork
    from models.picture_detector import DetectorOptions, PictureDetector
    from models.views import ViewedNetwork
    from tools.architecture import PUBLISHED_BACKBONE, check_flags
    from tools.checkpoint import load_checkpoint
    from tools.onnx_facts import FileFacts
    from tools.onnx_file import build_file
    from tools.own_backbone import run_named_file
    from tools.results import file_hash

    named = (
        Config() if settings.backbone is None else Config(backbone=settings.backbone, explicit=frozenset({"backbone"}))
    )
    run_named_file(named)
    network, architecture, content = load_checkpoint(checkpoint, settings.backbone or PUBLISHED_BACKBONE, averaged=True)
    check_flags(named, architecture, checkpoint, ("backbone",))
    network.eval()
    input_hw, preprocessing = architecture.input_hw, architecture.preprocessing
    picture_hw = settings.fixed_hw or input_hw
    # A picture that always has the network's size needs no letterbox.
    letterbox = settings.letterbox and (settings.dynamic or picture_hw != input_hw)
    seen_hw = input_hw if letterbox else settings.fixed_hw or input_hw
    cells = (seen_hw[0] // network.down_ratio) * (seen_hw[1] // network.down_ratio) * len(architecture.class_names)
    facts = FileFacts(
        class_names=architecture.class_names,
        input_hw=input_hw,
        input_kind="float32" if settings.float_input else "uint8",
        letterbox=letterbox,
        nms=settings.nms,
        dynamic=settings.dynamic,
        num_peaks=min(settings.num_peaks, cells),
        conf_thresh=settings.conf_thresh,
        nms_thresh=settings.nms_thresh,
        num_views=settings.num_views,
        chosen=settings_from(content.get("settings", {})).classes is not None,
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
    )
    options = DetectorOptions(facts.num_peaks, settings.nms, settings.conf_thresh, settings.nms_thresh, letterbox)
    seen = network if settings.num_views == 1 else ViewedNetwork(network, settings.num_views).eval()
    exported = PeakNetwork(network).eval() if seen is network else seen
    exported = deepcopy(exported).half() if settings.half else exported
    detector = PictureDetector(exported, preprocessing, input_hw, options).eval()
    shape = (settings.batch, *picture_hw) if letterbox else (settings.batch, *(settings.fixed_hw or input_hw))
    return build_file(detector, facts, shape, settings.opset), seen, architecture, facts


class _beside:
    """A block with the path of a draft in the output's folder (made if missing), which is gone when the block ends."""

    def __init__(self, output: Path) -> None:
        self._draft = output.with_name(f".{output.stem[:40]}.{secrets.token_hex(6)}.onnx")

    def __enter__(self) -> Path:
        return self._draft

    def __exit__(self, *error: object) -> None:
        self._draft.unlink(missing_ok=True)


def _found_pictures(folder: Path | None) -> list[Path]:
    """The first pictures of the folder, on which the file is compared; none where there is no folder."""
    if folder is None:
        return []
    found = list(find_images(folder).values())[:SHOWN_PICTURES]
    if not found:
        raise SettingsError(f"--pictures {folder}: no picture there")
    return found


def drawn_scenes(count: int, num_channels: int, seed: int = 7) -> list[np.ndarray]:
    """Scenes of the demo set (H, W, channels) for a file that reads so many: the last one grey, colours before it."""
    scenes = [draw_scene(np.random.default_rng([seed, number]))[0] for number in range(count)]
    if num_channels == 3:
        return scenes
    greys = [np.rint(scene.mean(axis=2, keepdims=True)).astype(np.uint8) for scene in scenes]
    return [
        np.concatenate([scene[:, :, : num_channels - 1], grey], axis=2)
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


def _run(options: argparse.Namespace) -> None:
    settings = _settings(options)
    if importlib.util.find_spec("onnxruntime") is None:
        raise SettingsError(
            "exporting compares the file with the checkpoint in ONNX Runtime, which is not installed; "
            "pip install -r requirements-deploy.txt"
        )
    from tools.onnx_file import check_opset

    check_opset(settings.opset)
    checkpoint = checkpoint_path(Config(phase="test", resume=options.resume))
    if options.output.suffix.lower() != ".onnx" or options.output.is_dir():
        raise SettingsError(f"--output {options.output}: name a file that ends in .onnx")
    print(f"exporting {checkpoint}", flush=True)
    compared = export_checkpoint(checkpoint, options.output, settings)
    print(f"same as the checkpoint: {compared}")
    print(f"written: {options.output} ({options.output.stat().st_size / 1e6:.1f} MB)")


def _settings(options: argparse.Namespace) -> ExportSettings:
    if not 1 <= options.K <= MOST_PEAKS:
        raise SettingsError(f"--K {options.K} must be 1 to {MOST_PEAKS}; runtimes take no more")
    for name in ("conf_thresh", "nms_thresh"):
        if not 0 <= getattr(options, name) <= 1:
            raise SettingsError(f"--{name} {getattr(options, name)} must lie within 0 and 1")
    fixed = (options.height, options.width)
    if options.dynamic and (options.batch != 1 or fixed != (None, None)):
        raise SettingsError("--batch, --height and --width fix the size of the input; give --no_dynamic with them")
    if options.batch < 1 or any(side is not None and side < 1 for side in fixed):
        raise SettingsError("--batch, --height and --width must be at least 1")
    if (options.height is None) != (options.width is None):
        raise SettingsError("--height and --width go together; give both or none")
    if not options.letterbox and any(side is not None and side % 32 for side in fixed):
        raise SettingsError("--height and --width must be multiples of 32 with --no_letterbox")
    return ExportSettings(
        num_peaks=options.K,
        num_views=options.tta_views,
        fixed_hw=None if options.height is None else fixed,
        **{
            name: getattr(options, name)
            for name in (
                "nms", "conf_thresh", "nms_thresh", "letterbox", "float_input", "half", "opset", "batch", "dynamic",
                "pictures", "backbone",
            )
        },
    )  # fmt: skip


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    defaults = Config()
    parser = Parser(
        prog="python -m tools.export_onnx",
        description="Write a checkpoint as one ONNX file: pictures as OpenCV gives them in, boxes in their pixels out.",
        epilog="Input `image` (N, H, W, 3) BGR; outputs `boxes` (N, K, 4, 2) pixels of the picture, `scores` (N, K), "
        "`labels` (N, K), with --nms also `count` (N,). The file is compared with the checkpoint before it appears: "
        "more than 0.01 px or 0.0001 of a score is an error. Exit codes: 0 done, 1 something in the data, 2 a wrong "
        "flag.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--resume", type=Path, metavar="FILE", help="checkpoint or run folder [default: best.pth of the newest run]")
    add("--output", type=Path, required=True, metavar="FILE", help="the file to write, ending in .onnx")
    add("--nms", action="store_true", help="exact polygon NMS inside, per class; the boxes come first, zeros follow")
    add(
        "--K", type=int, default=defaults.K, metavar="N", help="boxes of a picture, at most 3840 [default: %(default)s]"
    )
    add(
        "--conf_thresh",
        type=float,
        default=defaults.conf_thresh,
        metavar="X",
        help="lowest score, 0 to 1; fixed with --nms [default: %(default)s]",
    )
    add(
        "--nms_thresh",
        type=float,
        default=defaults.nms_thresh,
        metavar="X",
        help="IoU above which the worse of two boxes of a class goes, 0 to 1; fixed with --nms [default: %(default)s]",
    )
    add(
        "--tta_views",
        type=int,
        choices=(1, 2, 4),
        default=1,
        help="take the mean of so many views of a picture, as main.py does; takes as many times as long [default: 1]",
    )
    add("--no_letterbox", dest="letterbox", action="store_false", help="leave resizing and padding to the caller")
    add("--float_input", action="store_true", help="float32 pictures, 0 to 255, instead of uint8")
    add("--no_dynamic", dest="dynamic", action="store_false", help="fix batch, height and width of the input")
    add("--batch", type=int, default=1, metavar="N", help="pictures at once, with --no_dynamic [default: %(default)s]")
    size = "of the pictures in pixels, with --no_dynamic [default: the network's]"
    add("--height", type=int, metavar="PX", help=f"height {size}")
    add("--width", type=int, metavar="PX", help=f"width {size}")
    add("--half", action="store_true", help="network in fp16: half the size, faster on GPUs, slower on most CPUs")
    add("--opset", type=int, default=17, metavar="N", help="version of the operators [default: %(default)s]")
    add("--pictures", type=Path, metavar="DIR", help="pictures to compare on [default: scenes of the demo set]")
    add(
        "--backbone",
        metavar="NAME",
        help="of a checkpoint that does not say, as published ones [default: resnet101], or FILE.py:CLASS of your own",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
