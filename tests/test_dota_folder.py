"""DOTA's folders are opened as they come: whole, in parts, and with the names that mmrotate gives."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from datasets.format_detection import detect_format
from datasets.label_formats.dota_folder import is_dota_folder, label_dir_of, open_dota, unread_folders
from datasets.label_formats.label_folders import read_dota_folder
from datasets.readers import list_images, read_classes, read_samples
from datasets.splits import ListError, choose_split
from tests.label_documents import PNG, write
from tools.config import Config
from tools.data import open_data
from tools.data_check.data_folder import lay_out

LINE = "75 50 155 110 125 150 45 90 {} 0\n"


def part(folder: Path, names: Sequence[str], labels: str | None = "labelTxt", class_name: str = "ship") -> None:
    """Pictures, and a folder of labels with an object in each."""
    (folder / "images").mkdir(parents=True)
    for name in names:
        (folder / "images" / f"{name}.png").write_bytes(PNG)
        if labels:
            write(folder / labels / f"{name}.txt", LINE.format(class_name))


def sides(data_dir: Path) -> tuple[list[str], list[str]]:
    images, known = list_images("dota", data_dir), open_dota(data_dir).splits
    train, val = (choose_split(data_dir, images, role, known=known).names for role in ("train", "val"))
    return train, val


@pytest.mark.parametrize(
    "labels", ["labelTxt", "annfiles", "labelTxt-v1.5", "labelTxt-v1.0/labelTxt", "labelTxt-v1.5/DOTA-v1.5_train"]
)
def test_the_parts_that_dota_comes_in_are_its_splits(tmp_path: Path, labels: str) -> None:
    data_dir = tmp_path / "图 1"
    part(data_dir / "train", ["P0001", "P0002"], labels)
    part(data_dir / "val", ["P0003"], labels, "harbor")
    part(data_dir / "test", ["P0004"], None)
    assert detect_format(data_dir) == "dota"
    assert list(list_images("dota", data_dir)) == ["P0001", "P0002", "P0003", "P0004"]
    assert sides(data_dir) == (["P0001", "P0002"], ["P0003"])
    classes = read_classes("dota", data_dir, ["P0001", "P0003"])
    samples = read_samples("dota", data_dir, ["P0002", "P0003"], classes)
    assert [[classes[label] for label in sample.labels] for sample in samples] == [["ship"], ["harbor"]]
    assert [sample.image_path.parent.parent.name for sample in samples] == ["train", "val"]
    for src, names in ((data_dir, ["P0001", "P0002", "P0003"]), (data_dir / "val", ["P0003"])):  # to convert them
        assert [picture.name for picture in read_dota_folder(src).pictures] == names


def test_mmrotates_trainval_is_trained_on_and_a_test_without_labels_is_not_scored(tmp_path: Path) -> None:
    part(tmp_path / "trainval", [f"P{number}" for number in range(10)], "annfiles")
    part(tmp_path / "test", ["P99"], None)
    assert open_dota(tmp_path).splits.keys() == {"train"}
    train, val = sides(tmp_path)
    assert (len(train), len(val)) == (9, 1)
    assert not {"P99", *train} & {*val}


def test_trainval_beside_train_counts_no_picture_twice(tmp_path: Path) -> None:
    part(tmp_path / "train", ["a"])
    part(tmp_path / "val", ["b"])
    part(tmp_path / "trainval", ["a", "b"])
    assert sides(tmp_path) == (["a"], ["b"])


def test_two_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    part(tmp_path / "train", ["a"])
    part(tmp_path / "val", ["a"])
    with pytest.raises(ValueError, match="two pictures are called 'a'"):
        open_dota(tmp_path)


def test_one_folder_has_no_splits_and_may_call_its_labels_annfiles(tmp_path: Path) -> None:
    part(tmp_path, ["a", "b"], "annfiles")
    assert detect_format(tmp_path) == "dota"
    assert open_dota(tmp_path).splits == {}
    assert label_dir_of(tmp_path, "a") == tmp_path / "annfiles"
    assert len(read_samples("dota", tmp_path, ["a"], ("ship",))[0].quads) == 1


def test_labels_of_several_versions_are_for_people_to_choose_from(tmp_path: Path) -> None:
    part(tmp_path, ["P0001"], "labelTxt-v1.0")
    write(tmp_path / "labelTxt-v1.5" / "P0001.txt", "")
    with pytest.raises(ValueError, match=r"several versions \(labelTxt-v1\.0, labelTxt-v1\.5\); rename the one"):
        detect_format(tmp_path)
    for name in ("DOTA-v1.5_val", "DOTA-v1.5_train", "DOTA-v1.5_val_hbb"):
        write(tmp_path / "other" / "labelTxt-v1.5" / name / "P0001.txt", "")
    with pytest.raises(ValueError, match=r"several folders \(DOTA-v1.5_train, DOTA-v1.5_val\)"):
        detect_format(tmp_path / "other")
    (tmp_path / "labelTxt-v1.5").rename(tmp_path / "labelTxt")
    assert label_dir_of(tmp_path, "P0001") == tmp_path / "labelTxt"


@pytest.mark.parametrize("labels", ["labelTxt", "DOTA-v1.5_train"])
@pytest.mark.parametrize("other", ["trainset_reclabelTxt", "DOTA-v1.5_train_hbb", "valset_Task2_gt"])
def test_horizontal_boxes_beside_the_labels_of_an_archive_are_passed_over(
    tmp_path: Path, labels: str, other: str
) -> None:
    part(tmp_path, ["P0001"], f"labelTxt-v1.0/{labels}")
    write(tmp_path / "labelTxt-v1.0" / other / "P0001.txt", "")
    assert label_dir_of(tmp_path, "P0001") == tmp_path / "labelTxt-v1.0" / labels


def test_a_picture_that_comes_later_is_seen(tmp_path: Path) -> None:
    part(tmp_path / "train", ["a"])
    assert list(open_dota(tmp_path).images) == ["a"]
    shutil.rmtree(tmp_path / "train")
    part(tmp_path / "train", ["a", "b"])
    assert list(open_dota(tmp_path).images) == ["a", "b"]


def test_what_has_no_labels_is_no_dota(tmp_path: Path) -> None:
    assert not is_dota_folder(tmp_path)
    part(tmp_path / "train", ["a"], None)
    assert not is_dota_folder(tmp_path)


def test_trainval_beside_val_gives_up_what_val_has(tmp_path: Path) -> None:
    part(tmp_path / "trainval", ["a", "b"])
    part(tmp_path / "val", ["b"])
    assert sides(tmp_path) == (["a"], ["b"])
    assert open_dota(tmp_path).images["b"].parent.parent.name == "val"
    converted = {picture.name: picture.split for picture in read_dota_folder(tmp_path).pictures}
    assert converted == {"a": "train", "b": "val"}
    checked = lay_out("dota", tmp_path)
    assert not checked.findings
    places = {pair.name: (pair.part, pair.image_path.parent.parent.name) for pair in checked.pairs}
    assert places == {"a": ("train", "trainval"), "b": ("val", "val")}


def test_a_folder_of_an_archive_is_looked_through_once(tmp_path: Path, monkeypatch) -> None:
    """Once a picture: of 4,000 label files that took 6 seconds."""
    labels = tmp_path / "labelTxt-v1.5" / "DOTA-v1.5_train"
    for folder in (labels, tmp_path / "images"):
        folder.mkdir(parents=True)
    looked, glob = [], Path.glob
    monkeypatch.setattr(Path, "glob", lambda path, pattern: (looked.append(path), glob(path, pattern))[1])
    for number in range(50):
        assert label_dir_of(tmp_path, f"p{number}") == labels
    assert looked.count(tmp_path / "labelTxt-v1.5") == 1
    (tmp_path / "labelTxt-v1.5" / "labelTxt").mkdir()
    assert label_dir_of(tmp_path, "p0") == tmp_path / "labelTxt-v1.5" / "labelTxt", "it has changed"


def test_a_test_without_labels_may_have_pictures_of_the_same_names(tmp_path: Path) -> None:
    """Nothing reads them, and training stopped at them all the same."""
    part(tmp_path / "train", ["0", "1"])
    part(tmp_path / "val", ["2"])
    part(tmp_path / "test", ["0", "3"], None)
    folder = open_dota(tmp_path)
    assert {name: path.parent.parent.name for name, path in folder.images.items()} == {
        "0": "train",
        "1": "train",
        "2": "val",
        "3": "test",
    }
    assert folder.unlabelled == {"3"}
    with pytest.raises(ListError, match=r"test: has no labels, and so cannot be scored; --phase test --input .*images"):
        choose_split(tmp_path, folder.images, "val", "test", known=folder.splits)


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_parts_of_other_names_are_read_too(tmp_path: Path, name: str) -> None:
    """Roboflow's valid/ was passed over without a word, and test/ took its place."""
    part(tmp_path / "train", ["a", "b"])
    part(tmp_path / name, ["c"])
    part(tmp_path / "test", ["d"])
    assert sides(tmp_path) == (["a", "b"], ["c"])
    assert unread_folders(tmp_path) == []
    layout = lay_out("dota", tmp_path)
    assert {part: sorted(found.members) for part, found in layout.parts.items()} == {"train": ["a", "b"], "val": ["c"]}
    assert {picture.name: picture.split for picture in read_dota_folder(tmp_path).pictures}["c"] == "val"


