"""An exported file at work: pictures in, boxes out, with what the file leaves to its user done as it says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from datasets.letterbox import letterbox_image, letterbox_scale
from datasets.picture_files.images import ImageError
from datasets.picture_files.picture_windows import PictureWindows
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from tools.detection.tiled_picture import TiledPicture
from tools.exported.onnx_facts import FileFacts, read_properties
from tools.exported.runtimes import open_runtime
from tools.outcomes import (
    DetectionSettings,
    Found,
    Tiling,
    as_network_sees,
    check_batch_size,
    is_cut,
    survivors,
    to_draw,
)
from tools.running.command_line import SettingsError
from tools.running.messages import warn
from tools.running.progress import progress_bar

LEAST_SHARE = 0.95  # of the size at which the network could see a picture


class OnnxDetector:
    """A loaded file. facts: what it says of itself. class_names: what the labels stand for. settings: K and the
    thresholds that hold. usual_hw: of pictures in which objects are as large as they were in training. input_hw and
    num_channels: of the network. num_cut: pictures and tiles so far of which boxes may be missing, because there were
    more than K (with NMS inside the file only the boxes that survived it are seen). batch: pictures at once, None where
    any number will do."""

    def __init__(
        self,
        path: str | Path,
        runtime: str = "onnxruntime",
        provider: str = "cpu",
        *,
        conf_thresh: float | None = None,
        nms_thresh: float | None = None,
        threads: int = 0,
    ) -> None:
        """Load the file; thresholds that are not given are the file's.

        Raises ModelFileError for what is no such file; SettingsError for a runtime that is not here, and for a
        threshold that contradicts the NMS inside the file.
        """
        path = Path(path)
        self.facts = FileFacts.from_properties(read_properties(path), path)
        self.class_names = tuple(self.facts.class_names)
        self.usual_hw, self.input_hw = self.facts.usual_hw, self.facts.input_hw
        self.num_channels = self.facts.in_channels
        thresholds = _thresholds(self.facts, path, conf_thresh, nms_thresh)
        inside = {"num_views": self.facts.num_views, "precision": self.facts.precision}
        self.settings = DetectionSettings(self.facts.num_peaks, *thresholds, **inside)
        self._path, self._has_warned = path, False
        self._run = open_runtime(path, runtime, provider, threads)
        self.batch = self._run.input_shape[0]
        self.num_cut = 0

    def read(self, path: str | Path) -> np.ndarray:
        """A picture file as the network was taught to see it, (H, W, num_channels) uint8, BGR where they are three:
        by its bands and range of values. Raises ImageError for what cannot be read."""
        return self.facts.read_picture(Path(path))

    def open(self, path: str | Path) -> np.ndarray | PictureWindows:
        """The same for `detect_tiled`: of a large TIFF file what is read window by window. Raises ImageError."""
        return self.facts.open_picture(Path(path))

    def detect(self, pictures: Sequence[np.ndarray], batch_size: int = 1) -> list[ImageDetections]:
        """The boxes in pictures of any sizes, each (H, W, 3) uint8 BGR as OpenCV reads them, grey (H, W) or (H, W, 1),
        or with the channels of the network (float32 of 0..255, too, where that is the file's input), in their pixels,
        best first.

        Of those of one size so many go through the network at once (as many as the file takes, where that is fixed).
        Raises ValueError for another shape or kind, or no picture at a time.
        """
        check_batch_size(batch_size)
        size = max(batch_size, self.batch or 1)
        kinds = tuple(dict.fromkeys((np.uint8, np.dtype(self.facts.input_kind).type)))
        pictures = [as_network_sees(picture, self.num_channels, kinds) for picture in pictures]
        found: list[ImageDetections] = [NO_DETECTIONS] * len(pictures)
        for hw in dict.fromkeys(picture.shape[:2] for picture in pictures):  # those of a size go together
            rows = [row for row, picture in enumerate(pictures) if picture.shape[:2] == hw]
            for part in (rows[start : start + size] for start in range(0, len(rows), size)):
                for row, boxes in zip(part, self.rows([pictures[row] for row in part]), strict=True):
                    found[row] = boxes
        self.num_cut += sum(is_cut(boxes.scores, self.settings) for boxes in found)
        if not self.facts.nms:
            return [survivors(*boxes, self.settings) for boxes in found]
        return [boxes.at(boxes.scores >= self.settings.conf_thresh) for boxes in found]

    def rows(self, pictures: Sequence[np.ndarray], as_inputs: bool = False) -> list[ImageDetections]:
        """What the file itself finds in pictures of one size, in their pixels; rows without a box are left out.

        `as_inputs`: hand the pictures to the file as they are, also where it takes the network's input.
        """
        images, scale = self.inputs(pictures, as_inputs)
        return [_without_blanks(found, scale) for found in self._by_batch(images)]

    def inputs(self, pictures: Sequence[np.ndarray], as_inputs: bool = False) -> tuple[np.ndarray, float]:
        """Pictures of one size as the file takes them (N, H, W, 3), and how many of its pixels a picture pixel is."""
        hw = pictures[0].shape[:2]
        target = None if as_inputs else self._target(hw)
        if target is not None and self.facts.letterbox:
            self._warn_of_shrinking(hw, target)
        dtype = np.dtype(self.facts.input_kind)
        if target is None:
            return np.stack(pictures).astype(dtype, copy=False), 1.0
        fill = tuple(self.facts.fill_bgr)
        boxed = np.stack([letterbox_image(picture, target, fill) for picture in pictures])
        return boxed if dtype == np.float32 else np.rint(boxed).astype(dtype), letterbox_scale(hw, target)

    def detect_tiled(
        self, picture: np.ndarray | PictureWindows, tiling: Tiling, batch_size: int = 1, name: str | None = None
    ) -> ImageDetections:
        """The boxes in a picture that is cut into tiles, at each of the scales, and merged; with a `name` progress is
        shown. Raises ValueError as `detect`, ImageError where a picture that is read in windows is damaged."""
        picture = as_network_sees(picture, self.num_channels, is_tiled=True)
        check_batch_size(batch_size)
        cut = TiledPicture(picture, tiling, self.facts.input_hw, tuple(self.facts.fill_bgr), name)
        groups = (list(rows) for _, rows in groupby(range(len(cut.tiles)), key=cut.tiles.crop_hw))
        batches = [rows[k : k + batch_size] for rows in groups for k in range(0, len(rows), batch_size)]
        if name is not None:
            batches = progress_bar(batches, unit="batch", desc=cut.title)
        for rows in batches:
            crops = {row: crop for row in rows if (crop := cut.tiles.crop_unless_blank(row)) is not None}
            for row, found in zip(crops, self.detect(list(crops.values()), batch_size), strict=True):
                cut.add(row, found)
        return cut.merged(self.settings)

    def _target(self, hw: tuple[int, int]) -> tuple[int, int] | None:
        """The size that the caller must letterbox to; None where the file takes the picture as it is."""
        fixed = self._run.input_shape[1:3]
        if None not in fixed:
            return None if hw == fixed else fixed
        return None if self.facts.letterbox else self.facts.input_hw

    def _warn_of_shrinking(self, hw: tuple[int, int], fixed: tuple[int, int]) -> None:
        """Warn, once, where a picture is made to fit the file's fixed size and then the network's, in a file that has
        the letterbox inside: it loses more than by the network's alone."""
        input_hw = self.facts.input_hw
        share = letterbox_scale(hw, fixed) * letterbox_scale(fixed, input_hw) / letterbox_scale(hw, input_hw)
        if share < LEAST_SHARE and not self._has_warned:
            self._has_warned = True
            warn(
                f"{self._path}: takes pictures of {fixed[1]} x {fixed[0]} alone; those of {hw[1]} x {hw[0]} are fitted "
                f"into that, and the network sees objects at {share:.0%} of the size that they could have; export it "
                "for pictures of your size, or without --no_dynamic"
            )

    def _by_batch(self, images: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
        """The outputs of each picture; a file of a fixed batch gets as many, the last filled up with repetitions."""
        size = self.batch or len(images)
        for first in range(0, len(images), size):
            part = images[first : first + size]
            rows = np.arange(size).clip(max=len(part) - 1)
            outputs = self._run(np.ascontiguousarray(part if len(part) == size else part[rows]))
            for number in range(len(part)):
                yield {name: values[number] for name, values in outputs.items()}


def detect_pictures(
    detector: OnnxDetector,
    images: Mapping[str, Path],
    tiling: Tiling | None = None,
    batch_size: int = 1,
    num_kept: int = 0,
) -> Iterator[Found]:
    """Detect on pictures, one after the other, whole or in tiles (then `batch_size` at a time); the first `num_kept`
    are handed on. Of one that cannot be read comes the problem."""
    for row, path in enumerate(images.values()):
        num_cut = detector.num_cut
        try:
            if tiling is None:
                picture = detector.facts.read_picture(path)
                boxes = detector.detect([picture])[0]
            else:
                picture = detector.facts.open_picture(path)
                boxes = detector.detect_tiled(picture, tiling, batch_size, name=path.name)
            kept, scale = to_draw(picture) if row < num_kept else (None, 1.0)
        except ImageError as error:
            yield Found(row, NO_DETECTIONS, (0, 0), problem=str(error))
            continue
        num_cut = detector.num_cut - num_cut
        yield Found(row, boxes, picture.shape[:2], kept, num_cut=num_cut, picture_scale=scale)


def _without_blanks(found: dict[str, np.ndarray], scale: float) -> ImageDetections:
    """One picture's outputs in pixels of the picture, `scale` times smaller or larger than the file's input."""
    count = int(found["count"]) if "count" in found else int(np.count_nonzero(found["scores"] > 0))
    quads = found["boxes"][:count].astype(np.float64) / scale
    return ImageDetections(quads, found["scores"][:count], found["labels"][:count].astype(np.int64))


def _thresholds(facts: FileFacts, path: Path, conf: float | None, nms: float | None) -> tuple[float, float]:
    if facts.nms and nms is not None and not math.isclose(nms, facts.nms_thresh):
        raise SettingsError(f"--nms_thresh {nms}: NMS is inside {path}, at {facts.nms_thresh}; leave the flag out")
    if facts.nms and conf is not None and conf < facts.conf_thresh - 1e-9:
        raise SettingsError(
            f"--conf_thresh {conf}: {path} gives no box below {facts.conf_thresh}; give a higher one, or export it anew"
        )
    return facts.conf_thresh if conf is None else conf, facts.nms_thresh if nms is None else nms
