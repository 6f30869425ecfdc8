"""The letterbox in tensors is the one letterbox, in torch and in an ONNX file, for pictures of any size."""

from __future__ import annotations

import io

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from datasets.letterbox import letterbox_image, letterbox_scale
from models import IMAGENET, normalize
from models.graph_letterbox import pad, shrink
from models.preprocessing import normalize_planes

INPUT_HW = (64, 96)


class Letterbox(nn.Module):
    """Pictures (N, H, W, 3) uint8 -> normalised inputs and picture pixels per input pixel."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        planes, pixel = shrink(images.float().permute(0, 3, 1, 2), INPUT_HW)
        return pad(normalize_planes(planes, IMAGENET), INPUT_HW), pixel


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    buffer, example = io.BytesIO(), torch.zeros(1, 50, 50, 3, dtype=torch.uint8)
    axes = {"image": {0: "n", 1: "h", 2: "w"}}
    options = {"dynamo": False, "opset_version": 17, "input_names": ["image"], "dynamic_axes": axes}
    with pytest.warns():
        torch.onnx.export(Letterbox(), (example,), buffer, **options)
    return onnxruntime.InferenceSession(buffer.getvalue())


def _picture(height: int, width: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1)


SIDES = st.one_of(st.integers(1, 8), st.integers(9, 700), st.sampled_from([64, 96, 128, 192, 32, 48]))


@settings(deadline=None, max_examples=60)
@given(SIDES, SIDES, st.integers(0, 9))
def test_any_picture_is_letterboxed_as_everywhere(session, height, width, seed) -> None:
    picture = _picture(height, width, seed)
    expected = normalize(torch.from_numpy(letterbox_image(picture, INPUT_HW, IMAGENET.fill_bgr))[None], IMAGENET)
    in_torch, in_file = Letterbox()(torch.from_numpy(picture)[None]), session.run(None, {"image": picture[None]})
    for inputs, pixel in (in_torch, in_file):
        np.testing.assert_allclose(np.asarray(inputs), expected, atol=2e-3)
        assert float(pixel) * letterbox_scale((height, width), INPUT_HW) == pytest.approx(1, rel=1e-6)


def test_a_side_that_fits_exactly_loses_no_pixel_to_rounding(session) -> None:
    """Runtimes multiply side and scale in float32 and round down: 607.99997 rows would be 607."""
    for height in range(65, 1500, 7):
        inputs = session.run(None, {"image": np.full((1, height, 1, 3), 255, np.uint8)})[0]
        assert (inputs[0, :, -1, 0] > 1).all(), height


def test_the_pictures_of_a_batch_are_each_letterboxed(session) -> None:
    batch = np.stack([_picture(90, 120, seed) for seed in range(3)])
    together = session.run(None, {"image": batch})[0]
    for number in range(3):
        np.testing.assert_allclose(together[number], session.run(None, {"image": batch[number][None]})[0][0], atol=1e-6)
