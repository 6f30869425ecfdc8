"""The network that a training starts with, and where its weights come from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from datasets.picture_files.layouts import Reading
from models import CTRBOX, BackboneError, build_backbone
from tools.architecture import NETWORK_FLAGS, Architecture, check_flags
from tools.checkpoint import CheckpointError, architecture_of, build, load_weights, weights_of
from tools.config import Config
from tools.run_folder import weights_in
from tools.running.command_line import SettingsError
from tools.setting_rules import check_value_range
from tools.training.run_state import Stopped
from tools.training.weights import preprocessing_of, pretrained_backbone, start_from


def check_backbone(name: str) -> None:
    """Raises SettingsError for an unknown name, before any data are read."""
    try:
        with torch.device("meta"):
            build_backbone(name)
    except BackboneError:  # known, but not to be had here
        raise
    except ValueError as error:
        raise SettingsError(f"--backbone: {error}") from error


def network_of_run(stopped: Stopped, class_names: tuple[str, ...]) -> tuple[CTRBOX, Architecture, str]:
    """The network of a run that goes on, what it is, and a line that says where its weights come from. Raises
    CheckpointError for what is no such network, and where the data have other classes now."""
    path, state = stopped
    weights = weights_of(state, path)
    architecture = architecture_of(state, weights, path)
    if architecture.class_names != class_names:
        raise CheckpointError(
            f"the classes of the data have changed from {', '.join(architecture.class_names)} to "
            f"{', '.join(class_names)}; the run cannot go on, but --resume FILE can start from its weights"
        )
    network = build(architecture, path)
    load_weights(network, weights, path, architecture.backbone)
    return network, architecture, "weights: of the run"


def starting_network(
    config: Config, class_names: tuple[str, ...], input_hw: tuple[int, int], reading: Reading
) -> tuple[CTRBOX, Architecture, str]:
    """As `network_of_run`, of a new run on pictures that are read so: by --resume, or by --backbone and --pretrained.
    Raises SettingsError where a network of so many channels cannot read them so."""
    num_channels = reading.num_channels(config.in_channels)
    how: dict[str, Any] = {"allow_partial": config.allow_partial}
    if config.resume is not None:
        named = config.backbone if "backbone" in config.explicit else None
        how |= {
            "in_channels": num_channels,
            "bands": reading.bands,
            "keeps_hw": (config.input_h is None, config.input_w is None),
        }
        path = weights_in(config.resume)
        start = start_from(path, class_names, input_hw, named, **how)
        check_flags(config, start.architecture, path, NETWORK_FLAGS)
        return start.model, _with_reading(start.architecture, reading), f"weights: of {path}: {start.report}"
    num_channels = num_channels or 3
    backbone, line = pretrained_backbone(config.pretrained, config.backbone, in_channels=num_channels, **how)
    architecture = Architecture(
        config.backbone,
        config.head_norm,
        class_names,
        input_hw,
        preprocessing_of(config.pretrained).for_channels(num_channels),
        neck=config.neck,
        neck_width=config.neck_width or Architecture.neck_width,
        head_width=config.head_width,
    )
    return architecture.build(backbone), _with_reading(architecture, reading), line


def _with_reading(architecture: Architecture, reading: Reading) -> Architecture:
    """The same for pictures of this range of values and these bands; of none, for those that its weights were trained
    on."""
    if reading.bands is not None and len(reading.bands) != architecture.in_channels:
        raise SettingsError(
            f"--in_channels {architecture.in_channels}: the tiles were cut with --bands "
            f"{' '.join(map(str, reading.bands))}; leave --in_channels out"
        )
    check_value_range(reading.value_range, architecture.in_channels)
    chosen = {name: value for name, value in reading._asdict().items() if value is not None}
    return replace(architecture, preprocessing=replace(architecture.preprocessing, **chosen))
