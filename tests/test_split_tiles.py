"""The splitter as a user meets it: whole tiles or none, the same for any number of processes, nothing in silence."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.format_detection import detect_format
from datasets.picture_files.image_folders import find_images
from datasets.picture_files.images import ImageError, read_image
from datasets.readers import read_classes, read_samples
from datasets.splits import read_list
from DOTA_devkit.labels import read_labels
from DOTA_devkit.tile_index import read_index
from tests.label_documents import YOLO_LINE, yolo_folder
from tools import split_tiles, tile_pictures
from tools.config import Config
from tools.detection.whole_pictures import whole_pictures_of
from tools.running.command_line import SettingsError
from tools.split_tiles import main

STRANGE_NAMES = ("my__image", "my", "a b", "v1.2.final", "港口", "P1__1__0___0")
SMALL = ["--size", "64", "--overlap", "40", "--workers", "0"]


def tree(folder: Path) -> dict[str, bytes]:
    """All files of a folder by their path in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}


# ---------------------------------------------------------------------------------------------------- what is written


def test_the_tiles_are_a_data_set_that_our_reader_reads(dota_folder, tmp_path, capsys):
    src = dota_folder(names=STRANGE_NAMES, hw=(128, 150), lists={"train": STRANGE_NAMES[:4], "val": STRANGE_NAMES[4:]})
    before = tree(src)
    dst = tmp_path / "tiles"
    assert main([str(src), str(dst), *SMALL, "--scales", "0.5", "1"]) == 0
    assert tree(src) == before
    index = read_index(dst)
    images = find_images(dst / "images")
    assert set(images) == set(index.tiles) == {path.stem for path in (dst / "labelTxt").iterdir()}
    assert detect_format(dst) == "dota"
    assert read_classes("dota", dst, []) == ("car", "boat") == index.class_names
    assert {tile.picture for tile in index.tiles.values()} == set(STRANGE_NAMES)
    for kind, names in (("train", STRANGE_NAMES[:4]), ("val", STRANGE_NAMES[4:])):
        listed = read_list(dst / f"{kind}.txt", images)
        assert [index.tiles[name].picture for name in listed] == sorted(
            (index.tiles[name].picture for name in listed), key=names.index
        )
        assert sum(len(sample.quads) for sample in read_samples("dota", dst, listed, index.class_names)) > 0
    assert all(read_image(path).shape == (64, 64, 3) for path in images.values())
    assert not list(dst.rglob("*.tmp"))
    shown = capsys.readouterr().out
    assert "tiles of 64 px every 24 px (overlap 40 px), scales 0.5, 1" in shown
    assert f"6 pictures -> {len(index.tiles)} tiles" in shown


def test_a_tile_shows_the_pixels_that_the_index_says(dota_folder, tmp_path):
    src = dota_folder(names=("a",), hw=(100, 131))
    assert main([str(src), str(tmp_path / "tiles"), *SMALL]) == 0
    picture, index = read_image(src / "images" / "a.png"), read_index(tmp_path / "tiles")
    covered = np.zeros(picture.shape[:2], bool)
    for tile in index.tiles.values():
        pixels = read_image(tmp_path / "tiles" / "images" / f"{tile.name}.png")
        assert (pixels == picture[tile.y : tile.y + 64, tile.x : tile.x + 64]).all()
        covered[tile.y : tile.y + 64, tile.x : tile.x + 64] = True
    assert covered.all()


def test_a_small_picture_is_padded_at_the_right_and_at_the_bottom(dota_folder, tmp_path):
    src = dota_folder(names=("a", "b"), hw=(40, 50))
    assert main([str(src), str(tmp_path / "tiles"), *SMALL]) == 0
    pixels = read_image(tmp_path / "tiles" / "images" / "a__1__0___0.png")
    assert pixels.shape == (64, 64, 3)
    assert (pixels[:40, :50] == read_image(src / "images" / "a.png")).all()
    assert (pixels[40:] == tile_pictures.padding_bgr(3)).all()
    assert (pixels[:, 50:] == tile_pictures.padding_bgr(3)).all()


