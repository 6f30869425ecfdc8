"""What the network is trained on: golden values, the order of the vectors, no object lost, and the way back."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.targets import DOWN_RATIO, Targets, gaussian_radius, make_targets
from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.iou import paired_iou
from models import Maps, decode

INPUT_HW = (128, 160)
MAP_HW = (32, 40)


def quads_of(*boxes: tuple[float, float, float, float, float]) -> np.ndarray:
    """Quads (N, 4, 2) of boxes cx, cy, w, h in input pixels and angle in radians, clockwise."""
    return boxes_to_quads(np.array(boxes, float).reshape(-1, 5), "rolabelimg")


def targets_of(
    quads: np.ndarray,
    labels: list[int] | None = None,
    ignored: list[bool] | None = None,
    num_classes: int = 2,
    input_hw: tuple[int, int] = INPUT_HW,
) -> Targets:
    count = len(quads)
    labels = np.array([0] * count if labels is None else labels, np.int64)
    ignored = np.array([False] * count if ignored is None else ignored, bool)
    return make_targets(quads, labels, ignored, num_classes, input_hw)


# -- golden values, worked out by hand from Yi et al., WACV 2021, section 3.2


def test_an_axis_aligned_box() -> None:
    """32 x 16 px at (40, 20): 8 x 4 cells around (14, 7); t, r, b, l point up, right, down, left."""
    targets = targets_of(np.array([[[40.0, 20], [72, 20], [72, 36], [40, 36]]]), labels=[1])
    assert targets.wh[0] == pytest.approx([0, -2, 4, 0, 0, 2, -4, 0, 8, 4], abs=1e-6)
    assert targets.reg.tolist() == [[0, 0]]
    assert targets.cls_theta.tolist() == [[0]]
    assert targets.ind.tolist() == [7 * 40 + 14]
    assert targets.mask.tolist() == [True]
    # Radius: (-16.8 + sqrt(16.8^2 + 4 * 2.8 * 9.6)) / 2 = 1.47, floored 1; sigma 3 / 6: exp(-2), exp(-4).
    side, corner = math.exp(-2), math.exp(-4)
    around = targets.hm[1, 6:9, 13:16]
    assert around == pytest.approx(np.array([[corner, side, corner], [side, 1, side], [corner, side, corner]]))
    assert targets.hm.sum() == pytest.approx(around.sum())
    assert targets.hm[1, 7, 14] == 1


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("step", [1, -1])
def test_a_box_turned_by_30_degrees_whatever_corner_comes_first(first: int, step: int) -> None:
    """40 x 20 px at (64.5, 50.25). Defect 4: the order of the sides came from OpenCV's angle convention."""
    quads = quads_of((64.5, 50.25, 40, 20, math.radians(30)))[:, [(first + step * corner) % 4 for corner in range(4)]]
    targets = targets_of(quads)
    across, down = 5 * np.array([math.sqrt(3) / 2, 0.5]), 2.5 * np.array([-0.5, math.sqrt(3) / 2])
    vectors = [-across, -down, across, down]  # up-left, up-right, down-right, down-left
    outer = [10 * math.sqrt(3) / 2 + 5 * 0.5, 10 * 0.5 + 5 * math.sqrt(3) / 2]
    assert targets.wh[0] == pytest.approx([*np.concatenate(vectors), *outer], abs=1e-5)
    assert targets.reg[0] == pytest.approx([0.125, 0.5625])
    assert targets.ind.tolist() == [12 * 40 + 16]
    assert targets.cls_theta.tolist() == [[1]]


def test_opencvs_own_rectangle_gives_the_same_targets() -> None:
    """Defect 4, with the OpenCV that is installed, whichever it is."""
    for degrees in range(0, 180, 5):
        quads = quads_of((80, 64, 48, 20, math.radians(degrees)))
        theirs = cv2.boxPoints(cv2.minAreaRect(quads[0].astype(np.float32)))[None]
        ours = targets_of(quads)
        assert ours.wh == pytest.approx(targets_of(theirs).wh, abs=1e-3)
        assert np.array_equal(ours.cls_theta, targets_of(theirs).cls_theta)


