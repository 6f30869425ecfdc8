"""Where a network errs: what it takes for what, as a table and a plot, and the pictures with most errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from datasets.picture_files.images import ImageError
from DOTA_devkit.atomic import write_csv
from DOTA_devkit.confusion import Confusion
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from DOTA_devkit.truths import ImageTruth
from tools.drawing import as_bgr
from tools.drawings.comparison_page import MOST_PICTURES, PageItem, draw_page
from tools.drawings.drawing_files import write_picture
from tools.drawings.plots import figure_file, plot_names

CONFUSION_CSV, CONFUSION_PLOT, WORST = "confusion.csv", "confusion.png", "most_errors.jpg"
MISSED, BACKGROUND = "missed", "background"
NUMBERED_UP_TO = 25  # classes; the squares of more are too small for numbers


def write_confusion(run_dir: Path, found: Confusion, class_names: Sequence[str]) -> None:
    """confusion.csv (a row an object's class, a column what it was taken for) and its plot."""
    missed, background = (f"({name})" if name in class_names else name for name in (MISSED, BACKGROUND))
    rows = zip([*class_names, background], found.matrix.tolist(), strict=True)
    write_csv(run_dir / CONFUSION_CSV, [["truth", *class_names, missed], *([name, *row] for name, row in rows)])
    _draw(run_dir / CONFUSION_PLOT, found.matrix, class_names)


def write_worst(
    run_dir: Path,
    found: Confusion,
    images: Mapping[str, Path],
    truths: Mapping[str, ImageTruth],
    detections: Mapping[str, ImageDetections],
    class_names: Sequence[str],
    min_scores: Sequence[float],
    read: Callable[[Path], np.ndarray],
    ignore_overlap: float,
) -> bool:
    """most_errors.jpg: the pictures with most objects missed, confused and invented, truth beside what was found from
    the least score of each class on; whether there is one."""
    items = []
    for name in sorted(found.errors, key=lambda name: (-found.errors[name], name)):
        with suppress(ImageError):  # it has been told of where it was detected on
            picture = as_bgr(read(images[name]))
            boxes = detections.get(name, NO_DETECTIONS)
            shown = boxes.at(boxes.reach(min_scores))
            items.append(PageItem(name, picture, truths[name], shown))
        if len(items) == MOST_PICTURES:
            break
    path = run_dir / WORST
    path.unlink(missing_ok=True)
    if items:
        looks = {"min_score": min(min_scores), "title": "most errors"}
        write_picture(path, draw_page(items, class_names, ignore_overlap=ignore_overlap, **looks))
    return bool(items)


def _draw(path: Path, matrix: np.ndarray, class_names: Sequence[str]) -> None:
    """A square a pair of classes, darker for a larger share of the row, with the number."""
    count = len(matrix)
    side = min(20.0, max(5.0, 2.5 + 0.5 * count))  # inches
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    names = plot_names(class_names)
    with figure_file(path, (side + 0.5, side), class_names, dpi=100, is_tight=True) as figure:
        axes = figure.add_subplot(xlabel="taken for", ylabel="truth")
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(count), [*names, MISSED], rotation=90 if count > 4 else 0)
        axes.set_yticks(range(count), [*names, BACKGROUND])
        if count - 1 <= NUMBERED_UP_TO:
            for row, column in np.argwhere(matrix > 0).tolist():
                colour = "white" if shares[row, column] > 0.6 else "black"
                axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour, fontsize=8)
        axes.set_title(
            "objects at IoU 0.5, each class from the score of its best F1 on;\ncolour: share of the row", fontsize=9
        )
