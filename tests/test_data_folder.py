"""A data folder laid out: who has no partner is told, in both directions, and lists are read as training reads them."""

from __future__ import annotations

import os
import unicodedata
from contextlib import nullcontext
from pathlib import Path

import pytest

from datasets.picture_files.images import ImageError
from datasets.readers import get_format, list_images
from datasets.splits import ListError, choose_split, read_list
from tests import test_dota_folder as dota
from tests.label_documents import PNG, YOLO_LINE, write, yolo_folder
from tools.data_check.data_folder import DataLayout, lay_out, read_members


def told(layout: DataLayout, kind: str) -> list[tuple[str, int]]:
    """(file, line) of the findings of a kind."""
    return [(Path(item.path).name, item.line) for item in layout.findings if item.kind == kind]


def test_a_whole_folder_has_nothing_to_tell(dota_folder):
    layout = lay_out("dota", dota_folder(lists={"train": ["scene_0", "scene_1"], "val": ["scene_2"]}))
    assert layout.findings == []
    assert [pair.part for pair in layout.pairs] == ["train", "train", "val", ""]
    assert all(pair.image_path.stem == pair.label_path.stem == pair.name for pair in layout.pairs)


def test_both_directions_are_told(dota_folder):
    data_dir = dota_folder("数据", names=("图 1", "b"))
    (data_dir / "labelTxt" / "图 1.txt").rename(data_dir / "labelTxt" / "图 2.txt")
    layout = lay_out("dota", data_dir)
    assert told(layout, "no-labels") == [("图 1.png", 0)]
    assert told(layout, "no-picture") == [("图 2.txt", 0)]
    assert [(pair.name, pair.label_path is None) for pair in layout.pairs] == [("b", False), ("图 1", True)]


def test_a_yolo_folder_without_any_label_file_is_an_error(tmp_path):
    """Training refuses it, and it was called sound."""
    data_dir = yolo_folder(tmp_path / "yolo", {"train/a": None, "val/b": None})
    assert told(lay_out("yolo_obb", data_dir), "nothing-labelled") == [("yolo", 0)]
    data_dir = yolo_folder(tmp_path / "some", {"train/a": YOLO_LINE, "val/b": None})
    assert told(lay_out("yolo_obb", data_dir), "nothing-labelled") == []


@pytest.mark.parametrize("is_yolo", [False, True])
def test_a_picture_of_a_kind_that_is_not_read_is_named(dota_folder, tmp_path, is_yolo):
    """Its labels were said to be without a picture, which was to be found or the file to be removed."""
    if is_yolo:
        data_dir = yolo_folder(tmp_path / "yolo", {"train/a": YOLO_LINE, "val/b": YOLO_LINE})
        picture = data_dir / "images" / "train" / "c.gif"
        write(data_dir / "labels" / "train" / "c.txt", YOLO_LINE)
    else:
        data_dir = dota_folder()
        picture = data_dir / "images" / "c.gif"
        write(data_dir / "labelTxt" / "c.txt", "")
    picture.write_bytes(b"GIF89a")
    (finding,) = (
        item for item in lay_out("yolo_obb" if is_yolo else "dota", data_dir).findings if item.kind == "no-picture"
    )
    assert (Path(finding.path).stem, finding.what) == ("c", "c.gif is of a kind that is not read; save it as PNG")


def test_pictures_that_differ_in_their_suffix_are_told_and_the_rest_is_looked_at(dota_folder):
    data_dir = dota_folder()
    (data_dir / "images" / "scene_1.JPG").write_bytes(b"")
    layout = lay_out("dota", data_dir)
    assert told(layout, "same-name") == [("scene_1.png", 0)]
    assert len(layout.pairs) == 4


def test_names_that_no_list_can_hold_are_told(dota_folder):
    names = ("a", "p 0 ", "a\nb", os.fsdecode(b"p\xff"))
    layout = lay_out("dota", dota_folder(names=names))
    assert {(item.picture, item.what) for item in layout.findings if item.kind == "bad-name"} == {
        ("p 0 ", "the picture name 'p 0 ' begins or ends with a blank or has a line break"),
        ("a\nb", "the picture name 'a\\nb' begins or ends with a blank or has a line break"),
        (os.fsdecode(b"p\xff"), "the picture name 'p\\udcff' is not UTF-8 text"),
    }


def test_lists_are_told_of_what_they_name_wrongly_and_twice(dota_folder):
    data_dir = dota_folder(lists={"trainval": ["scene_0", "", "nope", "scene_1.png"], "test": ["x/scene_1.png"]})
    layout = lay_out("dota", data_dir)
    assert told(layout, "bad-list") == [("trainval.txt", 3)]
    assert told(layout, "both-lists") == [("test.txt", 1)]


def test_members_are_those_that_training_reads(dota_folder):
    data_dir = dota_folder(names=("a", "a.b", "图 1", "c"))
    images = list_images("dota", data_dir)
    (data_dir / "train.txt").write_text("a\n\\x\\a.b.png\n./图 1.PNG\na\n\nc", encoding="utf-8-sig")
    members, findings = read_members(data_dir / "train.txt", images)
    assert list(members) == read_list(data_dir / "train.txt", images)
    assert members == {"a": 1, "a.b": 2, "图 1": 3, "c": 6}
    assert findings == []