def test_labels_are_not_truncated(dota_folder, tmp_path):
    """Defect 21: coordinates were truncated to whole pixels."""
    src = dota_folder(names=("a", "b"), hw=(60, 60))
    (src / "labelTxt" / "a.txt").write_text("10.123456789 10 30.25 10 30.25 20.75 10.123456789 20.75 car 1\n")
    assert main([str(src), str(tmp_path / "tiles"), *SMALL]) == 0
    labels = read_labels(tmp_path / "tiles" / "labelTxt" / "a__1__0___0.txt")
    assert labels.quads[0, 0].tolist() == [10.123456789, 10]
    assert labels.difficult.tolist() == [1]


@pytest.mark.parametrize(
    ("flags", "difficult"), [([], 2), (["--min_visible", "0.5"], 0), (["--min_visible", "0.7"], 2)]
)
def test_an_object_of_which_too_little_is_seen_is_an_ignore_region(dota_folder, tmp_path, flags, difficult):
    """Three fifths of the car lie in the first tile, all of it in the second."""
    src = dota_folder(names=("a", "b"), hw=(60, 88))
    (src / "labelTxt" / "a.txt").write_text("52 10 72 10 72 20 52 20 car 0\n", encoding="utf-8")
    assert main([str(src), str(tmp_path / "tiles"), *SMALL, *flags]) == 0
    first, second = (read_labels(tmp_path / "tiles" / "labelTxt" / f"a__1__{x}___0.txt") for x in (0, 24))
    assert first.quads[0].tolist() == [[52, 10], [64, 10], [64, 20], [52, 20]]
    assert (first.difficult.tolist(), second.difficult.tolist()) == ([difficult], [0])


@pytest.mark.parametrize(
    ("suffix", "flag", "expected"),
    [(".jpg", "auto", ".jpg"), (".png", "auto", ".png"), (".bmp", "auto", ".png"), (".png", "jpg", ".jpg")],
)
def test_the_suffix_is_that_of_the_source_or_as_asked(dota_folder, tmp_path, suffix, flag, expected):
    src = dota_folder(names=("a", "b"), suffix=suffix, hw=(64, 64))
    assert main([str(src), str(tmp_path / "tiles"), *SMALL, "--suffix", flag]) == 0
    assert {path.suffix for path in (tmp_path / "tiles" / "images").iterdir()} == {expected}


def test_a_fourth_band_is_left_out_or_kept(dota_folder, tmp_path, capsys, monkeypatch):
    src = dota_folder(names=("a", "b"), hw=(100, 50))
    bands = np.random.default_rng(0).integers(0, 256, (100, 50, 4), dtype=np.uint8)
    for name in ("a", "b"):
        cv2.imwrite(str(src / "images" / f"{name}.png"), bands)
    assert main([str(src), str(tmp_path / "colours"), *SMALL]) == 0
    assert main([str(src), str(tmp_path / "bands"), *SMALL, "--in_channels", "4"]) == 0
    tile = Path("images", "a__1__0___36.png")
    assert (cv2.imread(str(tmp_path / "colours" / tile), cv2.IMREAD_UNCHANGED)[:, :50] == bands[36:, :, :3]).all()
    pixels = read_image(tmp_path / "bands" / tile, 4)
    assert (pixels[:, :50] == bands[36:]).all()
    assert (pixels[:, 50:] == tile_pictures.padding_bgr(4)).all()
    monkeypatch.setattr(split_tiles, "why_no_rasterio", lambda: "pip install it")
    assert main([str(src), str(tmp_path / "x"), *SMALL, "--bands", "1", "2", "3", "3", "3"]) == 2
    assert "tiles of 5 bands are TIFF files, which need rasterio: pip install it" in capsys.readouterr().err
    assert main([str(src), str(tmp_path / "x"), *SMALL, "--in_channels", "4", "--suffix", "jpg"]) == 2
    assert "a JPEG holds no fourth band" in capsys.readouterr().err
    assert main([str(dota_folder("three")), str(tmp_path / "y"), *SMALL, "--in_channels", "4"]) == 1
    assert "has 3 bands, and the network reads 4 (--in_channels)" in capsys.readouterr().err


