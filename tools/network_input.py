"""What pictures a network reads, as its checkpoint or its exported file tells it. Imports no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datasets.images import read_image
from datasets.picture_windows import PictureWindows, open_picture


class NetworkInput:
    """What `Architecture` and `FileFacts` know alike; they hold input_hw, picture_hw, value_range and in_channels."""

    input_hw: tuple[int, int]
    picture_hw: tuple[int, int] | None
    value_range: tuple[float, float] | None
    in_channels: int  # of the pictures: 1 grey, 3 BGR, 4 BGR and one more

    @property
    def usual_hw(self) -> tuple[int, int]:
        """Height and width of pictures in which objects are as large, for the network, as those it was trained on."""
        return self.picture_hw or self.input_hw

    def read_picture(self, path: Path) -> np.ndarray:
        """A picture as it was read in training. Raises ImageError as `read_image`."""
        return read_image(path, self.in_channels, self.value_range)

    def open_picture(self, path: Path) -> np.ndarray | PictureWindows:
        """A picture to cut tiles from, in windows where it is large. Raises ImageError as `open_picture`."""
        return open_picture(path, self.in_channels, self.value_range)
