"""The command that tells what is inside a file of weights: `python -m tools.inspect_checkpoint FILE`."""

from __future__ import annotations

import argparse
import json
import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DOTA_devkit.value_ranges import ranges_in_words
from tools.run_folder import weights_in
from tools.running.command_line import Parser, exit_code

if TYPE_CHECKING:
    from torch import Tensor

KINDS = {
    "ours": "a checkpoint of this program",
    "published": "a whole BBAVectors model, as the published code writes it",
    "backbone": "a backbone",
    "other": "another state dict",
}
# What a batch norm measures, and the optimiser never moves.
_MEASURED = ("running_mean", "running_var", "num_batches_tracked")
_WIDTH = 110


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is inside; returns the exit code: 0 done, 1 a file that holds no weights, 2 a wrong flag."""

    def work() -> None:
        options = _parse(arguments)
        found = inspect_file(weights_in(options.file))
        # In ASCII: whatever the terminal's encoding is, it stays JSON.
        print(json.dumps(found, indent=2, allow_nan=False) if options.json else _as_text(found))

    return exit_code(work)


def inspect_file(path: Path) -> dict[str, Any]:
    """What is inside a `torch.save` file, as plain values: what --json prints, and the text shows.

    `problems` are sentences; a file with problems is still told as far as it goes. Raises CheckpointError for a file
    that is missing, unreadable or holds no tensors by name.
    """
    # Imported only now: --help and a mistyped flag need not wait for torch.
    from tools.checkpoint import load_file, weights_of
    from tools.detection.results import file_hash
    from tools.training.transfer import num_not_finite, recognise_backbone

    content = load_file(path)
    weights = weights_of(content, path)
    parts = [_describe_part(name, values) for name, values in _parts(weights).items()]
    backbone = recognise_backbone(weights)
    is_whole = all(
        any(name.startswith(part) for name in weights) for part in ("base_network.", ("dec_c2.", "neck."), "hm.")
    )
    kind = "ours" if "architecture" in content else "published" if is_whole else "backbone" if backbone else "other"
    architecture, problems = _check_network(content, weights, path, kind, backbone)
    if sum(part["not_finite"] for part in parts):
        problems.append("it holds values that are not finite: damaged, or of a run that diverged")
    average = content.get("ema_state_dict")
    if isinstance(average, Mapping) and any(num_not_finite(value) for value in _tensors(average)):
        problems.append("its average (ema_state_dict) holds values that are not finite")
    is_wrapped = any(content.get(key) is not None for key in ("model_state_dict", "state_dict", "model"))
    shown = ("architecture", "settings", "progress", "epoch", "format_version")
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": file_hash(path),
        "kind": kind,
        "backbone": architecture["backbone"] if architecture else backbone,
        "format_version": _plain(content.get("format_version")) if is_wrapped else None,
        "architecture": architecture,
        "epoch": _plain(content.get("epoch")) if is_wrapped else None,
        "progress": _plain(content.get("progress")) if is_wrapped else None,
        "settings": _plain(content.get("settings")) if is_wrapped else None,
        "tensors": len(weights),
        "parameters": sum(part["parameters"] for part in parts),
        "parts": parts,
        "other_keys": {str(key): _plain(content[key]) for key in content if key not in shown} if is_wrapped else {},
        "problems": problems,
    }


def _check_network(
    content: Mapping, weights: Mapping[str, Tensor], path: Path, kind: str, backbone: str | None
) -> tuple[dict[str, Any] | None, list[str]]:
    """The architecture (of a foreign file what it is taken for), None without any, and what is wrong with it."""
    import torch

    from models import class_in_file
    from tools.checkpoint import CheckpointError, architecture_of, build, check_state
    from tools.training.transfer import compare

    if kind not in ("ours", "published"):
        return None, []
    if kind == "published" and backbone is None:
        return None, ["its backbone is none of the known ones"]
    try:
        architecture = architecture_of(content, weights, path, backbone or "")
        if class_in_file(architecture.backbone) is not None:  # a program, which no checkpoint makes us run
            return architecture.to_dict(), []
    except CheckpointError as error:
        return None, [str(error)]
    try:
        with torch.device("meta"):
            report = compare(build(architecture, path), weights)
    except CheckpointError as error:  # timm may not be installed; what the file says stands all the same
        return architecture.to_dict() if kind == "ours" else None, [str(error)]
    problems = [] if report.is_whole else [f"it does not fit its network: {report}"]
    try:
        check_state(content, path)
    except CheckpointError as error:
        problems.append(str(error))
    return architecture.to_dict(), problems


def _parts(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The weights by the beginnings of their names, of as many words as it takes to have more than one part."""
    longest = max(name.count(".") for name in weights)
    for depth in range(1, longest + 2):
        parts: dict[str, dict[str, Tensor]] = {}
        for name, value in weights.items():
            parts.setdefault(".".join(name.split(".")[:depth]), {})[name] = value
        if len(parts) > 1:
            break
    return parts