@pytest.mark.slow
def test_empty_tiles_are_left_out_by_their_name_but_never_those_that_are_scored(dota_folder, tmp_path):
    names = [f"p{number}" for number in range(6)]
    src = dota_folder(names=names, hw=(200, 200), lists={"train": names[:4], "val": names[4:]})
    counts = {}
    for fraction in ("0", "0.5", "1"):
        dst = tmp_path / f"tiles{fraction}"
        assert main([str(src), str(dst), *SMALL, "--skip_empty", fraction]) == 0
        index = read_index(dst)
        empty = [name for name in index.tiles if not len(read_labels(dst / "labelTxt" / f"{name}.txt").quads)]
        counts[fraction] = sum(index.tiles[name].picture in names[:4] for name in empty)
        assert sum(index.tiles[name].picture in names[4:] for name in empty) >= 49
    assert counts["1"] == 0
    assert 0.2 * counts["0"] < counts["0.5"] < 0.8 * counts["0"]


def test_a_folder_without_labels_gives_pictures_and_index(dota_folder, tmp_path):
    src = dota_folder(names=("a", "b"))
    for path in (src / "labelTxt").iterdir():
        path.unlink()
    (src / "labelTxt").rmdir()
    (src / "classes.txt").unlink()
    dst = tmp_path / "tiles"
    assert main([str(src), str(dst), *SMALL]) == 0
    assert {path.name for path in dst.iterdir()} == {"images", "tiles.json", ".split"}
    assert read_index(dst).class_names == ()
    assert main([str(src), str(tmp_path / "other"), *SMALL, "--skip_empty", "0.5"]) == 2


def test_empty_label_files_give_empty_label_files(dota_folder, tmp_path):
    src = dota_folder(names=("a", "b"), hw=(64, 64))
    for name in "ab":
        (src / "labelTxt" / f"{name}.txt").write_text("imagesource:x\n")
    assert main([str(src), str(tmp_path / "tiles"), *SMALL]) == 0
    assert (tmp_path / "tiles" / "labelTxt" / "a__1__0___0.txt").read_bytes() == b""


def test_objects_that_no_tile_shows_whole_enough_are_named_and_counted(dota_folder, tmp_path, capsys):
    """Defect 21: they were lost in silence."""
    src = dota_folder(names=("a", "b"), hw=(200, 200))
    (src / "labelTxt" / "a.txt").write_text("5 5 195 5 195 195 5 195 boat 0\n10 10 20 10 20 20 10 20 car 0\n")
    assert main([str(src), str(tmp_path / "tiles"), *SMALL]) == 0
    shown = capsys.readouterr().err
    assert "objects of which no tile shows enough, 1 in all: boat 1" in shown
    assert "a.txt:1: boat" in shown


def test_a_slip_of_the_pen_among_dotas_classes_stops_before_anything_is_cut(dota_folder, tmp_path, capsys):
    """It became a class of its own, and all of DOTA's classes got other numbers."""
    src = dota_folder(names=("a",))
    (src / "classes.txt").unlink()
    lines = [f"10 10 20 10 20 20 10 20 {name} 0\n" for name in ("ship", "plane", "small-vehical")]
    (src / "labelTxt" / "a.txt").write_text("".join(lines), encoding="utf-8")
    assert main([str(src), str(tmp_path / "tiles"), *SMALL]) == 1
    said = capsys.readouterr().err
    assert "unknown class 'small-vehical'; did you mean 'small-vehicle'?" in said
    assert f"in {src / 'classes.txt'}" in said
    assert not (tmp_path / "tiles").exists()
    (src / "classes.txt").write_text("ship\nplane\nsmall-vehical\n", encoding="utf-8")
    assert main([str(src), str(tmp_path / "tiles"), *SMALL]) == 0


# ---------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--size", "5"], "--size is 5; it must be at least 32"),
        (["--overlap", "64"], "the overlap must lie within"),
        (["--scales", "0"], "each must be at least 0.01"),
        (["--scales", "1", "1"], "stand there once"),
        (["--min_visible", "1.5"], "--min_visible is 1.5"),
        (["--skip_empty", "-1"], "--skip_empty is -1"),
        (["--workers", "-1"], "--workers is -1"),
        (["--sizes", "3"], "unrecognized arguments: --sizes 3"),
        (["--suffix", "gif"], "argument --suffix: invalid choice"),
    ],
)
def test_a_wrong_flag_ends_with_2_and_one_sentence(dota_folder, tmp_path, capsys, arguments, what):
    assert main([str(dota_folder()), str(tmp_path / "tiles"), *SMALL, *arguments]) == 2
    shown = capsys.readouterr().err
    assert what in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "tiles").exists()


