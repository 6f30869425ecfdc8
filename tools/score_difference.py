"""How much better one set of results is than another on the same pictures, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from DOTA_devkit.bootstrap import ap50_differences
from DOTA_devkit.evaluation import Evaluation
from DOTA_devkit.text_table import ruled


def score_difference(
    here: Evaluation,
    there: Evaluation,
    num_resamples: int,
    rng: np.random.Generator,
    metric: Literal["area", "07"] = "area",
) -> dict[str, Any]:
    """AP50 of both, by class and in the mean, by how much it is higher `here`, and between which differences 95 % of
    the draws of pictures lie: `AP50`, `AP50_there`, `difference`, `interval`, None where there is no truth. Raises
    ValueError as `ap50_differences`."""
    intervals = ap50_differences(there, here, num_resamples, rng, metric)
    classes = {
        name: _row(*(_ap50(scored, name, metric) for scored in (here, there)), intervals.classes[name])
        for name in here.classes
    }
    known = [row for row in classes.values() if row["AP50"] is not None]
    means = (float(np.mean([row[key] for row in known])) if known else None for key in ("AP50", "AP50_there"))
    return _row(*means, intervals.mean) | {"classes": classes}


def format_difference(found: Mapping[str, Any]) -> str:
    """A table for the terminal; a star marks differences whose interval leaves out 0."""
    rows = [["class", "AP50", "there", "difference", "95 %", ""]]
    for name, item in {**found["classes"], "mean": found}.items():
        if item["AP50"] is None:
            rows.append([name, *["n/a"] * 4, ""])
            continue
        numbers = [f"{item['AP50']:.4f}", f"{item['AP50_there']:.4f}", f"{item['difference']:+.4f}"]
        if item["interval"] is None:  # too few pictures
            rows.append([name, *numbers, "n/a", ""])
            continue
        low, high = item["interval"]
        rows.append([name, *numbers, f"{low:+.4f} to {high:+.4f}", "*" if low > 0 or high < 0 else ""])
    return ruled(rows)


def _ap50(scored: Evaluation, name: str, metric: str) -> float | None:
    curve = scored.classes[name].curves[scored.iou_thresholds.index(0.5)]
    return curve.ap_07 if metric == "07" else curve.ap


def _row(here: float | None, there: float | None, interval: tuple[float, float] | None) -> dict[str, Any]:
    difference = None if here is None or there is None else here - there
    return {
        "AP50": here,
        "AP50_there": there,
        "difference": difference,
        "interval": None if interval is None else list(interval),
    }
