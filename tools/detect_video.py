"""The command that detects in a video: `python -m tools.detect_video MODEL VIDEO OUT`, MODEL a run or an ONNX file."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from datasets.videos import Video, frame_name
from DOTA_devkit.atomic import write_csv
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.tiling import check_picture_name
from tools.command_line import Parser, SettingsError, exit_code
from tools.detector_flags import THRESHOLDS, add_detector_flags, check_thresholds, open_detector, tiling_of
from tools.drawing import draw_boxes
from tools.outcomes import Found, PictureDetector, Tiling, is_much_larger, too_large_hint
from tools.progress import progress_bar
from tools.results import DETECTIONS, RESULTS, ResultFiles, read_origin, stamp_of
from tools.run_folder import BEST, refuse_inputs, warn
from tools.video_file import VideoFile
from tools.video_flags import add_every, check_every

COUNTS = "counts.csv"
SLOWEST = 0.1  # frames a second of a drawn video


def main(arguments: Sequence[str] | None = None) -> int:
    """Detect, write results, counts and the drawn video; returns the exit code: 0 done, 1 a damaged video or something
    else that a person can mend, 2 a wrong flag, 130 stopped by Ctrl-C."""
    return exit_code(lambda: _run(_parse(arguments)), stopped="stopped; no results written")


def _run(options: argparse.Namespace) -> int:
    check_every(options.every)
    if not 0 <= options.draw_score <= 1:
        raise SettingsError(f"--draw_score {options.draw_score} must lie within 0 and 1")
    tiling, path, every = tiling_of(options), options.video, options.every
    check_picture_name(path.stem)
    refuse_inputs(options.out, path)
    drawn = options.out / f"{path.stem}_found.mp4"
    _refuse_other_results(options.out, path, drawn)
    with ExitStack() as stack:
        video = stack.enter_context(Video(path))
        detector = _detector(options)
        print(f"detecting with {options.model} in {path}", flush=True)
        started, rows = time.perf_counter(), []
        results = ResultFiles(options.out / RESULTS, detector.class_names, _origin(options, detector, tiling))
        results = stack.enter_context(results)
        rate = video.rate if every <= 1 / video.rate else 1 / every
        writer = stack.enter_context(VideoFile(drawn, max(rate, SLOWEST))) if options.draw else None
        for frame in progress_bar(video.frames(every), total=video.num_chosen(every), unit="frame", desc=path.name):
            boxes = _detect(detector, frame.picture, tiling, options.batch_size)
            name, hw = frame_name(path, frame.number), frame.picture.shape[:2]
            if not rows and tiling is None and is_much_larger(hw, detector.input_hw):
                warn(f"{path.name} {too_large_hint(hw, detector.input_hw)}")
            results.write(Path(f"{name}.jpg"), Found(frame.number, boxes, hw))
            counts = np.bincount(boxes.labels[boxes.scores >= options.draw_score], minlength=len(detector.class_names))
            rows.append((name, frame.number, f"{frame.seconds:.3f}", *counts.tolist()))
            if writer is not None:
                how = {"min_score": options.draw_score, "line_width": options.line_width, "labels": options.draw_labels}
                writer.write(draw_boxes(frame.picture, boxes, detector.class_names, in_place=True, **how))
        speed = len(rows) / max(time.perf_counter() - started, 1e-9)
    write_csv(options.out / COUNTS, [("image", "frame", "seconds", *detector.class_names), *rows])
    floor, score = detector.settings.conf_thresh, options.draw_score
    print(f"boxes of score {floor} and more in {len(rows)} frames, {speed:.1f} frames/s: {options.out / RESULTS}")
    print(f"how many of score {score} and more: {options.out / COUNTS}" + (f"; drawn: {drawn}" if options.draw else ""))
    if video.is_cut:
        warn(f"{path}: ends after {video.num_read} of the {video.num_frames} frames that it tells of; copy it again")
    return int(video.is_cut)


def _refuse_other_results(out: Path, video: Path, drawn: Path) -> None:
    """Raises SettingsError where the folder holds what is no earlier, whole or broken off, result of this video."""
    origin = read_origin(out / RESULTS)
    if origin is not None and Path(origin.get("pictures", "")).absolute() != video.absolute():
        raise SettingsError(f"{out} holds results of {origin.get('pictures')}; name another folder")
    is_ours = (out / RESULTS / DETECTIONS).is_file()  # also after a run that was broken off
    for path in () if is_ours else (drawn, out / COUNTS):
        if path.exists():
            raise SettingsError(f"{path} is there, and no earlier result of this command; name another folder")


def _detector(options: argparse.Namespace) -> PictureDetector:
    """The detector of MODEL. Raises SettingsError for flags that it does not know, and for one of four channels."""
    if options.model.suffix.lower() == ".onnx":
        for name in ("device", "backbone"):
            if getattr(options, name) is not None:
                raise SettingsError(f"--{name} is for checkpoints, and {options.model} is a file for other runtimes")
        if options.tta_views != 1:
            raise SettingsError(f"--tta_views is for checkpoints; export {options.model} with it")
        detector: PictureDetector = open_detector(options)
    else:
        from tools.detector import Detector  # brings torch, which an exported file does without

        if (options.runtime, options.provider, options.threads) != ("onnxruntime", "cpu", 0):
            raise SettingsError(
                f"--runtime, --provider and --threads are for ONNX files; give --device for {options.model}"
            )
        check_thresholds(options)
        names = (*THRESHOLDS, "backbone")
        given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
        detector = Detector(_weights(options.model), options.device or "auto", num_views=options.tta_views, **given)
        detector.settings = replace(detector.settings, agnostic=options.agnostic_nms)
    if detector.num_channels not in (1, 3):
        raise SettingsError(f"{options.model} reads pictures of {detector.num_channels} bands, and a video has colours")
    return detector


def _weights(model: Path) -> Path:
    """The file of weights: of a run folder the best."""
    return model / BEST if model.is_dir() else model


def _detect(detector: PictureDetector, picture: np.ndarray, tiling: Tiling | None, batch_size: int) -> ImageDetections:
    if detector.num_channels == 1:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[:, :, None]
    return detector.detect([picture])[0] if tiling is None else detector.detect_tiled(picture, tiling, batch_size)


def _origin(options: argparse.Namespace, detector: PictureDetector, tiling: Tiling | None) -> dict:
    """What the results are results of, as phase test has it."""
    model = _weights(options.model)
    with model.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "checkpoint": str(model),
        "sha256": sha256,
        "pictures": str(options.video),
        "files": stamp_of([options.video]),
        **vars(detector.settings),
        "tiles": [tiling.size, tiling.overlap, *tiling.scales] if tiling else None,
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m tools.detect_video",
        description="Detect in the frames of a video: OUT/results gets Task1_<class>.txt and detections.json, in which "
        f"a frame is called <video>_<number> as in tools.extract_frames; OUT/{COUNTS} the time and the number of "
        "objects of each class, a frame a row; OUT/<video>_found.mp4 shows the boxes.",
        epilog="Exit codes: 0 done, 1 a damaged video or the like, 2 a wrong flag.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="run folder, checkpoint, or file of tools.export_onnx")
    add("video", type=Path, metavar="VIDEO", help="video file")
    add("out", type=Path, metavar="OUT", help="folder for results and the drawn video")
    add_every(parser, 0.0)
    add("--device", metavar="NAME", help="of a checkpoint: auto, cpu, cuda, cuda:1 ... [default: auto]")
    add("--backbone", metavar="NAME", help="of a checkpoint that was trained with FILE.py:CLASS of your own")
    add(
        "--tta_views",
        type=int,
        choices=(1, 2, 4),
        default=1,
        help="of a checkpoint: the mean of so many views of a frame, as in main.py [default: %(default)s]",
    )
    add_detector_flags(parser)
    add(
        "--draw_score",
        type=float,
        default=0.3,
        metavar="X",
        help="lowest score that is drawn and counted [default: %(default)s]",
    )
    add("--line_width", type=int, default=0, metavar="PX", help="of the boxes; 0: by the frame's size [default: 0]")
    add("--no_draw_labels", dest="draw_labels", action="store_false", help="draw no class and score at the boxes")
    add("--no_draw", dest="draw", action="store_false", help="write no video")
    options = parser.parse_args(arguments)
    if options.line_width < 0:
        parser.error(f"argument --line_width: {options.line_width} must be at least 0")
    return options


if __name__ == "__main__":
    sys.exit(main())
