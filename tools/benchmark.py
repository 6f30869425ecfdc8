"""Benchmarks, ratios in one run: `python -m tools.benchmark data|train|devkit|nms`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from datasets.augment import Augmentation
from datasets.loader import TrainingSet
from datasets.readers import Sample
from datasets.targets import Targets, make_targets
from models import CTRBOX, IMAGENET, BBAVectorsLoss, known_backbones, normalize
from tools.benchmark_nms import benchmark_nms
from tools.command_line import exit_code
from tools.device import pick_device, pick_precision
from tools.optimizer import make_optimizer, train_step


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmark and print its table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmark", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="{data,train,devkit,nms}")
    data = commands.add_parser("data", help="a training sample, decoding left out, as a multiple of one cv2.warpAffine")
    data.add_argument("--size", type=int, default=608, help="side of picture and input, pixels [default: %(default)s]")
    data.add_argument("--classes", type=int, default=15, help="number of classes [default: %(default)s]")
    data.add_argument("--rounds", type=int, default=60, help="repetitions, alternating [default: %(default)s]")
    data.set_defaults(run=lambda options: benchmark_data(options.size, options.classes, options.rounds))
    train = commands.add_parser("train", help="a training step, as a multiple of plain fp32 NCHW")
    train.add_argument("--backbone", default="resnet18", choices=known_backbones(), help="[default: %(default)s]")
    train.add_argument("--size", type=int, default=256, help="side of the input, pixels [default: %(default)s]")
    train.add_argument("--batch_size", type=int, default=8, help="pictures a step [default: %(default)s]")
    train.add_argument("--rounds", type=int, default=8, help="repetitions, alternating [default: %(default)s]")
    train.add_argument("--device", default="auto", help="auto, cpu, cuda ... [default: %(default)s]")
    train.set_defaults(
        run=lambda options: benchmark_train(
            options.backbone, options.size, options.batch_size, options.rounds, options.device
        )
    )
    devkit = commands.add_parser("devkit", help="polygon NMS, evaluation and merging, as multiples of shapely")
    devkit.add_argument("--quick", action="store_true", help="a hundredth of the work: does it run?")
    devkit.set_defaults(run=lambda options: _benchmark_devkit(options.quick))
    nms = commands.add_parser("nms", help="what each NMS threshold costs: of the truth, and of a run's mAP50")
    nms.add_argument("--resume", type=Path, required=True, help="run folder or checkpoint", metavar="RUN")
    nms.add_argument("--device", default="auto", help="auto, cpu, cuda ... [default: %(default)s]")
    nms.set_defaults(run=lambda options: benchmark_nms(options.resume, device=options.device))
    options = parser.parse_args(arguments)

    def work() -> None:
        options.run(options)

    return exit_code(work)


def benchmark_data(size: int = 608, num_classes: int = 15, rounds: int = 60) -> dict[str, float]:
    """Least milliseconds, on one thread, of a training input without and with 400 objects (the whole of
    `TrainingSet.make_input`: warp, colours, boxes, targets), beside one warp of the same picture."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (size, size, 3), dtype=np.uint8), (0, 0), 3)
    samples = {
        "empty": _random_sample(rng, 0, size, num_classes),
        "400 objects": _random_sample(rng, 400, size, num_classes),
    }
    training_set = TrainingSet(list(samples.values()), num_classes, (size, size), IMAGENET.fill_bgr, Augmentation())
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), 30, 1.0)
    work: dict[str, Callable[[], object]] = {"cv2.warpAffine": lambda: cv2.warpAffine(picture, matrix, (size, size))}
    for name, sample in samples.items():
        work[name] = lambda sample=sample: training_set.make_input(rng, picture, sample)
    times = _alternate(work, rounds)
    print(f"training sample, {size} x {size}, {num_classes} classes, one thread, best of {rounds}")
    _print_ratios(times, "cv2.warpAffine")
    return times


