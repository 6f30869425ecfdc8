"""COCO's annotations become quads and come back, and what is no box is refused with its line."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.label_formats.annotations import (
    AS_RECTANGLE,
    BY_FOLDER,
    UNREAD_SCORES,
    AnnotatedSet,
    Ledger,
    Picture,
    Row,
    as_labels,
)
from datasets.label_formats.coco import ONE_NAME, ONLY_ABOVE, OWN_KEY, RADIANS, read_coco, read_coco_folder, write_coco
from datasets.label_formats.coco_shapes import CROWD, TOO_FEW
from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.labels import LabelError, Labels
from tests.label_documents import DEGREES, HEIGHT, QUAD, UPRIGHT, WIDTH, annotation, coco_text, write

FIRST_LINE = 10  # of the annotations in `coco_text`


def read(folder: Path, *annotations: object, **changes: object) -> Labels:
    """The objects of the picture with the id 7."""
    return read_coco(write(folder / "注.json", coco_text(*annotations, **changes))).pictures[0].labels


def test_pictures_and_classes_are_read_with_or_without_objects(tmp_path: Path) -> None:
    annotated = read_coco(write(tmp_path / "注.json", coco_text(annotation())))
    assert annotated.class_names == ("car", "船 船"), "in the order of the ids"
    first, second = annotated.pictures
    assert (first.name, first.hw, second.name) == ("图 1", (HEIGHT, WIDTH), "b.c")
    assert first.labels.quads.tolist() == [QUAD]
    assert first.labels.names == ["船 船"]
    assert first.labels.lines.tolist() == [FIRST_LINE]
    assert second.labels.quads.shape == (0, 4, 2)


def test_a_bbox_of_five_numbers_is_read_as_detectron2_has_it(tmp_path: Path) -> None:
    """cx, cy, w, h and degrees counter-clockwise on the screen."""
    labels = read(tmp_path, annotation(segmentation=[], bbox=[100, 100, 100, 50, -DEGREES]))
    assert np.abs(labels.quads[0] - QUAD).max() < 1e-9


def test_a_box_of_cvat_is_turned_by_its_rotation(tmp_path: Path) -> None:
    """CVAT writes the box as it was before it was turned; the rotation was lost without a word."""
    box = {"segmentation": [], "bbox": [50, 75, 100, 50]}
    kinds = [{"occluded": False, "rotation": DEGREES}, {"occluded": False, "rotation": 0.0}, {"occluded": False}, None]
    labels = read(tmp_path, *(annotation(**box, attributes=attributes) for attributes in kinds))
    assert np.abs(labels.quads[0] - QUAD).max() < 1e-9
    assert labels.quads[1:].tolist() == [[[50, 75], [150, 75], [150, 125], [50, 125]]] * 3
    assert read(tmp_path, annotation(attributes={"rotation": 30})).quads.tolist() == [QUAD], "an outline is turned"


def test_angles_that_look_like_radians_are_told(tmp_path: Path) -> None:
    changed: Counter[str] = Counter()
    boxes = [annotation(segmentation=None, bbox=[100, 100, 100, 50, angle]) for angle in (0.6, -1.5)]
    read_coco(write(tmp_path / "a.json", coco_text(*boxes)), changed=changed)
    assert changed == {RADIANS: 2}


@pytest.mark.slow
def test_the_polygon_of_four_counts_more_than_the_bbox_and_other_polygons_less_than_a_rotated_one(
    tmp_path: Path,
) -> None:
    flat = [value for corner in QUAD for value in corner]
    rotated = [100, 100, 100, 50, -DEGREES]
    labels = read(
        tmp_path,
        annotation(bbox=[0, 0, 9, 9, 45]),
        annotation(segmentation=[[1, 1, 2, 9, 3, 1]], bbox=rotated),
        annotation(segmentation=[], bbox=[10, 20, 30, 40]),
        annotation(segmentation=[flat[:6], flat[4:] + flat[:2]], bbox=[45, 50, 110, 100]),
    )
    assert np.abs(labels.quads[:2] - QUAD).max() < 1e-9
    assert labels.quads[2].tolist() == UPRIGHT
    assert np.abs(np.sort(labels.quads[3], axis=0) - np.sort(QUAD, axis=0)).max() < 1e-9


def test_outlines_become_their_smallest_rectangles_and_are_counted(tmp_path: Path) -> None:
    changed: Counter[str] = Counter()
    text = coco_text(annotation(segmentation=[[0, 0, 10, 0, 10, 5, 5, 5, 0, 5]]))
    quad = read_coco(write(tmp_path / "a.json", text), changed=changed).pictures[0].labels.quads[0]
    assert quad.tolist() == [[0, 0], [10, 0], [10, 5], [0, 5]]
    assert changed == {AS_RECTANGLE: 1}


def test_a_closed_outline_of_four_corners_is_taken_as_it_is(tmp_path: Path) -> None:
    """GIS programs repeat the first point at the end; a free quad became a rectangle for it."""
    free = [[0, 0], [10, 0], [10, 5], [1, 5]]
    changed: Counter[str] = Counter()
    text = coco_text(annotation(segmentation=[[value for corner in [*free, free[0]] for value in corner]]))
    quads = read_coco(write(tmp_path / "a.json", text), changed=changed).pictures[0].labels.quads
    assert (quads.tolist(), changed) == ([free], {})


def test_an_empty_outline_counts_as_none_and_a_mask_gives_way_to_a_rotated_box(tmp_path: Path) -> None:
    mask = {"counts": [1, 2], "size": [2, 2]}
    labels = read(
        tmp_path,
        annotation(segmentation=[[]], bbox=[10, 20, 30, 40]),
        annotation(segmentation=mask, bbox=[100, 100, 100, 50, -DEGREES]),
    )
    assert labels.quads[0].tolist() == UPRIGHT
    assert np.abs(labels.quads[1] - QUAD).max() < 1e-9


def test_the_box_of_a_crowd_or_of_an_outline_without_area_is_taken_and_counted(tmp_path: Path) -> None:
    """Ignore regions of COCO's own files were lost, and what they hold became background."""
    mask = {"counts": [1, 2], "size": [2, 2]}
    box = [10, 20, 30, 40]
    changed: Counter[str] = Counter()
    crowd = annotation(segmentation=mask, bbox=box, iscrowd=1)
    thin = [annotation(segmentation=outlines, bbox=box) for outlines in ([[10, 20, 40, 60]], [[1, 1, 5, 5, 1, 1]])]
    labels = read_coco(write(tmp_path / "a.json", coco_text(crowd, *thin)), changed=changed).pictures[0].labels
    assert labels.quads.tolist() == [UPRIGHT] * 3
    assert labels.difficult.tolist() == [2, 0, 0]
    assert changed == {CROWD: 1, TOO_FEW: 2}


