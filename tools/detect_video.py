"""The command that detects in videos: `python -m tools.detect_video MODEL VIDEO OUT`, MODEL a run or an ONNX file."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from datasets.videos import Video, VideoError
from DOTA_devkit.atomic import write_csv
from tools.class_scores import shown_scores
from tools.detection.detector_flags import tiling_of, warn_of_cuts
from tools.detection.results import DETECTIONS, RESULTS, ResultFiles, origin_of, read_origin
from tools.drawing import numbered_classes
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.folder_lock import LOCK
from tools.running.messages import counted, warn
from tools.running.stop_request import StopRequest
from tools.videos.crossings import Line
from tools.videos.following import CROSSINGS, OBJECTS, TRACKS
from tools.videos.model_flags import add_model_flags, detector_of
from tools.videos.tracking_flags import add_tracking_flags, refuse_lines_outside, tracking_if_asked_for
from tools.videos.video_detection import VideoDetection, drawn_path
from tools.videos.video_file import LONGEST_SIDE
from tools.videos.video_flags import add_every, videos_of
from tools.videos.zones import Zone, add_zone_flag, refuse_zones_outside, zone_columns, zones_of

COUNTS = "counts.csv"
LEAST_TAKEN = 0.5  # of the boxes that are of an object; where it is less that is told


def main(arguments: Sequence[str] | None = None) -> int:
    """Detect, write results, counts and drawn videos; returns the exit code: 0 done, 1 a damaged video or something
    else that a person can mend, 2 a wrong flag, 130 and 143 stopped by Ctrl-C and SIGTERM, with the frames so far."""
    return exit_code(lambda: _run(_parse(arguments)), stopped="stopped; no results written")


def _run(options: argparse.Namespace) -> int:
    tracking, tiling, paths = tracking_if_asked_for(options), tiling_of(options), videos_of(options.videos, options.out)
    _refuse_other_results(options.out, paths)
    named = _named(paths)
    paths, num_bad = _readable(paths, options, tracking.lines if tracking else (), zones_of(options))
    detector, least = detector_of(options, tiling)
    print(f"detecting with {options.model} in {counted(len(paths), 'video')}", flush=True)
    started = time.perf_counter()
    origin = origin_of(options.model, named, paths, detector.settings, tiling) | {"every": options.every}
    is_begun = False
    try:
        with StopRequest() as stop, ResultFiles(options.out / RESULTS, detector.class_names, origin) as results:
            _remove_outputs(options.out, paths)  # of an earlier run, as its results are
            is_begun = True
            work = VideoDetection(options, paths, detector, tiling, least, tracking, results, stop)
            num_bad += work.detect()
            origin["stopped"] = work.is_stopped
    except BaseException:
        if is_begun:  # then there are no results; videos and tables without them would stand in the next run's way
            _remove_outputs(options.out, paths)
        raise
    columns = ("image", "video", "frame", "seconds", *detector.class_names)
    write_csv(options.out / COUNTS, [(*columns, *zone_columns(work.zones, detector.class_names)), *work.rows])
    _report(work, paths, len(work.rows) / max(time.perf_counter() - started, 1e-9))
    warn_of_cuts(detector, options)
    if work.best > 0 and not work.num_shown:
        warn(f"the best score is {work.best:.2f}, so no box was drawn or counted; lower --draw_score")
    if work.following is not None and work.following.num_taken < LEAST_TAKEN * work.following.num_boxes:
        lost = work.following.num_boxes - work.following.num_taken
        why = "what moves farther between two frames than it extends is not followed; a smaller --every may help"
        if len(work.rows) < (least_frames := work.following.how.least_frames):
            why = f"an object is seen in {least_frames} frames (--track_frames), and there are {len(work.rows)}"
        warn(f"{lost} of {work.following.num_boxes} boxes are of no object: {why}")
    if work.is_stopped:
        print("stopped; what is written is of the frames so far", file=sys.stderr)
        return stop.exit_code
    return int(num_bad > 0)


def _report(work: VideoDetection, paths: Sequence[Path], speed: float) -> None:
    """Say what was found, at so many frames a second, and where it lies."""
    out, detector = work.options.out, work.detector
    floor = detector.settings.conf_thresh
    often = f" (one in {work.options.every:g} s)" if work.options.every else ""
    seen = f"{counted(len(work.rows), 'frame')}{often}, {speed:.1f} frames/s"
    print(f"boxes of score {floor} and more in {seen}: {out / RESULTS}")
    print(f"how many of score {shown_scores(work.least)} and more: {out / COUNTS}")
    if work.following is not None:
        for line in work.following.summary():
            print(line)
        tables = (OBJECTS, TRACKS, *([CROSSINGS] if work.following.how.lines else []))
        print(f"who is who: {', '.join(str(out / name) for name in tables)}")
    drawn = [path for path in (drawn_path(out, path) for path in paths) if path.is_file()]
    if drawn:
        print(f"drawn: {', '.join(map(str, drawn))}")
        if numbered := numbered_classes(detector.class_names):
            print(numbered)


def _readable(
    paths: Sequence[Path], options: argparse.Namespace, lines: Sequence[Line], zones: Sequence[Zone]
) -> tuple[list[Path], int]:
    """The videos of which a frame can be read, and how many others there are: told of now, and not after hours. Raises
    VideoError for one, or for all where they may be left out, SettingsError for one that cannot be drawn or does not
    show a line or zone that is to be counted at."""
    found, error = [], None
    for path in paths:
        try:
            with Video(path) as video:
                first = next(video.frames(), None)
        except VideoError as fault:
            if options.on_bad_video == "error":
                more = " (--on_bad_video skip leaves such videos out)" if len(paths) > 1 else ""
                raise VideoError(f"{fault}{more}") from fault
            error = fault
            warn(str(fault))
            continue
        if options.draw and first is not None and max(first.picture.shape) > LONGEST_SIDE:
            raise SettingsError(f"{path}: MPEG-4 holds no more than {LONGEST_SIDE} pixels a side; give --no_draw")
        if first is not None:
            refuse_lines_outside(lines, path, first.picture.shape[:2])
            refuse_zones_outside(zones, path, first.picture.shape[:2])
        found.append(path)
    if not found and error is not None:
        raise error
    return found, len(paths) - len(found)


def _tables(out: Path) -> tuple[Path, ...]:
    return tuple(out / name for name in (COUNTS, TRACKS, OBJECTS, CROSSINGS))


def _remove_outputs(out: Path, videos: Sequence[Path]) -> None:
    """Remove the drawn videos and the tables, and those that a process that was killed left half written."""
    for path in (*(drawn_path(out, video) for video in videos), *_tables(out)):
        path.unlink(missing_ok=True)
    for table in _tables(out):
        for leftover in out.glob(f".{table.name}.*.tmp"):
            leftover.unlink()


def _refuse_other_results(out: Path, videos: Sequence[Path]) -> None:
    """Raises SettingsError where the folder holds what is no earlier, whole or broken off, result of these videos."""
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file; name a folder")
    origin = read_origin(out / RESULTS)
    if origin is not None and origin.get("pictures") != _named(videos):
        raise SettingsError(f"{out} holds results of {origin.get('pictures')}; name another folder")
    # A run that was killed leaves its lock.
    is_ours = any((out / RESULTS / name).is_file() for name in (DETECTIONS, LOCK))
    for path in () if is_ours else (*(drawn_path(out, video) for video in videos), *_tables(out)):
        if path.exists():
            raise SettingsError(f"{path} is there, and no earlier result of this command; name another folder")


def _named(videos: Sequence[Path]) -> str:
    """The videos in a word, for people and to know them again."""
    first, *others = (str(video.absolute()) for video in videos)
    return f"{first} and {len(others)} more" if others else first


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "detect_video",
        description="Detect in the frames of videos: OUT/results gets Task1_<class>.txt and detections.json, in which "
        f"a frame is called <video>_<number> as in tools.extract_frames; OUT/{COUNTS} the time and the number of "
        "objects of each class, a frame a row; OUT/<video>_found.mp4 shows the boxes.",
        epilog="Exit codes: 0 done, 1 a damaged video or the like, 2 a wrong flag.",
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="run folder, checkpoint, or file of tools.export_onnx")
    add("videos", nargs="+", metavar="VIDEO", help="video files, or folders of them")
    add("out", type=Path, metavar="OUT", help="folder for results and the drawn video")
    add_every(parser, 0.0)
    add_model_flags(parser)
    add(
        "--track",
        action="store_true",
        help=f"follow the objects from frame to frame: {OBJECTS} gets a row for each of them, {TRACKS} for each time "
        "that it was seen, and the drawn boxes their numbers",
    )
    add_tracking_flags(parser, f"{CROSSINGS} and in the drawn video, which implies --track")
    add_zone_flag(parser, f"{COUNTS} and in the drawn video")
    add(
        "--on_bad_video",
        choices=("error", "skip"),
        default="error",
        help="a video that cannot be read stops before any is begun, or is left out and told of [default: %(default)s]",
    )
    add("--no_draw", dest="draw", action="store_false", help="write no video")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
