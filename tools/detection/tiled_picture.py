"""One picture cut into tiles, and what is found in them, on its way back to the picture; imports no torch."""

from __future__ import annotations

import numpy as np

from datasets.picture_files.picture_windows import PictureWindows
from datasets.tiles import TileSet
from DOTA_devkit.merging import merge_tiles
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from DOTA_devkit.tiling import lay_tiles, tile_windows
from tools.outcomes import DetectionSettings, Tiling


class TiledPicture:
    """tiles: what a network is to look at, cut from the picture when asked for. Boxes are added tile by tile."""

    def __init__(
        self,
        picture: np.ndarray | PictureWindows,
        tiling: Tiling,
        input_hw: tuple[int, int],
        fill_bgr: tuple[float, ...],
        name: str | None = None,
    ) -> None:
        """picture: (H, W, channels) uint8; input_hw and fill_bgr: of the network; name: for progress."""
        self._hw, self._size, self._name = picture.shape[:2], tiling.size, name
        self._grid = lay_tiles(name or "picture", *self._hw, tiling.size, tiling.overlap, tiling.scales)
        self._windows = tile_windows(self._grid, tiling.size)
        self.tiles = TileSet(picture, self._grid, tiling.size, input_hw, fill_bgr)
        self._parts: list[ImageDetections] = [NO_DETECTIONS]
        self._rows: list[np.ndarray] = [np.zeros(0, np.int64)]

    @property
    def title(self) -> str:
        """For a progress bar."""
        return f"{self._name}: {len(self._grid)} tiles"

    def add(self, row: int, boxes: ImageDetections) -> None:
        """Add what was found in tile number `row`, in pixels of its crop."""
        in_picture = self.tiles.to_picture(row, boxes.quads)
        in_tile = (in_picture - self._windows[row, :2]) * self._grid[row].scale
        self._parts.append(boxes._replace(quads=in_tile))
        self._rows.append(np.full(len(boxes.scores), row))

    def merged(self, settings: DetectionSettings) -> ImageDetections:
        """The boxes of the whole picture, in its pixels."""
        boxes = ImageDetections(*(np.concatenate(part) for part in zip(*self._parts, strict=True)))
        where = np.concatenate(self._rows), self._windows, self._size, self._hw
        return merge_tiles(*boxes, *where, settings.nms_thresh, settings.agnostic)
