"""What a source of pictures stands for: a file, a folder, a pattern; and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.picture_files.images import ImageError
from tools.detection.input_pictures import check_headers, input_pictures, named_from_anywhere, refuse_pictures
from tools.running.command_line import SettingsError

PNG = cv2.imencode(".png", np.zeros((4, 5, 3), np.uint8))[1].tobytes()


@pytest.fixture
def flights(tmp_path: Path) -> Path:
    for name in ("north/a.tif", "north/a.jpg", "south/2026/b.TIF", "south/.c.tif", "south/notes.txt", "d [1].png"):
        write(tmp_path / "飞行" / name)
    return tmp_path / "飞行"


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PNG)


def test_a_pattern_takes_pictures_of_any_folder_below_and_of_one_suffix(flights: Path) -> None:
    """Else a preview beside each GeoTIFF stops the work: both have one name."""
    found = input_pictures(flights / "**" / "*.[tT][iI][fF]", "--input")
    assert found == {"a": flights / "north" / "a.tif", "b": flights / "south" / "2026" / "b.TIF"}
    assert input_pictures(flights / "north" / "*.jpg", "--input") == {"a": flights / "north" / "a.jpg"}


def test_pictures_of_one_name_in_several_folders_are_called_by_both(flights: Path) -> None:
    """Flights repeat their names, and a pattern over them was refused."""
    write(flights / "south" / "2026" / "a.tif")
    found = input_pictures(flights / "**" / "a.tif", "--input")
    assert found == {"north_a": flights / "north" / "a.tif", "south_2026_a": flights / "south" / "2026" / "a.tif"}
    write(flights / "south" / "2026_a.tif")
    with pytest.raises(SettingsError, match=r"a\.tif and .*2026_a\.tif have one name"):
        input_pictures(flights / "**" / "*a.tif", "--input")


def test_pictures_in_folders_of_a_folder_with_pictures_are_told_of(
    flights: Path, capsys: pytest.CaptureFixture
) -> None:
    """One of four was looked at, and nothing was said."""
    assert list(input_pictures(flights, "--input x")) == ["d [1]"]
    said = capsys.readouterr().err
    assert "--input x: pictures in folders of it, such as north, are not looked at" in said
    input_pictures(flights / "north" / "*.tif", "--input x")
    assert capsys.readouterr().err == ""


def test_a_source_is_named_so_that_it_is_found_from_any_working_folder(
    flights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--input flights` was looked for where the map was made."""
    monkeypatch.chdir(flights.parent)
    monkeypatch.setenv("HOME", str(flights.parent))
    assert named_from_anywhere(Path(flights.name)) == str(flights)
    assert named_from_anywhere(Path("~") / flights.name / "**" / "*.tif") == str(flights / "**" / "*.tif")


def test_a_pattern_goes_through_linked_folders_and_takes_each_picture_once(flights: Path, tmp_path: Path) -> None:
    """A linked folder was passed over without a word, where ** is said to be any folder."""
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "flight").symlink_to(flights / "north")
    assert list(input_pictures(mixed / "**" / "*.tif", "--input").values()) == [mixed / "flight" / "a.tif"]
    for number in range(6):  # by every way through these there would be millions
        (flights / "north" / f"circle {number}").symlink_to(flights / "north")
    assert list(input_pictures(mixed / "**" / "*.tif", "--input").values()) == [mixed / "flight" / "a.tif"]


def test_a_name_with_brackets_that_is_there_is_no_pattern(flights: Path) -> None:
    path = flights / "d [1].png"
    assert input_pictures(path, "--input") == {"d [1]": path}
    assert input_pictures(flights, "--input") == {"d [1]": path}


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("**/*", "a.jpg and .*a.tif have one name"),
        ("**/*.bmp", "no picture matches"),
        ("gone", "no such file or folder"),
        ("gone/*.tif", "no picture matches"),
        ("a**/x.png", "no picture matches"),
        ("south", "in folders of it, such as 2026"),
        ("list.txt", "is no picture by its name"),
    ],
)
def test_what_gives_no_pictures_is_refused_in_a_sentence(flights: Path, source: str, sentence: str) -> None:
    (flights / "list.txt").write_text("north/a.tif\n")
    with pytest.raises(SettingsError, match=f"^--input x: .*{sentence}"):
        input_pictures(flights / source, "--input x")


def test_the_home_of_nobody_is_no_such_folder() -> None:
    with pytest.raises(SettingsError, match=r"^--input x: no such file or folder"):
        input_pictures(Path("~nobody here/pictures"), "--input x")


def test_a_header_that_cannot_be_read_is_told_of_before_the_work(flights: Path) -> None:
    check_headers([flights / "north" / "a.tif"], "--on_bad_picture")
    (flights / "z.png").write_bytes(PNG[:20])
    with pytest.raises(ImageError, match=r"z\.png: the file is cut off in its header.*\(--on_bad_picture skip"):
        check_headers([flights / "north" / "a.tif", flights / "z.png"], "--on_bad_picture")


def test_a_pattern_in_a_folder_with_brackets_and_in_ones_home_is_found(
    flights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = flights / "[2024] x"
    odd.mkdir()
    (odd / "e.png").write_bytes(PNG)
    assert list(input_pictures(odd / "*.png", "--input")) == ["e"]
    monkeypatch.setenv("HOME", str(odd))
    assert list(input_pictures(Path("~/*.png"), "--input")) == ["e"]


def test_outputs_may_lie_beside_the_folders_of_a_pattern_and_not_beside_pictures(
    flights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(flights)
    images = input_pictures(Path("*/*.tif"), "--input").values()
    refuse_pictures(Path("runs/found"), images)
    with pytest.raises(SettingsError, match="lies in the inputs"):
        refuse_pictures(Path("north"), images)
