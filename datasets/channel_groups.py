"""Pictures of any number of channels for OpenCV, which resizes and warps four of them at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# With more of them OpenCV refuses, or fills what lies beyond a border with the first four values again.
OPENCV_CHANNELS = 4


def by_fours(pixels: np.ndarray, change: Callable[[np.ndarray, slice], np.ndarray]) -> np.ndarray:
    """What `change` makes of a picture (H, W, c), (h, w, c) of the same kind: of all of it, or of four channels after
    four. It gets the channels, and which they are, and may drop the axis of a single one, as OpenCV does."""
    num_channels = pixels.shape[2]
    if num_channels <= OPENCV_CHANNELS:
        return _with_channels(change(pixels, slice(0, num_channels)))
    groups = [
        slice(first, min(first + OPENCV_CHANNELS, num_channels)) for first in range(0, num_channels, OPENCV_CHANNELS)
    ]
    changed = [_with_channels(change(np.ascontiguousarray(pixels[:, :, group]), group)) for group in groups]
    return np.concatenate(changed, axis=2)


def _with_channels(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(*pixels.shape[:2], -1)