def test_files_are_found_whose_suffix_is_written_in_capitals(tmp_path: Path) -> None:
    write(tmp_path / "annotations" / "instances_train.JSON", coco_text(annotation()))
    assert [picture.split for picture in read_coco_folder(tmp_path).pictures] == ["train", "train"]


def test_a_folder_of_roboflow_is_read_with_its_splits(tmp_path: Path) -> None:
    """export/{train,valid,test}, each with its pictures beside its file."""
    for number, split in enumerate(("train", "valid", "test", "more")):
        image = {"id": 7, "file_name": f"{number}.jpg"}
        write(tmp_path / split / "_annotations.coco.json", coco_text(annotation(), images=[image]))
    annotated = read_coco_folder(tmp_path)
    told = {(picture.name, picture.split, picture.file_name) for picture in annotated.pictures}
    assert told == {("0", "train", "train/0.jpg"), ("1", "val", "valid/1.jpg"), ("2", "test", "test/2.jpg")} | {
        ("3", "", "more/3.jpg")
    }
    assert annotated.class_names == ("car", "船 船")
    assert read_coco_folder(tmp_path / "train").pictures[0].file_name == "0.jpg"


def test_a_crowd_is_an_ignore_region_unless_a_flag_tells(tmp_path: Path) -> None:
    flags = [{"iscrowd": 1}, {"iscrowd": 0}, {"iscrowd": 1, "difficult": 0}, {"difficult": 1}, {"difficult": True}]
    assert read(tmp_path, *(annotation(**flag) for flag in flags)).difficult.tolist() == [2, 0, 0, 1, 1]


