"""Pictures -> detections: the loop that training's validation, test and eval share."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from datasets.images import ImageError
from datasets.loader import PictureSet, make_picture_loader, tile_batches
from datasets.picture_windows import PictureWindows
from datasets.tiles import TileSet
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from DOTA_devkit.tiling import lay_tiles, tile_windows
from models import CTRBOX, Detections, decode, maps_of_views, normalize
from tools.architecture import Architecture
from tools.device import pick_precision
from tools.outcomes import DetectionSettings, Found, TileBoxes, Tiling, is_cut, survivors, to_draw
from tools.progress import progress_bar


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
    """Detect on the pictures, in batches; every picture is decoded once. Those in rows `kept` are handed on.

    The model is put into evaluation mode and left in it.
    """
    model.eval()
    colours = architecture.preprocessing
    pictures = PictureSet(paths, architecture.input_hw, colours.fill_bgr, kept, colours.value_range)
    for batch in make_picture_loader(pictures, batch_size, num_workers):
        for row, problem in batch.problems.items():
            yield Found(row, NO_DETECTIONS, (0, 0), problem=problem)
        if not len(batch.rows):
            continue
        found = detect_batch(model, architecture, batch.images, settings, device)
        for index, row in enumerate(batch.rows.tolist()):
            picture = batch.pictures[index]
            yield Found(
                row,
                select(found, index, float(batch.scales[index]), settings),
                tuple(batch.sizes[index].tolist()),
                None if picture is None else picture.numpy(),
                num_cut=int(is_cut(found.scores[index].numpy(), settings)),
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
    is_kept: bool = False,
) -> Found:
    """Detect on one picture in tiles, at each of the scales, and merge: no tile is written, and beside the picture
    the batch is held, and versions of the picture at scales below 1; of one that is read in windows the batch alone.
    With `is_kept` it is handed on; `row` is 0."""
    how = {"device": device, "batch_size": batch_size, "num_workers": num_workers}
    try:
        picture = architecture.open_picture(path)
        boxes, num_cut = tiled_boxes(model, architecture, picture, tiling, settings, name=path.name, **how)
        kept = to_draw(picture) if is_kept else (None, 1.0)
    except ImageError as error:
        return Found(0, NO_DETECTIONS, (0, 0), problem=str(error))
    return Found(0, boxes, picture.shape[:2], kept[0], num_cut=num_cut, picture_scale=kept[1])


def tiled_boxes(
    model: CTRBOX,
    architecture: Architecture,
    picture: np.ndarray | PictureWindows,
    tiling: Tiling,
    settings: DetectionSettings,
    *,
    device: torch.device,
    batch_size: int,
    num_workers: int = 0,
    name: str | None = None,
) -> tuple[ImageDetections, int]:
    """The boxes in a picture (H, W, channels) uint8 that is cut into tiles, and in how many of these `is_cut` holds.
    With a `name` progress is shown. Raises ImageError where windows of the picture cannot be read."""
    model.eval()
    hw = picture.shape[:2]
    tiles = lay_tiles(name or "picture", *hw, tiling.size, tiling.overlap, tiling.scales)
    tile_set = TileSet(picture, tiles, tiling.size, architecture.input_hw, architecture.preprocessing.fill_bgr)
    boxes = TileBoxes(tiles, tile_windows(tiles, tiling.size))
    batches = tile_batches(tile_set, batch_size, min(num_workers, len(tiles) - 1))
    if name is not None:
        total = -(-len(tiles) // batch_size)
        batches = progress_bar(batches, total=total, unit="batch", desc=f"{name}: {len(tiles)} tiles")
    num_cut = 0
    for images, rows in batches:
        found = detect_batch(model, architecture, images, settings, device)
        for index, row in enumerate(rows.tolist()):
            # Left at the input's scale here, so that a score and an overlap mean what they mean without tiles.
            in_tile = select(found, index, 1.0, settings)
            num_cut += is_cut(found.scores[index].numpy(), settings)
            boxes.add(row, in_tile._replace(quads=tile_set.to_picture(row, in_tile.quads / tile_set.scale(row))))
    return boxes.merged(tiling.size, hw, settings), num_cut


def select(found: Detections, index: int, scale: float, settings: DetectionSettings) -> ImageDetections:
    """The boxes of one image of a batch that score enough and survive NMS, in pixels of the picture, best first."""
    quads, scores, labels = (part[index].numpy() for part in found)
    return survivors(quads.astype(np.float64) / scale, scores, labels, settings)


def detect_batch(
    model: CTRBOX, architecture: Architecture, images: torch.Tensor, settings: DetectionSettings, device: torch.device
) -> Detections:
    """Inputs (B, H, W, 3) float32 BGR 0..255 -> detections in input pixels, on the CPU. Raises SettingsError for a
    precision that the device has not."""
    dtype = pick_precision(settings.precision, device)
    with torch.inference_mode():
        images = normalize(images.to(device, non_blocking=True), architecture.preprocessing)
        # Not switched off in fp32: there are devices that have no autocast.
        with nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype):
            maps = maps_of_views(model, images, settings.num_views)
        found = decode(maps, settings.num_peaks, settings.true_rectangles)
    return Detections(*(part.cpu() for part in found))
