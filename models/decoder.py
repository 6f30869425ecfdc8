"""The decoder: the network's maps -> the best oriented boxes of each image, any batch size, exportable."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from DOTA_devkit.boxes import free_quads, horizontal_quads, rectangle_quads
from models.ctrbox import CTRBOX, Maps
from models.peak_heads import PeakMaps

THETA_THRESHOLD = 0.8  # probability from which on the published decoder calls a box rotated


class Detections(NamedTuple):
    """The K best boxes of each image, best first. Slots without a peak have score 0 and all else 0 as well."""

    quads: Tensor  # (B, K, 4, 2) input pixels, x then y
    scores: Tensor  # (B, K) in [0, 1]
    labels: Tensor  # (B, K) int64, the class


def decode(
    maps: Maps | PeakMaps, num_peaks: int = 500, true_rectangles: bool = True, theta_threshold: float = THETA_THRESHOLD
) -> Detections:
    """Turn the maps into boxes (Yi et al., WACV 2021, section 3.4).

    Args:
        maps: the network's output, or that of a `PeakNetwork`.
        num_peaks: K, the most boxes of an image over all classes; fewer where the heat maps have fewer cells.
        true_rectangles: make the rotated boxes rectangles; otherwise sums of the four free vectors, as published.
        theta_threshold: a box is rotated above this probability, otherwise it is the horizontal one.
    """
    height, width = maps.hm.shape[-2:]
    # Peaks are sought among logits, which tell apart what the sigmoid rounds to 1.
    peaks = _peaks(maps.hm.float()).flatten(1)
    best, place = peaks.topk(min(num_peaks, peaks.shape[1]))
    found = best > -torch.inf
    labels, cell = place // (height * width), place % (height * width)
    corner = torch.stack((cell % width, cell // width), dim=-1)

    if isinstance(maps, PeakMaps):
        wh, reg, cls_theta = maps.in_cells(cell)
    else:
        wh, reg, cls_theta = (_at_cells(values, cell) for values in (maps.wh, maps.reg, maps.cls_theta))
    center = corner + reg
    rotated = cls_theta.sigmoid() > theta_threshold  # (B, K, 1)
    vectors = wh[..., :8].unflatten(-1, (4, 2))
    rotated_quads = (rectangle_quads if true_rectangles else free_quads)(center, vectors, xp=torch)
    outer_quads = horizontal_quads(center, wh[..., 8:].clamp(min=0), xp=torch)
    quads = torch.where(rotated[..., None], rotated_quads, outer_quads) * CTRBOX.down_ratio
    return Detections(
        quads=torch.where(found[..., None, None], quads, 0.0),
        scores=best.sigmoid(),
        labels=torch.where(found, labels, 0),
    )


def _peaks(heatmap: Tensor) -> Tensor:
    """Keep the 3x3 maxima of (B, C, h, w); every other cell becomes minus infinity.

    Of equal neighbours only the first in reading order is a maximum. The published test, equal to the maximum of the
    neighbourhood, makes every cell of a plateau a detection: duplicates, up to a map full of them.
    """
    lowest = -torch.inf
    padded = functional.pad(heatmap, (1, 1, 1, 1), value=lowest)
    # Slices and not max_pool2d, which takes several times as long on a CPU: the highest of three neighbours in a row.
    rows = torch.maximum(torch.maximum(padded[..., :-2], padded[..., 1:-1]), padded[..., 2:])
    is_above_earlier = (heatmap > rows[..., :-2, :]) & (heatmap > padded[..., 1:-1, :-2])
    is_peak = is_above_earlier & (heatmap >= rows[..., 2:, :]) & (heatmap >= padded[..., 1:-1, 2:])
    return torch.where(is_peak, heatmap, lowest)


def _at_cells(values: Tensor, cell: Tensor) -> Tensor:
    """Return what the map (B, D, h, w) says in the cells (B, K), numbered row by row: (B, K, D) float32."""
    index = cell[:, None, :].expand(-1, values.shape[1], -1)
    return values.flatten(2).gather(2, index).transpose(1, 2).float()
