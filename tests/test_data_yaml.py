"""data.yaml is read in every form that Ultralytics takes, and refused with a line where it cannot be trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasets.label_formats.data_yaml import DataYaml, find_data_yaml, read_data_yaml, write_data_yaml
from DOTA_devkit.labels import LabelError
from tests.label_documents import age, write


@pytest.mark.parametrize(
    "names",
    [
        "names:\n  0: car\n  1: 船 船\n",
        "names:\n  1: 船  船\n  0: car\n",
        "names: [car, '船 船']\n",
        "names:\n- car\n- 船 船\n",
        'nc: 2\nnames: {0: "car", 1: "船 船"}\n',
    ],
)
def test_names_may_be_a_list_or_a_mapping(tmp_path: Path, names: str) -> None:
    path = write(tmp_path / "data.yaml", f"# remark\npath: .\ntrain: images/train\nval: [images/a, images/b]\n{names}")
    entries = {"train": ("images/train",), "val": ("images/a", "images/b")}
    assert read_data_yaml(path) == DataYaml(("car", "船 船"), ".", entries)


def test_words_that_yaml_takes_for_truth_or_numbers_stay_names(tmp_path: Path) -> None:
    path = write(tmp_path / "data.yaml", "names: [no, yes, 1.50, null, 2020-01-01, ~]\n")
    assert read_data_yaml(path).class_names == ("no", "yes", "1.50", "null", "2020-01-01", "~")


def test_null_is_nothing_and_in_quotes_a_folder(tmp_path: Path) -> None:
    text = "path: ~\ntrain: null\nval: [a, Null]\ntest: 'null'\nnames: [car]\n"
    assert read_data_yaml(write(tmp_path / "data.yaml", text)) == DataYaml(
        ("car",), "", {"val": ("a",), "test": ("null",)}
    )


def test_a_count_gives_the_names_that_ultralytics_gives(tmp_path: Path) -> None:
    assert read_data_yaml(write(tmp_path / "a.yaml", "nc: 2\nval:\n")).class_names == ("class_0", "class_1")
    assert read_data_yaml(write(tmp_path / "b.yaml", "train: x\n")).class_names == ()


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("names:\n  0: a\n  0: b\n", 3, "the key '0' stands twice"),
        ("names:\n  0: a\n  2: b\n", 2, "no name for class 1"),
        ("names:\n  0: a\n  1: a\n", 3, "the class name 'a' stands twice"),
        ("names:\n  0: a\n  1:\n", 3, "without a class name"),
        ("names:\n  0: a\n  one: b\n", 2, "'one' among the names is not the number"),
        ("names: a\n", 1, "is no mapping"),
        ("names: [[a]]\n", 1, "without a class name"),
        ("- a\n", 1, "is no mapping of keys to values"),
        ("", 1, "is no mapping of keys to values"),
        ("a: b\nnames: [a\n", 3, "is not YAML"),
        ("a: b\n\tnames: x\n", 2, "is not YAML"),
        ("a: " + "[" * 5000, 1, "is not YAML"),
        ("a: \x07", 1, "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_named_with_its_line(
    tmp_path: Path, text: str, line: int, sentence: str
) -> None:
    with pytest.raises(LabelError, match=rf"数\.yaml:{line}: .*{sentence}"):
        read_data_yaml(write(tmp_path / "数.yaml", text))


def test_a_file_that_is_changed_is_read_anew_and_a_missing_one_named(tmp_path: Path) -> None:
    path = write(tmp_path / "data.yaml", "names: [a]\n")
    assert read_data_yaml(path).class_names == ("a",)
    write(path, "names: [a, b]\n")
    assert read_data_yaml(path).class_names == ("a", "b")
    with pytest.raises(LabelError, match="cannot be read"):
        read_data_yaml(tmp_path / "none.yaml")


def test_the_file_of_a_folder_is_data_yaml_or_the_only_one_that_names_classes(tmp_path: Path) -> None:
    age(tmp_path, 9)
    assert find_data_yaml(tmp_path) is None
    write(tmp_path / "settings.yml", "lr: 1\n")
    write(tmp_path / "broken.yaml", "a: [\n")
    age(tmp_path, 2)
    assert find_data_yaml(tmp_path) is None
    only = write(tmp_path / "dota8.yaml", "names: [a]\n")
    age(tmp_path)
    assert find_data_yaml(tmp_path) == only
    write(tmp_path / "other.yml", "names: [b]\n")
    with pytest.raises(ValueError, match=r"holds dota8\.yaml, other\.yml; call the one that is meant data\.yaml"):
        find_data_yaml(tmp_path)
    meant = write(tmp_path / "data.yaml", "names: [c]\n")
    assert find_data_yaml(tmp_path) == meant


def test_names_of_any_script_come_back(tmp_path: Path) -> None:
    names = ("car", "集装箱 船", 'a "b" \\ c: #d', "no", "- x", "😀", "1")
    path = tmp_path / "data.yaml"
    write_data_yaml(path, names, {"train": "images/train", "val": "images/val"}, ["remark"])
    assert read_data_yaml(path) == DataYaml(names, "", {"train": ("images/train",), "val": ("images/val",)})
    write_data_yaml(path, (), {}, [])
    assert read_data_yaml(path).class_names == ()


def test_a_count_that_contradicts_the_names_is_refused(tmp_path: Path) -> None:
    """A class was forgotten, or it is the file of another set; Ultralytics refuses it, too."""
    path = tmp_path / "data.yaml"
    path.write_text("train: images\nnc: 3\nnames: [car, ship]\n")
    with pytest.raises(LabelError, match=r"data\.yaml:2: nc is 3, and there are 2 names"):
        read_data_yaml(path)
    path.write_text("train: images\nnc: 2\nnames: [car, ship]\n")
    assert read_data_yaml(path).class_names == ("car", "ship")
