"""The command that takes pictures out of videos, to label: `python -m tools.extract_frames VIDEO OUT --every 1`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from datasets.near_duplicates import MAX_DISTANCE, NO_HASH, are_twins, image_hash
from datasets.videos import Video, VideoError, frame_name
from DOTA_devkit.atomic import write_json
from tools.picture_coding import write_pixels
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.flag_types import whole
from tools.running.messages import warn
from tools.running.progress import progress_bar
from tools.videos.video_flags import add_every, videos_of

NUM_BITS = 64  # of a hash
INDEX = ".frames.json"  # which file the pictures of a name are from


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the frames; returns the exit code: 0 done, 1 a video that is damaged or the like, 2 a wrong flag."""
    return exit_code(lambda: _run(_parse(arguments)), stopped="stopped; the frames written so far are whole")


def _run(options: argparse.Namespace) -> int:
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
    last_hash, counts = NO_HASH, {"written": 0, "there already": 0, "alike": 0}
    with Video(path) as video:
        _refuse_another(options.out, path)
        frames = video.frames(options.every)
        for frame in progress_bar(frames, total=video.num_chosen(options.every), unit="frame", desc=path.name):
            target = options.out / f"{frame_name(path, frame.number)}.{options.suffix}"
            if options.skip_alike:
                found = image_hash(frame.picture)
                if are_twins(found, last_hash, options.max_distance):
                    counts["alike"] += 1
                    continue
                last_hash = found
            if target.exists():  # of an earlier run, perhaps with labels beside it
                counts["there already"] += 1
                continue
            write_pixels(target, frame.picture)
            counts["written"] += 1
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "written")
    print(f"{path}: {video.num_read} frames in {video.seconds + 1 / video.rate:.1f} s; {said}: {options.out}")
    if video.shortfall:
        warn(f"{path}: {video.shortfall}")
    return video.is_cut


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
        description="Take pictures out of videos, to label and to train on. They are called <video>_<number>, and stay "
        r"together in tools.split_train_val --group_by '^(.+)_\d+$'; tools.detect_video calls frames the same.",
        epilog="A picture that is there already stays. Exit codes: 0 done, 1 a damaged video or the like, 2 a wrong "
        "flag.",
    )
    add = parser.add_argument
    add("videos", type=Path, nargs="+", metavar="VIDEO", help="video files, or folders of them")
    add("out", type=Path, metavar="OUT", help="folder for the pictures")
    add_every(parser, 1.0)
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
