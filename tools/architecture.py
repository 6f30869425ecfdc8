"""The architecture of a network, as a checkpoint tells it: enough to build it and to feed it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from datasets.class_lists import DOTA_CLASSES
from DOTA_devkit.names import as_class_names
from models import CTRBOX, PUBLISHED, Backbone, Preprocessing, adapt_input, build_backbone
from tools.config import HEAD_NORMS, Config, earlier_head_norm
from tools.detection.network_input import NetworkInput
from tools.own_backbone import same_backbone
from tools.running.command_line import SettingsError

PUBLISHED_SIDE = 608
PUBLISHED_BACKBONE = "resnet101"
NETWORK_FLAGS = ("backbone", "neck", "neck_width", "head_width", "head_norm")
READING_FLAGS = ("in_channels", "value_range", "bands")
ARCHITECTURE_FLAGS = (*NETWORK_FLAGS, *READING_FLAGS, "input_h", "input_w")


@dataclass(frozen=True)
class Architecture(NetworkInput):
    """What a checkpoint says of its network: enough to build it and to feed it.

    The last four are younger than the others; a checkpoint without them is of their defaults. picture_hw: height and
    width that training pictures usually had, before they were made to fit the input; None where it is not known.
    """

    backbone: str
    head_norm: str
    class_names: tuple[str, ...]
    input_hw: tuple[int, int]
    preprocessing: Preprocessing
    neck: str = "combination"
    neck_width: int = 64
    head_width: int = 256
    picture_hw: tuple[int, int] | None = None

    @property
    def in_channels(self) -> int:
        """As many as the preprocessing has means."""
        return len(self.preprocessing.mean)

    @property
    def value_range(self) -> tuple[float, ...] | None:
        """In pictures of more than 8 bits, the values that become black and white; None: each picture's own."""
        return self.preprocessing.value_range

    @property
    def bands(self) -> tuple[int, ...] | None:
        """Of TIFF files, the numbers of the bands that are read, from 1 on; None: those that the file calls colours."""
        return self.preprocessing.bands

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
        """Return plain values, for a checkpoint or a JSON file."""
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
        told = [name for name in ("mean", "std", "value_range", "bands") if name in colours]
        lists = [_entry(colours, name, list | tuple) for name in told]
        numbers = [colours.get("scale"), *itertools.chain.from_iterable(lists)]
        if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
            raise ValueError(f"preprocessing holds something else than numbers: {numbers}")
        norm = _entry(values, "head_norm", str | bool)
        norm = earlier_head_norm(norm) if isinstance(norm, bool) else norm
        if norm not in HEAD_NORMS:
            raise ValueError(f"head_norm is {norm!r}, none of {', '.join(HEAD_NORMS)}")
        return cls(
            backbone=_entry(values, "backbone", str),
            head_norm=norm,
            class_names=as_class_names(names),
            input_hw=(sides[0], sides[1]),
            preprocessing=Preprocessing.from_dict(colours),
            neck=_entry(values, "neck", str, "combination"),
            neck_width=_entry(values, "neck_width", int, 64),
            head_width=_entry(values, "head_width", int, 256),
            picture_hw=tuple(usual) if usual else None,
        )


def published_architecture(weights: Mapping[str, Tensor], backbone: str, default: tuple[str, ...]) -> Architecture:
    """What a file of the published code, which holds weights alone, is taken for: 608 x 608, BGR, pixel / 255 - 0.5. By
    the shapes of its heads their norm and width, the neck and the number of classes are known; these are called as in
    the version of DOTA that has so many, else by numbers. `default`: the classes where there is no such head.

    Raises ValueError where neither tells the classes.
    """
    has_norm = "hm.3.weight" in weights
    last = weights.get("hm.3.weight" if has_norm else "hm.2.weight")
    if last is not None and last.ndim == 4 and len(last):
        versions = [names for names in DOTA_CLASSES.values() if len(names) == len(last)]
        class_names = versions[0] if versions else unnamed_classes(len(last))
    elif default:
        class_names = default
    else:
        raise ValueError("no architecture inside, and no parameter hm.2.weight as in the published files")
    is_layer = "wh.1.weight" in weights and "wh.1.running_mean" not in weights
    head_norm = "none" if not has_norm else "layer" if is_layer else "batch"
    return Architecture(
        backbone, head_norm, class_names, (PUBLISHED_SIDE, PUBLISHED_SIDE), PUBLISHED, **_widths(weights)
    )


def unnamed_classes(num_classes: int) -> tuple[str, ...]:
    """Names for the classes of a file that holds none."""
    return tuple(f"class{number}" for number in range(num_classes))


def check_flags(
    config: Config, architecture: Architecture, path: Path, names: Sequence[str] = ARCHITECTURE_FLAGS
) -> None:
    """Raises SettingsError when a flag among `names` that the user gave contradicts the checkpoint."""
    facts: dict[str, object] = {name: getattr(architecture, name) for name in (*NETWORK_FLAGS, *READING_FLAGS)}
    facts["input_h"], facts["input_w"] = architecture.input_hw
    if architecture.neck != "fpn":
        facts["neck_width"] = f"--neck {architecture.neck}, which has none"
    if architecture.value_range is None:
        facts["value_range"] = "that each picture has its own range"
    if architecture.bands is None:
        facts["bands"] = "that each file tells its own colours"
    for name in names:
        value, fact = getattr(config, name), facts[name]
        is_same = value == fact or (name == "backbone" and same_backbone(value, fact))
        if name in config.explicit and value is not None and not is_same:
            said, fact = (" ".join(f"{entry:g}" for entry in x) if isinstance(x, tuple) else x for x in (value, fact))
            raise SettingsError(
                f"--{name} {said} contradicts the checkpoint {path}, which says {fact}; leave the flag out"
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
