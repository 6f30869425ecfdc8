"""Checkpoints: a model with all that is needed to use it, and a training run with all that is needed to go on."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from datasets.readers import DOTA_CLASSES
from DOTA_devkit.atomic import atomic_write
from models import CTRBOX, PUBLISHED, Preprocessing
from tools.config import Config, SettingsError

FORMAT_VERSION = 1
PUBLISHED_SIDE = 608
ARCHITECTURE_FLAGS = ("backbone", "head_norm", "input_h", "input_w")


class CheckpointError(ValueError):
    """A file that is missing, cut off, no state dict or of another network; the message names it."""


@dataclass(frozen=True)
class Architecture:
    """What a checkpoint says of its network: enough to build it and to feed it."""

    backbone: str
    head_norm: bool
    class_names: tuple[str, ...]
    input_hw: tuple[int, int]
    preprocessing: Preprocessing

    def build(self) -> CTRBOX:
        """The network with random weights."""
        return CTRBOX(len(self.class_names), self.backbone, self.head_norm)

    def to_dict(self) -> dict:
        return {
            "backbone": self.backbone,
            "head_norm": self.head_norm,
            "class_names": list(self.class_names),
            "input_hw": list(self.input_hw),
            "preprocessing": self.preprocessing.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping) -> Architecture:
        return cls(
            backbone=values["backbone"],
            head_norm=values["head_norm"],
            class_names=tuple(values["class_names"]),
            input_hw=tuple(values["input_hw"]),
            preprocessing=Preprocessing.from_dict(values["preprocessing"]),
        )


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
        raise OSError(f"{path}: cannot be written ({_first_line(error)}); is the disk full?") from error


def load_file(path: Path) -> dict:
    """The content of a `torch.save` file: tensors and plain values only, never code (`weights_only=True`).

    Raises CheckpointError for a file that is missing, cut off, or something else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds more than tensors and plain values, or is damaged; it is not loaded"
        ) from error
    except (RuntimeError, EOFError, ValueError, zipfile.BadZipFile, KeyError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as a checkpoint; cut off or damaged ({_first_line(error)})"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a state dict")
    return content


def load_checkpoint(path: Path, foreign_backbone: str = "resnet101") -> tuple[CTRBOX, Architecture, dict]:
    """The network with its weights, its architecture, and the whole content of the file.

    A published BBAVectors file, which has no architecture inside, is taken as what those weights are: resnet101 (or
    `foreign_backbone`), BGR, pixel / 255 - 0.5, 608 x 608, classes and head norm read from `hm`. Every parameter must
    match.
    """
    content = load_file(path)
    weights = content.get("model_state_dict", content)
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path}: holds no model_state_dict (names -> tensors)")
    weights = {key.removeprefix("module."): value for key, value in weights.items()}
    try:
        if "architecture" in content:
            architecture = Architecture.from_dict(content["architecture"])
        else:
            architecture = _published_architecture(weights, foreign_backbone)
        model = architecture.build()
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: does not describe a network of this project ({error})") from error
    load_weights(model, weights, path, architecture.backbone)
    return model, architecture, content


def load_weights(model: CTRBOX, weights: Mapping[str, Tensor], path: Path, backbone: str) -> None:
    """Copy the weights into the model; all or nothing. Raises CheckpointError that counts what does not match."""
    own = model.state_dict()
    missing = [key for key in own if key not in weights and not key.endswith("num_batches_tracked")]
    unknown = [key for key in weights if key not in own]
    shapes = [key for key in own if key in weights and own[key].shape != weights[key].shape]
    if missing or unknown or shapes:
        examples = ", ".join([*shapes, *missing, *unknown][:3])
        raise CheckpointError(
            f"{path}: no CTRBOX on {backbone}: of {len(own)} parameters {len(missing)} are missing, {len(shapes)} of "
            f"another shape, {len(unknown)} are unknown ({examples} ...); name its backbone with --backbone"
        )
    if not all(value.isfinite().all() for value in weights.values()):
        raise CheckpointError(f"{path}: holds weights that are not finite; damaged, or of a run that diverged")
    model.load_state_dict(own | dict(weights))


def check_flags(
    config: Config, architecture: Architecture, path: Path, names: Sequence[str] = ARCHITECTURE_FLAGS
) -> None:
    """Raises SettingsError when a flag among `names` that the user gave contradicts the checkpoint."""
    height, width = architecture.input_hw
    facts = dict(zip(ARCHITECTURE_FLAGS, (architecture.backbone, architecture.head_norm, height, width), strict=True))
    for name in names:
        value, fact = getattr(config, name), facts[name]
        if name in config.explicit and value is not None and value != fact:
            raise SettingsError(
                f"--{name} {value} contradicts the checkpoint {path}, which says {fact}; leave the flag out"
            )


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal: which checkpoint some results are of."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _published_architecture(weights: Mapping[str, Tensor], backbone: str) -> Architecture:
    head_norm = "hm.3.weight" in weights
    last = "hm.3.weight" if head_norm else "hm.2.weight"
    if last not in weights:
        raise ValueError("no architecture inside, and no parameter hm.2.weight as in the published files")
    num_classes = weights[last].shape[0]
    versions = [names for names in DOTA_CLASSES.values() if len(names) == num_classes]
    class_names = versions[0] if versions else tuple(f"class{number}" for number in range(num_classes))
    return Architecture(backbone, head_norm, class_names, (PUBLISHED_SIDE, PUBLISHED_SIDE), PUBLISHED)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
