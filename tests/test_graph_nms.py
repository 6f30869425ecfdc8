"""NMS in tensors keeps what `DOTA_devkit.poly_nms` keeps, in torch and in an ONNX file."""

from __future__ import annotations

import io

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from DOTA_devkit import poly_iou, poly_nms
from DOTA_devkit.boxes import boxes_to_quads
from models import Detections
from models.graph_nms import intersections, overlapping, suppress

CONF, NMS = 0.05, 0.3


def rectangle_iou(quads: Tensor) -> Tensor:
    """(B, K, K) of rectangles (B, K, 4, 2), 0 without area."""
    shared, area = intersections(quads)
    union = area[:, :, None] + area[:, None, :] - shared
    return shared / torch.where(union > 0, union, 1.0)


class Suppress(nn.Module):
    """`suppress` with fixed thresholds."""

    def forward(self, quads: Tensor, scores: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        return tuple(suppress(Detections(quads, scores, labels), CONF, NMS))


def _session(num_boxes: int) -> onnxruntime.InferenceSession:
    buffer, names = io.BytesIO(), ["quads", "scores", "labels"]
    shape = (1, num_boxes)
    example = (torch.rand(*shape, 4, 2), torch.rand(shape), torch.zeros(shape, dtype=torch.int64))
    axes = {name: {0: "n"} for name in names}
    options = {"dynamo": False, "opset_version": 17, "input_names": names, "dynamic_axes": axes}
    with pytest.warns():
        torch.onnx.export(Suppress(), example, buffer, **options)
    return onnxruntime.InferenceSession(buffer.getvalue())


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return _session(30)


def crowd(rng: np.random.Generator, num_boxes: int, num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotated boxes of 6 to 90 pixels, several around each place, best first: quads, scores, labels."""
    side = 22 * num_boxes**0.5
    places = -(-num_boxes // 4)
    boxes = np.column_stack(
        [rng.uniform(0, side, (places, 2)), np.exp(rng.uniform(np.log(6), np.log(90), (places, 2))),
         rng.uniform(0, np.pi, places)]
    )  # fmt: skip
    boxes = np.repeat(boxes, 4, axis=0)[:num_boxes]
    boxes[:, :2] += rng.normal(0, 0.2, (num_boxes, 2)) * boxes[:, 2:4]
    boxes[:, 2:4] *= rng.uniform(0.8, 1.25, (num_boxes, 2))
    boxes[:, 4] += rng.choice([0, 0.02, 0.3], num_boxes) * rng.normal(0, 1, num_boxes)
    upright = rng.random(num_boxes) < 0.2
    boxes[upright, 4] = 0
    scores = np.sort(rng.uniform(0.01, 1, num_boxes).round(2))[::-1].astype(np.float32)  # with equal ones among them
    quads = boxes_to_quads(boxes, "rolabelimg").astype(np.float32)
    return quads, scores, rng.integers(0, num_classes, num_boxes)


def expected(quads: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The rows that stay, by the definition."""
    keep = np.flatnonzero(scores >= np.float32(CONF))
    return keep[poly_nms(quads[keep], scores[keep], NMS, labels[keep])]


def is_at_the_threshold(quads: np.ndarray, labels: np.ndarray) -> bool:
    overlap = poly_iou(quads, quads)
    return bool((np.abs(overlap - NMS) < 1e-3)[labels[:, None] == labels].any())


def check_kept_sets(session: onnxruntime.InferenceSession, num_sets: int, num_boxes: int, seed: int) -> None:
    """Compare the file with the definition on sets of boxes, in batches of 1 and 4, of one to five classes."""
    rng = np.random.default_rng(seed)
    compared = done = 0
    while done < num_sets:
        batch = int(rng.choice([1, 4]))
        sets = [crowd(rng, num_boxes, int(rng.integers(1, 6))) for _ in range(batch)]
        quads, scores, labels = (np.stack(part) for part in zip(*sets, strict=True))
        boxes, kept_scores, kept_labels, count = session.run(None, {"quads": quads, "scores": scores, "labels": labels})
        for k in range(batch):
            done += 1
            if is_at_the_threshold(quads[k], labels[k]):
                continue
            compared += 1
            rows = expected(quads[k], scores[k], labels[k])
            assert count[k] == len(rows), (seed, done)
            assert np.array_equal(boxes[k, : len(rows)], quads[k, rows]), (seed, done)
            assert np.array_equal(kept_scores[k, : len(rows)], scores[k, rows])
            assert np.array_equal(kept_labels[k, : len(rows)], labels[k, rows])
            assert not boxes[k, len(rows) :].any()
            assert not kept_scores[k, len(rows) :].any()
            assert not kept_labels[k, len(rows) :].any()
    assert compared > 0.5 * num_sets or num_boxes > 100  # of 500 crowded boxes a pair is nearly always at the threshold


def test_the_kept_set_is_that_of_the_definition(session) -> None:
    check_kept_sets(session, 300, 30, seed=0)


@pytest.mark.long
def test_the_kept_set_is_that_of_the_definition_on_ten_thousand_crowds(session) -> None:
    check_kept_sets(session, 10_000, 30, seed=1)


@pytest.mark.long
def test_the_kept_set_is_that_of_the_definition_at_five_hundred_boxes() -> None:
    """A pair at the threshold may or may not go; only what follows from it may differ."""
    session, rng = _session(500), np.random.default_rng(2)
    same = 0
    for number in range(100):
        quads, scores, labels = crowd(rng, 500, 1 + number % 5)
        boxes, _, _, count = session.run(None, {"quads": quads[None], "scores": scores[None], "labels": labels[None]})
        kept = {quad.tobytes() for quad in boxes[0, : count[0]]}
        ways = [
            {quad.tobytes() for quad in quads[keep[poly_nms(quads[keep], scores[keep], threshold, labels[keep])]]}
            for keep in [np.flatnonzero(scores >= np.float32(CONF))]
            for threshold in (NMS - 1e-3, NMS, NMS + 1e-3)
        ]
        same += kept == ways[1]
        if ways[0] == ways[1] == ways[2]:
            assert kept == ways[1], number
    assert same >= 95


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([1.0, 0.01, 30.0]))
def test_overlaps_are_those_of_exact_polygons(seed: int, num_boxes: int, scale: float) -> None:
    quads = crowd(np.random.default_rng(seed), num_boxes, 1)[0] * np.float32(scale)
    found = rectangle_iou(torch.from_numpy(quads)[None])[0].numpy()
    np.testing.assert_allclose(found, poly_iou(quads, quads), atol=5e-4)


def test_overlaps_of_crowded_boxes_are_exact_to_1e_4() -> None:
    quads = crowd(np.random.default_rng(5), 500, 1)[0]
    found = rectangle_iou(torch.from_numpy(quads)[None])[0].numpy()
    error = np.abs(found - poly_iou(quads, quads))
    assert error.max() < 2e-4
    assert error.mean() < 1e-6


SQUARE = np.array([[0, 0], [2, 0], [2, 2], [0, 2]], np.float32)


def moved(x: float, y: float, size: float = 1.0) -> np.ndarray:
    """The square, `size` times as large, elsewhere."""
    return SQUARE * size + np.array([x, y], np.float32)


@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        (SQUARE, 1.0),
        (SQUARE[[1, 2, 3, 0]], 1.0),  # from another corner
        (moved(1, 0), 1 / 3),
        (moved(2, 0), 0.0),  # they touch
        (moved(9, 9), 0.0),
        (SQUARE * 0.5 + 0.5, 0.25),  # inside
        (SQUARE * [1, 0.5], 0.5),  # three edges shared
        (SQUARE * 0 + 1, 0.0),  # a point
        (SQUARE * [1, 0], 0.0),  # a line
        (np.array([[1, -1], [3, 1], [1, 3], [-1, 1]]), 0.5),  # turned by 45 degrees
    ],
)
def test_plain_cases(other: np.ndarray, overlap: float) -> None:
    pair = torch.from_numpy(np.stack([SQUARE, other.astype(np.float32)]))[None]
    found = rectangle_iou(pair)[0]
    assert float(found[0, 1]) == pytest.approx(overlap, abs=1e-6)
    assert float(found[1, 0]) == pytest.approx(overlap, abs=1e-6)