def test_a_bad_byte_costs_a_list_its_line_alone(dota_folder):
    data_dir = dota_folder()
    (data_dir / "train.txt").write_bytes(b"scene_0\nsc\xe8ne_1\nscene_2\nnope\n")
    (data_dir / "val.txt").write_bytes(b"\xff\n")
    layout = lay_out("dota", data_dir)
    assert told(layout, "bad-list") == [("train.txt", 2), ("train.txt", 4), ("val.txt", 1)]
    assert {pair.name: pair.part for pair in layout.pairs if pair.part} == {"scene_0": "train", "scene_2": "train"}


def test_an_empty_list_is_told(dota_folder):
    data_dir = dota_folder()
    (data_dir / "val.txt").write_text("\n")
    assert told(lay_out("dota", data_dir), "bad-list") == [("val.txt", 1)]


def test_no_picture_at_all_is_an_error(tmp_path):
    (tmp_path / "labelTxt").mkdir()
    with pytest.raises(ImageError, match="holds no picture"):
        lay_out("dota", tmp_path)


def test_yolo_folders_are_laid_out_with_their_splits(real_folder):
    layout = lay_out("yolo_obb", real_folder("dota8"))
    assert layout.findings == []
    assert [pair.part for pair in layout.pairs].count("train") == 4
    assert [pair.part for pair in layout.pairs].count("val") == 4


def test_in_yolo_a_picture_without_a_label_file_is_one_without_objects(tmp_path):
    """Negatives were told as errors."""
    layout = lay_out("yolo_obb", yolo_folder(tmp_path, {"train/图 1": YOLO_LINE, "train/b": None, "val/c": ""}))
    assert [(finding.kind, finding.picture) for finding in layout.findings] == [("taken-for-empty", "b")]
    assert layout.missing_is_empty
    assert [pair.label_path is None for pair in layout.pairs] == [True, False, False]


def test_labels_of_yolo_without_a_picture_are_told_and_take_no_pictures_place(tmp_path):
    data_dir = yolo_folder(tmp_path, {"train/a": YOLO_LINE})
    (tmp_path / "images" / "val").mkdir()
    strays = [write(tmp_path / "labels" / part / "a.txt", "") for part in ("test", "val")]
    layout = lay_out("yolo_obb", data_dir)
    assert [item.path for item in layout.findings if item.kind == "no-picture"] == [*map(str, strays)]
    assert [pair.label_path for pair in layout.pairs] == [tmp_path / "labels" / "train" / "a.txt"]


def test_test_pictures_of_yolo_that_are_missing_are_told(tmp_path):
    data_dir = yolo_folder(tmp_path, {"train/a": YOLO_LINE}, "train: images/train\ntest: t\nnames: [car, boat]\n")
    (finding,) = lay_out("yolo_obb", data_dir).findings
    assert (finding.kind, finding.path) == ("no-test", str(tmp_path / "t"))


def test_pictures_of_yolo_that_no_split_names_and_dead_links_are_told(tmp_path):
    """They vanished without a word."""
    data_dir = yolo_folder(tmp_path / "data", {"train/a": YOLO_LINE, "val/b": YOLO_LINE, "rest/c": YOLO_LINE})
    (tmp_path / "data" / "images" / "train" / "d.png").symlink_to(tmp_path / "lost.png")
    (tmp_path / "data" / "images" / "train" / "e.png").symlink_to(tmp_path / "data" / "images" / "val" / "b.png")
    write(data_dir / "labels" / "train" / "d.txt", YOLO_LINE)
    for folder in (data_dir, data_dir / "images" / ".."):
        layout = lay_out("yolo_obb", folder)
        assert [pair.name for pair in layout.pairs] == ["a", "b", "e"]
        assert told(layout, "unlisted-picture") == [("c.png", 0)]
        assert told(layout, "dead-link") == [("d.png", 0)]
        assert told(layout, "no-picture") == [("d.txt", 0)]


def test_links_that_lead_nowhere_are_told(dota_folder):
    data_dir = dota_folder(names=("a", "b"))
    (data_dir / "images" / "c.png").symlink_to(data_dir / "lost.png")
    (data_dir / "images" / "d.png").mkdir()
    assert told(lay_out("dota", data_dir), "dead-link") == [("c.png", 0)]


def test_lists_in_a_yolo_folder_count_more_than_its_own_split_as_in_training(tmp_path):
    data_dir = yolo_folder(tmp_path, {"train/a": YOLO_LINE, "train/b": YOLO_LINE, "val/c": ""})
    (data_dir / "train.txt").write_text("./images/train/a.png\n")
    (data_dir / "val.txt").write_text("b\nnope\n")
    layout = lay_out("yolo_obb", data_dir)
    known = get_format("yolo_obb").splits(data_dir)
    for part in ("train", "val"):
        if part == "val":
            (data_dir / "val.txt").write_text("b\n")  # training stops at the line that is told of
        names = choose_split(data_dir, list_images("yolo_obb", data_dir), part, known=known).names
        assert [pair.name for pair in layout.pairs if pair.part == part] == names
    assert told(layout, "bad-list") == [("val.txt", 2)]


