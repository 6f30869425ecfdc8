"""What detecting gives, whoever detects, a network in torch or an exported file; imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from datasets.picture_files.images import as_channels, brightness
from datasets.picture_files.picture_windows import PictureWindows
from DOTA_devkit import poly_nms
from DOTA_devkit.task_files import ImageDetections
from DOTA_devkit.tiling import check_grid, scaled_size
from tools.setting_rules import LEAST_SCALE

SOUND_SCORE = 0.1  # what lies below are guesses, of which a few more or less are no loss
MOST_RESIZED = 1.5  # factor on objects' sizes that a network bears; by 1.33 one of the demo lost two fifths of mAP50
MOST_PEAKS = 3840  # of an exported file; TensorRT's TopK takes no more
LONGEST_DRAWN = 4096  # pixels; of a picture that is too large to be held
MUCH_LARGER = 2.5  # times the input's side: what a picture shrinks by, and small objects with it


@dataclass(frozen=True)
class DetectionSettings:
    """What becomes of the maps: K, most boxes of a picture; the lowest score kept; the overlap (IoU) above which the
    worse of two boxes of a class goes; whether rotated boxes are made rectangles; whether boxes of all classes
    compete; how many views of a picture are looked at (`models/views.py`); the arithmetic of the network, as
    --precision names it (fp32, bf16, fp16), or as an exported file tells its own."""

    num_peaks: int = 500
    conf_thresh: float = 0.01
    nms_thresh: float = 0.3
    true_rectangles: bool = True
    agnostic: bool = False
    num_views: int = 1
    precision: str = "fp32"

    def __post_init__(self) -> None:
        """Raises ValueError for a number out of range."""
        if self.num_peaks < 1:
            raise ValueError(f"K, the most boxes of a picture, is {self.num_peaks}; it must be at least 1")
        for name, value in (("conf_thresh", self.conf_thresh), ("nms_thresh", self.nms_thresh)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; it must lie between 0 and 1")
        if self.num_views not in (1, 2, 4):
            raise ValueError(f"the views of a picture are {self.num_views}; there can be 1, 2 or 4")


@dataclass(frozen=True)
class Tiling:
    """How a big picture is cut: side of a tile and what neighbours share, in pixels of the scaled picture; scales."""

    size: int
    overlap: int = 100
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        """Raises ValueError for tiles that make no progress, for no scale and for one that is too small."""
        check_grid(self.size, self.overlap)
        if not self.scales:
            raise ValueError("tiles are cut at no scale; give at least one, such as 1")
        for scale in self.scales:
            scaled_size(1, 1, scale)
            if scale < LEAST_SCALE:
                raise ValueError(f"scale is {scale}; it must be at least {LEAST_SCALE}")


class Found(NamedTuple):
    """One picture's outcome: its row in the list, its boxes in its own pixels, its size (height, width), the picture
    itself where it was to be kept, what was wrong with it where it could not be read (then there are no boxes), in how
    many of its tiles (of a whole picture in 1) boxes of a sound score may be missing: there were more than K; the scale
    of the picture that was kept."""

    row: int
    detections: ImageDetections
    size: tuple[int, int]
    picture: np.ndarray | None = None
    problem: str | None = None
    num_cut: int = 0
    picture_scale: float = 1.0


class PictureDetector(Protocol):
    """Who detects in pictures in memory: a checkpoint (tools/detector.py) or an exported file (onnx_detector.py)."""

    class_names: tuple[str, ...]
    settings: DetectionSettings
    usual_hw: tuple[int, int]  # of pictures in which objects are as large as they were in training
    input_hw: tuple[int, int]  # of the network
    num_channels: int  # of the pictures
    num_cut: int  # pictures and tiles so far of which boxes may be missing, because there were more than K

    def detect(self, pictures: Sequence[np.ndarray]) -> list[ImageDetections]: ...

    def detect_tiled(
        self, picture: np.ndarray | PictureWindows, tiling: Tiling, batch_size: int = 1, name: str | None = None
    ) -> ImageDetections: ...


def to_draw(picture: np.ndarray | PictureWindows) -> tuple[np.ndarray, float]:
    """The picture, or one that is read in windows so much smaller that it can be held and looked at, and its scale.
    Raises ImageError where it cannot be read."""
    return (picture, 1.0) if isinstance(picture, np.ndarray) else picture.overview(LONGEST_DRAWN)


def check_batch_size(batch_size: int) -> None:
    """Raises ValueError for less than one tile at a time."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")


