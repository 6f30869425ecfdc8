"""Detections on the tiles of a data folder -> detections, and truth, on the pictures that the tiles were cut from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets.readers import read_samples
from DOTA_devkit.evaluation import ImageTruth
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from DOTA_devkit.tiling import INDEX_NAME, read_index
from tools.data import truths_of
from tools.merge_results import merge_images
from tools.run_folder import warn


class OnPictures(NamedTuple):
    """By picture, in its pixels: what was found, merged, and what is there; `source`: which pictures."""

    detections: dict[str, ImageDetections]
    truths: dict[str, ImageTruth]
    source: str


def on_whole_pictures(
    data_dir: Path,
    detections: Mapping[str, ImageDetections],
    tiles: Sequence[str],
    class_names: Sequence[str],
    nms_thresh: float,
    missing_labels: str = "error",
) -> OnPictures | None:
    """Merge what was found in the listed tiles of a folder of tools.split_tiles, and read the truth of their pictures.

    None where the folder holds no tiles, and, with a warning, where the labels of the pictures are no longer there:
    then the tiles are scored as they are. A picture none of whose tiles has an entry has none either.
    """
    if not (data_dir / INDEX_NAME).is_file():
        return None
    index = read_index(data_dir)
    source = Path(index.source)
    if not index.source or not (source / "labelTxt").is_dir():
        warn(f"the labels of the whole pictures are not in '{index.source}'; scoring the tiles as they are")
        return None
    pictures = list(dict.fromkeys(index.tiles[name].picture for name in tiles if name in index.tiles))
    samples = read_samples("dota", source, pictures, class_names, missing_labels=missing_labels)
    merged = merge_images(detections, index, nms_thresh)
    seen = {index.tiles[name].picture for name in detections if name in index.tiles}
    found = {name: merged.get(name, NO_DETECTIONS) for name in pictures if name in seen}
    what = f"{len(pictures)} whole pictures of {source}, merged from {len(tiles)} tiles"
    return OnPictures(found, truths_of(samples), what)
