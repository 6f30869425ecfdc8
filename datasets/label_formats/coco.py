"""COCO's JSON (`images`, `annotations`, `categories`), read and written.

Oriented boxes stand in `segmentation` as polygons of four corners. A `bbox` of four numbers is x, y, width, height,
which CVAT turns by its attribute `rotation`, degrees, clockwise on the screen about the centre; of five it is read as
detectron2 has it: cx, cy, w, h and the angle in degrees, counter-clockwise on the screen.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.label_formats.annotations import (
    ROLES,
    UNREAD_SCORES,
    AnnotatedSet,
    Ledger,
    Picture,
    Row,
    as_labels,
    clean_name,
    files_in,
    is_unusable,
    name_fault,
    names_file,
    picture_name,
    role_of,
    shown,
    sound_rows,
    tell_apart,
    without_picture,
)
from datasets.label_formats.coco_shapes import annotation_quad
from datasets.label_formats.json_documents import Document, difficult_flag, fields_of, picture_hw, read_document
from datasets.picture_files.image_folders import folders_of
from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.boxes import polygon_area
from DOTA_devkit.labels import IGNORE_FLAG, IGNORED_CLASS, LabelError, OnBad, report_faults

SUFFIXES = (".json",)
ROBOFLOW = "_annotations.coco.json"
LONGEST_ID = 18  # digits of a number that is written as text
RADIANS = "rotated boxes have angles that all lie within 3.15: radians? they were read as degrees"
OWN_KEY = "difficult flags stand in a key of their own, which COCO does not know"
ONLY_ABOVE = "categories without an object that only stand above others, as supercategory, are no classes"
ONE_NAME = "categories have the name of another, and became one class with it"
NO_SIZE = "pictures of unknown size stand without width and height; name their folder with --images"


def read_coco(path: Path, on_bad: OnBad = None, changed: Counter[str] | None = None) -> AnnotatedSet:
    """All pictures of a COCO file, those without objects too; class names in the order of the category ids, without
    the root category that Roboflow puts above its classes. A picture named in a folder `train`, `val` or `test` is of
    that split.

    An object is its one polygon of four corners, else its `bbox` of five numbers, else the minimum-area rectangle
    around its polygons (counted in `changed`), else its `bbox` of four, turned by `rotation`. `iscrowd` makes an ignore
    region, unless a key `difficult` tells. Masks in run lengths are refused, but for one beside a `bbox` of five, and
    that of a crowd beside any. Raises LabelError for what cannot be used, or reports it to `on_bad` and leaves it out;
    ValueError for two pictures of one name in one folder.
    """
    changed = Counter() if changed is None else changed
    annotated = _read_file(path, on_bad, changed)
    return annotated._replace(pictures=_told_apart(_parted(annotated.pictures), path, changed))


def _read_file(path: Path, on_bad: OnBad, changed: Counter[str]) -> AnnotatedSet:
    """The same, with pictures of one name in several folders."""
    faults: list[LabelError] = []
    document = read_document(path)
    categories = _by_id(document, "categories", faults, _category)
    names = {key: category.name for key, category in categories.items()}
    pictures = _by_id(document, "images", faults, _picture)
    objects: dict[int, list[Row]] = {key: [] for key in pictures}
    faults_of: dict[int, list[LabelError]] = {}  # by picture
    angles: list[float] = []
    for line, item in document.entries("annotations"):
        try:
            fields = fields_of(item, "the annotation")
            name = _known(fields, "category_id", names)
            quad, flag = annotation_quad(fields, changed, angles), _flag(fields)
            _known(fields, "image_id", objects).append(Row(quad, name, flag, line))
            if fields.get("score") is not None:
                changed[UNREAD_SCORES] += 1
        except ValueError as error:
            faults.append(LabelError(path, line, str(error)))
            if isinstance(item, dict) and (key := _whole(item.get("image_id"))) is not None:
                faults_of.setdefault(key, []).append(faults[-1])
    if any(angles) and max(map(abs, angles)) <= 3.15:
        changed[RADIANS] += len(angles)
    annotated = []
    for key, picture in pictures.items():
        unsound: list[LabelError] = []
        labels = as_labels(sound_rows(path, objects[key], unsound))
        faults += unsound
        own = [*faults_of.get(key, ()), *unsound]
        if is_unusable(labels, own):
            faults.append(without_picture(path, int(own[-1].line), picture.name))
        else:
            annotated.append(picture._replace(labels=labels))
    report_faults(faults, on_bad)
    told = (item.get("category_id") for _, item in document.entries("annotations") if isinstance(item, dict))
    used = {key for key in map(_whole, told) if key is not None}
    return AnnotatedSet(annotated, _classes(categories, used, changed))


def read_coco_folder(folder: Path, on_bad: OnBad = None, changed: Counter[str] | None = None) -> AnnotatedSet:
    """All COCO files of a folder, or of its `annotations/`; `train`, `val` or `test` in a file's name is its split.
    Else Roboflow's: a folder for each split, called so, with its pictures and `_annotations.coco.json`."""
    own = files_in(folder / "annotations", ".json") or files_in(folder, ".json")
    paths = own or sorted(folder.glob(f"*/{ROBOFLOW}"))
    if not paths:
        why = f"holds no *.json, nor does its annotations/, nor a folder in it {ROBOFLOW}"
        raise ValueError(f"{folder}: {why}; name the COCO file itself")
    changed = Counter() if changed is None else changed
    pictures: list[Picture] = []
    of_file: list[str] = []  # the split that a file's name tells, of each picture in it
    class_names: dict[str, None] = {}
    for path in paths:
        part = _read_file(path, on_bad, changed)
        class_names |= dict.fromkeys(part.class_names)
        if own:
            pictures += part.pictures
            of_file += [_split_of(path)] * len(part.pictures)
            continue
        place = path.parent.name
        for picture in part.pictures:
            named = {"split": ROLES.get(place.lower(), ""), "file_name": f"{place}/{picture.file_name}"}
            pictures.append(picture._replace(**named))
    if own:
        pairs = zip(_parted(pictures), of_file, strict=True)
        pictures = [picture._replace(split=split or picture.split) for picture, split in pairs]
    return AnnotatedSet(_told_apart(pictures, folder, changed), tuple(class_names))


