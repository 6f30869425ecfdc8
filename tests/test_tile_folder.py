"""Whose a folder of tiles is, and which lists it gets: tiles of a picture stay together."""

from __future__ import annotations

import shutil

import pytest

from datasets.picture_files.image_folders import find_images
from datasets.readers import read_samples
from datasets.splits import choose_split, read_list
from DOTA_devkit.labels import read_labels
from DOTA_devkit.tile_index import read_index
from tools.config import Config
from tools.detection.whole_pictures import whole_pictures_of
from tools.running.folder_lock import locked
from tools.split_tiles import main

SMALL = ["--size", "64", "--overlap", "40", "--workers", "0"]


def test_a_folder_that_another_process_cuts_tiles_into_is_left_alone(dota_folder, tmp_path, capsys):
    """Its half-written tiles were taken for those of a killed run, and removed."""
    src, dst = dota_folder(names=("a", "b"), hw=(64, 64)), tmp_path / "tiles"
    assert main([str(src), str(dst), *SMALL]) == 0
    half = dst / "images" / ".x.png.0123456789ab.tmp"
    half.write_bytes(b"half")
    with locked(dst / ".split"):
        assert main([str(src), str(dst), *SMALL]) == 2
    assert "another process is cutting tiles into this folder" in capsys.readouterr().err
    assert half.exists()
    assert main([str(src), str(dst), *SMALL]) == 0
    assert not half.exists()


def test_a_run_that_was_killed_before_it_wrote_its_settings_does_not_take_the_folder(dota_folder, tmp_path):
    src, dst = dota_folder(names=("a", "b"), hw=(64, 64)), tmp_path / "tiles"
    (dst / ".split").mkdir(parents=True)
    (dst / ".split" / ".lock").touch()
    assert main([str(src), str(dst), *SMALL]) == 0


def test_other_settings_than_before_are_refused(dota_folder, tmp_path, capsys):
    src, dst = dota_folder(), tmp_path / "tiles"
    assert main([str(src), str(dst), *SMALL]) == 0
    assert main([str(src), str(dst), *SMALL, "--overlap", "10"]) == 2
    assert "holds tiles made otherwise: overlap 40 (now 10); name another folder" in capsys.readouterr().err
    (src / "images" / "scene_0.png").unlink()
    assert main([str(src), str(dst), *SMALL]) == 2
    assert "holds tiles of 'scene_0', which is not in" in capsys.readouterr().err


def test_tiles_up_to_a_bad_label_are_kept_when_it_is_passed_over(dota_folder, tmp_path, capsys):
    """The folder was refused, as made otherwise, with all the tiles in it."""
    src, dst = dota_folder(names=("a", "b")), tmp_path / "tiles"
    last, first = sorted(("a", "b"), key=lambda name: (src / "images" / f"{name}.png").stat().st_size)
    label = src / "labelTxt" / f"{last}.txt"
    label.write_text(label.read_text(encoding="utf-8") + "no label\n", encoding="utf-8")
    assert main([str(src), str(dst), *SMALL]) == 1
    made = {path: path.stat().st_mtime_ns for path in (dst / "images").glob(f"{first}__*")}
    assert main([str(src), str(dst), *SMALL, "--on_bad_label", "skip", "--missing_labels", "empty"]) == 0
    assert made
    assert made.items() <= {path: path.stat().st_mtime_ns for path in (dst / "images").iterdir()}.items()
    assert main([str(src), str(dst), *SMALL]) == 2
    assert "on_bad_label skip (now error)" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["3", '{"train.txt": 1}', '[["train.txt"], 3, "../mine.txt", "notes.md"]', "[", ""])
def test_a_damaged_record_of_the_lists_removes_nothing_of_others(dota_folder, tmp_path, text):
    src, dst = dota_folder(names=("a", "b", "c"), hw=(64, 64)), tmp_path / "tiles"
    assert main([str(src), str(dst), *SMALL]) == 0
    others = [tmp_path / "mine.txt", dst / "notes.md"]
    for path in others:
        path.write_text("mine")
    (dst / ".split" / "lists.json").write_text(text)
    assert main([str(src), str(dst), *SMALL]) == 0
    assert [path.read_text() for path in others] == ["mine", "mine"]
    (dst / ".split" / "settings.json").write_text(text)
    assert main([str(src), str(dst), *SMALL]) == 2


def test_a_folder_in_use_and_the_source_itself_are_refused(dota_folder, tmp_path, capsys):
    src = dota_folder()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    assert main([str(src), str(tmp_path / "mine"), *SMALL]) == 2
    assert "is in use" in capsys.readouterr().err
    for dst in (src, src / "tiles"):
        assert main([str(src), str(dst), *SMALL]) == 2
        assert "lies in the data folder" in capsys.readouterr().err
    assert not (src / "tiles").exists()


def test_without_lists_the_tiles_of_a_picture_stay_on_one_side(dota_folder, tmp_path):
    src = dota_folder(names=[f"p{number}" for number in range(12)], hw=(100, 100))
    assert main([str(src), str(tmp_path / "tiles"), *SMALL]) == 0
    index, images = read_index(tmp_path / "tiles"), find_images(tmp_path / "tiles" / "images")
    sides = [
        {index.tiles[name].picture for name in choose_split(tmp_path / "tiles", images, role).names}
        for role in ("train", "val")
    ]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 12


