"""Pictures in folders are found by any suffix and by their names alone; previews are no pictures of their own."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.picture_files.image_folders import dead_links, find_images, no_picture_in, without_previews
from datasets.picture_files.images import ImageError
from datasets.readers import list_images
from tools.detection.input_pictures import input_pictures


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def picture(path: Path, hw: tuple[int, int]) -> Path:
    return write(path, cv2.imencode(path.suffix, np.zeros((*hw, 3), np.uint8))[1].tobytes())


def test_any_suffix_in_any_case_is_found_by_its_stem_and_sorted(tmp_path: Path) -> None:
    """Defect 10: the published code has one suffix written in it."""
    names = ["P1.JPG", "P0.png", "P2.TiF", "P3.jpeg", "P4.bmp", "P5.WEBP", "P6.jp2", "P7.tiff"]
    for name in names:
        write(tmp_path / name, b"x")
    assert find_images(tmp_path) == {name.split(".")[0]: tmp_path / name for name in sorted(names)}
    assert list(find_images(tmp_path)) == [f"P{number}" for number in range(8)]


def test_links_that_lead_nowhere_are_found_and_told_where_there_is_no_picture(tmp_path: Path) -> None:
    """Of links alone it was said that no file has a known suffix."""
    images = tmp_path / "images" / "train"
    there = write(images / "there.png", b"x")
    for name in ("b.PNG", "a.jpg", "note.txt", ".c.png"):
        (images / name).symlink_to(tmp_path / "gone")
    (images / "good.png").symlink_to(there)
    assert dead_links([images, images, tmp_path / "none"]) == [images / "a.jpg", images / "b.PNG"]
    assert f"2 links in it, such as {images / 'a.jpg'}, lead to no file" in no_picture_in(tmp_path)
    assert no_picture_in(tmp_path / "none").endswith(")")


def test_a_stem_may_hold_dots_blanks_and_any_script(tmp_path: Path) -> None:
    for name in ("a.b.c.png", "my__image 1.png", "图 1.png"):
        write(tmp_path / name, b"x")
    assert set(find_images(tmp_path)) == {"a.b.c", "my__image 1", "图 1"}


def test_other_files_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    for name in ("Thumbs.db", "a.txt", ".hidden.png", "._a.png", "noend"):
        write(tmp_path / name, b"x")
    (tmp_path / "folder.png").mkdir()
    assert find_images(tmp_path) == {}


def test_an_empty_folder_holds_no_pictures_and_a_missing_one_is_named(tmp_path: Path) -> None:
    assert find_images(tmp_path) == {}
    with pytest.raises(ImageError, match="nowhere"):
        find_images(tmp_path / "nowhere")
    with pytest.raises(ImageError, match=r"file\.txt"):
        find_images(write(tmp_path / "file.txt", b"x"))


def test_two_pictures_that_differ_in_the_suffix_only_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "P1.jpg", b"x")
    write(tmp_path / "P1.png", b"x")
    with pytest.raises(ImageError, match=r"P1\.png: same name as P1\.jpg"):
        find_images(tmp_path)


def test_a_smaller_picture_beside_a_tiff_of_its_name_is_a_preview(tmp_path: Path) -> None:
    """Providers put them there, in folders that one may not change: every command stopped."""
    scene = picture(tmp_path / "images" / "a.tif", (601, 900))
    for suffix in (".jpg", ".PNG"):
        picture(tmp_path / "images" / f"a{suffix}", (200, 300))
    other = picture(tmp_path / "images" / "b.jpg", (20, 30))
    assert find_images(tmp_path / "images", skips_previews=True) == {"a": scene, "b": other}
    assert input_pictures(tmp_path / "images" / "*", "--input") == {"a": scene, "b": other}
    assert input_pictures(tmp_path / "images", "--input") == {"a": scene, "b": other}


def test_where_there_are_labels_people_say_on_which_picture_they_were_drawn(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.tif", (60, 90))
    picture(tmp_path / "images" / "a.jpg", (20, 30))
    write(tmp_path / "labelTxt" / "a.txt", b"")
    for read in (lambda: find_images(tmp_path / "images"), lambda: list_images("dota", tmp_path)):
        with pytest.raises(ImageError, match="but for the suffix"):
            read()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("a.tif", (60, 90)), ("a.jpg", (60, 90))),
        (("a.tif", (20, 30)), ("a.jpg", (60, 90))),
        (("a.tif", (60, 90)), ("a.jpg", (20, 40))),
        (("a.png", (60, 90)), ("a.jpg", (20, 30))),
        (("a.tif", (60, 90)), ("a.tiff", (20, 30))),
    ],
)
def test_which_of_others_is_meant_is_for_people_to_say(tmp_path: Path, first: tuple, second: tuple) -> None:
    for name, hw in (first, second):
        picture(tmp_path / name, hw)
    with pytest.raises(ImageError, match="but for the suffix"):
        find_images(tmp_path, skips_previews=True)


def test_beside_a_damaged_tiff_nothing_is_a_preview(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", b"II*\0")
    picture(tmp_path / "a.jpg", (20, 30))
    with pytest.raises(ImageError, match=re.escape("a.tif: same name as a.jpg but for the suffix")):
        find_images(tmp_path, skips_previews=True)


def test_pictures_of_one_name_in_two_folders_are_no_previews(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "x" / "a.tif", (60, 90)), picture(tmp_path / "y" / "a.jpg", (20, 30))]
    assert without_previews(paths) == paths
