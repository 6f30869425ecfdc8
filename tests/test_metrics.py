"""The numbers of an evaluation and their table: honest where there is nothing to measure, aligned in any script."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest

from DOTA_devkit.evaluation import evaluate
from DOTA_devkit.metrics import SIZES, format_report, format_sizes, format_table, metrics_dict
from tests.test_evaluation import found, square, truth


def test_of_equal_f1_the_higher_score_is_taken() -> None:
    """Two of the first 5, and three of the first 15, of 15 objects: both 0.2; the second came out a bit above it."""
    is_hit = np.isin(np.arange(15), (3, 4, 14))
    truths = {"a": truth([square(100 * number) for number in range(15)], [0] * 15)}
    boxes = [square(100 * number, 0 if is_hit[number] else 1000) for number in range(15)]
    detections = {"a": found(boxes, [1 - number / 20 for number in range(15)])}
    item = metrics_dict(evaluate(detections, truths, ["ship"]))["classes"]["ship"]
    assert item["f1"] == 0.2
    assert item["score_threshold"] == pytest.approx((0.8 + 0.75) / 2)


def test_the_threshold_lies_in_the_middle_of_where_f1_is_best() -> None:
    """It was the score of the weakest box that was right, so that half of the like of it fell below in use."""
    truths = {"a": truth([square(0), square(50)], [0, 0])}
    detections = {"a": found([square(0), square(50), square(500)], [0.9, 0.5, 0.2])}
    item = metrics_dict(evaluate(detections, truths, ["ship"]))["classes"]["ship"]
    assert (item["f1"], item["score_threshold"]) == (1.0, 0.35)
    without_stray = {"a": found([square(0), square(50)], [0.9, 0.5])}
    item = metrics_dict(evaluate(without_stray, truths, ["ship"]))["classes"]["ship"]
    assert (item["f1"], item["score_threshold"]) == (1.0, 0.5), "nobody knows what scores less and was cut off"
    below_zero = {"a": found([square(0)], [-0.5])}  # of another program
    item = metrics_dict(evaluate(below_zero, truths, ["ship"]))["classes"]["ship"]
    assert (item["score_threshold"], item["fit_iou"]) == (-0.5, 1.0)


def test_the_threshold_keeps_what_it_is_said_to_keep_and_no_more() -> None:
    """Between neighbouring numbers of float32 the middle was the lower one, and let a stray in; the table rounded a
    threshold up, above the weakest box that counted for it."""
    above = np.float32(1 - 2**-24)
    below = np.nextafter(above, np.float32(0))
    truths = {"a": truth([square(0), square(50)], [0, 0])}
    detections = {"a": found([square(0), square(50), square(500)], np.array([above, above, below]))}
    item = metrics_dict(evaluate(detections, truths, ["ship"]))["classes"]["ship"]
    assert (item["f1"], np.float32(item["score_threshold"])) == (1.0, above)
    weakest = {"a": found([square(0), square(50)], [0.9, 0.57616])}
    assert " 0.5761\n" in format_table(metrics_dict(evaluate(weakest, truths, ["ship"])))


def test_the_best_f1_does_not_cut_between_equal_scores() -> None:
    """A hit and a stray of one score: nobody can have the one without the other."""
    truths = {"a": truth([square(0)], [0])}
    detections = {"a": found([square(0), square(50)], [0.5, 0.5])}
    item = metrics_dict(evaluate(detections, truths, ["ship"]))["classes"]["ship"]
    assert (item["precision"], item["recall"], item["score_threshold"]) == (0.5, 1.0, 0.5)
    assert item["AP50"] == 1.0  # as published: equal scores go one after the other


def test_nothing_at_all_is_not_available() -> None:
    for classes in ([], ["ship"]):
        metrics = metrics_dict(evaluate({}, {}, classes))
        assert metrics["mAP50"] is None
        assert metrics["mAP50_95"] is None
        assert metrics["num_images"] == 0
        assert list(metrics["classes"]) == classes
        json.dumps(metrics, allow_nan=False)
    metrics = metrics_dict(evaluate({"a": found([], [])}, {"a": truth([], [])}, ["ship"]))
    assert metrics["classes"]["ship"]["AP50"] is None


def test_a_class_without_truth_is_outside_the_mean() -> None:
    """Defect 24: it counted as AP 0 in the mean."""
    truths = {"a": truth([square(0), square(50)], [0, 1], [0, 1])}
    detections = {"a": found([square(0), square(50), square(99)], [0.9, 0.8, 0.7], [0, 1, 2])}
    metrics = metrics_dict(evaluate(detections, truths, ["ship", "only-difficult", "none"]))
    assert metrics["mAP50"] == metrics["mAP50_95"] == metrics["mAP50_07"] == 1.0
    for name in ("only-difficult", "none"):
        item = metrics["classes"][name]
        for key in ("AP50", "AP75", "AP50_95", "AP50_07", "precision", "recall", "f1", "score_threshold"):
            assert item[key] is None
        assert item["num_detections"] == 1
    assert metrics["classes"]["only-difficult"]["num_difficult"] == 1


def test_other_thresholds_have_their_own_keys() -> None:
    metrics = metrics_dict(
        evaluate({"a": found([square(2)], [1.0])}, {"a": truth([square(0)], [0])}, ["s"], (0.6, 0.675))
    )
    assert metrics["mAP"] == metrics["classes"]["s"]["AP"] == {"0.60": 1.0, "0.675": 0.0}
    assert metrics["mAP50"] is None
    assert metrics["mAP50_95"] is None
    assert metrics["classes"]["s"]["precision"] is None


def test_sizes_are_a_column_each_where_there_are_objects_of_several() -> None:
    truths = {"a": truth([square(0), square(50), square(200, side=40)], [0, 1, 0])}
    detections = {"a": found([square(0), square(50)], [0.9, 0.8], [0, 1])}
    metrics = metrics_dict(evaluate(detections, truths, ["car", "truck", "none"]))
    assert SIZES == ("0-16", "16-32", "32-96", "96-")
    assert metrics["classes"]["car"]["sizes"]["32-96"] == {"AP50": 0.0, "num_truths": 1}
    assert metrics["sizes"]["0-16"] == {"mAP50": 1.0, "num_truths": 2}
    assert metrics["sizes"]["96-"] == {"mAP50": None, "num_truths": 0}
    title, *table = format_sizes(metrics).splitlines()
    assert "square root" in title
    rows = [line.split() for line in table if "---" not in line]
    assert rows == [
        "class 0 to 16 truths 32 to 96 truths".split(),
        ["car", "1.0000", "1", "0.0000", "1"],
        ["truck", "1.0000", "1", "n/a", "0"],
        ["mean", "1.0000", "2", "0.0000", "1"],
    ]
    assert format_report(metrics).endswith(format_sizes(metrics))


def test_objects_of_one_size_have_no_table_of_sizes() -> None:
    metrics = metrics_dict(evaluate({}, {"a": truth([square(0)], [0])}, ["car"]))
    assert format_sizes(metrics) == ""
    metrics = metrics_dict(evaluate({}, {"a": truth([square(0)], [0])}, ["car"], (0.75,)))
    assert metrics["sizes"] == {}
    assert format_sizes(metrics) == ""


def test_the_table_is_aligned_in_any_script() -> None:
    truths = {"a": truth([square(0), square(50)], [0, 1])}
    detections = {"a": found([square(0), square(51)], [0.9, 0.8], [0, 1])}
    table = format_table(metrics_dict(evaluate(detections, truths, ["小型车辆", "ship", "none"])))
    lines = table.splitlines()
    assert len({columns(line) for line in lines}) == 1
    assert lines[0].split() == [
        "class",
        "truths",
        "detections",
        "AP50",
        "AP75",
        "AP50:95",
        "precision",
        "recall",
        "at",
        "score",
    ]
    assert lines[2].split() == ["小型车辆", "1", "1", "1.0000", "1.0000", "1.0000", "1.0000", "1.0000", "0.9000"]
    assert lines[4].split() == ["none", "0", "0", "n/a", "n/a", "n/a", "n/a", "n/a", "n/a"]
    assert lines[-1].split()[:4] == ["mean", "2", "2", "1.0000"]
    assert lines[-1].split()[5] == f"{(1 + 0.7) / 2:.4f}"  # 9 / 11 = 0.818 is above seven of the ten thresholds


def test_the_table_of_nothing() -> None:
    assert format_table(metrics_dict(evaluate({}, {}, []))).splitlines()[-1].split() == ["mean", "0", "0"] + ["n/a"] * 6


def columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
