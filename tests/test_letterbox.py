"""The one letterbox: exact bilinear sampling at one scale, padded at the right and bottom, boxes keep their shape."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import letterbox
from datasets.letterbox import letterbox_image, letterbox_scale
from DOTA_devkit.boxes import boxes_to_quads, encode_vectors, rectangle_quads
from DOTA_devkit.iou import paired_iou

FILL = (104.0, 116.25, 123.675)
SIDES = st.integers(1, 7).map(lambda count: 32 * count)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


def bilinear(image: np.ndarray, scale: float, height: int, width: int) -> np.ndarray:
    """Bilinear sampling with half-pixel centres in float64, straight from the definition: (height, width, 3)."""
    rows, columns = (
        np.clip((np.arange(count) + 0.5) / scale - 0.5, 0, side - 1)
        for count, side in zip((height, width), image.shape[:2], strict=True)
    )
    for axis, places in enumerate((rows, columns)):
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, image.shape[axis] - 1)
        weight = np.expand_dims(places - low, [1 - axis, 2])
        image = np.take(image, low, axis) * (1 - weight) + np.take(image, high, axis) * weight
    return image


# -- scale and padding


@pytest.mark.parametrize("hw", [(1000, 700), (333, 1201), (50, 2000)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_huge_picture_is_sampled_without_a_copy_in_floating_point(
    monkeypatch: pytest.MonkeyPatch, hw: tuple[int, int], channels: int
) -> None:
    """One of 600 megapixels took 7 GB in each of the loader's processes."""
    picture = np.random.default_rng(0).integers(0, 256, (*hw, channels), dtype=np.uint8)
    plain = letterbox_image(picture, (96, 128), (1.0,) * channels)
    monkeypatch.setattr(letterbox, "MOST_IN_FLOAT", 1000)
    tracemalloc.start()
    sampled = letterbox_image(picture, (96, 128), (1.0,) * channels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_allclose(sampled, plain, atol=1e-3)
    assert peak < picture.size * np.float32().itemsize


def test_the_scale_is_the_largest_at_which_the_whole_picture_fits() -> None:
    assert letterbox_scale((1080, 1920), (608, 608)) == 608 / 1920
    assert letterbox_scale((100, 50), (608, 608)) == 6.08
    assert letterbox_scale((512, 640), (512, 640)) == 1
    assert letterbox_scale((1, 1), (32, 64)) == 32


def test_padding_is_at_the_right_and_the_bottom_in_the_fill_colour() -> None:
    wide = letterbox_image(np.full((50, 100, 3), 7, np.uint8), (64, 64), FILL)
    assert (wide.shape, wide.dtype) == ((64, 64, 3), np.float32)
    assert (wide[:32] == 7).all()
    assert (wide[32:] == np.float32(FILL)).all()
    tall = letterbox_image(np.full((100, 50, 3), 7, np.uint8), (64, 64), FILL)
    assert (tall[:, :32] == 7).all()
    assert (tall[:, 32:] == np.float32(FILL)).all()


def test_a_picture_of_the_right_size_is_bit_equal() -> None:
    image = noise(64, 96)
    assert np.array_equal(letterbox_image(image, (64, 96), FILL), image)
    assert np.array_equal(letterbox_image(image, (128, 96), FILL)[:64], image)


@given(height=st.integers(1, 90), width=st.integers(1, 90), input_h=SIDES, input_w=SIDES)
@settings(deadline=None, max_examples=150)
def test_any_size_fits_touches_one_border_and_invents_no_colour(
    height: int, width: int, input_h: int, input_w: int
) -> None:
    """Defect 6: some input sizes crash the published code; any picture goes into any multiple of 32."""
    image = noise(height, width)
    before = image.copy()
    out = letterbox_image(image, (input_h, input_w), (-1, -1, -1))
    assert out.shape == (input_h, input_w, 3)
    filled = (out >= 0).all(axis=2)
    rows, columns = filled.any(axis=1).sum(), filled.any(axis=0).sum()
    assert filled[:rows, :columns].all()
    assert filled.sum() == rows * columns
    scale = letterbox_scale((height, width), (input_h, input_w))
    assert (rows, columns) == (max(1, int(height * scale + 1e-6)), max(1, int(width * scale + 1e-6)))
    assert rows == input_h or columns == input_w
    assert out[filled].min() >= image.min() - 1e-3
    assert out[filled].max() <= image.max() + 1e-3
    assert np.array_equal(image, before)


@pytest.mark.parametrize("hw", [(1, 1), (5000, 3), (3, 5000), (1, 4000), (2, 3)])
def test_extreme_shapes_leave_at_least_one_pixel(hw: tuple[int, int]) -> None:
    image = np.full((*hw, 3), 200, np.uint8)
    out = letterbox_image(image, (64, 96), (0, 0, 0))
    assert out.shape == (64, 96, 3)
    assert np.isclose(out[0, 0], 200).all()


# -- sampling


@given(height=st.integers(3, 90), width=st.integers(3, 90), input_h=SIDES, input_w=SIDES)
@settings(deadline=None, max_examples=150)
def test_sampling_is_bilinear_with_half_pixel_centres_at_exactly_the_scale(
    height: int, width: int, input_h: int, input_w: int
) -> None:
    image = noise(height, width)
    scale = letterbox_scale((height, width), (input_h, input_w))
    rows, columns = int(height * scale + 1e-6), int(width * scale + 1e-6)
    if min(height, width) * scale < 1:
        return
    out = letterbox_image(image, (input_h, input_w), FILL)[:rows, :columns]
    # Of random neighbours that differ by up to 255, the rounding of a float32 coordinate is seen.
    assert np.abs(out - bilinear(image, scale, rows, columns)).max() < 255 * 224 * 2**-23


@pytest.mark.parametrize("hw", [(37, 60), (91, 50), (270, 480), (33, 47), (640, 512), (1, 20)])
@pytest.mark.parametrize("input_hw", [(64, 96), (160, 128), (320, 320)])
def test_it_agrees_with_interpolate_of_torch_at_the_same_scale_factor(
    hw: tuple[int, int], input_hw: tuple[int, int]
) -> None:
    """So that an exported network can do the letterbox itself and give the same numbers."""
    image = cv2.blur(noise(*hw), (9, 9), borderType=cv2.BORDER_REFLECT)  # as smooth as pictures are
    scale = letterbox_scale(hw, input_hw)
    rows, columns = max(1, int(hw[0] * scale + 1e-6)), max(1, int(hw[1] * scale + 1e-6))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image).permute(2, 0, 1)[None].double(),
        scale_factor=scale,
        mode="bilinear",
        recompute_scale_factor=False,
        align_corners=False,
        antialias=False,
    )[0].permute(1, 2, 0)
    out = letterbox_image(image, input_hw, FILL)
    assert np.abs(out[:rows, :columns] - expected[:rows, :columns].numpy()).max() < 1e-3


