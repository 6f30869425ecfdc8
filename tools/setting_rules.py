"""What settings may be: the range of each, and which do not go together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from DOTA_devkit.names import is_text
from DOTA_devkit.value_ranges import are_ranges
from tools.running.command_line import SettingsError

if TYPE_CHECKING:
    from tools.config import Config

MOST_LINE_WIDTH = 1000  # pixels
OVERLAP = 100  # of tiles, pixels, where nothing else is said
GOES_WITH_TILE = "goes with --tile; without tiles a picture is made to fit the input"
LEAST_TILE, LEAST_SCALE = 32, 0.01  # pixels; what is smaller yet are no pictures any more
MOST_SEED = 2**63 - 1  # that torch takes
MAY_BE_INFINITE = ("clip_norm", "save_every")  # which then have no effect
MOST_COLOUR = 3  # beyond, the contrast of --augment_colour can turn round


def check_settings(config: Config) -> None:
    """Raises SettingsError, naming the flag, for a value out of range and for settings that contradict each other."""
    for item in fields(config):
        _check_value(item, getattr(config, item.name))
    _check_sizes(config)
    _check_training(config)
    _check_sources(config)


def check_scales(scales: Sequence[float]) -> None:
    """Raises SettingsError unless these are scales that pictures can be cut at."""
    if not scales or not all(LEAST_SCALE <= scale < math.inf for scale in scales):
        raise SettingsError(f"--scales is {scales}; each must be at least {LEAST_SCALE} and finite")


def check_value_range(values: Sequence[float] | None, num_channels: int | None = None) -> None:
    """Raises SettingsError for anything but None, or the value of black and a larger one of white, or such a pair for
    each channel, whose number may be known."""
    if values is not None and not are_ranges(values, num_channels):
        each = f", or {num_channels} such pairs, one for each band" if num_channels not in (None, 1) else ""
        said = " ".join(f"{value:g}" for value in values)
        raise SettingsError(f"--value_range {said}: give the value of black and a larger one of white{each}")


def check_bands(bands: Sequence[int] | None, in_channels: int | None = None) -> None:
    """Raises SettingsError for anything but None, or numbers from 1 on, as many as a network reads channels."""
    if bands is None:
        return
    said = f"--bands {' '.join(map(str, bands))}"
    if len(bands) in (0, 2) or min(bands) < 1:
        remedy = f"such as {bands[0]} {bands[0]} {bands[1]}" if len(bands) == 2 else "red, green and blue first"
        raise SettingsError(f"{said}: give the numbers of one band, or of three and more, from 1 on; {remedy}")
    if in_channels not in (None, len(bands)):
        raise SettingsError(f"{said} with --in_channels {in_channels}: give as many bands, or leave --in_channels out")


def check_reading(bands: Sequence[int] | None, value_range: Sequence[float] | None) -> None:
    """Raises SettingsError for --bands and --value_range of pictures that are shown in colours, or as they say."""
    check_bands(bands)
    check_value_range(value_range, len(bands or ()) or 3)


def _check_value(item: Field, value: object) -> None:
    """Raises SettingsError for a value that is none of the choices, or out of the setting's own range."""
    choices, least, most = (item.metadata.get(key) for key in ("choices", "least", "most"))
    if choices and value not in choices:
        raise SettingsError(f"--{item.name} is '{value}'; it can be {', '.join(map(str, choices))}")
    if isinstance(value, str | Path) and not is_text(str(value)):
        raise SettingsError(f"--{item.name} {str(value)!r} is not UTF-8 text, which a run's files hold; rename it")
    if value is None or least is None:
        return
    if value == math.inf and most is None and item.name not in MAY_BE_INFINITE:
        raise SettingsError(f"--{item.name} is {value}; it must be finite")
    if least <= value <= (math.inf if most is None else most):
        return
    if most is not None:
        raise SettingsError(f"--{item.name} is {value}; it must lie between {least} and {most}")
    raise SettingsError(f"--{item.name} is {value}; it must be at least {least}")


