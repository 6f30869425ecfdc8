"""Weights to start from: a backbone's (ImageNet's, from torch's cache or the network, or a file) or a whole model's."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import torch
from torch import Tensor

from models import CTRBOX, IMAGENET, WEIGHTS_URLS, Backbone, adapt_input, adapt_weights, build_backbone, timm_name
from models.preprocessing import Preprocessing
from tools.architecture import PUBLISHED_BACKBONE, Architecture, unnamed_classes
from tools.checkpoint import CheckpointError, architecture_of, build, load_file, weights_of
from tools.config import PRETRAINED
from tools.training.timm_weights import load_by_timm, timm_weights
from tools.training.transfer import BASE, TransferReport, base_weights, num_not_finite, transfer

RANDOM = "backbone: random weights"  # as the lines about them begin
PROBE_SECONDS = 3.0  # how long `auto` waits for a network that may not be there


class StartingPoint(NamedTuple):
    """A network to train on, what it is, and how much of the file that it was read from fitted."""

    model: CTRBOX
    architecture: Architecture
    report: TransferReport


def start_from(
    path: Path,
    class_names: Sequence[str],
    input_hw: tuple[int, int],
    backbone_if_foreign: str | None = None,
    *,
    in_channels: int | None = None,
    bands: tuple[int, ...] | None = None,
    keeps_hw: tuple[bool, bool] = (False, False),
    allow_partial: bool = False,
) -> StartingPoint:
    """A network for these classes and this input (and for pictures of so many channels, or of these bands, if given)
    that starts from the weights of a whole model: a checkpoint of ours, a published BBAVectors file, or a state dict of
    a whole CTRBOX; of the latter two `backbone_if_foreign` is the backbone, resnet101 if None. Height and width of the
    input are those of the checkpoint where `keeps_hw` and it tells them.

    For other classes the last layer of `hm` starts anew, and that alone; there, too, classes that the file has under
    the same name, in any place, keep what it has learnt of them. So do bands, where the file tells which it has read.
    Raises CheckpointError for a file that is no such thing, or of which less than 90 % match (unless `allow_partial`).
    """
    content = load_file(path)
    # The average (EMA) where there is one: it is what a run's scores were scores of, and an optimiser that starts anew
    # has no use for the raw weights.
    weights = weights_of(content, path, averaged=True)
    found = architecture_of(content, weights, path, backbone_if_foreign or PUBLISHED_BACKBONE, class_names)
    before = found.preprocessing
    is_by_band = None not in (bands, before.bands) and bands != before.bands
    colours = before.for_bands(bands) if is_by_band else before.for_channels(in_channels or found.in_channels)
    if "architecture" in content:
        sides = zip(keeps_hw, found.input_hw, input_hw, strict=True)
        input_hw = tuple(own if is_kept else given for is_kept, own, given in sides)
    architecture = replace(found, class_names=tuple(class_names), input_hw=input_hw, preprocessing=colours)
    model = build(architecture, path)
    base = {name.removeprefix(BASE): value for name, value in weights.items() if name.startswith(BASE)}
    places = {band: place for place, band in enumerate(before.channel_bands)} if is_by_band else {}
    sources = [places.get(band) for band in bands] if is_by_band else None
    base = adapt_weights(base, model.base_network, architecture.in_channels, sources)
    base = {f"{BASE}{name}": value for name, value in base.items()}
    adapted = _changed(weights, base)
    weights = {**weights, **base}
    # Where a foreign file has no names for its classes, as many classes are taken to be the same ones.
    is_same = found.class_names in (architecture.class_names, unnamed_classes(len(class_names)))
    last = f"hm.{len(model.hm) - 1}"
    report = transfer(
        model,
        weights,
        str(path),
        f"CTRBOX on {architecture.backbone}",
        renewed=() if is_same else (f"{last}.weight", f"{last}.bias"),
        allow_partial=allow_partial,
        cause="its architecture and its weights contradict each other; edited?" if "architecture" in content else "",
    )
    if not is_same:
        report = report._replace(kept_classes=_keep_classes(model, weights, found.class_names, class_names, path))
    return StartingPoint(
        model, architecture, report._replace(adapted=tuple(name for name in adapted if name in report.matched))
    )


def _keep_classes(
    model: CTRBOX, weights: Mapping[str, Tensor], there: Sequence[str], wanted: Sequence[str], path: Path
) -> tuple[str, ...]:
    """Copy the rows of the last layer of `hm` of the wanted classes that are there; returns their names. Raises
    CheckpointError for values that are not finite."""
    layer, last = model.hm[-1], f"hm.{len(model.hm) - 1}"
    known = [name for name in wanted if name in there]
    for kind, own in (("weight", layer.weight), ("bias", layer.bias)):
        given = weights.get(f"{last}.{kind}")
        if given is None or given.shape != (len(there), *own.shape[1:]):
            return ()
        rows = given[[there.index(name) for name in known]]
        if num_not_finite(rows):
            raise CheckpointError(f"{path}: holds weights that are not finite; damaged, or of a run that diverged")
        with torch.no_grad():
            own[[wanted.index(name) for name in known]] = rows.to(own.dtype)
    return tuple(known)


def pretrained_backbone(
    pretrained: str, name: str, *, in_channels: int = 3, allow_partial: bool = False
) -> tuple[Backbone, str]:
    """The backbone of that name, for pictures of so many channels, with the weights of `--pretrained
    auto|imagenet|none|FILE`, and a line that says which they are and how much of the backbone they filled.

    A file of a whole model gives its base network. Raises CheckpointError as `find_backbone_weights` does, and when
    less than 90 % match (unless `allow_partial`); ValueError for an unknown name.
    """
    backbone = build_backbone(name)
    adapt_input(backbone, in_channels)
    weights, line = find_backbone_weights(pretrained, name)
    if weights is None:
        return backbone, line
    given, weights = weights, adapt_weights(weights, backbone, in_channels)
    source = "ImageNet weights" if pretrained in ("auto", "imagenet") else pretrained
    report = transfer(backbone, weights, source, f"the backbone {name}", allow_partial=allow_partial)
    return backbone, f"{line}: {report._replace(adapted=_changed(given, weights))}"


def _changed(given: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The names of the weights that are not those that were given."""
    return tuple(name for name, value in weights.items() if value is not given[name])


