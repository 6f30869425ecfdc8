"""SODA-A's JSON: outlines and categories, ignore regions, and what is wrong with some."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.label_formats.annotations import AS_RECTANGLE
from datasets.label_formats.soda import read_soda
from DOTA_devkit.labels import LabelError
from tests.label_documents import QUAD, write

FLAT = [side for corner in QUAD for side in corner]
CATEGORIES = [{"id": 0, "name": "airplane"}, {"id": 4, "name": "ship"}, {"id": 9, "name": "ignore"}]


def document(*annotations: Any, **changes: Any) -> str:
    """A file of SODA-A's; an entry a line, the first annotation on line 3."""
    lines = ",\n".join(json.dumps(entry) for entry in annotations)
    rest = {"images": {"file_name": "1.jpg", "height": 160, "width": 200}, "categories": CATEGORIES} | changes
    return '{\n"annotations": [\n' + lines + "],\n" + json.dumps(rest)[1:]


def of(poly: Any = FLAT, category_id: Any = 4) -> dict[str, Any]:
    return {"poly": poly, "area": 5000.0, "category_id": category_id, "image_id": 1, "id": 0}


def test_objects_ignore_regions_and_names_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "00001.json", document(of(), of(category_id=9), of(category_id=0)))
    names: dict[str, None] = {}
    picture = read_soda(path, class_names=names)
    assert (picture.name, picture.hw) == ("00001", (160, 200))
    assert picture.labels.names == ["ship", "DontCare", "airplane"]
    assert picture.labels.difficult.tolist() == [0, 2, 0]
    assert picture.labels.quads.tolist() == [QUAD] * 3
    assert [*names] == ["airplane", "ship"]


def test_an_outline_of_more_corners_becomes_its_smallest_rectangle_and_is_counted(tmp_path: Path) -> None:
    changed: Counter[str] = Counter()
    poly = [10, 10, 40, 10, 40, 30, 25, 30, 10, 30]
    (quad,) = read_soda(write(tmp_path / "a.json", document(of(poly))), changed=changed).labels.quads.tolist()
    assert np.array(quad) == pytest.approx(np.array([[10, 10], [40, 10], [40, 30], [10, 30]]))
    assert changed == {AS_RECTANGLE: 1}


def test_a_picture_without_objects_is_one(tmp_path: Path) -> None:
    picture = read_soda(write(tmp_path / "a.json", document(images=[])))
    assert (picture.labels.names, picture.hw) == ([], None)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (of(poly=None), '"poly" is null, not a list of numbers'),
        (of(poly=[1, 2, 3]), '"poly" holds 3 numbers, which are no pairs'),
        (of(poly=[1, 2, 3, 4]), "an outline of 2 points has no area"),
        (of(poly=[1, 2, 3, "x"]), "a number of \"poly\" is 'x', not a number"),
        (of(category_id=7), '"category_id" is 7, which "categories" does not have'),
        (of(category_id=[4]), '"category_id" is a list, which'),
        (of(category_id=True), '"category_id" is true, which'),
        ("x", "the annotation is 'x', not an object"),
    ],
)
def test_an_object_that_cannot_be_used_is_left_out_with_its_line(tmp_path: Path, bad: Any, sentence: str) -> None:
    path = write(tmp_path / "a.json", document(of(), bad))
    reported: list[LabelError] = []
    assert read_soda(path, reported.append).labels.names == ["ship"]
    assert [(error.line, sentence in error.reason) for error in reported] == [(4, True)]
    with pytest.raises(LabelError, match=r"a\.json:4: "):
        read_soda(path)


@pytest.mark.parametrize("entry", [{"id": [0], "name": "a"}, {"id": 3}, "x", {"id": 4, "name": "a"}])
def test_a_category_that_cannot_be_used_is_told(tmp_path: Path, entry: Any) -> None:
    path = write(tmp_path / "a.json", document(of(), categories=[*CATEGORIES, entry]))
    reported: list[LabelError] = []
    assert read_soda(path, reported.append).labels.names == ["ship"]
    assert len(reported) == 1


def test_json_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match='the list "categories" is missing; is it a file of another format'):
        read_soda(write(tmp_path / "a.json", '{"shapes": []}'))
