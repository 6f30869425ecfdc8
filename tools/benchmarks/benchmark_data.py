"""How long a training input takes to make, as a multiple of one warp of the picture."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from datasets.augment import Augmentation
from datasets.readers import Sample
from datasets.training_set import TrainingSet
from models import IMAGENET
from tools.benchmarks.timing import in_turns

BASE = "cv2.warpAffine"


def run(options: argparse.Namespace) -> None:
    """Measure as the flags of `python -m tools.benchmark data` say."""
    benchmark_data(options.size, options.classes, options.rounds)


def benchmark_data(size: int = 608, num_classes: int = 15, rounds: int = 60) -> dict[str, float]:
    """Print and return the least milliseconds, on one thread, of a training input without and with 400 objects (the
    whole of `TrainingSet.make_input`: warp, colours, boxes, targets), beside one warp of the same picture."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (size, size, 3), dtype=np.uint8), (0, 0), 3)
    samples = {
        "empty": random_sample(rng, 0, size, num_classes),
        "400 objects": random_sample(rng, 400, size, num_classes),
    }
    training_set = TrainingSet(
        list(samples.values()), num_classes, (size, size), IMAGENET.fill_bgr, Augmentation(rotate=180.0)
    )
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), 30, 1.0)
    work: dict[str, Callable[[], object]] = {BASE: lambda: cv2.warpAffine(picture, matrix, (size, size))}
    for name, sample in samples.items():
        work[name] = lambda sample=sample: training_set.make_input(rng, [(picture, sample)])
    times = {name: 1000 * min(each.wall) for name, each in in_turns(work, rounds, warm_up=2).items()}
    print(f"training sample, {size} x {size}, {num_classes} classes, one thread, best of {rounds}")
    for name, value in times.items():
        print(f"  {name:24} {value:9.2f} ms  {value / times[BASE]:6.2f} x {BASE}")
    return times


def random_sample(rng: np.random.Generator, count: int, size: int, num_classes: int) -> Sample:
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
