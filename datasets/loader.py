"""Training inputs, pictures and tiles -> batches, in processes of their own; in an order that can be had again."""

from __future__ import annotations

import atexit
import math
import multiprocessing
import signal
import warnings
from collections.abc import Container, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from datasets.letterbox import letterbox_image, letterbox_scale
from datasets.picture_files.images import ImageError
from datasets.picture_files.layouts import BY_THE_FILE, Reading
from datasets.picture_files.picture_windows import read_whole
from datasets.targets import IGNORED, Targets, make_targets
from datasets.tiles import TileSet
from datasets.training_set import TrainingSet

# What reaches the workers, too, when their parent is to stop, which then finishes its step.
_STOPPING = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}


class Batch(NamedTuple):
    """images (B, H, W, 3) uint8 BGR, or of other channels; targets stacked, padded to M, the most objects of a picture
    in the batch; rows (B,): the number of each picture in the list of samples; problems: what is wrong with pictures
    left out."""

    images: torch.Tensor
    targets: Targets | None
    rows: torch.Tensor
    problems: list[str]


class PictureBatch(NamedTuple):
    """images (B, H, W, c) float32 BGR 0..255 after the letterbox; scales (B,) input pixels per picture pixel; sizes
    (B, 2) height and width of the pictures; rows (B,): the number of each picture in the list; pictures: whole pictures
    (h, w, c) uint8 BGR where they are to be kept, else None; problems: {row: what is wrong with it}."""

    images: torch.Tensor
    scales: torch.Tensor
    sizes: torch.Tensor
    rows: torch.Tensor
    pictures: list[torch.Tensor | None]
    problems: dict[int, str]


class PictureSet(Dataset):
    """Pictures to detect on, each decoded once, letterboxed in float; those of `kept` come along whole."""

    def __init__(
        self,
        paths: Sequence[Path],
        input_hw: tuple[int, int],
        fill_bgr: tuple[float, ...],
        kept: Container[int] = (),
        reading: Reading = BY_THE_FILE,
    ) -> None:
        self.reading = reading
        self.paths = paths
        self.input_hw = input_hw
        self.fill_bgr = fill_bgr
        self.kept = kept

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[np.ndarray, np.ndarray, int] | tuple[ImageError, int]:
        try:
            picture = read_whole(self.paths[row], len(self.fill_bgr), self.reading)
        except ImageError as error:
            return error, row
        return letterbox_image(picture, self.input_hw, self.fill_bgr), picture, row


class EpochBatches(Sampler):
    """Batches of keys (epoch, row) of one epoch, shuffled by (seed, epoch): this process's share of each.

    All processes together take `batch_size` pictures a step, in the order of the shuffle, whatever their number. The
    last batch of an epoch may be smaller; none is dropped, so a set smaller than a batch trains too, and a share of it
    may be empty. Set before each epoch: `epoch`, `start` (batches that are done already) and `num_rows` (pictures of
    the epoch, where it is not to be whole).
    """

    def __init__(self, num_samples: int, batch_size: int, seed: int = 0, rank: int = 0, num_ranks: int = 1) -> None:
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        self.rank, self.num_ranks = rank, num_ranks
        self.epoch = 0
        self.start = 0
        self.num_rows: int | None = None

    def __len__(self) -> int:
        return max(0, math.ceil(self._num_rows() / self.batch_size) - self.start)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.num_samples)[: self._num_rows()]
        for first in range(self.start * self.batch_size, len(order), self.batch_size):
            share = np.array_split(order[first : first + self.batch_size], self.num_ranks)[self.rank]
            yield [(self.epoch, int(row)) for row in share]

    def _num_rows(self) -> int:
        return self.num_samples if self.num_rows is None else min(self.num_rows, self.num_samples)


def make_training_loader(
    training_set: TrainingSet,
    batch_size: int,
    num_workers: int,
    pin_memory: bool = False,
    rank: int = 0,
    num_ranks: int = 1,
) -> DataLoader:
    """Loader over `EpochBatches` (`loader.batch_sampler`), of this process's share of each batch, by no more processes
    than an epoch has batches."""
    batches = EpochBatches(len(training_set), batch_size, training_set.seed, rank, num_ranks)
    num_workers = min(num_workers, len(batches))
    _before_workers(num_workers)
    return _Loader(
        training_set,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=_collate_training,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        worker_init_fn=_start_worker,
        generator=torch.Generator().manual_seed(training_set.seed),  # not the global one, which a run saves
    )


def blank_batch_of(training_set: TrainingSet) -> Batch:
    """A `blank_batch` such as the set's: for a process whose share is empty."""
    return blank_batch(training_set.num_classes, training_set.output_hw, len(training_set.fill_bgr))


def blank_batch(num_classes: int, input_hw: tuple[int, int], num_channels: int = 3) -> Batch:
    """A batch of one black picture in which nothing is asked of the network."""
    targets = make_targets(np.zeros((0, 4, 2)), np.zeros(0, int), np.zeros(0, bool), num_classes, input_hw)
    targets.hm.fill(IGNORED)
    image = np.zeros((*input_hw, num_channels), np.uint8)
    return _collate_training([(image, targets, 0)])._replace(rows=torch.empty(0, dtype=torch.int64))