def _check_sizes(config: Config) -> None:
    """Of inputs, windows, tiles and scales."""
    if (config.window_h is None) != (config.window_w is None):
        raise SettingsError("--window_h and --window_w go together; give both or none")
    for name in ("input_h", "input_w", "window_h", "window_w"):
        side = getattr(config, name)
        if side is not None and side % 32:
            raise SettingsError(f"--{name} is {side}; it must be a multiple of 32, such as {-(-side // 32) * 32}")
    for kind in ("input", "window"):
        if config.phase == "train" and getattr(config, f"{kind}_h") == getattr(config, f"{kind}_w") == 32:
            # C4 would have one cell, and a batch norm cannot learn from one value, which a batch of one picture has.
            raise SettingsError(
                f"--{kind}_h and --{kind}_w are 32 both, too small to train on; one must be at least 64"
            )
    if config.tile is not None and not 0 <= config.overlap < config.tile:
        raise SettingsError(f"--overlap is {config.overlap}; it must be at least 0 and below --tile {config.tile}")
    if config.phase == "train" and config.tile is not None and "tile" in config.explicit:
        raise SettingsError(
            "--tile is for --phase test and eval; to train on tiles, cut them first: python -m tools.split_tiles"
        )
    check_scales(config.scales)
    if config.tile is None and config.phase != "train" and "scales" in config.explicit and config.scales != (1.0,):
        raise SettingsError(f"--scales {GOES_WITH_TILE}")


def _check_training(config: Config) -> None:
    """Of training, and of what it settles for good."""
    if len(config.augment_scale) != 2 or not 0 < config.augment_scale[0] <= config.augment_scale[1] < math.inf:
        raise SettingsError(f"--augment_scale is {config.augment_scale}; give the smallest and the largest factor")
    if not config.augment_colour <= MOST_COLOUR:
        raise SettingsError(f"--augment_colour is {config.augment_colour}; beyond {MOST_COLOUR} pictures are inverted")
    if config.classes is not None and not 0 < len(set(config.classes)) == len(config.classes):
        raise SettingsError(f"--classes {' '.join(config.classes)}: give one name or more, each once")
    if config.freeze > 5:
        raise SettingsError(f"--freeze is {config.freeze}; a backbone has 5 stages, the stem and four more")
    is_new = config.phase == "train" and config.resume is None and config.resume_train is None
    if is_new and config.neck_width is not None and config.neck != "fpn":
        raise SettingsError(f"--neck_width is for --neck fpn; --neck {config.neck} has the backbone's own channels")
    if 0 < config.batch_size < config.accumulate:
        raise SettingsError(
            f"--accumulate is {config.accumulate}; a batch of {config.batch_size} pictures has at most as many parts"
        )
    if config.sync_norm and config.accumulate > 1:
        raise SettingsError("--sync_norm with --accumulate: the processes would wait for one another; give one of them")
    if not 0 <= config.ema < 1:
        raise SettingsError(f"--ema is {config.ema}; it must be at least 0 and below 1")
    if not 0 < config.init_lr < math.inf:
        raise SettingsError(f"--init_lr is {config.init_lr}; it must be above 0 and finite")
    if config.in_channels not in (None, 1, 3, 4) and config.bands is None and config.phase == "train":
        remedy = "of two or more than four name them with --bands (tiles know theirs: leave both out)"
        raise SettingsError(f"--in_channels is {config.in_channels}; it can be 1, 3 or 4; {remedy}")
    check_bands(config.bands, config.in_channels)
    check_value_range(config.value_range, config.in_channels or len(config.bands or ()) or None)
    if not 0 < config.backbone_lr_scale < math.inf:
        raise SettingsError(
            f"--backbone_lr_scale is {config.backbone_lr_scale}; it must be above 0 and finite (--freeze 5 trains "
            "nothing of the backbone)"
        )


def _check_sources(config: Config) -> None:
    """Of pictures, data and weights."""
    if config.input is not None and config.phase != "test":
        raise SettingsError(f"--input is for --phase test; --phase {config.phase} takes its pictures from --data_dir")
    if config.resume_train is not None and config.phase != "train" and config.resume is None:
        raise SettingsError(f"--resume_train goes on with a training; --phase {config.phase} takes a run by --resume")
    if config.dataset == "demo" and config.data_dir is not None and "data_dir" in config.explicit:
        raise SettingsError(
            "--dataset demo draws its own data; leave --data_dir out, or name the format of that folder"
        )
    if config.resume is not None and config.resume_train is not None:
        raise SettingsError("--resume starts from weights, --resume_train continues a run; give one of them")
