"""From maps to the boxes of a picture: scale, score, NMS by class, batches, damaged pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import IMAGENET, Detections
from tools.checkpoint import Architecture
from tools.detect import DetectionSettings, detect, select

SQUARE = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], np.float32)


def _detections(quads, scores, labels) -> Detections:
    return Detections(
        torch.tensor(np.array([quads], np.float32)), torch.tensor([scores]), torch.tensor([labels], dtype=torch.int64)
    )


def test_boxes_come_back_to_the_pixels_of_the_picture():
    found = select(_detections([SQUARE], [0.9], [0]), 0, 0.5, DetectionSettings())
    assert np.array_equal(found.quads[0], SQUARE * 2)


def test_low_scores_go_and_the_best_comes_first():
    quads = [SQUARE, SQUARE + 100, SQUARE + 200]
    found = select(_detections(quads, [0.2, 0.9, 0.05], [0, 0, 0]), 0, 1.0, DetectionSettings(conf_thresh=0.1))
    assert found.scores.tolist() == pytest.approx([0.9, 0.2])


def test_nms_keeps_the_better_of_a_class_and_leaves_other_classes():
    quads = [SQUARE, SQUARE + 1, SQUARE + 1]
    found = select(_detections(quads, [0.8, 0.9, 0.7], [0, 0, 1]), 0, 1.0, DetectionSettings(nms_thresh=0.3))
    assert found.labels.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])


def test_the_threshold_of_nms_is_a_setting():
    """Defect 18: hard-coded."""
    quads = [SQUARE, SQUARE + np.array([5, 0], np.float32)]  # IoU 1/3
    for threshold, count in ((0.3, 1), (0.4, 2)):
        found = select(_detections(quads, [0.8, 0.9], [0, 0]), 0, 1.0, DetectionSettings(nms_thresh=threshold))
        assert len(found.scores) == count


def test_no_box_at_all():
    found = select(_detections(np.zeros((0, 4, 2)), [], []), 0, 1.0, DetectionSettings())
    assert found.quads.shape == (0, 4, 2)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    architecture = Architecture("resnet18", False, ("car", "boat"), (64, 64), IMAGENET)
    model = architecture.build().eval()
    torch.nn.init.normal_(model.hm[2].weight, std=0.5)
    torch.nn.init.normal_(model.wh[2].weight, std=0.2)
    return model, architecture


def test_a_batch_of_pictures_gives_what_each_gives_alone(network, dota_folder):
    """Defect 15: the decoder worked at batch size 1 only."""
    paths = sorted((dota_folder() / "images").iterdir())
    options = {"settings": DetectionSettings(), "device": torch.device("cpu"), "num_workers": 0}
    together = list(detect(*network, paths, batch_size=4, **options))
    alone = list(detect(*network, paths, batch_size=1, **options))
    assert [item.row for item in together] == [0, 1, 2, 3]
    for one, other in zip(together, alone, strict=True):
        assert len(one.detections.scores) > 0
        np.testing.assert_allclose(one.detections.quads, other.detections.quads, atol=1e-3)
        np.testing.assert_allclose(one.detections.scores, other.detections.scores, atol=1e-5)


def test_kept_pictures_come_whole_and_damaged_ones_by_name(network, dota_folder):
    paths = sorted((dota_folder() / "images").iterdir())
    paths[1].write_bytes(b"no picture")
    found = list(
        detect(
            *network, paths, DetectionSettings(),
            device=torch.device("cpu"), batch_size=2, num_workers=0, num_kept=3,
        )
    )  # fmt: skip
    by_row = {item.row: item for item in found}
    assert by_row[0].picture.shape == (128, 128, 3)
    assert by_row[3].picture is None
    assert "scene_1.png" in by_row[1].problem
    assert by_row[1].detections.quads.shape == (0, 4, 2)
    assert by_row[2].size == (128, 128)
