"""Folders made for Ultralytics are found with their pictures, splits and names, whichever way they are laid out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from datasets.label_formats.yolo_folder import class_names_of, is_yolo_folder, label_of, open_yolo, picture_of
from datasets.picture_files.images import ImageError
from DOTA_devkit.labels import LabelError
from tests.label_documents import DATA_YAML, PNG, YOLO_LINE, age, write, yolo_folder

LABELS = {"train/图 1": YOLO_LINE, "train/b": None, "val/c": ""}
SPLITS = {"train": ["b", "图 1"], "val": ["c"]}


@pytest.mark.parametrize(
    "yaml",
    [
        DATA_YAML,
        None,
        f"path: .\n{DATA_YAML}",
        f"path: /somewhere/else\n{DATA_YAML}",
        DATA_YAML.replace("train: images/train", "train: [images/train]").replace("val:", "validation:"),
        DATA_YAML.replace("images/", "../images/"),
        DATA_YAML.replace("images/", "./images/"),
    ],
)
def test_the_splits_are_those_of_the_folders(tmp_path: Path, yaml: str | None) -> None:
    folder = open_yolo(yolo_folder(tmp_path / "数据", LABELS, yaml))
    assert folder.splits == SPLITS
    assert {*folder.images} == {"图 1", "b", "c"}
    assert folder.class_names == (("car", "船 船") if yaml else ())


def test_the_path_in_the_file_counts_where_the_folder_itself_has_nothing(tmp_path: Path) -> None:
    yolo_folder(tmp_path / "elsewhere", LABELS, None)
    write(tmp_path / "here" / "data.yaml", f"path: ../elsewhere\n{DATA_YAML}")
    assert open_yolo(tmp_path / "here").splits == SPLITS
    copy = yolo_folder(tmp_path / "copy", {"train/x": "", "val/y": ""}, f"path: {tmp_path / 'elsewhere'}\n{DATA_YAML}")
    assert open_yolo(copy).splits == {"train": ["x"], "val": ["y"]}, "a copy reads itself and not what it came from"


def test_the_layout_of_roboflow_is_found(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        path = tmp_path / split / "images" / f"{split}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(PNG)
    assert open_yolo(tmp_path).splits == {"train": ["train"], "val": ["valid"]}
    write(tmp_path / "data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['car']\n")
    folder = open_yolo(tmp_path)
    assert folder.splits == {"train": ["train"], "val": ["valid"]}
    label_path = label_of(folder.images["valid"])
    assert label_path == tmp_path / "valid" / "labels" / "valid.txt"
    assert class_names_of(label_path) == ("car",)


def test_one_folder_of_pictures_has_no_split_and_folders_in_folders_are_looked_through(tmp_path: Path) -> None:
    yolo_folder(tmp_path, {"a": "", "cam 1/b": ""}, "names: [car]\n")
    folder = open_yolo(tmp_path)
    assert ({*folder.images}, folder.splits) == ({"a", "b"}, {})
    assert label_of(folder.images["b"]) == tmp_path / "labels" / "cam 1" / "b.txt"


def test_labels_in_capitals_are_read_and_copies_in_hidden_folders_are_not(tmp_path: Path) -> None:
    """Such a picture would be trained on as one without objects, without a word."""
    yolo_folder(tmp_path, LABELS, DATA_YAML)
    folder = open_yolo(tmp_path)
    name, picture = next((name, path) for name, path in folder.images.items() if label_of(path).is_file())
    label_path = label_of(picture)
    label_path.rename(label_path.with_suffix(".TXT"))
    hidden = picture.parent / ".ipynb_checkpoints" / f"{name}-checkpoint.png"
    hidden.parent.mkdir()
    hidden.write_bytes(PNG)
    write(label_path.parent / ".ipynb_checkpoints" / "b.txt", "")
    write(label_path.parent / "lost.TXT", "")
    again = open_yolo(tmp_path)
    assert label_of(picture).name == f"{name}.TXT"
    assert again.images.keys() == folder.images.keys()
    assert [path.name for path in again.labels_without_picture()] == ["lost.TXT"]


def test_lists_of_pictures_are_read(tmp_path: Path) -> None:
    yolo_folder(tmp_path, LABELS, DATA_YAML.replace("images/train", "lists/t.txt"))
    write(tmp_path / "lists" / "t.txt", "../images/train/b.png\n\n../images/train/图 1.png\n")
    age(tmp_path / "lists" / "t.txt")
    assert open_yolo(tmp_path).splits == SPLITS
    write(tmp_path / "lists" / "t.txt", "../images/train/none.png\n")
    with pytest.raises(ImageError, match=r"t\.txt: lists .*none\.png, which is not there"):
        open_yolo(tmp_path)


def test_pictures_of_one_name_in_two_splits_are_refused_but_one_picture_may_serve_both(tmp_path: Path) -> None:
    yolo_folder(tmp_path, {"train/a": "", "val/a": ""})
    with pytest.raises(ValueError, match=r"two pictures are called 'a': .*train/a\.png and .*val/a\.png"):
        open_yolo(tmp_path)
    write(tmp_path / "data.yaml", "train: images/train\nval: images/train\nnames: [a]\n")
    assert open_yolo(tmp_path).splits == {"train": ["a"], "val": ["a"]}


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="images: no such folder of pictures"):
        open_yolo(tmp_path)
    write(tmp_path / "data.yaml", "train: pictures\nnames: [a]\n")
    with pytest.raises(ImageError, match=r"pictures: no such folder of pictures, though data\.yaml names it"):
        open_yolo(tmp_path)


def test_test_pictures_that_are_missing_are_told_and_passed_over(tmp_path: Path) -> None:
    """Roboflow's data.yaml names ../test/images whether there is such a folder or not; the whole set was refused."""
    yolo_folder(tmp_path, LABELS, f"{DATA_YAML}test: [images/test, images/val]\n")
    folder = open_yolo(tmp_path)
    assert (folder.splits, folder.missing) == (SPLITS | {"test": ["c"]}, (tmp_path / "images" / "test",))
    for null in ("null", "~", "", "[]"):
        write(tmp_path / "data.yaml", f"{DATA_YAML}test: {null}\n")
        folder = open_yolo(tmp_path)
        assert (folder.splits, folder.missing) == (SPLITS, ())
    write(tmp_path / "data.yaml", DATA_YAML.replace("images/val", "images/valid"))
    with pytest.raises(ImageError, match="valid: no such folder of pictures"):
        open_yolo(tmp_path)