# -- vectors


ANGLES = st.floats(0, math.pi / 2).filter(lambda angle: 2e-3 < angle < math.pi / 2 - 2e-3)


@given(angle=ANGLES, quarter=st.integers(0, 3), w=st.floats(3, 100), h=st.floats(3, 100))
@settings(deadline=None, max_examples=150)
def test_the_vectors_of_a_turned_box_lie_each_in_its_quadrant(angle: float, quarter: int, w: float, h: float) -> None:
    t, r, b, l = targets_of(quads_of((80, 64, w, h, angle + quarter * math.pi / 2))).wh[0, :8].reshape(4, 2)  # noqa: E741
    assert t[0] < 0
    assert t[1] < 0
    assert r[0] > 0
    assert r[1] < 0
    assert b[0] > 0
    assert b[1] > 0
    assert l[0] < 0
    assert l[1] > 0
    assert t + b == pytest.approx(np.zeros(2), abs=1e-5)
    assert r + l == pytest.approx(np.zeros(2), abs=1e-5)


@given(tilt=st.floats(-9e-4, 9e-4), quarter=st.integers(0, 3), w=st.floats(3, 100), h=st.floats(3, 100))
@settings(deadline=None, max_examples=100)
def test_an_almost_axis_aligned_box_points_up_right_down_left(tilt: float, quarter: int, w: float, h: float) -> None:
    t, r, b, l = targets_of(quads_of((80, 64, w, h, tilt + quarter * math.pi / 2))).wh[0, :8].reshape(4, 2)  # noqa: E741
    for vector, direction in ((t, (0, -1)), (r, (1, 0)), (b, (0, 1)), (l, (-1, 0))):
        assert vector / np.linalg.norm(vector) == pytest.approx(direction, abs=1e-3)


@given(angle=st.floats(0, math.pi), w=st.floats(2, 120), h=st.floats(2, 120))
@settings(deadline=None, max_examples=200)
def test_cls_theta_is_the_exact_overlap_with_the_outer_box(angle: float, w: float, h: float) -> None:
    """Defect 5: rasterised on the stride-4 grid, up to 7.8 % of the labels of small boxes flip."""
    wide = w * abs(math.cos(angle)) + h * abs(math.sin(angle))
    high = w * abs(math.sin(angle)) + h * abs(math.cos(angle))
    fill = w * h / (wide * high)
    targets = targets_of(quads_of((80, 64, w, h, angle)))
    assert targets.wh[0, 8:] == pytest.approx([wide / 4, high / 4], rel=1e-5)
    if abs(fill - 0.95) > 1e-6:
        assert targets.cls_theta[0, 0] == (fill < 0.95)


def test_cls_theta_of_a_small_box_changes_where_the_overlap_does() -> None:
    """Defect 5: a square of 10 px, 2.5 cells. Its outer box is filled to 1 / (1 + sin 2a): 0.95 at a = 0.026336."""
    limit = math.asin(1 / 0.95 - 1) / 2
    for factor, expected in ((0.99, 0), (1.01, 1)):
        targets = targets_of(quads_of((41, 43, 10, 10, factor * limit)))
        assert targets.cls_theta.tolist() == [[expected]]