def test_an_annotation_to_be_ignored_is_an_ignore_region(tmp_path: Path) -> None:
    """As AI-TOD and VisDrone have them, and mmdet leaves them out; they were trained on as objects."""
    flags = [{"ignore": 1}, {"ignore": 0, "iscrowd": 1}, {"ignore": False}, {"ignore": True, "iscrowd": 0}]
    assert read(tmp_path, *(annotation(**flag) for flag in flags)).difficult.tolist() == [2, 2, 0, 2]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"segmentation": {"counts": [1, 2], "size": [2, 2]}}, r"run lengths \(RLE\)"),
        ({"segmentation": {"counts": [1, 2], "size": [2, 2]}, "iscrowd": 1, "bbox": [1, 2, 0, 4]}, r"run lengths"),
        ({"segmentation": [[1, 2, 3, 4]], "bbox": [1, 2, 0, 4]}, "an outline of 2 points has no area"),
        ({"segmentation": "x"}, "\"segmentation\" is 'x'"),
        ({"segmentation": [[1, 2, 3]]}, "3 numbers, which are no pairs"),
        ({"segmentation": [[1, 2, "3", 4]]}, "is '3', not a number"),
        ({"segmentation": [[1, 1, 5, 1, 5, 5, 1, float("nan")]]}, "nan, which is no place"),
        ({"segmentation": [[1, 1, 5, 5, 5, 1, 1, 5]]}, "crosses itself"),
        ({"segmentation": [], "bbox": [1, 2, 3]}, 'a "bbox" of 3 numbers'),
        ({"segmentation": [], "bbox": None}, 'a "bbox" of 0 numbers'),
        ({"segmentation": [], "bbox": [1, 2, 0, 4]}, "a box of size 0 x 4"),
        ({"segmentation": [], "bbox": [1, 2, 3, -4, 5]}, "a box of size 3 x -4"),
        ({"segmentation": [], "bbox": [1, 2, 3, 4], "attributes": {"rotation": "x"}}, "\"rotation\" is 'x'"),
        ({"image_id": 8}, '"image_id" is 8, which no sound entry has'),
        ({"image_id": "seven"}, "\"image_id\" is 'seven'"),
        ({"image_id": 7.5}, '"image_id" is 7.5'),
        ({"category_id": [3]}, '"category_id" is a list'),
        ({"iscrowd": 2}, '"iscrowd" is 2'),
        ({"ignore": "yes"}, '"ignore" is '),
        ({"difficult": "1"}, "\"difficult\" is '1'"),
    ],
)
def test_a_bad_annotation_is_named_with_its_line_or_left_out(tmp_path: Path, changes: dict, sentence: str) -> None:
    path = write(tmp_path / "注.json", coco_text(annotation(), annotation(**changes)))
    with pytest.raises(LabelError, match=rf"注\.json:{FIRST_LINE + 1}: .*{sentence}"):
        read_coco(path)
    reported: list[LabelError] = []
    assert len(read_coco(path, reported.append).pictures[0].labels.names) == 1
    assert [error.line for error in reported] == [FIRST_LINE + 1]


@pytest.mark.parametrize("number", [7.0, "7"])
def test_numbers_as_tables_and_texts_hold_them_are_known(tmp_path: Path, number: object) -> None:
    """A picture whose only objects had such a number became one without objects."""
    (picture, _) = read_coco(write(tmp_path / "a.json", coco_text(annotation(image_id=number)))).pictures
    assert len(picture.labels.names) == 1


def test_the_folder_of_a_picture_tells_its_split(tmp_path: Path) -> None:
    """Training pictures became those that validate, too, for want of a split."""
    images = [
        {"id": 7, "file_name": "train/cam1/a.jpg"},
        {"id": 8, "file_name": "data\\valid\\b.jpg"},
        {"id": 9, "file_name": "c.jpg"},
    ]
    pictures = read_coco(write(tmp_path / "a.json", coco_text(images=images))).pictures
    assert [(picture.name, picture.split) for picture in pictures] == [("a", "train"), ("b", "val"), ("c", "")]
    images = [{"id": 7, "file_name": "/home/me/test/a.jpg"}, {"id": 8, "file_name": "/home/me/test/b.jpg"}]
    pictures = read_coco(write(tmp_path / "b.json", coco_text(images=images))).pictures
    assert {picture.split for picture in pictures} == {""}, "one folder of all parts nothing"


