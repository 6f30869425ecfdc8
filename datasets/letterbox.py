"""The one letterbox: how a picture of any size becomes the network's input, and how boxes come back.

Training, testing and export share it: aspect kept, bilinear with half-pixel centres and without anti-aliasing, in
float, padded at the right and at the bottom. A point (x, y) of the picture lies at (x * scale, y * scale) of the input;
pixel i covers [i, i + 1) in both.
"""

from __future__ import annotations

import cv2
import numpy as np

from datasets.channel_groups import by_fours

MOST_IN_FLOAT = 3 * 2**26  # values of a picture that are made floating point at once, 805 MB


def letterbox_scale(image_hw: tuple[int, int], input_hw: tuple[int, int]) -> float:
    """Input pixels per picture pixel: the largest scale at which the whole picture fits."""
    return min(input_hw[0] / image_hw[0], input_hw[1] / image_hw[1])


def letterbox_image(
    image: np.ndarray,
    input_hw: tuple[int, int],
    fill_bgr: tuple[float, ...],
    scale: float | None = None,
) -> np.ndarray:
    """Resize and pad a picture (H, W, 3) BGR to (input_h, input_w, 3) float32, still 0..255, padded with `fill_bgr`;
    or one of any other number of channels, with as many values to fill.

    `scale` is that of `letterbox_scale`, unless a smaller one is given, as for the rest of a tile at a border.
    The scale is the same on both axes to the last bit, so that a rectangle stays a rectangle; the extent of the
    picture is rounded down to whole pixels (but is at least one).
    """
    if scale is None:
        scale = letterbox_scale(image.shape[:2], input_hw)
    height, width = (max(1, int(side * scale + 1e-6)) for side in image.shape[:2])
    canvas = np.empty((*input_hw, image.shape[2]), np.float32)
    canvas[:height, width:] = fill_bgr  # the margins alone: what is overwritten afterwards would take as long again
    canvas[height:] = fill_bgr
    if (height, width) == image.shape[:2]:
        canvas[:height, :width] = image
        return canvas
    resized = by_fours(image, lambda part, _: _resized(part, scale, (width, height)))
    canvas[:height, :width] = resized[:height, :width]
    return canvas


def _resized(image: np.ndarray, scale: float, size: tuple[int, int]) -> np.ndarray:
    """The picture in float32 at this scale, which makes it `size` (width, height) or a row or column more."""
    if min(image.shape[:2]) * scale < 1:  # less than a row or column would be left
        return cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    fy = scale
    if image.size > MOST_IN_FLOAT and scale < 0.5:
        image, fy = _sampled_rows(image, scale), 1.0
    # With fx and fy given, OpenCV samples at exactly this scale; with a size given it would bend it to the size.
    return cv2.resize(image.astype(np.float32), None, fx=scale, fy=fy, interpolation=cv2.INTER_LINEAR)


def _sampled_rows(image: np.ndarray, scale: float) -> np.ndarray:
    """The rows (h, W, channels) float32 of which the letterbox of a huge picture is made, sampled as OpenCV samples
    them: most rows of the picture are not looked at, and need not be made floating point."""
    last = len(image) - 1
    places = (np.arange(round(len(image) * scale)) + 0.5) / scale - 0.5
    above = np.floor(places).astype(int)
    share = (places - above).astype(np.float32)[:, None, None]
    upper, lower = (image[np.clip(above + step, 0, last)].astype(np.float32) for step in (0, 1))
    lower -= upper
    lower *= share
    lower += upper
    return lower
