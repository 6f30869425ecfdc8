"""The command that detects with an exported file: `python -m tools.infer_onnx model.onnx PICTURE_OR_FOLDER OUT`.

It needs nothing but the file, and imports no torch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from datasets.images import ImageError, find_images
from DOTA_devkit.task_files import NO_DETECTIONS
from tools.command_line import Parser, SettingsError, exit_code
from tools.detector_flags import add_detector_flags, add_drawing_flags, open_detector, tiling_of, warn_of_cuts
from tools.drawing import as_bgr, draw_boxes, remove_drawings, write_picture
from tools.messages import warn
from tools.onnx_detector import OnnxDetector
from tools.outcomes import Found, Tiling, is_much_larger, too_large_hint
from tools.progress import progress_bar
from tools.results import DRAWINGS, RESULTS, ResultFiles, check_outputs, drawing_path, origin_of
from tools.run_folder import refuse_inputs
from tools.video_flags import no_picture_there, refuse_video


def main(arguments: Sequence[str] | None = None) -> int:
    """Detect, write results and drawings; returns the exit code: 0 done, 1 a picture could not be read or something
    else that a person can mend, 2 a wrong flag, 130 stopped by Ctrl-C."""
    return exit_code(lambda: _run(_parse(arguments)), stopped="stopped; no results written")


def detect_pictures(
    detector: OnnxDetector, images: Mapping[str, Path], tiling: Tiling | None = None, batch_size: int = 1
) -> Iterator[Found]:
    """Detect on pictures, one after the other, whole or in tiles (then `batch_size` at a time); the pictures are handed
    on. Of one that cannot be read comes the problem."""
    for row, path in enumerate(images.values()):
        try:
            picture = detector.facts.read_picture(path)
        except ImageError as error:
            yield Found(row, NO_DETECTIONS, (0, 0), problem=str(error))
            continue
        if tiling is None:
            boxes = detector.detect([picture])[0]
        else:
            boxes = detector.detect_tiled(picture, tiling, batch_size, name=path.name)
        yield Found(row, boxes, picture.shape[:2], picture)


def _run(options: argparse.Namespace) -> int:
    tiling = tiling_of(options)
    images = _pictures(options.input)
    refuse_inputs(options.out, options.input)
    check_outputs(options.out, images, options.num_drawings)
    started = time.perf_counter()
    detector = open_detector(options)
    class_names = detector.facts.class_names
    print(f"detecting with {options.model} ({detector.facts.backbone}) on {len(images)} pictures", flush=True)
    remove_drawings(options.out / DRAWINGS)
    problems, num_boxes, best, hinted = 0, 0, 0.0, tiling is not None
    paths = list(images.values())
    origin = origin_of(options.model, str(options.input), images.values(), detector.settings, tiling)
    with ResultFiles(options.out / RESULTS, class_names, origin) as results:
        found = detect_pictures(detector, images, tiling, options.batch_size)
        for item in progress_bar(found, total=len(paths), unit="picture", desc="detecting"):
            path = paths[item.row]
            if item.problem is not None:
                if options.on_bad_picture == "error":
                    raise ImageError(f"{item.problem} (--on_bad_picture skip leaves such pictures out)")
                warn(item.problem)
                problems += 1
                continue
            if not hinted and is_much_larger(item.size, detector.usual_hw):
                warn(f"{path.name} {too_large_hint(item.size, detector.usual_hw)}")
                hinted = True
            results.write(path, item)
            num_boxes += len(item.detections.scores)
            best = max(best, float(item.detections.scores.max(initial=0.0)))
            if item.row < options.num_drawings:
                drawing = draw_boxes(
                    as_bgr(item.picture),
                    item.detections,
                    class_names,
                    min_score=options.draw_score,
                    line_width=options.line_width,
                    labels=options.draw_labels,
                    in_place=True,
                )
                write_picture(drawing_path(options.out, path), drawing)
    speed = len(paths) / max(time.perf_counter() - started, 1e-9)
    floor = detector.settings.conf_thresh
    print(f"{num_boxes} boxes of score {floor} and more, {speed:.1f} pictures/s: {options.out / RESULTS}")
    print(f"drawings (score {options.draw_score} and more): {options.out / DRAWINGS}")
    warn_of_cuts(detector, options)
    if num_boxes and best < options.draw_score:
        warn(f"the best score is {best:.2f}, so no box was drawn; lower --draw_score")
    return int(problems > 0)


def _pictures(source: Path) -> dict[str, Path]:
    """The picture, or those of the folder, by name."""
    refuse_video(source, str(source))
    if source.is_file():
        return {source.stem: source}
    if not source.exists():
        raise SettingsError(f"{source}: no such file or folder")
    images = find_images(source)
    if not images:
        raise SettingsError(f"{source}: {no_picture_there(source)}")
    return images


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m tools.infer_onnx",
        description="Detect with an exported file: OUT/results gets Task1_<class>.txt and detections.json, "
        "OUT/drawings the pictures with boxes.",
        epilog="Exit codes: 0 done, 1 a picture could not be read or the like, 2 a wrong flag.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="file of tools.export_onnx or tools.quantize_onnx")
    add("input", type=Path, metavar="PICTURE_OR_FOLDER", help="what to detect on")
    add("out", type=Path, metavar="OUT", help="folder for results and drawings")
    add_detector_flags(parser)
    add("--num_drawings", type=int, default=50, metavar="N", help="most pictures to draw [default: %(default)s]")
    add_drawing_flags(parser)
    add(
        "--on_bad_picture",
        choices=("error", "skip"),
        default="error",
        help="a picture that cannot be read stops, or is left out and told of [default: %(default)s]",
    )
    options = parser.parse_args(arguments)
    for name in ("num_drawings", "line_width"):
        if getattr(options, name) < 0:
            parser.error(f"argument --{name}: {getattr(options, name)} must be at least 0")
    return options


if __name__ == "__main__":
    sys.exit(main())
