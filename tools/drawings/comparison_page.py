"""A page of pictures: truth at the left, predictions at the right, and which of them agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from DOTA_devkit.pairing import pair
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.truths import HIT_IOU, ImageTruth
from tools.drawing import (
    GREY,
    PAPER,
    WHITE,
    Color,
    LegendEntry,
    class_color,
    class_text,
    draw_legend,
    draw_quad,
    label_quad,
)
from tools.drawings.lettering import draw_text, drawable
from tools.running.messages import counted

MOST_PICTURES = 8
PAGE_WIDTH, CELL_HEIGHT, LEAST_CELL_WIDTH, GAP = 1600, 640, 520, 8  # pixels; a cell is one of the two halves of a row
LARGEST_ZOOM = 3.0
LINE_HEIGHT = 26
SHOWN_CLASSES = 24
MISSED_COLOR, FALSE_COLOR = (80, 80, 255), (60, 170, 255)
TEXT_SCALE = 0.45


class PageItem(NamedTuple):
    """A row of the page: the picture's name, the picture (H, W, 3) uint8 BGR, its truth and what was found in it."""

    name: str
    picture: np.ndarray
    truth: ImageTruth
    found: ImageDetections


class Matches(NamedTuple):
    """What agrees in a picture.

    of_truth (n,): 1 found, 0 missed, -1 does not count (difficult, or an ignore region).
    of_found (d,): 1 right, 0 false, -1 does not count (on a difficult object, or mostly in an ignore region).
    truth_of (d,): the number of the object that it is of, -1 for none.
    """

    of_truth: np.ndarray
    of_found: np.ndarray
    truth_of: np.ndarray


def draw_page(
    items: Sequence[PageItem],
    class_names: Sequence[str],
    *,
    min_score: float = 0.3,
    title: str = "",
    page_width: int = PAGE_WIDTH,
    ignore_overlap: float = 0.5,
) -> np.ndarray:
    """The first eight items as a page (h, w, 3) uint8 BGR, w up to `page_width`, a picture a row: the truth at the
    left, at the right what was found with a score of at least `min_score`. A colour a class; solid lines have a
    counterpart on the other side, dashed ones have none: an object missed (red dot) or a false alarm (orange dot).
    A false alarm of which more than `ignore_overlap` lies in an ignore region does not count."""
    items = items[:MOST_PICTURES]
    most = (page_width - 3 * GAP) // 2
    scales = [_scale(item.picture, most) for item in items]
    widths = [round(item.picture.shape[1] * scale) for item, scale in zip(items, scales, strict=True)]
    cell_width = min(most, max([LEAST_CELL_WIDTH, *widths]))
    rows, seen = [], set()
    for number, (item, scale) in enumerate(zip(items, scales, strict=True), start=1):
        found = item.found.at(np.flatnonzero(item.found.scores >= min_score))
        seen |= set(item.truth.labels.tolist()) | set(found.labels.tolist())
        name = drawable(item.name, f"picture {number}, {item.name.encode('ascii', 'replace').decode()}")
        rows.append(_draw_row(name, item._replace(found=found), scale, cell_width, ignore_overlap))
    head = draw_legend(_legend(class_names, sorted(seen - {-1}), min_score, title), 2 * cell_width + 3 * GAP)
    return np.concatenate([head, *rows])


def match(truth: ImageTruth, found: ImageDetections, ignore_overlap: float = 0.5) -> Matches:
    """What agrees, as `pair` pairs what was found with the objects of its class."""
    pairing = pair(found, truth, HIT_IOU, ignore_overlap)
    counts = ~truth.ignored & (truth.difficult == 0)
    is_paired = pairing.truth_of >= 0
    of_found = np.where(pairing.is_hidden, -1, 0)
    of_found[is_paired] = np.where(counts[pairing.truth_of[is_paired]], 1, -1)
    return Matches(np.where(counts, np.where(pairing.is_missed, 0, 1), -1), of_found, pairing.truth_of)


def _scale(picture: np.ndarray, cell_width: int) -> float:
    """Pixels of the page per pixel of the picture (H, W, 3)."""
    return min(cell_width / picture.shape[1], CELL_HEIGHT / picture.shape[0], LARGEST_ZOOM)


