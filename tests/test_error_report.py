"""What a network errs in is told in a table, a plot and the pictures that show it."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.picture_files.images import read_image
from DOTA_devkit.confusion import Confusion, confusion
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.truths import ImageTruth
from tools.drawings.error_report import CONFUSION_CSV, CONFUSION_PLOT, WORST, write_confusion, write_worst

SQUARE = np.array([[4.0, 4], [24, 4], [24, 24], [4, 24]])


def test_the_table_opens_in_a_spreadsheet_and_the_plot_is_a_picture(tmp_path: Path) -> None:
    matrix = np.array([[5, 1, 2], [0, 7, 0], [3, 0, 0]])
    write_confusion(tmp_path, Confusion(matrix, {}), ["小车", "a, $b$"])
    rows = list(csv.reader((tmp_path / CONFUSION_CSV).read_text(encoding="utf-8-sig").splitlines()))
    assert rows[0] == ["truth", "小车", "a, $b$", "missed"]
    assert rows[1:] == [["小车", "5", "1", "2"], ["a, $b$", "0", "7", "0"], ["background", "3", "0", "0"]]
    plot = cv2.imdecode(np.fromfile(tmp_path / CONFUSION_PLOT, np.uint8), cv2.IMREAD_COLOR)
    assert plot.std() > 10


def test_classes_called_as_the_headings_are_told_apart_from_them(tmp_path: Path) -> None:
    write_confusion(tmp_path, Confusion(np.eye(3, dtype=int), {}), ["missed", "background"])
    rows = list(csv.reader((tmp_path / CONFUSION_CSV).read_text(encoding="utf-8-sig").splitlines()))
    assert rows[0] == ["truth", "missed", "background", "(missed)"]
    assert [row[0] for row in rows[1:]] == ["missed", "background", "(background)"]


@pytest.mark.slow
def test_three_hundred_classes_and_no_class_can_be_plotted(tmp_path: Path) -> None:
    for count in (300, 0):
        write_confusion(tmp_path, Confusion(np.eye(count + 1, dtype=int), {}), [f"c{k}" for k in range(count)])
        assert (tmp_path / CONFUSION_PLOT).stat().st_size > 1000


def test_the_pictures_with_most_errors_come_first_and_old_ones_go(tmp_path: Path) -> None:
    images, truths, detections = {}, {}, {}
    for number in range(10):
        name = f"图 {number}"
        images[name] = tmp_path / f"{name}.png"
        images[name].write_bytes(cv2.imencode(".png", np.full((60, 300, 3), 90, np.uint8))[1].tobytes())
        quads = np.array([SQUARE + np.array([30.0 * k, 0.0]) for k in range(number)]).reshape(-1, 4, 2)
        truths[name] = ImageTruth(quads, np.zeros(number, int), np.zeros(number, int))
        detections[name] = ImageDetections(quads[:1], np.full(len(quads[:1]), 0.9), np.zeros(len(quads[:1]), int))
    images["图 9"].write_bytes(b"damaged since")
    found = confusion(detections, truths, [0.5])
    assert list(found.errors.values()) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert write_worst(tmp_path, found, images, truths, detections, ["car"], [0.5], read_image, 0.5)
    page = cv2.imdecode(np.fromfile(tmp_path / WORST, np.uint8), cv2.IMREAD_COLOR)
    assert page.shape[0] > 7 * 60
    assert not write_worst(
        tmp_path, Confusion(found.matrix, {}), images, truths, detections, ["car"], [0.5], read_image, 0.5
    )
    assert not (tmp_path / WORST).exists()
