"""Annotated pictures of every known format become samples, and what cannot be trusted is named with file and line."""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets.class_lists import DOTA_CLASSES
from datasets.format_detection import detect_format
from datasets.label_formats.yolo_obb import read_yolo_folder
from datasets.readers import FORMATS, get_format, label_reader, list_images, read_classes, read_samples
from datasets.splits import read_list
from tests.data_folders import CLASSES, SQUARE, dota, hrsc, read_one, rolabelimg
from tests.label_documents import DATA_YAML, QUAD, YOLO_LINE, yolo_folder

# -- formats


def test_an_unknown_format_tells_the_known_ones() -> None:
    assert get_format("dota") is FORMATS["dota"]
    with pytest.raises(ValueError, match=r"COCO's JSON is not trained on as it is.*--from coco"):
        get_format("coco")
    with pytest.raises(ValueError, match="unknown dataset 'voc'; known: auto, demo, dota, hrsc, rolabelimg, yolo_obb"):
        get_format("voc")


@pytest.mark.parametrize(
    ("xml", "images"),
    [
        *[("xml", "images"), ("Annotations", "images"), (".", "."), ("xml", ".")],
        *[("Annotations", "JPEGImages"), ("labelXml", "images"), ("Annotations/Oriented Bounding Boxes", "JPEGImages")],
    ],
)
def test_rolabelimg_files_lie_beside_the_pictures_or_in_a_folder(tmp_path: Path, xml: str, images: str) -> None:
    data_dir = rolabelimg(tmp_path, {"图 1": ["car"], "b": []}, xml, images)
    assert set(list_images("rolabelimg", data_dir)) == {"图 1", "b"}
    samples = read_samples("rolabelimg", data_dir, ["图 1", "b"], CLASSES)
    assert [len(sample.labels) for sample in samples] == [1, 0]


# -- samples


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".tif"])
def test_a_dota_folder_is_read(dota_folder: Callable[..., Path], suffix: str) -> None:
    """Defect 10: neither the classes nor the suffix stand in the source."""
    data_dir = dota_folder("数据", names=("图 1", "图 2", "empty"), suffix=suffix)
    names = list(list_images("dota", data_dir))
    samples = read_samples("dota", data_dir, names, read_classes("dota", data_dir, names))
    assert [sample.name for sample in samples] == names == ["empty", "图 1", "图 2"]
    assert samples[0].quads.shape == (0, 4, 2)
    for sample in samples:
        assert sample.image_path.is_file()
        assert (sample.quads.dtype, sample.labels.dtype, sample.difficult.dtype) == (np.float32, np.int64, np.int64)
        assert len(sample.quads) == len(sample.labels) == len(sample.difficult) == len(sample.ignored)
    assert sum(len(sample.labels) for sample in samples) > 3


def test_an_hrsc_folder_is_read(tmp_path: Path) -> None:
    data_dir = hrsc(tmp_path)
    assert read_classes("hrsc", data_dir, ["图 1"]) == ("ship",)
    (sample,) = read_samples("hrsc", data_dir, ["图 1"], ("ship",))
    assert sample.quads[0].tolist() == [[15, 17], [25, 17], [25, 23], [15, 23]]


def test_no_names_give_no_samples(tmp_path: Path) -> None:
    for dataset, folder in (("dota", dota(tmp_path / "1", {})), ("rolabelimg", rolabelimg(tmp_path / "2", {}))):
        assert read_samples(dataset, folder, [], CLASSES) == []
        assert list_images(dataset, folder) == {}


@pytest.mark.parametrize(
    "line",
    [
        f"{SQUARE} boat 0",
        SQUARE.replace(" ", "\t") + "\tboat\t0",
        f"{SQUARE} boat",
        "  10  10 30 10 \t 30 30 10 30  boat  0 \r",
        "10.0 10.0 30.0 10.0 30.0 30.0 10.0 30.0 boat 0",
        f"imagesource:GoogleEarth\ngsd:0.146343590398\n{SQUARE} boat 0",
        f"imagesource:GoogleEarth\ngsd:null\n\n{SQUARE} boat 0\n\n",
        f"\ufeff{SQUARE} boat 0",
    ],
    ids=["plain", "tabs", "nine columns", "blanks and CR", "decimals", "header", "blank lines", "byte order mark"],
)
def test_every_habit_of_writing_label_lines_is_read(tmp_path: Path, line: str) -> None:
    """Defect 8: tab-separated labels were read as no objects; defect 9: nine columns were a crash."""
    sample = read_one(dota(tmp_path, {"图 1": line + "\n"}))
    assert sample.quads.tolist() == [[[10, 10], [30, 10], [30, 30], [10, 30]]]
    assert sample.labels.tolist() == [1]
    assert sample.difficult.tolist() == [0]
    assert not sample.ignored.any()


