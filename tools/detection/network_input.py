"""What pictures a network reads, as its checkpoint or its exported file tells it. Imports no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datasets.picture_files.layouts import Reading
from datasets.picture_files.picture_windows import PictureWindows, open_picture, read_whole


class NetworkInput:
    """What `Architecture` and `FileFacts` know alike; they hold its fields."""

    input_hw: tuple[int, int]
    picture_hw: tuple[int, int] | None
    value_range: tuple[float, ...] | None
    bands: tuple[int, ...] | None
    in_channels: int  # of the pictures: 1 grey, 3 BGR, more BGR and the others

    @property
    def usual_hw(self) -> tuple[int, int]:
        """Height and width of pictures in which objects are as large, for the network, as those it was trained on."""
        return self.picture_hw or self.input_hw

    @property
    def reading(self) -> Reading:
        """How pictures were read in training."""
        return Reading(self.value_range, self.bands)

    def read_picture(self, path: Path) -> np.ndarray:
        """A picture as it was read in training. Raises ImageError as `read_whole`."""
        return read_whole(path, self.in_channels, self.reading)

    def open_picture(self, path: Path) -> np.ndarray | PictureWindows:
        """A picture to cut tiles from, in windows where it is large. Raises ImageError as `open_picture`."""
        return open_picture(path, self.in_channels, self.reading)
