"""Folders of label files are found wherever their programs put them, with the lists of their splits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.format_detection import detect_format
from datasets.label_formats.annotations import AS_RECTANGLE, AnnotatedSet, Ledger
from datasets.label_formats.label_folders import (
    WIDE_ANGLES,
    read_dota_folder,
    read_hrsc_folder,
    read_labelme_folder,
    read_rolabelimg_folder,
    read_soda_folder,
    write_dota,
    write_lists,
)
from datasets.label_formats.places import AS_EMPTY, UNLABELLED, add_unlabelled, locate_pictures
from datasets.readers import read_classes, read_samples
from DOTA_devkit.labels import LabelError, read_labels
from tests import test_dota_folder as dota
from tests.label_documents import (
    CVAT_BOX,
    DATA_YAML,
    HEIGHT,
    PNG,
    QUAD,
    ROLABELIMG,
    UPRIGHT,
    WIDTH,
    YOLO_LINE,
    convert,
    cvat_text,
    labelme,
    labelme_text,
    write,
    yolo_folder,
)

LINE = "75 50 155 110 125 150 45 90 船 船 1\n"
HRSC = (
    "<HRSC_Image><HRSC_Objects><HRSC_Object><mbox_cx>25</mbox_cx><mbox_cy>40</mbox_cy><mbox_w>30</mbox_w>"
    "<mbox_h>40</mbox_h><mbox_ang>0</mbox_ang></HRSC_Object></HRSC_Objects></HRSC_Image>"
)
VOC = (
    "<annotation><object><name>船 船</name><difficult>1</difficult><bndbox><xmin>10</xmin><ymin>20</ymin>"
    "<xmax>40</xmax><ymax>60</ymax></bndbox></object></annotation>"
)


@pytest.mark.parametrize("place", ["labelTxt", "."])
def test_dota_labels_lie_in_their_folder_or_in_the_one_that_is_named(tmp_path: Path, place: str) -> None:
    write(tmp_path / place / "图 1.txt", LINE)
    write(tmp_path / place / "train.v2.txt", "")
    write(tmp_path / "classes.txt", "car\n船  船\n")
    write(tmp_path / "train.txt", "图 1.png\n")
    annotated = read_dota_folder(tmp_path)
    assert annotated.class_names == ("car", "船 船")
    assert [(item.name, item.split, item.labels.names) for item in annotated.pictures] == [
        ("train.v2", "", []),
        ("图 1", "train", ["船 船"]),
    ]


@pytest.mark.parametrize("place", ["xml", "Annotations", "."])
def test_xml_lies_in_its_folder_or_in_the_one_that_is_named(tmp_path: Path, place: str) -> None:
    write(tmp_path / place / "a.xml", ROLABELIMG)
    write(tmp_path / place / "b.xml", VOC)
    first, second = read_rolabelimg_folder(tmp_path).pictures
    assert first.labels.quads[0].round(9).tolist() == QUAD
    assert (second.labels.quads.tolist(), second.labels.difficult.tolist()) == ([UPRIGHT], [1])


def test_suffixes_may_be_written_in_capitals(tmp_path: Path) -> None:
    """As Windows shows no difference; such files were passed over in silence."""
    for name, text in (("xml/a.XML", ROLABELIMG), ("txt/a.TXT", LINE), ("json/a.JSON", labelme_text(labelme()))):
        write(tmp_path / name, text)
    for read, folder in ((read_rolabelimg_folder, "xml"), (read_dota_folder, "txt"), (read_labelme_folder, "json")):
        assert [picture.labels.names for picture in read(tmp_path / folder).pictures] == [["船 船"]]
    write(tmp_path / "xml" / "a.xml", ROLABELIMG)
    with pytest.raises(ValueError, match=r"two pictures are called 'a': .*a\.XML and .*a\.xml"):
        read_rolabelimg_folder(tmp_path / "xml")


@pytest.mark.parametrize("head", ["", "\n", "imagesource:GoogleEarth\n"])
def test_labels_of_a_picture_called_test_are_no_list(tmp_path: Path, head: str) -> None:
    write(tmp_path / "test.txt", head + LINE)
    write(tmp_path / "a.txt", LINE)
    write(tmp_path / "val.txt", "a\n")
    pictures = read_dota_folder(tmp_path).pictures
    assert [(picture.name, picture.split) for picture in pictures] == [("a", "val"), ("test", "")]


def test_angles_in_degrees_are_told(tmp_path: Path) -> None:
    write(tmp_path / "a.xml", ROLABELIMG.replace("<angle>0.", "<angle>36."))
    changed: Counter[str] = Counter()
    read_rolabelimg_folder(tmp_path, changed=changed)
    assert changed == {WIDE_ANGLES: 1}


def test_hrsc_and_voc_have_their_lists_in_folders_of_their_own(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / "hrsc" / "Annotations" / f"{name}.xml", HRSC)
        write(tmp_path / "voc" / "Annotations" / f"{name}.xml", VOC)
    for folder in ("hrsc/ImageSets", "voc/ImageSets/Main"):
        write(tmp_path / folder / "trainval.txt", "a\nb\n")
        write(tmp_path / folder / "val.txt", "b\n")
        write(tmp_path / folder / "test.txt", "c\nnot here\n")
    for annotated in (read_hrsc_folder(tmp_path / "hrsc"), read_rolabelimg_folder(tmp_path / "voc")):
        assert [item.split for item in annotated.pictures] == ["train", "val", "test"]
    assert read_hrsc_folder(tmp_path / "hrsc").pictures[0].labels.quads.tolist() == [UPRIGHT]


def test_labelme_files_are_read_and_what_changed_is_counted(tmp_path: Path) -> None:
    write(tmp_path / "图 1.json", labelme_text(labelme(), labelme(points=[*QUAD[:2], [140, 130], *QUAD[2:]])))
    changed: Counter[str] = Counter()
    (picture,) = read_labelme_folder(tmp_path, changed=changed).pictures
    assert (picture.name, len(picture.labels.names), changed) == ("图 1", 2, {AS_RECTANGLE: 1})


def test_a_labelme_file_may_be_called_as_the_picture_with_its_suffix(tmp_path: Path) -> None:
    write(tmp_path / "图 1.png.json", labelme_text(labelme()))
    assert [picture.name for picture in read_labelme_folder(tmp_path).pictures] == ["图 1"]


def test_a_file_that_cannot_be_read_is_left_out_and_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    for name, text in (("a", VOC), ("b", "<annotation>"), ("c", "<annotation/>")):
        write(tmp_path / f"{name}.xml", text)
    with pytest.raises(LabelError, match=r"b\.xml:1: is not well-formed"):
        read_rolabelimg_folder(tmp_path)
    reported: list[LabelError] = []
    assert [item.name for item in read_rolabelimg_folder(tmp_path, reported.append).pictures] == ["a", "c"]
    assert len(reported) == 1


def test_names_that_other_formats_cannot_hold_are_reported(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", LINE + LINE.replace("船 船", "a\x01b"))
    with pytest.raises(LabelError, match=r"a\.txt:2: .*characters that are no text"):
        read_dota_folder(tmp_path)
    reported: list[LabelError] = []
    labels = read_dota_folder(tmp_path, reported.append).pictures[0].labels
    assert (labels.names, labels.lines.tolist(), len(reported)) == (["船 船"], [1], 1)


def test_a_folder_without_labels_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no \*\.xml; is it the folder of the labels"):
        read_rolabelimg_folder(tmp_path)
    with pytest.raises(ValueError, match="no such folder of labels"):
        read_dota_folder(tmp_path / "none")


def test_dota_is_written_with_its_classes_and_lists(tmp_path: Path) -> None:
    write(tmp_path / "in" / "labelTxt" / "图 1.txt", LINE)
    write(tmp_path / "in" / "labelTxt" / "b.txt", "")
    write(tmp_path / "in" / "val.txt", "b\n")
    annotated = read_dota_folder(tmp_path / "in")._replace(class_names=("船 船", "DontCare"))
    write_dota(tmp_path / "out", annotated, Ledger())
    write_lists(tmp_path / "out", annotated)
    files = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_text("utf-8") for path in _files(tmp_path / "out")
    }
    assert files == {"labelTxt/图 1.txt": LINE, "labelTxt/b.txt": "", "classes.txt": "船 船\n", "val.txt": "b\n"}
    write_lists(tmp_path / "none", AnnotatedSet([]))
    assert not (tmp_path / "none").exists()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PNG)


def golden(name: str) -> str:
    return (Path(__file__).parent / "golden" / name).read_text(encoding="utf-8")


def test_a_folder_as_dior_r_has_it_is_read_with_its_lists_and_both_folders_of_pictures(tmp_path: Path) -> None:
    for name, folder in (("1", "JPEGImages-trainval"), ("2", "JPEGImages-trainval"), ("3", "JPEGImages-test")):
        picture(tmp_path / folder / f"{name}.png")
        write(tmp_path / "Annotations" / "Oriented Bounding Boxes" / f"{name}.xml", golden("dior.xml"))
        write(tmp_path / "Annotations" / "Horizontal Bounding Boxes" / f"{name}.xml", VOC)
    for split, name in (("train", "1"), ("val", "2"), ("test", "3")):
        write(tmp_path / "ImageSets" / "Main" / f"{split}.txt", f"{name}\n")
    annotated = locate_pictures(read_rolabelimg_folder(tmp_path), tmp_path, None, Ledger())
    assert [(item.name, item.split) for item in annotated.pictures] == [("1", "train"), ("2", "val"), ("3", "test")]
    assert all(picture.path for picture in annotated.pictures)
    assert [picture.labels.quads.tolist() for picture in annotated.pictures] == [[QUAD]] * 3
    with pytest.raises(ValueError, match=r"DIOR-R lie in two folders; .*--from dior --to dota --link_images"):
        detect_format(tmp_path)


def test_folders_as_fair1m_has_them_are_read_with_their_pictures_and_splits(tmp_path: Path) -> None:
    for name, part, labels in (("0", "train/part1", "labelXml"), ("9", "validation", "labelXmls")):
        picture(tmp_path / part / "images" / f"{name}.png")
        write(tmp_path / part / labels / f"{name}.xml", golden("fair1m.xml"))
    pictures = read_rolabelimg_folder(tmp_path).pictures
    assert [(item.name, item.split, item.labels.names) for item in pictures] == [
        ("0", "train", ["ship"]),
        ("9", "val", ["ship"]),
    ]
    assert [picture.path.parent.parent for picture in pictures] == [tmp_path / "train/part1", tmp_path / "validation"]
    part = tmp_path / "train" / "part1"
    assert detect_format(part) == "rolabelimg"
    (sample,) = read_samples("rolabelimg", part, ["0"], read_classes("rolabelimg", part, ["0"]))
    assert (sample.image_path, sample.quads.tolist()) == (part / "images" / "0.png", [QUAD])


def test_folders_as_soda_a_has_them_are_read_with_their_pictures_splits_and_classes(tmp_path: Path) -> None:
    for name, part in (("1", "train"), ("2", "test")):
        picture(tmp_path / part / "Images" / f"{name}.png")
        write(tmp_path / part / "Annotations" / f"{name}.json", golden("soda.json"))
    annotated = read_soda_folder(tmp_path)
    found = sorted((picture.name, picture.split, picture.path is not None) for picture in annotated.pictures)
    assert found == [("1", "train", True), ("2", "test", True)]
    assert annotated.class_names == ("airplane", "ship")


def test_the_other_layout_of_soda_a_has_its_pictures_found(tmp_path: Path) -> None:
    """As mmrotate's instructions have it."""
    for name, split, folder in (("1", "train", "Images/train"), ("2", "test", "Images")):
        picture(tmp_path / folder / f"{name}.png")
        write(tmp_path / "Annotations" / split / f"{name}.json", golden("soda.json"))
    found = sorted((item.split, item.path, item.file_name) for item in read_soda_folder(tmp_path).pictures)
    assert found == [
        ("test", tmp_path / "Images" / "2.png", "Images/2.png"),
        ("train", tmp_path / "Images" / "train" / "1.png", "Images/train/1.png"),
    ]


