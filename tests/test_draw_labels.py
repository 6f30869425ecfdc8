"""The command that draws labels: which pictures, where to, and what it tells of those that it cannot draw."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from datasets.picture_files.images import read_image
from tests.label_documents import YOLO_LINE, yolo_folder
from tools.draw_labels import main


def test_pictures_are_drawn_under_their_names(dota_folder, tmp_path, capsys):
    data_dir = dota_folder("数据", names=("图 1", "b.c", "d"))
    assert main([str(data_dir), str(tmp_path / "结果")]) == 0
    assert sorted(path.name for path in (tmp_path / "结果").iterdir()) == ["b.c.jpg", "d.jpg", "图 1.jpg"]
    assert read_image(tmp_path / "结果" / "图 1.jpg").shape[1] == 768
    assert "3 pictures of 3" in capsys.readouterr().out


def test_a_seed_chooses_the_same_pictures(dota_folder, tmp_path):
    data_dir = dota_folder(names=tuple("abcdefgh"))
    chosen = []
    for run, seed in enumerate((1, 1, 2)):
        assert main([str(data_dir), str(tmp_path / str(run)), "--num", "3", "--seed", str(seed)]) == 0
        chosen.append(sorted(path.name for path in (tmp_path / str(run)).iterdir()))
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(chosen[0]) == 3


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_pictures_of_others_are_never_drawn_over(dota_folder, tmp_path, capsys, suffix):
    data_dir, others = dota_folder("a"), dota_folder("b", suffix=suffix)
    (data_dir / "images").rename(tmp_path / "elsewhere")
    (data_dir / "images").symlink_to(tmp_path / "elsewhere")
    before = {path: path.read_bytes() for path in (others / "images").iterdir()}
    assert main([str(data_dir), str(others / "images")]) == (2 if suffix == ".jpg" else 0)
    assert ("scene_0.jpg is there and is no earlier drawing" in capsys.readouterr().err) == (suffix == ".jpg")
    assert {path: path.read_bytes() for path in before} == before


def test_earlier_drawings_are_drawn_anew(dota_folder, tmp_path):
    data_dir = dota_folder()
    for number in range(2):
        assert main([str(data_dir), str(tmp_path / "out")]) == 0
        assert read_image(tmp_path / "out" / "scene_0.jpg").shape[1] == 768, number
        (data_dir / "labelTxt" / "scene_0.txt").write_text("")


def test_a_folder_without_pictures_is_one_sentence(dota_folder, tmp_path, capsys):
    data_dir = dota_folder(names=())
    assert main([str(data_dir), str(tmp_path / "out")]) == 1
    assert "holds no picture with a known suffix (.bmp" in capsys.readouterr().err


def test_a_list_chooses_the_pictures(dota_folder, tmp_path):
    data_dir = dota_folder(lists={"val": ["scene_2"]})
    assert main([str(data_dir), str(tmp_path / "out"), "--split", "val"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scene_2.jpg"]


def test_a_split_of_yolo_is_drawn_with_its_negatives(tmp_path):
    data_dir = yolo_folder(tmp_path / "数据", {"train/图 1": YOLO_LINE, "train/b": None, "val/c": ""})
    assert main([str(data_dir), str(tmp_path / "out"), "--split", "train"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.jpg", "图 1.jpg"]


def test_what_cannot_be_drawn_is_told_and_the_rest_drawn(dota_folder, tmp_path, capsys):
    data_dir = dota_folder()
    (data_dir / "images" / "scene_0.png").write_bytes(b"")
    (data_dir / "labelTxt" / "scene_1.txt").write_text("1 2 3\n10 10 40 10 40 30 10 30 tank 0\n")
    (data_dir / "labelTxt" / "scene_2.txt").unlink()
    assert main([str(data_dir), str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert "scene_0.png: the file is empty" in err
    assert "scene_1.txt:1: only 3 numbers" in err
    assert "scene_2.txt" in err
    assert "not among the classes: tank" in err
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.parametrize("flags", [["--num", "-1"], ["--seed", "-1"], ["--nmu", "3"]])
def test_a_wrong_flag_ends_with_2(dota_folder, tmp_path, flags):
    assert main([str(dota_folder()), str(tmp_path / "out"), *flags]) == 2


def test_a_picture_that_no_jpeg_holds_is_told_and_the_rest_drawn(dota_folder, tmp_path, capsys):
    data_dir = dota_folder(names=("a", "c"))
    cv2.imwrite(str(data_dir / "images" / "b.png"), np.zeros((2, 70_000, 3), np.uint8))
    (data_dir / "labelTxt" / "b.txt").touch()
    assert main([str(data_dir), str(tmp_path / "out")]) == 1
    assert "b.png: a side is longer than the 65500 pixels that a JPEG holds" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg", "c.jpg"]


def test_nothing_is_drawn_into_the_data(dota_folder):
    data_dir = dota_folder()
    assert main([str(data_dir), str(data_dir / "drawn")]) == 2
    assert main([str(data_dir / "none"), str(data_dir)]) == 2
