"""What becomes of the objects of a data set on their way to the targets: how many, how large, how many lost and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from datasets.augment import letterbox_matrix, warp_quads
from datasets.readers import Sample
from datasets.targets import Targets
from datasets.training_set import MIN_SIDE, Shown, TrainingSet
from DOTA_devkit.boxes import DOWN_RATIO, encode_vectors, rectangle_sides
from tools.drawings.target_picture import share_ignored

PERCENTILES = (5, 50, 95)


class PictureCount(NamedTuple):
    """The objects of a picture, whole in its letterbox, without augmentation; lengths in input pixels.

    labels, short, long, horizontal (n,): class, sides and flag of the objects that get a target. num_regions: ignore
    regions in the labels. lost: objects without a target, by reason. num_shared: objects whose centre lies in the same
    cell as another's, where only one of them can be learnt.
    """

    labels: np.ndarray
    short: np.ndarray
    long: np.ndarray
    horizontal: np.ndarray
    num_regions: int
    lost: dict[str, int]
    num_shared: int


class InputCount(NamedTuple):
    """The targets of an input as it was trained on: how many, how many of them horizontal, share of ignored cells."""

    num_targets: int
    num_horizontal: int
    share_ignored: float


class MeasuredSet(TrainingSet):
    """The training set, whose `counts` tell of each picture that an input was made of what became of its objects."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As `TrainingSet`."""
        super().__init__(*arguments, **options)
        self.counts: list[PictureCount] = []

    def make_input(self, rng: np.random.Generator, shown: Sequence[Shown]) -> tuple[np.ndarray, Targets]:
        """As of `TrainingSet`, and a count more, of the first picture."""
        image, sample = shown[0]
        self.counts.append(count_picture(sample, image.shape[:2], self.input_hw, self.min_visible))
        return super().make_input(rng, shown)


def count_picture(
    sample: Sample, image_hw: tuple[int, int], input_hw: tuple[int, int], min_visible: float
) -> PictureCount:
    """Count a picture of this size by the rules of `TrainingSet.make_input`."""
    matrix = letterbox_matrix(image_hw, input_hw)
    quads, rows, hidden = warp_quads(sample.quads, matrix, image_hw, input_hw, min_visible)
    boxes = encode_vectors(quads)
    sides = rectangle_sides(quads)
    cells = np.floor(boxes.center / DOWN_RATIO).astype(np.int64)
    map_wh = (input_hw[1] // DOWN_RATIO, input_hw[0] // DOWN_RATIO)
    is_object = ~sample.ignored[rows]
    thin = sides[:, 0] < MIN_SIDE
    away = ~((cells >= 0) & (cells < map_wh)).all(axis=1)
    learnt = is_object & ~hidden & ~thin & ~away
    lost = {
        "outside": int((~sample.ignored).sum() - is_object.sum()),
        "mostly outside": int((is_object & hidden).sum()),
        "too thin": int((is_object & ~hidden & thin).sum()),
        "centre outside": int((is_object & ~hidden & ~thin & away).sum()),
    }
    return PictureCount(
        sample.labels[rows][learnt],
        sides[learnt, 0],
        sides[learnt, 1],
        ~boxes.rotated[learnt],
        int(sample.ignored.sum()),
        lost,
        int(learnt.sum() - len(np.unique(cells[learnt], axis=0))),
    )


def count_input(targets: Targets) -> InputCount:
    """Count the targets of one input."""
    return InputCount(len(targets.mask), int((targets.cls_theta <= 0).sum()), share_ignored(targets))


def summarize(
    pictures: Sequence[PictureCount], inputs: Sequence[InputCount], class_names: Sequence[str]
) -> dict[str, Any]:
    """The numbers of summary.json; shares are fractions in [0, 1], None where there is nothing to take a share of."""
    labels = np.concatenate([np.zeros(0, np.int64), *(item.labels for item in pictures)])
    short, long = (
        np.concatenate([np.zeros(0), *(getattr(item, name) for item in pictures)]) for name in ("short", "long")
    )
    horizontal = np.concatenate([np.zeros(0, bool), *(item.horizontal for item in pictures)])
    reasons = dict.fromkeys(name for item in pictures for name in item.lost)
    num_targets = sum(item.num_targets for item in inputs)
    classes = {
        name: _class_summary(short[labels == label], long[labels == label], horizontal[labels == label])
        for label, name in enumerate(class_names)
    }
    return {
        "pictures": len(pictures),
        "without_objects": sum(not len(item.labels) for item in pictures),
        "ignore_regions": sum(item.num_regions for item in pictures),
        "lost": {name: sum(item.lost[name] for item in pictures) for name in reasons},
        "sharing_a_cell": sum(item.num_shared for item in pictures),
        **_class_summary(short, long, horizontal),
        "classes": classes,
        "inputs": {
            "objects": num_targets,
            "horizontal": _share(sum(item.num_horizontal for item in inputs), num_targets),
            "ignored_cells": float(np.mean([item.share_ignored for item in inputs])) if inputs else None,
        },
    }


def format_summary(summary: dict[str, Any], min_visible: float) -> str:
    """The summary for the terminal. Class names stand last, so that the columns hold whatever script they are in."""
    lost = summary["lost"]
    reasons = {
        "outside": "outside the picture",
        "mostly outside": f"less than {min_visible:g} of them inside",
        "too thin": f"a side below {MIN_SIDE:g} px of the input",
        "centre outside": "centre outside",
    }
    told = ", ".join(f"{lost[name]} {reasons[name]}" for name in reasons if lost.get(name))
    lines = [
        f"{summary['pictures']} pictures, {summary['without_objects']} of them without objects; "
        f"{summary['objects']} objects to learn, {summary['ignore_regions']} ignore regions",
        f"lost: {sum(lost.values())} objects" + (f" ({told})" if told else ""),
        f"in one cell with another object's centre: {summary['sharing_a_cell']} objects",
        f"horizontal targets: {_percent(summary['horizontal'])} of the pictures as they are, "
        f"{_percent(summary['inputs']['horizontal'])} of the inputs",
        "",
        "objects  horizontal  short side px (5 %, median, 95 %)  long side px (5 %, median, 95 %)  class",
    ]
    present = {name: item for name, item in summary["classes"].items() if item["objects"]}
    for name, item in [*present.items(), ("all", summary)]:
        short, long = (
            " ".join(f"{value:7.1f}" for value in item[key]) if item[key] else f"{'n/a':>23}"
            for key in ("short_side", "long_side")
        )
        lines.append(f"{item['objects']:7}  {_percent(item['horizontal']):>10}  {short:>33}  {long:>32}  {name}")
    absent = [name for name in summary["classes"] if name not in present]
    return "\n".join(lines + [f"no object to learn of {len(absent)} classes: {', '.join(absent)}"] * bool(absent))


def _class_summary(short: np.ndarray, long: np.ndarray, horizontal: np.ndarray) -> dict[str, Any]:
    return {
        "objects": len(short),
        "horizontal": _share(int(horizontal.sum()), len(horizontal)),
        "short_side": np.percentile(short, PERCENTILES).tolist() if len(short) else None,
        "long_side": np.percentile(long, PERCENTILES).tolist() if len(long) else None,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{share:.1%}"
