"""The splitting command as a user meets it: its lists, its table, and what it keeps together."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.picture_files.image_folders import find_images
from datasets.splits import choose_split
from DOTA_devkit.tile_index import TileIndex, write_index
from DOTA_devkit.tiling import lay_tiles
from tools import split_tiles
from tools.split_train_val import main

REPOSITORY = Path(__file__).resolve().parent.parent
LISTS = ("trainval", "train", "val", "test")


def make_data(folder: Path, objects: dict[str, Sequence[str]], images: dict[str, np.ndarray] | None = None) -> Path:
    """A folder in DOTA's layout of pictures, each with objects of these classes."""
    (folder / "images").mkdir(parents=True)
    (folder / "labelTxt").mkdir()
    for name, classes in objects.items():
        image = (images or {}).get(name, np.zeros((8, 8, 3), np.uint8))
        (folder / "images" / f"{name}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
        lines = "".join(f"1 1 5 1 5 4 1 4 {class_name} 0\n" for class_name in classes)
        (folder / "labelTxt" / f"{name}.txt").write_text(lines, encoding="utf-8")
    class_names = sorted({name for classes in objects.values() for name in classes} | {"car"})
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
    return folder


def read_lists(folder: Path) -> dict[str, list[str]]:
    return {name: (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines() for name in LISTS}


def split(data_dir: Path, *flags: object) -> tuple[int, dict[str, list[str]]]:
    out = data_dir.parent / "列表 1"
    code = main([str(data_dir), "--out", str(out), *map(str, flags)])
    return code, read_lists(out) if code == 0 else {}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Forty pictures of ten videos, with many cars, fewer ships and three planes."""
    objects = {
        f"视频 {k // 4}_{k:02}": ["car"] * (k % 5) + ["ship"] * (k % 7 == 0) + ["plane"] * (k in (3, 20, 33))
        for k in range(40)
    }
    return make_data(tmp_path / "数据", objects)


# -- the lists


def test_four_lists_are_written_and_nothing_beside_the_data(data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    before = sorted(path.name for path in data_dir.iterdir())
    code, lists = split(data_dir, "--val", 0.2, "--test", 0.1)
    assert code == 0
    names = sorted(find_images(data_dir / "images"))
    assert sorted(lists["train"] + lists["val"] + lists["test"]) == names
    assert sorted(lists["train"] + lists["val"]) == lists["trainval"]
    assert [len(lists[name]) for name in LISTS] == [36, 28, 8, 4]
    assert sorted(path.name for path in data_dir.iterdir()) == before
    out = capsys.readouterr().out
    assert re.search(r"pictures +28  70.0% +8  20.0% +4  10.0%", out)
    assert re.search(r"plane +1  33.3% +1  33.3% +1  33.3%", out)


def test_without_a_test_part_both_pairs_of_lists_are_free_of_leaks(data_dir: Path) -> None:
    """A program that trains on trainval.txt and tests on test.txt, as BBAVectors does, must not test on what it has
    learnt."""
    code, lists = split(data_dir)
    assert code == 0
    assert lists["trainval"] == lists["train"]
    assert lists["test"] == lists["val"]
    assert not {*lists["train"]} & {*lists["val"]}
    assert len(lists["val"]) == 4


def test_the_lists_are_those_that_training_reads(data_dir: Path) -> None:
    _, lists = split(data_dir, "--test", 0.2)
    images = find_images(data_dir / "images")
    for role in ("train", "val"):
        assert choose_split(data_dir, images, role, lists_dir=data_dir.parent / "列表 1").names == lists[role]


def test_a_seed_gives_the_same_lists_wherever_the_data_lies(data_dir: Path, tmp_path: Path) -> None:
    lists = {seed: split(data_dir, "--seed", seed, "--overwrite")[1] for seed in (0, 1, 2)}
    assert len({tuple(item["val"]) for item in lists.values()}) > 1
    moved = tmp_path / "other" / "data"
    (moved / "images").mkdir(parents=True)
    (moved / "labelTxt").mkdir()
    for path in sorted(data_dir.rglob("*.*"), reverse=True):  # another order of creation
        (moved / path.relative_to(data_dir)).write_bytes(path.read_bytes())
    assert split(moved, "--seed", 1)[1] == lists[1]


def test_every_class_is_on_both_sides(data_dir: Path) -> None:
    for seed in range(5):
        _, lists = split(data_dir, "--seed", seed, "--overwrite")
        for name in ("train", "val"):
            text = "".join((data_dir / "labelTxt" / f"{item}.txt").read_text() for item in lists[name])
            assert all(class_name in text for class_name in ("car", "ship", "plane"))


def test_a_class_in_one_picture_trains_and_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, lists = split(make_data(tmp_path / "data", {f"{k}": ["bus"] * (k == 4) + ["car"] for k in range(9)}))
    assert code == 0
    assert "4" in lists["train"]
    assert "class 'bus', which is in 1 of the groups, is not in val" in capsys.readouterr().err


def test_many_classes_that_are_not_in_every_list_are_not_told_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    names = [f"kind {number}" for number in range(40)]
    code, _ = split(make_data(tmp_path / "data", {"a": names, "b": ["car"], "c": ["car"]}))
    assert code == 0
    err = capsys.readouterr().err
    assert err.count("is not in val") == 10
    assert "and 30 more classes are not in every list" in err


def test_ignore_regions_and_bad_labels_are_not_counted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data_dir = make_data(tmp_path / "data", {f"{k}": ["car", "DontCare"] for k in range(10)})
    (data_dir / "classes.txt").write_text("car\n")
    bad = "1 1 5 1 5 4 1 4 car 2\n1 1 5 1 5 4 car 0\n1 1 5 1 5 4 1 4 cart 0\n"
    (data_dir / "labelTxt" / "3.txt").write_text(f"{bad}1 1 5 1 5 4 1 4 car 0\n")
    code, _ = split(data_dir)
    assert code == 0
    out, err = capsys.readouterr()
    assert re.search(r"car +9  90.0% +1  10.0%", out)
    assert "2 bad labels, which are not counted" in err
    assert "3.txt:2: " in err


def test_the_tiles_of_one_picture_are_parted_by_place(dota_folder, tmp_path, capsys):
    """Of one orthomosaic all tiles were in both lists, and no command parted them."""
    src, tiles = dota_folder("ortho", names=("a",), hw=(120, 500), lists={}), tmp_path / "tiles"
    assert split_tiles.main([str(src), str(tiles), "--size", "64", "--overlap", "32", "--workers", "0"]) == 0
    assert "a single picture is on both sides; to part its tiles by place" in capsys.readouterr().err
    flags = [str(tiles), "--out", str(tmp_path / "lists"), "--val", "0.3"]
    assert main(flags) == 1
    assert "--part_pictures parts each of them by place" in capsys.readouterr().err
    assert main([*flags, "--part_pictures", "--near_duplicates"]) == 2
    assert main([str(src), *flags[1:], "--part_pictures"]) == 2
    assert main([*flags, "--part_pictures"]) == 0
    assert re.search(r"\d+ tiles parted by place, \d+ more reach over a line", capsys.readouterr().out)
    lists = read_lists(tmp_path / "lists")
    assert lists["train"] == lists["trainval"]
    columns = [{int(name.split("__")[2].split("___")[0]) for name in lists[part]} for part in ("train", "val")]
    assert min(abs(left - right) for left in columns[0] for right in columns[1]) >= 64


def test_a_picture_whose_label_file_cannot_be_read_is_in_no_list(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """One empty XML file stopped it."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>4</ymax></bndbox>"
    for k in range(10):
        (data_dir / f"{k}.png").write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
        text = f"<annotation><object><name>car</name>{box}</object></annotation>"
        (data_dir / f"{k}.xml").write_text("" if k == 4 else text)
    code, lists = split(data_dir)
    assert code == 0
    assert sorted(lists["train"] + lists["val"]) == [*"012356789"]
    out, err = capsys.readouterr()
    assert re.search(r"car +8  88.9% +1  11.1%", out)
    assert "warning: 1 pictures in no list, for none of their labels can be used" in err
    assert "bad labels" not in err
    for path in data_dir.glob("*.xml"):
        path.write_text("")
    (data_dir / "classes.txt").write_text("car\n")
    assert split(data_dir, "--overwrite")[0] == 1
    assert "none of the 10 pictures has labels that can be used" in capsys.readouterr().err


# -- groups


def test_what_the_expression_finds_stays_together(data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    for expression in (r"^(.*)_\d+$", r"^[^_]+"):
        code, lists = split(data_dir, "--val", 0.3, "--group_by", expression, "--overwrite")
        assert code == 0
        videos = [{name.split("_")[0] for name in lists[item]} for item in ("train", "val")]
        assert not videos[0] & videos[1]
        assert [len(group) for group in videos] == [7, 3]
    assert re.search(r"groups +7  70.0% +3  30.0%", capsys.readouterr().out)


def test_names_without_the_expression_are_groups_of_their_own(data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    code, _ = split(data_dir, "--group_by", r"视频 ([0-4])?_")
    assert code == 0
    err = capsys.readouterr().err
    assert "--group_by finds nothing in 20 names, such as '视频 5_20'" in err


def test_tiles_of_one_picture_stay_together(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Tiles overlap: neighbours on both sides would be learnt and scored."""
    tiles = {tile.name: tile for name in "abcdef" for tile in lay_tiles(name, 150, 150, 100, 40)}
    data_dir = make_data(tmp_path / "tiles", {name: ["car"] for name in tiles})
    write_index(data_dir / "tiles.json", TileIndex(100, 40, ("car",), dict.fromkeys("abcdef", (150, 150)), tiles))
    code, lists = split(data_dir, "--val", 0.3)
    assert code == 0
    pictures = [{name.split("__")[0] for name in lists[item]} for item in ("train", "val")]
    assert not pictures[0] & pictures[1]
    assert "tiles of one picture stay together" in capsys.readouterr().out


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Twelve videos of five frames each that hardly differ, under names that tell nothing."""
    rng = np.random.default_rng(7)  # not that of the split, which would draw the same order
    names = rng.permutation([f"{k:02}" for k in range(60)]).tolist()
    images = {}
    for video in range(12):
        patches = cv2.resize(rng.uniform(0, 255, (6, 8)).astype(np.float32), (160, 120), interpolation=cv2.INTER_CUBIC)
        for frame in range(5):
            shifted = np.roll(patches, frame, axis=1) + rng.normal(0, 2, patches.shape)
            images[names[video * 5 + frame]] = shifted.clip(0, 255).astype(np.uint8)
    (tmp_path / "videos.txt").write_text(" ".join(names))
    return make_data(tmp_path / "data", {name: ["car"] for name in images}, images)


def test_near_twins_stay_together(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The leak of HIT-UAV's published split: a fifth of its test frames have a near-twin in training."""
    names = (tmp_path / "videos.txt").read_text().split()
    video_of = {name: number // 5 for number, name in enumerate(names)}

    def shared(lists: dict[str, list[str]]) -> set[int]:
        return {video_of[name] for name in lists["train"]} & {video_of[name] for name in lists["val"]}

    assert shared(split(videos, "--val", 0.2)[1])
    capsys.readouterr()
    code, lists = split(videos, "--val", 0.2, "--near_duplicates", "--workers", 2, "--overwrite")
    assert code == 0
    assert not shared(lists)
    assert len(lists["val"]) in (10, 15)
    out = capsys.readouterr().out
    assert "near twins: 60 pictures in 12 groups, the biggest of 5" in out
    assert int(re.search(r"of as many pictures (\d+) of 12 validation pictures", out)[1]) > 6


def test_a_picture_that_cannot_be_read_has_no_twin(videos: Path, capsys: pytest.CaptureFixture) -> None:
    (videos / "images" / "07.png").write_bytes(b"no picture")
    code, lists = split(videos, "--near_duplicates")
    assert code == 0
    assert "07" in lists["train"] + lists["val"]
    assert "1 pictures that cannot be read, and so have no twins" in capsys.readouterr().err


def test_one_group_of_twins_that_holds_most_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    image = cv2.resize(np.random.default_rng(0).uniform(0, 255, (6, 8)).astype(np.float32), (64, 48)).astype(np.uint8)
    names = [f"{k}" for k in range(8)]
    data_dir = make_data(tmp_path / "data", {name: ["car"] for name in names}, dict.fromkeys(names[:6], image))
    code, lists = split(data_dir, "--near_duplicates")
    assert code == 0
    assert {*names[:6]} <= {*lists["train"]}
    assert "one group of twins holds 6 of 8 pictures" in capsys.readouterr().err


# -- what cannot be done


def test_lists_that_are_there_are_not_lost(data_dir: Path, capsys: pytest.CaptureFixture) -> None:
    (data_dir / "val.txt").write_text("mine\n")
    flags = [str(data_dir), "--out", str(data_dir)]
    assert main(flags) == 2
    assert "val.txt: is there with other content" in capsys.readouterr().err
    assert not (data_dir / "train.txt").exists()
    assert main([*flags, "--overwrite"]) == 0
    assert main(flags) == 0, "the same once more"
    assert len(read_lists(data_dir)["val"]) == 4


@pytest.mark.parametrize(
    ("names", "flags", "code", "sentence"),
    [
        (["a"], [], 1, "one picture cannot be split"),
        (["a", "b"], ["--test", "0.2"], 1, "2 pictures in fewer groups than the 3 lists"),
        (["a1", "a2", "a3"], ["--group_by", "a"], 1, "3 pictures in fewer groups than the 2 lists"),
        (["a", "b"], ["--group_by", "x"], 2, "--group_by 'x' finds nothing in any name, such as 'a'"),
        (["a", "b"], ["--group_by", "("], 2, "--group_by '(': no regular expression"),
        (["a", "b"], ["--val", "0"], 2, "--val must be above 0"),
        (["a", "b"], ["--val", "0.5", "--test", "0.5"], 2, "together below 1"),
        (["a", "b"], ["--val", "nan"], 2, "--val"),
        (["a", "b"], ["--seed", "-1"], 2, "--seed is -1"),
        (["a", "b"], ["--max_distance", "40"], 2, "--max_distance is 40; it must lie between 0 and 31"),
        (["a", "b"], ["--dataset", "x"], 2, "--dataset"),
        ([], [], 1, "holds no picture"),
    ],
)
def test_what_cannot_be_split_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture, names: list[str], flags: list[str], code: int, sentence: str
) -> None:
    data_dir = make_data(tmp_path / "data", {name: ["car"] for name in names})
    assert split(data_dir, *flags)[0] == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sentence in err
    assert not (tmp_path / "列表 1").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("p 0 ", "the picture name 'p 0 ' begins or ends with a blank"),
        ("a\nb", "'a\\nb'"),
        (os.fsdecode(b"p\xff"), "the picture name 'p\\udcff' is not UTF-8 text; rename the picture"),
    ],
)
def test_a_name_that_no_list_can_hold_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str, sentence: str
) -> None:
    """Lists were written that nobody could read, or that named another picture, `p 0`, on both sides."""
    data_dir = make_data(tmp_path / "data", {item: ["car"] for item in ("a", "b", "p 0", name)})
    assert split(data_dir)[0] == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {data_dir}: ")
    assert (sentence in err, err.count("\n")) == (True, 1)
    assert not (tmp_path / "列表 1").exists()


@pytest.mark.parametrize("folder", ["labelTxt", "images/lists"])
def test_lists_are_not_written_among_labels_or_pictures(
    data_dir: Path, capsys: pytest.CaptureFixture, folder: str
) -> None:
    assert main([str(data_dir), "--out", str(data_dir / folder)]) == 2
    assert "where nothing is written" in capsys.readouterr().err
    assert not list((data_dir / folder).glob("train.txt"))
    assert main([str(data_dir), "--out", str(data_dir)]) == 0


def test_a_missing_folder_and_a_missing_label_file_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(tmp_path / "nowhere"), "--out", str(tmp_path)]) == 2
    data_dir = make_data(tmp_path / "data", {f"{k}": ["car"] for k in range(4)})
    (data_dir / "labelTxt" / "2.txt").unlink()
    assert split(data_dir)[0] == 1
    assert "2.txt:1: no label file for the picture 2.png" in capsys.readouterr().err
    assert split(data_dir, "--missing_labels", "empty")[0] == 0


def test_two_pictures_are_enough(tmp_path: Path) -> None:
    code, lists = split(make_data(tmp_path / "data", {"a": ["car"], "b": []}))
    assert code == 0
    assert (lists["train"], lists["val"]) == (["a"], ["b"])


@pytest.mark.slow
def test_help_tells_what_the_lists_are_and_needs_no_torch() -> None:
    check = (
        "import sys; from tools.split_train_val import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "test.txt is the same as val.txt" in " ".join(done.stdout.split())


# -- real data


@pytest.mark.slow
def test_a_real_set_is_split_without_tearing_twins_apart(
    real_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """HIT-UAV by series (day, height, camera angle): each class within two hundredths of its share."""
    flags = [str(real_folder("hit-uav")), "--out", str(tmp_path), "--val", "0.2", "--group_by", r"^(.*)_\d+$"]
    assert main(flags) == 0
    lists = read_lists(tmp_path)
    series = [{name.rsplit("_", 1)[0] for name in lists[item]} for item in ("train", "val")]
    assert not series[0] & series[1]
    out = capsys.readouterr().out
    for name in ("pictures", "Bicycle", "Car", "Person"):
        share = float(re.search(rf"{name} .* ([\d.]+)%\n", out)[1])
        assert abs(share - 20) < 2