def test_a_picture_of_which_ignore_regions_alone_can_be_used_is_left_out(tmp_path: Path) -> None:
    reported: list[LabelError] = []
    bad, crowd = annotation(segmentation="x"), annotation(iscrowd=1)
    pictures = read_coco(write(tmp_path / "a.json", coco_text(bad, crowd)), reported.append).pictures
    assert [len(picture.labels.names) for picture in pictures] == [0]
    assert "no label of" in reported[-1].reason


def test_scores_that_are_not_read_are_counted(tmp_path: Path) -> None:
    changed: Counter[str] = Counter()
    read_coco(write(tmp_path / "a.json", coco_text(annotation(score=0.5), annotation())), changed=changed)
    assert changed == {UNREAD_SCORES: 1}


def test_bad_pictures_and_categories_take_their_objects_with_them(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "../.."}, {"id": 9, "file_name": "b.jpg"}, {"id": 9, "file_name": "c.jpg"}, 5]
    categories = [{"id": 3, "name": "船"}, {"id": 1, "name": ""}, {"id": True, "name": "x"}]
    objects = [annotation(), annotation(image_id=9, category_id=1), annotation(image_id=9)]
    path = write(tmp_path / "a.json", coco_text(*objects, images=images, categories=categories))
    reported: list[LabelError] = []
    (picture,) = read_coco(path, reported.append).pictures
    assert (picture.name, picture.labels.names) == ("b", ["船"])
    assert len(reported) == 7


def test_the_root_category_of_roboflow_is_no_class(tmp_path: Path) -> None:
    """Its id 0 repeats the name of a class, or stands above all of them, and has no object."""
    root = {"id": 0, "name": "ship", "supercategory": "none"}
    own = {"id": 5, "name": "person", "supercategory": "person"}  # as COCO itself has it
    below = [{"id": number, "name": name, "supercategory": "ship"} for number, name in ((3, "ship"), (1, "car"))]
    changed: Counter[str] = Counter()
    path = write(tmp_path / "a.json", coco_text(annotation(), categories=[root, *below, own]))
    assert read_coco(path, changed=changed).class_names == ("car", "ship", "person")
    assert changed == {ONLY_ABOVE: 1}
    path = write(tmp_path / "a.json", coco_text(annotation(category_id=0), categories=[root, below[1]]))
    assert read_coco(path).class_names == ("ship", "car"), "with an object it is a class like others"


def test_categories_of_one_name_are_one_class(tmp_path: Path) -> None:
    """classes.txt had the name twice, which training refuses."""
    changed: Counter[str] = Counter()
    categories = [{"id": 3, "name": "car"}, {"id": 1, "name": " car"}]
    path = write(tmp_path / "a.json", coco_text(annotation(), annotation(category_id=1), categories=categories))
    annotated = read_coco(path, changed=changed)
    assert (annotated.class_names, annotated.pictures[0].labels.names) == (("car",), ["car", "car"])
    assert changed == {ONE_NAME: 1}


def test_pictures_of_one_name_in_two_folders_get_their_folders_names(tmp_path: Path) -> None:
    """Such a file of two cameras was refused as a whole."""
    files = ["C:\\all\\cam1\\x.png", "C:\\all\\cam2\\day 3\\x.jpg", "C:/all/cam2/y.jpg", "C:/all/z.png"]
    images = [{"id": number, "file_name": name} for number, name in enumerate(files, 1)]
    changed: Counter[str] = Counter()
    pictures = read_coco(write(tmp_path / "a.json", coco_text(images=images)), changed=changed).pictures
    assert [picture.name for picture in pictures] == ["cam1_x", "cam2_day 3_x", "cam2_y", "z"]
    assert [picture.file_name for picture in pictures] == files  # where they are looked for
    assert changed == {BY_FOLDER: 3}


