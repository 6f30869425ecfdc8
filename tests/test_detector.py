"""In a program of one's own a network finds what phase test finds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import main
from datasets.demo import draw_scene
from datasets.picture_files.images import ImageError, read_image
from datasets.picture_files.layouts import Reading
from tools.checkpoint import CheckpointError, load_file
from tools.detector import Detector
from tools.outcomes import Tiling
from tools.running.command_line import SettingsError


@pytest.mark.slow
def test_a_picture_in_memory_has_the_boxes_that_phase_test_gives(
    finding_checkpoint: Path, dota_folder, tmp_path: Path
) -> None:
    images = dota_folder() / "images"
    flags = ["--phase", "test", "--resume", str(finding_checkpoint), "--input", str(images), "--num_workers", "0"]
    assert main.main([*flags, "--out", str(tmp_path / "out"), "--conf_thresh", "0.05", "--num_drawings", "0"]) == 0
    records = json.loads((tmp_path / "out" / "results" / "detections.json").read_text("utf-8"))
    detector = Detector(finding_checkpoint, conf_thresh=0.05)
    found = detector.detect([cv2.imread(str(images / record["image"])) for record in records])
    assert sum(len(boxes.scores) for boxes in found) > 5
    for record, boxes in zip(records, found, strict=True):
        assert [box["class"] for box in record["boxes"]] == [detector.class_names[label] for label in boxes.labels]
        assert [box["score"] for box in record["boxes"]] == pytest.approx(boxes.scores.tolist(), abs=1e-5)
        there = np.array([box["quad"] for box in record["boxes"]]).reshape(-1, 4, 2)
        assert np.abs(there - boxes.quads).max(initial=0) < 1e-2
    assert detector.detect([]) == []


@pytest.mark.parametrize(
    ("picture", "what"),
    [
        (None, "not NoneType; was the file found"),  # what cv2.imread gives for a missing file
        (np.zeros((5, 5, 2), np.uint8), r"not uint8 \(5, 5, 2\)"),
        (np.zeros((5, 5, 3, 1), np.uint8), r"not uint8 \(5, 5, 3, 1\)"),
        (np.zeros((0, 5), np.uint8), "without pixels"),
        (np.zeros((5, 5, 3), np.float32), "not float32"),
        (np.zeros((0, 5, 3), np.uint8), "without pixels"),
    ],
)
def test_what_is_no_picture_is_a_sentence(finding_checkpoint: Path, picture: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Detector(finding_checkpoint).detect([picture])


@pytest.mark.parametrize(
    ("number", "what"),
    [
        ({"conf_thresh": 2}, "conf_thresh is 2; it must lie between 0 and 1"),
        ({"nms_thresh": -1}, "nms_thresh is -1"),
        ({"num_peaks": 0}, "K, the most boxes of a picture, is 0"),
        ({"tta_views": 3}, "the views of a picture are 3; there can be 1, 2 or 4"),
    ],
)
def test_a_number_out_of_range_is_a_sentence_and_not_no_boxes(
    finding_checkpoint: Path, number: dict[str, int], what: str
) -> None:
    with pytest.raises(ValueError, match=what):
        Detector(finding_checkpoint, **number)


@pytest.mark.slow
def test_a_precision_that_the_device_has_not_is_told_of_at_once(finding_checkpoint: Path) -> None:
    with pytest.raises(SettingsError, match="--precision fp16 is for GPUs"):
        Detector(finding_checkpoint, "cpu", precision="fp16")
    detector = Detector(finding_checkpoint, "cpu")
    with pytest.raises(SettingsError, match="--precision fp16 is for GPUs"):
        detector.settings = replace(detector.settings, precision="fp16")
    picture = np.zeros((64, 64, 3), np.uint8)
    full, half = (Detector(finding_checkpoint, precision=name).detect([picture])[0] for name in ("fp32", "bf16"))
    assert len(full.scores) > 0
    assert full.scores[0] == pytest.approx(half.scores[0], abs=0.03)


def test_what_is_no_checkpoint_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"no")
    with pytest.raises(CheckpointError, match=r"a\.pth"):
        Detector(tmp_path / "a.pth")


@pytest.mark.slow
def test_a_big_picture_in_tiles_has_the_boxes_that_phase_test_gives(
    finding_checkpoint: Path, dota_folder, tmp_path: Path
) -> None:
    picture = dota_folder(names=["a"], hw=(150, 210)) / "images" / "a.png"
    flags = ["--phase", "test", "--resume", str(finding_checkpoint), "--input", str(picture), "--num_workers", "0"]
    assert main.main([*flags, "--out", str(tmp_path / "out"), "--tile", "96", "--overlap", "32"]) == 0
    record = json.loads((tmp_path / "out" / "results" / "detections.json").read_text("utf-8"))[0]
    detector = Detector(finding_checkpoint)
    found = detector.detect_tiled(cv2.imread(str(picture)), Tiling(96, 32), batch_size=4)
    assert len(found.scores) == len(record["boxes"]) > 20
    there = np.array([box["quad"] for box in record["boxes"]]).reshape(-1, 4, 2)
    np.testing.assert_allclose(found.quads, there, atol=2e-2)
    with pytest.raises(ValueError, match="not float32"):
        detector.detect_tiled(np.zeros((5, 5, 3), np.float32), Tiling(96, 32))
    with pytest.raises(ValueError, match="batch_size is 0; it must be at least 1"):
        detector.detect_tiled(np.zeros((5, 5, 3), np.uint8), Tiling(96, 32), batch_size=0)


@pytest.mark.slow
def test_a_backbone_that_contradicts_the_checkpoint_is_an_error(finding_checkpoint: Path) -> None:
    """It was taken without a word, whatever it was."""
    assert Detector(finding_checkpoint, backbone="resnet18").num_channels == 3
    with pytest.raises(SettingsError, match=r"--backbone resnet50 contradicts the checkpoint .*, which says resnet18"):
        Detector(finding_checkpoint, backbone="resnet50")


@pytest.mark.slow
def test_boxes_of_all_classes_compete_when_asked_whole_and_in_tiles(finding_checkpoint: Path) -> None:
    """In tiles they did not, whatever the settings said."""
    picture = draw_scene(np.random.default_rng(3))[0]
    plain, agnostic = Detector(finding_checkpoint), Detector(finding_checkpoint, agnostic_nms=True)
    changed = Detector(finding_checkpoint)
    changed.settings = replace(changed.settings, agnostic=True)
    for detect in (lambda one: one.detect([picture])[0], lambda one: one.detect_tiled(picture, Tiling(96, 32))):
        counts = [len(detect(one).scores) for one in (plain, agnostic, changed)]
        assert counts[0] > counts[1] == counts[2]


@pytest.mark.slow
def test_files_are_read_as_the_network_was_taught_to_see_them(finding_checkpoint: Path, tmp_path: Path) -> None:
    """Who read a thermal picture by `read_image` got it spread by its own percentiles, and not those of training."""
    content = load_file(finding_checkpoint)
    content["architecture"]["preprocessing"]["value_range"] = [1000.0, 60000.0]
    torch.save(content, tmp_path / "thermal.pth")
    deep = np.random.default_rng(0).integers(20000, 30000, (40, 50), dtype=np.uint16)
    path = tmp_path / "a.tif"
    path.write_bytes(cv2.imencode(".tif", deep)[1].tobytes())
    detector = Detector(tmp_path / "thermal.pth")
    picture = detector.read(str(path))
    np.testing.assert_array_equal(picture, read_image(path, 3, Reading((1000, 60000))))
    np.testing.assert_array_equal(detector.open(path), picture)
    assert picture.max() < 130 < 200 < Detector(finding_checkpoint).read(path).max()
    with pytest.raises(ImageError, match=r"gone\.png"):
        detector.read(tmp_path / "gone.png")
