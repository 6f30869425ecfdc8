"""Flags of commands on frames that take any detector, a checkpoint or an exported file, and that detector."""

from __future__ import annotations

import argparse

from tools.config import PRECISIONS
from tools.detection.detector_flags import (
    THRESHOLDS,
    add_classes_flag,
    add_detector_flags,
    add_drawing_flags,
    choosing,
    least_scores_of,
    open_detector,
)
from tools.outcomes import PictureDetector, Tiling, tile_hint
from tools.run_folder import weights_in
from tools.running.command_line import SettingsError
from tools.running.flag_types import whole
from tools.running.messages import warn


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `detector_of`, and of how its boxes are drawn."""
    add = parser.add_argument
    add("--device", metavar="NAME", help="of a checkpoint: auto, cpu, cuda, cuda:1 ... [default: auto]")
    add("--backbone", metavar="NAME", help="of a checkpoint that was trained with FILE.py:CLASS of your own")
    add(
        "--K",
        type=whole(1),
        metavar="N",
        help="of a checkpoint: most boxes of a frame (with --tile of a tile) [default: 500]",
    )
    add(
        "--tta_views",
        type=int,
        choices=(1, 2, 4),
        help="of a checkpoint: the mean of so many views of a frame, as in main.py [default: 1]",
    )
    add("--precision", choices=PRECISIONS, help="of a checkpoint: arithmetic [default: fp32]")
    add_detector_flags(parser)
    add_classes_flag(parser)
    add_drawing_flags(parser, shown="drawn and counted")


def detector_of(options: argparse.Namespace, tiling: Tiling | None) -> tuple[PictureDetector, list[float]]:
    """The detector of MODEL, of which a run folder becomes its weights, and the score of each class from which on its
    boxes are drawn and counted. Warns of tiles that do not suit it. Raises SettingsError for flags that it does not
    know, and for a network that reads neither colours nor grey."""
    options.model = weights_in(options.model)
    detector = _open(options)
    least = [max(score, detector.settings.conf_thresh) for score in least_scores_of(options, detector.class_names)]
    if tiling is not None and (hint := tile_hint(tiling, detector.usual_hw, detector.input_hw)):
        warn(hint)
    return detector, least


def _open(options: argparse.Namespace) -> PictureDetector:
    if options.model.suffix.lower() == ".onnx":
        for name in ("device", "backbone", "precision"):
            if getattr(options, name) is not None:
                raise SettingsError(f"--{name} is for checkpoints, and {options.model} is a file for other runtimes")
        for name in ("tta_views", "K"):
            if getattr(options, name) is not None:
                raise SettingsError(f"--{name} is for checkpoints; export {options.model} with it")
        detector: PictureDetector = open_detector(options)
    else:
        from tools.detector import Detector  # brings torch, which an exported file does without

        if (options.runtime, options.provider, options.threads) != ("onnxruntime", "cpu", 0):
            raise SettingsError(
                f"--runtime, --provider and --threads are for ONNX files; give --device for {options.model}"
            )
        flags = {name: getattr(options, name) for name in (*THRESHOLDS, "backbone", "tta_views", "precision")}
        flags["num_peaks"] = options.K
        given = {name: value for name, value in flags.items() if value is not None}
        detector = Detector(options.model, options.device or "auto", agnostic_nms=options.agnostic_nms, **given)
    if detector.num_channels not in (1, 3):
        raise SettingsError(f"{options.model} reads pictures of {detector.num_channels} bands, and a video has colours")
    return choosing(detector, options)
