"""The repaired copy: what can be mended is, a guess is not made, each change is listed, the input untouched."""

from __future__ import annotations

import csv
import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.readers import read_classes, read_samples
from datasets.splits import choose_split
from DOTA_devkit.boxes import self_crossing, signed_area
from DOTA_devkit.labels import Labels, read_labels
from DOTA_devkit.tile_index import TileIndex, read_index, write_index
from DOTA_devkit.tiling import lay_tiles
from tests import test_dota_folder as dota
from tests.label_documents import YOLO_LINE, write, yolo_folder
from tools import check_data
from tools.check_data import main
from tools.config import Config
from tools.data_check.data_folder import lay_out
from tools.data_check.data_repair import repair_folder, repair_labels, untangled
from tools.detection.whole_pictures import whole_pictures_of
from tools.running.stop_request import StopRequest

BOX = np.array([[10.0, 10.0], [40.0, 10.0], [40.0, 30.0], [10.0, 30.0]])


def labels_of(*quads: np.ndarray, names: list[str] | None = None) -> Labels:
    count = len(quads)
    array = np.array(quads, np.float64).reshape(-1, 4, 2)
    return Labels(array, names or ["car"] * count, np.zeros(count, np.int64), np.arange(count) + 1)


def repair(
    data_dir: Path, out_dir: Path, dataset: str = "dota", unreadable: frozenset[str] = frozenset()
) -> list[dict]:
    """The lines of changes.csv."""
    layout = lay_out(dataset, data_dir)
    repair_folder(layout, dataset, out_dir, set(unreadable), 0, StopRequest())
    with (out_dir / "changes.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_good_labels_stay_as_they_are_to_the_last_bit():
    labels = labels_of(BOX + 1 / 3, BOX + 20)
    kept, changes = repair_labels(labels, (100, 100), "a.txt")
    assert changes == []
    assert np.array_equal(kept.quads, labels.quads)
    assert kept.names == labels.names


def test_a_picture_without_labels_has_nothing_to_repair():
    assert repair_labels(labels_of(), (100, 100), "a.txt")[1] == []


def test_doubles_and_boxes_outside_are_left_out_and_the_rest_turned():
    labels = labels_of(
        BOX, BOX + np.array([200, 0]), BOX + 0.1, BOX[::-1] + 40, BOX - [20, 0], BOX + np.array([200.1, 0])
    )
    kept, changes = repair_labels(labels, (100, 100), "a.txt")
    assert [(item.line, item.change) for item in changes] == [
        (2, "left out, outside the picture"),
        (3, "left out, repeats line 1"),
        (4, "turned clockwise"),
        (6, "left out, outside the picture"),
    ]
    assert kept.lines.tolist() == [1, 4, 5]
    assert (signed_area(kept.quads) > 0).all()
    assert kept.quads[1, 0].tolist() == (BOX[::-1] + 40)[0].tolist()  # the first corner stays the first
    assert np.array_equal(kept.quads[2], BOX - [20, 0])  # half outside, as it was


def test_of_doubles_the_one_with_the_lowest_flag_stays():
    """An ignore region took the place of the object on a later line."""
    labels = labels_of(BOX, BOX + 0.1, BOX + 0.2, BOX + 40, BOX + 40.1)
    labels = labels._replace(difficult=np.array([2, 1, 0, 1, 1]))
    kept, changes = repair_labels(labels, (100, 100), "a.txt")
    assert (kept.lines.tolist(), kept.difficult.tolist()) == ([3, 4], [0, 1])
    assert [(item.line, item.change) for item in changes] == [
        (1, "left out, repeats line 3, whose flag is lower"),
        (2, "left out, repeats line 3, whose flag is lower"),
        (5, "left out, repeats line 4"),
    ]


def test_a_double_of_another_class_stays():
    assert repair_labels(labels_of(BOX, BOX, names=["car", "boat"]), (100, 100), "a.txt")[1] == []


@settings(deadline=None)
@given(st.permutations(range(4)), st.floats(0, 6.28), st.floats(1, 50))
def test_corners_in_any_order_are_put_in_order(order, angle, height):
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    quad = (np.array([[-20, -1], [20, -1], [20, 1], [-20, 1]]) * [1, height / 2]) @ turn
    mended = untangled(quad[list(order)])
    assert not self_crossing(mended[None]).any()
    assert signed_area(mended[None])[0] == pytest.approx(40 * height)
    assert mended[0].tolist() == quad[order[0]].tolist()


def test_the_copy_trains_and_every_change_is_listed(dota_folder, tmp_path):
    data_dir = dota_folder(
        "数据", names=("图 1", "b", "c", "d", "e"), lists={"trainval": ["图 1", "b", "nope", "c"], "test": ["d", "e"]}
    )
    path = data_dir / "labelTxt" / "图 1.txt"
    before = path.read_text(encoding="utf-8")
    number = before.count("\n") + 3
    bad = "10 10 40 30 40 10 10 30 car 1\r\n1 2 three 4 5 6 7 8 car 0\n50 50 50 70 90 70 90 50 little boat\n"
    path.write_text("imagesource:GoogleEarth\ngsd:0.1\n" + before + bad, encoding="utf-8-sig", newline="")
    (data_dir / "labelTxt" / "b.txt").unlink()
    (data_dir / "images" / "c.png").write_bytes(b"")
    inputs = tree(data_dir)
    out_dir = tmp_path / "mended"
    changes = repair(data_dir, out_dir, unreadable=frozenset("c"))
    assert tree(data_dir) == inputs
    listed = {(Path(row["file"]).name, int(row["line"]), row["change"]) for row in changes}
    assert listed == {
        ("图 1.txt", number, "corners put in order"),
        ("图 1.txt", number + 1, "left out, x2 is 'three', not a number"),
        ("图 1.txt", number + 2, "turned clockwise"),
        ("b.png", 0, "picture left out, it has no label file"),
        ("c.png", 0, "picture left out, it cannot be read"),
        ("trainval.txt", 3, "left out, no picture named 'nope'"),
        ("trainval.txt", 2, "line left out, 'b' is not in the copy"),
        ("trainval.txt", 4, "line left out, 'c' is not in the copy"),
    }
    (mended,) = (row for row in changes if row["change"] == "corners put in order")
    assert mended["before"] == "10 10 40 30 40 10 10 30 car 1"
    assert mended["after"] == "10 10 40 10 40 30 10 30 car 1"
    text = (out_dir / "labelTxt" / "图 1.txt").read_text(encoding="utf-8")
    assert text.startswith("imagesource:GoogleEarth\ngsd:0.1\n")
    names = read_labels(out_dir / "labelTxt" / "图 1.txt").names
    assert names[-2:] == ["car", "little boat"]
    layout = lay_out("dota", out_dir)
    assert layout.findings == []
    images = {pair.name: pair.image_path for pair in layout.pairs}
    classes = (*read_classes("dota", out_dir, []), "little boat")
    train = choose_split(out_dir, images, "train").names
    assert [sample.name for sample in read_samples("dota", out_dir, train, classes)] == ["图 1"]
    assert (out_dir / "images" / "图 1.png").read_bytes() == inputs["images/图 1.png"]


@pytest.mark.parametrize("flag", ["1", "1.0", "1.00", "1.", "+1"])
def test_a_mended_label_keeps_class_and_flag_however_the_flag_is_written(dota_folder, tmp_path, flag):
    """`large ship 1.00` became an object of a new class of that name."""
    data_dir = dota_folder(names=("a",))
    (data_dir / "labelTxt" / "a.txt").write_text(f"10 10 40 30 40 10 10 30 large ship {flag}\n", encoding="utf-8")
    repair(data_dir, tmp_path / "mended")
    labels = read_labels(tmp_path / "mended" / "labelTxt" / "a.txt")
    assert (labels.names, labels.difficult.tolist()) == (["large ship"], [1])


def test_a_class_whose_labels_were_all_mended_is_in_the_list_of_the_copy(dota_folder, tmp_path):
    """The list had the classes of the good labels alone, and the check of the copy called the others unknown."""
    data_dir = dota_folder(names=("a", "b"), lists={"train": ["a"], "val": ["b"]})
    (data_dir / "classes.txt").unlink()
    with (data_dir / "labelTxt" / "a.txt").open("a", encoding="utf-8") as file:
        file.write("10 10 40 30 40 10 10 30 crossed 0\n500 500 510 500 510 510 500 510 outside 0\n")
    out_dir = tmp_path / "mended"
    repair(data_dir, out_dir)
    assert (out_dir / "classes.txt").read_text(encoding="utf-8").split() == ["boat", "car", "crossed"]
    assert check_data.main([str(out_dir)]) == 0


def test_a_picture_of_which_no_label_can_be_used_is_no_negative_picture(dota_folder, tmp_path):
    """A file in UTF-16 became an empty one, and its objects background to learn."""
    data_dir = dota_folder("data", names=("a", "b", "c"))
    line = "10 10 40 10 40 30 10 30 car 0\n"
    (data_dir / "labelTxt" / "a.txt").write_text(line, encoding="utf-16")
    (data_dir / "labelTxt" / "b.txt").write_text(line + "1 2 3\n", encoding="utf-8")
    changes = repair(data_dir, tmp_path / "mended")
    assert sorted(path.name for path in (tmp_path / "mended" / "labelTxt").iterdir()) == ["b.txt", "c.txt"]
    assert sorted(path.name for path in (tmp_path / "mended" / "images").iterdir()) == ["b.png", "c.png"]
    assert [row["change"] for row in changes if row["file"].endswith("a.png")] == [
        "picture left out, none of its labels can be used"
    ]


def test_a_copy_in_which_nothing_would_be_is_not_written(dota_folder, tmp_path):
    """It was a folder without a picture, called done, with classes.txt of DOTA's fifteen."""
    data_dir = dota_folder(names=("a", "b"), lists={})
    for name in "ab":
        write(data_dir / "labelTxt" / f"{name}.txt", "no label\n")
    with pytest.raises(ValueError, match=r"no picture would be in the copy, so none was written, of .*a.txt: "):
        repair(data_dir, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_picture_whose_labels_all_lie_outside_is_no_negative_picture(dota_folder, tmp_path):
    """Labels copied from a larger picture became an empty file, and the objects background to learn."""
    data_dir = dota_folder("data", names=("a", "b", "c"))
    path = data_dir / "labelTxt" / "a.txt"
    path.write_text("400 10 440 10 440 30 400 30 car 0\n")
    changes = repair(data_dir, tmp_path / "mended")
    assert sorted(path.name for path in (tmp_path / "mended" / "labelTxt").iterdir()) == ["b.txt", "c.txt"]
    assert [(row["file"], row["line"], row["change"]) for row in changes] == [
        (str(path), "1", "left out, outside the picture"),
        (str(data_dir / "images" / "a.png"), "0", "picture left out, none of its labels can be used"),
    ]


def test_a_damaged_picture_that_nobody_told_of_is_left_out(dota_folder, tmp_path):
    data_dir = dota_folder(names=("a", "b"))
    (data_dir / "images" / "a.png").write_bytes(b"")
    (row,) = repair(data_dir, tmp_path / "mended")
    assert row["change"].startswith("picture left out")
    assert not (tmp_path / "mended" / "labelTxt" / "a.txt").exists()


def test_a_picture_whose_name_no_list_can_hold_is_left_out(dota_folder, tmp_path):
    """The copy had lists that nobody could read; a name that is not UTF-8 ended --fix half-way."""
    names = ("a", "b ", os.fsdecode(b"p\xff"), "c")
    data_dir = dota_folder(names=names, lists={"train": ["a", "b ", "c"]})
    changes = repair(data_dir, tmp_path / "mended")
    assert sorted(path.name for path in (tmp_path / "mended" / "images").iterdir()) == ["a.png", "c.png"]
    left_out = [row["change"] for row in changes if row["file"].endswith(".png")]
    assert left_out == [
        "picture left out, the picture name 'b ' begins or ends with a blank or has a line break",
        "picture left out, the picture name 'p\\udcff' is not UTF-8 text",
    ]


def test_a_label_file_that_cannot_be_read_costs_its_picture_alone(dota_folder, tmp_path, monkeypatch):
    """It ended --fix half-way, and left a copy that trained."""
    data_dir = dota_folder(names=("a", "b", "c"))
    bad, read_bytes = data_dir / "labelTxt" / "b.txt", Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self == bad:
            raise OSError(errno.EIO, "Input/output error", str(self))
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    changes = repair(data_dir, tmp_path / "mended")
    assert sorted(path.name for path in (tmp_path / "mended" / "images").iterdir()) == ["a.png", "c.png"]
    assert [(Path(row["file"]).name, row["change"]) for row in changes] == [
        ("b.txt", "nothing could be read: Input/output error"),
        ("b.png", "picture left out, none of its labels can be used"),
    ]


def test_a_header_that_cannot_be_written_is_left_out(dota_folder, tmp_path):
    """A form feed in it ended --fix half-way."""
    data_dir = dota_folder(names=("a", "empty"))
    for name in ("a", "empty"):
        path = data_dir / "labelTxt" / f"{name}.txt"
        path.write_text("imagesource:Google\fEarth\ngsd:0.1\n" + path.read_text())
    changes = repair(data_dir, tmp_path / "mended")
    assert [(Path(row["file"]).name, row["line"], row["change"]) for row in changes] == [
        (f"{name}.txt", "1", "left out, a header of more than one line") for name in ("a", "empty")
    ]
    for name in ("a", "empty"):
        assert (tmp_path / "mended" / "labelTxt" / f"{name}.txt").read_text().startswith("gsd:0.1\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_copy_that_is_not_finished_is_none(dota_folder, tmp_path, monkeypatch, error, is_there):
    """A part of the data was left behind that trained as if it were all."""
    data_dir = dota_folder()
    out_dir = tmp_path / "结果" / "mended"
    if is_there:
        out_dir.mkdir(parents=True)

    def stop(*arguments: object) -> None:
        raise error

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, OSError)):
        patch.setattr("tools.data_check.data_repair.write_lines", stop)  # of the lists, after all pictures
        repair(data_dir, out_dir)
    assert [path for path in out_dir.parent.rglob("*") if path != out_dir] == []
    repair(data_dir, out_dir)
    assert sorted(path.name for path in out_dir.iterdir()) == ["changes.csv", "classes.txt", "images", "labelTxt"]


def test_where_no_links_can_be_made_pictures_are_copied(dota_folder, tmp_path, monkeypatch):
    def refuse(self: Path, target: Path) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    data_dir = dota_folder()
    repair(data_dir, tmp_path / "mended")
    path = tmp_path / "mended" / "images" / "scene_0.png"
    assert not path.is_symlink()
    assert path.read_bytes() == (data_dir / "images" / "scene_0.png").read_bytes()


def test_an_xml_folder_becomes_labelTxt(real_folder, tmp_path):
    repair(real_folder("rolabelimg"), tmp_path / "mended", dataset="rolabelimg")
    assert sorted(path.name for path in (tmp_path / "mended" / "labelTxt").iterdir()) == [
        "demo.txt",
        "demo2.txt",
        "demo3.txt",
    ]
    labels = read_labels(tmp_path / "mended" / "labelTxt" / "demo.txt")
    assert labels.names == ["dog", "person", "dog", "dog"]
    assert labels.quads[0].tolist() == [[241, 52], [383, 52], [383, 107], [241, 107]]


def test_labels_without_a_picture_are_listed(dota_folder, tmp_path):
    data_dir = dota_folder(names=("a", "b"))
    (data_dir / "labelTxt" / "c.txt").write_text("")
    changes = repair(data_dir, tmp_path / "mended")
    assert [(Path(row["file"]).name, row["change"]) for row in changes] == [
        ("c.txt", "left out, no picture has this name")
    ]
    yolo = yolo_folder(tmp_path / "yolo", {"train/a": YOLO_LINE})
    (yolo / "images" / "val").mkdir()
    write(yolo / "labels" / "test" / "a.txt", YOLO_LINE)
    assert [Path(row["file"]).parent.name for row in repair(yolo, tmp_path / "2", dataset="yolo_obb")] == ["test"]


def test_every_list_is_in_the_copy_under_its_name(dota_folder, tmp_path):
    """test.txt was lost where there was a val.txt."""
    lists = {"train": ["scene_0"], "val": ["scene_1"], "trainval": ["scene_0", "scene_1"], "test": ["scene_2", "nope"]}
    lists |= {"夜": ["scene_3"]}
    data_dir = dota_folder(lists=lists)
    changes = repair(data_dir, tmp_path / "mended")
    assert [(Path(row["file"]).name, row["line"]) for row in changes] == [("test.txt", "2")]
    copied = {path.stem: path.read_text().split() for path in (tmp_path / "mended").glob("*.txt")}
    assert copied == lists | {"test": ["scene_2"], "classes": ["car", "boat"]}


def test_the_copy_of_tiles_has_their_index(dota_folder, tmp_path, capsys):
    """Without tiles.json the tiles of one picture fell on both sides of a split, and nothing merged them.

    The index tells of tiles that are left out, too: by it --phase eval knows that a picture is no longer whole.
    """
    tiles = {tile.name: tile for name in "ab" for tile in lay_tiles(name, 128, 228, 128, 28)}
    data_dir = dota_folder("数据", names=tuple(tiles))
    index = TileIndex(128, 28, ("car", "boat"), dict.fromkeys("ab", (128, 228)), tiles, "/data/图")
    write_index(data_dir / "tiles.json", index)
    (data_dir / "images" / f"{next(iter(tiles))}.png").write_bytes(b"")
    repair(data_dir, tmp_path / "mended")
    assert read_index(tmp_path / "mended") == index
    kept = [path.stem for path in (tmp_path / "mended" / "images").iterdir()]
    assert whole_pictures_of(tmp_path / "mended", kept, ("car", "boat"), Config()) is None
    assert "1 of 2 pictures have tiles that are not listed" in capsys.readouterr().err
    (data_dir / "tiles.json").write_text("{")
    (lost,) = (row for row in repair(data_dir, tmp_path / "2") if row["file"] == str(data_dir / "tiles.json"))
    assert lost["change"].startswith("left out, is not an index of tiles")
    assert not (tmp_path / "2" / "tiles.json").exists()


def test_a_bad_byte_costs_a_list_its_line_alone(dota_folder, tmp_path):
    """It emptied the whole list in the copy."""
    data_dir = dota_folder()
    (data_dir / "train.txt").write_bytes(b"scene_0\nsc\xe8ne_1\nscene_2\n")
    (row,) = repair(data_dir, tmp_path / "mended")
    assert (Path(row["file"]).name, row["line"]) == ("train.txt", "2")
    assert row["change"].startswith("left out, the line is not UTF-8 text")
    assert (tmp_path / "mended" / "train.txt").read_text() == "scene_0\nscene_2\n"


def test_every_split_of_yolo_is_in_the_copy(tmp_path):
    data_dir = yolo_folder(tmp_path / "data", {"train/a": "", "val/b": "", "test/c": ""}, None)
    (data_dir / "classes.txt").write_text("car\n")
    repair(data_dir, tmp_path / "mended", dataset="yolo_obb")
    copied = {path.stem: path.read_text().split() for path in (tmp_path / "mended").glob("*.txt")}
    assert copied == {"train": ["a"], "val": ["b"], "test": ["c"], "classes": ["car"]}


def test_negatives_of_yolo_get_an_empty_label_file(tmp_path):
    """They have no label file there, and were dropped for it."""
    data_dir = yolo_folder(tmp_path / "数据", {"train/图 1": YOLO_LINE, "train/b": None, "val/c": ""})
    assert repair(data_dir, tmp_path / "mended", dataset="yolo_obb") == []
    texts = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "mended" / "labelTxt").iterdir()}
    assert {name: len(text.splitlines()) for name, text in texts.items()} == {"图 1.txt": 1, "b.txt": 0, "c.txt": 0}
    assert (tmp_path / "mended" / "train.txt").read_text(encoding="utf-8") == "b\n图 1\n"


def test_a_change_that_looks_like_a_formula_is_made_harmless(dota_folder, tmp_path):
    data_dir = dota_folder(names=("a", "b"))
    with (data_dir / "labelTxt" / "a.txt").open("a", encoding="utf-8") as file:
        file.write('=HYPERLINK("x") 2 3 4 5 6 7 8 car\n')
    (row,) = repair(data_dir, tmp_path / "mended")
    assert row["before"].startswith("'=HYPERLINK")


def test_the_parts_of_dota_become_lists_of_the_copy(tmp_path):
    """Or training on the copy would split by seed, and learn what is to be scored."""
    for part, names in (("train", ["a", "b"]), ("val", ["c"])):
        dota.part(tmp_path / "data" / part, names)
    assert main([str(tmp_path / "data"), "--fix", str(tmp_path / "copy")]) == 0
    lists = {path.name: path.read_text().split() for path in (tmp_path / "copy").glob("*.txt")}
    assert lists.items() >= {"train.txt": ["a", "b"], "val.txt": ["c"]}.items()
    assert "images.txt" not in lists
