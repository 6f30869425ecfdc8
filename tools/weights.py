"""Backbone weights to start from: ImageNet's, from torch's cache or the network, or a file."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import Tensor

from models import WEIGHTS_URLS
from tools.checkpoint import CheckpointError, load_file

PROBE_SECONDS = 3.0  # how long `auto` waits for a network that may not be there


def find_backbone_weights(pretrained: str, backbone: str) -> tuple[Mapping[str, Tensor] | None, str]:
    """The state dict for `--pretrained auto|imagenet|none|FILE`, None for random weights, and a line that says which.

    `imagenet` raises CheckpointError with the address and the cache path when it cannot be had; `auto` then says so
    and starts from random weights.
    """
    if pretrained == "none":
        return None, "backbone: random weights (--pretrained none)"
    if pretrained not in ("auto", "imagenet"):
        return _state_dict(Path(pretrained)), f"backbone: weights of {pretrained}"
    url = WEIGHTS_URLS.get(backbone)
    if url is None:
        if pretrained == "imagenet":
            raise CheckpointError(
                f"no published ImageNet weights are known for '{backbone}'; known: {list(WEIGHTS_URLS)}"
            )
        return None, f"backbone: random weights, for no published ImageNet weights are known for '{backbone}'"
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    try:
        if not cached.is_file():
            _fetch(url, cached)
    except OSError as error:
        reason = getattr(error, "reason", error)
        if pretrained == "imagenet":
            raise CheckpointError(
                f"cannot fetch {url} ({reason}); download it where there is a network and put it at {cached}, or give "
                "--pretrained none"
            ) from error
        return None, f"backbone: random weights, for {url} cannot be fetched ({reason}) and is not in {cached.parent}"
    return _state_dict(cached), f"backbone: ImageNet weights of {cached}"


def _fetch(url: str, target: Path) -> None:
    """Download with a progress bar and a check of the hash in the name. Raises OSError."""
    _probe(urlparse(url).hostname or "")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(target), hash_prefix=target.stem.rsplit("-", 1)[-1])
    except RuntimeError as error:  # torch's word for a wrong hash
        raise URLError(str(error)) from error


def _probe(host: str) -> None:
    """Raises URLError unless the host answers soon. In a thread: to look up a name has no time limit of its own."""
    outcome: list[OSError | None] = []

    def connect() -> None:
        try:
            socket.create_connection((host, 443), timeout=PROBE_SECONDS).close()
            outcome.append(None)
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    if not outcome:
        raise URLError(f"{host} does not answer within {PROBE_SECONDS:g} s")
    if outcome[0] is not None:
        raise URLError(f"{host} does not answer: {outcome[0]}") from outcome[0]


def _state_dict(path: Path) -> Mapping[str, Tensor]:
    loaded = load_file(path)
    weights = loaded.get("model_state_dict", loaded.get("state_dict", loaded))
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path}: holds no state dict (names -> tensors)")
    prefix = "base_network."
    weights = {key.removeprefix("module."): value for key, value in weights.items()}
    if any(key.startswith(prefix) for key in weights):  # a whole model: take its base network
        return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    return weights
