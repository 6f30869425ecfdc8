"""A network in torch -> detections: the loops that training's validation, test and eval share."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from datasets.loader import PictureBatch, PictureSet, make_picture_loader, tile_batches
from datasets.picture_files.images import ImageError
from datasets.picture_files.picture_windows import PictureWindows
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from models import CTRBOX, Detections, Maps, decode, maps_of_views, normalize
from tools.architecture import Architecture
from tools.detection.tiled_picture import TiledPicture
from tools.device import pick_precision
from tools.outcomes import DetectionSettings, Found, Tiling, is_cut, survivors, to_draw
from tools.running.progress import progress_bar


@dataclass(frozen=True)
class Inference:
    """A network on its device, what it is, and what becomes of its maps. It is put into evaluation mode and left in
    it."""

    model: CTRBOX
    architecture: Architecture
    settings: DetectionSettings
    device: torch.device

    def __post_init__(self) -> None:
        self.model.eval()

    def pictures(
        self,
        paths: Sequence[Path],
        *,
        batch_size: int,
        num_workers: int,
        kept: Container[int] = (),
        on_maps: Callable[[PictureBatch, Maps], None] | None = None,
    ) -> Iterator[Found]:
        """Detect on the pictures, in batches; every picture is decoded once. Those in rows `kept` are handed on, and
        the maps of a batch, if asked for, before what is found in it."""
        facts = self.architecture.preprocessing
        pictures = PictureSet(paths, self.architecture.input_hw, facts.fill_bgr, kept, self.architecture.reading)
        for batch in make_picture_loader(pictures, batch_size, num_workers):
            for row, problem in batch.problems.items():
                yield Found(row, NO_DETECTIONS, (0, 0), problem=problem)
            if not len(batch.rows):
                continue
            maps = self.maps(batch.images)
            if on_maps is not None:
                on_maps(batch, maps)
            found = self.detections(maps)
            for index, row in enumerate(batch.rows.tolist()):
                picture = batch.pictures[index]
                yield Found(
                    row,
                    select(found, index, float(batch.scales[index]), self.settings),
                    tuple(batch.sizes[index].tolist()),
                    None if picture is None else picture.numpy(),
                    num_cut=int(is_cut(found.scores[index].numpy(), self.settings)),
                )

    def tiled_picture(
        self, path: Path, tiling: Tiling, *, batch_size: int, num_workers: int, is_kept: bool = False
    ) -> Found:
        """Detect on one picture in tiles, at each of the scales, and merge: no tile is written, and beside the picture
        the batch is held, and versions of the picture at scales below 1; of one that is read in windows the batch
        alone. With `is_kept` it is handed on; `row` is 0."""
        try:
            picture = self.architecture.open_picture(path)
            boxes, num_cut = self.tiles(picture, tiling, batch_size=batch_size, num_workers=num_workers, name=path.name)
            kept, scale = to_draw(picture) if is_kept else (None, 1.0)
        except ImageError as error:
            return Found(0, NO_DETECTIONS, (0, 0), problem=str(error))
        return Found(0, boxes, picture.shape[:2], kept, num_cut=num_cut, picture_scale=scale)

    def tiles(
        self,
        picture: np.ndarray | PictureWindows,
        tiling: Tiling,
        *,
        batch_size: int,
        num_workers: int = 0,
        name: str | None = None,
    ) -> tuple[ImageDetections, int]:
        """The boxes in a picture (H, W, channels) uint8 that is cut into tiles, blank ones passed over, and in
        how many of these `is_cut` holds. With a `name` progress is shown. Raises ImageError where windows of the
        picture cannot be read."""
        cut = TiledPicture(picture, tiling, self.architecture.input_hw, self.architecture.preprocessing.fill_bgr, name)
        batches = tile_batches(cut.tiles, batch_size, num_workers)
        if name is not None:
            batches = progress_bar(batches, total=-(-len(cut.tiles) // batch_size), unit="batch", desc=cut.title)
        num_cut = 0
        for images, rows in batches:
            if not len(rows):
                continue
            found = self.batch(images)
            for index, row in enumerate(rows.tolist()):
                # Selected at the input's scale, so that a score and an overlap mean what they mean without tiles.
                boxes = select(found, index, 1.0, self.settings)
                num_cut += is_cut(found.scores[index].numpy(), self.settings)
                cut.add(row, boxes._replace(quads=boxes.quads / cut.tiles.scale(row)))
        return cut.merged(self.settings), num_cut

    def batch(self, images: torch.Tensor) -> Detections:
        """Inputs (B, H, W, channels) float32 BGR 0..255 -> detections in input pixels, on the CPU. Raises SettingsError
        as `maps`."""
        return self.detections(self.maps(images))

    def maps(self, images: torch.Tensor) -> Maps:
        """Inputs (B, H, W, channels) float32 BGR 0..255 -> what the network says of them, on its device. Raises
        SettingsError for a precision that the device has not."""
        dtype = pick_precision(self.settings.precision, self.device)
        with torch.inference_mode():
            images = normalize(images.to(self.device, non_blocking=True), self.architecture.preprocessing)
            # Not switched off in fp32: there are devices that have no autocast.
            with nullcontext() if dtype == torch.float32 else torch.autocast(self.device.type, dtype):
                return maps_of_views(self.model, images, self.settings.num_views)

    def detections(self, maps: Maps) -> Detections:
        """Maps -> detections in input pixels, on the CPU."""
        with torch.inference_mode():
            found = decode(maps, self.settings.num_peaks, self.settings.true_rectangles)
        return Detections(*(part.cpu() for part in found))


def select(found: Detections, index: int, scale: float, settings: DetectionSettings) -> ImageDetections:
    """The boxes of one image of a batch that score enough and survive NMS, in pixels of the picture, best first."""
    quads, scores, labels = (part[index].numpy() for part in found)
    return survivors(quads.astype(np.float64) / scale, scores, labels, settings)
