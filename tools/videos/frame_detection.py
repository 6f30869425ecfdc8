"""Detection in a frame of a video or a camera."""

from __future__ import annotations

import numpy as np

from DOTA_devkit.task_files import ImageDetections
from tools.outcomes import PictureDetector, Tiling, is_much_larger, too_large_hint
from tools.running.messages import warn


def detect_in_frame(
    detector: PictureDetector, picture: np.ndarray, tiling: Tiling | None, batch_size: int = 1
) -> ImageDetections:
    """The boxes of a frame (H, W, 3) uint8 BGR, whole or in tiles."""
    if tiling is None:
        return detector.detect([picture])[0]
    return detector.detect_tiled(picture, tiling, batch_size)


def warn_if_too_large(what: str, hw: tuple[int, int], detector: PictureDetector, tiling: Tiling | None) -> None:
    """Warn of frames of a video or camera that shrink so much that small objects are lost."""
    if tiling is None and is_much_larger(hw, detector.usual_hw):
        warn(f"{what} {too_large_hint(hw, detector.usual_hw, detector.input_hw)}")
