"""Views of a picture: mirrored maps are those of the mirrored picture, and their mean prefers no side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import main
from DOTA_devkit.boxes import boxes_to_quads, encode_vectors
from DOTA_devkit.iou import paired_iou
from models import VIEWS, Maps, decode, maps_of_views, mirrored_maps
from tools.checkpoint import load_checkpoint
from tools.detection.results import read_origin
from tools.detector import Detector

HW = (64, 96)  # of the picture; its maps have 16 x 24 cells
ALL_AXES = [axes for axes in VIEWS[4] if axes]


def mirror_quads(quads: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    mirrored = quads.copy()
    for axis, side in ((-1, HW[1]), (-2, HW[0])):
        if axis in axes:
            mirrored[..., 0 if axis == -1 else 1] = side - mirrored[..., 0 if axis == -1 else 1]
    return mirrored


def maps_of_box(quad: np.ndarray) -> Maps:
    """The maps of a network that sees one box and is sure of it."""
    found = encode_vectors(quad[None])
    center = found.center[0] / 4
    cell = np.floor(center).astype(int)
    maps = Maps(*(torch.full((1, channels, HW[0] // 4, HW[1] // 4), value) for channels, value in
                  ((1, -20.0), (10, 0.0), (2, 0.0), (1, 0.0))))  # fmt: skip
    x, y = cell.tolist()
    maps.hm[0, 0, y, x] = 9.0
    maps.wh[0, :, y, x] = torch.from_numpy(np.concatenate((found.vectors[0].ravel(), found.outer[0])) / 4)
    maps.reg[0, :, y, x] = torch.from_numpy(center - cell)
    maps.cls_theta[0, 0, y, x] = 9.0 if found.rotated[0] else -9.0
    return maps


@given(
    st.tuples(st.floats(20, 76), st.floats(20, 44), st.floats(4, 25), st.floats(4, 25), st.floats(0, np.pi)),
    st.sampled_from(ALL_AXES),
)
def test_mirrored_maps_say_of_a_box_what_the_maps_of_the_mirrored_box_say(box, axes):
    quad = boxes_to_quads(np.array([box]), "rolabelimg")[0]
    expected = decode(maps_of_box(mirror_quads(quad, axes)), num_peaks=1)
    found = decode(mirrored_maps(maps_of_box(quad), axes), num_peaks=1)
    assert found.scores.item() == expected.scores.item() > 0.99
    assert paired_iou(found.quads[0].double().numpy(), expected.quads[0].double().numpy()).item() > 0.9999


@pytest.mark.parametrize("axes", ALL_AXES)
def test_to_mirror_twice_changes_nothing(axes):
    torch.manual_seed(0)
    maps = Maps(*(torch.randn(2, channels, 4, 6) for channels in (3, 10, 2, 1)))
    for once, again in zip(maps, mirrored_maps(mirrored_maps(maps, axes), axes), strict=True):
        assert torch.allclose(once, again, atol=1e-6)


def test_a_network_that_sees_the_same_in_every_view_gives_its_maps():
    quad = boxes_to_quads(np.array([[41.3, 30.2, 22.0, 9.0, 0.6]]), "rolabelimg")[0]
    calls = []

    def network(images: torch.Tensor) -> Maps:
        calls.append(images)
        mirrored = [axes for axes in VIEWS[4] if torch.equal(picture.flip(axes), images)]
        return maps_of_box(mirror_quads(quad, mirrored[0]))

    picture = torch.rand(1, 3, *HW)
    for num_views in VIEWS:
        calls.clear()
        found = maps_of_views(network, picture, num_views)
        assert len(calls) == num_views
        for value, expected in zip(decode(found, 1), decode(maps_of_box(quad), 1), strict=True):
            assert torch.allclose(value, expected, atol=1e-4)


def test_another_number_of_views_is_refused(finding_checkpoint: Path, capsys):
    with pytest.raises(ValueError, match="num_views is 3; it can be 1, 2, 4"):
        maps_of_views(lambda images: images, torch.zeros(1), 3)
    assert main.main(["--phase", "eval", "--resume", str(finding_checkpoint), "--tta_views", "3"]) == 2
    assert "tta_views: invalid choice: 3" in capsys.readouterr().err


@pytest.mark.slow
def test_with_four_views_a_mirrored_picture_has_the_mirrored_boxes(finding_checkpoint: Path):
    """The network alone does not see both alike; the views of both are the same four."""
    picture = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)
    for num_views, is_same in ((1, False), (4, True)):
        detector = Detector(finding_checkpoint, tta_views=num_views, conf_thresh=0.05)
        plain = detector.detect([picture])[0]
        mirrored = detector.detect([np.ascontiguousarray(picture[:, ::-1])])[0]
        assert len(plain.scores) > 5
        if is_same:
            assert np.allclose(np.sort(plain.scores), np.sort(mirrored.scores), atol=1e-4)
            places = (np.sort(quads.mean(1)[:, 0]) for quads in (plain.quads, mirror_quads(mirrored.quads, (-1,))))
            assert np.allclose(*places, atol=1e-2)
        else:
            assert len(plain.scores) != len(mirrored.scores) or not np.allclose(
                plain.scores, mirrored.scores, atol=1e-3
            )


@pytest.mark.slow
def test_results_tell_of_their_views_and_are_not_taken_for_those_of_others(
    finding_checkpoint: Path, dota_folder, tmp_path: Path, capsys
):
    data_dir = dota_folder(lists={"train": [], "val": ["scene_0", "scene_1"]})
    flags = ["--phase", "eval", "--resume", str(finding_checkpoint), "--data_dir", str(data_dir), "--num_workers", "0"]
    flags += ["--out", str(tmp_path / "out")]
    for more, ran in (([], True), (["--tta_views", "2"], True), (["--tta_views", "2"], False)):
        assert main.main([*flags, *more]) == 0
        assert ("running the detector" in capsys.readouterr().out) == ran
    assert read_origin(tmp_path / "out" / "results")["num_views"] == 2
    model, _, _ = load_checkpoint(finding_checkpoint)
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        assert not torch.equal(model.eval()(images).hm, maps_of_views(model, images, 2).hm)


@pytest.mark.parametrize("size", [(20, 20), (30, 12), (10, 40)])
@pytest.mark.parametrize("num_views", [1, 2, 4])
def test_an_upright_box_that_is_taken_for_a_rotated_one_keeps_its_sides(size, num_views):
    """Its vectors point up, right, down, left, in every view; named by quadrants their mean would be no box."""
    quad = boxes_to_quads(np.array([[50.3, 30.0, *size, 0.0]]), "rolabelimg")[0]
    picture = torch.rand(1, 3, *HW)

    def network(images: torch.Tensor) -> Maps:
        (axes,) = (axes for axes in VIEWS[4] if torch.equal(picture.flip(axes), images))
        maps = maps_of_box(mirror_quads(quad, axes))
        return maps._replace(cls_theta=torch.full_like(maps.cls_theta, 2.0))

    found = decode(maps_of_views(network, picture, num_views), 1)
    assert paired_iou(found.quads[0].double().numpy(), quad[None]).item() > 0.999