def test_other_lists_than_those_of_the_folder_may_be_named(dota_folder, tmp_path, capsys):
    """Lists of tools.split_train_val lie beside the data: the tiles were split anew, by seed."""
    src = dota_folder(hw=(96, 96), lists={"train": ["scene_0"], "val": ["scene_1"]})
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("scene_0\nscene_1\nscene_2\n", encoding="utf-8")
    flags = ["--size", "96", "--overlap", "16", "--workers", "0", "--lists", str(lists)]
    assert main([str(src), str(tmp_path / "tiles"), *flags]) == 1
    assert "val.txt" in capsys.readouterr().err
    (lists / "val.txt").write_text("scene_3\n", encoding="utf-8")
    assert main([str(src), str(tmp_path / "tiles"), *flags]) == 0
    assert (tmp_path / "tiles" / "val.txt").read_text(encoding="utf-8").split()[0].startswith("scene_3")
    assert len((tmp_path / "tiles" / "train.txt").read_text(encoding="utf-8").split()) == 3
    (lists / "test.txt").write_text("scene_0\n", encoding="utf-8")
    (tmp_path / "tiles" / "mine.txt").touch()
    assert main([str(src), str(tmp_path / "tiles"), *flags]) == 0
    assert (tmp_path / "tiles" / "test.txt").is_file()
    (lists / "test.txt").unlink()
    assert main([str(src), str(tmp_path / "tiles"), *flags]) == 0
    assert not (tmp_path / "tiles" / "test.txt").exists(), "its tiles are trained on now"
    assert (tmp_path / "tiles" / "mine.txt").is_file()
    assert main([str(src), str(tmp_path / "t"), "--lists", str(tmp_path / "no")]) == 2
    assert "no: no such folder" in capsys.readouterr().err


def test_other_text_files_are_not_taken_for_lists(dota_folder, tmp_path, capsys):
    src = dota_folder(lists={"train": ["scene_0"], "val": ["scene_1"], "night": ["scene_2"]})
    (src / "readme.txt").write_text("nothing of interest\n", encoding="utf-8")
    assert main([str(src), str(tmp_path / "tiles"), *SMALL]) == 0
    names = {path.name for path in (tmp_path / "tiles").glob("*.txt")}
    assert names == {"classes.txt", "train.txt", "val.txt", "night.txt"}
    assert "readme.txt is not taken for a list" in capsys.readouterr().err


def test_an_empty_list_is_told(dota_folder, tmp_path, capsys):
    src = dota_folder(lists={"train": []})
    assert main([str(src), str(tmp_path / "tiles"), *SMALL]) == 1
    assert "train.txt: the list names no picture" in capsys.readouterr().err


def test_a_list_whose_pictures_are_left_out_is_told(dota_folder, tmp_path, capsys):
    """Their tiles were said to be empty."""
    src = dota_folder(lists={"train": ["scene_0"], "val": ["scene_1"]})
    (src / "labelTxt" / "scene_1.txt").write_text("no label\n", encoding="utf-8")
    assert main([str(src), str(tmp_path / "tiles"), *SMALL, "--on_bad_label", "skip"]) == 0
    assert "val.txt: lists no tile, since its pictures are left out\n" in capsys.readouterr().err


def test_a_name_that_lists_cannot_hold_is_refused(dota_folder, tmp_path, capsys):
    assert main([str(dota_folder(names=(" a", "b"))), str(tmp_path / "tiles"), *SMALL]) == 1
    assert "the picture name ' a'" in capsys.readouterr().err


def test_the_parts_that_dota_comes_in_are_cut_into_one_folder_and_scored_whole(dota_folder, tmp_path, capsys):
    src = tmp_path / "dota"
    src.mkdir()
    for part, names in (("train", ("a", "b")), ("val", ("c", "e")), ("test", ("d",))):
        dota_folder(names=names, hw=(128, 150)).rename(src / part)
        (src / part / "classes.txt").rename(src / "classes.txt")
    (src / "val" / "labelTxt").rename(src / "val" / "annfiles")
    shutil.rmtree(src / "test" / "labelTxt")
    dst = tmp_path / "tiles"
    assert main([str(src), str(dst), *SMALL]) == 0
    assert "1 pictures of parts without labels are left out" in capsys.readouterr().out
    images, index = find_images(dst / "images"), read_index(dst)
    for kind, names in (("train", {"a", "b"}), ("val", {"c", "e"})):
        listed = read_list(dst / f"{kind}.txt", images)
        assert {index.tiles[name].picture for name in listed} == names
        assert sum(len(sample.quads) for sample in read_samples("dota", dst, listed, index.class_names)) > 0
    whole = whole_pictures_of(dst, read_list(dst / "val.txt", images), index.class_names, Config())
    assert len(whole.truths["c"].quads) == len(read_labels(src / "val" / "annfiles" / "c.txt").names) > 0


def test_classes_that_no_version_of_dota_has_are_written(dota_folder, tmp_path):
    src = dota_folder(names=("a", "b", "c"))
    (src / "classes.txt").unlink()
    (src / "labelTxt" / "a.txt").write_text("10 10 20 10 20 20 10 20 wind turbine 0\n", encoding="utf-8")
    (src / "labelTxt" / "b.txt").write_text("10 10 20 10 20 20 10 20 DontCare 0\n", encoding="utf-8")
    assert main([str(src), str(tmp_path / "tiles"), *SMALL]) == 0
    assert read_index(tmp_path / "tiles").class_names == ("wind turbine",)
    assert (tmp_path / "tiles" / "classes.txt").read_text(encoding="utf-8") == "wind turbine\n"
