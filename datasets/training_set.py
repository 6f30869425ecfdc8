"""Pictures and their labels -> training inputs and their targets, one at a time; imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from datasets.augment import (
    Augmentation,
    jitter_colours,
    letterbox_matrix,
    random_matrix,
    random_window_matrix,
    warp_image,
    warp_quads,
)
from datasets.images import ImageError, read_image
from datasets.readers import Sample
from datasets.targets import Targets, make_targets
from DOTA_devkit.boxes import rectangle_sides

LONGEST_SIDE = 32766  # pixels; beyond, OpenCV cannot warp
MIN_SIDE = 2.0  # input pixels; a thinner object covers less than half a cell of the map and becomes an ignore region


class TrainingSet:
    """Training inputs. A key is (epoch, row); the same key always gives the same input.

    With `window_hw` and an augmentation they are windows of that size out of inputs of size `input_hw`.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        num_classes: int,
        input_hw: tuple[int, int],
        fill_bgr: tuple[float, ...],
        augmentation: Augmentation | None,
        min_visible: float = 0.5,
        seed: int = 0,
        window_hw: tuple[int, int] | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        self.window_hw = window_hw
        self.value_range = value_range
        self.pictures: list[np.ndarray | None] = [None] * len(samples)  # decoded ones, where they are kept in memory
        self.samples = samples
        self.num_classes = num_classes
        self.input_hw = input_hw
        self.fill_bgr = fill_bgr
        self.augmentation = augmentation
        self.min_visible = min_visible
        self.seed = seed

    @property
    def output_hw(self) -> tuple[int, int]:
        """Height and width of what an item shows: the window, or the whole input."""
        return self.input_hw if self.window_hw is None or self.augmentation is None else self.window_hw

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, Targets, int] | ImageError:
        epoch, row = key
        sample, picture = self.samples[row], self.pictures[row]
        try:
            picture = self._read(sample.image_path) if picture is None else picture
        except ImageError as error:
            return error  # raised here, it would reach the user as a worker's traceback
        if max(picture.shape[:2]) > LONGEST_SIDE:
            remedy = "cut it into tiles with python -m tools.split_tiles"
            return ImageError(f"{sample.image_path}: is longer than {LONGEST_SIDE} pixels, too long to warp; {remedy}")
        rng = np.random.default_rng([self.seed, epoch, row])
        return *self.make_input(rng, picture, sample), row

    def decode_all(self, track: Callable[[Sequence[Sample]], Iterable[Sample]] = iter) -> None:
        """Decode the pictures now and keep them in memory; ones that cannot be read are told of when their turn comes.
        Before the loader is made: its workers then share them. `track` shows the progress."""
        for row, sample in enumerate(track(self.samples)):
            with suppress(ImageError):
                self.pictures[row] = self._read(sample.image_path)

    def _read(self, path: Path) -> np.ndarray:
        return read_image(path, len(self.fill_bgr), self.value_range)

    def make_input(self, rng: np.random.Generator, image: np.ndarray, sample: Sample) -> tuple[np.ndarray, Targets]:
        """The decoded picture (H, W, 3) and its annotation -> input (input_h, input_w, 3) uint8 and its targets."""
        image_hw, hw = image.shape[:2], self.output_hw
        if self.augmentation is None:
            matrix = letterbox_matrix(image_hw, self.input_hw)
        elif self.window_hw is None:
            matrix = random_matrix(rng, image_hw, self.input_hw, self.augmentation)
        else:
            centers = sample.quads[~sample.ignored].mean(axis=1)
            matrix = random_window_matrix(rng, image_hw, self.input_hw, self.window_hw, centers, self.augmentation)
        image = warp_image(image, matrix, hw, self.fill_bgr)
        if self.augmentation is not None:
            image = jitter_colours(rng, image, self.augmentation)
        quads, rows, hidden = warp_quads(sample.quads, matrix, image_hw, hw, self.min_visible)
        ignored = sample.ignored[rows] | hidden | (rectangle_sides(quads)[:, 0] < MIN_SIDE)
        return image, make_targets(quads, sample.labels[rows], ignored, self.num_classes, hw)