def _parted(pictures: Sequence[Picture]) -> list[Picture]:
    """The pictures in the splits that their folders tell; in none where that is one and the same for all, as of a path
    like /home/me/test/flight/1.jpg, which parts nothing."""
    is_parted = len({picture.split for picture in pictures}) > 1
    return [picture if is_parted else picture._replace(split="") for picture in pictures]


def _told_apart(pictures: Sequence[Picture], path: Path, changed: Counter[str]) -> list[Picture]:
    return tell_apart(pictures, [folders_of(picture.file_name) for picture in pictures], path, changed)


def write_coco(dst: Path, annotated: AnnotatedSet, ledger: Ledger) -> None:
    """Write one file, if `dst` is called *.json, else `annotations/instances_<split>.json` for each split in a folder.

    An entry a line. Quads become `segmentation`, exactly, `bbox` their outer box of four numbers. Ignore regions get
    `iscrowd` 1; the difficult flag stands in a key `difficult`, which other programs pass over, and the score of a
    prediction in `score`, as in COCO's files of results, for which `annotations` can be taken.
    """
    is_one, splits = names_file(dst, SUFFIXES), {}
    for picture in annotated.pictures:
        splits.setdefault("" if is_one else picture.split, []).append(picture)
    flagged = sum(int((picture.labels.difficult > 0).sum()) for picture in annotated.pictures)
    if flagged:
        ledger.changed[OWN_KEY] += flagged
    for split, pictures in (splits or {"": []}).items():
        name = f"instances_{split}.json" if split else "instances.json"
        path = dst if is_one else dst / "annotations" / name
        _write_file(path, pictures, annotated.class_names, ledger)


def _write_file(path: Path, pictures: Sequence[Picture], class_names: Sequence[str], ledger: Ledger) -> None:
    used = {name for picture in pictures for name in picture.labels.names}
    ids = {name: number for number, name in enumerate([*class_names, *sorted(used - {*class_names})], start=1)}
    images, annotations = [], []
    for image_id, picture in enumerate(pictures, start=1):
        image = {"id": image_id, "file_name": _file_name(picture)}
        if picture.hw is None:
            ledger.changed[NO_SIZE] += 1
        else:
            image |= {"height": picture.hw[0], "width": picture.hw[1]}
        images.append(image)
        labels = picture.labels
        for row, (quad, name, flag) in enumerate(zip(labels.quads, labels.names, labels.difficult, strict=True)):
            entry = {"id": len(annotations) + 1, "image_id": image_id, "category_id": ids[name]}
            entry |= _as_annotation(quad, int(flag), name)
            annotations.append(entry if picture.scores is None else entry | {"score": float(picture.scores[row])})
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    parts = {"images": images, "annotations": annotations, "categories": categories}
    with atomic_write(path, sync=False) as file:
        file.write('{\n"info": {},\n"licenses": []')  # pycocotools 2.0.9 and 2.0.10 load no results without info
        for key, entries in parts.items():
            lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
            file.write(f',\n"{key}": [\n{lines}\n]')
        file.write("\n}\n")


