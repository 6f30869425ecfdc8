"""The command that quantises an exported file: `python -m tools.quantize_onnx model.onnx model_int8.onnx --calibration
DATA_DIR_OR_PICTURES`. It imports no torch."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datasets.images import IMAGE_SUFFIXES, ImageError, find_images
from DOTA_devkit.atomic import atomic_write
from tools.command_line import Parser, SettingsError, exit_code
from tools.config import Config
from tools.data import open_data, split_of
from tools.onnx_detector import OnnxDetector
from tools.onnx_facts import ModelFileError, read_properties
from tools.progress import progress_bar

if TYPE_CHECKING:
    import onnx

PRECISION = "int8"


def main(arguments: Sequence[str] | None = None) -> int:
    """Quantise; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a person can mend, 130 stopped."""
    return exit_code(lambda: _run(_parse(arguments)))


def quantize_file(model: Path, output: Path, pictures: Sequence[Path], source: str) -> int:
    """Write the exported file `model` with its network in int8; returns how many convolutions are.

    Static quantisation by ONNX Runtime's own tools, as pairs of QuantizeLinear and DequantizeLinear: weights signed and
    per channel, in 7 of their 8 bits, for products of 8 overflow the 16 bits in which processors without VNNI add them
    in pairs; activations unsigned and per tensor, from the least to the largest value that they take on `pictures`,
    which go through the file as they would at work. The letterbox, the last convolution of the heat map, what is
    computed at the peaks alone and the NMS stay in float: a step of 8 bits would be more than a pixel there. `source`
    says in the metadata where the pictures are from.

    Raises ModelFileError for a file that cannot be quantised, SettingsError where ONNX Runtime is missing, ImageError
    for a picture that cannot be read.
    """
    detector = OnnxDetector(model)
    if detector.facts.precision != "fp32":
        raise ModelFileError(f"{model}: is in {detector.facts.precision}; quantise the file in fp32 that it comes from")
    with tempfile.TemporaryDirectory(prefix="quantize-") as folder:
        quantized, names = _quantize(model, Path(folder), _Pictures(detector, pictures))
    calibration = {"pictures": len(pictures), "from": source, "ranges": "from the least to the largest value"}
    properties = read_properties(model) | {
        "precision": PRECISION,
        "calibration": json.dumps(calibration, ensure_ascii=False),
        "quantized_from": model.name,
        "quantized_from_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
    }
    for key, value in properties.items():
        quantized.metadata_props.add(key=key, value=value)
    with atomic_write(output, "wb") as file:
        file.write(quantized.SerializeToString())
    return len(names)


def calibration_pictures(source: Path, num: int) -> list[Path]:
    """At most `num` pictures, spread evenly: of a folder of pictures or a data folder's training pictures; or the one.

    Raises SettingsError where there is none.
    """
    if source.is_file():
        if source.suffix.lower() not in IMAGE_SUFFIXES:
            raise SettingsError(f"--calibration {source}: not a picture; known: {', '.join(sorted(IMAGE_SUFFIXES))}")
        return [source]
    if not source.is_dir():
        raise SettingsError(f"--calibration {source}: no such file or folder")
    config = Config(phase="train", data_dir=source)
    try:  # first: the folder of a data set may hold its validation pictures as well
        data = open_data(config)
        found = [data.images[name] for name in split_of(config, data, "train").names]
    except ImageError:
        raise
    except ValueError as error:
        found = list(find_images(source).values())
        if not found:
            raise SettingsError(f"--calibration {source}: no picture there, and no data folder ({error})") from error
    rows = np.linspace(0, len(found) - 1, min(num, len(found))).round().astype(int)
    return [found[row] for row in rows]


class _Pictures:
    """The pictures as the file takes them, one at a time: what ONNX Runtime calls a CalibrationDataReader."""

    def __init__(self, detector: OnnxDetector, paths: Sequence[Path]) -> None:
        self._inputs = self._read(detector, progress_bar(paths, unit="picture", desc="calibrating"))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input by its name; None after the last."""
        return next(self._inputs, None)

    @staticmethod
    def _read(detector: OnnxDetector, paths: Sequence[Path]) -> Iterator[dict[str, np.ndarray]]:
        for path in paths:
            images, _ = detector.inputs([detector.facts.read_picture(path)])
            yield {"image": np.repeat(images, detector.batch or 1, axis=0)}


def _quantize(model: Path, folder: Path, pictures: _Pictures) -> tuple[onnx.ModelProto, list[str]]:
    """The quantised model, without metadata, and the names of its quantised convolutions. Raises ModelFileError."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    from tools.onnx_network import QUANTIZABLE, NetworkPart

    part = NetworkPart(onnx.load(model))
    if not part.convolutions:
        raise ModelFileError(f"{model}: holds no convolution that could be quantised; export the checkpoint again")
    plain, written = folder / "plain.onnx", folder / "quantized.onnx"
    onnx.save(part.model, plain)
    with _quiet_logging():
        quantize_static(
            plain,
            written,
            pictures,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZABLE),
            nodes_to_quantize=part.quantizable,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    return part.put_back(onnx.load(written)), part.convolutions


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """A block in which ONNX Runtime's tools keep to themselves that a model might be simplified first: it is."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _run(options: argparse.Namespace) -> None:
    if options.num < 1:
        raise SettingsError(f"--num {options.num} must be at least 1")
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
        print("warning: most of this network is no convolution and stays in float; int8 gains little", file=sys.stderr)
    print("compare the two on your data: python -m tools.evaluate_onnx FILE --data_dir DIR")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m tools.quantize_onnx",
        description="Write an exported file with its network in int8: a quarter of the size, and faster on processors "
        "with instructions for it (VNNI, AMX). Boxes change a little: score both with tools.evaluate_onnx.",
        epilog="The letterbox, the last layer of the heat map, the other heads, the decoder and NMS stay in float. "
        "Exit codes: 0 done, 1 something in the data, 2 a wrong flag.",
        allow_abbrev=False,
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
    add("--num", type=int, default=200, metavar="N", help="most pictures to calibrate on [default: %(default)s]")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
