"""Weights into a network: what of a state dict fits it, counted and told, and how much of it must."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models import CTRBOX, Backbone, build_backbone, known_backbones

NEEDED_SHARE = 0.9
SHOWN_NAMES = 3
BASE = "base_network."
_COUNTER = "num_batches_tracked"  # a batch norm's step counter: no weight, and absent from files before PyTorch 0.4.1
_WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel, DDP and AveragedModel, and torch.compile, put before a name


class CheckpointError(ValueError):
    """A file that is missing, cut off, no state dict or of another network; the message names it."""


class Reshaped(NamedTuple):
    """A tensor that is on both sides, of different shapes."""

    name: str
    in_file: tuple[int, ...]
    in_network: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.in_file} -> {self.in_network}"


class TransferReport(NamedTuple):
    """What of some weights fits a network, by the names of the tensors; step counters of batch norms are not counted.

    matched: of the same name and shape; reshaped: of the same name only; missing: only in the network; unknown: only
    in the file; renewed: starts anew on purpose, whatever the file holds, and is in no other part; kept_classes: whose
    rows of it are the file's all the same; adapted: of the matched, made for another number of bands.
    """

    matched: tuple[str, ...]
    reshaped: tuple[Reshaped, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    renewed: tuple[str, ...] = ()
    kept_classes: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The matched part, 0 to 1, of the network's tensors or of the file's, whichever is less: a resnet101 file
        holds every tensor of a resnet50, and yet they are not one network."""
        in_network = len(self.matched) + len(self.reshaped) + len(self.missing)
        in_file = len(self.matched) + len(self.reshaped) + len(self.unknown)
        return len(self.matched) / max(in_network, in_file, 1)

    @property
    def is_whole(self) -> bool:
        """Whether file and network hold the same tensors of the same shapes."""
        return bool(self.matched) and not (self.reshaped or self.missing or self.unknown)

    def __str__(self) -> str:
        """One line, such as `120 tensors matched (98.4 %), 0 re-shaped, 2 missing (hm.2.weight, hm.2.bias), ...`."""
        parts = [f"{len(self.matched)} tensors matched ({self._percent()} %)"]
        for word in ("reshaped", "missing", "unknown"):
            names = getattr(self, word)
            parts.append(f"{len(names)} {word.replace('reshaped', 're-shaped')}{_in_brackets(names)}")
        if self.renewed:
            kept = f", but for the classes {', '.join(self.kept_classes)}" if self.kept_classes else ""
            parts.append(f"started anew: {', '.join(self.renewed)}{kept}")
        if self.adapted:
            parts.append(f"made to fit the bands of the pictures: {', '.join(self.adapted)}")
        return ", ".join(parts)

    def _percent(self) -> str:
        # Cut, not rounded: 99.96 % is not all, and 89.96 % is not enough.
        return f"{int(self.share * 1000) / 10:g}"


def compare(network: nn.Module, weights: Mapping[str, Tensor], renewed: Sequence[str] = ()) -> TransferReport:
    """Compare the weights, named as in the network, with its own.

    renewed: names that the network starts anew. A classifier after C4 (`Backbone.left_out`) has no place in any of our
    networks and is not counted.
    """
    is_whole = isinstance(network, CTRBOX)
    left_out = tuple(f"{BASE}{name}" for name in network.base_network.left_out) if is_whole else network.left_out
    own = {name: tuple(value.shape) for name, value in network.state_dict().items() if _counts(name, renewed)}
    given = {
        name: tuple(value.shape)
        for name, value in weights.items()
        if _counts(name, renewed) and not name.startswith(left_out)
    }
    return TransferReport(
        matched=tuple(name for name, shape in own.items() if given.get(name) == shape),
        reshaped=tuple(
            Reshaped(name, given[name], shape) for name, shape in own.items() if given.get(name, shape) != shape
        ),
        missing=tuple(name for name in own if name not in given),
        unknown=tuple(name for name in given if name not in own),
        renewed=tuple(renewed),
    )


