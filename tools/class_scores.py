"""From which score on the boxes of a class count: that of its best F1, as an evaluation found it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.run_folder import METRICS
from tools.running.command_line import SettingsError
from tools.running.messages import warn


def scores_of(metrics: Mapping) -> dict[str, float]:
    """{class: score of its best F1}, of those that have one, in the metrics of an evaluation. Raises ValueError for one
    that is none."""
    found = {name: item["score_threshold"] for name, item in metrics["classes"].items()}
    scores = {name: float(score) for name, score in found.items() if score is not None}
    if not all(0 <= score <= 1 for score in scores.values()):
        raise ValueError("a score lies between 0 and 1")
    return scores


def read_scores(path: Path) -> dict[str, float]:
    """The same of metrics.json, or of the one in a run folder. Raises SettingsError for anything else."""
    path = path / METRICS if path.is_dir() else path
    try:
        return scores_of(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        remedy = "python main.py --phase eval writes it"
        raise SettingsError(f"--scores: {path}: cannot be read ({error.strerror or error}); {remedy}") from error
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise SettingsError(f"--scores: {path}: is no {METRICS} of an evaluation") from error


def least_scores(class_names: Sequence[str], scores: Mapping[str, float], fallback: float) -> list[float]:
    """The least score of each class; `fallback` of one that has none. Warns where none has."""
    if scores and not scores.keys() & set(class_names):
        warn(f"--scores tells of {', '.join(scores)}, and of none of the classes {', '.join(class_names)}")
    return [scores.get(name, fallback) for name in class_names]


def shown_scores(least: Sequence[float]) -> str:
    """One number, or from where to where they lie, for people."""
    low, high = min(least), max(least)
    return f"{low:g}" if low == high else f"{low:.3g} to {high:.3g}, by class,"