def test_folders_as_dronevehicle_has_them_are_read_with_the_pictures_of_their_kind(tmp_path: Path) -> None:
    for kind in ("", "r"):
        picture(tmp_path / "val" / f"valimg{kind}" / "00001.png")
        write(tmp_path / "val" / f"vallabel{kind}" / "00001.xml", golden("dronevehicle.xml"))
    found = [(item.name, item.split, item.path) for item in read_rolabelimg_folder(tmp_path).pictures]
    assert found == [
        ("vallabel_00001", "val", tmp_path / "val" / "valimg" / "00001.png"),
        ("vallabelr_00001", "val", tmp_path / "val" / "valimgr" / "00001.png"),
    ]
    labels = tmp_path / "val" / "vallabelr"
    (infrared,) = locate_pictures(read_rolabelimg_folder(labels), labels, None, Ledger()).pictures
    assert infrared.path == tmp_path / "val" / "valimgr" / "00001.png"


def test_pictures_without_labels_are_in_the_split_of_their_folder(tmp_path: Path) -> None:
    for name in ("1", "2"):
        picture(tmp_path / "train" / "part1" / "images" / f"{name}.png")
    write(tmp_path / "train" / "part1" / "labelXml" / "1.xml", golden("fair1m.xml"))
    annotated = add_unlabelled(read_rolabelimg_folder(tmp_path), tmp_path, None, Ledger(), "empty")
    assert [(item.name, item.split, len(item.labels.names)) for item in annotated.pictures] == [
        ("1", "train", 1),
        ("2", "train", 0),
    ]