def _file_name(picture: Picture) -> str:
    """How the labels name the picture, with its folder, if the picture lies there; else its name here, which tells it
    from others."""
    told = (picture.file_name or "").replace("\\", "/")
    if picture.path is None:
        return told or picture.name
    return told if told and picture.path.as_posix().endswith(f"/{told}") else picture.own_file_name


def _as_annotation(quad: np.ndarray, flag: int, name: str) -> dict[str, Any]:
    left, top = quad.min(axis=0).tolist()
    width, height = np.ptp(quad, axis=0).tolist()
    return {
        "segmentation": [quad.ravel().tolist()],
        "bbox": [left, top, width, height],
        "area": float(polygon_area(quad[None])[0]),
        "iscrowd": int(flag == IGNORE_FLAG or name == IGNORED_CLASS),
        "difficult": flag,
    }


def _by_id(document: Document, key: str, faults: list[LabelError], read: Callable[[dict], Any]) -> dict[int, Any]:
    """The entries of a list by their `id`."""
    found: dict[int, Any] = {}
    for line, item in document.entries(key):
        try:
            fields = fields_of(item, f"the entry of {key}")
            key_id = _whole(fields.get("id"))
            if key_id is None:
                raise ValueError(f'"id" is {shown(fields.get("id"))}, not a whole number; correct it')
            if key_id in found:
                raise ValueError(f'the "id" {key_id} stands twice in "{key}"; which is meant cannot be known')
            found[key_id] = read(fields)
        except ValueError as error:
            faults.append(LabelError(document.path, line, str(error)))
    return found


class _Category(NamedTuple):
    """Its name, and that of the one above it, "" for none."""

    name: str
    above: str


def _category(fields: dict[str, Any]) -> _Category:
    name = clean_name(fields.get("name"))
    fault = name_fault(name)
    if fault:
        raise ValueError(fault)
    above = fields.get("supercategory")
    return _Category(name, clean_name(above) if isinstance(above, str) else "")


def _classes(categories: Mapping[int, _Category], used: Set[int], changed: Counter[str]) -> tuple[str, ...]:
    """The names that are classes, each once, in the order of the ids; used: ids that annotations name."""
    children = [(key, category.above) for key, category in categories.items()]
    names: list[str] = []
    for key in sorted(categories):
        name = categories[key].name
        if key not in used and any(above == name and child != key for child, above in children):
            changed[ONLY_ABOVE] += 1
        elif name in names:
            changed[ONE_NAME] += 1
        else:
            names.append(name)
    return tuple(names)


def _picture(fields: dict[str, Any]) -> Picture:
    file_name = fields.get("file_name")
    name, hw = picture_name(file_name), picture_hw(fields, "height", "width")
    return Picture(name, file_name=file_name, hw=hw, split=role_of(folders_of(file_name)))


def _known(fields: dict[str, Any], key: str, known: Mapping[int, Any]) -> Any:
    """What the number under `key` stands for."""
    value = _whole(fields.get(key))
    if value not in known:
        raise ValueError(f'"{key}" is {shown(fields.get(key))}, which no sound entry has as its id; correct it')
    return known[value]


def _whole(value: Any) -> int | None:
    """A number that tells entries apart, also as tables write it that have gaps (7.0), and as text; None for what is no
    whole number."""
    if type(value) is float and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= LONGEST_ID:
        return int(value)
    return value if type(value) is int else None


def _flag(fields: dict[str, Any]) -> int:
    if "difficult" in fields:
        return difficult_flag(fields["difficult"])
    crowd = fields.get("iscrowd", 0)
    if type(crowd) not in (bool, int) or crowd not in (0, 1):
        raise ValueError(f'"iscrowd" is {shown(crowd)}; it must be 0 or 1')
    ignored = fields.get("ignore", 0)  # beside COCO's own key, of AI-TOD and VisDrone for instance
    if type(ignored) not in (bool, int) or ignored not in (0, 1):
        raise ValueError(f'"ignore" is {shown(ignored)}; it must be 0 or 1')
    return 2 * int(crowd or ignored)


def _split_of(path: Path) -> str:
    """The split that a file's name tells: `instances_train2017.json` is `train`."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    return next((ROLES[word] for word in words if word in ROLES), "")