def test_a_folder_is_listed_anew_when_something_has_changed(tmp_path: Path) -> None:
    yolo_folder(tmp_path, LABELS)
    age(tmp_path / "images" / "train")
    assert len(open_yolo(tmp_path).images) == 3
    yolo_folder(tmp_path, {"train/new": ""})
    assert len(open_yolo(tmp_path).images) == 4


def test_label_files_without_a_picture_are_found(tmp_path: Path) -> None:
    stray = write(yolo_folder(tmp_path, LABELS) / "labels" / "val" / "stray.txt", YOLO_LINE)
    assert open_yolo(tmp_path).labels_without_picture() == [stray]


def test_a_picture_is_found_by_its_labels_whatever_its_suffix(tmp_path: Path) -> None:
    yolo_folder(tmp_path, {"train/a.b": ""})
    image_path, label_path = tmp_path / "images" / "train" / "a.b.png", tmp_path / "labels" / "train" / "a.b.txt"
    assert (label_of(image_path), picture_of(label_path)) == (label_path, image_path)
    shutil.move(image_path, image_path.with_suffix(".PNG"))
    assert picture_of(label_path) == image_path.with_suffix(".PNG")
    assert picture_of(tmp_path / "labels" / "none" / "a.txt") is None
    assert picture_of(tmp_path / "labels" / "train" / "none.txt") is None