@given(cx=st.floats(0.01, 159.9), cy=st.floats(0.01, 127.9), angle=st.floats(0, math.pi))
@settings(deadline=None, max_examples=100)
def test_cell_and_offset_together_are_the_centre(cx: float, cy: float, angle: float) -> None:
    targets = targets_of(quads_of((cx, cy, 20, 12, angle)))
    cell = targets.ind[0]
    assert (targets.reg >= 0).all()
    assert (targets.reg < 1 + 1e-6).all()
    assert targets.reg[0] + [cell % 40, cell // 40] == pytest.approx([cx / 4, cy / 4], abs=1e-5)
    assert targets.hm[0].flat[cell] == 1


# -- heat map


@pytest.mark.parametrize(
    ("height", "width", "radius"),
    # (b + sqrt(b^2 - 4ac)) / 2 of the third case, floored: 1.47 (above), 2.207, 0.27, 10.93
    [(4, 8, 1), (6, 12, 2), (12, 6, 2), (1, 1, 0), (5.2, 11.3, 2), (40, 40, 10)],
)
def test_the_radius_is_that_of_the_published_formula(height: float, width: float, radius: int) -> None:
    assert gaussian_radius(np.array([height]), np.array([width])).tolist() == [radius]


def test_the_radius_of_no_boxes_and_of_a_line() -> None:
    assert gaussian_radius(np.zeros(0), np.zeros(0)).tolist() == []
    assert gaussian_radius(np.array([0.0, 0.0]), np.array([0.0, 30.0])).tolist() == [0, 0]


def test_a_turned_box_has_the_radius_of_an_upright_one() -> None:
    """The side of a turned box of three cells is 3.00001, which made four of it."""
    angles = np.linspace(0, np.pi, 500)
    for width, height in ((12, 12), (24, 12), (40, 20)):
        quads = [quads_of((66.3, 66.3, width, height, angle)).astype(np.float32) for angle in angles]
        maps = [targets_of(turned).hm for turned in quads]
        assert all(np.array_equal(maps[0], other) for other in maps)


def slow_heat_map(quads: np.ndarray, labels: np.ndarray, num_classes: int, map_hw: tuple[int, int]) -> np.ndarray:
    """The heat map as the paper says it, in plain Python."""
    hm = np.zeros((num_classes, *map_hw))
    for quad, label in zip(quads / 4, labels.tolist(), strict=True):
        x, y = (math.floor(value) for value in quad.mean(axis=0))
        width, height = (math.ceil(np.linalg.norm(quad[i] - quad[0]) - 1e-3) for i in (1, 3))
        roots = []
        for a, b, c in (
            (1, height + width, width * height * (1 - 0.7) / (1 + 0.7)),
            (4, 2 * (height + width), (1 - 0.7) * width * height),
            (4 * 0.7, -2 * 0.7 * (height + width), (0.7 - 1) * width * height),
        ):
            roots.append((b + math.sqrt(b * b - 4 * a * c)) / 2)
        radius = max(0, int(min(roots)))
        for row in range(max(0, y - radius), min(map_hw[0], y + radius + 1)):
            for column in range(max(0, x - radius), min(map_hw[1], x + radius + 1)):
                sigma = (2 * radius + 1) / 6
                value = math.exp(-((row - y) ** 2 + (column - x) ** 2) / (2 * sigma**2))
                hm[label, row, column] = max(hm[label, row, column], value)
    return hm


def test_the_heat_map_of_400_objects_equals_the_slow_one() -> None:
    rng = np.random.default_rng(0)
    sizes = np.column_stack([rng.uniform(0, [640, 480], (400, 2)), rng.uniform(4, 160, (400, 2))])
    quads = quads_of(*np.column_stack([sizes, rng.uniform(0, np.pi, 400)]))
    labels = rng.integers(0, 3, 400)
    targets = targets_of(quads, labels.tolist(), num_classes=3, input_hw=(480, 640))
    assert np.abs(targets.hm - slow_heat_map(quads, labels, 3, (120, 160))).max() < 1e-5


def test_objects_that_meet_keep_the_larger_value_and_both_centres() -> None:
    quads = quads_of((60, 60, 60, 60, 0), (68, 60, 60, 60, 0))
    both = targets_of(quads).hm
    alone = [targets_of(quads[i : i + 1]).hm for i in range(2)]
    assert np.array_equal(both, np.maximum(*alone))
    assert (both == 1).sum() == 2


# -- objects that must not be lost


def test_more_than_500_objects_are_all_kept() -> None:
    """Defect 8: the published code keeps 500 of a crop, in silence."""
    places = np.stack(np.meshgrid(np.arange(30) * 16 + 8.0, np.arange(30) * 16 + 8.0), axis=-1).reshape(-1, 2)
    quads = quads_of(*((x, y, 12, 6, 0.5) for x, y in places))
    targets = targets_of(quads, input_hw=(480, 480))
    assert [len(field) for field in targets[1:]] == [900] * 5
    assert len(set(targets.ind.tolist())) == (targets.hm == 1).sum() == 900


@pytest.mark.parametrize("size", [(10, 10), (9, 3), (2, 2), (0.5, 0.5)])
def test_small_objects_are_kept(size: tuple[float, float]) -> None:
    """Defect 8: objects of 10 px or less along an axis of the outer box were left out, in silence."""
    targets = targets_of(quads_of((50, 50, *size, 0)))
    assert targets.mask.tolist() == [True]
    assert (targets.hm == 1).sum() == 1


def test_two_objects_with_one_centre_are_both_kept() -> None:
    targets = targets_of(quads_of((50, 50, 40, 20, 0.3), (50, 50, 8, 8, 0)), labels=[0, 1])
    assert targets.ind[0] == targets.ind[1]
    assert (targets.hm == 1).sum(axis=(1, 2)).tolist() == [1, 1]


def test_a_class_number_above_255_has_its_own_map() -> None:
    """Defect 10: class ids in uint8."""
    targets = targets_of(quads_of((50, 50, 40, 20, 0.3), (20, 90, 10, 8, 0)), labels=[299, 43], num_classes=300)
    assert np.flatnonzero(targets.hm.any(axis=(1, 2))).tolist() == [43, 299]
    assert (targets.hm[299, 12, 12], targets.hm[43, 22, 5]) == (1, 1)


# -- ignore regions


def test_an_ignored_object_asks_nothing_in_its_area_of_its_class() -> None:
    targets = targets_of(quads_of((60, 60, 40, 20, 0)), labels=[1], ignored=[True])
    expected = np.zeros((2, *MAP_HW))
    expected[1, 13:17, 10:20] = -1  # 40 x 20 px around (60, 60): rows 12.5 to 17.5, of which 13 to 17 by their middles
    expected[1, 12:18, 10:20] = targets.hm[1, 12:18, 10:20]
    assert np.array_equal(targets.hm, expected)
    assert (targets.hm[1, 13:17, 10:20] == -1).all()
    assert [len(field) for field in targets[1:]] == [0] * 5


def test_an_ignore_region_of_every_class_marks_every_class() -> None:
    """The class DontCare has the label -1."""
    targets = targets_of(quads_of((64, 64, 32, 32, 0.6)), labels=[-1], ignored=[True], num_classes=3)
    assert targets.hm.min(axis=(1, 2)).tolist() == [-1, -1, -1]
    assert np.array_equal(targets.hm[0], targets.hm[2])
    assert (targets.hm[0] == -1).sum() == pytest.approx(64, abs=8)


@pytest.mark.parametrize("label", [0, -1])
def test_an_ignore_region_never_covers_the_centre_of_an_object(label: int) -> None:
    quads = quads_of((62, 62, 24, 12, 0.2), (62, 62, 100, 100, 0))
    for order in ([0, 1], [1, 0]):
        targets = targets_of(quads[order], [[0, label][i] for i in order], [[False, True][i] for i in order])
        assert targets.hm[0, 15, 15] == 1
        assert targets.hm[0, 15, 17] == -1, "but what is beside it"
        assert len(targets.mask) == 1


def test_an_ignored_speck_marks_at_least_its_own_cell() -> None:
    targets = targets_of(quads_of((49, 49, 1, 1, 0)), ignored=[True])
    assert np.argwhere(targets.hm == -1).tolist() == [[0, 12, 12]]


def test_an_object_whose_centre_is_outside_becomes_an_ignore_region() -> None:
    for x, y in ((-3, 60), (164, 60), (60, -2), (60, 131), (160, 60)):
        targets = targets_of(quads_of((x, y, 40, 40, 0)))
        assert len(targets.mask) == len(targets.ind) == 0
        assert targets.hm.max() == 0
        assert (targets.hm == -1).sum() > 20
    far = targets_of(quads_of((-500, 60, 40, 40, 0.3), (60, 9e8, 40, 40, 0.3)), ignored=[False, True])
    assert not far.hm.any()


# -- the empty case, types


@pytest.mark.parametrize("quads", [np.zeros((0, 4, 2)), np.zeros((0, 4, 2), np.float32), np.zeros(0)])
def test_no_objects_give_an_empty_heat_map_and_no_rows(quads: np.ndarray) -> None:
    targets = make_targets(quads, np.zeros(0, np.int64), np.zeros(0, bool), 3, INPUT_HW)
    assert targets.hm.shape == (3, *MAP_HW)
    assert not targets.hm.any()
    assert [field.shape for field in targets[1:]] == [(0, 10), (0, 2), (0, 1), (0,), (0,)]


@pytest.mark.parametrize("count", [0, 3])
def test_types_and_shapes_are_those_of_the_design(count: int) -> None:
    quads = quads_of(*[(30 + 30 * i, 60, 20, 12, 0.3) for i in range(count)]).astype(np.float32)
    targets = targets_of(quads, ignored=[False, True, False][:count])
    kept = count - (count > 0)
    assert [field.dtype for field in targets] == [np.float32] * 4 + [np.int64, bool]
    assert [field.shape for field in targets[1:]] == [(kept, 10), (kept, 2), (kept, 1), (kept,), (kept,)]
    assert DOWN_RATIO == 4


# -- there and back


def perfect_maps(targets: Targets) -> Maps:
    """What a perfect network says: the heat map as logits, all else in the cells of the centres."""
    height, width = targets.hm.shape[1:]
    fields = []
    for values in (targets.wh, targets.reg, np.where(targets.cls_theta > 0, 9.0, -9.0).astype(np.float32)):
        field = torch.zeros(values.shape[1], height * width)
        field[:, torch.from_numpy(targets.ind)] = torch.from_numpy(values).T
        fields.append(field.view(1, -1, height, width))
    hm = torch.from_numpy(targets.hm).clamp(1e-6, 1 - 1e-6).logit()[None]
    return Maps(hm=hm, wh=fields[0], reg=fields[1], cls_theta=fields[2])


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=40)
def test_targets_decode_to_the_boxes_they_were_made_of(seed: int) -> None:
    """Defect 7: corners were sums of four free vectors; perfect targets must come back as perfect rectangles."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(np.arange(4) * 40 + 20.0, np.arange(3) * 40 + 20.0), axis=-1).reshape(-1, 2)
    boxes = np.column_stack([places + rng.uniform(-8, 8, (12, 2)), rng.uniform(6, 60, (12, 2)), rng.uniform(0, 4, 12)])
    boxes[::4, 4] = np.pi / 2 * rng.integers(0, 4, 3)
    labels = rng.integers(0, 3, 12)
    quads = quads_of(*boxes)
    targets = targets_of(quads, labels.tolist(), num_classes=3)
    found = decode(perfect_maps(targets), num_peaks=12)
    wanted = np.column_stack([targets.ind % MAP_HW[1], targets.ind // MAP_HW[1]]) + targets.reg
    away = np.linalg.norm(found.quads[0].numpy().mean(axis=1) / 4 - wanted[:, None], axis=2)
    order = away.argmin(axis=1).tolist()
    assert sorted(order) == list(range(12))
    assert np.array_equal(found.labels[0].numpy()[order], labels)
    overlap = paired_iou(found.quads[0].numpy()[order], quads)
    is_exact = (targets.cls_theta[:, 0] == 1) | (boxes[:, 4] % (np.pi / 2) < 1e-9)
    assert overlap[is_exact].min() > 0.99
    assert overlap.min() > 0.949, "a box that fills 0.95 of its outer one comes back as that"


def test_no_objects_decode_to_no_peaks() -> None:
    found = decode(perfect_maps(targets_of(np.zeros((0, 4, 2)))), num_peaks=5)
    assert found.scores.max() < 1e-5