def test_difficult_2_and_dont_care_are_ignore_regions_and_difficult_1_is_not(tmp_path: Path) -> None:
    """Defect 8: tile fragments marked difficult=2 were trained as normal objects."""
    lines = [f"{SQUARE} {name} {flag}" for name, flag in (("car", 0), ("boat", 1), ("boat", 2), ("DontCare", 0))]
    sample = read_one(dota(tmp_path, {"图 1": "\n".join(lines)}))
    assert sample.labels.tolist() == [0, 1, 1, -1]
    assert sample.difficult.tolist() == [0, 1, 2, 0]
    assert sample.ignored.tolist() == [False, False, True, True]


def test_dont_care_needs_no_place_among_the_classes(tmp_path: Path) -> None:
    data_dir = rolabelimg(tmp_path, {"图 1": ["DontCare", "car"], "b": ["boat", "DontCare"]})
    classes = read_classes("rolabelimg", data_dir, ["图 1", "b"])
    assert classes == ("boat", "car")
    samples = read_samples("rolabelimg", data_dir, ["图 1", "b"], classes)
    assert [sample.labels.tolist() for sample in samples] == [[-1, 1], [0, -1]]
    (data_dir / "classes.txt").write_text("car\nDontCare\nboat\n", encoding="utf-8")
    assert read_classes("rolabelimg", data_dir, ["b"]) == ("car", "boat")


# -- classes


def test_a_class_file_is_taken_in_its_order_whatever_the_format(tmp_path: Path) -> None:
    """Defect 10: class names and their number stood in two source files."""
    data_dir = dota(tmp_path, {"图 1": f"{SQUARE} plane 0"}, classes="\ufeffplane\r\n 集装箱船 \n\nsmall  vehicle")
    assert read_classes("dota", data_dir, []) == ("plane", "集装箱船", "small vehicle")
    for number, folder in enumerate((hrsc(tmp_path / "2"), rolabelimg(tmp_path / "3", {"a": ["x"]}))):
        (folder / "classes.txt").write_text("only\n", encoding="utf-8")
        assert read_classes(("hrsc", "rolabelimg")[number], folder, ["a"]) == ("only",)


def test_more_than_255_classes_keep_their_numbers(tmp_path: Path) -> None:
    """Defect 10: class ids in uint8 wrapped around."""
    classes = tuple(f"class-{number}" for number in range(300))
    data_dir = dota(tmp_path, {"图 1": f"{SQUARE} class-299 0"}, classes="\n".join(classes))
    assert read_classes("dota", data_dir, ["图 1"]) == classes
    assert read_samples("dota", data_dir, ["图 1"], classes)[0].labels.tolist() == [299]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ":1: the list holds no class name"),
        ("\n \nDontCare\n", ":1: the list holds no class name"),
        ("a b\n\nc\na  b\n", ":4: the class 'a b' stands in line 1 already"),
    ],
)
def test_a_class_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"classes\.txt{sentence}"):
        read_classes("dota", dota(tmp_path, {}, classes=text), [])


