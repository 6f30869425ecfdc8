"""How far boxes are off: middles, angles, sides, and what of it reaches the metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.evaluation import evaluate
from DOTA_devkit.exactness import exactness
from DOTA_devkit.metrics import format_exactness, metrics_dict
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.truths import ImageTruth


def quads(*boxes: tuple[float, float, float, float, float]) -> np.ndarray:
    """Boxes of cx, cy, w, h and degrees as (n, 4, 2)."""
    array = np.array(boxes, np.float64).reshape(-1, 5)
    array[:, 4] = np.deg2rad(array[:, 4])
    return boxes_to_quads(array, "le90")


def test_what_is_off_is_told_in_pixels_degrees_and_shares() -> None:
    fit = exactness(quads((53, 54, 44, 9, 30)), quads((50, 50, 40, 10, 20)))
    assert [float(part[0]) for part in fit] == pytest.approx([5, 10, 1.1, 0.9])


@pytest.mark.parametrize(("found", "truth", "off"), [(-88, 88, 4), (88, -88, 4), (0, 90, 90), (10, -80, 90)])
def test_angles_are_those_between_lines(found: float, truth: float, off: float) -> None:
    fit = exactness(quads((0, 0, 40, 10, found)), quads((0, 0, 40, 10, truth)))
    assert float(fit.angle[0]) == pytest.approx(off)


def test_of_a_square_no_side_is_the_longer_one() -> None:
    fit = exactness(quads((0, 0, 21, 20, 88), (0, 0, 21, 20, 50)), quads((0, 0, 21, 20, 0), (0, 0, 21, 20, 0)))
    assert fit.angle.tolist() == pytest.approx([2, 40])


def test_of_nothing_there_is_nothing() -> None:
    assert [part.shape for part in exactness(np.zeros((0, 4, 2)), np.zeros((0, 4, 2)))] == [(0,)] * 4


@given(st.floats(-90, 90), st.floats(-90, 90), st.floats(1, 5), st.floats(-30, 30))
def test_the_frame_of_the_picture_does_not_matter(first: float, second: float, ratio: float, turn: float) -> None:
    pair = [(0.0, 0.0, 10 * ratio, 10.0, first), (0.0, 0.0, 10 * ratio, 10.0, second)]
    turned = [(*box[:4], box[4] + turn) for box in pair]
    here, there = (exactness(quads(boxes[0]), quads(boxes[1])) for boxes in (pair, turned))
    limit = 45 if ratio < 1.19 else 90
    assert 0 <= here.angle[0] <= limit + 1e-6
    if abs(ratio - 1.2) > 0.01 and ratio > 1.01:
        np.testing.assert_allclose(here.angle, there.angle, atol=1e-5)


def test_metrics_tell_of_what_is_found_at_the_score_of_the_best_f1_and_of_no_other() -> None:
    """The third is found by a box that is worse than any threshold worth taking, and two false alarms lie before it."""
    truth = ImageTruth(
        quads((50, 50, 40, 10, 0), (150, 50, 40, 10, 0), (250, 50, 40, 10, 0)), np.zeros(3, int), np.zeros(3, int)
    )
    boxes = quads((51, 50, 40, 10, 2), (153, 50, 40, 10, 4), (400, 9, 9, 9, 0), (420, 9, 9, 9, 0), (250, 52, 40, 10, 0))
    found = ImageDetections(boxes, np.array([0.9, 0.8, 0.6, 0.5, 0.1]), np.zeros(5, int))
    scored = evaluate({"a": found}, {"a": truth}, ["car", "boat"])
    hits = scored.classes["car"].hits
    assert hits.scores.tolist() == [0.9, 0.8, 0.1]
    np.testing.assert_allclose(hits.truth, truth.quads)
    np.testing.assert_allclose(hits.found, boxes[[0, 1, 4]])
    metrics = metrics_dict(scored)
    car, boat = metrics["classes"]["car"], metrics["classes"]["boat"]
    assert car["score_threshold"] == pytest.approx(0.7)
    assert [car[key] for key in ("fit_center_px", "fit_center_px_95")] == pytest.approx([2, 2.9])
    assert [car[key] for key in ("fit_angle_deg", "fit_angle_deg_95")] == pytest.approx([3, 3.9])
    assert (car["fit_length"], car["fit_width"]) == pytest.approx((1, 1))
    assert 0.7 < car["fit_iou"] < 0.95
    assert {boat[key] for key in boat if key.startswith("fit_")} == {None}
    head, columns, rule, *rows = format_exactness(metrics).split("\n")
    assert "how exact" in head
    assert [row.split()[:2] for row in rows] == [["car", "2"]]
    assert len(rule) == len(columns) == len(rows[0])


def test_where_nothing_is_found_nothing_is_said() -> None:
    truth = ImageTruth(quads((50, 50, 40, 10, 0)), np.zeros(1, int), np.zeros(1, int))
    assert format_exactness(metrics_dict(evaluate({}, {"a": truth}, ["car"]))) == ""
    other = evaluate({"a": ImageDetections(truth.quads, np.ones(1), np.zeros(1, int))}, {"a": truth}, ["car"], (0.75,))
    assert other.classes["car"].hits is None
    assert format_exactness(metrics_dict(other)) == ""
