"""The table of objects: sides and angle as README states them, scores of predictions, what has no row."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture
from datasets.label_formats.csv_table import EMPTY, as_boxes, write_csv_table
from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.labels import Labels
from tests.label_documents import convert, source


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def picture_of(*boxes: tuple[float, ...], name: str = "图 1", scores: list[float] | None = None) -> Picture:
    quads = boxes_to_quads(np.array(boxes), "le90")
    labels = Labels(quads, ["船"] * len(boxes), np.zeros(len(boxes), np.int64), np.ones(len(boxes), np.int64))
    return Picture(name, labels, f"{name}.png", scores=None if scores is None else np.array(scores))


def test_an_object_is_a_row_with_its_sides_and_its_angle_in_degrees(tmp_path: Path) -> None:
    picture = picture_of((50, 40, 30, 10, np.deg2rad(30)), (20, 20, 8, 16, 0))
    write_csv_table(tmp_path / "a.csv", AnnotatedSet([picture._replace(split="val")]), Ledger())
    first, second = rows_of(tmp_path / "a.csv")
    assert first["split"] == second["split"] == "val"
    assert list(first.values())[:9] == ["图 1", "船", "", "0", "50.000", "40.000", "30.000", "10.000", "30.000"]
    assert [second[key] for key in ("length", "width", "angle_degrees")] == ["16.000", "8.000", "-90.000"]
    corners = [[float(first[f"{axis}{corner}"]) for axis in "xy"] for corner in range(1, 5)]
    np.testing.assert_allclose(corners, picture.labels.quads[0], atol=6e-4)


def test_predictions_have_scores_and_pictures_without_objects_are_counted(tmp_path: Path) -> None:
    ledger = Ledger()
    pictures = [picture_of((50, 40, 30, 10, 0), scores=[0.123456]), Picture("empty")]
    write_csv_table(tmp_path / "out", AnnotatedSet(pictures), ledger)
    (row,) = rows_of(tmp_path / "out" / "objects.csv")
    assert row["score"] == "0.1235"
    assert ledger.changed == {EMPTY: 1}
    write_csv_table(tmp_path / "none.csv", AnnotatedSet([]), Ledger())
    assert rows_of(tmp_path / "none.csv") == []


@given(st.floats(-np.pi / 2, np.pi / 2), st.floats(5, 50), st.floats(1, 4))
def test_angles_stay_in_their_range_and_lengths_are_the_longer(angle: float, width: float, ratio: float) -> None:
    ((x, y, length, across, degrees),) = as_boxes(
        boxes_to_quads(np.array([[9, 9, width * ratio, width, angle]]), "le90")
    )
    assert -90 <= degrees < 90
    assert (x, y, length, across) == pytest.approx((9, 9, width * ratio, width))
    if ratio > 1.001 and abs(angle) < 1.57:
        assert degrees == pytest.approx(np.rad2deg(angle), abs=1e-3)


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert convert(source(tmp_path, "dota"), tmp_path / "objects.csv", "dota", "csv") == 0
    assert "船 船" in {row["class"] for row in rows_of(tmp_path / "objects.csv")}
    assert f"written: {tmp_path / 'objects.csv'}" in capsys.readouterr().out
