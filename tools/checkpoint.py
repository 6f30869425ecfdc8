"""Checkpoint files: a model with all that is needed to use it, and a training run with all that is needed to go on."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.reasons import first_line
from models import CTRBOX, BackboneError
from tools.architecture import PUBLISHED_BACKBONE, Architecture, published_architecture
from tools.config import Config, settings_from
from tools.own_backbone import register_from_file, same_backbone
from tools.running.command_line import SettingsError
from tools.training.transfer import CheckpointError, compare, copy_matched, likely_cause, unwrapped

FORMAT_VERSION = 1
# What else may be in a checkpoint of ours, and of which kind it is.
STATE_KINDS: dict[str, type] = {
    "epoch": int,
    "settings": Mapping,
    "progress": Mapping,
    "optimizer_state_dict": Mapping,
    "ema_state_dict": Mapping,
    "torch_rng_state": Tensor,
}
RUN_STATE = ("optimizer_state_dict", "progress", "settings", "torch_rng_state")


def save_checkpoint(path: Path, model: CTRBOX, architecture: Architecture, **state: object) -> None:
    """Write a checkpoint, whole or not at all: `model_state_dict`, the architecture and `state` (tensors, plain values
    and containers of them, such as `epoch` and `optimizer_state_dict`)."""
    content = {
        "format_version": FORMAT_VERSION,
        "architecture": architecture.to_dict(),
        "model_state_dict": model.state_dict(),
        **state,
    }
    try:
        with atomic_write(path, "wb") as file:
            torch.save(content, file)
    except RuntimeError as error:  # torch's word for a write that failed
        if isinstance(error.__context__, KeyboardInterrupt):  # by a second Ctrl-C, and torch failed to end its archive
            raise error.__context__ from None
        raise OSError(f"{path}: cannot be written ({first_line(error)}); is the disk full?") from error


def load_file(path: Path) -> dict:
    """The content of a `torch.save` file: tensors and plain values only, never code (`weights_only=True`).

    Raises CheckpointError for a file that is missing, cut off, or something else.
    """
    if not path.is_file():
        what = "is a folder; name a file in it, such as best.pth" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {what}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of the age of a file, which its reader cannot mend
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named is None and path.suffix.lower() == ".onnx":
            remedy = "tools.infer_onnx, tools.evaluate_onnx and tools.detect_video take it"
            raise CheckpointError(f"{path}: an exported file, no checkpoint; {remedy}") from error
        if named is None:
            raise CheckpointError(f"{path}: is damaged, or no file that torch.save wrote") from error
        raise CheckpointError(
            f"{path}: holds more than tensors and plain values ({named[1]}), which could run code; it is not loaded. "
            "If you trust it, save its state dict alone to another file"
        ) from error
    except Exception as error:  # a damaged file can make the reader stumble over anything
        why = f" ({first_line(error)})" if isinstance(error, RuntimeError) else ""  # others tell of the reader's inside
        raise CheckpointError(f"{path}: cannot be read as a checkpoint; empty, cut off or damaged{why}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a state dict")
    return content


def weights_of(content: Mapping, path: Path, *, averaged: bool = False) -> dict[str, Tensor]:
    """The weights in the content of a file, by the names that their network gives them: its `model_state_dict`, or
    those of others by another key, or the content itself.

    With `averaged` the running average of the weights (EMA), where the file has one. Raises CheckpointError.
    """
    has_average = content.get("ema_state_dict") is not None
    keys = ("ema_state_dict",) if averaged and has_average else ("model_state_dict", "state_dict")
    found = next((content[key] for key in keys if key in content), content)
    if isinstance(found, Mapping) and isinstance(found.get("model"), Mapping):  # as torchvision and timm save a run
        found = found["model"]
    is_named = isinstance(found, Mapping) and all(isinstance(name, str) for name in found)
    weights = unwrapped(found) if is_named else {}
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path}: holds no {keys[0]} (names -> tensors)")
    return weights


def load_checkpoint(
    path: Path, foreign_backbone: str = PUBLISHED_BACKBONE, *, averaged: bool = False
) -> tuple[CTRBOX, Architecture, dict]:
    """The network with its weights, its architecture, and the whole content of the file.

    A published BBAVectors file, which has no architecture inside, is taken as what those weights are: resnet101 (or
    `foreign_backbone`), BGR, pixel / 255 - 0.5, 608 x 608, classes and head norm read from `hm`. Every parameter must
    match. `averaged`: the weights are those of the EMA where the file has one, which are those that were validated;
    without it they are the raw ones, with which a run goes on.
    """
    content = load_file(path)
    weights = weights_of(content, path, averaged=averaged)
    architecture = architecture_of(content, weights, path, foreign_backbone)
    if "architecture" in content:
        check_state(content, path)
    model = build(architecture, path)
    load_weights(model, weights, path, architecture.backbone)
    return model, architecture, content


def load_named(path: Path, backbone: str | None = None) -> tuple[CTRBOX, Architecture, dict]:
    """`load_checkpoint` for detecting: the averaged weights, which validation has scored, and the backbone as a user
    names it, if at all; a file of the user's own, FILE.py:CLASS, is run.

    Raises CheckpointError, and SettingsError for a file that does not work and a name that contradicts the checkpoint.
    """
    if backbone is not None:
        register_from_file(backbone)
    model, architecture, content = load_checkpoint(path, backbone or PUBLISHED_BACKBONE, averaged=True)
    if backbone is not None and not same_backbone(backbone, architecture.backbone):
        raise SettingsError(
            f"--backbone {backbone} contradicts the checkpoint {path}, which says {architecture.backbone}; leave the "
            "flag out"
        )
    return model, architecture, content


def architecture_of(
    content: Mapping,
    weights: Mapping[str, Tensor],
    path: Path,
    foreign_backbone: str = PUBLISHED_BACKBONE,
    default_classes: Sequence[str] = (),
) -> Architecture:
    """What the file says of its network; a foreign file says it by its weights, and where these have no `hm` the
    classes are `default_classes`, if any. Raises CheckpointError."""
    try:
        if "architecture" in content:
            return Architecture.from_dict(content["architecture"])
        return published_architecture(weights, foreign_backbone, tuple(default_classes))
    except ValueError as error:
        raise CheckpointError(f"{path}: does not describe a network of this project ({error})") from error


def build(architecture: Architecture, path: Path) -> CTRBOX:
    """The network with random weights. Raises CheckpointError when the file names a backbone that is not known, or one
    that cannot be had here: of timm where that is missing, of a user's own file that the user has not named."""
    try:
        return architecture.build()
    except BackboneError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: does not describe a network of this project ({error})") from error


