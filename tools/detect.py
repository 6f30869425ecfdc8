"""Pictures -> detections: the loop that training's validation, test and eval share."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from datasets.images import ImageError, read_image
from datasets.loader import PictureSet, TileSet, make_picture_loader, make_tile_loader
from DOTA_devkit import poly_nms
from DOTA_devkit.merging import merge_tiles
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from DOTA_devkit.tiling import lay_tiles, tile_windows
from models import CTRBOX, Detections, decode, normalize
from tools.checkpoint import Architecture
from tools.progress import progress_bar


@dataclass(frozen=True)
class DetectionSettings:
    """What becomes of the maps: K, most boxes of a picture; the lowest score kept; the overlap (IoU) above which the
    worse of two boxes of a class goes; whether rotated boxes are made rectangles."""

    num_peaks: int = 500
    conf_thresh: float = 0.01
    nms_thresh: float = 0.3
    true_rectangles: bool = True


@dataclass(frozen=True)
class Tiling:
    """How a big picture is cut: side of a tile and what neighbours share, in pixels of the scaled picture; scales."""

    size: int
    overlap: int = 100
    scales: tuple[float, ...] = (1.0,)


class Found(NamedTuple):
    """One picture's outcome: its row in the list, its boxes in its own pixels, its size (height, width), the picture
    itself where it was to be kept, and what was wrong with it where it could not be read (then there are no boxes)."""

    row: int
    detections: ImageDetections
    size: tuple[int, int]
    picture: np.ndarray | None = None
    problem: str | None = None


def detect(
    model: CTRBOX,
    architecture: Architecture,
    paths: Sequence[Path],
    settings: DetectionSettings,
    *,
    device: torch.device,
    batch_size: int,
    num_workers: int,
    kept: Container[int] = (),
) -> Iterator[Found]:
    """Detect on the pictures, in batches, in fp32; every picture is decoded once. Those in rows `kept` are handed
    on.

    The model is put into evaluation mode and left in it.
    """
    model.eval()
    pictures = PictureSet(paths, architecture.input_hw, architecture.preprocessing.fill_bgr, kept)
    for batch in make_picture_loader(pictures, batch_size, num_workers):
        for row, problem in batch.problems.items():
            yield Found(row, NO_DETECTIONS, (0, 0), problem=problem)
        if not len(batch.rows):
            continue
        found = _detect_batch(model, architecture, batch.images, settings, device)
        for index, row in enumerate(batch.rows.tolist()):
            picture = batch.pictures[index]
            yield Found(
                row,
                select(found, index, float(batch.scales[index]), settings),
                tuple(batch.sizes[index].tolist()),
                None if picture is None else picture.numpy(),
            )


def detect_tiled(
    model: CTRBOX,
    architecture: Architecture,
    path: Path,
    tiling: Tiling,
    settings: DetectionSettings,
    *,
    device: torch.device,
    batch_size: int,
    num_workers: int,
) -> Found:
    """Detect on one picture in tiles, at each of the scales, and merge: no tile is written, and what is held beside the
    picture depends on the batch. The picture is always handed on; `row` is 0."""
    model.eval()
    try:
        picture = read_image(path, architecture.in_channels)
    except ImageError as error:
        return Found(0, NO_DETECTIONS, (0, 0), problem=str(error))
    hw = picture.shape[:2]
    tiles = lay_tiles(path.stem, *hw, tiling.size, tiling.overlap, tiling.scales)
    windows = tile_windows(tiles, tiling.size)
    tile_set = TileSet(picture, windows, architecture.input_hw, architecture.preprocessing.fill_bgr)
    parts: list[ImageDetections] = [NO_DETECTIONS]
    numbers: list[np.ndarray] = [np.zeros(0, np.int64)]
    batches = make_tile_loader(tile_set, batch_size, min(num_workers, len(tiles) - 1))
    total = -(-len(tiles) // batch_size)
    for images, rows in progress_bar(batches, total=total, unit="batch", desc=f"{path.name}: {len(tiles)} tiles"):
        found = _detect_batch(model, architecture, images, settings, device)
        for index, row in enumerate(rows.tolist()):
            # Left at the input's scale here, so that a score and an overlap mean what they mean without tiles.
            boxes = select(found, index, 1.0, settings)
            in_tile = (tile_set.to_picture(row, boxes.quads) - windows[row, :2]) * tiles[row].scale
            parts.append(boxes._replace(quads=in_tile))
            numbers.append(np.full(len(boxes.scores), row))
    boxes = ImageDetections(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    merged = merge_tiles(*boxes, np.concatenate(numbers), windows, tiling.size, hw, settings.nms_thresh)
    return Found(0, merged, hw, picture)


def select(found: Detections, index: int, scale: float, settings: DetectionSettings) -> ImageDetections:
    """The boxes of one image of a batch that score enough and survive NMS, in pixels of the picture, best first."""
    scores = found.scores[index].numpy()
    keep = np.flatnonzero((scores >= settings.conf_thresh) & (scores > 0))
    quads = found.quads[index].numpy()[keep].astype(np.float64) / scale
    labels = found.labels[index].numpy()[keep]
    best = poly_nms(quads, scores[keep], settings.nms_thresh, labels)
    return ImageDetections(quads[best], scores[keep][best], labels[best])


def _detect_batch(
    model: CTRBOX, architecture: Architecture, images: torch.Tensor, settings: DetectionSettings, device: torch.device
) -> Detections:
    """Inputs (B, H, W, 3) float32 BGR 0..255 -> detections in input pixels, on the CPU."""
    with torch.inference_mode():
        images = normalize(images.to(device, non_blocking=True), architecture.preprocessing)
        found = decode(model(images), settings.num_peaks, settings.true_rectangles)
    return Detections(*(part.cpu() for part in found))
