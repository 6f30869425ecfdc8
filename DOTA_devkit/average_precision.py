"""Average precision: from what became of a class's detections, best first, to its curve and the area under it.

PASCAL VOC devkit (Everingham et al., IJCV 2010, section 4.2); the eleven points are those of VOC 2007.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Of the metric of VOC 2007, as published to the last bit: 0.3 here is 0.30000000000000004, which 3 of 10 miss.
RECALL_LEVELS = np.arange(0.0, 1.1, 0.1)


class Curve(NamedTuple):
    """A class at one overlap threshold.

    scores, recall, precision: (d,) one point for each detection that counts, best first; recall is NaN without truth.
    ap: area under the precision envelope; ap_07: mean of eleven points; both in [0, 1], None without truth.
    hit (d,) bool: which of them are hits; image (d,): the number of the picture that each is in, by sorted name.
    """

    scores: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    ap: float | None
    ap_07: float | None
    hit: np.ndarray
    image: np.ndarray


def curve_of(scores: np.ndarray, outcome: np.ndarray, image: np.ndarray, num_truths: int) -> Curve:
    """The curve of one class from its detections, best first.

    outcome (d,): 1 a hit, 0 a false alarm, -1 neither, which does not count; image (d,): the picture of each.
    num_truths: how many hits there could be.
    """
    counts = outcome >= 0
    hit, scores, image = outcome[counts] == 1, scores[counts], image[counts]
    precision = _precision(hit)
    if num_truths == 0:
        return Curve(scores, np.full(len(hit), np.nan), precision, None, None, hit, image)
    ap, ap_07 = average_precision(hit, num_truths), average_precision_07(hit, num_truths)
    return Curve(scores, np.cumsum(hit) / num_truths, precision, ap, ap_07, hit, image)


def average_precision(hit: np.ndarray, num_truths: int) -> float:
    """Area under the precision envelope, the metric of VOC 2010 and later.

    hit (d,) bool: which detections, best score first, are hits; num_truths, at least 1: how many hits there could be.
    """
    # The envelope is summed over the hits, each a step of 1 / num_truths: perfect detections give 1.0 to the last bit.
    envelope = np.maximum.accumulate(_precision(hit)[::-1])[::-1]
    return float(envelope[hit].sum() / num_truths)


def average_precision_07(hit: np.ndarray, num_truths: int) -> float:
    """Mean of the best precision at recall 0, 0.1 .. 1 or more, the metric of VOC 2007; arguments as above."""
    precision, recall = _precision(hit), np.cumsum(hit) / num_truths
    return sum(float(precision[recall >= level].max(initial=0.0)) for level in RECALL_LEVELS) / 11.0


def _precision(hit: np.ndarray) -> np.ndarray:
    """The share of hits among the first one, two .. d detections: (d,)."""
    return np.cumsum(hit) / np.arange(1, len(hit) + 1)
