"""The registry of backbones: the one place where a backbone gets its name.

To add one: a class that keeps the contract (`Backbone`: `out_channels`, `strides`, `forward`) and a line in
`BACKBONES`. Nothing here opens a file or a connection; weights arrive as a state dict that is already in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from torch import Tensor

from models.backbones.contract import Backbone
from models.backbones.mobilenet import MobileNetV2
from models.backbones.resnet import BasicBlock, Bottleneck, ResNet

__all__ = ["BACKBONES", "WEIGHTS_URLS", "Backbone", "build_backbone", "known_backbones", "load_pretrained"]

BACKBONES: dict[str, Callable[[], Backbone]] = {
    "resnet18": lambda: ResNet(BasicBlock, (2, 2, 2, 2)),
    "resnet34": lambda: ResNet(BasicBlock, (3, 4, 6, 3)),
    "resnet50": lambda: ResNet(Bottleneck, (3, 4, 6, 3)),
    "resnet101": lambda: ResNet(Bottleneck, (3, 4, 23, 3)),
    "resnet152": lambda: ResNet(Bottleneck, (3, 8, 36, 3)),
    "mobilenetv2": MobileNetV2,
}

# torchvision's IMAGENET1K_V1 files; the end of a name is the beginning of the file's SHA-256. Fetched by tools only.
WEIGHTS_URLS: dict[str, str] = {
    "resnet18": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "resnet34": "https://download.pytorch.org/models/resnet34-b627a593.pth",
    "resnet50": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
    "resnet101": "https://download.pytorch.org/models/resnet101-63fe2227.pth",
    "resnet152": "https://download.pytorch.org/models/resnet152-394f9c45.pth",
    "mobilenetv2": "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
}


def known_backbones() -> list[str]:
    """Return the registered names, in the order of the registry."""
    return list(BACKBONES)


def build_backbone(name: str, pretrained: Mapping[str, Tensor] | None = None) -> Backbone:
    """Build the backbone of that name, with random weights or with those of a state dict.

    Args:
        name: a name from `known_backbones()`.
        pretrained: a state dict, for instance torchvision's ImageNet file; see `load_pretrained`.

    Raises:
        ValueError: unknown name, or weights that belong to another network.
    """
    if name not in BACKBONES:
        nearest = get_close_matches(name, BACKBONES, n=1)
        hint = f"; nearest: '{nearest[0]}'" if nearest else ""
        raise ValueError(f"unknown backbone '{name}'; known: {known_backbones()}{hint}")
    backbone = BACKBONES[name]()
    if pretrained is not None:
        load_pretrained(backbone, pretrained, name)
    return backbone


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
