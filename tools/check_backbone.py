"""The command that holds a backbone to the contract: `python -m tools.check_backbone NAME_OR_FILE`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from tools.running.command_line import Parser, SettingsError, exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a check; returns the exit code: 0 all ok, 1 something is not, 2 no such backbone or a wrong flag."""
    return exit_code(lambda: _run(_parse(arguments)))


def check_backbone(name: str, skipped: Sequence[str] = ()) -> int:
    """Build the backbone and print ok, or why not, for every check; returns how many fail.

    Raises SettingsError for an unknown name, and as `register_from_file` does.
    """
    # Imported only now: --help and a mistyped flag need not wait for torch.
    import torch

    from models import build_backbone, check_declared, class_in_file
    from tools.backbone_checks import CHECKS
    from tools.own_backbone import register_from_file, told_with_line

    register_from_file(name, is_probed=False)
    in_file = class_in_file(name)
    torch.manual_seed(0)
    with told_with_line(Path(in_file[0])) if in_file else nullcontext():
        try:
            backbone = build_backbone(name)
            check_declared(backbone, name)
        except ValueError as error:
            if in_file:
                raise
            raise SettingsError(str(error)) from error
    size = sum(value.numel() for value in backbone.parameters()) / 1e6
    channels, strides = (", ".join(map(str, numbers)) for numbers in (backbone.out_channels, backbone.strides))
    print(f"{name}: channels {channels} at strides {strides}; {size:.1f} M parameters", flush=True)
    num_failed = 0
    for line, check in CHECKS.items():
        if line in skipped:
            print(f"--  {line}: left out", flush=True)
            continue
        try:
            with told_with_line(Path(in_file[0])) if in_file else nullcontext():
                note = check(backbone, name)
        except Exception as error:  # whatever a network, an exporter or a compiler raises is the answer
            num_failed += 1
            print(f"no  {line}: {_reason(error)}", flush=True)
        else:
            print(f"ok  {line}" + (f": {note}" if note else ""), flush=True)
    return num_failed


def _run(options: argparse.Namespace) -> int:
    num_failed = check_backbone(options.backbone, ["torch.compile"] if options.no_compile else [])
    if num_failed:
        print(f"{num_failed} checks failed", file=sys.stderr)
    return int(num_failed > 0)


def _reason(error: Exception) -> str:
    text = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "check_backbone",
        description="Hold a backbone to the contract: channels and strides of its maps at 96 x 160 and 608 x 608 "
        "(height x width), gradients, evaluation, stages, ONNX, torch.compile. A line each: ok, or no and why.",
    )
    parser.add_argument(
        "backbone",
        metavar="NAME_OR_FILE",
        help="a name of python -m tools.list_backbones, timm/NAME, or FILE.py:CLASS; that file is run",
    )
    parser.add_argument("--no_compile", action="store_true", help="leave torch.compile out, which can take minutes")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