def _describe_part(name: str, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    from tools.training.transfer import num_not_finite

    return {
        "name": name,
        "tensors": len(weights),
        "parameters": sum(value.numel() for key, value in weights.items() if not key.endswith(_MEASURED)),
        "dtypes": sorted({str(value.dtype).removeprefix("torch.") for value in weights.values()}),
        "not_finite": sum(num_not_finite(value) for value in weights.values()),
    }


def _tensors(value: object) -> list[Tensor]:
    """All tensors in nested containers."""
    from torch import Tensor

    if isinstance(value, Tensor):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [tensor for item in inner for tensor in _tensors(item)]


def _plain(value: object) -> Any:
    """A value for JSON; what holds tensors is told by number and size."""
    tensors = _tensors(value)
    if tensors:
        return f"{len(tensors)} tensors, {sum(tensor.numel() for tensor in tensors)} values"
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    return str(value)


def _as_text(found: Mapping[str, Any]) -> str:
    lines = [
        f"{found['file']}: {KINDS[found['kind']]}, {found['backbone'] or 'of unknown make'}",
        f"{found['bytes'] / 1e6:.1f} MB, sha256 {found['sha256']}",
    ]
    if found["architecture"] is not None:
        lines += _describe_architecture(found["architecture"], is_guess=found["kind"] != "ours")
    for name in ("epoch", "progress", "settings"):
        if found[name] not in (None, {}):
            lines += _wrapped(name, _in_words(found[name]))
    lines += ["", *_table(found["parts"]), ""]
    lines.append(f"{found['tensors']} tensors, {found['parameters'] / 1e6:.2f} M parameters")
    for name, value in found["other_keys"].items():
        lines += _wrapped(f"key {name}", textwrap.shorten(_in_words(value), 3 * _WIDTH, placeholder=" ..."))
    lines += [f"problem: {problem}" for problem in found["problems"]]
    return "\n".join(lines)


def _describe_architecture(architecture: Mapping[str, Any], is_guess: bool) -> list[str]:
    names, (height, width) = architecture["class_names"], architecture["input_hw"]
    colours = architecture["preprocessing"]
    mean, std = (" ".join(f"{value:.4g}" for value in colours[name]) for name in ("mean", "std"))
    neck = architecture["neck"] + (f" of width {architecture['neck_width']}" if architecture["neck"] == "fpn" else "")
    norms = {"none": "without norm", "batch": "with batch norm", "layer": "with layer norm, in hm batch norm"}
    ranges = colours.get("value_range")
    deep = f"; of more than 8 bits from 0 to 255 {ranges_in_words(ranges)}" if ranges else ""
    bands = colours.get("bands")
    deep += f"; of TIFF files the bands {' '.join(map(str, bands))}" if bands else ""
    taken = ", taken for what published files are" if is_guess else ""
    return [
        *_wrapped(f"{len(names)} classes", ", ".join(names)),
        f"network: {architecture['backbone']}, neck {neck}, heads of width {architecture['head_width']} "
        f"{norms[architecture['head_norm']]}; input {height} x {width} (height x width){taken}",
        f"preprocessing: {colours['color'].upper()}, (pixel * {colours['scale']:.6g} - mean) / std, mean {mean}, "
        f"std {std}{deep}",
    ]


def _table(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    width = max(len("part"), *(len(part["name"]) for part in parts))
    lines = [f"{'part':{width}}  {'tensors':>7}  {'parameters':>11}  {'not finite':>10}  dtypes"]
    for part in parts:
        lines.append(
            f"{part['name']:{width}}  {part['tensors']:>7}  {part['parameters']:>11}  {part['not_finite']:>10}  "
            f"{' '.join(part['dtypes'])}"
        )
    return lines


def _wrapped(name: str, text: str) -> list[str]:
    return textwrap.wrap(f"{name}: {text}", _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _in_words(value: object) -> str:
    if value == {}:
        return "{}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_in_words(item)}" for key, item in value.items())
    if isinstance(value, list):
        return f"[{' '.join(map(_in_words, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "inspect_checkpoint",
        description="Tell what is inside a file of weights: a checkpoint of this program, a published BBAVectors "
        "model, a backbone or any other state dict that torch.save wrote. Nothing in the file is run.",
        epilog="Parameters are counted without what batch norms measure. Exit codes: 0 done, 1 the file holds no "
        "weights, 2 a wrong flag.",
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="file to look into, which is not changed; of a run folder best.pth"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with sizes in bytes and numbers of values")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
