"""One big picture and its labels -> tiles, with a marker that tells what was done of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.picture_files.images import ImageError
from datasets.picture_files.layouts import BY_THE_FILE, MOST_IN_COLOURS, Reading
from datasets.picture_files.picture_windows import PictureWindows, open_picture
from datasets.picture_files.scaled_windows import ScaledWindows
from datasets.readers import read_known, read_objects
from datasets.tiles import scale_picture
from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.labels import IGNORED_CLASS, NO_LABELS, LabelError, Labels, read_labels, write_labels
from DOTA_devkit.tiling import CutLabels, Tile, cut_all_labels, lay_tiles, unlearnt_objects
from tools.picture_coding import write_pixels

MARKERS = Path(".split/pictures")
PADDING_RGB = (124, 116, 104)  # the mean colour of ImageNet, with which the letterbox pads by default, too


@dataclass(frozen=True)
class SplitSettings:
    """What the tiles depend on beside the picture; lengths in pixels of a tile. `suffix`: auto, png or jpg;
    `in_channels`: bands, 3 or more, or 1 where one was chosen; `value_range`, `bands`: as `Reading` has them."""

    size: int
    overlap: int
    scales: tuple[float, ...]
    min_visible: float
    skip_empty: float
    suffix: str
    in_channels: int
    value_range: tuple[float, ...] | None
    bands: tuple[int, ...] | None
    missing_labels: str
    on_bad_label: str
    class_names: tuple[str, ...] | None  # None: whatever stands in the labels

    @property
    def reading(self) -> Reading:
        """How values become pixels."""
        return Reading(self.value_range, self.bands)


@dataclass(frozen=True)
class PictureTask:
    """One picture to split. label_path: None in a folder without labels; skip_empty: part of its empty tiles."""

    image_path: Path
    label_path: Path | None
    dst: Path
    settings: SplitSettings
    skip_empty: float

    @property
    def name(self) -> str:
        return self.image_path.stem

    @property
    def marker(self) -> Path:
        return self.dst / MARKERS / f"{self.name}.json"

    @property
    def suffix(self) -> str:
        if self.settings.in_channels > MOST_IN_COLOURS:
            return ".tif"
        is_jpeg = self.image_path.suffix.lower() in (".jpg", ".jpeg") and self.settings.in_channels != 4
        kept = "jpg" if is_jpeg else "png"
        return f".{kept if self.settings.suffix == 'auto' else self.settings.suffix}"

    def paths(self, tile_name: str) -> tuple[Path, Path | None]:
        """Where picture and labels of a tile go."""
        image_path = self.dst / "images" / f"{tile_name}{self.suffix}"
        return image_path, self.label_path and self.dst / "labelTxt" / f"{tile_name}.txt"


def split_picture(task: PictureTask) -> dict[str, Any]:
    """Write the tiles of a picture, with their labels, and its marker last; returns what the marker holds."""
    stamp = _stamp(task)  # a file that changes while it is worked on is of another stamp
    _remove_outdated(task)
    labels, problems = _read_objects(task)
    written = _Written((0, 0), {}, [], 0)
    try:
        picture = read_picture(task.image_path, task.settings.in_channels, task.settings.reading)
        written = written._replace(hw=picture.shape[:2])
        if labels is not None:
            written = _write_tiles(task, picture, labels)
    except ImageError as error:
        if task.settings.on_bad_label == "error":
            raise
        problems.append(f"{error}; {task.image_path.name} is left out")
        labels, written = None, _Written((0, 0), {}, [], 0)
    hw, tiles, cuts, num_skipped = written
    labels = labels or NO_LABELS
    unlearnt = [
        (int(labels.lines[row]), labels.names[row])
        for row in unlearnt_objects(labels.difficult, cuts).tolist()
        if labels.names[row] != IGNORED_CLASS
    ]
    record = {
        "stamp": stamp,
        "height": hw[0],
        "width": hw[1],
        "tiles": tiles,  # name -> scale, x, y, bytes of the picture, bytes of its labels or None
        "num_skipped": num_skipped,
        "num_objects": len(labels.names),
        "num_labels": sum(int((~cut.hidden).sum()) for cut in cuts),
        "num_hidden": sum(int(cut.hidden.sum()) for cut in cuts),
        "classes": sorted(set(labels.names) - {IGNORED_CLASS}),
        "unlearnt": unlearnt,  # line, class
        "problems": problems,
    }
    with atomic_write(task.marker, sync=False) as file:
        json.dump(record, file, ensure_ascii=False)
    return record


class _Written(NamedTuple):
    """Of a picture of this height and width, (0, 0) where it cannot be read: its tiles, as a record holds them, the
    labels cut for each, and how many empty ones were skipped."""

    hw: tuple[int, int]
    tiles: dict[str, list[float | None]]
    cuts: list[CutLabels]
    num_skipped: int


def _write_tiles(task: PictureTask, picture: np.ndarray | PictureWindows, labels: Labels) -> _Written:
    """Write the tiles of a picture and their labels. Where it cannot be read to its end, ImageError is raised, and no
    tile stays."""
    settings, hw = task.settings, picture.shape[:2]
    cuts: list[CutLabels] = []
    tiles: dict[str, list[float | None]] = {}
    num_skipped = 0
    paths: list[Path] = []
    try:
        for scale in settings.scales:
            scaled = scale_picture(picture, scale)
            laid = lay_tiles(task.name, *hw, settings.size, settings.overlap, [scale])
            cut_all = cut_all_labels(labels.quads, labels.difficult, laid, settings.size, hw, settings.min_visible)
            for tile, cut in zip(laid, cut_all, strict=True):
                cuts.append(cut)
                if not len(cut.rows) and _fraction_of(tile.name) < task.skip_empty:
                    num_skipped += 1
                    continue
                image_path, label_path = task.paths(tile.name)
                paths += [path for path in (image_path, label_path) if path is not None]
                if label_path is not None:
                    names = [labels.names[row] for row in cut.rows.tolist()]
                    write_labels(label_path, cut.quads, names, cut.difficult, sync=False)
                num_bytes = [_write_tile(image_path, scaled, tile, settings), label_path and label_path.stat().st_size]
                tiles[tile.name] = [scale, tile.x, tile.y, *num_bytes]
    except ImageError:
        for path in paths:
            path.unlink(missing_ok=True)
        raise
    return _Written(hw, tiles, cuts, num_skipped)


def finished_record(task: PictureTask) -> dict[str, Any] | None:
    """The record of a picture that an earlier run has split and whose tiles are all there, pictures and labels of the
    size that they had; None for any other, and for one of an earlier version, which does not tell the size of labels.
    """
    try:
        record = json.loads(task.marker.read_text(encoding="utf-8"))
        is_whole = record["stamp"] == _stamp(task)
        for name, (_, _, _, *num_bytes) in record["tiles"].items():
            is_whole &= [path and path.stat().st_size for path in task.paths(name)] == num_bytes
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if is_whole else None


def read_picture(path: Path, num_channels: int = 3, reading: Reading = BY_THE_FILE) -> np.ndarray | PictureWindows:
    """A picture by `open_picture`, (H, W, 1) uint8 if it is grey, for grey tiles stay small (of one that is read in
    windows: if it has one band), else (H, W, 3) BGR; of more channels always all."""
    picture = open_picture(path, num_channels, reading, keeps_grey=True)
    if num_channels != 3 or isinstance(picture, PictureWindows):
        return picture
    # A glance at some pixels spares colour pictures the whole comparison.
    is_grey = all(_has_equal_bands(part) for part in (picture[::32, ::32], picture))
    return np.ascontiguousarray(picture[:, :, :1]) if is_grey else picture


def _stamp(task: PictureTask) -> list[Any]:
    """What tells whether a picture or its labels have changed since."""
    files = [path.stat() if path and path.is_file() else None for path in (task.image_path, task.label_path)]
    return [task.skip_empty, *(stat and [stat.st_size, stat.st_mtime_ns] for stat in files)]


def _remove_outdated(task: PictureTask) -> None:
    """Remove the tiles that an earlier version of a picture had; a JPEG may since have become a PNG."""
    try:
        before = json.loads(task.marker.read_text(encoding="utf-8"))["tiles"]
    except (OSError, ValueError, KeyError):
        return
    task.marker.unlink()
    for name in before:
        for place in (f"images/{name}.png", f"images/{name}.jpg", f"images/{name}.tif", f"labelTxt/{name}.txt"):
            (task.dst / place).unlink(missing_ok=True)


def _read_objects(task: PictureTask) -> tuple[Labels | None, list[str]]:
    """The objects of a picture, None for one that is left out, and what was wrong with the lines that are left out."""
    path, settings = task.label_path, task.settings
    if path is None:
        return NO_LABELS, []
    problems: list[LabelError] = []
    on_bad = problems.append if settings.on_bad_label == "skip" else None
    is_empty = settings.missing_labels == "empty"
    read = read_labels
    if settings.class_names:
        read = partial(read_known, read_labels, (*settings.class_names, IGNORED_CLASS), None)
    labels = read_objects(task.image_path, path, read, on_bad, missing_is_empty=is_empty)
    return labels, [str(problem) for problem in problems]


def _write_tile(
    path: Path, scaled: np.ndarray | PictureWindows | ScaledWindows, tile: Tile, settings: SplitSettings
) -> int:
    """Cut a tile out of its scaled picture, pad it to its size, write it; returns the number of bytes."""
    size = settings.size
    pixels = scaled[tile.y : tile.y + size, tile.x : tile.x + size]
    if pixels.shape[:2] != (size, size):
        whole = np.empty((size, size, pixels.shape[2]), np.uint8)
        whole[:] = padding_bgr(pixels.shape[2])
        whole[: pixels.shape[0], : pixels.shape[1]] = pixels
        pixels = whole
    # Nobody waits for the disk: a tile that a power cut has emptied has not the size that its marker tells.
    return write_pixels(path, pixels, settings.bands)


def padding_bgr(num_channels: int) -> tuple[int, ...]:
    """What tiles are padded with, a value for each channel, blue first: others than colours have these once more, as
    the letterbox (`Preprocessing.for_channels`)."""
    if num_channels == 1:
        return (round(sum(PADDING_RGB) / 3),)
    others = (PADDING_RGB * num_channels)[3:num_channels]
    return (*PADDING_RGB[::-1], *others)


def _fraction_of(name: str) -> float:
    """A number in [0, 1) that looks random and depends on the name alone."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big") / 2**48


def _has_equal_bands(image: np.ndarray) -> bool:
    return bool((image[:, :, 0] == image[:, :, 1]).all() and (image[:, :, 0] == image[:, :, 2]).all())