def preprocessing_of(pretrained: str) -> Preprocessing:
    """How the weights of `--pretrained` read pixels: as ImageNet's do, but the base network of a whole model as that
    model does. Raises CheckpointError for a file that cannot be read."""
    if pretrained in PRETRAINED:
        return IMAGENET
    path = Path(pretrained)
    content = load_file(path)
    weights = weights_of(content, path, averaged=True)
    if "architecture" not in content and not any(name.startswith(BASE) for name in weights):
        return IMAGENET
    return architecture_of(content, weights, path, default_classes=unnamed_classes(1)).preprocessing


def find_backbone_weights(pretrained: str, backbone: str) -> tuple[Mapping[str, Tensor] | None, str]:
    """The state dict for `--pretrained auto|imagenet|none|FILE`, None for random weights, and a line that says which.

    `imagenet` raises CheckpointError with the address and the cache path when it cannot be had; `auto` then says so
    and starts from random weights.
    """
    if pretrained == "none":
        return None, f"{RANDOM} (--pretrained none)"
    in_timm = timm_name(backbone)
    if pretrained not in ("auto", "imagenet"):
        return _weights_of_file(pretrained, in_timm), f"backbone: weights of {pretrained}"
    try:
        return _torchvision_weights(backbone) if in_timm is None else _timm_weights(in_timm)
    except _NotAtHand as error:
        if pretrained == "imagenet":
            raise CheckpointError(f"{error}; {error.remedy}") from error
        return None, f"{RANDOM}, for {error}"


class _NotAtHand(Exception):
    """ImageNet weights that cannot be had here: why, and what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


def _weights_of_file(source: str, in_timm: str | None) -> Mapping[str, Tensor]:
    weights = _state_dict(Path(source))
    is_ours = in_timm is None or any(name.startswith("network.") for name in weights)
    return weights if is_ours else load_by_timm(in_timm, weights, source)


def _timm_weights(name: str) -> tuple[Mapping[str, Tensor], str]:
    try:
        return timm_weights(name, _probe), f"backbone: timm's weights of {name}"
    except OSError as error:
        reason = f"timm's weights of {name} cannot be had ({getattr(error, 'reason', error)})"
        raise _NotAtHand(reason, "give --pretrained FILE or --pretrained none") from error


def _torchvision_weights(backbone: str) -> tuple[Mapping[str, Tensor], str]:
    url = WEIGHTS_URLS.get(backbone)
    if url is None:
        remedy = f"known are those of {', '.join(WEIGHTS_URLS)}; give --pretrained FILE or --pretrained none"
        raise _NotAtHand(f"no published ImageNet weights are known for '{backbone}'", remedy)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    try:
        if not cached.is_file():
            _fetch(url, cached)
    except OSError as error:
        raise _NotAtHand(
            f"{url} cannot be fetched ({getattr(error, 'reason', error)}) and is not in {cached.parent}",
            f"download it where there is a network and put it at {cached}, or give --pretrained none",
        ) from error
    return _state_dict(cached), f"backbone: ImageNet weights of {cached}"


def _fetch(url: str, target: Path) -> None:
    """Download with a progress bar and a check of the hash in the name. Raises OSError."""
    _probe(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(target), hash_prefix=target.stem.rsplit("-", 1)[-1])
    except RuntimeError as error:  # torch's word for a wrong hash
        raise URLError(str(error)) from error


def _probe(url: str) -> None:
    """Raises URLError unless the host of the address, or the proxy on the way to it, answers soon. In a thread: to look
    up a name has no time limit of its own."""
    host, port = _first_hop(url)
    outcome: list[OSError | None] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=PROBE_SECONDS).close()
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


def _first_hop(url: str) -> tuple[str, int]:
    """Host and port to which a download of this address connects: its own, or those of the system's proxy."""
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _state_dict(path: Path) -> Mapping[str, Tensor]:
    return base_weights(weights_of(load_file(path), path, averaged=True))