def _draw_row(name: str, item: PageItem, scale: float, cell_width: int, ignore_overlap: float) -> np.ndarray:
    """One picture twice, (h, 2 cells and 3 gaps, 3), with what is counted in it above."""
    matches = match(item.truth, item.found, ignore_overlap=ignore_overlap)
    size = [max(1, round(side * scale)) for side in item.picture.shape[1::-1]]
    picture = cv2.resize(item.picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    truth = _draw_truth(picture.copy(), item.truth, matches.of_truth, scale)
    found = _draw_found(picture, item.found, matches.of_found, scale)
    hits, num_objects = int((matches.of_truth == 1).sum()), int((matches.of_truth >= 0).sum())
    num_false, num_found = int((matches.of_found == 0).sum()), int((matches.of_found >= 0).sum())
    texts = (
        f"{name}: {counted(num_objects, 'object')}, {hits} found, {num_objects - hits} missed",
        f"{counted(num_found, 'prediction')}, {num_found - num_false} right, {num_false} false",
    )
    row = np.full((LINE_HEIGHT + size[1] + GAP, 2 * cell_width + 3 * GAP, 3), PAPER, np.uint8)
    for left, panel, text in zip((GAP, 2 * GAP + cell_width), (truth, found), texts, strict=True):
        half = row[:, left : left + cell_width]  # a long name does not run into the other half
        half[LINE_HEIGHT : LINE_HEIGHT + size[1], : size[0]] = panel
        draw_text(half, text, (0, LINE_HEIGHT - 8), WHITE, TEXT_SCALE)
    return row


def _draw_truth(canvas: np.ndarray, truth: ImageTruth, outcome: np.ndarray, scale: float) -> np.ndarray:
    """The objects of a picture shown at `scale`; what does not count in grey, dashed where it is an ignore region."""
    quads = truth.quads * scale
    for row in np.argsort(-outcome, kind="stable"):  # the missed ones on top
        label = int(truth.labels[row])
        if outcome[row] < 0:
            draw_quad(canvas, quads[row], GREY, 1, dashed=bool(truth.ignored[row]))
            continue
        draw_quad(canvas, quads[row], class_color(label), 2 if outcome[row] else 1, dashed=not outcome[row])
        if not outcome[row]:
            _draw_dot(canvas, quads[row], MISSED_COLOR)
    return canvas


def _draw_found(canvas: np.ndarray, found: ImageDetections, outcome: np.ndarray, scale: float) -> np.ndarray:
    """What was found in a picture shown at `scale`, with the scores of the best where there is room."""
    quads = found.quads * scale
    best_first = np.argsort(-found.scores, kind="stable")
    for row in best_first[::-1]:
        color = class_color(int(found.labels[row])) if outcome[row] >= 0 else GREY
        draw_quad(canvas, quads[row], color, 2 if outcome[row] > 0 else 1, dashed=not outcome[row])
        if not outcome[row]:
            _draw_dot(canvas, quads[row], FALSE_COLOR)
    taken: list[tuple[int, int, int, int]] = []
    for row in best_first:
        color = class_color(int(found.labels[row])) if outcome[row] >= 0 else GREY
        label_quad(canvas, quads[row], f"{found.scores[row]:.2f}", color, taken)
    return canvas


def _draw_dot(canvas: np.ndarray, quad: np.ndarray, color: Color) -> None:
    x, y = np.clip(np.nan_to_num(quad.mean(axis=0)), -1e4, 1e5).astype(int).tolist()
    cv2.circle(canvas, (x, y), 3, (0, 0, 0), -1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), 2, color, -1, cv2.LINE_AA)


def _legend(class_names: Sequence[str], labels: Sequence[int], min_score: float, title: str) -> list[LegendEntry]:
    entries = [LegendEntry(title, WHITE, "none")] if title else []
    entries += [
        LegendEntry(f"left: truth; right: predictions, score {min_score:.2f} and more", WHITE, "none"),
        LegendEntry(f"has a counterpart of its class (IoU above {HIT_IOU})", WHITE, "line"),
        LegendEntry("missed", MISSED_COLOR, "dashed"),
        LegendEntry("false alarm", FALSE_COLOR, "dashed"),
        LegendEntry("does not count", GREY, "line"),
    ]
    entries += [LegendEntry(class_text(class_names, label), class_color(label), "patch") for label in labels]
    more = len(labels) - SHOWN_CLASSES
    if more > 0:
        entries = [*entries[:-more], LegendEntry(f"and {more} classes more", WHITE, "none")]
    return entries
