"""The registry of backbones: the one place where a backbone gets its name.

To add one here: a class that keeps the contract (`Backbone`) and a line in `BACKBONES`. From a file of one's own: the
class with `@register_backbone` above it. Any timm network with maps at strides 4, 8, 16 and 32 is `timm/<name>`.
Nothing here opens a file or a connection; weights arrive as a state dict that is already in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from torch import Tensor

from models.backbones.contract import Backbone, BackboneError, check_declared, check_maps
from models.backbones.mobilenet import MobileNetV2
from models.backbones.resnet import BasicBlock, Bottleneck, ResNet
from models.backbones.timm_adapter import TIMM, TimmBackbone, timm_names

__all__ = [
    "ALIASES",
    "BACKBONES",
    "WEIGHTS_URLS",
    "Backbone",
    "BackboneError",
    "build_backbone",
    "check_declared",
    "check_maps",
    "class_in_file",
    "known_backbones",
    "load_pretrained",
    "own_class",
    "register_backbone",
    "timm_name",
]

BACKBONES: dict[str, Callable[[], Backbone]] = {
    "resnet18": lambda: ResNet(BasicBlock, (2, 2, 2, 2)),
    "resnet34": lambda: ResNet(BasicBlock, (3, 4, 6, 3)),
    "resnet50": lambda: ResNet(Bottleneck, (3, 4, 6, 3)),
    "resnet101": lambda: ResNet(Bottleneck, (3, 4, 23, 3)),
    "resnet152": lambda: ResNet(Bottleneck, (3, 8, 36, 3)),
    "resnext50_32x4d": lambda: ResNet(Bottleneck, (3, 4, 6, 3), groups=32, width_per_group=4),
    "resnext101_32x8d": lambda: ResNet(Bottleneck, (3, 4, 23, 3), groups=32, width_per_group=8),
    "wide_resnet50_2": lambda: ResNet(Bottleneck, (3, 4, 6, 3), width_per_group=128),
    "resnet50_dc5": lambda: ResNet(Bottleneck, (3, 4, 6, 3), replace_stride_with_dilation=(False, False, True)),
    "mobilenetv2": MobileNetV2,
}

# Short names of timm networks that people ask for by these.
ALIASES: dict[str, str] = {
    "mobilenetv3_large": f"{TIMM}mobilenetv3_large_100",
    "vgg16_bn": f"{TIMM}vgg16_bn",
    "efficientnet_b0": f"{TIMM}efficientnet_b0",
}

# torchvision's IMAGENET1K_V1 files; the end of a name is the beginning of the file's SHA-256. Fetched by tools only.
WEIGHTS_URLS: dict[str, str] = {
    "resnet18": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "resnet34": "https://download.pytorch.org/models/resnet34-b627a593.pth",
    "resnet50": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    "resnet101": "https://download.pytorch.org/models/resnet101-63fe2227.pth",
    "resnet152": "https://download.pytorch.org/models/resnet152-394f9c45.pth",
    "resnext50_32x4d": "https://download.pytorch.org/models/resnext50_32x4d-7cdf4587.pth",
    "resnext101_32x8d": "https://download.pytorch.org/models/resnext101_32x8d-8ba56ff5.pth",
    "wide_resnet50_2": "https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth",
    "resnet50_dc5": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    "mobilenetv2": "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
}

_OWN: dict[str, type[Backbone]] = {}  # classes of users' own files, by the classes' names

Kind = TypeVar("Kind", bound=type[Backbone])


def register_backbone(kind: Kind) -> Kind:
    """Decorate a class in a file of one's own, so that `--backbone path/to/file.py:ItsName` finds it.

    Raises:
        BackboneError: the class is no `Backbone`.
    """
    if not (isinstance(kind, type) and issubclass(kind, Backbone)):
        named = getattr(kind, "__name__", kind)
        raise BackboneError(f"@register_backbone is for a class made from models.Backbone, which {named} is not")
    _OWN[kind.__name__] = kind
    return kind


def class_in_file(name: str) -> tuple[str, str] | None:
    """Split `path/to/file.py:MyNet` into the file and the class; None for a name of any other kind."""
    path, _, kind = name.rpartition(":")
    if name.endswith(".py"):
        return name, ""
    return (path, kind) if path.endswith(".py") else None


def own_class(name: str) -> type[Backbone] | None:
    """Return the class of that name which `register_backbone` saw last, if any."""
    return _OWN.get(name)


def known_backbones() -> list[str]:
    """Return the names that need nothing beside torch, in the order of the registry."""
    return list(BACKBONES)


def timm_name(name: str) -> str | None:
    """Return the name that timm knows a backbone by, `timm/<that name>` or an alias; None for any other."""
    name = ALIASES.get(name, name)
    return name.removeprefix(TIMM) if name.startswith(TIMM) else None


def build_backbone(name: str, pretrained: Mapping[str, Tensor] | None = None) -> Backbone:
    """Build the backbone of that name, with random weights or with those of a state dict.

    Args:
        name: a name from `known_backbones()` or `ALIASES`, `timm/<name>`, or `path/to/file.py:MyNet` where that class
            is registered already: nothing here runs a file.
        pretrained: a state dict, for instance torchvision's ImageNet file; see `load_pretrained`.

    Raises:
        ValueError: unknown name, or weights that belong to another network.
        BackboneError: the network is known, but cannot be had here or does not keep the contract.
    """
    backbone = _build(name)
    if pretrained is not None:
        load_pretrained(backbone, pretrained, name)
    return backbone


def _build(name: str) -> Backbone:
    in_file, in_timm = class_in_file(name), timm_name(name)
    if name in BACKBONES:
        return BACKBONES[name]()
    if in_timm is not None:
        return TimmBackbone(in_timm)
    if in_file is not None:
        kind = own_class(in_file[1])
        if kind is None:
            raise BackboneError(
                f"its backbone is {name}, a file of one's own, which is run only if you name it: "
                f"give --backbone {name}, with the place where the file is now"
            )
        return kind()
    known = [*BACKBONES, *ALIASES]
    offered = [*known, *(f"{TIMM}{found}" for found in timm_names())]
    near = get_close_matches(name, known, n=2) + get_close_matches(f"{TIMM}{name}", offered, n=2)
    hint = f"; nearest: {', '.join(repr(found) for found in dict.fromkeys(near))}" if name and near else ""
    raise ValueError(f"unknown backbone '{name}'; known: {known} or timm/<name> or FILE.py:CLASS{hint}")


def load_pretrained(backbone: Backbone, pretrained: Mapping[str, Tensor], name: str) -> None:
    """Copy a state dict into a backbone; all or nothing.

    What belongs to the network after C4 (`Backbone.left_out`, the classifier) is left out. Everything else must fit
    name by name and shape by shape, except that the step counters of the batch norms (`num_batches_tracked`) may be
    missing: files older than PyTorch 0.4.1 have none.

    Raises:
        ValueError: says how many tensors fit and which are missing, of another shape, or unknown to this network.
    """
    given = {key: value for key, value in pretrained.items() if not key.startswith(backbone.left_out)}
    own = backbone.state_dict()
    missing = [key for key in own if key not in given and not key.endswith("num_batches_tracked")]
    unknown = [key for key in given if key not in own]
    reshaped = [key for key in own if key in given and given[key].shape != own[key].shape]
    if missing or unknown or reshaped:
        fitting = sum(key in given and given[key].shape == own[key].shape for key in own)
        shapes = [f"{key} {tuple(given[key].shape)}, expected {tuple(own[key].shape)}" for key in reshaped]
        problems = (("missing", missing), ("of another shape", shapes), ("unknown to this network", unknown))
        details = "; ".join(f"{len(keys)} {what} ({_shortened(keys)})" for what, keys in problems if keys)
        raise ValueError(
            f"these weights are not of backbone '{name}': {fitting} of its {len(own)} tensors match; {details}"
        )
    backbone.load_state_dict(own | given)


def _shortened(keys: list[str], most: int = 3) -> str:
    return ", ".join(keys[:most]) + (", ..." if len(keys) > most else "")
