"""The command that lists the backbones and what each costs: `python -m tools.list_backbones [--pattern GLOB]`."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.destinations import refuse_to_replace

if TYPE_CHECKING:
    from torch import nn

SIDE = 608
NOTE_HEAD = "Of the whole detector with"  # by which a table of this command is known
NUM_CLASSES = 15  # of DOTA-v1.0
ROUNDS = 3  # timed passes, after one that is not
COLUMNS = ("backbone", "channels of C1 .. C4", "M parameters", "GFLOP", "CPU ms", "ImageNet weights")
NUMBERS = ("M parameters", "GFLOP", "CPU ms")  # set at the right


@dataclass(frozen=True)
class Listed:
    """A backbone and what the whole detector on it costs, for one image of 608 x 608; latency in milliseconds."""

    name: str
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    parameters: int
    flops: int
    has_weights: bool
    latency: float | None = None

    def row(self) -> tuple[str, ...]:
        """The columns, as text."""
        is_usual = self.strides == (4, 8, 16, 32)
        strides = "" if is_usual else f" (strides {', '.join(map(str, self.strides))})"
        channels = ", ".join(map(str, self.channels)) + strides
        latency = "" if self.latency is None else f"{self.latency:.0f}"
        size, work = f"{self.parameters / 1e6:.1f}", f"{self.flops / 1e9:.1f}"
        return self.name, channels, size, work, latency, "known" if self.has_weights else "none known"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit code: 0 done, 1 none could be built, 2 a wrong flag or no such name."""
    return exit_code(lambda: _run(_parse(arguments)))


def list_backbones(
    pattern: str | None = None, *, with_timing: bool = True, report: Callable[[str], None] = print
) -> list[Listed]:
    """The backbones whose names match the pattern, lightest first; without one, those that need nothing beside torch.

    A pattern that begins with `timm/` is looked for among all of timm's. What cannot be built is reported in a sentence
    and left out. Raises SettingsError when no name matches.
    """
    from models import ALIASES, BackboneError, known_backbones
    from models.backbones.timm_adapter import TIMM, import_timm, timm_names
    from tools.running.progress import progress_bar

    names = known_backbones()
    if pattern is not None and pattern.startswith(TIMM):
        import_timm()
        names = [f"{TIMM}{name}" for name in timm_names()]
    elif pattern is not None:
        names = [*names, *ALIASES]
    names = [name for name in names if fnmatchcase(name, pattern or "*")]
    if not names:
        raise SettingsError(f"--pattern '{pattern}' matches no backbone; for those of timm it begins with timm/")
    found = []
    for name in progress_bar(names, unit="backbone", desc="building"):
        try:
            found.append(_measure(name, with_timing))
        except BackboneError as error:
            report(f"{name} is left out: {error}")
    return sorted(found, key=lambda listed: (listed.flops, listed.name))


def markdown(found: Sequence[Listed]) -> str:
    """The table as Markdown, with a sentence on what its numbers are."""
    head, *rows = _table(found)
    rule = ["---:" if title in NUMBERS else "---" for title in head]
    return f"{_note(found)}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def _table(found: Sequence[Listed]) -> list[list[str]]:
    """The head and a row a backbone; the latency's column only where some were timed."""
    is_timed = any(listed.latency is not None for listed in found)
    rows = [COLUMNS, *(listed.row() for listed in found)]
    return [[text for title, text in zip(COLUMNS, row, strict=True) if is_timed or title != "CPU ms"] for row in rows]


def _measure(name: str, with_timing: bool) -> Listed:
    """Build the detector without memory and count; then, to time it, with."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from models import CTRBOX

    with torch.device("meta"), torch.no_grad():
        network = CTRBOX(NUM_CLASSES, name).eval()
        size = sum(value.numel() for value in network.parameters())
        _take_out_uncounted(network)
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, SIDE, SIDE))
    base = network.base_network
    listed = Listed(
        name,
        base.out_channels,
        base.strides,
        size,
        counter.get_total_flops(),
        _has_weights(name),
    )
    return replace(listed, latency=_latency(name)) if with_timing else listed


def _take_out_uncounted(network: nn.Module) -> None:
    """Replace batch norms and ReLUs, of which torch counts no work and asks each long for it, by nothing."""
    from torch import nn

    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d | nn.ReLU | nn.ReLU6):
                setattr(module, name, nn.Identity())


def _latency(name: str) -> float:
    """Milliseconds of one image through the detector on the CPU, the median."""
    import torch

    from models import CTRBOX

    network = CTRBOX(NUM_CLASSES, name).eval().to(memory_format=torch.channels_last)
    image = torch.rand(1, 3, SIDE, SIDE).to(memory_format=torch.channels_last)
    seconds = []
    with torch.inference_mode():
        for _ in range(ROUNDS + 1):
            started = time.perf_counter()
            network(image)
            seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.median(seconds[1:])


def _has_weights(name: str) -> bool:
    from models import WEIGHTS_URLS, timm_name

    in_timm = timm_name(name)
    if in_timm is None:
        return name in WEIGHTS_URLS
    from models.backbones.timm_adapter import import_timm

    config = import_timm().get_pretrained_cfg(in_timm)
    return config is not None and bool(config.has_weights)


def _run(options: argparse.Namespace) -> int:
    from DOTA_devkit.atomic import write_text
    from tools.running.messages import warn

    found = list_backbones(options.pattern, with_timing=not options.no_timing, report=warn)
    if not found:
        return 1
    if options.markdown is not None:
        write_text(options.markdown, markdown(found))
    rows = _table(found)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, rows[0], strict=True)
        print("  ".join(text.rjust(n) if title in NUMBERS else text.ljust(n) for text, n, title in cells).rstrip())
    print(_note(found))
    return 0


def _note(found: Sequence[Listed]) -> str:
    import torch

    threads = torch.get_num_threads()
    timed = f" CPU ms: the median of {ROUNDS}, on {threads} thread{'s' * (threads > 1)} of this machine."
    return (
        f"{NOTE_HEAD} {NUM_CLASSES} classes, for one image of {SIDE} x {SIDE}; a multiplication and an "
        "addition are two FLOP." + (timed if any(listed.latency is not None for listed in found) else "")
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "list_backbones",
        description=f"List backbones with the size, the work and the time of the detector on them at {SIDE} x {SIDE}, "
        "lightest first.",
    )
    parser.add_argument(
        "--pattern",
        metavar="GLOB",
        help="names to list, such as '*mobile*' or 'timm/*mobile*' [default: all that need nothing beside torch]",
    )
    parser.add_argument("--no_timing", action="store_true", help="leave the latency out, which takes most of the time")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to this file as well")
    options = parser.parse_args(arguments)
    refuse_to_replace(options.markdown, "--markdown", [NOTE_HEAD])
    return options


if __name__ == "__main__":
    sys.exit(main())
