"""Runs that take a second or two, for the tests of training."""

from __future__ import annotations

from pathlib import Path

import torch

from tools.checkpoint import load_file

LISTS = {"train": ("scene_0", "scene_1", "scene_3"), "val": ("scene_2",)}


def arguments(data_dir: Path, out: Path, *more: str) -> list[str]:
    """Flags of a training run that takes a second or two."""
    return [
        *("--phase", "train", "--data_dir", str(data_dir), "--out", str(out), "--pretrained", "none"),
        *("--input_h", "64", "--input_w", "64", "--batch_size", "2", "--num_workers", "0", "--num_epoch", "2"),
        *("--precision", "fp32", *more),
    ]


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path)["model_state_dict"]


def assert_same_weights(first: Path, second: Path) -> None:
    others = weights_of(second)
    for name, value in weights_of(first).items():
        assert torch.equal(others[name], value), name