def test_a_class_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    data_dir = dota(tmp_path, {})
    (data_dir / "classes.txt").write_bytes("voilée\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"classes\.txt:1: the line is not UTF-8"):
        read_classes("dota", data_dir, [])


def test_labels_that_name_no_class_ask_for_a_class_file(tmp_path: Path) -> None:
    for names in ([], ["图 1"]):
        with pytest.raises(ValueError, match=r"no label names a class; write classes\.txt"):
            read_classes("rolabelimg", rolabelimg(tmp_path, {"图 1": ["DontCare"]}), names)


# -- folders made for Ultralytics


@pytest.mark.parametrize("yaml", [DATA_YAML, None])
def test_a_folder_made_for_ultralytics_is_read_as_it_is(tmp_path: Path, yaml: str | None) -> None:
    """A picture without a label file is one without objects there, whatever --missing_labels says."""
    data_dir = yolo_folder(tmp_path / "数据", {"train/图 1": YOLO_LINE, "train/b": None, "val/c": YOLO_LINE}, yaml)
    if yaml is None:
        (data_dir / "classes.txt").write_text("car\n船 船\n", encoding="utf-8")
    assert detect_format(data_dir) == "yolo_obb"
    assert {*list_images("yolo_obb", data_dir)} == {"图 1", "b", "c"}
    splits = get_format("yolo_obb").splits(data_dir)
    assert splits == {"train": ["b", "图 1"], "val": ["c"]}
    classes = read_classes("yolo_obb", data_dir, splits["train"])
    assert classes == ("car", "船 船")
    samples = read_samples("yolo_obb", data_dir, ["图 1", "b", "c"], classes)
    assert [sample.labels.tolist() for sample in samples] == [[1], [], [1]]
    assert samples[0].quads.tolist() == [QUAD]
    assert samples[2].image_path == data_dir / "images" / "val" / "c.png"


@pytest.mark.parametrize(("yaml_dir", "label_dir"), [("here", "there"), (".", "split 1/train"), (".", "a/b/c")])
def test_the_class_names_are_those_of_the_data_yaml_that_was_opened(
    tmp_path: Path, yaml_dir: str, label_dir: str
) -> None:
    """They were looked for beside the labels, where there may be none, or those of somebody else."""
    label_dir, data_dir = tmp_path / label_dir, tmp_path / yaml_dir
    yolo_folder(label_dir, {"图 1": YOLO_LINE}, None)
    (label_dir / "classes.txt").write_text("tank\nplane\n", encoding="utf-8")
    data_dir.mkdir(exist_ok=True)
    text = f"path: {tmp_path}\ntrain: {label_dir.relative_to(tmp_path)}/images\nnames: [car, 船 船]\n"
    (data_dir / "data.yaml").write_text(text, encoding="utf-8")
    read = pickle.loads(pickle.dumps(label_reader("yolo_obb", data_dir)))
    assert read(label_dir / "labels" / "图 1.txt", None).names == ["船 船"]
    (sample,) = read_samples("yolo_obb", data_dir, ["图 1"], ("船 船",))
    assert sample.labels.tolist() == [0]
    assert [picture.labels.names for picture in read_yolo_folder(data_dir).pictures] == [["船 船"]]


@pytest.mark.parametrize("dataset", ["dota", "rolabelimg", "hrsc"])
def test_label_files_are_found_whose_suffix_is_written_in_capitals(tmp_path: Path, dataset: str) -> None:
    """As Windows shows no difference; pictures seemed to have no labels."""
    match dataset:
        case "dota":
            data_dir = dota(tmp_path, {"图 1": f"{SQUARE} car 0\n"})
        case "hrsc":
            data_dir = hrsc(tmp_path)
        case _:
            data_dir = rolabelimg(tmp_path, {"图 1": ["car"]})
    for path in [*data_dir.rglob("图 1.txt"), *data_dir.rglob("图 1.xml")]:
        path.rename(path.with_suffix(path.suffix.upper()))
    assert detect_format(data_dir) == dataset
    (sample,) = read_samples(dataset, data_dir, ["图 1"], ("car", "ship"))
    assert len(sample.labels) == 1


def test_only_formats_with_a_split_of_their_own_tell_one(tmp_path: Path) -> None:
    assert [name for name, reader in FORMATS.items() if reader.images] == ["demo", "dota", "yolo_obb"]
    assert [name for name, reader in FORMATS.items() if reader.missing_is_empty] == ["yolo_obb"]
    (tmp_path / "images").mkdir()
    assert FORMATS["dota"].splits(tmp_path) == {}


def test_a_folder_that_names_no_class_asks_for_a_data_yaml(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing names the classes; write a data\.yaml with names"):
        read_classes("yolo_obb", yolo_folder(tmp_path, {"train/a": YOLO_LINE}, None), ["a"])


# -- real data


def test_hit_uav_is_recognised_and_its_lists_give_the_published_counts(real_folder: Callable[[str], Path]) -> None:
    data_dir = real_folder("hit-uav")
    assert detect_format(data_dir) == "rolabelimg"
    images = list_images("rolabelimg", data_dir)
    names = read_list(data_dir / "val.txt", images)
    classes = read_classes("rolabelimg", data_dir, names)
    assert classes == ("Bicycle", "Car", "OtherVehicle", "Person")
    samples = read_samples("rolabelimg", data_dir, names, classes)
    labels = Counter(label for sample in samples for label in sample.labels[~sample.ignored].tolist())
    assert len(samples) == 316
    assert labels == {0: 81, 1: 1238, 2: 25, 3: 189}


def test_whole_dota_pictures_are_read_with_their_flags(real_folder: Callable[[str], Path]) -> None:
    data_dir = real_folder("dota")
    assert detect_format(data_dir) == "dota"
    names = list(list_images("dota", data_dir))
    classes = read_classes("dota", data_dir, names)
    assert classes == DOTA_CLASSES["1.0"]
    samples = {sample.name: sample for sample in read_samples("dota", data_dir, names, classes)}
    # Lines of the label files less the two of the header.
    assert {name: len(sample.labels) for name, sample in samples.items()} == {"P0706": 536, "P0770": 22, "P1888": 64}
    assert sum(int(sample.difficult.sum()) for sample in samples.values()) == 6


def test_a_list_that_names_a_label_without_picture_is_refused(
    tmp_path: Path, real_folder: Callable[[str], Path]
) -> None:
    """`demo4.xml` of roLabelImg's author has no picture."""
    shutil.copytree(real_folder("rolabelimg"), tmp_path / "data")
    (tmp_path / "data" / "train.txt").write_text("demo\ndemo4\n", encoding="utf-8")
    images = list_images("rolabelimg", tmp_path / "data")
    assert sorted(images) == ["demo", "demo2", "demo3"]
    with pytest.raises(ValueError, match=r"train\.txt:2: no picture named 'demo4'"):
        read_list(tmp_path / "data" / "train.txt", images)


def test_hrsc2016_and_cvat_are_told_what_to_do(tmp_path):
    (tmp_path / "hrsc" / "FullDataSet" / "AllImages").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"pictures lie in .*FullDataSet; give that folder"):
        detect_format(tmp_path / "hrsc")
    (tmp_path / "cvat" / "images").mkdir(parents=True)
    (tmp_path / "cvat" / "annotations.xml").write_text("<annotations/>")
    with pytest.raises(ValueError, match=r"CVAT's annotations.xml.*--from cvat --to dota"):
        detect_format(tmp_path / "cvat")