def stacked(targets: Sequence[Targets]) -> Targets:
    """The targets of pictures as those of a batch, padded to the most objects of a picture."""
    most = max(1, *(len(target.mask) for target in targets))
    return Targets(
        torch.from_numpy(np.stack([target.hm for target in targets])),
        *(_pad([target[field] for target in targets], most) for field in range(1, len(Targets._fields))),
    )


def make_picture_loader(picture_set: PictureSet, batch_size: int, num_workers: int) -> DataLoader:
    """Loader of PictureBatch, in order, by no more processes than there are batches."""
    num_workers = min(num_workers, math.ceil(len(picture_set) / batch_size))
    _before_workers(num_workers)
    return _Loader(
        picture_set,
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=partial(_collate_pictures, picture_set),
        worker_init_fn=_start_worker,
    )


def tile_batches(tile_set: TileSet, batch_size: int, num_workers: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(inputs (B, input_h, input_w, channels) float32, numbers of the tiles (B,)), in order; of `batch_size` tiles,
    blank ones left out. No more workers than batches beyond the first, for which nobody needs to wait. Raises
    ImageError as the set."""
    num_workers = min(num_workers, -(-len(tile_set) // batch_size) - 1)
    _before_workers(num_workers)
    batches = _Loader(
        _ShownTiles(tile_set),
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=partial(_collate_tiles, (*tile_set.input_hw, len(tile_set.fill_bgr))),
        worker_init_fn=_start_worker,
    )
    for batch in batches:
        if isinstance(batch, ImageError):
            raise batch
        yield batch


class _ShownTiles(Dataset):
    """A set of tiles that gives None for a blank one, and an ImageError for an item: raised in a worker, it would come
    with its traceback."""

    def __init__(self, tile_set: TileSet) -> None:
        self._tile_set = tile_set

    def __len__(self) -> int:
        return len(self._tile_set)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int] | ImageError | None:
        try:
            return self._tile_set.unless_blank(row)
        except ImageError as error:
            return error


class _Loader(DataLoader):
    """A loader whose workers are not ended by a signal that comes while they start, before they can ignore it."""

    def __iter__(self) -> Iterator[Any]:
        if not self.num_workers or not hasattr(signal, "pthread_sigmask"):
            return super().__iter__()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)  # which they inherit
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _before_workers(num_workers: int) -> None:
    """Make OpenCV safe for workers that are forked: its threads do not come along, and they would wait for them for
    ever at its first call. More workers than cores are no matter for a warning: the default is two."""
    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
    if num_workers:
        cv2.setNumThreads(0)
        _end_workers_at_exit()


def _start_worker(worker: int) -> None:
    """The workers are the parallelism, so that OpenCV needs no threads in them, forked or not. Ctrl-C, SIGTERM from
    torchrun or a cluster, and the end of the terminal reach them too; were they to die of it, the parent could not
    finish its step and save."""
    cv2.setNumThreads(0)
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)


@cache
def _end_workers_at_exit() -> None:
    """Only where there are workers: a program of one's own that detects without any keeps its own children."""
    atexit.register(_end_workers)


def _end_workers() -> None:
    """What is still at work when the program ends: multiprocessing would send SIGTERM, which the workers ignore, and
    wait for them for ever."""
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would call it an error
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def _collate_training(items: list[tuple[np.ndarray, Targets, int] | ImageError]) -> Batch:
    problems = [str(item) for item in items if isinstance(item, ImageError)]
    items = [item for item in items if not isinstance(item, ImageError)]
    if not items:
        return Batch(torch.empty(0), None, torch.empty(0, dtype=torch.int64), problems)
    images, targets, rows = zip(*items, strict=True)
    return Batch(torch.from_numpy(np.stack(images)), stacked(targets), torch.tensor(rows), problems)


def _pad(arrays: list[np.ndarray], length: int) -> torch.Tensor:
    padded = np.zeros((len(arrays), length, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in enumerate(arrays):
        padded[row, : len(array)] = array
    return torch.from_numpy(padded)


def _collate_tiles(
    shape: tuple[int, int, int], items: list[tuple[np.ndarray, int] | ImageError | None]
) -> tuple[torch.Tensor, torch.Tensor] | ImageError:
    for item in items:
        if isinstance(item, ImageError):
            return item
    shown = [item for item in items if item is not None]
    inputs = np.empty((len(shown), *shape), np.float32)
    for place, (image, _) in enumerate(shown):
        inputs[place] = image
    return torch.from_numpy(inputs), torch.tensor([row for _, row in shown], dtype=torch.int64)


def _collate_pictures(picture_set: PictureSet, items: list) -> PictureBatch:
    problems = {item[-1]: str(item[0]) for item in items if isinstance(item[0], ImageError)}
    items = [item for item in items if not isinstance(item[0], ImageError)]
    images = [torch.from_numpy(image) for image, _, _ in items]
    sizes = [picture.shape[:2] for _, picture, _ in items]
    return PictureBatch(
        torch.stack(images) if images else torch.empty(0, *picture_set.input_hw, len(picture_set.fill_bgr)),
        torch.tensor([letterbox_scale(size, picture_set.input_hw) for size in sizes], dtype=torch.float64),
        torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2),
        torch.tensor([row for _, _, row in items], dtype=torch.int64),
        [torch.from_numpy(picture) if row in picture_set.kept else None for _, picture, row in items],
        problems,
    )
