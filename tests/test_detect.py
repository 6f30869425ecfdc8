"""From maps to the boxes of a picture: scale, score, NMS by class, batches, damaged pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from datasets.picture_files import picture_windows
from datasets.tiles import TileSet
from DOTA_devkit.tiling import lay_tiles
from models import IMAGENET, Detections, Maps, Preprocessing
from tools import outcomes
from tools.architecture import Architecture
from tools.benchmarks.benchmark_windows import draw_survey
from tools.detection.detect import Inference, select
from tools.outcomes import DetectionSettings, Tiling

CPU = torch.device("cpu")
OPTIONS = {"batch_size": 3, "num_workers": 0}
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
    architecture = Architecture("resnet18", "none", ("car", "boat"), (64, 64), IMAGENET)
    model = architecture.build().eval()
    torch.nn.init.normal_(model.hm[2].weight, std=0.5)
    torch.nn.init.normal_(model.wh[2].weight, std=0.2)
    return model, architecture


def test_a_batch_of_pictures_gives_what_each_gives_alone(network, dota_folder):
    """Defect 15: the decoder worked at batch size 1 only."""
    paths = sorted((dota_folder() / "images").iterdir())
    inference = Inference(*network, DetectionSettings(), CPU)
    together = list(inference.pictures(paths, batch_size=4, num_workers=0))
    alone = list(inference.pictures(paths, batch_size=1, num_workers=0))
    assert [item.row for item in together] == [0, 1, 2, 3]
    for one, other in zip(together, alone, strict=True):
        assert len(one.detections.scores) > 0
        np.testing.assert_allclose(one.detections.quads, other.detections.quads, atol=1e-3)
        np.testing.assert_allclose(one.detections.scores, other.detections.scores, atol=1e-5)


def test_in_bf16_the_boxes_are_nearly_the_same(network, dota_folder):
    paths = sorted((dota_folder() / "images").iterdir())
    full, half = (
        list(Inference(*network, DetectionSettings(conf_thresh=0.3, precision=name), CPU).pictures(paths, **OPTIONS))
        for name in ("fp32", "bf16")
    )
    for one, other in zip(full, half, strict=True):
        best = one.detections.scores[:10]
        assert len(other.detections.scores) >= 10
        assert not np.array_equal(best, other.detections.scores[:10])
        np.testing.assert_allclose(best, other.detections.scores[:10], atol=0.03)


def test_kept_pictures_come_whole_and_damaged_ones_by_name(network, dota_folder):
    paths = sorted((dota_folder() / "images").iterdir())
    paths[1].write_bytes(b"no picture")
    inference = Inference(*network, DetectionSettings(), CPU)
    found = list(inference.pictures(paths, batch_size=2, num_workers=0, kept=range(3)))
    by_row = {item.row: item for item in found}
    assert by_row[0].picture.shape == (128, 128, 3)
    assert by_row[3].picture is None
    assert "scene_1.png" in by_row[1].problem
    assert by_row[1].detections.quads.shape == (0, 4, 2)
    assert by_row[2].size == (128, 128)


def _write(path, picture) -> None:
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def test_a_picture_of_one_tile_gives_what_it_gives_whole(network, dota_folder):
    path = sorted((dota_folder() / "images").iterdir())[0]
    inference = Inference(*network, DetectionSettings(conf_thresh=0.3), CPU)
    whole = next(iter(inference.pictures([path], **OPTIONS))).detections
    tiled = inference.tiled_picture(path, Tiling(128, 0), **OPTIONS).detections
    assert len(whole.scores) > 0
    np.testing.assert_allclose(tiled.quads, whole.quads, atol=1e-6)
    np.testing.assert_allclose(tiled.scores, whole.scores)


class _Spotter(torch.nn.Module):
    """A stand-in for the network: sees a horizontal box of 8 x 8 input pixels around every white cell."""

    def forward(self, images: torch.Tensor) -> Maps:
        bright = torch.nn.functional.avg_pool2d(images.mean(dim=1, keepdim=True), 4)
        hm = torch.where(bright > 2.0, 5.0, -20.0)
        zeros = torch.zeros(len(images), 10, *hm.shape[2:])
        zeros[:, 8:] = 2.0
        return Maps(hm, zeros, torch.full_like(zeros[:, :2], 0.5), torch.full_like(hm, -5.0))


@pytest.mark.parametrize(("scales", "away"), [((1.0,), 2), ((0.5, 1.0), 0)])
def test_objects_of_a_big_picture_are_found_where_they_are_and_once(tmp_path, scales, away):
    """Squares of two cells, on the grid of every tile; some lie where two or four tiles overlap. The middle of either
    cell is two pixels away from the square's; at scale 0.5 a square is one cell."""
    picture = np.zeros((200, 296, 3), np.uint8)
    corners = [(8, 8), (56, 40), (64, 64), (128, 96), (280, 184), (200, 8)]
    for x, y in corners:
        picture[y : y + 8, x : x + 8] = 255
    _write(tmp_path / "big.png", picture)
    by_hundred = Preprocessing("bgr", 1 / 100, (0, 0, 0), (1, 1, 1))
    architecture = Architecture("resnet18", "none", ("white",), (64, 64), by_hundred)
    inference = Inference(_Spotter(), architecture, DetectionSettings(conf_thresh=0.5, nms_thresh=0.1), CPU)
    found = inference.tiled_picture(tmp_path / "big.png", Tiling(64, 24, scales), **OPTIONS)
    assert found.size == (200, 296)
    offsets = found.detections.quads.mean(axis=1)[:, None] - np.array(corners) - 4
    nearest = np.abs(offsets).max(axis=2).argmin(axis=1)
    assert sorted(nearest) == list(range(len(corners)))
    np.testing.assert_allclose(np.abs(offsets[range(len(corners)), nearest]), away, atol=1e-4)


