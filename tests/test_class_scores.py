"""Each class from the score of its best F1 on: read from an evaluation, drawn, counted and converted by it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from DOTA_devkit.labels import read_labels
from DOTA_devkit.task_files import ImageDetections
from tools.class_scores import least_scores, read_scores, scores_of, shown_scores
from tools.convert_labels import main as convert
from tools.detection.results import ResultFiles
from tools.drawing import draw_boxes
from tools.outcomes import Found
from tools.running.command_line import SettingsError

METRICS = {
    "classes": {"car": {"score_threshold": 0.4}, "小船": {"score_threshold": 0.2}, "bus": {"score_threshold": None}}
}
QUAD = np.array([[10.0, 10], [30, 10], [30, 20], [10, 20]])


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(METRICS), encoding="utf-8")
    return tmp_path / "run"


def test_a_class_without_a_score_has_that_of_the_flag(run_dir: Path) -> None:
    assert read_scores(run_dir) == read_scores(run_dir / "metrics.json") == scores_of(METRICS)
    assert least_scores(["小船", "bus", "car", "new"], read_scores(run_dir), 0.3) == [0.2, 0.3, 0.4, 0.3]


def test_scores_are_shown_as_one_or_as_a_range() -> None:
    assert shown_scores([0.3, 0.3]) == "0.3"
    assert shown_scores([0.41372, 0.3]) == "0.3 to 0.414, by class,"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"classes": 3}', '{"classes": {"car": {}}}', '{"classes": {"car": {"score_threshold": 7}}}'],
)
def test_what_is_no_evaluation_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.json").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"--scores: .*metrics\.json: is no metrics\.json of an evaluation"):
        read_scores(tmp_path)
    with pytest.raises(SettingsError, match="--phase eval writes it"):
        read_scores(tmp_path / "gone")


def test_boxes_are_drawn_from_the_score_of_their_class_on() -> None:
    boxes = ImageDetections(np.stack([QUAD, QUAD + 40]), np.array([0.35, 0.35]), np.array([0, 1]))
    drawn = draw_boxes(np.zeros((100, 100, 3), np.uint8), boxes, ["car", "boat"], min_score=[0.4, 0.2], labels=False)
    assert not drawn[:40].any()
    assert drawn[45:].any()


def test_predictions_become_labels_from_the_score_of_their_class_on(run_dir: Path, tmp_path: Path) -> None:
    """833 cars of 579 were written by one score for all."""
    with ResultFiles(tmp_path / "results", ["car", "小船", "bus"], {}) as files:
        quads, scores = np.stack([QUAD] * 6), np.array([0.45, 0.35, 0.25, 0.15, 0.35, 0.25])
        files.write(Path("a.png"), Found(0, ImageDetections(quads, scores, np.array([0, 0, 1, 1, 2, 2])), (50, 50)))
    for source in ("detections", "task1"):
        out = tmp_path / source
        flags = ["--from", source, "--to", "dota", "--min_score", "0.3", "--scores", str(run_dir)]
        assert convert([str(tmp_path / "results"), str(out), *flags]) == 0
        assert sorted(read_labels(out / "labelTxt" / "a.txt").names) == ["bus", "car", "小船"]


def test_scores_of_other_classes_are_told_of(capsys: pytest.CaptureFixture) -> None:
    assert least_scores(["x"], {"zebra": 0.4}, 0.3) == [0.3]
    assert "--scores tells of zebra, and of none of the classes x" in capsys.readouterr().err
