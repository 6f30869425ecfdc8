"""What a network looked at and found, as the files of its results tell, and where the pictures of it lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.picture_files.image_folders import find_matching, from_home, is_pattern
from datasets.picture_files.images import IMAGE_SUFFIXES, ImageError
from DOTA_devkit.names import spelling_in
from DOTA_devkit.task_files import ImageDetections, read_results, result_files
from tools.detection.results import read_origin
from tools.file_scores import called_as
from tools.running.command_line import SettingsError
from tools.running.messages import counted, warn

LIST = ".txt"  # of pictures, in the folder of the data


class LookedAt(NamedTuple):
    """names: of the pictures that were looked at and are at hand, sorted.  detections: what was found, by the name of
    the picture.  class_names: that the labels of the detections count, as the network does where the results tell.
    is_told: whether they tell what was looked at; else `names` are of the pictures with a box."""

    names: list[str]
    detections: dict[str, ImageDetections]
    class_names: list[str]
    is_told: bool

    def among(self, class_names: Sequence[str]) -> LookedAt:
        """The same with these classes first, and its own behind them where they are none of these."""
        every = [*class_names, *(name for name in self.class_names if name not in class_names)]
        number_of = np.array([every.index(name) for name in self.class_names], np.int64)
        found = {name: boxes._replace(labels=number_of[boxes.labels]) for name, boxes in self.detections.items()}
        return self._replace(detections=found, class_names=every)


def looked_at(results: Path, images: Mapping[str, Path], place: Path | str) -> LookedAt:
    """What a folder of result files tells of `images`, which are called by name and lie in `place`. Warns where it does
    not tell what was looked at: then the pictures with a box count; and of those that are not among `images`.

    Raises ValueError where it is of none of them.
    """
    origin = read_origin(results) or {}
    told, order = origin.get("images"), origin.get("classes")
    there = sorted({*result_files(results).values()})
    class_names = sorted(there, key=order.index) if isinstance(order, list) and {*there} <= {*order} else there
    detections = called_as(read_results(results, class_names).images, images, results)
    seen = told if isinstance(told, list) else [*detections]
    spelt = {str(entry): spelling_in(images, str(entry)) for entry in seen}
    names = sorted({name for name in spelt.values() if name is not None})
    if not names:
        what = f"is of none of the {len(images)} pictures of {place}; name the results on these"
        raise ValueError(f"{results}: {what if seen else 'holds no box, and does not tell what was looked at'}")
    if not isinstance(told, list):
        warn(f"{results}: does not tell what was looked at; the {counted(len(names), 'picture')} with boxes count")
    if lost := [entry for entry, name in spelt.items() if name is None]:
        pictures = counted(len(lost), "picture")
        warn(f"{results}: {pictures} of its {len(spelt)} are not in {place}, such as {lost[0]}, and are left out")
    return LookedAt(names, detections, class_names, isinstance(told, list))


def pictures_at(place: Path) -> Path | dict[str, Path]:
    """The place, or the pictures that match it if it is a pattern. Raises ImageError where none does."""
    place = from_home(place)
    return find_matching(place) if is_pattern(place) else place


def pictures_asked_for(place: Path) -> Path | dict[str, Path]:
    """The same of --images. Raises SettingsError where no picture matches a pattern."""
    try:
        return pictures_at(place)
    except ImageError as error:
        raise SettingsError(f"--images {error}") from error


def pictures_told(results: Path) -> Path | dict[str, Path] | None:
    """Where the pictures lie that results are of, as these tell: a folder, or the pictures that match a pattern, by
    name; None where they do not tell, or nothing is there any more, of which it warns."""
    told = (read_origin(results) or {}).get("pictures")
    if not isinstance(told, str) or not told:
        return None
    try:
        pictures = pictures_at(Path(told))
        if isinstance(pictures, Path):
            pictures = pictures.parent if pictures.suffix.lower() in (*IMAGE_SUFFIXES, LIST) else pictures
            if not pictures.is_dir():
                raise ImageError(f"{told} is not there any more")
    except (OSError, ImageError) as error:  # of a text that is no path, or no longer matches any
        warn(f"the pictures of these results: {error}; --images DIR tells where they are")
        return None
    return pictures