def load_weights(model: CTRBOX, weights: Mapping[str, Tensor], path: Path, backbone: str) -> None:
    """Copy the weights into the model; all or nothing. Raises CheckpointError that counts what does not match."""
    report = compare(model, weights)
    if not report.is_whole:
        raise CheckpointError(f"{path}: no CTRBOX on {backbone}: {report}; {likely_cause(model, weights)}")
    copy_matched(model, weights, report, str(path))


def check_run_state(content: Mapping, path: Path) -> None:
    """Raises CheckpointError unless all that a run needs to go on is there, and of the right kind; the entries of
    `progress` are numbers."""
    if "architecture" not in content or "optimizer_state_dict" not in content:
        raise CheckpointError(f"{path}: holds weights but no training run to go on with; start from it with --resume")
    missing = [name for name in RUN_STATE if content.get(name) is None]
    if missing:
        raise CheckpointError(
            f"{path}: the training run in it cannot go on, {', '.join(missing)} missing; start from its weights with "
            "--resume"
        )
    check_state(content, path)
    for name, value in content["progress"].items():
        if not isinstance(value, int | float | None):
            raise CheckpointError(f"{path}: its progress is damaged, {name} is {value!r}, not a number")


def check_state(content: Mapping, path: Path) -> None:
    """Raises CheckpointError when what a checkpoint holds beside weights and architecture is of a wrong kind."""
    for name, kind in STATE_KINDS.items():
        if not isinstance(content.get(name), kind | None):
            raise CheckpointError(
                f"{path}: its {name} is of the kind {type(content[name]).__name__}, not {kind.__name__}"
            )
    try:
        settings_in(content)
    except SettingsError as error:
        raise CheckpointError(f"{path}: its settings are not of this program ({error})") from error


def settings_in(content: Mapping) -> Config:
    """The settings of the run that a checkpoint is of, the defaults where it tells none; of a run from before there was
    a choice, with what was taught then."""
    return settings_from({"theta_rule": "tilt"} | (content.get("settings") or {}))


@contextmanager
def restoring(path: Path, what: str) -> Iterator[None]:
    """A block that gives `what` of a checkpoint to an optimiser, a random generator, a record ...: what these raise
    for a state that is not theirs becomes a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: its {what} does not fit this run ({first_line(error)}); start from its weights with --resume"
        ) from error
