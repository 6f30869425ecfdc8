"""Augmentation of a training input: one warp for flip, rotation, scale and crop, one look-up table for colours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datasets.channel_groups import by_fours
from datasets.letterbox import letterbox_scale
from DOTA_devkit.clipping import clip_quads

LONGEST_WARPED = 32766  # pixels; beyond, OpenCV cannot warp
WINDOWS_ON_OBJECTS = 0.8  # share of the windows that are laid about an object
MOSAIC_REACH = 0.15  # how far from the middle the parts of a mosaic may meet, of the input's sides
WINDOW_REACH = 0.3  # how far from the window's middle its object may lie, of the window's sides


@dataclass(frozen=True)
class Augmentation:
    """How far training inputs are changed; the defaults are those of the default recipe.

    flip: probability of each of the two flips; quarter_turns: turn by a random multiple of 90 degrees; rotate: largest
    further angle in degrees, either way, evenly drawn; scale: smallest and largest factor, evenly drawn on a
    logarithmic scale; shift: largest move of the picture's middle, as a fraction of the input's sides; gain, offset:
    largest relative and absolute (of 255) change that all colour channels share, and each by up to 0.3 of it more;
    mosaic: probability that an input is put together of parts of four pictures.
    """

    flip: float = 0.5
    quarter_turns: bool = False
    rotate: float = 0.0
    scale: tuple[float, float] = (0.85, 1.18)
    shift: float = 0.05
    gain: float = 0.2
    offset: float = 0.1
    mosaic: float = 0.0


def letterbox_matrix(image_hw: tuple[int, int], input_hw: tuple[int, int]) -> np.ndarray:
    """The letterbox as an affine matrix (2, 3): points of the picture -> points of the input."""
    scale = letterbox_scale(image_hw, input_hw)
    return np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]])


def random_matrix(
    rng: np.random.Generator, image_hw: tuple[int, int], input_hw: tuple[int, int], augmentation: Augmentation
) -> np.ndarray:
    """A random affine matrix (2, 3), points of the picture -> points of the input: the letterbox's scale times the
    drawn one, turned and flipped about the picture's middle, which lands near the middle of the input."""
    turn = _random_turn(rng, letterbox_scale(image_hw, input_hw), augmentation)
    sides = np.array([input_hw[1], input_hw[0]])
    target = sides * (0.5 + rng.uniform(-augmentation.shift, augmentation.shift, 2))
    middle = np.array([image_hw[1], image_hw[0]]) / 2
    return np.column_stack([turn, target - turn @ middle])


def random_window_matrix(
    rng: np.random.Generator,
    image_hw: tuple[int, int],
    input_hw: tuple[int, int],
    window_hw: tuple[int, int],
    centers: np.ndarray,
    augmentation: Augmentation,
) -> np.ndarray:
    """A random affine matrix (2, 3), points of the picture -> points of a window of the input, which is smaller than
    the input but shows things as large as the whole input would.

    centers (N, 2): of objects, pixels of the picture. Mostly one of them, now and then any place of the picture, lands
    somewhere in the inner part of the window.
    """
    turn = _random_turn(rng, letterbox_scale(image_hw, input_hw), augmentation)
    place = rng.uniform(0, 1, 2) * np.array([image_hw[1], image_hw[0]])
    if len(centers) and rng.random() < WINDOWS_ON_OBJECTS:
        place = centers[rng.integers(len(centers))]
    target = np.array([window_hw[1], window_hw[0]]) * rng.uniform(0.5 - WINDOW_REACH, 0.5 + WINDOW_REACH, 2)
    return np.column_stack([turn, target - turn @ place])


def moved_inside(matrix: np.ndarray, image_hw: tuple[int, int], hw: tuple[int, int]) -> np.ndarray:
    """The matrix (2, 3), moved so that what is seen at size `hw` lies within the picture, or, along a side where the
    picture is smaller, the picture within it; as little as will do."""
    corners = np.array([(x, y) for x in (0, image_hw[1]) for y in (0, image_hw[0])])
    seen = corners @ matrix[:, :2].T + matrix[:, 2]
    ends = np.array([-seen.min(axis=0), np.array(hw[::-1]) - seen.max(axis=0)])
    shift = np.clip(0, ends.min(axis=0), ends.max(axis=0))
    return np.column_stack([matrix[:, :2], matrix[:, 2] + shift])


