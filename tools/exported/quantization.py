"""An exported file -> the same with its network in int8, calibrated on pictures; imports no torch."""

from __future__ import annotations

import errno
import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datasets.picture_files.image_folders import find_images
from datasets.picture_files.images import IMAGE_SUFFIXES, ImageError
from DOTA_devkit.atomic import atomic_write
from tools.config import Config
from tools.data import open_data, split_of
from tools.exported.onnx_facts import ModelFileError, read_properties
from tools.onnx_detector import OnnxDetector
from tools.running.command_line import SettingsError
from tools.running.messages import quiet_logging
from tools.running.progress import progress_bar

if TYPE_CHECKING:
    import onnx

PRECISION = "int8"


def quantize_file(model: Path, output: Path, pictures: Sequence[Path], source: str) -> int:
    """Write the exported file `model` with its network in int8; returns how many convolutions are.

    Static quantisation by ONNX Runtime's own tools, as pairs of QuantizeLinear and DequantizeLinear: weights signed and
    per channel, in 7 of their 8 bits, for products of 8 overflow the 16 bits in which processors without VNNI add them
    in pairs; activations unsigned and per tensor, from the least to the largest value that they take on `pictures`,
    which go through the file as they would at work. The letterbox, the last convolution of the heat map, the other
    heads and the NMS stay in float: a step of 8 bits would be more than a pixel there. `source` says in the metadata
    where the pictures are from.

    Raises ModelFileError for a file that cannot be quantised, SettingsError where ONNX Runtime is missing, ImageError
    for a picture that cannot be read.
    """
    detector = OnnxDetector(model)
    if detector.facts.precision != "fp32":
        raise ModelFileError(f"{model}: is in {detector.facts.precision}; quantise the file in fp32 that it comes from")
    try:
        with tempfile.TemporaryDirectory(prefix="quantize-") as folder:
            quantized, names = _quantize(model, Path(folder), _Pictures(detector, pictures))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = f"{tempfile.gettempdir()}, the folder for temporary files (TMPDIR)"
        raise OSError(error.errno, error.strerror, place) from error
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
        found = list(find_images(source, skips_previews=True).values())
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

    from tools.exported.onnx_network import QUANTIZABLE, NetworkPart

    part = NetworkPart(onnx.load(model))
    if not part.convolutions:
        raise ModelFileError(f"{model}: holds no convolution that could be quantised; export the checkpoint again")
    plain, written = folder / "plain.onnx", folder / "quantized.onnx"
    onnx.save(part.model, plain)
    with quiet_logging():  # of ONNX Runtime, whose tools advise to simplify a model first: it is
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