@pytest.mark.parametrize(("hw", "input_hw"), [((60, 80), (96, 96)), ((300, 400), (96, 160)), ((200, 500), (128, 512))])
def test_a_bright_spot_lands_where_the_scale_says(hw: tuple[int, int], input_hw: tuple[int, int]) -> None:
    """Pixel i covers [i, i + 1): a spot around (x, y) of the picture lies around (x * scale, y * scale)."""
    x, y, spread = 0.37 * hw[1], 0.61 * hw[0], hw[0] / 15
    columns, rows = np.arange(hw[1]) + 0.5, np.arange(hw[0])[:, None] + 0.5
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * spread**2))
    image = np.repeat(np.rint(255 * spot)[..., None], 3, axis=2).astype(np.uint8)
    out = letterbox_image(image, input_hw, (0, 0, 0))[..., 0].astype(float)
    scale = letterbox_scale(hw, input_hw)
    assert (out.sum(axis=0) * (np.arange(input_hw[1]) + 0.5)).sum() / out.sum() == pytest.approx(x * scale, abs=0.03)
    assert (out.sum(axis=1) * (np.arange(input_hw[0]) + 0.5)).sum() / out.sum() == pytest.approx(y * scale, abs=0.03)


# -- boxes


def encode_and_decode(quads: np.ndarray) -> np.ndarray:
    """What a perfect network makes of boxes (N, 4, 2): they come back as rectangles."""
    boxes = encode_vectors(quads)
    return rectangle_quads(boxes.center, boxes.vectors)


def test_a_rectangle_of_a_wide_picture_comes_back_as_it_was() -> None:
    """Defect 6: stretching a 16:9 picture to a square brings a perfect rectangle back with IoU 0.89 or less."""
    rng = np.random.default_rng(0)
    sizes = np.column_stack([rng.uniform(60, 300, 200), rng.uniform(20, 120, 200), rng.uniform(0, np.pi, 200)])
    quads = boxes_to_quads(np.column_stack([rng.uniform(300, 780, (200, 2)), sizes]), "rolabelimg")
    scale = letterbox_scale((1080, 1920), (608, 608))
    assert paired_iou(encode_and_decode(quads * scale) / scale, quads).min() > 0.999
    stretch = np.array([608 / 1920, 608 / 1080])
    assert paired_iou(encode_and_decode(quads * stretch) / stretch, quads).min() < 0.9


def test_no_boxes_pass_through() -> None:
    assert encode_and_decode(np.zeros((0, 4, 2)) * letterbox_scale((5, 7), (32, 32))).shape == (0, 4, 2)
