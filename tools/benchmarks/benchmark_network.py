"""What a backbone, a neck and a width of the heads cost when a picture is looked at: latencies in turns, and ratios.

The first convolutions of the four heads in one of 4 x the width were found slower, in PyTorch as in ONNX Runtime: the
hidden map of all heads together no longer fits into the cache, and its parts are copied out for the last convolutions.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models import IMAGENET
from tools.architecture import Architecture
from tools.benchmarks.timing import in_turns
from tools.config import Config
from tools.running.command_line import SettingsError

NUM_CLASSES = 15


class Row(NamedTuple):
    """A line of the table: the network, its parameters, its multiplications and additions, and the median of its
    latencies in seconds, in PyTorch and, where asked for, in ONNX Runtime."""

    name: str
    num_parameters: int
    num_flops: int
    eager: float
    onnx: float | None


@dataclass(frozen=True)
class _Choice:
    name: str
    architecture: Architecture

    def build(self, size: int) -> nn.Module:
        torch.manual_seed(0)
        network = self.architecture.build()
        with torch.no_grad():  # statistics for the batch norms, so that ReLUs let through what they do in earnest
            network(torch.randn(2, 3, min(size, 256), min(size, 256)))
        return network.eval().to(memory_format=torch.channels_last)


def run(options: argparse.Namespace) -> None:
    """Measure as the flags of `python -m tools.benchmark network` say."""
    benchmark_network(options.networks, options.size, options.rounds, options.onnx)


def benchmark_network(names: Sequence[str], size: int, rounds: int, onnx: bool = False) -> list[Row]:
    """Print the table of the networks `NAME[,fpnWIDTH][,headsWIDTH]`, at size x size, one picture at a time, on
    the CPU threads that torch has. Ratios are to the first of them.

    Raises SettingsError for a name that is no such thing.
    """
    choices = [_parse(name) for name in names]
    networks = [choice.build(size) for choice in choices]
    image = torch.randn(1, 3, size, size).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        flops = [_count_flops(network, image) for network in networks]
        eager = _medians([lambda network=network: network(image) for network in networks], rounds)
    onnx_times = _medians([_onnx_run(network, image) for network in networks], rounds) if onnx else [None] * len(names)
    rows = [
        Row(choice.name, sum(parameter.numel() for parameter in network.parameters()), *values)
        for choice, network, *values in zip(choices, networks, flops, eager, onnx_times, strict=True)
    ]
    print(_as_text(rows, size, rounds))
    return rows


def _parse(text: str) -> _Choice:
    backbone, *parts = text.split(",")
    found = {"neck": "combination", "neck_width": 64, "head_width": 256}
    for part in parts:
        match = re.fullmatch(r"(fpn|heads)(\d+)", part)
        if match is None:
            raise SettingsError(f"'{text}' is no network; an example: mobilenetv2,fpn32,heads64")
        if match[1] == "fpn":
            found |= {"neck": "fpn", "neck_width": int(match[2])}
        else:
            found["head_width"] = int(match[2])
    class_names = tuple(f"class{number}" for number in range(NUM_CLASSES))
    return _Choice(text, Architecture(backbone, Config().head_norm, class_names, (608, 608), IMAGENET, **found))


def _count_flops(network: nn.Module, image: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        network(image)
    return counter.get_total_flops()


def _medians(runs: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    return [statistics.median(times.wall) for times in in_turns(dict(enumerate(runs)), rounds).values()]


def _onnx_run(network: nn.Module, image: Tensor) -> Callable[[], object]:
    """A call of the exported network in ONNX Runtime. Raises SettingsError where the latter is missing."""
    try:
        import onnxruntime
    except ImportError as error:
        raise SettingsError("--onnx needs ONNX Runtime: pip install onnx onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, warnings.catch_warnings(action="ignore"):
        path = Path(folder, "network.onnx")
        torch.onnx.export(network, (image,), path, dynamo=False, opset_version=17, input_names=["images"])
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    values = image.contiguous().numpy()
    return lambda: session.run(None, {"images": values})


def _as_text(rows: Sequence[Row], size: int, rounds: int) -> str:
    first, width = rows[0], max(len(row.name) for row in rows)
    has_onnx = first.onnx is not None
    threads = torch.get_num_threads()
    lines = [
        f"{size} x {size}, {threads} threads, medians of {rounds} rounds in turns; x: times {first.name}",
        f"{'network':{width}}  {'params':>7}  {'GFLOP':>6}  {'ms':>6}  {'x':>5}"
        + ("  ONNX ms      x" if has_onnx else ""),
    ]
    for row in rows:
        line = f"{row.name:{width}}  {row.num_parameters / 1e6:6.2f}M  {row.num_flops / 1e9:6.1f}"
        line += f"  {row.eager * 1e3:6.0f}  {row.eager / first.eager:5.2f}"
        lines.append(line + (f"  {row.onnx * 1e3:7.0f}  {row.onnx / first.onnx:5.2f}" if has_onnx else ""))
    return "\n".join(lines)
