"""A trained network in a program of one's own: pictures in memory -> boxes (an exported file: onnx_detector.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from datasets.letterbox import letterbox_image, letterbox_scale
from datasets.picture_files.picture_windows import PictureWindows
from DOTA_devkit.task_files import ImageDetections
from tools.checkpoint import load_named
from tools.detection.detect import Inference, select
from tools.device import pick_device, pick_precision
from tools.outcomes import DetectionSettings, Tiling, as_network_sees, check_batch_size, is_cut
from tools.run_folder import weights_in


class Detector:
    """A checkpoint ready to detect. class_names: what the labels stand for; usual_hw: of pictures in which objects are
    as large as they were in training; input_hw and num_channels: of the network; value_range: in pictures of more than
    8 bits, the values that training made black and white, if it was the same in all; bands: of TIFF files, those that
    training read, if they were chosen; num_cut: pictures and tiles so far
    of which boxes may be missing, because there were more than K."""

    def __init__(
        self,
        path: str | Path,
        device: str = "auto",
        *,
        conf_thresh: float = 0.01,
        nms_thresh: float = 0.3,
        num_peaks: int = 500,
        tta_views: int = 1,
        precision: str = "fp32",
        agnostic_nms: bool = False,
        backbone: str | None = None,
    ) -> None:
        """Load a run folder's best.pth, a checkpoint, or published weights. The numbers are --conf_thresh,
        --nms_thresh, --K and --tta_views of main.py, `precision` and `agnostic_nms` its flags of these names.
        `backbone`: FILE.py:CLASS of a network with a backbone of your own; the file is run.

        Raises CheckpointError for what is no such file, SettingsError for a device that is not there, a precision that
        it has not and a backbone that contradicts the file, ValueError for a number out of range.
        """
        settings = DetectionSettings(
            num_peaks, conf_thresh, nms_thresh, agnostic=agnostic_nms, num_views=tta_views, precision=precision
        )
        on = pick_device(device)
        pick_precision(precision, on)  # told of now, not with the first picture
        model, self._architecture, _ = load_named(weights_in(Path(path)), backbone)
        self._inference = Inference(model.to(on, memory_format=torch.channels_last), self._architecture, settings, on)
        self.class_names = tuple(self._architecture.class_names)
        self.usual_hw, self.input_hw = self._architecture.usual_hw, self._architecture.input_hw
        self.num_channels = self._architecture.in_channels
        self.value_range, self.bands = self._architecture.value_range, self._architecture.bands
        self.num_cut = 0

    @property
    def settings(self) -> DetectionSettings:
        """K, the thresholds and what else becomes of the network's maps; others may be set. Raises SettingsError for a
        precision that the device has not."""
        return self._inference.settings

    @settings.setter
    def settings(self, settings: DetectionSettings) -> None:
        pick_precision(settings.precision, self._inference.device)
        self._inference = replace(self._inference, settings=settings)

    def read(self, path: str | Path) -> np.ndarray:
        """A picture file as the network was taught to see it, (H, W, num_channels) uint8, BGR where they are three:
        by its bands and range of values. Raises ImageError for what cannot be read."""
        return self._architecture.read_picture(Path(path))

    def open(self, path: str | Path) -> np.ndarray | PictureWindows:
        """The same for `detect_tiled`: of a large TIFF file what is read window by window. Raises ImageError."""
        return self._architecture.open_picture(Path(path))

    def detect(self, pictures: Sequence[np.ndarray]) -> list[ImageDetections]:
        """The boxes in pictures of any sizes, (H, W, 3) uint8 BGR as OpenCV reads them, grey (H, W) or (H, W, 1),
        or (H, W, channels) of the network (files by `read`), each picture's best first: quads (n, 4, 2) in its pixels,
        scores (n,), labels (n,).

        Raises ValueError for another shape or kind.
        """
        return [self._detect(picture) for picture in pictures]

    def detect_tiled(
        self, picture: np.ndarray | PictureWindows, tiling: Tiling, batch_size: int = 1, name: str | None = None
    ) -> ImageDetections:
        """The boxes in a picture that is cut into tiles, at each of the scales, and merged; `batch_size` tiles at a
        time. With a `name` progress is shown. Raises ValueError as `detect`, ImageError where a picture that is read in
        windows is damaged."""
        picture = as_network_sees(picture, self.num_channels, is_tiled=True)
        check_batch_size(batch_size)
        boxes, num_cut = self._inference.tiles(picture, tiling, batch_size=batch_size, name=name)
        self.num_cut += num_cut
        return boxes

    def _detect(self, picture: np.ndarray) -> ImageDetections:
        picture = as_network_sees(picture, self.num_channels)
        hw = self._architecture.input_hw
        image = letterbox_image(picture, hw, self._architecture.preprocessing.fill_bgr)
        found = self._inference.batch(torch.from_numpy(image)[None])
        self.num_cut += is_cut(found.scores[0].numpy(), self.settings)
        return select(found, 0, letterbox_scale(picture.shape[:2], hw), self.settings)
