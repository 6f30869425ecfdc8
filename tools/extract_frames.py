"""The command that takes pictures out of videos or a camera: `python -m tools.extract_frames VIDEO OUT --every 1`."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from datasets.cameras import Camera, next_due
from datasets.near_duplicates import MAX_DISTANCE, NO_HASH, are_twins, image_hash
from datasets.videos import Video, VideoError, frame_name
from DOTA_devkit.atomic import write_json
from tools.picture_coding import write_pixels
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.flag_types import seconds, whole
from tools.running.messages import counted, warn
from tools.running.progress import progress_bar
from tools.running.stop_request import StopRequest
from tools.videos.camera_flags import camera_named
from tools.videos.video_flags import add_every, videos_of

NUM_BITS = 64  # of a hash
INDEX = ".frames.json"  # which file the pictures of a name are from


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the frames; returns the exit code: 0 done, 1 a video that is damaged or the like, 2 a wrong flag."""
    return exit_code(lambda: _run(_parse(arguments)), stopped="stopped; the frames written so far are whole")


def _run(options: argparse.Namespace) -> int:
    cameras = [camera for text in options.videos if (camera := camera_named(text)) is not None]
    if cameras:
        if len(options.videos) > 1:
            raise SettingsError(f"a camera is watched alone, and there are {', '.join(options.videos)}; name one")
        return _watch(cameras[0], options)
    if options.seconds != math.inf:
        raise SettingsError("--seconds is for a camera; of a video all is looked through")
    paths = videos_of(options.videos, options.out)
    return int(sum([_is_faulty(path, options) for path in paths]) > 0)


def _is_faulty(path: Path, options: argparse.Namespace) -> bool:
    """Write the frames of one video; returns whether it ends too early or cannot be read, which is told."""
    try:
        return _extract(path, options)
    except VideoError as error:
        warn(str(error))
        return True


def _extract(path: Path, options: argparse.Namespace) -> bool:
    """Write the frames of one video; returns whether it ends too early."""
    sieve, counts = _Sieve(options), {"written": 0, "there already": 0, "alike": 0}
    with Video(path) as video:
        _refuse_another(options.out, path)
        frames = video.frames(options.every)
        for frame in progress_bar(frames, total=video.num_chosen(options.every), unit="frame", desc=path.name):
            target = options.out / f"{frame_name(path, frame.number)}.{options.suffix}"
            if sieve.holds_back(frame.picture):
                counts["alike"] += 1
                continue
            if target.exists():  # of an earlier run, perhaps with labels beside it
                counts["there already"] += 1
                continue
            write_pixels(target, frame.picture)
            counts["written"] += 1
    seen = f"{counted(video.num_read, 'frame')} in {video.seconds + 1 / video.rate:.1f} s"
    print(f"{path}: {seen}; {_said(counts)}: {options.out}")
    if video.shortfall:
        warn(f"{path}: {video.shortfall}")
    return video.is_cut


def _watch(source: str, options: argparse.Namespace) -> int:
    """Write frames of a camera, called by it, the day and the time, until the time is over or a stop is requested;
    returns the exit code."""
    sieve, counts, due = _Sieve(options), {"written": 0, "alike": 0}, 0.0
    with StopRequest() as stop, Camera(source, tell=warn) as camera:
        while not stop.is_requested and camera.seconds < options.seconds:
            frame = camera.newest()
            if frame is None or frame.seconds < due:
                continue
            due = next_due(due, frame.seconds, options.every)
            if sieve.holds_back(frame.picture):
                counts["alike"] += 1
                continue
            when = datetime.now().strftime("%Y-%m-%d_%H%M%S%f")[:-3]
            write_pixels(options.out / f"{_called(camera.name)}-{when}.{options.suffix}", frame.picture)
            counts["written"] += 1
    seen = f"{counted(camera.num_frames, 'frame')} in {camera.seconds:.1f} s"
    print(f"{camera.name}: {seen}; {_said(counts)}: {options.out}")
    return stop.exit_code if stop.is_requested else 0


def _called(camera: str) -> str:
    """A camera in the name of a file: its host, or its number."""
    host = camera.partition("://")[2].partition("/")[0]
    return re.sub(r"[^\w.-]", "-", host) if host else f"camera{camera}"


class _Sieve:
    """Holds back frames that show nearly what the last one did that passed, where that is asked for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._is_wanted, self._max_distance, self._last = options.skip_alike, options.max_distance, NO_HASH

    def holds_back(self, picture: np.ndarray) -> bool:
        if not self._is_wanted:
            return False
        found = image_hash(picture)
        if are_twins(found, self._last, self._max_distance):
            return True
        self._last = found
        return False


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "written")


def _refuse_another(out: Path, video: Path) -> None:
    """Note from which file the pictures called by this video's name are. Raises SettingsError where it was another:
    cameras count their videos from 1 on."""
    index = out / INDEX
    try:
        known = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
        first = known.setdefault(video.stem, {"video": str(video.absolute()), "bytes": video.stat().st_size})
        name, size = first["video"], first["bytes"]
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{index}: is damaged; remove it, or name another folder") from error
    if size != video.stat().st_size:
        raise SettingsError(f"{out} has frames of {name}, of the same name as {video}; name another folder")
    write_json(index, known)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "extract_frames",
        description="Take pictures out of videos, or of a camera as it runs (<camera>-<day>_<time>, until --seconds or "
        "Ctrl-C), to label and to train on. They are called <video>_<number>, and stay "
        r"together in tools.split_train_val --group_by '^(.+)_\d+$'; tools.detect_video calls frames the same.",
        epilog="A picture that is there already stays. Exit codes: 0 done, 1 a damaged video or the like, 2 a wrong "
        "flag.",
    )
    add = parser.add_argument
    add(
        "videos",
        nargs="+",
        metavar="VIDEO",
        help="video files, or folders of them; or a camera: its number (0), or address (rtsp://..., http://...)",
    )
    add("out", type=Path, metavar="OUT", help="folder for the pictures")
    add_every(parser, 1.0)
    add(
        "--seconds",
        type=seconds,
        default=math.inf,
        metavar="SECONDS",
        help="of a camera: stop after this time [default: never]",
    )
    add("--skip_alike", action="store_true", help="leave out a frame that shows nearly the same as the one before it")
    add(
        "--max_distance",
        type=whole(0, NUM_BITS - 1),
        default=MAX_DISTANCE,
        metavar="BITS",
        help="bits of 64 in which the hashes of alike frames differ at most [default: %(default)s]",
    )
    add("--suffix", choices=("jpg", "png"), default="jpg", help="of the pictures [default: %(default)s]")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
