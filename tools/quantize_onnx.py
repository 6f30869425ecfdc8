"""The command that quantises an exported file: `python -m tools.quantize_onnx model.onnx model_int8.onnx --calibration
DATA_DIR_OR_PICTURES`. It imports no torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.exported.quantization import calibration_pictures, quantize_file
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.flag_types import whole
from tools.running.messages import warn


def main(arguments: Sequence[str] | None = None) -> int:
    """Quantise; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a person can mend, 130 stopped."""
    return exit_code(lambda: _run(_parse(arguments)))


def _run(options: argparse.Namespace) -> None:
    if options.output.suffix.lower() != ".onnx" or options.output.is_dir():
        raise SettingsError(f"{options.output}: name an output that ends in .onnx")
    if options.output.resolve() == options.model.resolve():
        raise SettingsError(f"{options.output}: is the input; name another output")
    pictures = calibration_pictures(options.calibration, options.num)
    print(f"quantising {options.model}, calibrating on {len(pictures)} pictures of {options.calibration}", flush=True)
    count = quantize_file(options.model, options.output, pictures, str(options.calibration))
    sizes = [path.stat().st_size / 1e6 for path in (options.model, options.output)]
    print(f"written: {options.output} ({sizes[1]:.1f} MB, was {sizes[0]:.1f} MB), {count} convolutions in int8")
    if sizes[1] > 0.5 * sizes[0]:
        warn("most of this network is no convolution and stays in float; int8 gains little")
    print("compare the two on your data: python -m tools.evaluate_onnx FILE --data_dir DIR")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "quantize_onnx",
        description="Write an exported file with its network in int8: a quarter of the size, and faster on processors "
        "with instructions for it (VNNI, AMX). Boxes change a little: score both with tools.evaluate_onnx.",
        epilog="The letterbox, the last layer of the heat map, the other heads, the decoder and NMS stay in float. "
        "Exit codes: 0 done, 1 something in the data, 2 a wrong flag.",
    )
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="file of tools.export_onnx, in fp32")
    add("output", type=Path, metavar="OUTPUT", help="the file to write, ending in .onnx")
    add(
        "--calibration",
        type=Path,
        required=True,
        metavar="PATH",
        help="pictures such as the file will see: a data folder (its training pictures), a folder of pictures, or one",
    )
    add("--num", type=whole(1), default=200, metavar="N", help="most pictures to calibrate on [default: %(default)s]")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