def test_a_folder_without_pictures_is_told(tmp_path, capsys):
    (tmp_path / "src" / "images").mkdir(parents=True)
    assert main([str(tmp_path / "src"), str(tmp_path / "dst")]) == 1
    assert "holds no picture with a known suffix" in capsys.readouterr().err
    assert main([str(tmp_path / "none"), str(tmp_path / "dst")]) == 1
    assert "no such folder of pictures" in capsys.readouterr().err


def test_a_missing_label_file_is_an_error_or_empty(dota_folder, tmp_path, capsys):
    src = dota_folder()
    (src / "labelTxt" / "scene_1.txt").unlink()
    assert main([str(src), str(tmp_path / "tiles"), *SMALL]) == 1
    assert "scene_1.txt:1: no label file for the picture scene_1.png" in capsys.readouterr().err
    assert main([str(src), str(tmp_path / "empty"), *SMALL, "--missing_labels", "empty"]) == 0
    assert all(path.stat().st_size == 0 for path in (tmp_path / "empty" / "labelTxt").glob("scene_1__*"))


def test_label_files_with_a_suffix_in_capitals_are_found(dota_folder, tmp_path, capsys):
    """Their objects were lost with --missing_labels empty, without a word."""
    src = dota_folder(names=("a", "b"), hw=(64, 200))
    (src / "labelTxt" / "b.txt").write_text("5 5 195 5 195 60 5 60 boat 0\n", encoding="utf-8")
    assert main([str(src), str(tmp_path / "small"), *SMALL]) == 0
    for path in (src / "labelTxt").iterdir():
        path.rename(path.with_suffix(".TXT"))
    capsys.readouterr()
    (src / "classes.txt").unlink()  # then the labels tell
    assert main([str(src), str(tmp_path / "capitals"), *SMALL, "--missing_labels", "empty"]) == 0
    assert f"{src / 'labelTxt' / 'b.TXT'}:1: boat" in capsys.readouterr().err
    trees = [tree(tmp_path / name / "labelTxt") for name in ("small", "capitals")]
    assert trees[0] == trees[1]
    (src / "labelTxt" / "a.TXT").write_text("1 1 9 1 9 9 1 9 plane 0\n", encoding="utf-8")
    assert main([str(src), str(tmp_path / "slip"), *SMALL]) == 1
    assert "labelTxt: unknown class 'boat'" in capsys.readouterr().err


def test_labels_in_annfiles_are_cut_as_those_in_labelTxt_are(dota_folder, tmp_path):
    """Training reads them there; the tiles had no labels, and nobody was told."""
    src = dota_folder(names=("a", "b"), lists={"train": ["a"], "val": ["b"]})
    assert main([str(src), str(tmp_path / "labelTxt"), *SMALL]) == 0
    (src / "labelTxt").rename(src / "annfiles")
    assert main([str(src), str(tmp_path / "annfiles"), *SMALL]) == 0
    trees = [tree(tmp_path / name / "labelTxt") for name in ("labelTxt", "annfiles")]
    assert trees[0] == trees[1] != {}
    tiles = read_list(tmp_path / "annfiles" / "val.txt", find_images(tmp_path / "annfiles" / "images"))
    whole = whole_pictures_of(tmp_path / "annfiles", tiles, ("car", "boat"), Config())
    assert list(whole.truths) == ["b"]


@pytest.mark.slow
def test_bad_labels_stop_with_file_and_line_or_are_counted(dota_folder, tmp_path, capsys):
    src = dota_folder()
    (src / "labelTxt" / "scene_1.txt").write_text("1 1 9 1 9 9 1 9 plane 0\n1 1 9 1 9 9 1 9 car 0\n1 2 car\n")
    for workers in ("0", "2"):
        assert main([str(src), str(tmp_path / "tiles"), *SMALL, "--workers", workers]) == 1
        assert "scene_1.txt:" in capsys.readouterr().err
    assert main([str(src), str(tmp_path / "skip"), *SMALL, "--on_bad_label", "skip"]) == 0
    shown = capsys.readouterr().err
    assert "scene_1.txt:1: unknown class 'plane'" in shown
    assert "2 bad labels left out" in shown


