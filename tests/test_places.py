"""The pictures of labels are found beside them and measured, and no path of a stranger leads elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture
from datasets.label_formats.places import OTHER_SIZE, locate_pictures, measure_pictures
from tests.label_documents import HEIGHT, PNG, WIDTH, labelme_text, write
from tools.convert_labels import main


def picture_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PNG)
    return path


def located(src: Path, *file_names: str, images_dir: Path | None = None) -> list[Path | None]:
    """Where pictures of these names are found."""
    ledger = Ledger()
    annotated = AnnotatedSet([Picture(Path(name).stem, file_name=name) for name in file_names])
    paths = [picture.path for picture in locate_pictures(annotated, src, images_dir, ledger).pictures]
    assert ledger.changed.total() == paths.count(None)
    return paths


def test_pictures_are_found_in_the_folder_that_they_are_named_with_or_in_the_usual_one(tmp_path: Path) -> None:
    named = picture_file(tmp_path / "数据" / "images" / "子" / "图 1.png")
    usual = picture_file(tmp_path / "数据" / "images" / "b.PNG")
    src = tmp_path / "数据" / "注.json"
    src.touch()
    assert located(src, "子\\图 1.png", "b.jpg", "c.png") == [named, usual, None]
    assert located(tmp_path, "b.png", images_dir=tmp_path / "数据" / "images") == [usual]


@pytest.mark.parametrize("way", ["{outside}", "../{name}", "images/../../{name}", "..\\{name}"])
def test_a_path_that_leads_out_of_the_data_is_not_followed(tmp_path: Path, way: str) -> None:
    """A file name may come from a stranger, and the file that it names is copied with the pictures."""
    outside = picture_file(tmp_path / "secret.png")
    (tmp_path / "data" / "images").mkdir(parents=True)
    assert located(tmp_path / "data", way.format(outside=outside, name=outside.name)) == [None]


def test_pictures_are_found_however_their_umlauts_are_written(tmp_path: Path) -> None:
    """A list of labels holds ä, the file of a Mac a and the mark."""
    path = picture_file(tmp_path / "data" / "images" / "Gera\u0308t.png")
    assert located(tmp_path / "data", "Gerät.png", "Gera\u0308t.png", "Gerat.png") == [path, path, None]
    annotated = AnnotatedSet([Picture("Gerät")])
    (picture,) = locate_pictures(annotated, tmp_path, {path.stem: path}, Ledger()).pictures
    assert (picture.name, picture.path) == ("Gerät", path)


@pytest.mark.parametrize("how", ["--copy_images", "--link_images"])
def test_pictures_that_were_asked_for_and_are_not_found_are_told_of_and_cost_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """labelme's imagePath may lead to another folder, which is not followed; the command copied nothing and ended with
    0."""
    picture_file(tmp_path / "photos" / "a.png")
    labels = tmp_path / "json"
    write(labels / "a.json", labelme_text(imagePath="..\\photos\\a.png"))
    flags = [str(labels), "--from", "labelme", "--to", "dota"]
    for target in ("dota", "coco", "labelme"):
        assert main([flags[0], str(tmp_path / target), *flags[1:-1], target, how]) == 1
        said = capsys.readouterr().err
        assert "left out: 1 pictures were not found, such as a.png; name their folder with --images" in said
        assert said.count("not found") == 1
    assert main([flags[0], str(tmp_path / "all"), *flags[1:], how, "--images", str(tmp_path / "photos")]) == 0
    assert (tmp_path / "all" / "images" / "a.png").is_file()


def test_a_folder_may_be_named_with_dots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = picture_file(tmp_path / "data" / "images" / "子" / "a.png")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (found,) = located(Path("../data"), "子/a.png")
    assert found.resolve() == path


def test_what_is_no_picture_is_a_fault_and_not_kept(tmp_path: Path) -> None:
    good, bad = picture_file(tmp_path / "a.png"), tmp_path / "b.png"
    bad.write_text("no picture")
    annotated = AnnotatedSet([Picture("a", hw=(1, 2), path=good), Picture("b", hw=(5, 6), path=bad), Picture("c")])
    ledger = Ledger()
    pictures = measure_pictures(annotated, ledger, iter, is_needed=False).pictures
    assert [(picture.hw, picture.path) for picture in pictures] == [
        ((HEIGHT, WIDTH), good),
        ((5, 6), None),
        (None, None),
    ]
    assert ([fault.path for fault in ledger.faults], ledger.changed[OTHER_SIZE]) == ([bad], 1)
    assert [picture.name for picture in measure_pictures(annotated, Ledger(), iter, is_needed=True).pictures] == ["a"]


def test_pictures_of_any_labels_are_found_by_a_pattern_also_in_ones_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Of predictions and outlines alone they were."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for day, name in (("day1", "a"), ("day2", "b"), ("day3", "c")):
        picture_file(tmp_path / "flights" / day / f"{name}.png")
    for name in "ab":
        write(tmp_path / "in" / "labelTxt" / f"{name}.txt", "1 1 9 1 9 9 1 9 car 0\n")
    flags = ["--from", "dota", "--to", "yolo_obb", "--link_images", "--images"]
    assert main([str(tmp_path / "in"), str(tmp_path / "1"), *flags, "~/flights/**/*.png"]) == 0
    assert sorted(path.name for path in (tmp_path / "1" / "images" / "train").iterdir()) == ["a.png", "b.png"]
    assert "1 pictures without a label file" in capsys.readouterr().err
    empty = ["~/flights/day[23]/*", "--unlabelled", "empty"]
    assert main([str(tmp_path / "in"), str(tmp_path / "2"), *flags, *empty]) == 1  # for a.png is not among these
    assert sorted(path.name for path in (tmp_path / "2" / "images" / "train").iterdir()) == ["b.png", "c.png"]
    assert (tmp_path / "2" / "labels" / "train" / "c.txt").read_text() == ""
    assert main([str(tmp_path / "in"), str(tmp_path / "3"), *flags, str(tmp_path / "*" / "*.tif")]) == 2
    assert "*.tif: no picture matches" in capsys.readouterr().err
