"""The command that detects with an exported file: `python -m tools.infer_onnx model.onnx INPUT OUT`.

It needs nothing but the file, and imports no torch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tools.detection.detector_flags import (
    add_classes_flag,
    add_detector_flags,
    add_drawing_flags,
    choosing,
    least_scores_of,
    open_detector,
    tiling_of,
)
from tools.detection.input_pictures import INPUTS, check_headers, input_pictures, named_from_anywhere, refuse_pictures
from tools.detection.picture_results import STOPPED, Report, draw_found, write_found
from tools.detection.results import DRAWINGS, RESULTS, ResultFiles, check_outputs, origin_of
from tools.drawing import looks_of
from tools.onnx_detector import detect_pictures
from tools.outcomes import export_with
from tools.running.command_line import Parser, exit_code
from tools.running.flag_types import whole
from tools.running.messages import counted
from tools.running.progress import progress_bar
from tools.running.stop_request import StopRequest


def main(arguments: Sequence[str] | None = None) -> int:
    """Detect, write results and drawings; returns the exit code: 0 done, 1 a picture could not be read or something
    else that a person can mend, 2 a wrong flag, 130 and 143 stopped by Ctrl-C and SIGTERM."""
    stop = StopRequest()
    return exit_code(lambda: stop.around(_run, _parse(arguments)), stop, STOPPED)


def _run(options: argparse.Namespace, stop: StopRequest) -> int:
    tiling = tiling_of(options)
    images = input_pictures(options.input, str(options.input))
    refuse_pictures(options.out, images.values())
    check_outputs(options.out, images, options.num_drawings)
    if options.on_bad_picture == "error":
        check_headers(images.values(), "--on_bad_picture")
    started = time.perf_counter()
    detector = choosing(open_detector(options), options)
    class_names = detector.class_names
    print(
        f"detecting with {options.model} ({detector.facts.backbone}) on {counted(len(images), 'picture')}", flush=True
    )
    source = named_from_anywhere(options.input)
    origin = origin_of(options.model, source, images.values(), detector.settings, tiling, detector.facts.reading)
    least = least_scores_of(options, class_names)
    sizes = (detector.usual_hw, detector.input_hw)
    report = Report(options.on_bad_picture, "--on_bad_picture", *sizes, tiling, least)
    found = detect_pictures(detector, images, tiling, options.batch_size, num_kept=options.num_drawings)
    looks = looks_of(options, least)
    write_found(
        progress_bar(found, total=len(images), unit="picture", desc="detecting"),
        images,
        ResultFiles(options.out / RESULTS, class_names, origin),
        report,
        partial(draw_found, options.out, class_names, looks),
        options.out / DRAWINGS,
        stop,
    )
    speed = len(images) / max(time.perf_counter() - started, 1e-9)
    floor = detector.settings.conf_thresh
    print(*report.lines(options.out, class_names, floor, speed, options.num_drawings, len(images)), sep="\n")
    most = detector.settings.num_peaks
    report.warn(most, export_with(2 * most))
    return int(bool(report.problems))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "infer_onnx",
        description="Detect with an exported file: OUT/results gets Task1_<class>.txt and detections.json, "
        "OUT/drawings the pictures with boxes.",
        epilog="Exit codes: 0 done, 1 a picture could not be read or the like, 2 a wrong flag.",
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="file of tools.export_onnx or tools.quantize_onnx")
    add("input", type=Path, metavar="INPUT", help=f"what to detect on: {INPUTS}")
    add("out", type=Path, metavar="OUT", help="folder for results and drawings")
    add_detector_flags(parser)
    add_classes_flag(parser)
    add("--num_drawings", type=whole(0), default=50, metavar="N", help="most pictures to draw [default: %(default)s]")
    add_drawing_flags(parser)
    add(
        "--on_bad_picture",
        choices=("error", "skip"),
        default="error",
        help="a picture that cannot be read stops, or is left out and told of [default: %(default)s]",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
