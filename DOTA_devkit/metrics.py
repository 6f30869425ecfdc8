"""What an evaluation says in numbers: the metrics that files hold, and their table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from DOTA_devkit.average_precision import Curve
from DOTA_devkit.evaluation import IOU_THRESHOLDS, SIZE_BOUNDS, ClassEvaluation, Evaluation, Hits, SizeScore
from DOTA_devkit.exactness import exactness
from DOTA_devkit.text_table import aligned, num_columns, ruled
from DOTA_devkit.truths import HIT_IOU

FIT_KEYS = (
    *("fit_iou", "fit_center_px", "fit_center_px_95", "fit_angle_deg", "fit_angle_deg_95"),
    *("fit_length", "fit_width"),
)
SIZES = tuple(f"{low or 0}-{high or ''}" for low, high in pairwise((None, *SIZE_BOUNDS, None)))  # 0-16 .. 96-


def metrics_dict(evaluation: Evaluation) -> dict[str, Any]:
    """The numbers of metrics.json: fractions in [0, 1], unrounded; None where there is nothing to measure.

    Means are over the classes that have truth. precision, recall, f1 and score_threshold belong to the best F1 at
    overlap 0.5: what a user gets who keeps the detections of at least that score (`_best_f1`). Of the objects that
    these find, the `fit_` numbers tell how exact the boxes are (`exactness`): medians, and 95th percentiles of what is
    off. "sizes" has AP50 and number of the objects of each range of sizes (square roots of areas in pixels, "16-32");
    nothing where overlap 0.5 was not measured.
    """
    classes = {name: _class_metrics(item, evaluation.iou_thresholds) for name, item in evaluation.classes.items()}
    keys = {"mAP50": "AP50", "mAP75": "AP75", "mAP50_95": "AP50_95", "mAP50_07": "AP50_07"}
    means: dict[str, Any] = {top: _mean([row[key] for row in classes.values()]) for top, key in keys.items()}
    thresholds = map(_threshold_key, evaluation.iou_thresholds)
    means["mAP"] = {key: _mean([row["AP"][key] for row in classes.values()]) for key in thresholds}
    means["sizes"] = {
        size: {
            "mAP50": _mean([row["sizes"][size]["AP50"] for row in classes.values()]),
            "num_truths": sum(row["sizes"][size]["num_truths"] for row in classes.values()),
        }
        for size in (SIZES if all(item.by_size for item in evaluation.classes.values()) else ())
    }
    return means | {
        "num_images": evaluation.num_images,
        "num_missing": len(evaluation.missing),
        "num_unlisted": evaluation.num_unlisted,
        "num_truths": sum(item.num_truths for item in evaluation.classes.values()),
        "num_difficult": sum(item.num_difficult for item in evaluation.classes.values()),
        "num_detections": sum(item.num_detections for item in evaluation.classes.values()),
        "classes": classes,
    }


def format_report(metrics: Mapping[str, Any]) -> str:
    """What the terminal shows of `metrics_dict`: the table of AP, how exact the boxes are, and AP by size."""
    return "\n".join(filter(None, [format_table(metrics), format_exactness(metrics), format_sizes(metrics)]))


def format_table(metrics: Mapping[str, Any]) -> str:
    """A table for the terminal of what `metrics_dict` gives: a row a class and their mean.

    The overlaps are 0.5, 0.75 and the mean of the standard ten, or where these were not all measured, those that were;
    precision and recall are those at the score with the best F1, which stands beside them: a threshold to take in use.
    The intervals of `bootstrap.with_intervals` are shown where there are any.
    """
    classes: Mapping[str, Any] = metrics["classes"]
    if set(map(_threshold_key, IOU_THRESHOLDS)) <= set(metrics["mAP"]):
        titles, keys = ["AP50", "AP75", "AP50:95"], ("AP50", "AP75", "AP50_95")
        precisions = {name: [item[key] for key in keys] for name, item in classes.items()}
        tops = [metrics[f"m{key}"] for key in keys]
    else:
        titles = [f"AP{key.removeprefix('0.')}" for key in metrics["mAP"]]
        precisions = {name: list(item["AP"].values()) for name, item in classes.items()}
        tops = list(metrics["mAP"].values())
    if "mAP50_interval" in metrics:
        place = titles.index("AP50") + 1
        titles.insert(place, "AP50 95 %")
        tops.insert(place, metrics["mAP50_interval"])
        for name, item in classes.items():
            precisions[name].insert(place, item["AP50_interval"])
    at_best = ("precision", "recall", "score_threshold")
    rows = [["class", "truths", "detections", *titles, "precision", "recall", "at score"]]
    for name, item in classes.items():
        *numbers, threshold = [*precisions[name], *(item[key] for key in at_best)]
        # Rounded up, it might be above the weakest of what it is to keep.
        cells = map(_cell, [*numbers, None if threshold is None else math.floor(threshold * 1e4 + 1e-6) / 1e4])
        rows.append([name, str(item["num_truths"]), str(item["num_detections"]), *cells])
    tops += [_mean([item[key] for item in classes.values()]) for key in at_best[:2]]
    rows.append(["mean", str(metrics["num_truths"]), str(metrics["num_detections"]), *map(_cell, [*tops, None])])
    return ruled(rows)


def format_exactness(metrics: Mapping[str, Any]) -> str:
    """A table for the terminal of how exact the boxes are of each class that was found; "" where none was."""
    titles = ("found", "IoU", "centre off, px", "95 %", "angle off, deg", "95 %", "length x", "width x")
    rows = [["class", *titles]]
    for name, item in metrics["classes"].items():
        if item.get("fit_iou") is None:
            continue
        num = round(item["recall"] * item["num_truths"])
        digits = (3, 2, 2, 1, 1, 2, 2)
        rows.append([name, str(num), *(f"{item[key]:.{n}f}" for key, n in zip(FIT_KEYS, digits, strict=True))])
    if len(rows) == 1:
        return ""
    head, *lines = aligned(rows)
    what = "objects found at that score, and how exact their boxes are (medians; 95 %: of what is off, the percentile)"
    return "\n".join([what, head, "-" * num_columns(head), *lines])


def format_sizes(metrics: Mapping[str, Any]) -> str:
    """A table for the terminal of AP50 and number of the objects of each size; "" where all are of one."""
    sizes = [name for name, item in metrics["sizes"].items() if item["num_truths"]]
    if len(sizes) < 2:
        return ""
    low, high = ([name.split("-")[end] for name in sizes] for end in (0, 1))
    titles = [f"over {a}" if not b else f"{a} to {b}" for a, b in zip(low, high, strict=True)]
    rows = [["class", *(cell for title in titles for cell in (title, "truths"))]]
    of_classes = [(name, item["sizes"], "AP50") for name, item in metrics["classes"].items() if item["num_truths"]]
    for name, by_size, key in [*of_classes, ("mean", metrics["sizes"], "mAP50")]:
        cells = ((_cell(by_size[size][key]), str(by_size[size]["num_truths"])) for size in sizes)
        rows.append([name, *(cell for pair in cells for cell in pair)])
    return "AP50 by size of the objects (square root of the area, px)\n" + ruled(rows)


def _class_metrics(item: ClassEvaluation, thresholds: tuple[float, ...]) -> dict[str, Any]:
    by_threshold = dict(zip(map(_threshold_key, thresholds), item.curves, strict=True))
    at_50, at_75 = by_threshold.get(_threshold_key(HIT_IOU)), by_threshold.get("0.75")
    standard = [by_threshold.get(_threshold_key(threshold)) for threshold in IOU_THRESHOLDS]
    best = _best_f1(at_50 if item.num_truths else None, item.num_truths)
    return {
        "AP50": at_50.ap if at_50 else None,
        "AP75": at_75.ap if at_75 else None,
        "AP50_95": _mean([curve.ap for curve in standard]) if all(standard) else None,
        "AP50_07": at_50.ap_07 if at_50 else None,
        "AP": {key: curve.ap for key, curve in by_threshold.items()},
        **best,
        **_fit(item.hits, best["score_threshold"]),
        "sizes": _sizes(item.by_size),
        "num_truths": item.num_truths,
        "num_difficult": item.num_difficult,
        "num_detections": item.num_detections,
    }


def _best_f1(curve: Curve | None, num_truths: int) -> dict[str, float | None]:
    """Precision, recall and F1 at the score that gives the best F1; zeros when there is no hit, None without truth.

    F1 is the same from there down to just above the next lower score. The threshold is the middle between the two, as
    far as can be from what it parts: objects in other pictures score somewhat less than the weakest of these. Where
    nothing scores less, nobody knows what was cut off, and it is the score itself.
    """
    if curve is None:
        return dict.fromkeys(("precision", "recall", "f1", "score_threshold"))
    # A threshold cannot cut between equal scores: only the last point of each run of them can be had.
    ends = np.flatnonzero(np.diff(curve.scores, append=-np.inf))
    # Of whole numbers, so that what is equal is equal: of precision and recall the last bit would choose the score.
    precision, recall = curve.precision[ends], curve.recall[ends]
    f1 = 2.0 * np.cumsum(curve.hit)[ends] / (ends + 1 + num_truths)
    if not f1.any():
        return {"precision": 0.0, "recall": 0.0, "f1": 0.0, "score_threshold": None}
    k = int(f1.argmax())
    lowest, *lower = curve.scores[ends[k] : ends[k] + 2].tolist()
    middle = (lowest + lower[0]) / 2 if lower else lowest
    if lower and np.float32(middle) <= np.float32(lower[0]):  # scores are float32's, and there is none between the two
        middle = lowest
    return {"precision": float(precision[k]), "recall": float(recall[k]), "f1": float(f1[k]), "score_threshold": middle}


def _fit(hits: Hits | None, score_threshold: float | None) -> dict[str, float | None]:
    """How exact the boxes are that found an object with at least this score; None where none did."""
    if hits is None or score_threshold is None:
        return dict.fromkeys(FIT_KEYS)
    rows = hits.scores >= score_threshold
    fit = exactness(hits.found[rows], hits.truth[rows])
    columns = (hits.iou[rows], fit.center, fit.center, fit.angle, fit.angle, fit.length, fit.width)
    return {
        key: float(np.percentile(values, 95 if key.endswith("_95") else 50))
        for key, values in zip(FIT_KEYS, columns, strict=True)
    }


def _sizes(by_size: Sequence[SizeScore]) -> dict[str, dict[str, float | int | None]]:
    names = SIZES if by_size else ()
    return {
        name: {"AP50": score.ap, "num_truths": score.num_truths} for name, score in zip(names, by_size, strict=True)
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that there are, None when there is none."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def _threshold_key(threshold: float) -> str:
    """The threshold as a JSON key: two digits, more only where it has more."""
    return f"{threshold:.2f}" if round(threshold, 2) == threshold else repr(float(threshold))


def _cell(value: float | Sequence[float] | None) -> str:
    """A number, or an interval of two."""
    if value is None:
        return "n/a"
    return "-".join(f"{number:.4f}" for number in np.atleast_1d(value))
