"""One box, written by hand in every label format (tests/golden), is found at the same corners in all of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets.label_formats import SOURCES, TARGETS
from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture
from datasets.label_formats.coco import read_coco
from datasets.label_formats.csv_table import read_csv_table
from datasets.label_formats.cvat import read_cvat
from datasets.label_formats.detections import read_detections, read_task1
from datasets.label_formats.label_folders import write_lists
from datasets.label_formats.labelme import read_labelme
from datasets.label_formats.soda import read_soda
from datasets.label_formats.xml_labels import read_hrsc, read_rolabelimg
from datasets.label_formats.yolo_obb import read_yolo_folder
from DOTA_devkit.labels import Labels, read_labels
from tests.label_documents import PNG
from tools.rolabelimg_to_txt import main as rolabelimg_to_txt

GOLDEN = Path(__file__).resolve().parent / "golden"
QUAD = [[75, 50], [155, 110], [125, 150], [45, 90]]  # worked out in tests/golden/README.md
OUTER = [[45, 50], [155, 50], [155, 150], [45, 150]]
TOLERANCE = 1e-3  # pixels; angles are written with six decimals


def _first_picture(read: Callable) -> Callable[[Path], Labels]:
    def read_labels_of(path: Path) -> Labels:
        found = read(path)
        picture = found if isinstance(found, Picture) else found.pictures[0]
        assert picture.name in ("box", path.stem)
        return picture.labels

    return read_labels_of


FILES: dict[str, tuple[Callable[[Path], Labels], int]] = {  # reader and difficult flag
    "dota.txt": (read_labels, 1),
    "rolabelimg.xml": (read_rolabelimg, 1),
    "dior.xml": (read_rolabelimg, 1),
    "fair1m.xml": (read_rolabelimg, 0),
    "dronevehicle.xml": (read_rolabelimg, 1),
    "soda.json": (_first_picture(read_soda), 0),
    "voc.xml": (read_rolabelimg, 1),
    "hrsc.xml": (read_hrsc, 1),
    "csv.csv": (_first_picture(read_csv_table), 1),
    "cvat.xml": (_first_picture(read_cvat), 1),
    "labelme.json": (_first_picture(read_labelme), 1),
    "xanylabeling.json": (_first_picture(read_labelme), 1),
    "coco.json": (_first_picture(read_coco), 0),
    "coco_detectron2.json": (_first_picture(read_coco), 0),
    "detections.json": (_first_picture(read_detections), 0),
    "Task1_ship.txt": (_first_picture(read_task1), 0),
}


@pytest.mark.parametrize("name", FILES)
def test_the_box_is_found_where_it_was_worked_out(name: str) -> None:
    read, flag = FILES[name]
    labels = read(GOLDEN / name)
    assert {*labels.names} == {"ship"}
    assert {*labels.difficult.tolist()} == {flag}
    assert np.abs(labels.quads - (OUTER if name == "voc.xml" else QUAD)).max() < TOLERANCE


def test_the_box_is_found_in_a_folder_of_yolo(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    (tmp_path / "images" / "box.png").write_bytes(PNG)  # 200 x 160, of which the file has fractions
    shutil.copyfile(GOLDEN / "yolo_obb.txt", tmp_path / "labels" / "box.txt")
    shutil.copyfile(GOLDEN / "yolo_obb.yaml", tmp_path / "data.yaml")
    (picture,) = read_yolo_folder(tmp_path).pictures
    assert picture.labels.names == ["ship"]
    assert np.abs(picture.labels.quads - QUAD).max() < TOLERANCE


def test_every_format_has_a_file() -> None:
    stems = {path.stem.lower() for path in GOLDEN.iterdir()}
    assert {*SOURCES} - {"geojson"} <= stems | {"task1"}
    files = {path.name for path in GOLDEN.iterdir() if path.is_file()}
    assert files == {*FILES, "README.md", "yolo_obb.txt", "yolo_obb.yaml"}


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "geojson"])  # of that tests/test_geojson.py
def test_what_is_written_is_what_was_looked_at(tmp_path: Path, target: str) -> None:
    """To the last byte, in files, folders and lists: a change of the form is seen here before users see it."""
    labels = read_labels(GOLDEN / "dota.txt")
    scores = np.array([0.875]) if TARGETS[target].needs_scores else None
    annotated = AnnotatedSet([Picture("box", labels, "box.png", (160, 200), "train", scores=scores)], ("ship",))
    TARGETS[target].write(tmp_path, annotated, Ledger())
    if TARGETS[target].writes_lists:
        write_lists(tmp_path, annotated)
    assert tree(tmp_path) == tree(GOLDEN / "written" / target)


def test_the_txt_of_rolabelimg_is_what_was_looked_at(tmp_path: Path) -> None:
    (tmp_path / "xml").mkdir()
    shutil.copyfile(GOLDEN / "rolabelimg.xml", tmp_path / "xml" / "box.xml")
    assert rolabelimg_to_txt([str(tmp_path / "xml"), str(tmp_path / "out" / "labelTxt")]) == 0
    there, here = GOLDEN / "written" / "rolabelimg_to_txt", tmp_path / "out"
    assert tree(here).keys() == tree(there).keys()
    (text,), (expected,) = tree(here).values(), tree(there).values()
    assert text.endswith(" ship 1\n")
    assert text.count("\n") == 1
    places = [[float(word) for word in line.split()[:8]] for line in (text, expected)]
    assert np.abs(np.subtract(*places)).max() < 1e-9, "not to the last byte: processors differ in the last bit"


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().decode("utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
