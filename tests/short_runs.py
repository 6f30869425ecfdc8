"""Runs that take a second or two, for the tests of training."""

from __future__ import annotations

from pathlib import Path

import torch

from tools.checkpoint import load_file

LISTS = {"train": ("scene_0", "scene_1", "scene_3"), "val": ("scene_2",)}
NAMES = tuple(f"scene_{number}" for number in range(7))
FIVE = {"train": NAMES[:5], "val": NAMES[5:6]}


def arguments(data_dir: Path, out: Path, *more: str) -> list[str]:
    """Flags of a training run that takes a second or two."""
    return [
        *("--phase", "train", "--data_dir", str(data_dir), "--out", str(out), "--pretrained", "none"),
        *("--input_h", "64", "--input_w", "64", "--batch_size", "2", "--num_workers", "0", "--precision", "fp32"),
        *(() if "--num_images" in more else ("--num_epoch", "2")),
        *more,
    ]


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path)["model_state_dict"]


def assert_same_weights(first: Path, second: Path) -> None:
    others = weights_of(second)
    for name, value in weights_of(first).items():
        assert torch.equal(others[name], value), name


def assert_equal_runs(first: Path, second: Path) -> None:
    """Bit for bit: weights, average, optimiser and progress."""
    a, b = load_file(first / "last.pth"), load_file(second / "last.pth")
    for name in ("model_state_dict", "ema_state_dict"):
        assert a[name].keys() == b[name].keys()
        assert [key for key, value in a[name].items() if not torch.equal(value, b[name][key])] == []
    states = a["optimizer_state_dict"]["state"], b["optimizer_state_dict"]["state"]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key][name], value) for key in states[0] for name, value in states[1][key].items())
    assert (a["progress"], a["ema_steps"], a["epoch"]) == (b["progress"], b["ema_steps"], b["epoch"])