def test_a_suppressed_box_suppresses_nothing_and_classes_are_apart() -> None:
    chain = np.stack([moved(x, 0) for x in (0.0, 0.8, 1.6, 1.6)]).astype(np.float32)[None]
    found = Suppress()(torch.from_numpy(chain), torch.tensor([[0.9, 0.8, 0.7, 0.6]]), torch.tensor([[0, 0, 0, 1]]))
    assert found[3].tolist() == [3]
    np.testing.assert_allclose(found[1], [[0.9, 0.7, 0.6, 0.0]])
    assert found[2].tolist() == [[0, 0, 1, 0]]


def test_boxes_below_the_score_and_empty_rows_are_not_counted() -> None:
    quads = torch.from_numpy(np.stack([SQUARE, SQUARE + 9, SQUARE * 0]))[None]
    found = Suppress()(quads, torch.tensor([[0.9, 0.04, 0.0]]), torch.zeros(1, 3, dtype=torch.int64))
    assert found[3].tolist() == [1]
    assert not found[0][0, 1:].any()


def test_at_a_threshold_of_0_boxes_that_do_not_touch_stay() -> None:
    """Rounding made them overlap, and every export with this threshold was refused."""
    rng = np.random.default_rng(0)
    angles, places = rng.uniform(0, np.pi, 200), np.arange(200) * 40.0 + 300
    axes = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    across, down = axes * 12, np.stack([-axes[:, 1], axes[:, 0]], axis=1) * 5
    middles = np.stack([places, np.full(200, 1000.0)], axis=1)
    quads = np.stack([middles - across - down, middles + across - down, middles + across + down,
                      middles - across + down], axis=1).astype(np.float32)  # fmt: skip
    assert not np.tril(overlapping(torch.from_numpy(quads)[None], 0.0)[0].numpy(), -1).any()


def test_no_box_at_all() -> None:
    nothing = Suppress()(torch.zeros(2, 5, 4, 2), torch.zeros(2, 5), torch.zeros(2, 5, dtype=torch.int64))
    assert nothing[3].tolist() == [0, 0]
    assert not nothing[0].any()


def test_a_long_chain_is_followed_to_its_end(session) -> None:
    """Each box overlaps the next alone: every second one stays, after as many rounds as there are boxes."""
    quads = np.stack([moved(x, 0, 10) for x in np.arange(30) * 10.5]).astype(np.float32)
    scores = np.linspace(0.9, 0.5, 30, dtype=np.float32)
    outputs = session.run(None, {"quads": quads[None], "scores": scores[None], "labels": np.zeros((1, 30), np.int64)})
    assert outputs[3][0] == 15
    assert np.array_equal(outputs[0][0, :15], quads[::2])
