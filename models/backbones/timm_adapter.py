"""Any timm network that has maps at strides 4, 8, 16 and 32, as a backbone. timm is imported when the first is built.

Maps are chosen by their stride, the last of each: their numbers differ from family to family.
"""

from __future__ import annotations

import warnings
from difflib import get_close_matches
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from DOTA_devkit.reasons import first_line
from models.backbones.contract import Backbone, BackboneError, check_maps

TIMM = "timm/"
_STRIDES = (4, 8, 16, 32)
# Names that HRNet gives its maps, and the modules that they come from.
_RENAMED = {"stem": "bn2", "stage1": "layer1"}


class TimmBackbone(Backbone):
    """A network of timm's, without what comes after its map of stride 32.

    Args:
        name: timm's name, with or without the tag of some weights: `convnext_tiny`, `convnext_tiny.fb_in1k`.
        weights: timm's options for pretrained weights, such as `{"pretrained": True}`; random ones without.

    Raises:
        BackboneError: timm or its torchvision is missing, it knows no such network, or the network has other strides,
            takes one input size alone or gives maps of other sizes.
    """

    def __init__(self, name: str, **weights: Any) -> None:
        super().__init__()
        survey = _survey(name)
        self.name = name
        self.network = _create(name, out_indices=survey.indices, **weights)
        _thin_out_before(self.network)
        self.out_channels = survey.channels
        self.strides = _STRIDES
        self._ends, self._stem_end = survey.modules, survey.stem
        self._is_nhwc = str(getattr(self.network, "output_fmt", "")).endswith("NHWC")
        try:
            check_maps(self, f"{TIMM}{name}")
        except BackboneError:
            raise
        except (AssertionError, RuntimeError, ValueError) as error:
            raise BackboneError(_fixed_size(name, error)) from error

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map images (B, 3, H, W) to the maps at strides 4, 8, 16 and 32, channels first."""
        maps = self.network(images)
        return tuple(found.permute(0, 3, 1, 2) for found in maps) if self._is_nhwc else tuple(maps)

    def stage_modules(self) -> list[nn.Module]:
        """List five parts by where the maps are taken: the stem ends with the last map above stride 4, or else before
        the module of C1; each further part ends with the module of its map, the last one with the network."""
        order = {name: place for place, (name, _) in enumerate(self.network.named_modules())}
        spans = [_span(order, name) for name in self._ends]
        if None in spans:
            missing = self._ends[spans.index(None)]
            raise BackboneError(f"the stages of {TIMM}{self.name} are not known ('{missing}' is no part of it)")
        stem = _span(order, self._stem_end) if self._stem_end else None
        stem = stem[1] if stem is not None and stem[1] < spans[0][1] else spans[0][0] - 1
        bounds = [stem, *(last for _, last in spans[:3]), len(order)]
        if bounds != sorted(bounds):
            raise BackboneError(f"{TIMM}{self.name} does not lie in five stages one after the other")
        stages = [_Stage() for _ in bounds]
        _share_out(self.network, "", order, bounds, stages)
        return stages


class _Stage(nn.Module):
    """The modules of a stage, and parameters that lie in a module of which it has only a part."""

    def __init__(self) -> None:
        super().__init__()
        self.parts, self.loose = nn.ModuleList(), nn.ParameterList()


class _Survey(NamedTuple):
    """Which of timm's maps are C1 .. C4, their channels and modules, and the module of the last map above stride 4."""

    indices: tuple[int, ...]
    channels: tuple[int, int, int, int]
    modules: tuple[str, ...]
    stem: str | None


@cache
def timm_names() -> tuple[str, ...]:
    """Return the names that timm knows; none where it cannot be imported."""
    try:
        return tuple(import_timm().list_models())
    except BackboneError:
        return ()


def import_timm() -> ModuleType:
    """Import timm. Raises BackboneError with what to do where that fails."""
    try:
        with warnings.catch_warnings(action="ignore"):
            import timm
    except ImportError as error:
        raise BackboneError(
            f"backbones of timm need it: pip install -r requirements-timm.txt (import failed: {error})"
        ) from error
    except RuntimeError as error:
        raise BackboneError(
            f"timm needs torchvision, and the one here does not load beside this torch ({error}): install the "
            f"torchvision that goes with torch {torch.__version__}, from where that torch came from"
        ) from error
    return timm


