"""The settings from the command line and from a TOML file: defaults, then the file, then the flags."""

from __future__ import annotations

import argparse
import difflib
import tomllib
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tools.config import AUTO, Config, converted, entry_of, kind_of, setting_fields
from tools.recipes import RECIPES
from tools.running.command_line import Parser, SettingsError
from tools.running.flag_types import filled
from tools.setting_rules import GOES_WITH_TILE


def parse_settings(arguments: Sequence[str]) -> Config:
    """The settings for these command-line arguments. Prints help and leaves (SystemExit) on --help.

    Raises SettingsError for an unknown flag or file key (with the nearest known one), a wrong kind or a contradiction.
    """
    given = vars(_make_parser().parse_args([_underscored(argument) for argument in arguments]))
    config_path = given.pop("config", None)
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    from_file = _read_toml(config_path) if config_path is not None else {}
    if from_file.get("phase") == "train" and (given.get("phase", "train") != "train" or "resume_train" in given):
        # Where that training began and what it wrote are its own; other work has its own.
        from_file = {name: value for name, value in from_file.items() if name not in ("resume", "resume_train", "out")}
    if "num_epoch" in given and "num_images" not in given:
        from_file.pop("num_images", None)  # either tells how long; a flag comes above the file
    if "resume" in given:
        from_file.pop("resume_train", None)  # and either of these where a run is
    values = {**from_file, **given}
    _refuse_together(given, values)
    recipe = values.get("recipe", "default")
    if recipe not in RECIPES:
        raise SettingsError(f"--recipe is '{recipe}'; it can be {', '.join(RECIPES)}")
    # A recipe given as a flag comes above the file, as every flag does.
    values = {**from_file, **RECIPES[recipe], **given} if "recipe" in given else {**RECIPES[recipe], **values}
    return Config(**values, explicit=frozenset({**from_file, **given}))


def _refuse_together(given: Collection[str], values: Mapping[str, object]) -> None:
    """Raises SettingsError for flags of which one would have no effect, which settings of a file may well have; values:
    of both."""
    if "overlap" in given and values.get("phase", "train") != "train" and values.get("tile") is None:
        raise SettingsError(f"--overlap {GOES_WITH_TILE}")
    if "num_epoch" in given and "num_images" in given:
        raise SettingsError("--num_epoch and --num_images both tell how long to train; give one of them")
    if "input" in given:
        idle = [name for name in ("data_dir", "dataset", "lists", "split") if name in given]
        if idle:
            raise SettingsError(f"--input names the pictures, and --{idle[0]} others; give one of them")


def split_settings(arguments: Sequence[str], others: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """The flags of settings among the arguments, with their values, and the rest, for a command that has arguments and
    flags of its own: `others`, names that are no settings there."""
    kinds = {"config": Path} | {item.name: kind_of(item) for item in setting_fields()}
    entries = {item.name: entry_of(item) for item in setting_fields() if kind_of(item) is tuple}
    settings: list[str] = []
    rest: list[str] = []
    waiting = list(reversed(arguments))
    while waiting:
        argument = waiting.pop()
        flag, equals, _ = argument.partition("=")
        name = flag[2:].replace("-", "_")
        is_setting = name in kinds or kinds.get(name.removeprefix("no_")) is bool
        if not argument.startswith("--") or not is_setting or name in others:
            rest.append(argument)
            continue
        settings.append(argument)
        kind = kinds.get(name, bool)
        if kind is tuple and not equals:
            takes = _is_number if entries.get(name) is float else _is_value
            while waiting and takes(waiting[-1]):
                settings.append(waiting.pop())
        elif kind is not bool and not equals and waiting and not waiting[-1].startswith("--"):
            settings.append(waiting.pop())
    return settings, rest


class _DownRatio(argparse.Action):
    def __call__(self, *ignored: object) -> typing.NoReturn:
        raise SettingsError(
            "--down_ratio is no setting: targets, decoder and heads are made for the map at a quarter of the input. "
            "People change it when another backbone's channels do not fit; here these follow from the backbone, so "
            "--backbone NAME is all it takes"
        )


def _make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="main.py",
        usage="main.py [--phase {train,test,eval}] [--config FILE] [settings, see below]",
        description="Train, test and evaluate oriented-box detectors (BBAVectors).",
        epilog="'-' and '_' in flags are the same. Order: defaults < --config file < flags. Boxes are in pixels of the "
        "picture, overlaps are IoU of exact polygons.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file with any of these settings, without dashes"
    )
    parser.add_argument("--down_ratio", action=_DownRatio, nargs="?", help=argparse.SUPPRESS)
    group: argparse._ActionsContainer = parser
    for item in setting_fields():
        if item.name in _GROUPS:
            group = parser.add_argument_group(_GROUPS[item.name])
        text = item.metadata["help"].replace("%", "%%")
        if item.default is not None:
            shown = item.default if not isinstance(item.default, tuple) else " ".join(map(str, item.default))
            text += f" [default: {shown}]"
        options: dict[str, typing.Any] = {"help": text}
        kind = kind_of(item)
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif kind is tuple:
            options |= {"type": entry_of(item), "nargs": "+", "metavar": item.metadata["metavar"] or "X"}
        else:
            of_text = filled(kind) if kind in (str, Path) and not item.metadata["choices"] else kind
            options |= {"type": _count if item.name in AUTO else of_text, "choices": item.metadata["choices"]}
            options["metavar"] = None if item.metadata["choices"] else item.metadata["metavar"] or _METAVARS[kind]
        if item.name == "resume_train":
            options |= {"nargs": "?", "const": "newest", "metavar": "RUN"}
        group.add_argument(f"--{item.name}", **options)
    return parser