def benchmark_train(
    backbone: str = "resnet18", size: int = 256, batch_size: int = 8, rounds: int = 8, device_name: str = "auto"
) -> dict[str, float]:
    """Least milliseconds of a whole training step (forward, loss, backward, AdamW) as `--phase train` takes it,
    beside the same step in plain fp32 NCHW."""
    device = pick_device(device_name)
    dtype = pick_precision("auto", device)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)).to(device)
    targets = Targets(*(part.to(device) for part in _random_targets(rng, batch_size, size)))
    ours = f"{str(dtype).removeprefix('torch.')} channels_last"
    work: dict[str, Callable[[], object]] = {}
    for name, precision, layout in (
        ("fp32 NCHW", torch.float32, torch.contiguous_format),
        (ours, dtype, torch.channels_last),
    ):
        torch.manual_seed(0)
        model = CTRBOX(15, backbone, head_norm=True).to(device, memory_format=layout).train()
        work[name] = _step(model, images, targets, precision, layout)
    times = _alternate(work, rounds)
    what = f"training step, {backbone}, batch {batch_size}, {size} x {size}, {device}"
    print(f"{what}, {torch.get_num_threads()} threads, best of {rounds}")
    _print_ratios(times, "fp32 NCHW")
    print(f"{batch_size / times[ours] * 1000:.1f} images/s")
    return times


def _benchmark_devkit(quick: bool) -> None:
    from tools.benchmark_devkit import benchmark_devkit  # needs shapely, which the others do not

    benchmark_devkit(quick)


def _step(
    model: CTRBOX, images: torch.Tensor, targets: Targets, dtype: torch.dtype, layout: torch.memory_format
) -> Callable[[], None]:
    criterion, optimizer = BBAVectorsLoss(), make_optimizer(model, 1e-4)

    def step() -> None:
        inputs = normalize(images, IMAGENET).contiguous(memory_format=layout)
        train_step(model, criterion, optimizer, inputs, targets, dtype)
        if images.is_cuda:
            torch.cuda.synchronize()

    return step


def _random_sample(rng: np.random.Generator, count: int, size: int, num_classes: int) -> Sample:
    """`count` boxes of 10 to 60 pixels, at any angle, all over a picture."""
    angles, centers = rng.uniform(0, np.pi, count), rng.uniform(0, size, (count, 2))
    axes = np.stack([np.cos(angles), np.sin(angles)], axis=1)[:, None]
    across = np.stack([-np.sin(angles), np.cos(angles)], axis=1)[:, None]
    sides = rng.uniform(10, 60, (count, 2, 1, 1)) / 2
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    quads = centers[:, None] + sides[:, 0] * axes * signs[:, :1] + sides[:, 1] * across * signs[:, 1:]
    return Sample(
        Path("drawn.png"), quads.astype(np.float32), rng.integers(0, num_classes, count), np.zeros(count, np.int64)
    )


def _random_targets(rng: np.random.Generator, batch_size: int, size: int) -> Targets:
    """Targets of 20 boxes an image."""
    samples = [_random_sample(rng, 20, size, 15) for _ in range(batch_size)]
    made = [make_targets(s.quads, s.labels, s.ignored, 15, (size, size)) for s in samples]
    fewest = min(len(targets.mask) for targets in made)
    return Targets(
        torch.from_numpy(np.stack([targets.hm for targets in made])),
        *(
            torch.from_numpy(np.stack([targets[field][:fewest] for targets in made]))
            for field in range(1, len(Targets._fields))
        ),
    )


def _alternate(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Least milliseconds of each piece of work, taken in turns: what else the machine does can only add to them."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for round_number in range(rounds + 2):
        for name, do in work.items():
            started = time.perf_counter()
            do()
            if round_number >= 2:  # the first two warm up
                times[name].append((time.perf_counter() - started) * 1000)
    return {name: min(values) for name, values in times.items()}


def _print_ratios(times: dict[str, float], base: str) -> None:
    for name, value in times.items():
        print(f"  {name:24} {value:9.2f} ms  {value / times[base]:6.2f} x {base}")


if __name__ == "__main__":
    sys.exit(main())
