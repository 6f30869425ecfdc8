"""The command that detects in a camera or stream, as it runs: `python -m tools.detect_camera MODEL CAMERA OUT`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from datasets.cameras import Camera, CameraError
from datasets.videos import Frame
from DOTA_devkit.atomic import write_json
from tools.detection.detector_flags import tiling_of, warn_of_cuts
from tools.detection.results import model_facts
from tools.drawing import numbered_classes
from tools.drawings.drawing_files import check_drawings
from tools.outcomes import PictureDetector, Tiling
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.flag_types import seconds
from tools.running.messages import warn
from tools.running.stop_request import StopRequest
from tools.videos.camera_flags import camera_named
from tools.videos.camera_watch import COUNTS, CROSSINGS, LATEST, OBJECTS, CameraWatch
from tools.videos.frame_detection import detect_in_frame, warn_if_too_large
from tools.videos.model_flags import add_model_flags, detector_of
from tools.videos.tracking_flags import Tracking, add_tracking_flags, refuse_lines_outside, tracking_of
from tools.videos.zones import add_zone_flag, refuse_zones_outside, zones_of

ORIGIN = "camera.json"
FIRST_FRAME = 20.0  # seconds that it may take


def main(arguments: Sequence[str] | None = None) -> int:
    """Detect until stopped; returns the exit code: 0 the time is over, 1 a camera that cannot be reached or something
    else that a person can mend, 2 a wrong flag, 130 and 143 stopped by Ctrl-C and SIGTERM."""
    stop = StopRequest()
    return exit_code(
        lambda: stop.around(_run, _parse(arguments)), stop, "stopped; the tables hold what was seen so far"
    )


def _run(options: argparse.Namespace, stop: StopRequest) -> int:
    tracking, tiling, zones = tracking_of(options), tiling_of(options), zones_of(options)
    _settle_places(options)
    detector, least = detector_of(options, tiling)
    with _reach(options, stop) as camera:
        frame = _first_frame(camera, stop)
        hw = frame.picture.shape[:2]
        refuse_lines_outside(tracking.lines, camera.name, hw)
        refuse_zones_outside(zones, camera.name, hw)
        warn_if_too_large(camera.name, hw, detector, tiling)
        folder = _new_folder(options.out)
        write_json(folder / ORIGIN, _origin(options, camera, hw, detector, tiling, tracking, least))
        print(f"detecting with {options.model} in {camera.name}, {hw[1]} x {hw[0]} pixels: {folder}", flush=True)
        if numbered := numbered_classes(detector.class_names):
            print(numbered)
        detect_in_frame(detector, frame.picture, tiling, options.batch_size)  # the first time takes long
        work = CameraWatch(options, folder, detector, tiling, least, tracking, camera, hw)
        try:
            work.watch(stop)
        finally:
            print(*work.totals(), f"written: {folder}", sep="\n", flush=True)
    warn_of_cuts(detector, options)
    return stop.exit_code if stop.is_requested else 0


def _reach(options: argparse.Namespace, stop: StopRequest) -> Camera:
    """Raises CameraError where it cannot be reached, KeyboardInterrupt if a stop was requested meanwhile."""
    try:
        return Camera(options.camera, options.give_up or math.inf, warn)
    except CameraError:
        stop.check()
        raise


def _settle_places(options: argparse.Namespace) -> None:
    """Put the camera that is meant into the options. Raises SettingsError for what is none by its name, and for a
    folder that cannot be written to."""
    camera = camera_named(options.camera)
    if camera is None:
        if Path(options.camera).exists():
            raise SettingsError(f"{options.camera}: a file; python -m tools.detect_video detects in videos")
        raise SettingsError(
            f"{options.camera}: no camera; give its number, such as 0, or an address: rtsp://... http://..."
        )
    options.camera = camera
    if options.out.exists() and not options.out.is_dir():
        raise SettingsError(f"{options.out} is a file; name a folder")
    if options.picture_every:
        check_drawings([options.out / LATEST])


def _first_frame(camera: Camera, stop: StopRequest) -> Frame:
    """Raises CameraError where none comes, KeyboardInterrupt if a stop is requested."""
    while camera.seconds < FIRST_FRAME:
        stop.check()
        if (frame := camera.newest()) is not None:
            return frame
    raise CameraError(f"{camera.name}: gave no frame in {FIRST_FRAME:g} s")


def _new_folder(out: Path) -> Path:
    """A folder for what is seen from now on, named by the clock: a machine that starts anew goes on beside it."""
    began = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder, number = out / began, 1
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1
            folder = out / f"{began}_{number}"


def _origin(
    options: argparse.Namespace,
    camera: Camera,
    hw: tuple[int, int],
    detector: PictureDetector,
    tiling: Tiling | None,
    tracking: Tracking,
    least: Sequence[float],
) -> dict:
    """What the tables are of."""
    return {
        "camera": camera.name,
        "height": hw[0],
        "width": hw[1],
        "classes": list(detector.class_names),
        **model_facts(options.model, detector.settings, tiling),
        "least_scores": list(least),
        "every": options.every,
        "track_frames": tracking.least_frames,
        "track_gap": tracking.gap,
        "lines": [list(line) for line in tracking.lines],
        "zones": [zone.corners for zone in zones_of(options)],
        "utc_offset": datetime.now().astimezone().strftime("%z"),
    }


def _some_seconds(text: str) -> float:
    """Lengths of time, a second or more."""
    if (value := seconds(text)) < 1:
        raise argparse.ArgumentTypeError(f"is {value}; it must be a second or more")
    return value


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "detect_camera",
        description="Detect in the newest frame of a camera or stream, again and again, and follow the objects, until "
        f"Ctrl-C. In OUT grows a folder named by date and time: {OBJECTS} with a row for each object once it is gone, "
        f"{COUNTS} with how many there were, {CROSSINGS} with who crossed a line; OUT/{LATEST} is the newest frame "
        "with its boxes. Where the camera is faster, frames are passed over.",
        epilog="A connection that is lost is tried again; one that cannot be made at the start is not: let the system "
        "start the command again (systemd: Restart=always). Exit codes: 0 the time is over, 1 a camera that cannot be "
        "reached or the like, 2 a wrong flag, 130 Ctrl-C, 143 SIGTERM.",
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="run folder, checkpoint, or file of tools.export_onnx")
    add("camera", metavar="CAMERA", help="number of a camera of this machine (0), or address (rtsp://..., http://...)")
    add("out", type=Path, metavar="OUT", help="folder for the tables and the newest frame")
    add(
        "--every",
        type=seconds,
        default=0.0,
        metavar="SECONDS",
        help="look at a frame every so many seconds; 0: at as many as can be [default: %(default)s]",
    )
    add("--seconds", type=seconds, default=math.inf, metavar="SECONDS", help="stop after this time [default: never]")
    add(
        "--report_every",
        type=_some_seconds,
        default=60.0,
        metavar="SECONDS",
        help=f"time between two rows of {COUNTS} [default: %(default)s]",
    )
    add(
        "--picture_every",
        type=seconds,
        default=1.0,
        metavar="SECONDS",
        help=f"time between two of {LATEST}; 0: none [default: %(default)s]",
    )
    add(
        "--give_up",
        type=seconds,
        default=0.0,
        metavar="SECONDS",
        help="end when the camera gave no frame for so long; 0: never [default: %(default)s]",
    )
    add_model_flags(parser)
    add_tracking_flags(parser, f"{CROSSINGS} and in {LATEST}")
    add_zone_flag(parser, f"{COUNTS} and in {LATEST}")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