def test_the_parts_that_dota_comes_in_are_converted_with_their_splits(tmp_path: Path) -> None:
    for part, name, labels in (("train", "a", "labelTxt"), ("val", "b", "annfiles")):
        dota.part(tmp_path / "dota" / part, [name], labels)
    assert convert(tmp_path / "dota", tmp_path / "yolo", "dota", "yolo_obb", "--copy_images") == 0
    for split, name in (("train", "a"), ("val", "b")):
        assert (tmp_path / "yolo" / "labels" / split / f"{name}.txt").read_text("utf-8").count("\n") == 1
        assert (tmp_path / "yolo" / "images" / split / f"{name}.png").is_file()
    assert convert(tmp_path / "dota" / "val", tmp_path / "coco.json", "dota", "coco") == 0


def cameras(folder: Path, suffix: str, text: str | None) -> None:
    """Two folders with a picture of one name in each, 10 and 90 bright, and its label file beside it; in cam2 a second
    picture without one."""
    for camera, shade, names in (("cam1", 10, "1"), ("cam2", 90, "12")):
        (folder / camera).mkdir(parents=True)
        for name in names:
            cv2.imwrite(str(folder / camera / f"{name}.png"), np.full((HEIGHT, WIDTH), shade, np.uint8))
        if text is not None:
            write(folder / camera / f"1{suffix}", text)