@pytest.mark.parametrize(
    ("line", "said"), [("1 2 car\n", "only 2 numbers"), ("1 1 9 1 9 9 1 9 cra 0\n", "unknown class")]
)
def test_a_picture_of_which_no_label_can_be_used_is_not_cut(dota_folder, tmp_path, capsys, line, said):
    """Its tiles had no labels, and taught that what they show is background."""
    src = dota_folder(names=("a", "b"), lists={"train": ["a"], "val": ["b"]})
    (src / "labelTxt" / "a.txt").write_text(line)
    assert main([str(src), str(tmp_path / "tiles"), *SMALL, "--on_bad_label", "skip"]) == 0
    assert f"a.txt:1: {said}" in (shown := capsys.readouterr().err)
    assert "a.png is left out" in shown
    index = read_index(tmp_path / "tiles")
    assert {tile.picture for tile in index.tiles.values()} == {"b"}
    assert read_list(tmp_path / "tiles" / "val.txt", find_images(tmp_path / "tiles" / "images"))


def test_a_damaged_picture_is_named(dota_folder, tmp_path, capsys):
    src = dota_folder()
    data = (src / "images" / "scene_1.png").read_bytes()
    (src / "images" / "scene_1.png").write_bytes(data[: len(data) // 2])
    assert main([str(src), str(tmp_path / "tiles"), *SMALL]) == 1
    assert "scene_1.png: the file is cut off" in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_damaged_picture_is_left_out_as_bad_labels_are(dota_folder, tmp_path, capsys, workers):
    src = dota_folder(lists={"train": ["scene_0", "scene_1"], "val": ["scene_2"]})
    data = (src / "images" / "scene_1.png").read_bytes()
    (src / "images" / "scene_1.png").write_bytes(data[: len(data) // 2])
    flags = [*SMALL, "--on_bad_label", "skip", "--workers", workers]
    assert main([str(src), str(tmp_path / "tiles"), *flags]) == 0
    assert "scene_1.png is left out" in capsys.readouterr().err
    index = read_index(tmp_path / "tiles")
    assert "scene_1" not in index.pictures
    assert {tile.picture for tile in index.tiles.values()} == {"scene_0", "scene_2", "scene_3"}
    assert not list((tmp_path / "tiles").rglob("scene_1__*"))
    assert main([str(src), str(tmp_path / "tiles"), *flags]) == 0
    assert "4 of 4 pictures were split before" in capsys.readouterr().out


def test_a_picture_that_breaks_off_leaves_no_tile(dota_folder, tmp_path, monkeypatch, capsys):
    """A survey that is read in windows may be damaged in its middle."""
    write, written = tile_pictures._write_tile, []

    def breaks(path, *more):
        written.append(path)
        if path.name.startswith("scene_1__") and len(written) % 3 == 0:
            raise ImageError(f"{path.name}: cannot be read")
        return write(path, *more)

    monkeypatch.setattr(tile_pictures, "_write_tile", breaks)
    flags = [*SMALL, "--on_bad_label", "skip", "--workers", "0"]
    assert main([str(dota_folder()), str(tmp_path / "tiles"), *flags]) == 0
    assert any(path.name.startswith("scene_1__") for path in written)
    assert "scene_1.png is left out" in capsys.readouterr().err
    assert not list((tmp_path / "tiles" / "images").glob("scene_1__*"))
    assert not list((tmp_path / "tiles" / "labelTxt").glob("scene_1__*"))


def test_the_marker_and_the_settings_are_json(dota_folder, tmp_path):
    assert main([str(dota_folder()), str(tmp_path / "tiles"), *SMALL]) == 0
    for path in (tmp_path / "tiles" / ".split").rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))


def test_a_wrong_flag_is_a_settings_error():
    with pytest.raises(SettingsError):
        split_tiles.Parser(prog="x").parse_args(["--no"])


def test_labels_of_another_format_are_not_left_behind(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Tiles were cut without them, or images/ was missed without a word of what to do."""
    yolo_folder(tmp_path / "yolo", {"train/a": YOLO_LINE})
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "a.xml").write_text("<annotation/>", encoding="utf-8")
    for name, found in (("yolo", "yolo_obb"), ("beside", "rolabelimg")):
        assert main([str(tmp_path / name), str(tmp_path / "out"), "--size", "64", "--overlap", "16"]) == 2
        said = capsys.readouterr().err
        assert (
            f"its labels are of the format {found}; make DOTA's of them first: python -m tools.convert_labels" in said
        )
        assert not (tmp_path / "out").exists()