def transfer(
    network: CTRBOX | Backbone,
    weights: Mapping[str, Tensor],
    source: str,
    what: str,
    *,
    renewed: Sequence[str] = (),
    allow_partial: bool = False,
    cause: str = "",
) -> TransferReport:
    """Copy what matches into the network; the rest of it stays as it is.

    source, what: words for the file and for the network; cause: why it may not match, else told by `likely_cause`.
    Raises CheckpointError, with the counts, when less than 90 % match (with `allow_partial`: when nothing does), or
    when weights are not finite; the network is then as it was.
    """
    report = compare(network, weights, renewed)
    if not report.matched:
        raise CheckpointError(
            f"{source}: nothing in it is of {what}: {report}; {cause or likely_cause(network, weights)}"
        )
    if report.share < NEEDED_SHARE and not allow_partial:
        raise CheckpointError(
            f"{source}: too little of it is of {what}, {NEEDED_SHARE:.0%} are needed: {report}; "
            f"{cause or likely_cause(network, weights)}; --allow_partial starts from what matches"
        )
    copy_matched(network, weights, report, source)
    return report


def copy_matched(network: nn.Module, weights: Mapping[str, Tensor], report: TransferReport, source: str) -> None:
    """Copy the matched tensors, and the step counters of batch norms where the file has them.

    Raises CheckpointError when any value among them is infinite or NaN (the network is then as it was), or of a kind
    that no network has.
    """
    taken = {name: weights[name] for name in report.matched}
    if any(num_not_finite(value) for value in taken.values()):
        raise CheckpointError(f"{source}: holds weights that are not finite; damaged, or of a run that diverged")
    own = network.state_dict()
    for name in own:
        if name.endswith(_COUNTER) and name in weights and weights[name].shape == own[name].shape:
            taken[name] = weights[name]
    try:
        network.load_state_dict(own | taken)
    except RuntimeError as error:
        raise CheckpointError(f"{source}: holds weights that are not plain numbers, quantised ones perhaps") from error


def num_not_finite(values: Tensor) -> int:
    """The number of values that are infinite or NaN, in a tensor of any kind."""
    if values.is_quantized or values.is_meta or not (values.is_floating_point() or values.is_complex()):
        return 0
    if values.layout != torch.strided:
        values = values.to_dense()
    if values.element_size() == 1:  # torch knows no isfinite for float8
        values = values.float()
    return values.numel() - int(values.isfinite().sum())


def unwrapped(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by the names that their network gives them, without what a wrapper put before these or beside."""
    cleaned = {}
    for name, value in weights.items():
        if name == "n_averaged":  # AveragedModel's own counter
            continue
        while name.startswith(_WRAPPERS):
            name = name.split(".", 1)[1]
        cleaned[name] = value
    return cleaned


def base_weights(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The base network of a whole model's weights; those of a backbone alone come back as they are."""
    base = {name.removeprefix(BASE): value for name, value in weights.items() if name.startswith(BASE)}
    return base or weights


def recognise_backbone(weights: Mapping[str, Tensor]) -> str | None:
    """The registered backbone that these weights, its own or a whole model's, fit best and well enough, if any."""
    given = base_weights(weights)
    shares = {name: compare(_outline(name), given).share for name in known_backbones()}
    best = max(shares, key=shares.get)
    return best if shares[best] >= NEEDED_SHARE else None


def likely_cause(network: CTRBOX | Backbone, weights: Mapping[str, Tensor]) -> str:
    """Why weights do not fit a network, and what to do about it, as far as their names tell."""
    if isinstance(network, CTRBOX):
        has_heads = any(name.startswith("hm.") for name in weights)
        if has_heads and compare(network.base_network, base_weights(weights)).share >= NEEDED_SHARE:
            return "the backbone fits, but what comes after it does not"
    found = recognise_backbone(weights)
    if found is None:
        return "of another backbone? name it with --backbone; python -m tools.inspect_checkpoint FILE tells what it is"
    if isinstance(network, CTRBOX) and not has_heads:
        return f"it holds only the backbone {found}: give --backbone {found} --pretrained FILE"
    return f"its backbone is {found}: give --backbone {found}"


@cache
def _outline(name: str) -> Backbone:
    """A backbone of names and shapes, without the memory."""
    with torch.device("meta"):
        return build_backbone(name)


def _counts(name: str, renewed: Sequence[str]) -> bool:
    return name not in renewed and not name.endswith(_COUNTER)


def _in_brackets(names: Sequence[object]) -> str:
    if not names:
        return ""
    return f" ({', '.join(map(str, names[:SHOWN_NAMES]))}{', ...' if len(names) > SHOWN_NAMES else ''})"
