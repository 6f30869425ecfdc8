"""Damaged label files of every format give a report or a clean error, never a traceback, a hang or a wrong box."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from datasets.label_formats.annotations import AnnotatedSet, Picture, name_fault
from datasets.label_formats.coco import read_coco
from datasets.label_formats.csv_table import read_csv_table
from datasets.label_formats.cvat import read_cvat
from datasets.label_formats.data_yaml import read_data_yaml
from datasets.label_formats.detections import read_detections, read_task1
from datasets.label_formats.labelme import read_labelme
from datasets.label_formats.xml_labels import read_hrsc, read_rolabelimg
from datasets.label_formats.yolo_obb import read_yolo_obb
from DOTA_devkit.labels import FARTHEST, LabelError, Labels, OnBad, geometry_faults, read_labels
from tests.label_documents import (
    CSV,
    CVAT_BOX,
    CVAT_POLYGON,
    DATA_YAML,
    QUAD,
    ROLABELIMG,
    YOLO_LINE,
    annotation,
    coco_text,
    cvat_text,
    labelme,
    labelme_text,
    yolo_folder,
)

SECONDS = 2.0  # of the processor, in which any file has to be read or refused
HRSC = (
    "<HRSC_Image>\n<HRSC_Objects>\n<HRSC_Object><difficult>0</difficult><mbox_cx>90</mbox_cx><mbox_cy>80</mbox_cy>"
    "<mbox_w>60</mbox_w><mbox_h>20</mbox_h><mbox_ang>0.3</mbox_ang></HRSC_Object>\n</HRSC_Objects></HRSC_Image>"
)
RECORD = {
    "image": "图 1.png",
    "height": 160,
    "width": 200,
    "boxes": [{"class": "car", "score": 0.5, "quad": [value for corner in QUAD for value in corner]}],
}
OUTLINE = labelme(points=[[10, 10], [30, 5], [50, 10], [45, 30], [12, 25]])


class Format(NamedTuple):
    """A sound document and where it goes; `read(path, on_bad)` gives all labels that are in it."""

    text: str
    file_name: str
    read: Callable[[Path, OnBad], list[Labels]]


def labels_of(annotated: AnnotatedSet | Picture) -> list[Labels]:
    pictures = [annotated] if isinstance(annotated, Picture) else annotated.pictures
    assert all(picture.name and "/" not in picture.name and picture.name not in (".", "..") for picture in pictures)
    return [picture.labels for picture in pictures]


def names_only(path: Path) -> list[Labels]:
    yaml = read_data_yaml(path)
    assert all(name and not name_fault(name) for name in yaml.class_names)
    assert len({*yaml.class_names}) == len(yaml.class_names)
    return []


FORMATS = {
    "dota": Format(
        "imagesource:x\ngsd:0.1\n75 50 155 110 125 150 45 90 船 船 1\n10 20 40 20 40 60 10 60 car 0\n",
        "a.txt",
        lambda path, on_bad: [read_labels(path, on_bad)],
    ),
    "yolo_obb": Format(
        YOLO_LINE + "0 0.05 0.125 0.2 0.125 0.2 0.375 0.05 0.375\n",
        "data/labels/train/a.txt",
        lambda path, on_bad: [read_yolo_obb(path, on_bad)],
    ),
    "data_yaml": Format(DATA_YAML, "a.yaml", lambda path, on_bad: names_only(path)),
    "rolabelimg": Format(ROLABELIMG, "a.xml", lambda path, on_bad: [read_rolabelimg(path, on_bad)]),
    "hrsc": Format(HRSC, "a.xml", lambda path, on_bad: [read_hrsc(path, on_bad)]),
    "csv": Format(
        f"{CSV}b,30,30,8,16,-12.5,car\n", "a.csv", lambda path, on_bad: labels_of(read_csv_table(path, on_bad))
    ),
    "cvat": Format(cvat_text(CVAT_BOX, CVAT_POLYGON), "a.xml", lambda path, on_bad: labels_of(read_cvat(path, on_bad))),
    "coco": Format(
        coco_text(annotation(), annotation(segmentation=[], bbox=[100, 100, 100, 50, -36.5])),
        "a.json",
        lambda path, on_bad: labels_of(read_coco(path, on_bad)),
    ),
    "labelme": Format(
        labelme_text(labelme(), OUTLINE), "a.json", lambda path, on_bad: labels_of(read_labelme(path, on_bad))
    ),
    "detections": Format(
        f"[\n{json.dumps(RECORD)}\n]\n", "a.json", lambda path, on_bad: labels_of(read_detections(path, on_bad))
    ),
    "task1": Format(
        "图 1 0.5 75 50 155 110 125 150 45 90\nb 0.25 10 20 40 20 40 60 10 60\n",
        "Task1_car.txt",
        lambda path, on_bad: labels_of(read_task1(path, on_bad)),
    ),
}
NUMBERS = [
    b"NaN",
    b"inf",
    b"-Infinity",
    b"1e400",
    b"9" * 5000,
    b"-1",
    b"0",
    b"1e-320",
    b"1e12",
    b"true",
    b"null",
    b'"7"',
]
PIECES = [
    b"[" * 20_000,
    b'{"a":' * 20_000,
    b"<a>" * 20_000,
    b"\0",
    b"\xff\xfe",
    "\ufeff".encode(),
    b"\\ud800",
    b"&x;",
    b"<!DOCTYPE a [<!ENTITY x 'y'>]>",
    b"\r",
    b"\x0c",
    b'"label": 1, "label": 2,',
    b" ",
    b"\n",
    b"]",
    b"}",
    b",",
    b'"',
    b"<",
    b"/>",
    b"..",
]


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """A document with one to three wounds."""
    for _ in range(int(rng.integers(1, 4))):
        start = int(rng.integers(len(data) + 1))
        end = min(len(data), start + int(rng.integers(1, 40)))
        match int(rng.integers(8)):
            case 0:
                data = data[:start]
            case 1:
                data = data[:start] + data[end:]
            case 2:
                data = data[:end] + data[start:]
            case 3:
                data = data[:start] + PIECES[rng.integers(len(PIECES))] + data[start:]
            case 4:
                data = data[:start] + rng.bytes(end - start) + data[end:]
            case 5:
                lines = data.split(b"\n")
                data = b"\n".join(lines[i] for i in rng.permutation(len(lines)))
            case _:
                data = replace_number(data, rng)
    return data


def replace_number(data: bytes, rng: np.random.Generator) -> bytes:
    digits = [place for place, value in enumerate(data) if 48 <= value <= 57]
    if not digits:
        return data
    start = end = digits[rng.integers(len(digits))]
    while end < len(data) and data[end : end + 1] in b"0123456789.":
        end += 1
    return data[:start] + NUMBERS[rng.integers(len(NUMBERS))] + data[end:]


def check_sound(labels: Labels) -> None:
    """What a reader lets through is what any writer takes."""
    quads, names, difficult, lines = labels
    assert quads.shape == (len(names), 4, 2)
    assert len(difficult) == len(lines) == len(names)
    assert quads.dtype == np.float64
    assert (np.abs(quads) <= 2 * FARTHEST).all(), "nor NaN"
    assert not geometry_faults(np.clip(quads, -FARTHEST, FARTHEST))
    assert {*difficult.tolist()} <= {0, 1, 2}
    assert all(names)
    assert (lines > 0).all()


def throw(folder: Path, number: int, seed: int) -> Iterator[str]:
    """Throw damaged files at all readers; what came of each."""
    yolo_folder(folder / "data", {"train/a": ""})
    rng = np.random.default_rng(seed)
    for index in range(number):
        case = FORMATS[[*FORMATS][index % len(FORMATS)]]
        path = folder / case.file_name
        data = damage(case.text.encode(), rng)
        path.write_bytes(data)
        started = time.process_time()
        yield attempt(case, path, data)
        assert time.process_time() - started < SECONDS, data[:2000]


def attempt(case: Format, path: Path, data: bytes) -> str:
    """Read a file without and with a function for faults; nothing but a ValueError, which is for people, may end it."""
    reported: list[LabelError] = []
    strict = complaint(lambda: case.read(path, None))
    lenient = complaint(lambda: case.read(path, reported.append))
    assert (strict is None) == (lenient is None and not reported), (strict, lenient, reported, data)
    if strict is not None:
        assert path.name in strict or "two pictures" in strict, (strict, data)
    assert all(error.line >= 1 and error.reason for error in reported), data
    if lenient is not None:
        return "refused"
    return "reported" if reported else "read"


def complaint(read: Callable[[], list[Labels]]) -> str | None:
    """The sentence with which a file is refused; None if it is read, and then what came of it is sound."""
    try:
        found = read()
    except ValueError as error:
        return str(error)
    for labels in found:
        check_sound(labels)
    return None


def test_sound_documents_are_read_whole(tmp_path: Path) -> None:
    yolo_folder(tmp_path / "data", {"train/a": ""})
    for case in FORMATS.values():
        path = tmp_path / case.file_name
        path.write_text(case.text, encoding="utf-8")
        for labels in case.read(path, None):
            check_sound(labels)


def test_a_hundred_damaged_files_do_no_harm(tmp_path: Path) -> None:
    outcomes = Counter(throw(tmp_path, 100, seed=0))
    assert outcomes.total() == 100
    assert outcomes["refused"] > 20


@pytest.mark.long
def test_ten_thousand_damaged_files_do_no_harm(tmp_path: Path) -> None:
    outcomes = Counter(throw(tmp_path, 10_000, seed=1))
    assert outcomes.total() == 10_000
    assert min(outcomes.values()) > 500
