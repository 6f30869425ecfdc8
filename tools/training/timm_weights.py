"""Weights of timm's networks: from its cache or the network, by timm's own names or from a file of timm's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from DOTA_devkit.reasons import first_line
from models.backbones.timm_adapter import TimmBackbone
from tools.training.transfer import NEEDED_SHARE, CheckpointError


def timm_weights(name: str, probe: Callable[[str], None]) -> dict[str, Tensor]:
    """The weights that timm publishes for its network `name`, by the names of our backbone.

    They come from the cache of timm's hub, else from the network, where `probe(url)` raises OSError if its host does
    not answer. Raises OSError, with the reason, where they cannot be had.
    """
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise OSError("it publishes none")
    cached = _cached_file(config.hf_hub_id, config.hf_hub_filename)
    options: dict[str, Any] = {"pretrained": True}
    if cached is not None:
        options["pretrained_cfg_overlay"] = {"file": cached}
    else:
        probe(_address_of(config))
    try:
        return TimmBackbone(name, **options).state_dict()
    except Exception as error:  # what its hub, its network or its reader of files may raise
        raise OSError(f"{type(error).__name__}: {first_line(error)}") from error


def load_by_timm(name: str, weights: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Weights by timm's names, of its whole network, as those of our backbone.

    Raises CheckpointError, with the count, when less than 90 % of the network's tensors are there: timm itself takes
    what fits and is silent about the rest.
    """
    import timm

    with torch.device("meta"):
        whole = timm.create_model(name).state_dict()
    fitting = sum(key in weights and weights[key].shape == value.shape for key, value in whole.items())
    if fitting < NEEDED_SHARE * len(whole):
        raise CheckpointError(
            f"{source}: these weights are not of timm's {name}: {fitting} of its {len(whole)} tensors match, and "
            f"{NEEDED_SHARE:.0%} are needed"
        )
    overlay = {"state_dict": dict(weights)}
    try:
        return TimmBackbone(name, pretrained=True, pretrained_cfg_overlay=overlay).state_dict()
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"{source}: timm cannot read its {name} from it ({first_line(error)})") from error


def _cached_file(hub_id: str | None, file_name: str | None) -> str | None:
    """The file of weights in the cache of timm's hub, if it is there."""
    from huggingface_hub import try_to_load_from_cache

    for candidate in (file_name, "model.safetensors", "pytorch_model.bin") if hub_id else ():
        found = try_to_load_from_cache(hub_id, candidate) if candidate else None
        if isinstance(found, str):
            return found
    return None


def _address_of(config: Any) -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT if config.hf_hub_id else config.url