def test_label_files_are_found_whose_suffix_is_written_in_capitals(dota_folder):
    data_dir = dota_folder(names=("a", "b"))
    (data_dir / "labelTxt" / "a.txt").rename(data_dir / "labelTxt" / "a.TXT")
    layout = lay_out("dota", data_dir)
    assert layout.findings == []
    assert [pair.label_path.name for pair in layout.pairs] == ["a.TXT", "b.txt"]


def test_lists_of_another_folder_take_the_place_of_its_own(dota_folder, tmp_path):
    data_dir = dota_folder(lists={"train": ["scene_0"], "val": ["nope"]})
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.txt").write_text("scene_1\n")
    (tmp_path / "lists" / "test.txt").write_text("scene_2\n")
    layout = lay_out("dota", data_dir, tmp_path / "lists")
    assert layout.findings == []
    assert [pair.name for pair in layout.pairs if pair.part] == ["scene_1", "scene_2"]


@pytest.mark.parametrize(
    ("lists", "missing"), [([], ["train.txt", "val.txt"]), (["trainval"], ["val.txt"]), (["val", "x"], ["train.txt"])]
)
def test_a_folder_of_lists_without_those_that_training_needs_is_told(dota_folder, tmp_path, lists, missing):
    """It passed as clean, and training stopped."""
    data_dir = dota_folder(lists={"train": ["scene_0"], "val": ["scene_1"]})
    (tmp_path / "lists").mkdir()
    for name in lists:
        (tmp_path / "lists" / f"{name}.txt").write_text("scene_2\n")
    layout = lay_out("dota", data_dir, tmp_path / "lists")
    assert told(layout, "no-list") == [(name, 0) for name in missing]
    for role in ("train", "val"):
        stops = f"{role}.txt" in missing
        with pytest.raises(ListError) if stops else nullcontext():
            choose_split(data_dir, list_images("dota", data_dir), role, lists_dir=tmp_path / "lists")


def test_lists_of_any_name_are_checked_and_other_texts_are_none(dota_folder):
    """holdout.txt, for --split holdout, was never looked at."""
    data_dir = dota_folder(lists={"train": ["scene_0"], "夜": ["scene_1", "nope"], "test": ["scene_2"]})
    (data_dir / "README.txt").write_text("Taken by night.\n")
    (data_dir / ".hidden.txt").write_text("scene_0\n")
    (data_dir / "scene_3.txt").write_text("1 0.5 0.5 0.1 0.1\n")  # the labels of a picture beside it
    layout = lay_out("dota", data_dir)
    assert told(layout, "bad-list") == [("夜.txt", 2)]
    assert told(layout, "other-text") == [("README.txt", 0)]
    assert [(part.path.name, [*part.members]) for part in layout.others] == [("夜.txt", ["scene_1"])]


def test_the_parts_that_dota_comes_in_are_checked_each_and_its_test_without_labels_is_not(tmp_path):
    dota.part(tmp_path / "train", ["a", "b"])
    dota.part(tmp_path / "val", ["c"], "annfiles")
    dota.part(tmp_path / "test", ["d"], None)
    (tmp_path / "val" / "images" / "a.png").write_bytes(PNG)
    layout = lay_out("dota", tmp_path)
    assert [(pair.name, pair.part, pair.label_path is not None) for pair in layout.pairs] == [
        ("a", "train", True),
        ("b", "train", True),
        ("c", "val", True),
    ]
    assert told(layout, "same-name") == [("a.png", 0)]
    assert {finding.kind for finding in layout.findings} == {"same-name", "both-lists"}


def test_lists_in_image_sets_are_checked(dota_folder):
    data_dir = dota_folder(names=("a", "b"))
    write(data_dir / "ImageSets" / "train.txt", "a\n")
    write(data_dir / "ImageSets" / "val.txt", "b\nlost\n")
    layout = lay_out("dota", data_dir)
    assert {part: list(members) for part, (_, members) in layout.parts.items()} == {"train": ["a"], "val": ["b"]}
    assert told(layout, "bad-list") == [("val.txt", 2)]


def test_parts_without_any_labels_are_told_of_picture_by_picture(tmp_path):
    dota.part(tmp_path / "train", ["a"], None)
    assert told(lay_out("dota", tmp_path), "no-labels") == [("a.png", 0)]


def test_labels_are_those_of_the_picture_whose_name_is_spelt_otherwise(tmp_path: Path) -> None:
    picture, label = (unicodedata.normalize(form, "Gerät 1") for form in ("NFD", "NFC"))
    for folder, name in (("images", f"{picture}.png"), ("labelTxt", f"{label}.txt"), ("labelTxt", "other.txt")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).touch()
    found = lay_out("dota", tmp_path, None)
    assert [(pair.name, pair.label_path) for pair in found.pairs] == [(picture, tmp_path / "labelTxt" / f"{label}.txt")]
    assert [finding.path for finding in found.findings] == [str(tmp_path / "labelTxt" / "other.txt")]
