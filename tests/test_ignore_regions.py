"""What lies in an ignore region is neither hit nor false alarm, and only there, and only of the classes it is for."""

from __future__ import annotations

import pytest

from DOTA_devkit.evaluation import Evaluation, evaluate
from tests.test_evaluation import found, square, truth

REGION = square(0, 0, 100)


def false_alarms(result: Evaluation, name: str = "ship") -> int:
    item = result.classes[name]
    curve = item.curves[0]
    return len(curve.scores) - round(curve.recall.max(initial=0.0) * item.num_truths)


@pytest.mark.parametrize(("label", "flag"), [(-1, 0), (-1, 1), (-1, 2), (0, 2)])
def test_a_false_alarm_in_an_ignore_region_is_neither_hit_nor_false_alarm(label: int, flag: int) -> None:
    truths = {"a": truth([square(200), REGION], [0, label], [0, flag]), "b": truth([square(0)], [0])}
    detections = {
        "a": found([square(200), square(30, 30), square(94)], [0.5, 0.9, 0.8]),
        "b": found([square(0)], [0.7]),
    }
    assert false_alarms(evaluate(detections, truths, ["ship"])) == 0
    assert false_alarms(evaluate(detections, truths, ["ship"], ignore_overlap=0.7)) == 1  # 60 % of one is inside
    assert false_alarms(evaluate(detections, truths, ["ship"], ignore_overlap=None)) == 2


def test_an_ignore_region_of_a_class_holds_for_that_class_only() -> None:
    truths = {"a": truth([square(200), square(220), REGION], [0, 1, 1], [0, 0, 2])}
    detections = {"a": found([square(30, 30), square(30, 30)], [0.9, 0.9], [0, 1])}
    result = evaluate(detections, truths, ["ship", "plane"])
    assert (false_alarms(result, "ship"), false_alarms(result, "plane")) == (1, 0)
    assert result.classes["plane"].num_truths == 1
    assert result.classes["plane"].num_difficult == 1


def test_an_ignore_region_of_another_image_does_not_count() -> None:
    truths = {"a": truth([square(200)], [0]), "b": truth([REGION], [-1])}
    assert false_alarms(evaluate({"a": found([square(30, 30)], [0.9])}, truths, ["ship"])) == 1


def test_a_hit_in_an_ignore_region_is_a_hit_and_a_double_a_false_alarm() -> None:
    truths = {"a": truth([REGION, square(30, 30)], [-1, 0])}
    detections = {"a": found([square(30, 30), square(31, 30)], [0.9, 0.8])}
    (curve,) = evaluate(detections, truths, ["ship"], (0.5,)).classes["ship"].curves
    assert curve.recall.tolist() == [1.0, 1.0]
    assert curve.precision.tolist() == [1.0, 0.5]


def test_without_the_addition_flag_2_is_difficult_and_label_minus_1_is_dropped() -> None:
    truths = {"a": truth([square(0), square(50), square(100)], [0, 0, -1], [0, 2, 0])}
    detections = {"a": found([square(0), square(50), square(100)], [0.7, 0.8, 0.9])}
    item = evaluate(detections, truths, ["ship"], ignore_overlap=None).classes["ship"]
    assert (item.num_truths, item.num_difficult) == (1, 1)
    assert item.curves[0].precision.tolist() == [0.0, 0.5]
    assert (
        evaluate(detections, truths, ["ship"], difficult="count", ignore_overlap=None).classes["ship"].num_truths == 2
    )
    assert evaluate(detections, truths, ["ship"], difficult="count").classes["ship"].num_truths == 1


def test_a_detection_without_area_is_a_false_alarm() -> None:
    truths = {"a": truth([square(0), square(5, 0, 50)], [0, -1])}
    assert false_alarms(evaluate({"a": found([[[5, 5]] * 4], [0.9])}, truths, ["ship"])) == 1
