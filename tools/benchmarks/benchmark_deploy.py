"""What an exported file costs and scores, by runtime and precision: each as a multiple of torch in the same run.

From a uint8 picture to the boxes after NMS. All take turns in one process, on as many threads, so that whatever else
the machine does meets them all alike; CPU time, which waiting for others does not lengthen, is told beside latency.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import statistics
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from datasets.letterbox import letterbox_image, letterbox_scale
from datasets.readers import Sample
from DOTA_devkit.atomic import atomic_write, write_json
from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.task_files import ImageDetections
from models import CTRBOX, Detections, decode, normalize
from models.graph_nms import suppress
from tools.architecture import Architecture
from tools.benchmarks.benchmark_table import format_table
from tools.benchmarks.timing import in_turns
from tools.checkpoint import load_named, save_checkpoint
from tools.config import Config
from tools.data import open_data, read_split
from tools.detection.detect import select
from tools.evaluate_onnx import score_onnx
from tools.exported.onnx_export import ExportSettings, build_export, drawn_scenes
from tools.exported.onnx_facts import FileFacts
from tools.exported.quantization import calibration_pictures, quantize_file
from tools.exported.runtimes import INSTALL, RUNTIMES
from tools.onnx_detector import OnnxDetector
from tools.outcomes import DetectionSettings
from tools.own_backbone import register_from_file
from tools.run_folder import checkpoint_path
from tools.running.command_line import SettingsError

BASE = "torch eager fp32"
PEAKS = (200, 500)  # of the NMS alone
CALIBRATION = 8  # scenes of the demo set, where no data are given


class Detector(Protocol):
    """What can be measured: pictures (H, W, 3) uint8 BGR of one size in, boxes after NMS out."""

    facts: FileFacts
    num_cut: int

    def detect(self, pictures: Sequence[np.ndarray]) -> list[ImageDetections]: ...


@dataclass(frozen=True)
class DeployJob:
    """What to measure; see the flags of the same names. size None: the checkpoint's."""

    resume: Path
    data_dir: Path | None = None
    size: int | None = None
    rounds: int = 10
    batch_size: int = 4
    num: int = 100
    num_pictures: int = 0


def run(options: argparse.Namespace) -> None:
    """Measure as the flags of `python -m tools.benchmark deploy` say."""
    benchmark_deploy(job_from(options), options.json)


def job_from(options: argparse.Namespace) -> DeployJob:
    """What the flags ask for. Raises SettingsError for one out of range."""
    if options.quick:
        options = argparse.Namespace(**{**vars(options), "size": 64, "rounds": 2, "batch_size": 2, "num": 2})
    if importlib.util.find_spec("onnxruntime") is None:
        raise SettingsError(f"ONNX Runtime, which calibrates int8, is not installed; {INSTALL}")
    if options.backbone is not None:
        register_from_file(options.backbone)
    return DeployJob(
        checkpoint_path(options.resume),
        options.data_dir,
        options.size,
        options.rounds,
        options.batch_size,
        options.num,
        options.num_pictures,
    )


def benchmark_deploy(job: DeployJob, json_path: Path | None = None) -> dict[str, Any]:
    """Print and return the numbers, which go into the JSON file as well: a row for torch and one for each runtime and
    precision, and what NMS alone takes in ONNX Runtime."""
    threads = torch.get_num_threads()
    network, architecture, _ = load_named(job.resume)
    if job.size is not None:
        architecture = replace(architecture, input_hw=(job.size, job.size))
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        checkpoint = Path(folder, "network.pth")
        save_checkpoint(checkpoint, network, architecture)
        files = _make_files(checkpoint, job, Path(folder))
        detectors: dict[str, Detector] = {}
        for precision, path in files.items():
            for runtime in _runtimes():
                detectors[f"{runtime} {precision}"] = OnnxDetector(path, runtime, threads=threads)
        facts = detectors["onnxruntime fp32"].facts
        detectors = {BASE: EagerDetector(network, architecture, facts)} | detectors
        rows = _measure(detectors, _pictures(job, architecture), job.rounds)
        sizes = {name: (checkpoint if name == BASE else files[name.split()[-1]]).stat().st_size for name in rows}
    nms = measure_nms(facts, PEAKS, job.rounds, threads)
    scores = _score(detectors, job)
    for name, row in rows.items():
        row |= {"file_mb": sizes[name] / 1e6, "mAP50": scores.get(name)}
    height, width = facts.input_hw
    where = f"input {height} x {width} (height x width), {threads} threads"
    title = f"{architecture.backbone}, {where}, {job.rounds} rounds in turns: picture in, boxes after NMS out"
    share = nms[PEAKS[0]] / rows["onnxruntime fp32"]["cpu_ms"]
    print("\n".join([title, *format_table(rows, COLUMNS), NOTE]))
    alone = ", ".join(f"K = {peaks}: {taken:.1f} ms" for peaks, taken in nms.items())
    print(f"NMS alone, crowded, in ONNX Runtime, CPU time: {alone} ({share:.1%} of the fp32 file at K = {PEAKS[0]})")
    outcome = {
        "checkpoint": str(job.resume), "backbone": architecture.backbone, "input_hw": list(facts.input_hw),
        "threads": threads, "rounds": job.rounds, "data_dir": job.data_dir, "rows": rows,
        "nms_cpu_ms": {str(peaks): taken for peaks, taken in nms.items()}, "nms_share": share,
    }  # fmt: skip
    if json_path is not None:
        write_json(json_path, outcome)
    return outcome


