"""Parity finds a file that differs, and is not misled by what rounding alone decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import BatchNorm2d, Conv2d

from datasets.demo import draw_scene
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from tools.checkpoint import load_checkpoint
from tools.exported.export_parity import (
    HALF_LIMITS,
    NEAR_SCORE,
    Expected,
    Limits,
    Parity,
    ParityError,
    _compare,
    _near_ties,
    _order_ties,
    measure_parity,
)
from tools.onnx_detector import OnnxDetector
from tools.outcomes import DetectionSettings

SETTINGS = DetectionSettings(num_peaks=5, conf_thresh=0.1)
SQUARE = np.array([[0.0, 0], [8, 0], [8, 8], [0, 8]])


def _boxes(*scores: float, shift: float = 0.0, label: int = 0) -> ImageDetections:
    """Squares 50 px apart."""
    quads = np.stack([SQUARE + 50 * number + shift for number in range(len(scores))])
    return ImageDetections(quads, np.array(scores, np.float64), np.full(len(scores), label))


def _parity(rows: ImageDetections, *variants: ImageDetections, doubtful: ImageDetections = NO_DETECTIONS) -> Parity:
    parity = Parity()
    _compare(rows, Expected(list(variants), doubtful), SETTINGS, Limits(), parity, "here")
    return parity


def test_the_same_boxes_are_the_same() -> None:
    parity = _parity(_boxes(0.9, 0.5), _boxes(0.9, 0.5))
    parity.check(Limits())
    assert (parity.num_boxes, parity.pixels, parity.score) == (2, 0.0, 0.0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (_boxes(0.9, 0.5, shift=0.02), "corners differ by up to 0.02 px"),
        (_boxes(0.9, 0.5002), "scores by up to 0.0002"),
        (_boxes(0.9), "a box of class 0 and score 0.5000 in torch alone, here"),
        (_boxes(0.9, 0.5, 0.3), "a box of class 0 and score 0.3000 in the file alone, here"),
        (_boxes(0.9, 0.5, label=1), "4 of 2 boxes differ"),
        (_boxes(0.9, 0.5, shift=30), "4 of 2 boxes differ"),
    ],
)
def test_a_difference_beyond_the_limits_is_an_error(rows, message) -> None:
    with pytest.raises(ParityError, match=message):
        _parity(rows, _boxes(0.9, 0.5)).check(Limits())


def test_a_box_at_the_threshold_may_be_in_one_alone() -> None:
    _parity(_boxes(0.9), _boxes(0.9, 0.10005)).check(Limits())
    _parity(_boxes(0.9, 0.10005), _boxes(0.9)).check(Limits())


def test_the_last_of_k_boxes_may_be_another() -> None:
    full, other = _boxes(0.9, 0.8, 0.7, 0.6, 0.5), _boxes(0.9, 0.8, 0.7, 0.6, 0.5)
    other.quads[4] += 300
    _parity(full, other).check(Limits())


def test_what_rounding_may_choose_either_way_is_no_difference() -> None:
    _parity(_boxes(0.9, 0.5), _boxes(0.9, 0.5), _boxes(0.9)).check(Limits())
    _parity(_boxes(0.9), _boxes(0.9, 0.5), _boxes(0.9)).check(Limits())
    with pytest.raises(ParityError, match="in the file alone"):
        _parity(_boxes(0.9, 0.5, 0.3), _boxes(0.9, 0.5), _boxes(0.9)).check(Limits())


def test_boxes_of_a_doubtful_peak_or_beside_one_are_no_difference() -> None:
    extra = _boxes(0.9, 0.5, 0.3)
    near = ImageDetections(extra.quads[2:] + 1, extra.scores[2:], extra.labels[2:])
    _parity(extra, _boxes(0.9, 0.5), doubtful=near).check(Limits())
    _parity(_boxes(0.9, 0.5), extra, doubtful=near).check(Limits())
    with pytest.raises(ParityError, match="in the file alone"):
        _parity(extra, _boxes(0.9, 0.5), doubtful=near._replace(labels=near.labels + 1)).check(Limits())


def test_of_overlapping_boxes_that_score_the_same_either_may_go() -> None:
    """Two boats, 0.43 of both common to them, differed by 3e-7: the file of `make demo` was refused; two others
    by 2e-5."""
    shifts = np.array([0.0, 3.0, 50.0, 53.0, 100.0, 103.0])[:, None, None]
    scores, labels = np.array([0.5, 0.5 + 2e-5, 0.4, 0.41, 0.3, 0.3]), np.array([0, 0, 0, 0, 0, 1])
    boxes = ImageDetections(SQUARE + shifts * (1, 0), scores, labels)
    ties = _order_ties(boxes, SETTINGS, NEAR_SCORE * Limits().score)
    assert ties.scores.tolist() == [0.5, 0.5 + 2e-5]
    first, second = boxes.at([0]), boxes.at([1])
    _parity(first, second, doubtful=ties).check(Limits())
    _parity(second, first, doubtful=ties).check(Limits())
    with pytest.raises(ParityError, match="corners differ"):
        _parity(first, second).check(Limits())


def test_a_box_without_an_area_is_of_a_doubtful_peak_where_it_lies_on_it() -> None:
    """It overlaps nothing, itself included: an export was refused for it."""
    line = np.array([[[100.0, 100], [100, 100], [100, 100.2], [100, 100.2]]])
    flat = ImageDetections(line, np.array([0.3]), np.array([0]))
    rows = ImageDetections(*(np.concatenate(part) for part in zip(_boxes(0.9), flat, strict=True)))
    _parity(rows, _boxes(0.9), doubtful=flat).check(Limits())
    with pytest.raises(ParityError, match="in the file alone"):
        _parity(rows, _boxes(0.9), doubtful=flat._replace(quads=line + 20)).check(Limits())


def test_neighbours_that_are_about_equal_are_two_boxes_and_no_difference() -> None:
    """Each side may choose the other one: `--tta_views 2` was refused for "corners differ by up to 3.8 px"."""
    ours, theirs = _boxes(0.9, 0.5), _boxes(0.9, 0.5)
    theirs.quads[1] += 3
    tie = ImageDetections(*(np.concatenate([part[1:], other[1:]]) for part, other in zip(ours, theirs, strict=True)))
    parity = _parity(ours, theirs, doubtful=tie)
    parity.check(Limits())
    assert (parity.num_boxes, parity.pixels) == (2, 0.0)
    with pytest.raises(ParityError, match="corners differ by up to 3 px"):
        _parity(ours, theirs).check(Limits())


def test_cells_about_as_high_as_their_highest_neighbour_are_near_ties() -> None:
    hm = torch.arange(25.0).view(1, 1, 5, 5) - 90
    hm[0, 0, 1, 1], hm[0, 0, 1, 2], hm[0, 0, 3, 4] = 2.00005, 2.0, 1.0
    ninths = torch.stack(list(_near_ties(hm, 1e-4)))
    assert (ninths > -torch.inf).sum(0)[0, 0].nonzero().tolist() == [[1, 1], [1, 2]]
    plateau = torch.stack(list(_near_ties(torch.zeros(1, 1, 7, 8), 1e-4))).amax(0)
    assert (plateau == 0).all()


@pytest.mark.slow
def test_other_weights_are_found_on_pictures(exported, finding_checkpoint: Path) -> None:
    network, architecture, _ = load_checkpoint(finding_checkpoint)
    network.eval()
    detector = OnnxDetector(exported(nms=True))
    scene = draw_scene(np.random.default_rng(1))[0]
    pictures = [[scene[:64, :96]], [scene[:100, :90], scene[100:200, 100:190]]]
    same = measure_parity(network, architecture.preprocessing, detector, pictures, Limits())
    same.check(Limits())
    assert same.num_boxes > 10
    assert same.num_pictures == 3
    with torch.no_grad():
        network.reg[-1].bias.add_(0.01)  # four hundredths of a pixel
    moved = measure_parity(network, architecture.preprocessing, detector, pictures, Limits())
    with pytest.raises(ParityError):
        moved.check(Limits())


@pytest.mark.slow
def test_what_fp16_cannot_hold_is_found_though_a_cpu_widens_it(exported, finding_checkpoint: Path) -> None:
    """The same network, with a first layer that gives a million times as much to a norm that takes it back."""
    network, architecture, _ = load_checkpoint(finding_checkpoint)
    network.eval()
    conv, norm = (next(part for part in network.modules() if isinstance(part, kind)) for kind in (Conv2d, BatchNorm2d))
    with torch.no_grad():
        conv.weight.mul_(1e6)
        norm.running_mean.mul_(1e6)
        norm.running_var.add_(norm.eps).mul_(1e12)
    pictures = [[draw_scene(np.random.default_rng(1))[0][:64, :96]]]
    parity = measure_parity(network, architecture.preprocessing, OnnxDetector(exported()), pictures, HALF_LIMITS)
    assert parity.pixels < 1.0
    parity.check(replace(HALF_LIMITS, largest=np.inf))
    with pytest.raises(ParityError, match=r"reach \d.*e\+0[56], and fp16 ends at 65504.*without --half"):
        parity.check(HALF_LIMITS)
