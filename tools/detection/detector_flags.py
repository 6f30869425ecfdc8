"""What the commands that detect with exported files or in videos have in common: flags, and the detector."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from DOTA_devkit.names import as_class_name
from tools.class_choice import ChoosingDetector
from tools.class_scores import least_scores, read_scores
from tools.config import SCORES_HELP
from tools.exported.runtimes import PROVIDERS, RUNTIMES
from tools.onnx_detector import OnnxDetector
from tools.outcomes import PictureDetector, Tiling, cut_hint, export_with
from tools.running.command_line import SettingsError
from tools.running.flag_types import share, whole
from tools.running.messages import warn
from tools.setting_rules import GOES_WITH_TILE, LEAST_TILE, MOST_LINE_WIDTH, OVERLAP, check_scales

Detects = TypeVar("Detects", bound=PictureDetector)
THRESHOLDS = ("conf_thresh", "nms_thresh")


def add_detector_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `open_detector` and `tiling_of`."""
    add = parser.add_argument
    add("--runtime", choices=RUNTIMES, default="onnxruntime", help="what runs the file [default: %(default)s]")
    add(
        "--provider",
        choices=tuple(PROVIDERS),
        default="cpu",
        help="where ONNX Runtime runs it [default: %(default)s]",
    )
    add(
        "--threads", type=whole(0), default=0, metavar="N", help="threads of the runtime; 0 lets it choose [default: 0]"
    )
    add("--conf_thresh", type=share, metavar="X", help="lowest score, 0 to 1 [default: the file's]")
    add(
        "--nms_thresh",
        type=share,
        metavar="X",
        help="IoU above which the worse of two boxes of a class goes, 0 to 1 [default: the file's]",
    )
    add(
        "--agnostic_nms",
        action="store_true",
        help="boxes of different classes compete, too; for a file without NMS inside",
    )
    add(
        "--tile",
        type=whole(LEAST_TILE),
        metavar="PX",
        help="cut pictures into tiles of this side, pixels of the scaled picture",
    )
    add("--overlap", type=int, metavar="PX", help=f"what neighbouring tiles share [default: {OVERLAP}]")
    add("--scales", type=float, nargs="+", default=[1.0], metavar="X", help="scales to cut at [default: 1]")
    add("--batch_size", type=whole(1), default=1, metavar="N", help="tiles at a time [default: %(default)s]")


def add_drawing_flags(parser: argparse.ArgumentParser, shown: str = "drawn") -> None:
    """The flags of how boxes are drawn; `shown`: what becomes of those of a high score."""
    add = parser.add_argument
    help_text = f"lowest score that is {shown} [default: %(default)s]"
    add("--draw_score", type=share, default=0.3, metavar="X", help=help_text)
    add("--scores", type=Path, metavar="PATH", help=SCORES_HELP)
    add(
        "--line_width",
        type=whole(0, MOST_LINE_WIDTH),
        default=0,
        metavar="PX",
        help="of the boxes; 0: by picture and boxes [default: 0]",
    )
    add("--no_draw_labels", dest="draw_labels", action="store_false", help="draw no class and score at the boxes")


def add_classes_flag(parser: argparse.ArgumentParser) -> None:
    """The flag of `choosing`."""
    parser.add_argument(
        "--classes",
        type=as_class_name,
        nargs="+",
        metavar="NAME",
        help="write and draw the boxes of these classes alone [default: all]",
    )


def choosing(detector: Detects, options: argparse.Namespace) -> Detects | ChoosingDetector:
    """The detector, of the classes that are asked for. Raises SettingsError for one that it does not have."""
    return ChoosingDetector(detector, options.classes, str(options.model)) if options.classes else detector


def least_scores_of(options: argparse.Namespace, class_names: Sequence[str]) -> list[float]:
    """The score of each class from which on its boxes are shown."""
    scores = {} if options.scores is None else read_scores(options.scores)
    return least_scores(class_names, scores, options.draw_score)


def open_detector(options: argparse.Namespace) -> OnnxDetector:
    """The file of `options.model`, by the flags. Raises SettingsError for one that the file does not take."""
    thresholds = {name: getattr(options, name) for name in THRESHOLDS}
    detector = OnnxDetector(options.model, options.runtime, options.provider, threads=options.threads, **thresholds)
    if options.agnostic_nms and detector.facts.nms:
        raise SettingsError(f"--agnostic_nms: NMS by class is inside {options.model}; export it without --nms")
    detector.settings = replace(detector.settings, agnostic=options.agnostic_nms)
    return detector


def warn_of_cuts(detector: PictureDetector, options: argparse.Namespace) -> None:
    """Warn where there may have been more objects than are kept."""
    if detector.num_cut:
        most = detector.settings.num_peaks
        remedy = export_with(2 * most) if options.model.suffix.lower() == ".onnx" else f"give --K {2 * most}"
        warn(cut_hint(detector.num_cut, most, "picture" if options.tile is None else "tile", remedy))


def tiling_of(options: argparse.Namespace) -> Tiling | None:
    """How pictures are to be cut, None if not. Raises SettingsError for tiles that make no progress."""
    if options.tile is None:
        for flag, is_given in (("overlap", options.overlap is not None), ("scales", options.scales != [1.0])):
            if is_given:
                raise SettingsError(f"--{flag} {GOES_WITH_TILE}")
        return None
    check_scales(options.scales)
    try:
        return Tiling(options.tile, OVERLAP if options.overlap is None else options.overlap, tuple(options.scales))
    except ValueError as error:
        raise SettingsError(f"--tile, --overlap, --scales: {error}") from error
