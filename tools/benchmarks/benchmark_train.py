"""What a training step costs, by setting: time, data, memory, each as a multiple of plain fp32 NCHW in the same run.

Every setting has a process of its own (`tools/benchmark_trial`), and they take turns, one step (on a GPU ten) at a
time, so that whatever else the machine does meets them all alike.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from datasets.demo import CLASS_NAMES, SCENE_SIZE, draw_scene
from DOTA_devkit.atomic import write_lines, write_text
from DOTA_devkit.labels import write_labels
from models import ALIASES, known_backbones, timm_name
from tools.benchmarks.benchmark_table import format_table
from tools.benchmarks.benchmark_trial import Job, Outcome, Setting, loaded_batches, serve
from tools.device import pick_device
from tools.running.command_line import SettingsError
from tools.running.progress import progress_bar

BASE = "plain"
SETTINGS = {
    BASE: Setting("fp32 NCHW", "published", "fp32", is_plain=True, tf32=False, layout=torch.contiguous_format),
    "tf32": Setting("tf32 NCHW", "published", "fp32", is_plain=True, tf32=True, layout=torch.contiguous_format),
    "channels_last": Setting("fp32 channels_last", "published", "fp32", tf32=False, layout=torch.channels_last),
    "bf16": Setting("bf16 channels_last", "published", "bf16"),
    "auto": Setting("as --phase train does here", "default", "auto"),
    "sparse": Setting("bf16 channels_last sparse heads", "default", "bf16"),
    "compile": Setting("bf16 channels_last sparse heads compile", "default", "bf16", compile=True),
}
NOTE = "x: of fp32 NCHW. data: loading a batch, one process. wait: share of the time the step waits for the loader."
DRAWN = 32  # different pictures


def run(options: argparse.Namespace) -> None:
    """Measure as the flags of `python -m tools.benchmark train` say."""
    benchmark_train(job_from(options), [*options.settings, *(["compile"] if options.compile else [])], options.json)


def job_from(options: argparse.Namespace) -> Job:
    """What the flags ask for. Raises SettingsError for one out of range."""
    if options.quick:
        options = argparse.Namespace(**{**vars(options), "size": 64, "batch_size": 2, "rounds": 2, "num_workers": 0})
    if options.backbone not in known_backbones() and timm_name(options.backbone) is None:
        known = ", ".join([*known_backbones(), *ALIASES])
        raise SettingsError(f"--backbone is '{options.backbone}'; it can be {known} or timm/<name>")
    return Job(
        options.backbone, options.size, options.batch_size, options.rounds, options.num_workers, options.device, Path()
    )


def benchmark_train(job: Job, names: Sequence[str], json_path: Path | None = None) -> dict[str, dict[str, Any]]:
    """Measure the named SETTINGS beside the plain one and print a line each; `job.folder` is not looked at.

    Returns the numbers by the settings' names, which go into the JSON file as well.
    """
    device = pick_device(job.device)
    is_cuda = device.type == "cuda"
    chosen = [name for name in SETTINGS if name == BASE or (name in names and (is_cuda or name != "tf32"))]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, ExitStack() as stack:
        job = replace(job, folder=Path(folder))
        draw_data(job.folder / "data", loaded_batches(job, is_cuda) * job.batch_size, job.size)
        trials = {SETTINGS[name].name: stack.enter_context(TrialProcess(SETTINGS[name], job)) for name in chosen}
        rows = _measure(trials, job.rounds)
    where = torch.cuda.get_device_name(device) if is_cuda else f"cpu, {torch.get_num_threads()} threads"
    title = f"training step, {job.backbone}, batch {job.batch_size}, {job.size} x {job.size}, {where}"
    print("\n".join([f"{title}, {job.rounds} rounds in turns", *format_table(rows, COLUMNS), NOTE]))
    if json_path is not None:
        what = {"backbone": job.backbone, "size": job.size, "batch_size": job.batch_size, "where": where}
        write_text(json_path, json.dumps({**what, "rounds": job.rounds, "settings": rows}, indent=2) + "\n")
    return rows


class TrialProcess:
    """The process of a setting, started at once; a context in which it can be asked."""

    def __init__(self, setting: Setting, job: Job) -> None:
        self.name = setting.name
        context = multiprocessing.get_context("spawn")  # nothing of this process's memory counts as its own
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, setting, job))
        self._process.start()
        theirs.close()

    def __enter__(self) -> TrialProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with suppress(OSError):
            self._connection.send(None)
        if kind is not None:  # Ctrl-C, or another setting failed: not to wait for the end of a step
            self._process.terminate()
        self._connection.close()
        self._process.join()

    def answer(self) -> Any:
        """What the process has to say next. Raises what was raised there, ChildProcessError when it has died."""
        try:
            said = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            remedy = "the machine may have run out of memory; try a smaller --batch_size"
            raise ChildProcessError(f"the process that measures '{self.name}' died; {remedy}") from error
        if isinstance(said, Exception):
            raise said
        return said

    def ask(self, name: str) -> Any:
        """What this method of the `Trial` returns."""
        with suppress(OSError):  # it has died; `answer` says so
            self._connection.send(name)
        return self.answer()


def draw_data(data_dir: Path, count: int, side: int) -> None:
    """Write a data folder of `count` training pictures and one to validate: scenes of the demo set, resized to `side`
    pixels, JPEG as most data sets are. There are DRAWN different ones, under many names."""
    images, labels = data_dir / "images", data_dir / "labelTxt"
    images.mkdir(parents=True)
    labels.mkdir()
    write_lines(data_dir / "classes.txt", CLASS_NAMES)
    names = [f"p{number:06d}" for number in range(count + 1)]
    for number, name in enumerate(names):
        picture, objects = images / f"{name}.jpg", labels / f"{name}.txt"
        if number >= DRAWN:
            for path in (picture, objects):
                _copy(path.with_stem(names[number % DRAWN]), path)
            continue
        scene, quads, classes, difficult = draw_scene(np.random.default_rng(number))
        scene = cv2.resize(scene, (side, side), interpolation=cv2.INTER_LINEAR)
        picture.write_bytes(cv2.imencode(".jpg", scene)[1].tobytes())
        write_labels(objects, quads * (side / SCENE_SIZE), [CLASS_NAMES[label] for label in classes], difficult)
    for split, listed in (("train", names[:-1]), ("val", names[-1:])):
        write_lines(data_dir / f"{split}.txt", listed)


def _copy(source: Path, path: Path) -> None:
    try:
        path.hardlink_to(source)
    except OSError:  # a file system without links
        shutil.copyfile(source, path)


def _measure(trials: Mapping[str, TrialProcess], rounds: int) -> dict[str, dict[str, Any]]:
    for trial in trials.values():  # they get ready side by side
        trial.answer()
    for trial in trials.values():
        trial.ask("load")
    times: dict[str, list[float]] = {name: [] for name in trials}
    for number in progress_bar(range(rounds + 1), desc="rounds", unit="round"):
        for name, trial in trials.items():
            taken = trial.ask("take_turn")
            times[name] += taken if number else []  # the first one warms up
    outcomes = {name: trial.ask("finish") for name, trial in trials.items()}
    base = SETTINGS[BASE].name
    return {name: _numbers(times[name], times[base], outcomes[name], outcomes[base]) for name in trials}


def _numbers(times: Sequence[float], base_times: Sequence[float], outcome: Outcome, base: Outcome) -> dict[str, Any]:
    return {
        "step_ms": min(times),
        "step_ms_median": statistics.median(times),
        "step_x": min(times) / min(base_times),
        **outcome._asdict(),
        "peak_x": outcome.peak_mib / base.peak_mib,
        "above_start_mib": outcome.peak_mib - outcome.start_mib,
        "above_start_x": (outcome.peak_mib - outcome.start_mib) / (base.peak_mib - base.start_mib),
    }


COLUMNS = {  # heading: what of a row, how
    "step ms": ("step_ms", "9.1f"),
    "median": ("step_ms_median", "9.1f"),
    "x": ("step_x", "6.2f"),
    "images/s": ("images_s", "9.1f"),
    "data ms": ("data_ms", "8.1f"),
    "wait": ("wait_share", "6.1%"),
    "peak MiB": ("peak_mib", "9.0f"),
    "x ": ("peak_x", "6.2f"),
    "at start": ("start_mib", "9.0f"),
    "above": ("above_start_mib", "8.0f"),
    "x  ": ("above_start_x", "6.2f"),
    "GPU busy": ("utilisation", "9.0%"),
}