@cache
def _survey(name: str) -> _Survey:
    """Choose the maps by stride, on a copy without memory. Raises BackboneError."""
    timm = import_timm()
    if not timm.is_model(name) or ":" in name:
        near = get_close_matches(name, timm_names(), n=3)
        hint = f"; nearest: {', '.join(f'{TIMM}{found}' for found in near)}" if near else ""
        raise BackboneError(f"timm {timm.__version__} knows no network '{name}'{hint}")
    with torch.device("meta"):
        infos = _create(name).feature_info.info
    strides = [info["reduction"] for info in infos]
    if not set(_STRIDES) <= set(strides):
        found = ", ".join(str(stride) for stride in sorted(set(strides)))
        raise BackboneError(f"{TIMM}{name} has maps at strides {found}; a backbone needs 4, 8, 16 and 32")
    indices = tuple(len(strides) - 1 - strides[::-1].index(stride) for stride in _STRIDES)
    above = [info["module"] for info in infos if info["reduction"] < _STRIDES[0]]
    return _Survey(
        indices,
        tuple(infos[index]["num_chs"] for index in indices),
        tuple(infos[index]["module"] for index in indices),
        above[-1] if above else None,
    )


def _create(name: str, **options: Any) -> nn.Module:
    """Create the network with its maps as output. Raises BackboneError where timm cannot."""
    timm = import_timm()
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # a tag that none of its weights have
        raise BackboneError(f"{TIMM}{name}: {error}") from error
    kinds = [{"strict_img_size": False}, {}] if config is not None and config.fixed_input_size else [{}]
    for kind in kinds:
        try:
            return timm.create_model(name, features_only=True, **kind, **options)
        except TypeError as error:  # of a network that does not know `strict_img_size`
            reason = error
        except (AssertionError, RuntimeError, AttributeError) as error:
            raise BackboneError(f"{TIMM}{name}: timm cannot make a network of maps of it ({error})") from error
    raise BackboneError(f"{TIMM}{name}: timm cannot make a network of maps of it ({reason})")


def _thin_out_before(network: nn.Module) -> None:
    """Take the strides of 1x1 convolutions of a few channels by slicing, which is the same numbers.

    The gradient of such a one in channels_last (FastViT's stem has one of 3 channels) writes past its memory in torch
    2.13's oneDNN, and the process dies in `free()`.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.in_channels < 8:
            rows, columns = module.stride
            if (rows, columns) != (1, 1) and module.padding == (0, 0):
                module.register_forward_pre_hook(_Slicing(rows, columns))
                module.stride = (1, 1)


class _Slicing(NamedTuple):
    """A forward hook that keeps every so many rows and columns."""

    rows: int
    columns: int

    def __call__(self, _module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0][..., :: self.rows, :: self.columns],)


def _fixed_size(name: str, error: Exception) -> str:
    config = import_timm().get_pretrained_cfg(name)
    reason = first_line(error)[:100]
    if config is None or not config.fixed_input_size:
        return f"{TIMM}{name} fails on an image of 64 x 96: {reason}"
    height, width = config.input_size[-2:]
    return f"{TIMM}{name} takes inputs of {height} x {width} alone ({reason}); a backbone takes any multiple of 32"


def _span(order: dict[str, int], name: str) -> tuple[int, int] | None:
    """The places, in the order of registration, of the first and the last module that `name` holds; None without it."""
    name = _RENAMED.get(name, name) if name not in order else name
    for spelt in (name, name.replace(".", "_"), f"model.{name}"):
        if spelt in order:
            inside = [place for found, place in order.items() if found == spelt or found.startswith(f"{spelt}.")]
            return inside[0], inside[-1]
    return None


def _share_out(module: nn.Module, name: str, order: dict[str, int], bounds: list[int], stages: list[_Stage]) -> None:
    """Put a module into the stage that it lies in, or, where it lies in several, its children."""
    first = order[name]
    last = max(place for found, place in order.items() if not name or found == name or found.startswith(f"{name}."))
    holders = [next(number for number, bound in enumerate(bounds) if place <= bound) for place in (first, last)]
    if holders[0] == holders[1]:
        stages[holders[0]].parts.append(module)
        return
    stages[holders[0]].loose.extend(module.parameters(recurse=False))
    for child, part in module.named_children():
        _share_out(part, f"{name}.{child}" if name else child, order, bounds, stages)
