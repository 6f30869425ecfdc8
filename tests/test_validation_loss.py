"""The loss of validation is formed as that of training, in whatever numbers and processes its pictures come."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import main
from datasets.loader import stacked
from datasets.readers import Sample
from datasets.targets import Targets
from datasets.training_set import TrainingSet
from models import BBAVectorsLoss, Maps
from tests.short_runs import LISTS, arguments
from tools.config import Config
from tools.engine import Engine
from tools.training.optimizer import make_criterion
from tools.training.run_state import Meter
from tools.training.validation_loss import ValidationLoss

INPUT_HW, NUM_CLASSES = (64, 96), 2
SIZES = ((64, 96), (130, 100), (50, 200), (64, 96))  # of pictures, height and width
TERMS = {"total", "hm", "wh", "reg", "cls_theta"}


def _sample(number: int, num_objects: int) -> Sample:
    """Rectangles here and there, the last one difficult 2."""
    height, width = SIZES[number]
    rng = np.random.default_rng(number)
    corners = rng.uniform(0, (width - 20, height - 12), (num_objects, 1, 2))
    quads = (corners + np.array([[0, 0], [20, 0], [20, 12], [0, 12]])).astype(np.float32)
    difficult = np.array([0] * (num_objects - 1) + [2] * (num_objects > 0), np.int64)
    labels = rng.integers(0, NUM_CLASSES, num_objects)
    return Sample(Path(f"{number}.png"), quads, labels, difficult)


SAMPLES = [_sample(number, count) for number, count in enumerate((9, 3, 0, 12))]


def _maps(num: int) -> Maps:
    """What an untrained network might say of so many pictures."""
    rng = torch.Generator().manual_seed(0)
    shapes = {"hm": NUM_CLASSES, "wh": 10, "reg": 2, "cls_theta": 1}
    return Maps(**{name: torch.randn(num, count, 16, 24, generator=rng) for name, count in shapes.items()})


def _loss_of(criterion: BBAVectorsLoss, parts: list[list[int]], engine: Engine | None = None) -> ValidationLoss:
    """The loss after these pictures, so many at once."""
    loss = ValidationLoss(criterion, engine or Engine("cpu"), NUM_CLASSES, INPUT_HW, min_visible=0.5)
    maps = _maps(len(SAMPLES))
    for rows in parts:
        loss.add(
            rows, [SAMPLES[row] for row in rows], [SIZES[row] for row in rows], Maps(*(part[rows] for part in maps))
        )
    return loss


@pytest.mark.parametrize("batch_size", [1, 3, 4, 9])
def test_it_is_the_mean_of_the_batches_of_training_on_the_pictures_as_they_are(batch_size: int) -> None:
    """Formed of all pictures as one batch it lay far above the loss of training, whose batches hold few objects."""
    training_set = TrainingSet(SAMPLES, NUM_CLASSES, INPUT_HW, (0.0, 0.0, 0.0), None, 0.5)
    training_set.pictures = [np.zeros((*hw, 3), np.uint8) for hw in SIZES]
    for criterion in (BBAVectorsLoss(), make_criterion(Config())):
        meter = Meter()
        for first in range(0, len(SAMPLES), batch_size):
            rows = list(range(first, min(first + batch_size, len(SAMPLES))))
            targets = stacked([training_set[0, row][1] for row in rows])
            terms = criterion(Maps(*(part[rows] for part in _maps(len(SAMPLES)))), Targets(*targets))
            meter.add({name: value.item() for name, value in terms.items()}, len(rows))
        found = _loss_of(criterion, [[0, 1, 2, 3]]).terms(batch_size)
        assert found.keys() == meter.means.keys() >= TERMS
        assert found == pytest.approx(meter.means, rel=1e-5)


def test_it_depends_neither_on_how_many_are_looked_at_at_once_nor_on_the_processes() -> None:
    criterion = BBAVectorsLoss()
    whole = _loss_of(criterion, [[0, 1, 2, 3]]).terms(2)
    assert _loss_of(criterion, [[2], [0, 3], [1]]).terms(2) == pytest.approx(whole, rel=1e-6)

    class OneOfTwo(Engine):
        """The other process has had its share of the pictures already."""

        def all_of(self, item: object) -> list[object]:
            return [item, {row: part.tolist() for row, part in theirs._parts.items()}]

    theirs = _loss_of(criterion, [[1, 3]])
    assert _loss_of(criterion, [[0, 2]], OneOfTwo("cpu")).terms(2) == pytest.approx(whole, rel=1e-6)


def test_of_no_objects_it_is_a_number_and_of_no_pictures_there_is_none() -> None:
    assert all(math.isfinite(value) for value in _loss_of(BBAVectorsLoss(), [[2]]).terms(2).values())
    assert _loss_of(BBAVectorsLoss(), []).terms(2) == {}


@pytest.mark.slow
@pytest.mark.usefixtures("thin_backbones")
def test_a_run_writes_it_where_it_validates(dota_folder, tmp_path, capsys) -> None:
    data_dir, run_dir = dota_folder(lists=LISTS), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "3", "--val_every", "2")) == 0
    rows = list(csv.DictReader((run_dir / "history.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert {f"val_{name}" for name in (*TERMS, "box")} <= rows[0].keys()
    assert [bool(row["val_total"]) for row in rows] == [False, True, True]
    assert all(0 < float(row[f"val_{name}"]) < 100 for row in rows[1:] for name in TERMS)
    log = (run_dir / "log.txt").read_text(encoding="utf-8")
    assert f"in validation total {float(rows[2]['val_total']):.3f}, mAP50" in log
