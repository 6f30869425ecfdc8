"""The command that detects with an exported file: `python -m tools.infer_onnx model.onnx PICTURE_OR_FOLDER OUT`.

It needs nothing but the file, and imports no torch.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from datasets.images import IMAGE_SUFFIXES, ImageError, find_images, read_image
from DOTA_devkit.task_files import NO_DETECTIONS
from DOTA_devkit.tiling import check_grid, scaled_size
from tools.command_line import Parser, SettingsError, exit_code
from tools.drawing import as_bgr, draw_boxes, remove_drawings, write_picture
from tools.onnx_detector import OnnxDetector
from tools.outcomes import Found, Tiling, is_much_larger, too_large_hint
from tools.progress import progress_bar
from tools.results import DRAWINGS, RESULTS, ResultFiles, check_outputs, drawing_path, stamp_of
from tools.run_folder import refuse_inputs, warn
from tools.runtimes import PROVIDERS, RUNTIMES


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
            picture = read_image(path, detector.facts.num_channels)
        except ImageError as error:
            yield Found(row, NO_DETECTIONS, (0, 0), problem=str(error))
            continue
        if tiling is None:
            boxes = detector.detect([picture])[0]
        else:
            boxes = detector.detect_tiled(picture, path.stem, tiling, batch_size, show=True)
        yield Found(row, boxes, picture.shape[:2], picture)


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
    add("--threads", type=int, default=0, metavar="N", help="threads of the runtime; 0 lets it choose [default: 0]")
    add("--conf_thresh", type=float, metavar="X", help="lowest score, 0 to 1 [default: the file's]")
    add(
        "--nms_thresh",
        type=float,
        metavar="X",
        help="IoU above which the worse of two boxes of a class goes, 0 to 1 [default: the file's]",
    )
    add(
        "--agnostic_nms",
        action="store_true",
        help="boxes of different classes compete, too; for a file without NMS inside",
    )
    add("--tile", type=int, metavar="PX", help="cut pictures into tiles of this side, pixels of the scaled picture")
    add("--overlap", type=int, default=100, metavar="PX", help="what neighbouring tiles share [default: %(default)s]")
    add("--scales", type=float, nargs="+", default=[1.0], metavar="X", help="scales to cut at [default: 1]")
    add("--batch_size", type=int, default=1, metavar="N", help="tiles at a time [default: %(default)s]")


def open_detector(options: argparse.Namespace) -> OnnxDetector:
    """The file of `options.model`, by the flags. Raises SettingsError for one out of range."""
    for name in ("conf_thresh", "nms_thresh"):
        value = getattr(options, name)
        if value is not None and not 0 <= value <= 1:
            raise SettingsError(f"--{name} {value} must lie within 0 and 1")
    if options.threads < 0 or options.batch_size < 1:
        raise SettingsError("--threads must be at least 0 and --batch_size at least 1")
    thresholds = {"conf_thresh": options.conf_thresh, "nms_thresh": options.nms_thresh}
    detector = OnnxDetector(options.model, options.runtime, options.provider, threads=options.threads, **thresholds)
    if options.agnostic_nms and detector.facts.nms:
        raise SettingsError(f"--agnostic_nms: NMS by class is inside {options.model}; export it without --nms")
    detector.settings = replace(detector.settings, agnostic=options.agnostic_nms)
    return detector


def tiling_of(options: argparse.Namespace) -> Tiling | None:
    """How pictures are to be cut, None if not. Raises SettingsError for tiles that make no progress."""
    if options.tile is None:
        return None
    try:
        check_grid(options.tile, options.overlap)
        for scale in options.scales:
            scaled_size(1, 1, scale)
    except ValueError as error:
        raise SettingsError(f"--tile, --overlap, --scales: {error}") from error
    return Tiling(options.tile, options.overlap, tuple(options.scales))


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
    with ResultFiles(options.out / RESULTS, class_names, _origin(options, images, detector, tiling)) as results:
        found = detect_pictures(detector, images, tiling, options.batch_size)
        for item in progress_bar(found, total=len(paths), unit="picture", desc="detecting"):
            path = paths[item.row]
            if item.problem is not None:
                if options.on_bad_picture == "error":
                    raise ImageError(f"{item.problem} (--on_bad_picture skip leaves such pictures out)")
                warn(item.problem)
                problems += 1
                continue
            if not hinted and is_much_larger(item.size, detector.facts.input_hw):
                warn(f"{path.name} {too_large_hint(item.size, detector.facts.input_hw)}")
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
    if num_boxes and best < options.draw_score:
        warn(f"the best score is {best:.2f}, so no box was drawn; lower --draw_score")
    return int(problems > 0)


def _origin(
    options: argparse.Namespace, images: Mapping[str, Path], detector: OnnxDetector, tiling: Tiling | None
) -> dict:
    """What the results are results of, as phase test has it."""
    with options.model.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "checkpoint": str(options.model),
        "sha256": sha256,
        "pictures": str(options.input),
        "files": stamp_of(images.values()),
        **vars(detector.settings),
        "tiles": [tiling.size, tiling.overlap, *tiling.scales] if tiling else None,
    }


def _pictures(source: Path) -> dict[str, Path]:
    """The picture, or those of the folder, by name."""
    if source.is_file():
        return {source.stem: source}
    if not source.exists():
        raise SettingsError(f"{source}: no such file or folder")
    images = find_images(source)
    if not images:
        raise SettingsError(f"{source}: no picture there; known suffixes: {', '.join(sorted(IMAGE_SUFFIXES))}")
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
    add("--draw_score", type=float, default=0.3, metavar="X", help="lowest score that is drawn [default: %(default)s]")
    add("--line_width", type=int, default=0, metavar="PX", help="of the boxes; 0: by the picture's size [default: 0]")
    add("--no_draw_labels", dest="draw_labels", action="store_false", help="draw no class and score at the boxes")
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
