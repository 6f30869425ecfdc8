"""An exported file at work gives the boxes that the checkpoint gives, whole and in tiles, whatever the file leaves to
its user."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from datasets.demo import draw_scene
from tools.checkpoint import load_checkpoint
from tools.detection.detect import Inference
from tools.onnx_detector import OnnxDetector
from tools.outcomes import DetectionSettings, Tiling
from tools.running.command_line import SettingsError

SCENE = draw_scene(np.random.default_rng(3))[0]
CPU = torch.device("cpu")
OPTIONS = {"batch_size": 2, "num_workers": 0}
SETTINGS = DetectionSettings()


def _write(path, picture) -> None:
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def _assert_same(found, expected, atol=2e-2) -> None:
    assert len(expected.scores) > 5
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.quads, expected.quads, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"nms": True}, pytest.param({"nms": False}, marks=pytest.mark.long)])
def test_boxes_are_those_of_the_checkpoint(exported, finding_checkpoint, tmp_path, settings) -> None:
    network, architecture, _ = load_checkpoint(finding_checkpoint)
    inference = Inference(network, architecture, SETTINGS, CPU)
    detector = OnnxDetector(exported(**settings))
    for hw in ((64, 96), (150, 90), (40, 200)):
        picture = cv2.resize(SCENE, (hw[1], hw[0]))
        _write(tmp_path / "a.png", picture)
        expected = next(iter(inference.pictures([tmp_path / "a.png"], **OPTIONS))).detections
        _assert_same(detector.detect([picture])[0], expected)


@pytest.mark.slow
@pytest.mark.parametrize("scales", [(1.0,), (0.6, 1.0)])
def test_tiles_give_what_they_give_in_torch(exported, finding_checkpoint, tmp_path, scales) -> None:
    network, architecture, _ = load_checkpoint(finding_checkpoint)
    tiling = Tiling(96, 32, scales)
    _write(tmp_path / "a.png", SCENE[:200])
    inference = Inference(network, architecture, SETTINGS, CPU)
    expected = inference.tiled_picture(tmp_path / "a.png", tiling, **OPTIONS).detections
    found = OnnxDetector(exported(nms=True)).detect_tiled(SCENE[:200], tiling, batch_size=3)
    assert len(expected.scores) > 20
    assert abs(len(found.scores) - len(expected.scores)) <= 1  # an overlap at the threshold may go either way
    nearest = np.abs(found.quads[:, None] - expected.quads[None]).max((2, 3)).min(1)
    assert np.sort(nearest)[-2] < 2e-2


@pytest.mark.slow
def test_a_batch_gives_what_its_pictures_give(exported) -> None:
    detector = OnnxDetector(exported(nms=True))
    pictures = [SCENE[:80, :120], SCENE[80:160, 100:220], SCENE[150:230, 20:140]]
    for together, picture in zip(detector.detect(pictures, batch_size=3), pictures, strict=True):
        _assert_same(together, detector.detect([picture])[0])


@pytest.mark.slow
@pytest.mark.parametrize(("batch_size", "batches"), [(1, [1] * 5), (2, [2, 2, 1]), (9, [5])])
def test_no_more_pictures_at_once_than_asked_for(exported, monkeypatch, batch_size: int, batches: list[int]) -> None:
    """All of one size went through at once: 64 took four times the memory of the same in torch."""
    detector = OnnxDetector(exported(nms=True))
    call, sizes = type(detector._run).__call__, []
    monkeypatch.setattr(
        type(detector._run), "__call__", lambda run, images: sizes.append(len(images)) or call(run, images)
    )
    assert len(detector.detect([SCENE[:64, :96]] * 5, batch_size)) == 5
    assert sizes == batches
    with pytest.raises(ValueError, match="batch_size is 0; it must be at least 1"):
        detector.detect([], 0)


@pytest.mark.slow
def test_a_file_of_the_networks_size_gets_pictures_letterboxed(exported) -> None:
    """Defect 6: training keeps the aspect ratio, testing stretches."""
    outside, inside = OnnxDetector(exported(letterbox=False)), OnnxDetector(exported(nms=True))
    picture = SCENE[:150, :180]
    images, scale = outside.inputs([picture])
    assert (images.dtype, scale) == (np.uint8, 64 / 150)
    rows, columns = 64, 76  # of 64 x 96: what the picture fills, 180 * 64 / 150 rounded down
    np.testing.assert_allclose(images[0, :, columns:], np.broadcast_to(outside.facts.fill_bgr, (64, 20, 3)), atol=0.5)
    shown = cv2.resize(picture.astype(np.float32), None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(images[0, :, :columns], shown[:rows, :columns], atol=0.501)
    found, expected = outside.detect([picture])[0], inside.detect([picture])[0]
    # Pixels are rounded to whole numbers there, which may exchange neighbours further down, or bring forth more boxes.
    best = slice(8)
    np.testing.assert_allclose(found.scores[best], expected.scores[best], atol=5e-3)
    np.testing.assert_array_equal(found.labels[best], expected.labels[best])
    np.testing.assert_allclose(found.quads[best], expected.quads[best], atol=1)


@pytest.mark.slow
def test_a_file_of_another_size_tells_that_it_shrinks_pictures_twice(exported, capsys) -> None:
    """Pictures of 256 x 256 in a file for 300 x 500 were seen at half their size, and scored a twentieth, silently."""
    path = exported(nms=True, dynamic=False, fixed_hw=(64, 64))
    detector = OnnxDetector(path)
    detector.detect([SCENE[:64, :64]])
    assert capsys.readouterr().err == ""
    for _ in range(2):  # told once
        detector.detect([SCENE[:64, :96]])
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert f"{path}: takes pictures of 64 x 64 alone; those of 96 x 64 are fitted" in said
    assert "at 67% of the size that they could have" in said
    OnnxDetector(exported(nms=True)).detect([SCENE[:64, :64]])
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_thresholds_are_the_files_unless_given(exported) -> None:
    plain, nms = exported(letterbox=False), exported(nms=True)
    assert OnnxDetector(plain).settings == DetectionSettings(500, 0.01, 0.3)
    assert OnnxDetector(plain, nms_thresh=0.5, conf_thresh=0.001).settings == DetectionSettings(500, 0.001, 0.5)
    strict = OnnxDetector(nms, conf_thresh=0.03)
    found = strict.detect([SCENE])[0].scores
    assert len(found) == (OnnxDetector(nms).detect([SCENE])[0].scores >= 0.03).sum()
    assert found.min() >= 0.03


def test_thresholds_that_the_file_cannot_follow_are_refused(exported) -> None:
    with pytest.raises(SettingsError, match=r"--nms_thresh 0.5: NMS is inside .*, at 0.3"):
        OnnxDetector(exported(nms=True), nms_thresh=0.5)
    with pytest.raises(SettingsError, match=r"--conf_thresh 0.001: .* gives no box below 0.01"):
        OnnxDetector(exported(nms=True), conf_thresh=0.001)


@pytest.mark.slow
@pytest.mark.parametrize("hw", [(1, 1), (1, 700), (900, 1)])
def test_pictures_of_a_pixel_are_pictures(exported, hw) -> None:
    found = OnnxDetector(exported(nms=True)).detect([np.full((*hw, 3), 90, np.uint8)])[0]
    assert np.isfinite(found.quads).all()


def test_the_class_names_are_at_hand_as_in_a_detector_of_torchs(exported) -> None:
    detector = OnnxDetector(str(exported(nms=True)))
    assert detector.class_names == tuple(detector.facts.class_names)


def test_a_grey_picture_is_one_whose_colours_are_alike(exported) -> None:
    detector = OnnxDetector(exported(nms=True))
    grey = SCENE[:, :, 0]
    frames = [grey, grey[:, :, None], np.repeat(grey[:, :, None], 3, axis=2)]
    first, *others = detector.detect(frames)
    assert len(first.scores)
    for boxes in others:
        np.testing.assert_array_equal(boxes.quads, first.quads)


@pytest.mark.parametrize(
    ("picture", "what"),
    [
        (None, "not NoneType; was the file found"),
        (SCENE.astype(np.uint16) * 37, "not uint16"),  # its values were taken modulo 256
        (SCENE.astype(np.float32) / 255, "not float32"),
        (SCENE[:, :, :2], "not uint8"),
        (SCENE[:0], "without pixels"),
    ],
)
def test_what_is_no_picture_is_a_sentence_and_not_other_boxes(exported, picture, what) -> None:
    detector = OnnxDetector(exported(nms=True))
    with pytest.raises(ValueError, match=what):
        detector.detect([SCENE, picture])
    with pytest.raises(ValueError, match=what):
        detector.detect_tiled(picture, Tiling(96, 32))


@pytest.mark.slow
def test_pictures_of_several_sizes_have_the_boxes_that_each_has_alone(exported) -> None:
    detector = OnnxDetector(exported(nms=True))
    pictures = [SCENE[:80, :120], SCENE[:90, :60], SCENE[80:160, :120]]
    for found, picture in zip(detector.detect(pictures), pictures, strict=True):
        _assert_same(found, detector.detect([picture])[0], atol=1e-3)
    assert detector.detect([]) == []


def test_files_are_read_as_the_network_was_taught_to_see_them(exported, tmp_path) -> None:
    detector = OnnxDetector(exported(nms=True))
    _write(tmp_path / "a.png", SCENE)
    np.testing.assert_array_equal(detector.read(str(tmp_path / "a.png")), SCENE)
    np.testing.assert_array_equal(detector.open(tmp_path / "a.png"), SCENE)
