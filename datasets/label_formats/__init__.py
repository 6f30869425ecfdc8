"""Label formats of other programs, read and written; and THE place where a format for conversion gets its name.

Every reader of one file takes its path and `on_bad`: with a function there, what cannot be used goes to it as a
LabelError and is left out; without one it is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from datasets.label_formats import coco, csv_table, geojson
from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture, Track
from datasets.label_formats.coco import read_coco, read_coco_folder, write_coco
from datasets.label_formats.cvat import read_cvat
from datasets.label_formats.detections import read_detections, read_task1, write_task
from datasets.label_formats.geojson import write_geojson
from datasets.label_formats.label_folders import (
    read_dota_folder,
    read_hrsc_folder,
    read_labelme_folder,
    read_rolabelimg_folder,
    read_soda_folder,
    write_dota,
)
from datasets.label_formats.labelme import write_labelme
from datasets.label_formats.map_outlines import read_geojson
from datasets.label_formats.rolabelimg_xml import write_rolabelimg
from datasets.label_formats.yolo_obb import keep_holdable, read_yolo_folder, write_yolo_obb, yolo_image_folder


class Wanted(NamedTuple):
    """What is asked of a source beside its path. track: goes through its files. images: the pictures, for a source that
    needs them; class_field, crs: of `read_geojson`. least: of predictions, the score of each class from which on boxes
    are taken."""

    track: Track = iter
    images: Path | Mapping[str, Path] | None = None
    class_field: str | None = None
    crs: str | None = None
    least: Callable[[str], float] = lambda class_name: 0.0


class Source(NamedTuple):
    """A format that is read: the set in a file or below a folder, with what got lost told to the ledger.

    note: for --help, how it tells an object, and what it is read from where that is not a folder. is_file_a_picture:
    each picture has a label file, so that one without is not labelled; others name pictures without objects.
    shows_turned: its program shows pictures as EXIF turns them, and so they are labelled. tells_size: it is of any
    program, and the size that the labels tell says whether that one has done so. is_prediction: boxes have scores.
    needs_pictures: it knows places on the Earth alone, and what lies there.
    """

    read: Callable[[Path, Ledger, Wanted], AnnotatedSet]
    note: str
    is_file_a_picture: bool = False
    shows_turned: bool = False
    tells_size: bool = False
    is_prediction: bool = False
    needs_pictures: bool = False


def _keep_all(annotated: AnnotatedSet, ledger: Ledger, drop_ignored: bool) -> AnnotatedSet:
    return annotated


class Target(NamedTuple):
    """A format that is written: a set below a folder; where it expects the pictures there.

    note: what is written, for --help. tells_size, needs_size: it tells, or must know, the sizes of the pictures.
    needs_path: it must know where they lie, for it looks into them. writes_lists: classes.txt and the lists of the
    splits belong to it. holds_scores: of predictions; needs_scores: it holds nothing else. file_suffixes: of a
    destination that is a file and no folder. shows_turned: as of `Source`.
    keep(annotated, ledger, drop_ignored): what it can hold, where that is not everything.
    """

    write: Callable[[Path, AnnotatedSet, Ledger], None]
    image_folder: Callable[[AnnotatedSet], Callable[[Picture], str]]
    note: str
    tells_size: bool = True
    needs_size: bool = False
    needs_path: bool = False
    writes_lists: bool = False
    holds_scores: bool = False
    needs_scores: bool = False
    file_suffixes: tuple[str, ...] = ()
    shows_turned: bool = False
    keep: Callable[[AnnotatedSet, Ledger, bool], AnnotatedSet] = _keep_all


def _beside(annotated: AnnotatedSet) -> Callable[[Picture], str]:
    return lambda picture: ""


def _in_images(annotated: AnnotatedSet) -> Callable[[Picture], str]:
    return lambda picture: "images"


def _coco(src: Path, ledger: Ledger, wanted: Wanted) -> AnnotatedSet:
    read = read_coco_folder if src.is_dir() else read_coco
    return read(src, ledger.faults.append, ledger.changed)


def _cvat(src: Path, ledger: Ledger, wanted: Wanted) -> AnnotatedSet:
    path = src / "annotations.xml" if src.is_dir() else src  # the name in CVAT's own archives
    return read_cvat(path, ledger.faults.append, ledger.changed)


def _csv(src: Path, ledger: Ledger, wanted: Wanted) -> AnnotatedSet:
    return csv_table.read_csv_table(csv_table.table_in(src), ledger.faults.append, ledger.changed)


def _geojson(src: Path, ledger: Ledger, wanted: Wanted) -> AnnotatedSet:
    return read_geojson(src, ledger, wanted.images, wanted.class_field, wanted.crs, wanted.track)


def _folder(
    read: Callable[..., AnnotatedSet], *, counts: bool = True
) -> Callable[[Path, Ledger, Wanted], AnnotatedSet]:
    """Of a reader of label files in a folder; counts: whether it changes anything, which is then counted."""

    def read_set(src: Path, ledger: Ledger, wanted: Wanted) -> AnnotatedSet:
        return read(src, ledger.faults.append, wanted.track, *([ledger.changed] if counts else []))

    return read_set


def _predicted(read: Callable[..., AnnotatedSet], note: str) -> Source:
    return Source(
        lambda src, ledger, wanted: read(src, ledger.faults.append, ledger.changed, wanted.least),
        note,
        is_prediction=True,
    )


_xml = _folder(read_rolabelimg_folder)  # roLabelImg's format, and what descends from VOC's as it does
_labelme = Source(
    _folder(read_labelme_folder),
    "polygon, rectangle, oriented rectangle, rotation, quadrilateral; predictions with their scores",
    is_file_a_picture=True,
    shows_turned=True,
)
_corners = Source(_xml, "corners; from the whole folder, or one of labels", is_file_a_picture=True, tells_size=True)

SOURCES: dict[str, Source] = {
    "rolabelimg": Source(
        _xml,
        "angle in radians, clockwise on the screen, from +x to the side w",
        is_file_a_picture=True,
        tells_size=True,
    ),
    "yolo_obb": Source(
        _folder(read_yolo_folder), "corners as fractions of the picture, class numbers and splits by data.yaml"
    ),
    "coco": Source(
        _coco,
        "polygons; a bbox of five numbers as detectron2 has it, cx cy w h and degrees counter-clockwise, of four "
        "turned by CVAT's rotation; iscrowd is an ignore region; from a file, or the folder of several",
        tells_size=True,
    ),
    "labelme": _labelme,
    "xanylabeling": _labelme,
    "cvat": Source(
        _cvat, "1.1 for images: rotation in degrees, clockwise about the centre; from a file", shows_turned=True
    ),
    "voc": Source(
        _xml,
        "bndbox as labelImg writes it, no pixel added, and turned where CVAT tells a rotation; Roboflow's polygon",
        is_file_a_picture=True,
        shows_turned=True,
    ),
    "dota": Source(_folder(read_dota_folder, counts=False), "corners, class, difficult", is_file_a_picture=True),
    "hrsc": Source(_folder(read_hrsc_folder, counts=False), "angle in radians, clockwise", is_file_a_picture=True),
    **dict.fromkeys(("dior", "fair1m", "dronevehicle"), _corners),
    "soda": _corners._replace(read=_folder(read_soda_folder)),
    "csv": Source(
        _csv,
        "an object a row, the first line names the columns: image, class, and x1, y1 to y4, or xmin, ymin, xmax, ymax, "
        "or cx, cy, w, h, angle_degrees (clockwise, from +x to the side w); also difficult and split, if there; "
        "pictures without a row are left out; from a file",
    ),
    "geojson": Source(
        _geojson,
        "polygons in longitude and latitude, or in the system of a member crs, by where the pictures lie (GeoTIFF and "
        "what else GDAL reads); needs requirements-geo.txt; from a file",
        needs_pictures=True,
    ),
    "task1": _predicted(read_task1, "Task1_<class>.txt of results, which are predictions; from their folder"),
    "detections": _predicted(
        read_detections, "detections.json of results, which are predictions; from the file, its folder or the run's"
    ),
}
TARGETS: dict[str, Target] = {
    "dota": Target(write_dota, _in_images, "labelTxt/", tells_size=False, writes_lists=True),
    "yolo_obb": Target(
        write_yolo_obb, yolo_image_folder, "labels/<split>/ and data.yaml", needs_size=True, keep=keep_holdable
    ),
    "coco": Target(
        write_coco,
        _in_images,
        "annotations/instances_<split>.json or the file DST.json",
        holds_scores=True,
        file_suffixes=coco.SUFFIXES,
    ),
    "rolabelimg": Target(write_rolabelimg, _in_images, "xml/", writes_lists=True),
    "labelme": Target(
        write_labelme,
        _beside,
        "<picture>.json with polygons",
        writes_lists=True,
        holds_scores=True,
        shows_turned=True,
    ),
    "xanylabeling": Target(
        partial(write_labelme, shape_type="rotation"),
        _beside,
        "<picture>.json with boxes that can be turned there",
        writes_lists=True,
        holds_scores=True,
        shows_turned=True,
    ),
    "geojson": Target(
        write_geojson,
        _in_images,
        "objects.geojson or the file DST.geojson",
        tells_size=False,
        needs_path=True,
        holds_scores=True,
        file_suffixes=geojson.SUFFIXES,
    ),
    "csv": Target(
        csv_table.write_csv_table,
        _in_images,
        "objects.csv or the file DST.csv, an object a row: centre, sides, angle in degrees, corners",
        tells_size=False,
        holds_scores=True,
        file_suffixes=csv_table.SUFFIXES,
    ),
    **{
        f"task{task}": Target(
            partial(write_task, task=task),
            _in_images,
            f"Task{task}_<class>.txt, DOTA's results with {boxes}, of all scores unless --min_score is given",
            tells_size=False,
            holds_scores=True,
            needs_scores=True,
        )
        for task, boxes in ((1, "corners"), (2, "outer boxes"))
    },
}
