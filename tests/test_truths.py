"""What cannot be scored is told with the picture that it is in."""

from __future__ import annotations

import numpy as np
import pytest

from DOTA_devkit.evaluation import evaluate
from DOTA_devkit.task_files import ImageDetections
from tests.test_evaluation import found, square, truth


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (found([square(0)], [np.nan]), "a score is NaN"),
        (found([square(np.nan)], [0.5]), "a corner is NaN"),
        (found([square(0)], [0.5], [1]), "labels 1 to 1, but 1 classes"),
    ],
)
def test_faulty_detections_name_the_image(item: ImageDetections, reason: str) -> None:
    good = found([square(0)], [0.5])
    with pytest.raises(ValueError, match=f"image 'b': {reason}"):
        evaluate({"a": good, "b": item}, {name: truth([], []) for name in "ab"}, ["ship"])


def test_faulty_truth_names_the_image() -> None:
    for item, reason in (
        (truth([square(0)], [1]), "labels 1 to 1, but 1 classes"),
        (truth([square(0)], [-2]), "labels -2"),
        (truth([square(0)], [0, 0]), "1 quads, 2 labels"),
    ):
        with pytest.raises(ValueError, match=f"image 'b': {reason}"):
            evaluate({}, {"a": truth([], []), "b": item}, ["ship"])
    with pytest.raises(ValueError, match="must differ"):
        evaluate({}, {}, ["ship", "ship"])
    with pytest.raises(ValueError, match="difficult must be"):
        evaluate({}, {}, ["ship"], difficult="ignored")
