"""The counts of a data set's targets agree with the targets that are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.readers import Sample
from datasets.training_set import TrainingSet
from DOTA_devkit.boxes import boxes_to_quads
from tools.target_statistics import count_input, count_picture, format_summary, summarize

BOX = st.tuples(st.floats(-20, 150), st.floats(-20, 150), st.floats(0.5, 60), st.floats(0.5, 60), st.floats(0, 3.1))


def _sample(boxes: np.ndarray, labels: np.ndarray, difficult: np.ndarray) -> Sample:
    quads = boxes_to_quads(np.asarray(boxes, float).reshape(-1, 5), "rolabelimg").astype(np.float32)
    return Sample(Path("a.png"), quads, labels, difficult)


@settings(deadline=None, max_examples=100)
@given(
    boxes=st.lists(st.tuples(BOX, st.integers(-1, 1), st.integers(0, 2)), max_size=6),
    hw=st.sampled_from([(128, 128), (100, 140), (300, 200)]),
)
def test_what_is_not_lost_gets_a_target(boxes, hw):
    sample = _sample(
        np.array([box for box, _, _ in boxes]),
        np.array([label for _, label, _ in boxes], np.int64),
        np.array([flag for _, _, flag in boxes], np.int64),
    )
    count = count_picture(sample, hw, (128, 128), 0.5)
    training_set = TrainingSet([sample], 2, (128, 128), (0.0, 0.0, 0.0), None, 0.5)
    _, targets = training_set.make_input(np.random.default_rng(0), [(np.zeros((*hw, 3), np.uint8), sample)])
    made = count_input(targets)
    assert len(count.labels) == made.num_targets
    assert int(count.horizontal.sum()) == made.num_horizontal
    assert len(count.labels) + sum(count.lost.values()) == int((~sample.ignored).sum())
    assert count.num_shared == len(targets.ind) - len(np.unique(targets.ind))
    assert (count.short <= count.long).all()


def test_the_summary_of_nothing_and_of_two_objects_in_a_cell():
    nothing = summarize([], [], ["car"])
    assert (nothing["objects"], nothing["horizontal"], nothing["inputs"]["ignored_cells"]) == (0, None, None)
    assert "n/a" in format_summary(nothing, 0.5)
    boxes = np.array([[50.0, 50.0, 20.0, 10.0, 0.0], [50.5, 50.5, 30.0, 10.0, 0.7]])
    count = count_picture(_sample(boxes, np.array([0, 1]), np.array([0, 1])), (128, 128), (128, 128), 0.5)
    summary = summarize([count], [], ["car", "小船", "plane"])
    assert (summary["sharing_a_cell"], summary["horizontal"]) == (1, 0.5)
    np.testing.assert_allclose(summary["classes"]["car"]["short_side"], [10, 10, 10], atol=1e-4)
    told = format_summary(summary, 0.5)
    assert "no object to learn of 1 classes: plane" in told
    assert "小船" in told
