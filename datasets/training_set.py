"""Pictures and their labels -> training inputs and their targets, one at a time; imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.augment import (
    LONGEST_WARPED,
    Augmentation,
    jitter_colours,
    letterbox_matrix,
    mosaic_parts,
    moved_inside,
    random_matrix,
    random_window_matrix,
    warp_image,
    warp_quads,
)
from datasets.picture_files.images import ImageError
from datasets.picture_files.layouts import BY_THE_FILE, Reading
from datasets.picture_files.picture_windows import read_whole
from datasets.readers import Sample
from datasets.targets import Targets, make_targets
from DOTA_devkit.boxes import rectangle_sides

MIN_SIDE = 2.0  # input pixels; a thinner object covers less than half a cell of the map and becomes an ignore region


Shown = tuple[np.ndarray, Sample]  # a decoded picture and what is on it


class View(NamedTuple):
    """What an input shows of a picture: image (h, w, c) uint8; quads (n, 4, 2) in its pixels, labels (n,), ignored
    (n,) bool."""

    image: np.ndarray
    quads: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray


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
        reading: Reading = BY_THE_FILE,
    ) -> None:
        self.window_hw = window_hw
        self.reading = reading
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
        rng = np.random.default_rng([self.seed, epoch, row])
        try:
            shown = [(self._picture(row), self.samples[row])]
        except ImageError as error:
            return error  # raised here, it would reach the user as a worker's traceback
        if self.augmentation is not None and 0 < self.augmentation.mosaic > rng.random():
            for other in rng.integers(len(self.samples), size=3).tolist():
                try:
                    shown.append((self._picture(other), self.samples[other]))
                except ImageError:  # told of when its own turn comes
                    shown.append(shown[0])
        return *self.make_input(rng, shown), row

    def decode_all(self, track: Callable[[Sequence[Sample]], Iterable[Sample]] = iter) -> None:
        """Decode the pictures now and keep them in memory; ones that cannot be read are told of when their turn comes.
        Before the loader is made: its workers then share them. `track` shows the progress."""
        for row, sample in enumerate(track(self.samples)):
            with suppress(ImageError):
                self.pictures[row] = self._read(sample.image_path)

    def _picture(self, row: int) -> np.ndarray:
        kept, path = self.pictures[row], self.samples[row].image_path
        picture = self._read(path) if kept is None else kept
        if max(picture.shape[:2]) > LONGEST_WARPED:
            remedy = "cut it into tiles with python -m tools.split_tiles"
            raise ImageError(f"{path}: is longer than {LONGEST_WARPED} pixels, too long to warp; {remedy}")
        return picture

    def _read(self, path: Path) -> np.ndarray:
        return read_whole(path, len(self.fill_bgr), self.reading)

    def make_input(self, rng: np.random.Generator, shown: Sequence[Shown]) -> tuple[np.ndarray, Targets]:
        """A decoded picture (H, W, c) with its annotation -> input (input_h, input_w, c) uint8 and its targets. Of four
        it is a mosaic: a part of each, seen as through a window of the part's size."""
        hw = self.output_hw
        if len(shown) == 1:
            view = self._view(*shown[0], self._matrix(rng, *shown[0]), hw, rng)
            return view.image, make_targets(view.quads, view.labels, view.ignored, self.num_classes, hw)
        whole, views = np.empty((*hw, len(self.fill_bgr)), np.uint8), []
        for (rows, columns), picture in zip(mosaic_parts(rng, hw), shown, strict=True):
            part_hw = (rows.stop - rows.start, columns.stop - columns.start)
            view = self._view(*picture, self._part_matrix(rng, *picture, part_hw), part_hw, rng)
            whole[rows, columns] = view.image
            views.append(view._replace(quads=view.quads + np.array([columns.start, rows.start])))
        quads, labels, ignored = (np.concatenate(part) for part in list(zip(*views, strict=True))[1:])
        return whole, make_targets(quads, labels, ignored, self.num_classes, hw)

    def _matrix(self, rng: np.random.Generator, image: np.ndarray, sample: Sample) -> np.ndarray:
        """From the picture to the input, or the window."""
        if self.augmentation is None:
            return letterbox_matrix(image.shape[:2], self.input_hw)
        if self.window_hw is None:
            return random_matrix(rng, image.shape[:2], self.input_hw, self.augmentation)
        return self._window_matrix(rng, image, sample, self.window_hw)

    def _part_matrix(
        self, rng: np.random.Generator, image: np.ndarray, sample: Sample, hw: tuple[int, int]
    ) -> np.ndarray:
        """From the picture to a part of a mosaic. Half an input shows much beyond a picture unless it is moved there; a
        part of a window lies as a window does."""
        matrix = self._window_matrix(rng, image, sample, hw)
        return matrix if self.window_hw is not None else moved_inside(matrix, image.shape[:2], hw)

    def _window_matrix(
        self, rng: np.random.Generator, image: np.ndarray, sample: Sample, hw: tuple[int, int]
    ) -> np.ndarray:
        centers = sample.quads[~sample.ignored].mean(axis=1)
        return random_window_matrix(rng, image.shape[:2], self.input_hw, hw, centers, self.augmentation)

    def _view(
        self, image: np.ndarray, sample: Sample, matrix: np.ndarray, hw: tuple[int, int], rng: np.random.Generator
    ) -> View:
        """What an input, or a part of one, of size `hw` shows of a picture."""
        objects = shown_objects(sample, matrix, image.shape[:2], hw, self.min_visible)
        image = warp_image(image, matrix, hw, self.fill_bgr)
        if self.augmentation is not None:
            image = jitter_colours(rng, image, self.augmentation)
        return View(image, *objects)


def targets_of_letterbox(
    sample: Sample, image_hw: tuple[int, int], input_hw: tuple[int, int], num_classes: int, min_visible: float
) -> Targets:
    """The targets of a whole picture, of this height and width, as the letterbox shows it."""
    matrix = letterbox_matrix(image_hw, input_hw)
    return make_targets(*shown_objects(sample, matrix, image_hw, input_hw, min_visible), num_classes, input_hw)


def shown_objects(
    sample: Sample, matrix: np.ndarray, image_hw: tuple[int, int], hw: tuple[int, int], min_visible: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The objects of a picture under the matrix (2, 3), as far as an input of size `hw` shows them: quads (n, 4, 2) in
    its pixels, labels (n,), ignored (n,) bool, which those are, too, that are cut or too thin."""
    quads, rows, hidden = warp_quads(sample.quads, matrix, image_hw, hw, min_visible)
    ignored = sample.ignored[rows] | hidden | (rectangle_sides(quads)[:, 0] < MIN_SIDE)
    return quads, sample.labels[rows], ignored
