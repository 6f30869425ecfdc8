"""The command that exports a checkpoint: `python -m tools.export_onnx --resume runs/x/best.pth --output model.onnx`."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.config import Config
from tools.exported.onnx_facts import FileFacts, read_properties
from tools.outcomes import MOST_PEAKS
from tools.run_folder import checkpoint_path
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.flag_types import share, whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Export; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a person can mend, 130 and
    143 stopped by Ctrl-C and SIGTERM."""
    return exit_code(lambda: _run(_parse(arguments)))


def _run(options: argparse.Namespace) -> None:
    _check(options)
    if importlib.util.find_spec("onnxruntime") is None:
        raise SettingsError(
            "exporting compares the file with the checkpoint in ONNX Runtime, which is not installed; "
            "pip install -r requirements-deploy.txt"
        )
    from tools.exported.onnx_export import ExportSettings, export_checkpoint
    from tools.exported.onnx_file import check_opset

    check_opset(options.opset)
    checkpoint = checkpoint_path(options.resume)
    if options.output.suffix.lower() != ".onnx" or options.output.is_dir():
        raise SettingsError(f"--output {options.output}: name a file that ends in .onnx")
    settings = ExportSettings(
        num_peaks=options.K,
        nms=options.nms,
        conf_thresh=options.conf_thresh,
        nms_thresh=options.nms_thresh,
        num_views=options.tta_views,
        letterbox=options.letterbox,
        float_input=options.float_input,
        half=options.half,
        opset=options.opset,
        batch=options.batch,
        fixed_hw=None if options.height is None else (options.height, options.width),
        dynamic=options.dynamic,
        pictures=options.pictures,
        backbone=options.backbone,
    )
    print(f"exporting {checkpoint}", flush=True)
    compared = export_checkpoint(checkpoint, options.output, settings)
    print(f"{'like' if options.half else 'same as'} the checkpoint: {compared}")
    print(f"written: {options.output} ({options.output.stat().st_size / 1e6:.1f} MB)")
    if options.letterbox and not FileFacts.from_properties(read_properties(options.output), options.output).letterbox:
        print(
            "it takes pictures of the network's own size, so that no letterbox is inside; others are made to fit as "
            "`resize` in its metadata says (tools.infer_onnx does it)"
        )


def _check(options: argparse.Namespace) -> None:
    """Raises SettingsError for flags that do not go together."""
    fixed = (options.height, options.width)
    if options.dynamic and (options.batch != 1 or fixed != (None, None)):
        raise SettingsError("--batch, --height and --width fix the size of the input; give --no_dynamic with them")
    if (options.height is None) != (options.width is None):
        raise SettingsError("--height and --width go together; give both or none")
    if not options.letterbox and any(side is not None and side % 32 for side in fixed):
        raise SettingsError("--height and --width must be multiples of 32 with --no_letterbox")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    defaults = Config()
    parser = Parser(
        "export_onnx",
        description="Write a checkpoint as one ONNX file: pictures as OpenCV gives them in, boxes in their pixels out.",
        epilog="Input `image` (N, H, W, 3) BGR; outputs `boxes` (N, K, 4, 2) pixels of the picture, `scores` (N, K), "
        "`labels` (N, K), with --nms also `count` (N,). The file is compared with the checkpoint before it appears: "
        "more than 0.01 px or 0.0001 of a score (with --half 2 px or 0.02) is an error. Exit codes: 0 done, 1 "
        "something in the data, 2 a wrong flag.",
    )
    add = parser.add_argument
    add("--resume", type=Path, metavar="FILE", help="checkpoint or run folder [default: best.pth of the newest run]")
    add("--output", type=Path, required=True, metavar="FILE", help="the file to write, ending in .onnx")
    add("--nms", action="store_true", help="exact polygon NMS inside, per class; the boxes come first, zeros follow")
    add(
        "--K",
        type=whole(1, MOST_PEAKS),
        default=defaults.K,
        metavar="N",
        help="boxes of a picture, at most 3840 [default: %(default)s]",
    )
    add(
        "--conf_thresh",
        type=share,
        default=defaults.conf_thresh,
        metavar="X",
        help="lowest score, 0 to 1; fixed with --nms [default: %(default)s]",
    )
    add(
        "--nms_thresh",
        type=share,
        default=defaults.nms_thresh,
        metavar="X",
        help="IoU above which the worse of two boxes of a class goes, 0 to 1; fixed with --nms [default: %(default)s]",
    )
    add(
        "--tta_views",
        type=int,
        choices=(1, 2, 4),
        default=1,
        help="take the mean of so many views of a picture, as main.py does; takes as many times as long [default: 1]",
    )
    add("--no_letterbox", dest="letterbox", action="store_false", help="leave resizing and padding to the caller")
    add("--float_input", action="store_true", help="float32 pictures, 0 to 255, instead of uint8")
    add("--no_dynamic", dest="dynamic", action="store_false", help="fix batch, height and width of the input")
    add(
        "--batch",
        type=whole(1),
        default=1,
        metavar="N",
        help="pictures at once, with --no_dynamic [default: %(default)s]",
    )
    size = "of the pictures in pixels, with --no_dynamic [default: the network's]"
    add("--height", type=whole(1), metavar="PX", help=f"height {size}")
    add("--width", type=whole(1), metavar="PX", help=f"width {size}")
    add("--half", action="store_true", help="network in fp16: half the size, faster on GPUs, slower on most CPUs")
    add("--opset", type=int, default=17, metavar="N", help="version of the operators [default: %(default)s]")
    add("--pictures", type=Path, metavar="DIR", help="pictures to compare on [default: scenes of the demo set]")
    add(
        "--backbone",
        metavar="NAME",
        help="of a checkpoint that does not say, as published ones [default: resnet101], or FILE.py:CLASS of your own",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
