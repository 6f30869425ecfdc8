"""Bootstrap intervals of AP50: how far the number would move with other pictures of the same kind.

The percentile interval (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13): the scored pictures
are drawn with replacement, as many as there are, AP50 is computed anew for each draw, and the interval reaches from
the 2.5 % to the 97.5 % percentile of these values. Pictures are drawn, not objects: those of one picture are not
independent. What a detection hits is settled within its picture, so that nothing is matched again: a draw is a weight
for each picture, and a detection counts as often as its picture was drawn.

The intervals tell what the choice of pictures does, not what another training with another seed would do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from DOTA_devkit.average_precision import RECALL_LEVELS, Curve
from DOTA_devkit.evaluation import Evaluation
from DOTA_devkit.truths import HIT_IOU

Interval = tuple[float, float]
LEAST_PICTURES = 2


class Intervals(NamedTuple):
    """From the lowest to the highest likely value (of differences in [-1, 1], else in [0, 1]); None where fewer than
    `LEAST_PICTURES` have truth: of one picture every draw is the same, which says nothing of others.

    classes: of the AP50 of each class by name; mean: of mAP50.
    """

    classes: dict[str, Interval | None]
    mean: Interval | None


def ap50_intervals(
    evaluation: Evaluation,
    num_resamples: int,
    rng: np.random.Generator,
    metric: Literal["area", "07"] = "area",
    confidence: float = 0.95,
) -> Intervals:
    """The percentile intervals of the AP50 of each class and of their mean, over `num_resamples` draws of pictures.

    A class without truth in the pictures drawn has no value in that draw and stays out of its mean. The draws depend
    on nothing but `rng` and the number of pictures: two detectors scored on the same pictures get the same ones.
    Raises ValueError if overlap 0.5 was not measured, or there is no draw.
    """
    _check_draws(num_resamples)
    values = weighted_ap50(evaluation, draw_pictures(evaluation.num_images, num_resamples, rng), metric)
    return _intervals(evaluation, values, confidence)


def ap50_differences(
    one: Evaluation,
    other: Evaluation,
    num_resamples: int,
    rng: np.random.Generator,
    metric: Literal["area", "07"] = "area",
    confidence: float = 0.95,
) -> Intervals:
    """The percentile intervals of how much higher the AP50 of `other` is than that of `one`, by class and of the mean,
    over draws of the pictures that both were scored on: in each draw the same for both, so that what makes a draw
    hard for both does not widen them.

    Raises ValueError for evaluations of other pictures or classes, and as `ap50_intervals`.
    """
    _check_draws(num_resamples)
    truths = ({name: item.image_truths.tolist() for name, item in scored.classes.items()} for scored in (one, other))
    if one.num_images != other.num_images or len({str(entry) for entry in truths}) > 1:
        raise ValueError("the two were not scored on the same pictures and classes")
    draws = list(draw_pictures(one.num_images, num_resamples, rng))
    first, second = (weighted_ap50(scored, draws, metric) for scored in (one, other))
    return _intervals(one, second - first, confidence)


def with_intervals(metrics: Mapping[str, Any], intervals: Intervals) -> dict[str, Any]:
    """What `metrics_dict` gives, with AP50_interval in each class and mAP50_interval: [low, high] or None."""
    classes = {
        name: item | {"AP50_interval": _as_list(intervals.classes[name])} for name, item in metrics["classes"].items()
    }
    return {**metrics, "mAP50_interval": _as_list(intervals.mean), "classes": classes}


def draw_pictures(num_images: int, num_resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each picture (num_images,) is among as many drawn with replacement, draw by draw."""
    for _ in range(num_resamples):
        yield np.bincount(rng.integers(max(num_images, 1), size=num_images), minlength=num_images)


def weighted_ap50(
    evaluation: Evaluation, weights: Iterable[np.ndarray], metric: Literal["area", "07"] = "area"
) -> np.ndarray:
    """AP50 (R, C) of each class as if picture k, by sorted name, were there weights[r][k] times: integers >= 0.

    NaN where no truth is left. The copies of a detection follow one another. Raises ValueError if overlap 0.5 was not
    measured.
    """
    if HIT_IOU not in evaluation.iou_thresholds:
        raise ValueError(f"AP50 needs overlap {HIT_IOU} among the thresholds, got {evaluation.iou_thresholds}")
    place = evaluation.iou_thresholds.index(HIT_IOU)
    classes = [(item.curves[place], item.image_truths) for item in evaluation.classes.values()]
    hits = [np.flatnonzero(curve.hit) for curve, _ in classes]
    rows = [
        [_weighted(curve, hit, truths, weight, metric) for (curve, truths), hit in zip(classes, hits, strict=True)]
        for weight in weights
    ]
    return np.array(rows, dtype=float).reshape(len(rows), len(classes))


def _weighted(curve: Curve, hits: np.ndarray, image_truths: np.ndarray, weight: np.ndarray, metric: str) -> float:
    """The AP of one class, from the points of its hits (h,) alone: between two of them precision only falls.

    Along the copies of a hit it only rises, so that the last copy's stands for all of them in the envelope.
    """
    num_truths = int(weight @ image_truths)
    if num_truths == 0:
        return np.nan
    times = weight[curve.image]
    num_found = np.cumsum(times)[hits]
    times = times[hits]
    num_hits = np.cumsum(times)
    precision = num_hits / np.maximum(num_found, 1)  # 0 of 0 before the first detection that was drawn
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if metric == "area":
        return float((times * envelope).sum() / num_truths)
    first = np.searchsorted(num_hits / num_truths, RECALL_LEVELS)
    return float(np.append(envelope, 0.0)[first].sum() / len(RECALL_LEVELS))


def _check_draws(num_resamples: int) -> None:
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")


def _intervals(scored: Evaluation, values: np.ndarray, confidence: float) -> Intervals:
    """Of values (R, C) in R draws, NaN where a class has no truth in the draw."""
    with_truth = np.array([item.image_truths > 0 for item in scored.classes.values()]).reshape(
        values.shape[1], scored.num_images
    )
    enough = with_truth.sum(axis=1) >= LEAST_PICTURES
    has_value = np.isfinite(values)
    means = np.where(has_value, values, 0.0).sum(axis=1) / np.maximum(has_value.sum(axis=1), 1)
    intervals = (
        _interval(column, confidence) if is_enough else None for column, is_enough in zip(values.T, enough, strict=True)
    )
    is_enough = with_truth.any(axis=0).sum() >= LEAST_PICTURES
    return Intervals(
        classes=dict(zip(scored.classes, intervals, strict=True)),
        mean=_interval(means[has_value.any(axis=1)], confidence) if is_enough else None,
    )


def _interval(values: np.ndarray, confidence: float) -> Interval | None:
    """The middle `confidence` of the values that there are."""
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    outside = 50.0 * (1.0 - confidence)
    low, high = np.percentile(values, [outside, 100.0 - outside])
    return float(low), float(high)


def _as_list(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)