def test_labels_of_a_split_without_pictures_are_found_and_the_list_of_classes_is_none_of_them(tmp_path: Path) -> None:
    """A download may lack images/val; labelImg writes classes.txt beside the labels."""
    yolo_folder(tmp_path, {"train/a": YOLO_LINE, "rest/b": YOLO_LINE}, None)
    stray = [
        write(tmp_path / "labels" / "test" / "a.txt", ""),
        write(tmp_path / "labels" / "val" / "cam" / "c.txt", ""),
    ]
    far = write(tmp_path / "valid" / "labels" / "d.txt", "")
    write(tmp_path / "labels" / "train" / "classes.txt", "car\n")
    assert open_yolo(tmp_path).labels_without_picture() == [*stray, far], "rest/b has its picture, in no split"


def test_a_folder_is_not_listed_anew_for_every_label_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    yolo_folder(tmp_path, {f"train/{name}": YOLO_LINE for name in "abcdef"})
    for place, path in enumerate(sorted((tmp_path / "images" / "train").iterdir())):
        path.rename(path.with_suffix(".JPG" if place % 2 else ".PnG"))
    listed: list[Path] = []
    for method in ("iterdir", "rglob"):
        list_folder = getattr(Path, method)
        monkeypatch.setattr(Path, method, lambda self, *a, f=list_folder: listed.append(self) or f(self, *a))
    pictures = [picture_of(tmp_path / "labels" / "train" / f"{name}.txt") for name in "abcdef"]
    assert [path.name for path in pictures] == ["a.PnG", "b.JPG", "c.PnG", "d.JPG", "e.PnG", "f.JPG"]
    assert len(listed) == 1


def test_paths_of_windows_are_understood(tmp_path: Path) -> None:
    yolo_folder(tmp_path / "here", LABELS, DATA_YAML.replace("images/", "images\\").replace("images\\train", "t.txt"))
    write(tmp_path / "here" / "t.txt", ".\\images\\train\\b.png\nimages\\train\\图 1.png\n")
    assert open_yolo(tmp_path / "here").splits == SPLITS
    write(tmp_path / "there" / "data.yaml", f"path: ..\\here\n{DATA_YAML.replace('images/', 'images' + chr(92))}")
    assert open_yolo(tmp_path / "there").splits == SPLITS


def test_the_names_of_a_label_file_come_from_its_own_data_set(tmp_path: Path) -> None:
    """Folders of many data sets often lie beside each other, and their yaml files above them."""
    write(tmp_path / "other.yaml", "names: [wrong]\n")
    label_path = yolo_folder(tmp_path / "数据", LABELS, None) / "labels" / "train" / "图 1.txt"
    with pytest.raises(LabelError, match=r"nothing names the classes; write .*数据/data\.yaml"):
        class_names_of(label_path)
    write(tmp_path / "数据" / "classes.txt", "car\n船  船\n")
    assert class_names_of(label_path) == ("car", "船 船")


def test_a_list_of_classes_counts_by_line(tmp_path: Path) -> None:
    """A blank or repeated line was passed over, and the labels behind it got the names of others."""
    yolo_folder(tmp_path, LABELS, None)
    write(tmp_path / "classes.txt", "\ufeffcar\n船  船\n\n \n")
    assert open_yolo(tmp_path).class_names == ("car", "船 船"), "blank lines at the end name nothing"
    for text, place in {
        "car\n\nboat\n": "2: the line is blank, and stands for class 1",
        "\ncar\n": "1: the line is blank, and stands for class 0",
        "car\nboat\ncar\n": "3: the class name 'car' stands twice",
        " \n": "1: the list is empty",
        "a\x07b\n": "1: the class name .* no text",
    }.items():
        write(tmp_path / "classes.txt", text)
        with pytest.raises(LabelError, match=rf"classes\.txt:{place}"):
            open_yolo(tmp_path)


def test_a_folder_is_known_by_its_file_or_its_folders(tmp_path: Path, real_folder: Callable[[str], Path]) -> None:
    assert not is_yolo_folder(tmp_path)
    assert not is_yolo_folder(tmp_path / "none")
    assert is_yolo_folder(yolo_folder(tmp_path / "a", LABELS, None))
    write(tmp_path / "b" / "data.yaml", DATA_YAML)
    assert is_yolo_folder(tmp_path / "b")
    folder = open_yolo(real_folder("dota8"))
    assert [len(names) for names in folder.splits.values()] == [4, 4]
    assert folder.class_names[:2] == ("plane", "ship")
