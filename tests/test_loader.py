"""Batches: the same key gives the same input in any worker, none is dropped, and a bad picture is a sentence."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from datasets.augment import Augmentation
from datasets.letterbox import letterbox_image, letterbox_scale
from datasets.loader import (
    _STOPPING,
    Batch,
    EpochBatches,
    PictureBatch,
    PictureSet,
    blank_batch,
    make_picture_loader,
    make_training_loader,
)
from datasets.picture_files.images import read_image
from datasets.readers import Sample, read_samples
from datasets.training_set import TrainingSet
from DOTA_devkit.boxes import boxes_to_quads

INPUT_HW = (96, 128)
FILL = (104.0, 116.0, 124.0)
AUGMENTATION = Augmentation(rotate=180.0)
NAMES = ("图 0", "scene_1", "scene_2", "scene_3", "scene_4")


@pytest.fixture
def samples(dota_folder: Callable[..., Path]) -> list[Sample]:
    """Five pictures, one with a name in a foreign script, the last one without objects."""
    data_dir = dota_folder("数据", names=NAMES, hw=(120, 100))
    return read_samples("dota", data_dir, NAMES, ("car", "boat"))


def training_set(samples: list[Sample], seed: int = 0, augmentation: Augmentation | None = AUGMENTATION) -> TrainingSet:
    return TrainingSet(samples, 2, INPUT_HW, FILL, augmentation, seed=seed)


def epoch_of(
    samples: list[Sample], batch_size: int = 2, num_workers: int = 0, epoch: int = 0, start: int = 0, seed: int = 0
) -> list[Batch]:
    loader = make_training_loader(training_set(samples, seed), batch_size, num_workers)
    loader.batch_sampler.epoch, loader.batch_sampler.start = epoch, start
    return list(loader)


def leaves(batches: list[Batch]) -> Iterator[torch.Tensor]:
    for batch in batches:
        yield from (batch.images, batch.rows, *batch.targets)


def are_equal(first: list[Batch], second: list[Batch]) -> bool:
    pairs = zip(leaves(first), leaves(second), strict=True)
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


def sample_of(path: Path, image: np.ndarray, *boxes: tuple[float, float, float, float, float]) -> Sample:
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    quads = boxes_to_quads(np.array(boxes, float).reshape(-1, 5), "rolabelimg").astype(np.float32)
    return Sample(path, quads, np.zeros(len(quads), np.int64), np.zeros(len(quads), np.int64))


# -- training batches


def test_workers_and_batch_size_do_not_change_what_is_trained_on(samples: list[Sample]) -> None:
    alone = epoch_of(samples, num_workers=0, epoch=1)
    assert are_equal(alone, epoch_of(samples, num_workers=2, epoch=1))
    one_by_one = epoch_of(samples, batch_size=1, epoch=1)
    assert torch.equal(torch.cat([batch.images for batch in alone]), torch.cat([batch.images for batch in one_by_one]))


def test_a_worker_that_lives_on_follows_the_epoch(samples: list[Sample]) -> None:
    loader = make_training_loader(training_set(samples), batch_size=3, num_workers=1)
    for epoch in (0, 7):
        loader.batch_sampler.epoch = epoch
        assert are_equal(list(loader), epoch_of(samples, batch_size=3, epoch=epoch))


def test_every_picture_comes_once_an_epoch_in_an_order_of_its_own(samples: list[Sample]) -> None:
    orders = [torch.cat([batch.rows for batch in epoch_of(samples, epoch=epoch)]).tolist() for epoch in range(6)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert len({tuple(order) for order in orders}) > 3


def test_resuming_within_an_epoch_goes_on_with_the_very_next_sample(samples: list[Sample]) -> None:
    """Defect 11: resuming repeated the last epoch and forgot the random state."""
    whole = epoch_of(samples, epoch=2)
    assert are_equal(whole[1:], epoch_of(samples, epoch=2, start=1))
    assert epoch_of(samples, epoch=2, start=3) == []


def test_the_sampler_counts_what_is_left() -> None:
    sampler = EpochBatches(10, 3, seed=3)
    assert len(sampler) == len(list(sampler)) == 4
    whole = list(sampler)
    assert [len(keys) for keys in whole] == [3, 3, 3, 1]
    sampler.start = 2
    assert len(sampler) == 2
    assert list(sampler) == whole[2:]
    sampler.epoch, sampler.start = 5, 0
    assert {epoch for keys in sampler for epoch, _ in keys} == {5}
    assert list(EpochBatches(0, 3)) == []


def test_a_part_of_an_epoch_is_the_beginning_of_the_whole() -> None:
    sampler = EpochBatches(10, 3, seed=3)
    whole = list(sampler)
    sampler.num_rows = 5
    assert list(sampler) == [whole[0], whole[1][:2]]
    assert len(sampler) == 2


@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 4))
@settings(deadline=None)
def test_the_shares_of_all_processes_together_are_the_batches_of_one(num: int, batch_size: int, num_ranks: int) -> None:
    shares = [list(EpochBatches(num, batch_size, 1, rank, num_ranks)) for rank in range(num_ranks)]
    together = [[key for part in parts for key in part] for parts in zip(*shares, strict=True)]
    assert together == list(EpochBatches(num, batch_size, 1))


def test_an_empty_share_asks_nothing_of_the_network() -> None:
    batch = blank_batch(3, INPUT_HW)
    assert len(batch.rows) == 0
    assert batch.images.shape == (1, *INPUT_HW, 3)
    assert bool((batch.targets.hm < 0).all())
    assert not batch.targets.mask.any()


@pytest.mark.parametrize(("batch_size", "sizes"), [(8, [5]), (3, [3, 2]), (4, [4, 1]), (1, [1] * 5)])
def test_a_set_smaller_than_a_batch_trains_and_no_rest_is_dropped(
    samples: list[Sample], batch_size: int, sizes: list[int]
) -> None:
    """Defect 9: a data set smaller than a batch was a division by zero."""
    batches = epoch_of(samples, batch_size=batch_size)
    assert [len(batch.images) for batch in batches] == sizes
    assert len(make_training_loader(training_set(samples), batch_size, 0)) == len(sizes)


def test_no_samples_give_no_batches() -> None:
    loader = make_training_loader(training_set([]), batch_size=4, num_workers=0)
    assert len(loader) == 0
    assert list(loader) == []


def test_objects_are_padded_to_the_most_of_the_batch_and_the_mask_tells(samples: list[Sample]) -> None:
    (batch,) = epoch_of(samples, batch_size=5)
    dataset = training_set(samples)
    singles = {row: dataset[0, row] for row in range(5)}
    counts = [len(singles[row][1].mask) for row in batch.rows.tolist()]
    most = max(counts)
    assert 0 in counts, "the empty scene"
    assert batch.images.shape == (5, *INPUT_HW, 3)
    assert batch.images.dtype == torch.uint8
    assert batch.problems == []
    shapes = [(5, 2, 24, 32), (5, most, 10), (5, most, 2), (5, most, 1), (5, most), (5, most)]
    assert [tuple(field.shape) for field in batch.targets] == shapes
    assert [field.dtype for field in batch.targets] == [torch.float32] * 4 + [torch.int64, torch.bool]
    assert batch.targets.mask.sum(dim=1).tolist() == counts
    for place, row in enumerate(batch.rows.tolist()):
        image, targets, _ = singles[row]
        assert np.array_equal(batch.images[place], image)
        assert np.array_equal(batch.targets.hm[place], targets.hm)
        for padded, field in zip(batch.targets[1:], targets[1:], strict=True):
            assert np.array_equal(padded[place, : len(field)], field)
            assert not padded[place, len(field) :].any()


def test_a_batch_of_empty_pictures_keeps_one_row_of_padding(samples: list[Sample]) -> None:
    (batch,) = epoch_of(samples[-1:] * 2)
    assert batch.targets.wh.shape == (2, 1, 10)
    assert not batch.targets.mask.any()


def test_pictures_of_different_sizes_make_a_batch(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = [(40, 300), (300, 40), (1, 1), (96, 128), (5, 3)]
    samples = [
        sample_of(tmp_path / f"{number}.png", rng.integers(0, 256, (*hw, 3), dtype=np.uint8))
        for number, hw in enumerate(sizes)
    ]
    (batch,) = epoch_of(samples, batch_size=5)
    assert batch.images.shape == (5, *INPUT_HW, 3)


def test_a_bad_picture_is_reported_with_its_name_and_the_rest_is_trained_on(samples: list[Sample]) -> None:
    """It would otherwise be a traceback of a worker process, without the file's name at the end."""
    data = samples[0].image_path.read_bytes()
    samples[0].image_path.write_bytes(data[: len(data) // 2])
    samples[2].image_path.unlink()
    for num_workers in (0, 2):
        (batch,) = epoch_of(samples, batch_size=5, num_workers=num_workers)
        assert sorted(batch.rows.tolist()) == [1, 3, 4]
        assert len(batch.images) == len(batch.targets.hm) == 3
        problems = "\n".join(sorted(batch.problems))
        assert len(batch.problems) == 2
        assert "图 0.png: the file is cut off" in problems
        assert "scene_2.png: cannot be read" in problems


def test_a_batch_of_nothing_but_bad_pictures_has_no_targets(samples: list[Sample]) -> None:
    for sample in samples:
        sample.image_path.write_bytes(b"")
    first, *_ = epoch_of(samples)
    assert len(first.images) == len(first.rows) == 0
    assert first.targets is None
    assert len(first.problems) == 2


# -- pictures to detect on


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Four pictures of different sizes, one with a name in a foreign script."""
    rng = np.random.default_rng(0)
    paths = []
    for name, hw in (("图 0.png", (60, 80)), ("b.png", (300, 20)), ("c.png", (1, 1)), ("d.png", INPUT_HW)):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(cv2.imencode(".png", rng.integers(0, 256, (*hw, 3), dtype=np.uint8))[1].tobytes())
    return paths


def picture_batches(
    paths: list[Path], batch_size: int, num_workers: int = 0, kept: range = range(0)
) -> list[PictureBatch]:
    return list(make_picture_loader(PictureSet(paths, INPUT_HW, FILL, kept), batch_size, num_workers))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_pictures_come_in_order_letterboxed_with_scale_and_size(pictures: list[Path], num_workers: int) -> None:
    batches = picture_batches(pictures, batch_size=3, num_workers=num_workers)
    assert [batch.rows.tolist() for batch in batches] == [[0, 1, 2], [3]]
    for batch in batches:
        assert batch.images.dtype == torch.float32
        assert batch.problems == {}
        for place, row in enumerate(batch.rows.tolist()):
            picture = read_image(pictures[row])
            assert np.array_equal(batch.images[place], letterbox_image(picture, INPUT_HW, FILL))
            assert batch.scales[place] == letterbox_scale(picture.shape[:2], INPUT_HW)
            assert tuple(batch.sizes[place].tolist()) == picture.shape[:2]


@pytest.mark.parametrize("num_kept", [0, 2, 4, 9])
def test_only_as_many_whole_pictures_are_kept_as_asked(pictures: list[Path], num_kept: int) -> None:
    """Defect 15: images were decoded twice, and all of a set was held in memory."""
    kept = [picture for batch in picture_batches(pictures, 3, kept=range(num_kept)) for picture in batch.pictures]
    assert len(kept) == 4
    assert [picture is not None for picture in kept] == [row < num_kept for row in range(4)]
    for picture, path in zip(kept[:num_kept], pictures, strict=False):
        assert np.array_equal(picture, read_image(path))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bad_picture_is_reported_by_its_row_and_the_rest_comes(pictures: list[Path], num_workers: int) -> None:
    pictures[1].write_text("no picture", encoding="utf-8")
    pictures[3].unlink()
    first, second = picture_batches(pictures, 3, num_workers, kept=range(4))
    assert first.rows.tolist() == [0, 2]
    assert len(first.images) == len(first.scales) == len(first.sizes) == len(first.pictures) == 2
    assert list(first.problems) == [1]
    assert "b.png: cannot be decoded" in first.problems[1]
    assert list(second.problems) == [3]
    assert second.images.shape == (0, *INPUT_HW, 3)
    assert second.sizes.shape == (0, 2)
    assert second.sizes.dtype == first.sizes.dtype == torch.int64
    assert second.scales.dtype == first.scales.dtype == torch.float64
    assert (second.rows.tolist(), second.pictures) == ([], [])


def test_no_pictures_give_no_batches() -> None:
    assert picture_batches([], 3) == []
    assert len(PictureSet([], INPUT_HW, FILL)) == 0


def test_there_are_no_more_workers_than_batches(pictures: list[Path], samples: list[Sample]) -> None:
    """Thousands, asked for by a slip, took all memory for a handful of pictures."""
    assert make_picture_loader(PictureSet(pictures, INPUT_HW, FILL), 3, 5000).num_workers == 2
    assert make_training_loader(training_set(samples), 2, 5000).num_workers == 3


HELD = """
import multiprocessing, sys
from pathlib import Path
from datasets.loader import PictureSet, make_picture_loader
batches = iter(make_picture_loader(PictureSet([Path(sys.argv[1])] * 9, (64, 64), (0.0, 0.0, 0.0)), 1, 2))
next(batches)
print(len(multiprocessing.active_children()), "at work")
"""


@pytest.mark.slow
def test_the_program_ends_though_a_loader_is_still_at_work(samples: list[Sample]) -> None:
    # Its workers ignore SIGTERM; multiprocessing sends it at the end of the program, and waits for them.
    command = [sys.executable, "-W", "ignore", "-c", HELD, str(samples[0].image_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "2 at work\n", "")


@pytest.mark.slow
def test_the_children_of_a_program_that_loads_without_workers_are_its_own(samples: list[Sample]) -> None:
    """They were killed where they had begun to clean up, of an import alone."""
    code = (
        "import multiprocessing, signal, sys, time\nfrom pathlib import Path\n"
        "from datasets.loader import PictureSet, make_picture_loader\n"
        "def work():\n"
        "    signal.signal(signal.SIGTERM, lambda *_: (print('cleaned up', flush=True), sys.exit()))\n"
        "    print('at work', flush=True)\n"
        "    time.sleep(60)\n"
        "multiprocessing.set_start_method('fork')\n"
        "multiprocessing.Process(target=work, daemon=True).start()\n"
        "next(iter(make_picture_loader(PictureSet([Path(sys.argv[1])], (64, 64), (0.0, 0.0, 0.0)), 1, 0)))\n"
        "time.sleep(1)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(samples[0].image_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout) == (0, "at work\ncleaned up\n"), ended.stderr


def test_a_signal_while_workers_start_does_not_end_them(pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in twenty times SIGTERM to the whole group came before a worker could ignore it: "for want of memory"."""
    blocked = []
    start = DataLoader.__iter__

    def starts(self: DataLoader) -> Iterator:
        blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        return start(self)

    monkeypatch.setattr(DataLoader, "__iter__", starts)
    assert len(list(make_picture_loader(PictureSet(pictures, INPUT_HW, FILL), 2, 2))) == 2
    assert blocked[0] >= _STOPPING
    assert not _STOPPING & signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_opencv_has_no_threads_in_a_worker_however_it_is_started(samples: list[Sample]) -> None:
    """A worker that is not forked begins with as many as there are cores, and so did every one of them."""
    before, handlers = cv2.getNumThreads(), {number: signal.getsignal(number) for number in _STOPPING}
    loaders = [
        make_training_loader(training_set(samples), 2, 2),
        make_picture_loader(PictureSet([samples[0].image_path], INPUT_HW, FILL), 1, 2),
    ]
    try:
        for loader in loaders:
            cv2.setNumThreads(4)
            loader.worker_init_fn(0)
            assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