def test_two_pictures_of_one_place_are_refused_and_other_json_too(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a/x.png"}, {"id": 2, "file_name": "a\\x.jpg"}]
    with pytest.raises(ValueError, match=r"two pictures are called 'x': .*a/x\.png and .*a\\x\.jpg"):
        read_coco(write(tmp_path / "a.json", coco_text(images=images)))
    for text in ("[]", "{}", '{"shapes": []}'):
        with pytest.raises(LabelError, match="is missing; is it a file of another format"):
            read_coco(write(tmp_path / "a.json", text))


def test_what_is_written_is_read_the_same(tmp_path: Path) -> None:
    rows = [Row(np.array(QUAD) / 3, "船 船", 1, 1), Row(np.array(UPRIGHT), "DontCare", 0, 1)]
    rows += [Row(np.array(QUAD[::-1]), "car", 2, 1)]
    pictures = [
        Picture("图 1", as_labels(rows), "图 1.png", (HEIGHT, WIDTH), "train"),
        Picture("b", hw=(20, 30), split="val", file_name="b.tif"),
    ]
    ledger = Ledger()
    write_coco(tmp_path / "out", AnnotatedSet(pictures, ("car", "船 船", "unused")), ledger)
    assert ledger.changed == {OWN_KEY: 2}
    back = read_coco_folder(tmp_path / "out")
    assert back.class_names == ("car", "船 船", "unused", "DontCare")
    assert [(item.name, item.split, item.hw) for item in back.pictures] == [
        ("图 1", "train", (HEIGHT, WIDTH)),
        ("b", "val", (20, 30)),
    ]
    labels = back.pictures[0].labels
    assert np.array_equal(labels.quads, [row.quad for row in rows])
    assert labels.names == [row.name for row in rows]
    assert labels.difficult.tolist() == [1, 0, 2]
    document = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text(encoding="utf-8"))
    assert [item["iscrowd"] for item in document["annotations"]] == [0, 1, 1]
    assert document["annotations"][1]["bbox"] == [10, 20, 30, 40]
    assert document["annotations"][1]["area"] == 1200
    assert (document["info"], document["licenses"]) == ({}, []), "pycocotools 2.0.9 loads no results without info"


def test_the_folder_of_a_picture_is_kept_where_it_lies_in_it(tmp_path: Path) -> None:
    pictures = [
        Picture("a", file_name="子\\a.png", path=tmp_path / "images" / "子" / "a.png"),
        Picture("b", file_name="子/b.png", path=tmp_path / "images" / "b.PNG"),
        Picture("c", file_name="子/c.png"),
        Picture("d", path=tmp_path / "d.png"),
        Picture("e"),
    ]
    write_coco(tmp_path / "out.json", AnnotatedSet(pictures), Ledger())
    names = [image["file_name"] for image in json.loads((tmp_path / "out.json").read_text("utf-8"))["images"]]
    assert names == ["子/a.png", "b.PNG", "子/c.png", "d.png", "e"]


def test_predictions_keep_their_scores(tmp_path: Path) -> None:
    """COCO's files of results are lists of such entries."""
    rows = [Row(QUAD, "car", 0, 1, score) for score in (0.75, 0.5)]
    pictures = [Picture("a", as_labels(rows), scores=np.array([0.75, 0.5])), Picture("b", as_labels(rows[:1]))]
    write_coco(tmp_path / "out.json", AnnotatedSet(pictures, ("car",)), Ledger())
    entries = json.loads((tmp_path / "out.json").read_text("utf-8"))["annotations"]
    assert [(entry["image_id"], entry["category_id"], entry.get("score")) for entry in entries] == [
        (1, 1, 0.75),
        (1, 1, 0.5),
        (2, 1, None),
    ]
    assert len(read_coco(tmp_path / "out.json").pictures[0].labels.names) == 2


def test_nothing_is_written_and_read_too(tmp_path: Path) -> None:
    write_coco(tmp_path / "none.json", AnnotatedSet([]), Ledger())
    assert read_coco(tmp_path / "none.json") == AnnotatedSet([])


@pytest.mark.slow
@given(
    box=st.tuples(st.floats(-100, 5000), st.floats(-100, 5000), st.floats(0.5, 900), st.floats(0.5, 900)),
    angle=st.floats(-7, 7),
    flag=st.integers(0, 2),
    name=st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=8),
)
@settings(deadline=None, max_examples=60)
def test_any_box_comes_back_to_the_last_bit(box: tuple, angle: float, flag: int, name: str) -> None:
    if {*name} & {*"\ufeff\ufffe\uffff"}:
        return
    quad = boxes_to_quads(np.array([[*box, angle]]), "rolabelimg")[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        write_coco(path, AnnotatedSet([Picture("a", as_labels([Row(quad, name, flag, 1)]))], (name,)), Ledger())
        labels = read_coco(path).pictures[0].labels
    assert np.array_equal(labels.quads, [quad])
    assert (labels.names, labels.difficult.tolist()) == ([name], [flag])
