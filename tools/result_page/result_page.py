"""Results as a page for a browser: pictures with boxes on them, of which a slider chooses, and what that scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from datasets.picture_files.picture_windows import PictureWindows
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.truths import ImageTruth
from tools.data_check.data_checks import escaped
from tools.drawing import class_color
from tools.drawings.comparison_page import match
from tools.drawings.html_page import css_color, render_page

TEMPLATE = Path(__file__).with_name("result_page.html.j2")
STEPS = 100  # of the slider, from 0 to 1


class Compared(NamedTuple):
    """A picture of the results, with its truth where there are labels.

    outcome (d,): of each box 1 right, 0 false, -1 does not count.  found_from (n,): the score of the box that found
    each object, -1 for none.  counts (n,) bool: the objects that have to be found.
    """

    name: str
    found: ImageDetections
    truth: ImageTruth
    outcome: np.ndarray
    found_from: np.ndarray
    counts: np.ndarray

    def errors_at(self, score: float) -> int:
        """How many objects are missed, and how many boxes are false, from a score on."""
        num_missed = int((self.counts & (self.found_from < score)).sum())
        return num_missed + int(((self.outcome == 0) & (self.found.scores >= score)).sum())


class Shown(NamedTuple):
    """A picture that the page shows: its number among the compared ones, the address of its file, the height and width
    of that, and its scale, in pixels of it per pixel of the picture."""

    number: int
    file: str
    size: tuple[int, int]
    scale: float


def compare(name: str, found: ImageDetections, truth: ImageTruth, ignore_overlap: float) -> Compared:
    """Pair what was found with the objects. As better boxes choose first, what becomes of a box does not depend on the
    score from which on boxes count."""
    matches = match(truth, found, ignore_overlap)
    found_from = np.full(len(truth.labels), -1.0)
    is_paired = matches.truth_of >= 0
    found_from[matches.truth_of[is_paired]] = found.scores[is_paired]
    return Compared(name, found, truth, matches.of_found, found_from, matches.of_truth >= 0)


def result_page(
    compared: Sequence[Compared],
    shown: Sequence[Shown],
    class_names: Sequence[str],
    min_score: float,
    *,
    has_truth: bool,
    **facts: object,
) -> str:
    """The page, which shows some of the compared pictures; scores and counts are of all of them. `facts` are what else
    its head says."""
    values = {
        "least": math.ceil(STEPS * min_score - 1e-6),
        "steps": STEPS,
        "hasTruth": has_truth,
        "classes": [
            {"name": escaped(name), "colour": css_color(class_color(label))} for label, name in enumerate(class_names)
        ],
        **_tallies(compared, len(class_names)),
        "pictures": [
            {
                "name": escaped(compared[picture.number].name),
                "file": picture.file,
                "size": picture.size,
                **_boxes(compared[picture.number], picture.scale),
            }
            for picture in shown
        ],
    }
    counts = {"num_pictures": len(compared), "num_shown": len(shown)}
    return render_page(TEMPLATE, values=values, min_score=f"{min_score:g}", has_truth=has_truth, **counts, **facts)


def shrunk(picture: np.ndarray | PictureWindows, longest: int) -> tuple[np.ndarray, float]:
    """The picture (H, W, 3), its longer side at most `longest` pixels, and by how much it is scaled. Raises ImageError
    where one that is read in windows is damaged."""
    if not isinstance(picture, np.ndarray):
        return picture.overview(longest)
    scale = min(1.0, longest / max(picture.shape[:2]))
    if scale == 1:
        return picture, 1.0
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA), scale


def _tallies(compared: Sequence[Compared], num_classes: int) -> dict[str, list]:
    """How many boxes, right ones and false ones of each class lie at each step of the slider, (C, steps + 1) each, and
    how many objects have to be found, (C,)."""
    boxes, right, false = np.zeros((3, num_classes, STEPS + 1), np.int64)
    objects = np.zeros(num_classes, np.int64)
    for item in compared:
        place = item.found.labels, steps_of(item.found.scores)
        np.add.at(boxes, place, 1)
        np.add.at(right, place, item.outcome == 1)
        np.add.at(false, place, item.outcome == 0)
        np.add.at(objects, item.truth.labels[item.counts], 1)
    return {"boxes": boxes.tolist(), "right": right.tolist(), "false": false.tolist(), "objects": objects.tolist()}


def steps_of(scores: np.ndarray) -> np.ndarray:
    """The last step of the slider, 0 to 100, at which a box with such a score (d,) is still shown; other programs have
    scores beyond 1."""
    steps = np.floor(np.round(scores.astype(np.float64), 3) * STEPS + 1e-6)
    return np.clip(steps, 0, STEPS).astype(np.int64)


def _boxes(item: Compared, scale: float) -> dict[str, list[list[float]]]:
    """What the page knows of a picture: boxes [class, step, score, outcome, x1, y1 ... y4], the best last and so on
    top, and objects [class, step up to which each is found (-1: missed, -2: does not count), x1, y1 ... y4]."""
    order = np.argsort(item.found.scores, kind="stable")
    found, outcome = item.found.at(order), item.outcome[order]
    steps = np.where(item.found_from >= 0, steps_of(item.found_from), -1)
    steps[~item.counts] = -2
    columns = found.labels, steps_of(found.scores), found.scores, outcome, found.quads
    return {
        "boxes": [
            [label, step, round(score, 3), what, *corners(quad, scale)]
            for label, step, score, what, quad in zip(*(column.tolist() for column in columns), strict=True)
        ],
        "objects": [
            [label, step, *corners(quad, scale)]
            for label, step, quad in zip(
                item.truth.labels.tolist(), steps.tolist(), item.truth.quads.tolist(), strict=True
            )
        ],
    }


def corners(quad: Sequence[Sequence[float]], scale: float) -> list[float]:
    """x1, y1 ... y4 in pixels of what is shown."""
    return [round(value * scale, 1) for point in quad for value in point]
