"""The benchmarks, ratios in one run: `python -m tools.benchmark NAME`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.running.command_line import Parser, exit_code
from tools.running.destinations import refuse_to_replace
from tools.running.flag_types import multiple, share, whole

SIDE = multiple(32)  # of an input, as the networks take it
OWN_BACKBONE = "of a run on a backbone of your own, whose file is run only if you name it"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmark, which prints its table; returns the exit code."""

    def work() -> None:
        options = _make_parser().parse_args(arguments)
        refuse_to_replace(getattr(options, "json", None), "--json", ['{\n  "backbone":', '{\n  "checkpoint":'])
        # Most of them need torch, some more.
        room = importlib.import_module(f"tools.benchmarks.benchmark_{options.name}")
        room.run(options)

    return exit_code(work, stopped="stopped before all was measured")


def _make_parser() -> Parser:
    parser = Parser("benchmark", description=__doc__)
    commands = parser.add_subparsers(
        required=True, dest="name", metavar="{data,train,network,deploy,devkit,nms,check,windows,review}"
    )
    data = commands.add_parser("data", help="a training sample, decoding left out, as a multiple of one cv2.warpAffine")
    data.add_argument("--size", type=SIDE, default=608, help="side of picture and input, pixels [default: %(default)s]")
    data.add_argument("--classes", type=whole(1), default=15, help="number of classes [default: %(default)s]")
    data.add_argument("--rounds", type=whole(1), default=60, help="repetitions, alternating [default: %(default)s]")
    _add_train(commands.add_parser("train", help="a training step, by setting: time, data, memory; x plain fp32 NCHW"))
    network = commands.add_parser("network", help="latency of networks on the CPU, x the first of them")
    network.add_argument(
        "networks",
        nargs="*",
        default=["resnet18", "mobilenetv2", "mobilenetv2,fpn32,heads64"],
        metavar="NAME[,fpnWIDTH][,headsWIDTH]",
        help="backbone, its neck (the combination modules without fpn), and the width of its heads (256) [default: "
        "resnet18 mobilenetv2 mobilenetv2,fpn32,heads64]",
    )
    network.add_argument("--size", type=SIDE, default=608, help="side of the input, pixels [default: %(default)s]")
    network.add_argument("--rounds", type=whole(1), default=7, help="turns that each takes [default: %(default)s]")
    network.add_argument("--onnx", action="store_true", help="in ONNX Runtime as well")
    _add_deploy(commands.add_parser("deploy", help="an exported file, by runtime and precision: time, mAP50; x torch"))
    devkit = commands.add_parser("devkit", help="polygon NMS, evaluation and merging, as multiples of shapely")
    devkit.add_argument("--quick", action="store_true", help="a hundredth of the work: does it run?")
    nms = commands.add_parser("nms", help="what each NMS threshold costs: of the truth, and of a run's mAP50")
    nms.add_argument("--resume", type=Path, required=True, help="run folder or checkpoint", metavar="RUN")
    nms.add_argument("--device", default="auto", help="auto, cpu, cuda ... [default: %(default)s]")
    nms.add_argument("--backbone", metavar="FILE.py:CLASS", help=OWN_BACKBONE)
    check = commands.add_parser("check", help="label files a second that tools.check_data goes through")
    check.add_argument("--files", type=whole(1), default=100_000, help="label files to draw [default: %(default)s]")
    check.add_argument("--workers", type=whole(0), default=2, help="processes; 0: this one [default: %(default)s]")
    windows = commands.add_parser("windows", help="a big TIFF file in tiles, read in windows and whole: time, memory")
    windows.add_argument("--side", type=whole(64), default=24_000, metavar="PX", help="pixels [default: %(default)s]")
    _add_review(commands.add_parser("review", help="labels spoiled on purpose, and how many of them doubts find"))
    return parser


def _add_review(review: argparse.ArgumentParser) -> None:
    add = review.add_argument
    add("--data_dir", type=Path, metavar="DIR", help="data in DOTA's form [default: the embedded demo set]")
    add("--out", type=Path, required=True, metavar="DIR", help="new folder of the copy with spoiled labels")
    add("--share", type=share, default=0.05, metavar="X", help="of labels spoiled in each way [default: %(default)s]")
    add("--seed", type=whole(0), default=0, metavar="N", help="[default: %(default)s]")
    add("--doubts", type=Path, metavar="FILE", help="doubts.csv of that folder, to count; nothing is spoiled then")


def _add_train(train: argparse.ArgumentParser) -> None:
    add = train.add_argument
    add("--backbone", default="resnet18", metavar="NAME", help="[default: %(default)s]")
    add("--size", type=SIDE, default=608, metavar="PX", help="side of the input, pixels [default: %(default)s]")
    add("--batch_size", type=whole(1), default=4, metavar="N", help="pictures a step [default: %(default)s]")
    add("--rounds", type=whole(1), default=5, metavar="N", help="turns that each setting takes [default: %(default)s]")
    add("--num_workers", type=whole(0), default=2, metavar="N", help="processes that load data [default: %(default)s]")
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda ... [default: %(default)s]")
    add(
        "--settings",
        nargs="+",
        default=["tf32", "channels_last", "bf16", "sparse", "auto"],
        choices=("tf32", "channels_last", "bf16", "sparse", "auto"),
        help="what to measure beside plain fp32 NCHW: tf32 (on a GPU alone); channels_last; bf16, with channels_last; "
        "sparse, that with sparse heads and all else of the default recipe; auto, that recipe in the precision that "
        "--phase train takes on this machine [default: all]",
    )
    add("--compile", action="store_true", help="measure the last of these with torch.compile, too")
    add("--quick", action="store_true", help="64 pixels, 2 pictures, 2 rounds, no processes: does it run?")
    add("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")


def _add_deploy(deploy: argparse.ArgumentParser) -> None:
    add = deploy.add_argument
    add("--resume", type=Path, metavar="RUN", help="run folder or checkpoint [default: the newest run]")
    add("--backbone", metavar="FILE.py:CLASS", help=OWN_BACKBONE)
    add("--data_dir", type=Path, metavar="DIR", help="data to calibrate and to score on [default: scenes; no mAP50]")
    add("--size", type=SIDE, metavar="PX", help="side of the input, pixels [default: the checkpoint's input]")
    add("--rounds", type=whole(1), default=10, metavar="N", help="turns that each takes [default: %(default)s]")
    add(
        "--batch_size",
        type=whole(1),
        default=4,
        metavar="N",
        help="pictures at once for pictures/s [default: %(default)s]",
    )
    add("--num", type=whole(1), default=100, metavar="N", help="most pictures to calibrate on [default: %(default)s]")
    add("--num_pictures", type=whole(0), default=0, metavar="N", help="pictures to score, about; 0: all [default: 0]")
    add("--quick", action="store_true", help="64 pixels, 2 pictures, 2 rounds: does it run?")
    add("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")


if __name__ == "__main__":
    sys.exit(main())
