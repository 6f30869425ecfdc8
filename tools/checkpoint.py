"""Checkpoints: a model with all that is needed to use it, and a training run with all that is needed to go on."""

from __future__ import annotations

import itertools
import math
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datasets.images import read_image
from datasets.picture_windows import PictureWindows, open_picture
from datasets.readers import DOTA_CLASSES
from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.reasons import first_line
from models import CTRBOX, PUBLISHED, Backbone, BackboneError, Preprocessing, adapt_input, build_backbone
from tools.config import Config, SettingsError, settings_from
from tools.own_backbone import same_backbone
from tools.transfer import CheckpointError, compare, copy_matched, likely_cause, unwrapped

FORMAT_VERSION = 1
PUBLISHED_SIDE = 608
PUBLISHED_BACKBONE = "resnet101"
NETWORK_FLAGS = ("backbone", "neck", "neck_width", "head_width", "head_norm")
ARCHITECTURE_FLAGS = (*NETWORK_FLAGS, "in_channels", "value_range", "input_h", "input_w")
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


@dataclass(frozen=True)
class Architecture:
    """What a checkpoint says of its network: enough to build it and to feed it.

    The last four are younger than the others; a checkpoint without them is of their defaults. picture_hw: height and
    width that training pictures usually had, before they were made to fit the input; None where it is not known.
    """

    backbone: str
    head_norm: bool
    class_names: tuple[str, ...]
    input_hw: tuple[int, int]
    preprocessing: Preprocessing
    neck: str = "combination"
    neck_width: int = 64
    head_width: int = 256
    picture_hw: tuple[int, int] | None = None

    @property
    def usual_hw(self) -> tuple[int, int]:
        """Height and width of pictures in which objects are as large, for the network, as those it was trained on."""
        return self.picture_hw or self.input_hw

    @property
    def in_channels(self) -> int:
        """Channels of the pictures: as many as the preprocessing has means."""
        return len(self.preprocessing.mean)

    @property
    def value_range(self) -> tuple[float, float] | None:
        """In pictures of more than 8 bits, the values that become black and white; None: each picture's own."""
        return self.preprocessing.value_range

    def read_picture(self, path: Path) -> np.ndarray:
        """A picture as it was read in training. Raises ImageError as `read_image`."""
        return read_image(path, self.in_channels, self.value_range)

    def open_picture(self, path: Path) -> np.ndarray | PictureWindows:
        """A picture to cut tiles from, in windows where it is large. Raises ImageError as `open_picture`."""
        return open_picture(path, self.in_channels, self.value_range)

    @property
    def title(self) -> str:
        """Backbone, and neck and width of the heads where they are not the published ones, for people."""
        neck = "" if self.neck == "combination" else f" + {self.neck} of width {self.neck_width}"
        return self.backbone + neck + ("" if self.head_width == 256 else f", heads of width {self.head_width}")

    def build(self, backbone: Backbone | None = None) -> CTRBOX:
        """The network with random weights, or around a backbone of that name and those channels that has some."""
        if backbone is None:
            backbone = build_backbone(self.backbone)
            adapt_input(backbone, self.in_channels)
        return CTRBOX(
            len(self.class_names),
            backbone,
            self.head_norm,
            self.neck,
            self.neck_width,
            self.head_width,
        )

    def to_dict(self) -> dict:
        return {
            "backbone": self.backbone,
            "neck": self.neck,
            "neck_width": self.neck_width,
            "head_width": self.head_width,
            "head_norm": self.head_norm,
            "class_names": list(self.class_names),
            "input_hw": list(self.input_hw),
            "picture_hw": list(self.picture_hw) if self.picture_hw else None,
            "preprocessing": self.preprocessing.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping) -> Architecture:
        """From what `to_dict` returned. Raises ValueError that names the entry that is missing or of another kind."""
        names, sides = _entry(values, "class_names", list | tuple), _entry(values, "input_hw", list | tuple)
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"class_names are {names!r}, not names")
        if len(sides) != 2 or not all(type(side) is int and side > 0 and side % 32 == 0 for side in sides):
            raise ValueError(f"input_hw is {sides!r}, not height and width, multiples of 32")
        usual = values.get("picture_hw")
        usual = None if usual is None else _entry(values, "picture_hw", list | tuple)
        if usual is not None and (len(usual) != 2 or not all(type(side) is int and side > 0 for side in usual)):
            raise ValueError(f"picture_hw is {usual!r}, not height and width")
        colours = _entry(values, "preprocessing", Mapping)
        lists = [_entry(colours, name, list | tuple) for name in ("mean", "std", "value_range") if name in colours]
        numbers = [colours.get("scale"), *itertools.chain.from_iterable(lists)]
        if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
            raise ValueError(f"preprocessing holds something else than numbers: {numbers}")
        return cls(
            backbone=_entry(values, "backbone", str),
            head_norm=_entry(values, "head_norm", bool),
            class_names=tuple(names),
            input_hw=(sides[0], sides[1]),
            preprocessing=Preprocessing.from_dict(colours),
            neck=_entry(values, "neck", str, "combination"),
            neck_width=_entry(values, "neck_width", int, 64),
            head_width=_entry(values, "head_width", int, 256),
            picture_hw=tuple(usual) if usual else None,
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
        raise CheckpointError(
            f"{path}: cannot be read as a checkpoint; cut off or damaged ({first_line(error)})"
        ) from error
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
        return _published_architecture(weights, foreign_backbone, tuple(default_classes))
    except ValueError as error:
        raise CheckpointError(f"{path}: does not describe a network of this project ({error})") from error


def unnamed_classes(num_classes: int) -> tuple[str, ...]:
    """Names for the classes of a file that holds none."""
    return tuple(f"class{number}" for number in range(num_classes))


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


def check_run_state(content: Mapping, path: Path, names: Sequence[str] = RUN_STATE) -> None:
    """Raises CheckpointError unless all that a run needs to go on is there, and of the right kind; the entries of
    `progress` are numbers."""
    if "architecture" not in content or "optimizer_state_dict" not in content:
        raise CheckpointError(f"{path}: holds weights but no training run to go on with; start from it with --resume")
    missing = [name for name in names if content.get(name) is None]
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
        settings_from(content.get("settings") or {})
    except SettingsError as error:
        raise CheckpointError(f"{path}: its settings are not of this program ({error})") from error


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


def check_flags(
    config: Config, architecture: Architecture, path: Path, names: Sequence[str] = ARCHITECTURE_FLAGS
) -> None:
    """Raises SettingsError when a flag among `names` that the user gave contradicts the checkpoint."""
    own = (*NETWORK_FLAGS, "in_channels", "value_range")
    facts: dict[str, object] = {name: getattr(architecture, name) for name in own}
    facts["input_h"], facts["input_w"] = architecture.input_hw
    if architecture.neck != "fpn":
        facts["neck_width"] = f"--neck {architecture.neck}, which has none"
    if architecture.value_range is None:
        facts["value_range"] = "that each picture has its own range"
    for name in names:
        value, fact = getattr(config, name), facts[name]
        is_same = value == fact or (name == "backbone" and same_backbone(value, fact))
        if name in config.explicit and value is not None and not is_same:
            said, fact = (" ".join(f"{entry:g}" for entry in x) if isinstance(x, tuple) else x for x in (value, fact))
            raise SettingsError(
                f"--{name} {said} contradicts the checkpoint {path}, which says {fact}; leave the flag out"
            )


def _published_architecture(weights: Mapping[str, Tensor], backbone: str, default: tuple[str, ...]) -> Architecture:
    head_norm = "hm.3.weight" in weights
    last = weights.get("hm.3.weight" if head_norm else "hm.2.weight")
    if last is not None and last.ndim == 4 and len(last):
        versions = [names for names in DOTA_CLASSES.values() if len(names) == len(last)]
        class_names = versions[0] if versions else unnamed_classes(len(last))
    elif default:
        class_names = default
    else:
        raise ValueError("no architecture inside, and no parameter hm.2.weight as in the published files")
    return Architecture(
        backbone, head_norm, class_names, (PUBLISHED_SIDE, PUBLISHED_SIDE), PUBLISHED, **_widths(weights)
    )


def _widths(weights: Mapping[str, Tensor]) -> dict[str, str | int]:
    """Neck and widths, where they are not the published ones, of a whole model without an architecture inside."""
    found: dict[str, str | int] = {}
    lateral, first = weights.get("neck.lateral.0.0.weight"), weights.get("hm.0.weight")
    if lateral is not None and lateral.ndim == 4:
        found |= {"neck": "fpn", "neck_width": len(lateral)}
    if first is not None and first.ndim == 4 and len(first):
        found["head_width"] = len(first)
    return found


def _entry(values: object, name: str, kind: type, default: object = None) -> object:
    """An entry of a hand-editable record, or its default. Raises ValueError that names it."""
    if not isinstance(values, Mapping) or name not in values:
        if default is not None:
            return default
        raise ValueError(f"{name} is missing")
    if not isinstance(values[name], kind):
        raise ValueError(f"{name} is {values[name]!r}, of the kind {type(values[name]).__name__}")
    return values[name]
