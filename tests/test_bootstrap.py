"""Tests of DOTA_devkit/bootstrap.py: weights are copies, and the intervals are the percentiles of what they give."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DOTA_devkit.bootstrap import ap50_differences, ap50_intervals, draw_pictures, weighted_ap50, with_intervals
from DOTA_devkit.evaluation import Evaluation, evaluate
from DOTA_devkit.metrics import format_table, metrics_dict
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.truths import ImageTruth
from tests.test_evaluation import CLASSES, found, scene, square, truth

METRICS = ("area", "07")


def no_ties(detections: Mapping[str, ImageDetections], rng: np.random.Generator) -> dict[str, ImageDetections]:
    return {name: item._replace(scores=rng.random(len(item.scores))) for name, item in detections.items()}


def with_copies(items: Mapping, weight: np.ndarray) -> dict:
    """Picture k, by name, as often as its weight says, each copy under a name of its own."""
    return {
        f"{name}-{copy:03}": items[name] for name, w in zip(sorted(items), weight, strict=True) for copy in range(w)
    }


def point(evaluation: Evaluation, metric: str = "area") -> list[float]:
    """AP50 of each class, NaN without truth."""
    curves = [item.curves[0] for item in evaluation.classes.values()]
    return [np.nan if curve.ap is None else curve.ap if metric == "area" else curve.ap_07 for curve in curves]


def ones(evaluation: Evaluation) -> np.ndarray:
    return np.ones((1, evaluation.num_images), dtype=int)


# -- a weight is a number of copies


@pytest.mark.parametrize("metric", METRICS)
@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(0, 30))
def test_a_weight_gives_what_evaluating_the_copies_gives(
    metric: Literal["area", "07"], seed: int, weight: list[int], num_found: int
) -> None:
    rng = np.random.default_rng(seed)
    detections, truths = scene(rng, len(weight), 4, num_found, extent=120.0)
    detections, weights = no_ties(detections, rng), np.array([weight])
    truths["P0000"] = truths["P0000"]._replace(labels=np.where(truths["P0000"].labels == 0, -1, 1))  # and a region
    weighted = weighted_ap50(evaluate(detections, truths, CLASSES), weights, metric)
    copies = evaluate(with_copies(detections, weights[0]), with_copies(truths, weights[0]), CLASSES)
    np.testing.assert_allclose(weighted[0], point(copies, metric), rtol=0, atol=1e-12)


def test_the_draws_are_those_of_direct_evaluation() -> None:
    """The interval, from evaluating each draw of pictures anew."""
    rng = np.random.default_rng(5)
    detections, truths = scene(rng, 8, 6, 20)
    detections = no_ties(detections, rng)
    scored = evaluate(detections, truths, CLASSES, (0.5,))
    values = []
    for weight in draw_pictures(8, 40, np.random.default_rng(1)):
        copies = (with_copies(items, weight) for items in (detections, truths))
        values.append(point(evaluate(*copies, CLASSES, (0.5,))))
    intervals = ap50_intervals(scored, 40, np.random.default_rng(1))
    expected = np.percentile(values, [2.5, 97.5], axis=0).T
    np.testing.assert_allclose(list(intervals.classes.values()), expected, atol=1e-12)
    np.testing.assert_allclose(intervals.mean, np.percentile(np.mean(values, axis=1), [2.5, 97.5]), atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_every_picture_once_or_thrice_is_the_evaluation_itself(metric: Literal["area", "07"]) -> None:
    scored = evaluate(*scene(np.random.default_rng(2), 6, 10, 40), CLASSES)  # equal scores are in it
    for weights in (ones(scored), 3 * ones(scored)):
        np.testing.assert_allclose(weighted_ap50(scored, weights, metric), [point(scored, metric)], atol=1e-12)


def test_perfect_detections_give_one_to_the_last_bit() -> None:
    _, truths = scene(np.random.default_rng(3), 9, 7, 1, extent=5000.0)
    detections = {name: ImageDetections(t.quads, np.full(7, 0.9), t.labels) for name, t in truths.items()}
    for metric in METRICS:
        intervals = ap50_intervals(evaluate(detections, truths, CLASSES), 50, np.random.default_rng(0), metric)
        assert {*intervals.classes.values(), intervals.mean} == {(1.0, 1.0)}


def test_difficult_objects_of_a_draw_are_neither_truth_nor_false_alarm() -> None:
    truths = {"a": truth([square(0), square(50)], [0, 0], [0, 1]), "b": truth([square(0)], [0])}
    detections = {"a": found([square(50), square(0)], [0.9, 0.8]), "b": found([square(100)], [0.95])}
    scored = evaluate(detections, truths, ["ship"])
    weights = np.array([[2, 0], [1, 1], [0, 2], [1, 2]])
    assert weighted_ap50(scored, weights)[:, 0].tolist() == [1.0, 0.25, 0.0, pytest.approx(1 / 9)]


# -- intervals


def test_the_interval_lies_about_the_value() -> None:
    scored = evaluate(*scene(np.random.default_rng(4), 60, 10, 30), CLASSES)
    intervals = ap50_intervals(scored, 300, np.random.default_rng(0))
    for value, (low, high) in zip(point(scored), intervals.classes.values(), strict=True):
        assert 0.0 < low < value < high < 1.0
    low, high = intervals.mean
    assert low < np.mean(point(scored)) < high
    assert high - low < min(high - low for low, high in intervals.classes.values())  # three classes tell more


def test_more_pictures_make_it_narrower() -> None:
    widths = []
    for num_images in (12, 192):
        scored = evaluate(*scene(np.random.default_rng(6), num_images, 6, 15), CLASSES, (0.5,))
        low, high = ap50_intervals(scored, 200, np.random.default_rng(0)).mean
        widths.append(high - low)
    assert 2.5 < widths[0] / widths[1] < 6.5  # 4 = sqrt(16), by the law of large numbers


def test_the_interval_is_right_about_as_often_as_it_says() -> None:
    """Two kinds of picture, one hit or one miss: AP50 is the share of hits, and the percentiles must be the binomial
    ones. 100 pictures, half of them hits, 2.5 % and 97.5 % of Binomial(100, 1/2): 40 and 60."""
    truths = {f"{k:03}": truth([square(0)], [0]) for k in range(100)}
    detections = {name: found([square(0)], [0.9]) for name in list(truths)[:50]}
    low, high = ap50_intervals(evaluate(detections, truths, ["ship"]), 1500, np.random.default_rng(0)).mean
    assert (low, high) == (pytest.approx(0.40, abs=0.011), pytest.approx(0.60, abs=0.011))


def test_one_picture_has_no_interval() -> None:
    """It had one without width, and every difference to another network was called more than chance."""
    scored = evaluate(*scene(np.random.default_rng(7), 1, 9, 30), CLASSES)
    assert all(value > 0 for value in point(scored))
    for intervals in (
        ap50_intervals(scored, 20, rng := np.random.default_rng(0)),
        ap50_differences(scored, scored, 9, rng),
    ):
        assert intervals == (dict.fromkeys(CLASSES), None)


def test_a_class_without_truth_in_a_draw_stays_out_of_it_and_of_its_mean() -> None:
    """One picture of two has a boat, found; the cars of both are not. With it mAP50 is 0.5, without it 0, never NaN."""
    truths = {"a": truth([square(0), square(50)], [0, 1]), "b": truth([square(0)], [0])}
    scored = evaluate({"a": found([square(50)], [0.9], [1])}, truths, ["car", "boat", "none"])
    values = weighted_ap50(scored, np.array([[1, 1], [0, 2]]))
    np.testing.assert_array_equal(values, [[0.0, 1.0, np.nan], [0.0, np.nan, np.nan]])
    intervals = ap50_intervals(scored, 200, np.random.default_rng(0))
    assert intervals.classes == {
        "car": (0.0, 0.0),
        "boat": None,
        "none": None,
    }  # a boat in one picture tells of no other
    assert intervals.mean == (0.0, 0.5)


def test_a_draw_without_any_truth_is_left_out() -> None:
    truths = {"a": truth([square(0)], [0]), "b": truth([], []), "c": truth([square(0)], [0])}
    detections = {name: found([square(0)], [0.9]) for name in "ac"}
    intervals = ap50_intervals(evaluate(detections, truths, ["s"]), 50, np.random.default_rng(0))
    assert intervals == ({"s": (1.0, 1.0)}, (1.0, 1.0))


def test_nothing_has_no_interval() -> None:
    rng = np.random.default_rng(0)
    assert ap50_intervals(evaluate({}, {}, []), 5, rng) == ({}, None)
    assert ap50_intervals(evaluate({}, {}, CLASSES), 5, rng) == (dict.fromkeys(CLASSES), None)
    assert ap50_intervals(evaluate({}, {"a": truth([], [])}, ["s"]), 5, rng) == ({"s": None}, None)
    alarm = evaluate({"a": found([square(0)], [0.9])}, {"a": truth([], [])}, ["s"])
    assert ap50_intervals(alarm, 5, rng) == ({"s": None}, None)
    missed = evaluate({}, {"a": truth([square(0)], [0]), "b": truth([square(0)], [0])}, ["s"])
    assert ap50_intervals(missed, 5, rng) == ({"s": (0.0, 0.0)}, (0.0, 0.0))
    assert weighted_ap50(missed, []).shape == (0, 1)


def test_a_seed_gives_the_same_interval_and_another_another() -> None:
    detections, truths = scene(np.random.default_rng(8), 12, 6, 20)
    turned = evaluate(dict(reversed(detections.items())), dict(reversed(truths.items())), CLASSES)
    scored = evaluate(detections, truths, CLASSES)
    first = ap50_intervals(scored, 30, np.random.default_rng(1))
    assert first == ap50_intervals(scored, 30, np.random.default_rng(1))
    assert first == ap50_intervals(turned, 30, np.random.default_rng(1))
    assert first != ap50_intervals(scored, 30, np.random.default_rng(2))


def test_the_draws_do_not_depend_on_the_detections() -> None:
    """So that two detectors on the same pictures are compared draw by draw."""
    weights = np.array(list(draw_pictures(7, 50, np.random.default_rng(0))))
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert np.array_equal(weights, list(draw_pictures(7, 50, np.random.default_rng(0))))
    assert [w.shape for w in draw_pictures(0, 2, np.random.default_rng(0))] == [(0,), (0,)]


def test_a_wider_confidence_contains_a_narrower_one() -> None:
    scored = evaluate(*scene(np.random.default_rng(9), 20, 6, 20), CLASSES)
    wide, narrow = (ap50_intervals(scored, 200, np.random.default_rng(0), confidence=c).mean for c in (0.95, 0.5))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        ap50_intervals(evaluate({}, {}, ["s"]), 0, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"needs overlap 0\.5"):
        ap50_intervals(evaluate({}, {}, ["s"], (0.6,)), 5, np.random.default_rng(0))


# -- numbers and table


def both_kinds() -> tuple[dict[str, ImageDetections], dict[str, ImageTruth]]:
    truths = {name: truth([square(0)], [0]) for name in "ab"}
    return {"a": found([square(0)], [0.9])}, truths


def halved(detections: Mapping[str, ImageDetections]) -> dict[str, ImageDetections]:
    """Without the boxes of every fourth picture."""
    return {
        name: item.at(np.zeros(0, int)) if number % 4 == 0 else item
        for number, (name, item) in enumerate(sorted(detections.items()))
    }


def test_a_difference_lies_about_its_value_and_is_told_more_exactly_than_the_two() -> None:
    detections, truths = scene(np.random.default_rng(3), 60, 6, 8)
    one, other = (evaluate(boxes, truths, CLASSES) for boxes in (halved(detections), detections))
    found = ap50_differences(one, other, 300, np.random.default_rng(0))
    apart = [ap50_intervals(scored, 300, np.random.default_rng(0)).mean for scored in (one, other)]
    value = np.nanmean(point(other)) - np.nanmean(point(one))
    assert found.mean[0] < value < found.mean[1]
    assert found.mean[1] - found.mean[0] < apart[1][1] - apart[0][0]
    assert found.mean[0] > 0, "fewer boxes found are worse in every draw"
    turned = ap50_differences(other, one, 300, np.random.default_rng(0))
    assert turned.mean == pytest.approx((-found.mean[1], -found.mean[0]))


def test_results_do_not_differ_from_themselves() -> None:
    detections, truths = scene(np.random.default_rng(4), 20, 6, 8)
    scored = evaluate(detections, truths, [*CLASSES, "absent"])
    found = ap50_differences(scored, scored, 50, np.random.default_rng(0))
    assert found.mean == (0.0, 0.0)
    assert found.classes["absent"] is None


def test_only_what_was_scored_on_the_same_pictures_can_be_compared() -> None:
    detections, truths = scene(np.random.default_rng(5), 6, 6, 8)
    scored = evaluate(detections, truths, CLASSES)
    fewer = evaluate(detections, dict(list(truths.items())[:5]), CLASSES)
    for other in (fewer, evaluate(detections, truths, [*CLASSES, "absent"])):
        with pytest.raises(ValueError, match="not scored on the same pictures and classes"):
            ap50_differences(scored, other, 10, np.random.default_rng(0))
    with pytest.raises(ValueError, match="num_resamples must be at least 1"):
        ap50_differences(scored, scored, 0, np.random.default_rng(0))


def test_the_numbers_keep_all_and_gain_the_intervals() -> None:
    scored = evaluate(*both_kinds(), ["ship", "无"])
    metrics = metrics_dict(scored)
    gained = with_intervals(metrics, ap50_intervals(scored, 100, np.random.default_rng(0)))
    assert gained["mAP50_interval"] == gained["classes"]["ship"]["AP50_interval"] == [0.0, 1.0]
    assert gained["classes"]["无"]["AP50_interval"] is None
    assert json.loads(json.dumps(gained)) == gained
    assert "mAP50_interval" not in metrics
    assert "AP50_interval" not in metrics["classes"]["ship"]
    assert all(gained[key] == value for key, value in metrics.items() if key != "classes")
    assert all(gained["classes"]["ship"][key] == value for key, value in metrics["classes"]["ship"].items())


@pytest.mark.parametrize("thresholds", [None, (0.3, 0.5, 0.6)])
def test_the_table_shows_them_beside_ap50(thresholds: tuple[float, ...] | None) -> None:
    scored = evaluate(*both_kinds(), ["ship", "none"], *([thresholds] if thresholds else []))
    metrics = metrics_dict(scored)
    intervals = ap50_intervals(scored, 100, np.random.default_rng(0))
    lines = format_table(with_intervals(metrics, intervals)).splitlines()
    assert len({len(line) for line in lines}) == 1
    titles, ship, none, mean = (lines[k].split() for k in (0, 2, 3, 5))
    place = titles.index("AP50") + 1
    assert titles[place : place + 3] == ["AP50", "95", "%"]
    assert (ship[place], none[place], mean[place]) == ("0.0000-1.0000", "n/a", "0.0000-1.0000")
    assert format_table(metrics).splitlines()[0].split() == titles[:place] + titles[place + 3 :]


@pytest.mark.long
def test_a_thousand_draws_of_the_real_size_take_less_than_two_seconds() -> None:
    """316 pictures and 20,000 detections, as hit-uav's val.txt; in time of this process, whatever else runs."""
    scored = evaluate(*scene(np.random.default_rng(0), 316, 8, 64, extent=512.0), CLASSES, (0.5,))
    start = time.process_time()
    ap50_intervals(scored, 1000, np.random.default_rng(0))
    assert time.process_time() - start < 2.0