_GROUPS = {  # by the first of their settings: as the sections of Config
    "dataset": "data",
    "backbone": "network; in test and eval all of these come from the checkpoint",
    "recipe": "training",
    "resume": "testing and evaluation",
    "num_drawings": "drawing",
    "out": "machine",
}


def _count(text: str) -> int:
    return 0 if text == "auto" else int(text)


MOST_NEAREST = 3
# What Ultralytics and mmrotate call it, and we.
ELSEWHERE = {
    "imgsz": ("input_h", "input_w"),
    "img_scale": ("input_h", "input_w"),
    "weights": ("resume", "pretrained"),
    "model": ("backbone", "resume"),
    "checkpoint": ("resume",),
    "load_from": ("resume",),
    "source": ("input",),
    "epochs": ("num_epoch",),
    "max_epochs": ("num_epoch",),
    "batch": ("batch_size",),
    "workers": ("num_workers",),
    "lr": ("init_lr",),
    "lr0": ("init_lr",),
    "score_thr": ("conf_thresh", "draw_score"),
    "iou": ("nms_thresh",),
    "iou_thr": ("nms_thresh",),
    "max_det": ("K",),
    "project": ("out",),
    "work_dir": ("out",),
    "amp": ("precision",),
    "half": ("precision",),
    "mosaic": ("augment_mosaic",),
    "augment": ("tta_views",),
}
_METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}


def _underscored(argument: str) -> str:
    """`--data-dir=x` -> `--data_dir=x`, with unknown flags refused here, where the nearest known one can be named."""
    if not argument.startswith("--") or argument == "--":
        return argument
    flag, equals, value = argument.partition("=")
    name = flag[2:].replace("-", "_")
    name = f"no-{name[3:]}" if name.startswith("no_") else name
    known = {item.name for item in setting_fields()} | {"config", "help", "down_ratio"}
    known |= {f"no-{item.name}" for item in setting_fields() if kind_of(item) is bool}
    if name not in known:
        raise SettingsError(f"unknown flag {flag}{_nearest(name, known, '--')}; python main.py --help lists all")
    return f"--{name}{equals}{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_value(text: str) -> bool:
    return not text.startswith("--")


def _nearest(name: str, known: set[str], dashes: str) -> str:
    if name in ELSEWHERE:
        return f"; here that is {', '.join(dashes + flag for flag in ELSEWHERE[name])}"
    begun = sorted(flag for flag in known if flag.startswith(name))  # as argparse takes abbreviations
    close = begun[:MOST_NEAREST] or difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; nearest: {', '.join(dashes + flag for flag in close)}" if close else ""


def _read_toml(path: Path) -> dict[str, object]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not TOML ({error})") from error
    known = {item.name: item for item in setting_fields()}
    settings = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name == "down_ratio":
            _DownRatio([], "")()
        if name not in known:
            raise SettingsError(f"{path}: unknown setting '{key}'{_nearest(name, set(known), '')}")
        settings[name] = converted(known[name], value, f"{path}: {key}")
    return settings
