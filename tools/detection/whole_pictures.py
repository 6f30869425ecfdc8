"""The pictures that the tiles of a data folder were cut from: their truth, and what was found in the tiles on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets.label_formats.dota_folder import is_dota_folder
from datasets.picture_files.images import ImageError
from datasets.readers import list_images, read_samples
from DOTA_devkit.labels import LabelError
from DOTA_devkit.merging import merge_pictures
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from DOTA_devkit.tile_index import INDEX_NAME, TileIndex, read_index
from DOTA_devkit.truths import ImageTruth
from tools.config import Config
from tools.data import left_out_classes, none_readable, truths_of
from tools.detection.results import ResultFiles, named_picture
from tools.outcomes import Found
from tools.running.messages import report_bad_labels, warn


class WholePictures(NamedTuple):
    """The pictures that the listed tiles of a folder were cut from: by picture, in its pixels, what is there; `source`:
    which pictures; `images`: their files."""

    index: TileIndex
    truths: dict[str, ImageTruth]
    source: str
    images: dict[str, Path]

    def merged(
        self, detections: Mapping[str, ImageDetections], nms_thresh: float, agnostic: bool = False
    ) -> dict[str, ImageDetections]:
        """Detections by tile -> detections by picture. A picture none of whose tiles has an entry has none either."""
        merged = merge_pictures(detections, self.index, nms_thresh, agnostic)
        seen = {self.index.tiles[name].picture for name in detections if name in self.index.tiles}
        return {name: merged.get(name, NO_DETECTIONS) for name in self.truths if name in seen}

    def write(
        self, folder: Path, class_names: Sequence[str], detections: Mapping[str, ImageDetections], origin: dict
    ) -> None:
        """Write detections by picture as those of phase test are; `origin`: of the results on tiles."""
        with ResultFiles(folder, class_names, origin | {"pictures": self.index.source}) as files:
            for row, (name, found) in enumerate(detections.items()):
                files.write(named_picture(name, self.images[name]), Found(row, found, self.index.pictures[name]))


def whole_pictures_of(
    data_dir: Path, tiles: Sequence[str], class_names: Sequence[str], config: Config
) -> WholePictures | None:
    """The pictures of the listed tiles of a folder of tools.split_tiles and their truth, bad and missing labels as the
    settings say. To be called before the detector works for hours: it is here that something may be wrong.

    None where the folder holds no tiles, and, with a warning, where its index is no index of tiles, where the list does
    not hold whole pictures, or these are no longer where they were: then what is listed is scored as it is.
    """
    index = _index_in(data_dir, tiles)
    if index is None:
        return None
    source = Path(index.source)
    pictures = list(dict.fromkeys(index.tiles[name].picture for name in tiles if name in index.tiles))
    why_not = _why_not_whole(index, tiles) or _why_not_there(index, pictures)
    if why_not:
        warn(f"{why_not}; scoring the tiles as they are")
        return None
    problems: list[LabelError] = []
    samples = read_samples(
        "dota",
        source,
        pictures,
        class_names,
        on_bad_label=problems.append if config.on_bad_label == "skip" else None,
        missing_labels=config.missing_labels,
        left_out=left_out_classes(config, "dota", source, pictures, class_names),
    )
    files = "whole pictures left out, of whose labels none can be used"
    report_bad_labels(problems, samples, "bad labels of whole pictures left out", files)
    if not samples:
        warn(f"{source}: {none_readable(pictures)}; scoring the tiles as they are")
        return None
    what = f"{len(samples)} whole pictures of {source}, merged from {len(tiles)} tiles"
    return WholePictures(index, truths_of(samples), what, {sample.name: sample.image_path for sample in samples})


def _index_in(data_dir: Path, names: Sequence[str]) -> TileIndex | None:
    """The index of the tiles in a folder, called as in `names`; None where there is none, and, with a warning, where it
    cannot be read."""
    if not (data_dir / INDEX_NAME).is_file():
        return None
    try:
        return read_index(data_dir).called_as(names)
    except (OSError, ValueError) as error:
        warn(f"{error}; scoring the pictures of the folder as they are")
        return None


def _why_not_whole(index: TileIndex, tiles: Sequence[str]) -> str:
    """What keeps the listed tiles from being all those of their pictures; "" for nothing. Objects in a tile that is not
    listed would count as missed, and false alarms in one that was never written would not count."""
    listed = set(tiles)
    strange = sorted(listed - index.tiles.keys())
    if strange:
        return f"{len(strange)} of the listed pictures are no tiles of {INDEX_NAME}, such as {strange[0]}"
    shown = {index.tiles[name].picture for name in listed}
    cut = sorted({tile.picture for name, tile in index.tiles.items() if tile.picture in shown and name not in listed})
    if cut:
        return f"{len(cut)} of {len(shown)} pictures have tiles that are not listed, such as {cut[0]}"
    lacking = sorted(shown & index.num_skipped.keys())
    if lacking:
        return (
            f"{len(lacking)} of {len(shown)} pictures lack the empty tiles that tools.split_tiles --skip_empty left "
            f"out, such as {lacking[0]}; cut the pictures again without it, or have them in val.txt or test.txt, to "
            "score them whole"
        )
    return ""


def _why_not_there(index: TileIndex, pictures: Sequence[str]) -> str:
    """What of the whole pictures and their labels is missing; "" for nothing."""
    source = Path(index.source)
    if not index.source or not is_dota_folder(source):
        return f"the labels of the whole pictures are not in '{index.source}'"
    try:
        images = list_images("dota", source)
    except ImageError as error:
        return f"the whole pictures are gone ({error})"
    gone = [name for name in pictures if name not in images]
    return f"{len(gone)} of the whole pictures are gone from {source}, such as {gone[0]}" if gone else ""