def as_network_sees(
    picture: object, num_channels: int, kinds: Sequence[type] = (np.uint8,), is_tiled: bool = False
) -> np.ndarray | PictureWindows:
    """A picture (H, W, num_channels) of an array of one of the kinds, as reading a file would give it: of one that is
    grey, (H, W) or (H, W, 1), its three colours are alike, and of colours a network of one channel sees the brightness.
    What is cut into tiles may be `PictureWindows`.

    Raises ValueError for anything else, and for one without pixels.
    """
    if isinstance(picture, np.ndarray) and picture.dtype in kinds and 0 not in picture.shape:
        grey = picture[:, :, None] if picture.ndim == 2 else picture
        if grey.ndim == 3 and grey.shape[2] == num_channels:
            return grey
        if grey.ndim == 3 and (grey.shape[2], num_channels) == (3, 1):
            return brightness(grey)
        if grey.ndim == 3 and (grey.shape[2], num_channels) == (1, 3):
            return as_channels(grey, num_channels)
    elif is_tiled and isinstance(picture, PictureWindows) and picture.shape[2] == num_channels:
        return picture
    elif isinstance(picture, np.ndarray) and 0 in picture.shape:
        raise ValueError("a picture without pixels; was it cut too small?")
    is_array = isinstance(picture, (np.ndarray, PictureWindows))
    what = f"{picture.dtype} {picture.shape}" if is_array else type(picture).__name__
    kind = " or ".join(np.dtype(kind).name for kind in kinds)
    raise ValueError(
        f"a picture is (height, width, {num_channels}) {kind}, not {what}; was the file found and read, and are "
        "pictures handed over in a list? (the detector's own read(path) reads a file as the network was taught, "
        "spread_values of datasets.picture_files.layouts makes uint8 of deeper values)"
    )


def survivors(
    quads: np.ndarray, scores: np.ndarray, labels: np.ndarray, settings: DetectionSettings
) -> ImageDetections:
    """Of quads (K, 4, 2), scores (K,) and labels (K,) those that score enough and survive NMS, best first."""
    keep = np.flatnonzero((scores >= settings.conf_thresh) & (scores > 0))
    quads, scores, labels = quads[keep], scores[keep], labels[keep]
    best = poly_nms(quads, scores, settings.nms_thresh, None if settings.agnostic else labels)
    return ImageDetections(quads[best], scores[best], labels[best])


def is_cut(scores: np.ndarray, settings: DetectionSettings) -> bool:
    """Whether all of the K peaks of a picture, scores (K,), may be objects, so that there were perhaps more."""
    return len(scores) >= settings.num_peaks and bool(scores.min() >= max(SOUND_SCORE, settings.conf_thresh))


def cut_hint(num_cut: int, num_peaks: int, what: str, remedy: str) -> str:
    """What to say where `is_cut` held in so many pictures; `what`: of which K boxes are kept, a picture or a tile."""
    return (
        f"in {num_cut} {what}s all {num_peaks} boxes that are kept of a {what} score {SOUND_SCORE} and more, so that "
        f"others may be missing; {remedy}, or cut smaller tiles with --tile"
    )


def export_with(num_peaks: int) -> str:
    """What to do where more boxes are to be kept than an exported file does."""
    return f"export it with --K {min(num_peaks, MOST_PEAKS)}"


def is_much_larger(size: tuple[int, int], usual_hw: tuple[int, int]) -> bool:
    """Whether objects of a picture of (height, width) come out much smaller than of one of `usual_hw`."""
    return any(side >= MUCH_LARGER * fitting for side, fitting in zip(size, usual_hw, strict=True))


def usual_tile(usual_hw: tuple[int, int], input_hw: tuple[int, int]) -> int:
    """Side of a tile that is enlarged to fit the input as much as pictures of `usual_hw` are: objects in it are as
    large as in training."""
    return round(min(input_hw) / min(side / usual for side, usual in zip(input_hw, usual_hw, strict=True)))


def tile_hint(tiling: Tiling, usual_hw: tuple[int, int], input_hw: tuple[int, int]) -> str | None:
    """What to say of tiles in which objects are much larger or smaller than in training; None for sound ones."""
    side = usual_tile(usual_hw, input_hw)
    factor = min((side * scale / tiling.size for scale in tiling.scales), key=lambda factor: abs(math.log(factor)))
    if 1 / MOST_RESIZED <= factor <= MOST_RESIZED:
        return None
    fitting = f"--scales {tiling.size / side:.2g}"
    if 1 / MOST_RESIZED <= side / tiling.size <= MOST_RESIZED:
        remedy = "leave --scales out"
    elif tiling.scales == (1.0,):
        remedy = f"give --tile {side}, or with these tiles {fitting}"
    else:
        remedy = f"give --tile {side} without --scales, or with these tiles {fitting}"
    return (
        f"tiles are scaled to fit the network's input, and objects come out {factor:.2g} times as large as in most "
        f"pictures of training; few of them are found, unless it had tiles of such a scale, too: {remedy}"
    )


def too_large_hint(size: tuple[int, int], usual_hw: tuple[int, int], input_hw: tuple[int, int]) -> str:
    """What to say of such a picture, after its name: in tiles of the usual size objects are as in training."""
    side = usual_tile(usual_hw, input_hw)
    return (
        f"is {size[1]} x {size[0]}, much larger than the network is used to, and small objects get lost; cut such "
        f"pictures with --tile {side} --overlap {side // 6}"
    )