class EagerDetector:
    """The network as torch runs it, fp32 NCHW, decoded by torch and with `poly_nms` after it."""

    def __init__(self, network: CTRBOX, architecture: Architecture, facts: FileFacts) -> None:
        self._network = network.eval().to(memory_format=torch.contiguous_format)
        self._preprocessing = architecture.preprocessing
        self.facts = facts
        self._settings = DetectionSettings(facts.num_peaks, facts.conf_thresh, facts.nms_thresh)
        self.num_cut = 0  # as detectors have it; here nobody is told

    def detect(self, pictures: Sequence[np.ndarray]) -> list[ImageDetections]:
        """The boxes in pictures of one size, each (H, W, 3) uint8 BGR, in their pixels, best first."""
        fill, input_hw = self._preprocessing.fill_bgr, self.facts.input_hw
        boxed = np.stack([letterbox_image(picture, input_hw, fill) for picture in pictures])
        scale = letterbox_scale(pictures[0].shape[:2], input_hw)
        with torch.inference_mode():
            images = normalize(torch.from_numpy(boxed), self._preprocessing).contiguous()
            found = decode(self._network(images), self._settings.num_peaks)
        return [select(found, row, scale, self._settings) for row in range(len(pictures))]


class _Suppress(nn.Module):
    def __init__(self, conf_thresh: float, nms_thresh: float) -> None:
        super().__init__()
        self._thresholds = conf_thresh, nms_thresh

    def forward(self, quads: Tensor, scores: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        return tuple(suppress(Detections(quads, scores, labels), *self._thresholds))


def measure_nms(facts: FileFacts, peaks: Sequence[int], rounds: int, threads: int) -> dict[int, float]:
    """Least CPU milliseconds of the NMS of a file, alone in ONNX Runtime, on so many crowded boxes of one class."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    runs: dict[int, Callable[[], object]] = {}
    for num_boxes in peaks:
        quads = crowd(np.random.default_rng(num_boxes), num_boxes)
        scores = np.linspace(1, 0.1, num_boxes, dtype=np.float32)
        values = {"quads": quads[None], "scores": scores[None], "labels": np.zeros((1, num_boxes), np.int64)}
        buffer = io.BytesIO()
        with warnings.catch_warnings(action="ignore"):
            example = tuple(torch.from_numpy(value) for value in values.values())
            module = _Suppress(facts.conf_thresh, facts.nms_thresh)
            torch.onnx.export(module, example, buffer, dynamo=False, opset_version=17, input_names=list(values))
        session = onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
        runs[num_boxes] = lambda session=session, values=values: session.run(None, values)
    return {name: 1000 * min(times.cpu) for name, times in in_turns(runs, rounds).items()}


def crowd(rng: np.random.Generator, num_boxes: int) -> np.ndarray:
    """Rotated boxes (N, 4, 2) float32 of 8 to 60 pixels, four around each of N / 4 places that are close together."""
    places = np.repeat(rng.uniform(0, 10 * num_boxes**0.5, (-(-num_boxes // 4), 2)), 4, axis=0)[:num_boxes]
    centers, sides = places + rng.normal(0, 4, (num_boxes, 2)), rng.uniform(8, 60, (num_boxes, 2))
    boxes = np.column_stack([centers, sides, rng.uniform(0, np.pi, num_boxes)])
    return boxes_to_quads(boxes, "rolabelimg").astype(np.float32)


def _make_files(checkpoint: Path, job: DeployJob, folder: Path) -> dict[str, Path]:
    """The files to measure, by precision: with letterbox and NMS inside, for pictures of any size."""
    plain, small = folder / "fp32.onnx", folder / "int8.onnx"
    print(f"exporting {job.resume} and calibrating", flush=True)
    content, _, _, facts = build_export(checkpoint, ExportSettings(nms=True))
    with atomic_write(plain, "wb") as file:
        file.write(content)
    if job.data_dir is None:
        scenes = folder / "scenes"
        scenes.mkdir()
        for number, scene in enumerate(drawn_scenes(min(CALIBRATION, job.num), facts.in_channels, seed=11)):
            (scenes / f"{number}.png").write_bytes(cv2.imencode(".png", scene)[1].tobytes())
    quantize_file(plain, small, calibration_pictures(job.data_dir or scenes, job.num), str(job.data_dir))
    return {"fp32": plain, "int8": small}


def _runtimes() -> list[str]:
    """Those that are installed; what is not is told."""
    there = [name for name in RUNTIMES if importlib.util.find_spec(name) is not None]
    for name in set(RUNTIMES) - set(there):
        print(f"left out: {name} is not installed; {INSTALL}")
    return there


def _pictures(job: DeployJob, architecture: Architecture) -> list[np.ndarray]:
    """A batch of pictures of the input's size: of the data, or scenes of the demo set."""
    input_hw = architecture.input_hw
    if job.data_dir is None:
        found = drawn_scenes(job.batch_size, architecture.in_channels)
    else:
        data = open_data(Config(phase="eval", data_dir=job.data_dir))
        found = [architecture.read_picture(path) for path in list(data.images.values())[: job.batch_size]]
    resized = [
        cv2.resize(picture, input_hw[::-1], interpolation=cv2.INTER_LINEAR).reshape(*input_hw, -1) for picture in found
    ]
    return (resized * job.batch_size)[: job.batch_size]


def _together(detector: Detector, pictures: Sequence[np.ndarray]) -> list[ImageDetections]:
    """What is found in the pictures, which go through the network at once where it takes more than one."""
    if isinstance(detector, OnnxDetector):
        return detector.detect(pictures, batch_size=len(pictures))
    return detector.detect(pictures)


def _measure(
    detectors: Mapping[str, Detector], pictures: Sequence[np.ndarray], rounds: int
) -> dict[str, dict[str, Any]]:
    """Least and median milliseconds of one picture, CPU milliseconds, and pictures a second in batches."""
    one = in_turns({name: lambda d=each: d.detect(pictures[:1]) for name, each in detectors.items()}, rounds)
    many = in_turns(
        {name: lambda d=each: _together(d, pictures) for name, each in detectors.items()}, max(1, rounds // 4)
    )
    base_wall, base_cpu = (min(values) for values in one[BASE])
    return {
        name: {
            "latency_ms": 1000 * min(wall),
            "latency_ms_median": 1000 * statistics.median(wall),
            "latency_x": min(wall) / base_wall,
            "cpu_ms": 1000 * min(cpu),
            "cpu_x": min(cpu) / base_cpu,
            "pictures_s": len(pictures) / min(many[name].wall),
        }
        for name, (wall, cpu) in one.items()
    }


def _score(detectors: Mapping[str, Detector], job: DeployJob) -> dict[str, float | None]:
    """mAP50 of each on the validation pictures of the data, {} without data."""
    if job.data_dir is None:
        return {}
    facts = next(iter(detectors.values())).facts
    class_names = facts.class_names
    config = Config(phase="eval", data_dir=job.data_dir, classes=class_names if facts.chosen else None)
    _, samples = read_split(config, open_data(config), "val", class_names)
    chosen: Sequence[Sample] = samples[:: max(1, len(samples) // job.num_pictures)] if job.num_pictures else samples
    print(f"scoring on {len(chosen)} validation pictures", flush=True)
    return {name: score_onnx(detector, chosen)["mAP50"] for name, detector in detectors.items()}


NOTE = "x: of torch, least of all rounds. CPU: of all threads together."
COLUMNS = {  # heading: what of a row, how
    "ms": ("latency_ms", "9.1f"),
    "median": ("latency_ms_median", "9.1f"),
    "x": ("latency_x", "7.2f"),
    "CPU ms": ("cpu_ms", "9.1f"),
    "x ": ("cpu_x", "7.2f"),
    "pictures/s": ("pictures_s", "12.2f"),
    "MB": ("file_mb", "8.1f"),
    "mAP50": ("mAP50", "8.4f"),
}
