"""Names from strangers' files cannot lead anywhere, and outlines get the smallest rectangle that there is."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from datasets.label_formats.annotations import (
    as_labels,
    file_in,
    files_in,
    name_fault,
    outline_to_quad,
    picture_name,
    refuse_same_names,
    shown,
)


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("图 1.png", "图 1"),
        ("a/b/P0001.JPG", "P0001"),
        ("C:\\data\\x.tif", "x"),
        ("a.b.jpeg", "a.b"),
        ("tile__1__0___0", "tile__1__0___0"),
        ("archive.tar", "archive.tar"),
        ("../../etc/passwd", "passwd"),
    ],
)
def test_a_pictures_name_has_neither_folder_nor_picture_suffix(file_name: str, name: str) -> None:
    assert picture_name(file_name) == name


@pytest.mark.parametrize("file_name", ["", "/", "..", "a/..", "a\\.", " ", ".png", "a\0b.png", "a\nb", None, 3, ["a"]])
def test_what_can_be_no_files_name_is_refused(file_name: object) -> None:
    with pytest.raises(ValueError, match="the picture's file name is"):
        picture_name(file_name)


def test_pictures_of_one_name_are_refused_with_both_places() -> None:
    refuse_same_names([("a", 1), ("b", 2)])
    with pytest.raises(ValueError, match="two pictures are called 'a': here and there"):
        refuse_same_names([("a", "here"), ("b", ""), ("a", "there")])


def test_names_that_no_text_can_hold_are_known() -> None:
    assert [name for name in ("船 船", "a&b", "می‌خواهم", "😀", "0") if name_fault(name)] == []
    assert all(map(name_fault, ("", "a\tb", "a\x00", "\ud800", "a\x85", "\ufeffa", "a\uffff")))


def test_values_are_shown_in_few_words() -> None:
    values = [None, True, 1, "x" * 99, [[]], {}]
    assert [len(shown(value)) <= 40 for value in values] == [True] * len(values)
    assert [shown(value) for value in values[:3]] == ["null", "true", "1"]


def test_no_rows_are_no_labels() -> None:
    assert as_labels([]).quads.shape == (0, 4, 2)


def test_four_points_of_several_outlines_are_no_quad() -> None:
    changed: Counter[str] = Counter()
    points = [[0, 0], [9, 9], [9, 0], [0, 9]]
    assert outline_to_quad(points, changed).tolist() == points
    assert outline_to_quad(points, changed, is_one=False).tolist() == [[0, 0], [9, 0], [9, 9], [0, 9]]
    assert changed.total() == 1


def test_the_point_that_closes_an_outline_is_no_corner() -> None:
    changed: Counter[str] = Counter()
    free = [[0.0, 0.0], [10.0, 0.0], [10.0, 5.0], [1.0, 5.0]]
    assert outline_to_quad([*free, free[0]], changed).tolist() == free
    assert changed.total() == 0
    with pytest.raises(ValueError, match="an outline of 2 points"):
        outline_to_quad([*free[:2], free[0]], changed)


def test_files_are_found_in_any_case_and_hidden_ones_left_out(tmp_path: Path) -> None:
    for name in ("b.XML", "a.xml", ".c.xml", "d.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in files_in(tmp_path, ".xml")] == ["a.xml", "b.XML"]
    assert files_in(tmp_path / "none", ".xml") == []
    assert file_in(tmp_path, "b", ".xml").name == "b.XML"
    assert file_in(tmp_path, "none", ".xml").name == "none.xml"


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("suffix", [".txt", ".TXT"])
def test_a_name_with_an_umlaut_is_found_however_it_is_spelt(tmp_path: Path, stored: str, suffix: str) -> None:
    """Labels of pictures from a Mac were not found: in YOLO's form such pictures were trained on as empty ones."""
    path = tmp_path / f"{unicodedata.normalize(stored, 'Gerät 1')}{suffix}"
    path.touch()
    for form in ("NFC", "NFD"):
        assert file_in(tmp_path, unicodedata.normalize(form, "Gerät 1"), ".txt") == path
    assert file_in(tmp_path, "Gerät 2", ".txt") == tmp_path / "Gerät 2.txt", "where it would be"