@pytest.mark.slow
def test_a_picture_that_is_read_in_windows_gives_the_same_boxes_and_an_overview(network, tmp_path, monkeypatch):
    path = draw_survey(tmp_path / "a.tif", 300)
    inference = Inference(*network, DetectionSettings(conf_thresh=0.02), CPU)
    whole = inference.tiled_picture(path, Tiling(128, 32), is_kept=True, **OPTIONS)
    assert whole.picture.shape == (300, 300, 3)
    monkeypatch.setattr(picture_windows, "LEAST_PIXELS", 1)
    monkeypatch.setattr(outcomes, "LONGEST_DRAWN", 100)
    found = inference.tiled_picture(path, Tiling(128, 32), is_kept=True, **OPTIONS)
    assert len(found.detections.scores) == len(whole.detections.scores) > 5
    np.testing.assert_allclose(found.detections.quads, whole.detections.quads, atol=1e-3)
    assert (found.size, found.picture.shape, found.picture_scale) == ((300, 300), (100, 100, 3), pytest.approx(1 / 3))
    path.write_bytes(path.read_bytes()[:-60_000])
    broken = inference.tiled_picture(path, Tiling(128, 32), **OPTIONS)
    assert "a.tif: is cut off before its end" in broken.problem


def test_tiles_of_one_colour_are_not_looked_at(tmp_path):
    """Where a survey has no data networks saw boxes, and it took its time."""
    looked = []

    class Watched(_Spotter):
        def forward(self, images):
            looked.append(len(images))
            return super().forward(images)

    picture = np.zeros((64, 256, 3), np.uint8)
    picture[:, 128:192] = 7
    picture[8:16, 200:208] = 255
    _write(tmp_path / "a.png", picture)
    by_hundred = Preprocessing("bgr", 1 / 100, (0, 0, 0), (1, 1, 1))
    architecture = Architecture("resnet18", "none", ("white",), (64, 64), by_hundred)
    inference = Inference(Watched(), architecture, DetectionSettings(conf_thresh=0.5), CPU)
    for num_workers in (0, 1):
        found = inference.tiled_picture(tmp_path / "a.png", Tiling(64, 0), batch_size=2, num_workers=num_workers)
        assert len(found.detections.scores) == 1
    assert looked == [1, 1]
    picture[:] = 3
    _write(tmp_path / "b.png", picture)
    found = inference.tiled_picture(tmp_path / "b.png", Tiling(64, 0), batch_size=2, num_workers=0)
    assert (len(found.detections.scores), found.problem) == (0, None)
    assert looked == [1, 1]


def test_a_damaged_big_picture_is_a_problem_not_a_crash(network, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    inference = Inference(*network, DetectionSettings(), CPU)
    assert "bad.png" in inference.tiled_picture(tmp_path / "bad.png", Tiling(64, 8), **OPTIONS).problem


@pytest.mark.parametrize("scales", [(1.0, 0.5), (0.7, 2.0)])
def test_tiles_show_the_same_pixels_at_the_same_scale_also_at_the_border(scales):
    picture = np.random.default_rng(0).integers(0, 256, (70, 50, 3), dtype=np.uint8)
    tiles = lay_tiles("p", 70, 50, 32, 8, scales)
    tile_set = TileSet(picture, tiles, 32, (64, 64), (0.0, 0.0, 0.0))
    for row, tile in enumerate(tiles):
        image, number = tile_set[row]
        assert (image.shape, number) == ((64, 64, 3), row)
        assert tile_set.scale(row) == 2 * max(1.0, tile.scale)
        corner = tile_set.to_picture(row, np.zeros((1, 4, 2)))[0, 0]
        assert corner == pytest.approx([tile.x / tile.scale, tile.y / tile.scale], abs=1e-9)
