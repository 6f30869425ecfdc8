"""The decoder: boxes come back as they were encoded, at any batch size, and the same from an ONNX file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models import CTRBOX, Detections, Maps, decode


def empty_maps(batch: int = 1, num_classes: int = 2, height: int = 8, width: int = 12, logit: float = -9.0) -> Maps:
    """Maps of a network that sees nothing: low logits that fall from cell to cell, so that only (0, 0) is a peak."""
    fall = torch.arange(height * width).view(1, 1, height, width) * 1e-3
    return Maps(
        hm=(logit - fall).repeat(batch, num_classes, 1, 1),
        wh=torch.zeros(batch, 10, height, width),
        reg=torch.zeros(batch, 2, height, width),
        cls_theta=torch.full((batch, 1, height, width), -5.0),
    )


def put_box(maps: Maps, image: int, label: int, cell: tuple[int, int], quad: Tensor, logit: float = 4.0) -> None:
    """Write a rotated box (4, 2), in input pixels, as the paper encodes it: middles of the sides, from the centre."""
    x, y = cell
    corners = quad / 4
    center = corners.mean(dim=0)
    sides = (corners + corners.roll(-1, 0)) / 2 - center  # top, right, bottom, left
    maps.hm[image, label, y, x] = logit
    maps.wh[image, :8, y, x] = sides.flatten()
    maps.wh[image, 8:, y, x] = corners.amax(0) - corners.amin(0)
    maps.reg[image, :, y, x] = center - torch.tensor([x, y])
    maps.cls_theta[image, 0, y, x] = 5.0


def rectangle(cx: float, cy: float, width: float, height: float, angle: float) -> Tensor:
    """Corners (4, 2) of a rectangle, clockwise on the screen from its own top left."""
    along = torch.tensor([math.cos(angle), math.sin(angle)]) * width / 2
    down = torch.tensor([-math.sin(angle), math.cos(angle)]) * height / 2
    return torch.tensor([cx, cy]) + torch.stack((-along - down, along - down, along + down, -along + down))


def random_maps(batch: int, num_classes: int = 3, height: int = 16, width: int = 24) -> Maps:
    rng = torch.Generator().manual_seed(11)
    return Maps(*(3 * torch.randn(batch, depth, height, width, generator=rng) for depth in (num_classes, 10, 2, 1)))


@pytest.mark.parametrize("true_rectangles", [True, False])
@settings(deadline=None, max_examples=50)
@given(
    angle=st.floats(0.1, 1.4),
    width=st.floats(4, 40),
    height=st.floats(4, 40),
    dx=st.floats(0, 3.99),
    dy=st.floats(0, 3.99),
)
def test_a_rectangle_comes_back_as_it_was(
    true_rectangles: bool, angle: float, width: float, height: float, dx: float, dy: float
) -> None:
    quad = rectangle(20 + dx, 12 + dy, width, height, angle)
    maps = empty_maps()
    put_box(maps, 0, 1, (5, 3), quad)
    quads, scores, labels = decode(maps, true_rectangles=true_rectangles)
    torch.testing.assert_close(quads[0, 0], quad, rtol=0, atol=1e-3)
    assert labels[0, 0] == 1
    assert scores[0, 0].item() == pytest.approx(1 / (1 + math.exp(-4)))


def test_free_vectors_become_a_rectangle_unless_the_free_quad_is_asked_for() -> None:
    """Known defect 7: the published corners are sums of four free vectors, never forced to be a rectangle."""
    maps = empty_maps()
    put_box(maps, 0, 0, (5, 3), rectangle(21, 13, 24, 10, 0.5))
    maps.wh[0, :8, 3, 5] += torch.tensor([0.4, -0.3, 0.2, 0.5, -0.6, 0.1, 0.3, 0.2])

    def corner_cosines(quad: Tensor) -> Tensor:
        edges = nn.functional.normalize(quad.roll(-1, 0) - quad, dim=1)
        return (edges * edges.roll(-1, 0)).sum(dim=1).abs()

    assert corner_cosines(decode(maps).quads[0, 0]).max() < 1e-5
    assert corner_cosines(decode(maps, true_rectangles=False).quads[0, 0]).max() > 0.01


def test_an_unrotated_box_is_the_outer_box() -> None:
    """Below the threshold of cls_theta the vectors do not count; the outer width and height do."""
    maps = empty_maps()
    put_box(maps, 0, 0, (5, 3), rectangle(21, 13, 24, 10, 0.5))
    maps.wh[0, 8:, 3, 5] = torch.tensor([6.0, 3.0])
    maps.cls_theta[0, 0, 3, 5] = math.log(0.79 / 0.21)
    expected = torch.tensor([[9.0, 7.0], [33.0, 7.0], [33.0, 19.0], [9.0, 19.0]])
    torch.testing.assert_close(decode(maps).quads[0, 0], expected)
    assert not torch.allclose(decode(maps, theta_threshold=0.78).quads[0, 0], expected)


def test_a_batch_of_four_decodes_as_four_batches_of_one() -> None:
    """Known defect 15: the published decoder works at batch size 1 only."""
    maps = random_maps(4)
    together = decode(maps, num_peaks=60)
    for i in range(4):
        alone = decode(Maps(*(m[i : i + 1] for m in maps)), num_peaks=60)
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a[0], b[i], rtol=1e-6, atol=1e-6)


def test_the_best_come_first_and_the_number_is_limited_by_the_cells() -> None:
    few = decode(random_maps(2), num_peaks=5)
    assert few.quads.shape == (2, 5, 4, 2)
    assert torch.equal(few.scores, few.scores.sort(dim=1, descending=True).values)
    everything = decode(random_maps(2, num_classes=1, height=4, width=3), num_peaks=500)
    assert everything.scores.shape == (2, 12)
    torch.testing.assert_close(decode(random_maps(2), num_peaks=500).scores[:, :5], few.scores)


def test_a_class_number_above_255_comes_back() -> None:
    """Defect 10: class ids in uint8."""
    maps = empty_maps(num_classes=300)
    put_box(maps, 0, 299, (6, 4), rectangle(26, 18, 12, 6, 0.5))
    put_box(maps, 0, 43, (2, 2), rectangle(10, 10, 6, 6, 0.5), logit=3.0)
    assert decode(maps, num_peaks=2).labels.tolist() == [[299, 43]]


def test_only_maxima_of_their_neighbourhood_are_detections() -> None:
    maps = empty_maps()
    maps.hm[0, 0, 4, 6], maps.hm[0, 0, 4, 7], maps.hm[0, 0, 5, 5] = 3.0, 2.0, 2.5
    maps.hm[0, 1, 4, 7] = 1.0  # another class: not a neighbour
    found = decode(maps)
    assert (found.scores[0] > 0.5).sum() == 2
    assert found.labels[0, :2].tolist() == [0, 1]


@pytest.mark.parametrize("logit", [3.0, 60.0])
def test_a_plateau_is_one_detection(logit: float) -> None:
    """Equal neighbours (common in bf16, and wherever the sigmoid is 1) gave a detection a cell."""
    maps = empty_maps()
    maps.hm[0, 0, 2:5, 3:7] = logit
    found = decode(maps)
    assert (found.scores[0] > 0.5).sum() == 1
    flat = decode(Maps(torch.zeros(1, 2, 8, 8), *(m[..., :8, :8] for m in empty_maps()[1:])))
    assert (flat.scores > 0).sum() == 2  # one a class, not 128


def test_peaks_above_the_sigmoids_resolution_are_told_apart() -> None:
    maps = empty_maps()
    maps.hm[0, 0, 3, 5], maps.hm[0, 0, 3, 6] = 25.0, 40.0  # both 1.0 after a float32 sigmoid
    found = decode(maps)
    assert (found.scores[0] > 0.5).sum() == 1
    assert found.quads[0, 0, 0, 0] == 24


def test_slots_without_a_peak_are_zero() -> None:
    maps = empty_maps(num_classes=1)
    maps.wh.fill_(3.0)
    found = decode(maps, num_peaks=4)
    assert (found.scores[0] > 0).tolist() == [True, False, False, False]
    assert not found.quads[0, 1:].any()
    assert not found.labels[0, 1:].any()
    broken = decode(Maps(maps.hm * math.nan, *maps[1:]))
    assert not broken.scores.any()
    assert not broken.quads.any()


def test_an_empty_batch_is_an_empty_answer() -> None:
    found = decode(Maps(*(m[:0] for m in random_maps(1))), num_peaks=7)
    assert [tuple(part.shape) for part in found] == [(0, 7, 4, 2), (0, 7), (0, 7)]


def test_half_precision_maps_give_float32_boxes() -> None:
    found = decode(Maps(*(m.bfloat16() for m in random_maps(1))))
    assert found.quads.dtype == found.scores.dtype == torch.float32
    assert found.labels.dtype == torch.int64


class Detector(nn.Module):
    """What an exported file holds: the network and the decoder."""

    def __init__(self, net: CTRBOX) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Detections:
        return decode(self.net(images), num_peaks=50)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_gives_the_same_boxes(tmp_path: Path) -> None:
    """Exported at batch 1, run at batch 2: the decoder has no control flow that depends on data."""
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = Detector(CTRBOX(2, "resnet18")).eval()
    with torch.no_grad():
        for head in (model.net.hm, model.net.wh, model.net.cls_theta):
            head[-1].weight.mul_(20)  # untrained maps are nearly flat
    path = tmp_path / "detector.onnx"
    torch.onnx.export(
        model,
        (torch.randn(1, 3, 64, 96),),
        str(path),
        dynamo=False,
        opset_version=17,
        input_names=["images"],
        output_names=list(Detections._fields),
        dynamic_axes={name: {0: "batch"} for name in ("images", *Detections._fields)},
    )
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        expected = model(images)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    quads, scores, labels = (torch.from_numpy(out) for out in session.run(None, {"images": images.numpy()}))
    assert (expected.scores > 0).sum() > 20
    torch.testing.assert_close(scores, expected.scores, rtol=0, atol=1e-4)
    assert torch.equal(labels, expected.labels)
    torch.testing.assert_close(quads, expected.quads, rtol=0, atol=1e-2)
