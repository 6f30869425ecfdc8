"""Label formats of other programs, read and written; and THE place where a format for conversion gets its name.

Every reader of one file takes its path and `on_bad`: with a function there, what cannot be used goes to it as a
LabelError and is left out; without one it is raised.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture, Track
from datasets.label_formats.coco import read_coco, read_coco_folder, write_coco
from datasets.label_formats.cvat import read_cvat
from datasets.label_formats.detections import read_detections, read_task1
from datasets.label_formats.geojson import SUFFIXES, write_geojson
from datasets.label_formats.label_folders import (
    read_dota_folder,
    read_hrsc_folder,
    read_labelme_folder,
    read_rolabelimg_folder,
    read_soda_folder,
    write_dota,
    write_lists,
)
from datasets.label_formats.labelme import write_labelme
from datasets.label_formats.map_outlines import read_geojson
from datasets.label_formats.rolabelimg_xml import write_rolabelimg
from datasets.label_formats.yolo_obb import keep_holdable, read_yolo_folder, write_yolo_obb, yolo_image_folder

Source = Callable[[Path, Ledger, Track], AnnotatedSet]
Prediction = Callable[[Path, Ledger, Callable[[str], float]], AnnotatedSet]


def _keep_all(annotated: AnnotatedSet, ledger: Ledger, drop_ignored: bool) -> AnnotatedSet:
    return annotated


class Target(NamedTuple):
    """Writes a set below a folder; where it expects the pictures there; whether it tells, or must know, their sizes;
    whether it must know where they lie, for it looks into them; whether it holds the scores of predictions;
    the suffixes of a destination that is a file and no folder; whether its program shows pictures as EXIF turns them.

    keep(annotated, ledger, drop_ignored): what it can hold, where that is not everything.
    """

    write: Callable[[Path, AnnotatedSet, Ledger], None]
    image_folder: Callable[[AnnotatedSet, Picture], str]
    tells_size: bool = True
    needs_size: bool = False
    needs_path: bool = False
    holds_scores: bool = False
    file_suffixes: tuple[str, ...] = ()
    turns: bool = False
    keep: Callable[[AnnotatedSet, Ledger, bool], AnnotatedSet] = _keep_all


def _beside(annotated: AnnotatedSet, picture: Picture) -> str:
    return ""


def _in_images(annotated: AnnotatedSet, picture: Picture) -> str:
    return "images"


def _coco(src: Path, ledger: Ledger, track: Track) -> AnnotatedSet:
    read = read_coco_folder if src.is_dir() else read_coco
    return read(src, ledger.faults.append, ledger.changed)


def _cvat(src: Path, ledger: Ledger, track: Track) -> AnnotatedSet:
    path = src / "annotations.xml" if src.is_dir() else src  # the name in CVAT's own archives
    return read_cvat(path, ledger.faults.append, ledger.changed)


def _write_dota(dst: Path, annotated: AnnotatedSet, ledger: Ledger) -> None:
    write_dota(dst, annotated, ledger)
    write_lists(dst, annotated)


def _write_rolabelimg(dst: Path, annotated: AnnotatedSet, ledger: Ledger) -> None:
    write_rolabelimg(dst, annotated, ledger)
    write_lists(dst, annotated)


def _write_labelme(dst: Path, annotated: AnnotatedSet, ledger: Ledger) -> None:
    write_labelme(dst, annotated, ledger)
    write_lists(dst, annotated)


def _write_xanylabeling(dst: Path, annotated: AnnotatedSet, ledger: Ledger) -> None:
    write_labelme(dst, annotated, ledger, shape_type="rotation")
    write_lists(dst, annotated)


def _xml(src: Path, ledger: Ledger, track: Track) -> AnnotatedSet:
    """roLabelImg's format, and what descends from VOC's as it does."""
    return read_rolabelimg_folder(src, ledger.faults.append, track, ledger.changed)


def _labelme(src: Path, ledger: Ledger, track: Track) -> AnnotatedSet:
    return read_labelme_folder(src, ledger.faults.append, track, ledger.changed)


SOURCES: dict[str, Source] = {
    "rolabelimg": _xml,
    "yolo_obb": lambda src, ledger, track: read_yolo_folder(src, ledger.faults.append, track, ledger.changed),
    "coco": _coco,
    "labelme": _labelme,
    "xanylabeling": _labelme,
    "cvat": _cvat,
    "voc": _xml,
    "dota": lambda src, ledger, track: read_dota_folder(src, ledger.faults.append, track),
    "hrsc": lambda src, ledger, track: read_hrsc_folder(src, ledger.faults.append, track),
    **dict.fromkeys(("dior", "fair1m", "dronevehicle"), _xml),
    "soda": lambda src, ledger, track: read_soda_folder(src, ledger.faults.append, track, ledger.changed),
}
ON_THE_MAP = {"geojson": read_geojson}  # which knows places on the Earth alone, and needs the pictures that lie there
PREDICTIONS: dict[str, Prediction] = {
    "task1": lambda src, ledger, least: read_task1(src, ledger.faults.append, ledger.changed, least),
    "detections": lambda src, ledger, least: read_detections(src, ledger.faults.append, ledger.changed, least),
}
TARGETS: dict[str, Target] = {
    "dota": Target(_write_dota, _in_images, tells_size=False),
    "yolo_obb": Target(write_yolo_obb, yolo_image_folder, needs_size=True, keep=keep_holdable),
    "coco": Target(write_coco, _in_images, holds_scores=True, file_suffixes=(".json",)),
    "rolabelimg": Target(_write_rolabelimg, _in_images),
    "labelme": Target(_write_labelme, _beside, holds_scores=True, turns=True),
    "xanylabeling": Target(_write_xanylabeling, _beside, holds_scores=True, turns=True),
    "geojson": Target(
        write_geojson, _in_images, tells_size=False, needs_path=True, holds_scores=True, file_suffixes=SUFFIXES
    ),
}
