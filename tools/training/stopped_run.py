"""A run that was stopped, found again to go on: its checkpoint, its settings, and which of these may be others now."""

from __future__ import annotations

from pathlib import Path

import torch

from tools.architecture import check_flags
from tools.checkpoint import (
    CheckpointError,
    architecture_of,
    build,
    check_run_state,
    load_file,
    settings_in,
    weights_of,
)
from tools.config import Config, with_settings
from tools.run_folder import LAST, newest_run
from tools.running.command_line import SettingsError
from tools.training.run_state import Stopped

# Data may have moved: `check_lists` compares the names of the pictures.
UNCHANGEABLE = (
    *("classes", "seed", "batch_size", "accumulate", "dataset", "pretrained", "recipe", "optimizer", "best_by"),
)


def run_checkpoint(config: Config) -> Path:
    """The checkpoint that --resume_train names. Raises CheckpointError where there is none."""
    if config.resume_train != "newest":
        path = Path(config.resume_train)
    else:  # --out names the run as well
        path = config.out if config.out is not None and (config.out / LAST).is_file() else newest_run(LAST)
    path = path / LAST if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    return path


def find_run(config: Config, path: Path) -> tuple[Config, Stopped]:
    """The settings of the run with this checkpoint, with the flags given now on top, and the run."""
    content = load_file(path)
    architecture = architecture_of(content, weights_of(content, path), path)
    with torch.device("meta"):  # whether it can be built here, before any data are read
        build(architecture, path)
    check_run_state(content, path)
    last = path.parent / LAST
    if last.is_file() and not last.samefile(path):
        raise CheckpointError(
            f"{path}: a run goes on from its {LAST}, and the one beside this file would be lost; to go on from here "
            f"all the same, copy it as {LAST} into a folder of its own"
        )
    check_flags(config, architecture, path)
    kept = settings_in(content)
    changed = {name: getattr(config, name) for name in config.explicit - {"resume_train", "phase"}}
    asks_epochs = changed.get("num_epoch", kept.num_epoch) != kept.num_epoch
    if asks_epochs and kept.num_images is not None and "num_images" not in changed:
        raise SettingsError(
            f"--num_epoch {changed['num_epoch']}: the run in {path.parent} counts pictures, not epochs; give "
            f"--num_images (it is {kept.num_images})"
        )
    for name in UNCHANGEABLE:
        if name in changed and changed[name] != getattr(kept, name):
            raise SettingsError(
                f"--{name} {changed[name]} differs from the run in {path.parent}; leave it out to go on"
            )
    if changed.setdefault("out", path.parent).resolve() != path.parent.resolve():
        raise SettingsError(f"--out {changed['out']} differs from the run in {path.parent}; leave it out to go on")
    return with_settings(kept, **changed, explicit=config.explicit), Stopped(path, content)


def changes_since(config: Config, stopped: Stopped) -> str:
    """The settings of a run that other flags go on with, in words; "" for none."""
    before = settings_in(stopped.state)
    pairs = {name: (getattr(before, name), getattr(config, name)) for name in sorted(config.explicit)}
    kept = ("resume_train", "out")  # no settings of what is learnt
    return ", ".join(f"{name} {old} -> {new}" for name, (old, new) in pairs.items() if old != new and name not in kept)