def test_of_two_parts_of_one_role_the_first_is_read_and_the_other_told(tmp_path: Path) -> None:
    part(tmp_path / "train", ["a"])
    part(tmp_path / "val", ["b"])
    part(tmp_path / "valid", ["b", "c"])
    assert sides(tmp_path) == (["a"], ["b"])
    assert unread_folders(tmp_path) == [tmp_path / "valid" / "images"]


@pytest.mark.parametrize("name", [".thumbs", "@eaDir", "__MACOSX"])
def test_folders_that_systems_keep_beside_pictures_are_no_data(tmp_path: Path, name: str) -> None:
    part(tmp_path, ["a"])
    (tmp_path / "images" / name).mkdir()
    (tmp_path / "images" / name / "a.png").write_bytes(PNG)
    assert unread_folders(tmp_path) == []


def test_a_split_is_called_by_its_own_name(tmp_path: Path) -> None:
    """Without val/, pictures of test/ were told to be those of its own val split."""
    part(tmp_path / "train", ["a"])
    part(tmp_path / "test", ["b"])
    images = list_images("dota", tmp_path)
    assert choose_split(tmp_path, images, "val", known=open_dota(tmp_path).splits).source.endswith("its own test split")


@pytest.mark.parametrize("place", ["images/more", "val/images"])
def test_folders_of_pictures_that_nothing_reads_are_told(tmp_path: Path, capsys, place: str) -> None:
    """Half of the pictures were left out, and check_data found nothing."""
    part(tmp_path, ["a", "b"])
    (tmp_path / place).mkdir(parents=True)
    assert unread_folders(tmp_path) == []
    (tmp_path / place / "c.png").write_bytes(PNG)
    assert unread_folders(tmp_path) == [tmp_path / place]
    found = [finding for finding in lay_out("dota", tmp_path).findings if finding.kind == "unread-folder"]
    assert [finding.path for finding in found] == [str(tmp_path / place)]
    open_data(Config(data_dir=tmp_path))
    assert f"{tmp_path / place}: its pictures are not read" in capsys.readouterr().err


def test_a_trainval_beside_train_is_meant_to_be_passed_over(tmp_path: Path) -> None:
    for name in ("train", "trainval", "val"):
        part(tmp_path / name, [f"{name}_1"])
    assert unread_folders(tmp_path) == []