def assert_cameras_apart(dst: Path, *names: str) -> None:
    assert sorted(path.stem for path in (dst / "labelTxt").iterdir()) == ["cam1_1", "cam2_1", *names]
    shades = [cv2.imread(str(dst / "images" / f"cam{number}_1.png"))[0, 0, 0] for number in (1, 2)]
    assert shades == [10, 90]
    assert all(len(read_labels(dst / "labelTxt" / f"cam{number}_1.txt").names) == 1 for number in (1, 2))


def test_pictures_of_two_cameras_with_the_same_names_come_along(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A CVAT task of folders: cam1/1.png and cam2/1.png."""
    cameras(tmp_path / "pictures", "", None)
    first = cvat_text(CVAT_BOX, image='name="cam1/1.png"')
    second = cvat_text(CVAT_BOX, image='name="cam2/1.png"').split("</meta>")[-1]
    path = write(tmp_path / "annotations.xml", first.replace("</annotations>", "") + second)
    flags = ("--images", str(tmp_path / "pictures"), "--copy_images")
    assert convert(path, tmp_path / "out", "cvat", "dota", *flags) == 0
    assert "2 pictures are called by folder and name" in capsys.readouterr().err
    assert_cameras_apart(tmp_path / "out")


@pytest.mark.parametrize(
    ("source", "suffix", "text"), [("rolabelimg", ".xml", ROLABELIMG), ("labelme", ".json", labelme_text(labelme()))]
)
@pytest.mark.parametrize("kept", [False, True])
def test_label_files_in_folders_of_cameras_are_read_and_pictures_without_one_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture, source: str, suffix: str, text: str, kept: bool
) -> None:
    """Such folders held "no *.xml", and pictures without a label file were left out without a word."""
    cameras(tmp_path / "src", suffix, text)
    flags = ("--link_images", *(["--unlabelled", "empty"] if kept else []))
    assert convert(tmp_path / "src", tmp_path / "out", source, "dota", *flags) == (0 if kept else 1)
    said = capsys.readouterr().err
    assert "2 pictures are called by folder and name" in said
    assert f"1 {AS_EMPTY if kept else UNLABELLED}" in said
    assert_cameras_apart(tmp_path / "out", *(["cam2_2"] if kept else []))
    if kept:
        assert read_labels(tmp_path / "out" / "labelTxt" / "cam2_2.txt").names == []
        assert (tmp_path / "out" / "images" / "cam2_2.png").exists()


def test_cameras_of_ultralytics_are_told_apart(tmp_path: Path) -> None:
    yaml = DATA_YAML.replace("images/train", "images/cam1").replace("images/val", "images/cam2")
    src = yolo_folder(tmp_path / "src", {"cam1/1": YOLO_LINE, "cam2/1": YOLO_LINE}, yaml)
    assert convert(src, tmp_path / "out", "yolo_obb", "dota", "--link_images") == 0
    assert (tmp_path / "out" / "train.txt").read_text() == "cam1_1\n"
    assert (tmp_path / "out" / "val.txt").read_text() == "cam2_1\n"
    assert sorted(path.name for path in (tmp_path / "out" / "images").iterdir()) == ["cam1_1.png", "cam2_1.png"]


def test_folders_in_folders_and_their_lists_are_told_apart(tmp_path: Path) -> None:
    for camera in ("cam1", "cam2"):
        cameras_folder = tmp_path / "src" / camera / "day1"
        cameras_folder.mkdir(parents=True)
        for name in "12":
            cv2.imwrite(str(cameras_folder / f"{name}.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
        write(cameras_folder / "1.xml", ROLABELIMG)
    write(tmp_path / "src" / "train.txt", "cam1/day1/1.png\ncam1/day1/2.png\n")
    write(tmp_path / "src" / "val.txt", "cam2/day1/1.png\n")
    assert (
        convert(tmp_path / "src", tmp_path / "1", "rolabelimg", "dota", "--link_images", "--unlabelled", "empty") == 0
    )
    names = sorted(path.stem for path in (tmp_path / "1" / "labelTxt").iterdir())
    assert names == ["cam1_day1_1", "cam1_day1_2", "cam2_day1_1", "cam2_day1_2"]
    lists = [(tmp_path / "1" / f"{name}.txt").read_text().split() for name in ("train", "val")]
    assert lists == [["cam1_day1_1", "cam1_day1_2"], ["cam2_day1_1"]]
    for camera in ("cam1", "cam2"):  # pictures and labels in trees of their own
        xml = tmp_path / "src" / camera / "day1" / "1.xml"
        write(tmp_path / "xml" / camera / "day1" / "1.xml", xml.read_text("utf-8"))
        xml.unlink()
    flags = ("--images", str(tmp_path / "src"), "--copy_images")
    assert convert(tmp_path / "xml", tmp_path / "2", "rolabelimg", "dota", *flags) == 0
    assert sorted(path.name for path in (tmp_path / "2" / "images").iterdir()) == ["cam1_day1_1.png", "cam2_day1_1.png"]