def mosaic_parts(rng: np.random.Generator, hw: tuple[int, int]) -> list[tuple[slice, slice]]:
    """The rows and columns of the four parts of an input of size `hw`, which meet at a random place near its middle
    (Bochkovskiy et al. 2020, "YOLOv4")."""
    middle = [round(side * rng.uniform(0.5 - MOSAIC_REACH, 0.5 + MOSAIC_REACH)) for side in hw]
    rows, columns = ((slice(0, place), slice(place, side)) for place, side in zip(middle, hw, strict=True))
    return [(down, across) for down in rows for across in columns]


def warp_image(
    image: np.ndarray, matrix: np.ndarray, input_hw: tuple[int, int], fill_bgr: tuple[float, ...]
) -> np.ndarray:
    """The picture (H, W, c) uint8 under the matrix (2, 3), as an input (input_h, input_w, c) uint8.

    By the matrix of the letterbox it shows what `letterbox_image` does, but for the last pixels at the picture's
    borders: they fade into the fill here, and are repeated there.
    """
    # OpenCV counts from the middle of the first pixel, the matrix from its corner.
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    fill = tuple(round(value) for value in fill_bgr)

    def warp(part: np.ndarray, channels: slice) -> np.ndarray:
        how = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_CONSTANT, "borderValue": fill[channels]}
        return cv2.warpAffine(part, shifted, input_hw[::-1], **how)

    return by_fours(image, warp)


def warp_quads(
    quads: np.ndarray,
    matrix: np.ndarray,
    image_hw: tuple[int, int],
    input_hw: tuple[int, int],
    min_visible: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The quads (N, 4, 2) of a picture under the matrix: (rectangles (K, 4, 2) in input pixels, rows (K,) they come
    from, hidden (K,) bool).

    Every quad is cut at the picture's and at the input's border and refitted. What is visible of it is the smaller of
    the fractions that the two borders leave; one with less than `min_visible` is hidden (an ignore region), one with
    nothing left is dropped.
    """
    whole = _transform(quads, matrix)
    in_picture, visible_in_picture = clip_quads(quads, 0, 0, image_hw[1], image_hw[0])
    rectangles, left = clip_quads(_transform(in_picture, matrix), 0, 0, input_hw[1], input_hw[0])
    # Not by what is left of the refitted part: it reaches a little beyond a border, and would be cut there again.
    visible = np.minimum(visible_in_picture, clip_quads(whole, 0, 0, input_hw[1], input_hw[0])[1])
    rows = np.flatnonzero((left > 0) & (visible > 0))
    return rectangles[rows], rows, visible[rows] < min_visible


def jitter_colours(rng: np.random.Generator, image: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    """The image (H, W, c) uint8 with the channels drawn brighter, darker and apart, clipped to 0..255."""
    shared, apart = rng.uniform(-1, 1, 2), rng.uniform(-1, 1, (2, image.shape[2])) * 0.3
    gain = 1 + augmentation.gain * (shared[0] + apart[0])
    offset = 255 * augmentation.offset * (shared[1] + apart[1])
    levels = np.arange(256)[:, None]
    table = np.rint(np.clip((levels - 127.5) * gain + 127.5 + offset, 0, 255)).astype(np.uint8)
    return cv2.LUT(image, table[None]).reshape(image.shape)


def _random_turn(rng: np.random.Generator, scale: float, augmentation: Augmentation) -> np.ndarray:
    """A random matrix (2, 2): `scale` times the drawn scale, a turn, and flips."""
    low, high = augmentation.scale
    scale = scale * low * (high / low) ** rng.random()
    angle = np.deg2rad(rng.uniform(-augmentation.rotate, augmentation.rotate))
    if augmentation.quarter_turns:
        angle += rng.integers(4) * np.pi / 2
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn * np.where(rng.random(2) < augmentation.flip, -1.0, 1.0)


def _transform(quads: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The quads (N, 4, 2) under the matrix (2, 3), clockwise also in a mirror, where they would run the other way."""
    moved = quads @ matrix[:, :2].T + matrix[:, 2]
    return moved[:, [1, 0, 3, 2]] if np.linalg.det(matrix[:, :2]) < 0 else moved
