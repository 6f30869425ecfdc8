"""Phase test: detect on a split or on any pictures; result files and pictures with boxes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from tools.config import Config
from tools.data import check_tiles, open_data, split_of
from tools.detection.detection_run import run_detector
from tools.detection.input_pictures import input_pictures, named_from_anywhere, refuse_pictures
from tools.detection.loaded_run import LoadedRun, load_run
from tools.detection.picture_results import STOPPED
from tools.engine import Engine
from tools.run_lists import warn_of_known_pictures
from tools.running.stop_request import StopRequest


def run(config: Config) -> int:
    """Detect by the settings; returns the exit code."""
    loaded = load_run(config)
    images, source = pictures_of(loaded)
    if config.input is not None:
        refuse_pictures(loaded.run_dir, images.values(), "--out")
    engine = Engine(config.device)
    try:
        with StopRequest() as stop:
            num_problems = run_detector(loaded, engine, images, source, stop)
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        return stop.exit_code
    engine.close()  # not after an error: to leave the group takes all processes, and the others wait elsewhere
    return int(num_problems > 0)


def pictures_of(loaded: LoadedRun) -> tuple[Mapping[str, Path], str]:
    """The pictures to detect on, by name, and where they come from: --input, else the validation split of the run."""
    config = loaded.config
    if config.input is None:
        data = open_data(config, loaded.checkpoint.parent)
        check_tiles(loaded.architecture.reading, data, f"what {loaded.checkpoint} reads")
        split = split_of(config, data, "val")
        warn_of_known_pictures(split, data.run_dir, data.data_dir)
        return {name: data.images[name] for name in split.names}, split.source
    return input_pictures(config.input, f"--input {config.input}"), named_from_anywhere(config.input)
