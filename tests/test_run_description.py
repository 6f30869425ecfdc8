"""A run says at its start what looks wrong about its data."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import main
from tests.label_documents import write
from tests.short_runs import arguments
from tools.training import run_description

SQUARE = "10 10 50 10 50 50 10 50 {} 0\n"


def folder(data_dir: Path, class_name: str, hw: tuple[int, int]) -> Path:
    (data_dir / "images").mkdir(parents=True)
    for name in "ab":
        picture = cv2.imencode(".png", np.zeros((*hw, 3), np.uint8))[1].tobytes()
        (data_dir / "images" / f"{name}.png").write_bytes(picture)
        write(data_dir / "labelTxt" / f"{name}.txt", SQUARE.format(class_name))
    return data_dir


@pytest.mark.slow
def test_one_class_that_is_dotas_is_told_that_it_got_all_of_them(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data_dir = folder(tmp_path / "data", "ship", (64, 64))
    assert main.main(arguments(data_dir, tmp_path / "a", "--num_epoch", "1")) == 0
    assert "the labels name 1 of DOTA's 15 classes" in capsys.readouterr().out
    write(data_dir / "classes.txt", "ship\n")
    assert main.main(arguments(data_dir, tmp_path / "b", "--num_epoch", "1")) == 0
    assert "of DOTA's" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("hw", "is_told"), [((64, 400), True), ((64, 150), False)])
def test_pictures_that_are_shrunk_much_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture, hw: tuple[int, int], is_told: bool
) -> None:
    data_dir = folder(tmp_path / "data", "car", hw)
    assert main.main(arguments(data_dir, tmp_path / "run", "--num_epoch", "1")) == 0
    assert (".png is 400 x 64 and is shrunk" in capsys.readouterr().err) == is_told


@pytest.mark.slow
def test_a_run_that_goes_on_is_not_told_to_take_a_larger_batch_which_it_may_not(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_description, "is_batch_small_for_gpu", lambda config, device: True)
    data_dir, run_dir = folder(tmp_path / "data", "ship", (64, 64)), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    assert "a batch of 2 leaves a GPU waiting" in capsys.readouterr().err
    assert main.main(["--resume_train", str(run_dir), "--num_epoch", "2"]) == 0
    assert "leaves a GPU waiting" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_class_without_an_object_to_learn_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """It was trained for to the end, and never found."""
    data_dir = folder(tmp_path / "data", "car", (64, 64))
    write(data_dir / "classes.txt", "car\nboat\ntruck\n")
    write(data_dir / "train.txt", "a\n")
    write(data_dir / "val.txt", "b\n")
    (data_dir / "labelTxt" / "a.txt").open("a").write("30 30 40 30 40 40 30 40 truck 2\n")
    (data_dir / "labelTxt" / "b.txt").open("a").write(SQUARE.format("boat"))
    assert main.main(arguments(data_dir, tmp_path / "run", "--num_epoch", "1")) == 0
    said = capsys.readouterr().err
    assert "no training picture holds an object of boat, truck; the network will not find any" in said


@pytest.mark.slow
@pytest.mark.parametrize(("width", "is_told"), [(1.0, True), (1.9, False), (3.0, False)])
def test_a_class_that_is_too_thin_for_the_input_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture, width: float, is_told: bool
) -> None:
    """All its objects become ignore regions; 1.9 pixels are enough where training enlarges."""
    data_dir = folder(tmp_path / "data", "car", (64, 64))
    for name in "ab":
        text = f"{SQUARE.format('car')}10 10 {10 + width} 10 {10 + width} 50 10 50 crack 0\n"
        write(data_dir / "labelTxt" / f"{name}.txt", text)
    assert main.main(arguments(data_dir, tmp_path / "run", "--num_epoch", "1")) == 0
    said = capsys.readouterr().err
    assert ("objects of crack, all that were looked at, are thinner than 2 px of the input" in said) == is_told
    assert "of car" not in said


@pytest.mark.slow
def test_links_that_lead_nowhere_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Half of the data was gone with the folder that it had been linked from, and nothing said so."""
    data_dir = folder(tmp_path / "data", "car", (64, 64))
    (data_dir / "images" / "c.png").symlink_to(tmp_path / "gone.png")
    assert main.main(arguments(data_dir, tmp_path / "run", "--num_epoch", "1")) == 0
    said = capsys.readouterr().err
    assert (
        said.count(f"1 links to pictures lead to no file and are left out, such as {data_dir / 'images' / 'c.png'}")
        == 1
    )


@pytest.mark.slow
def test_the_numbers_that_stand_for_classes_on_the_pages_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = chr(0x10FFFD)  # which no font has
    data_dir = folder(tmp_path / "data", private, (64, 64))
    assert main.main(arguments(data_dir, tmp_path / "run", "--num_epoch", "1")) == 0
    assert f"are drawn as numbers: #0 is {private}" in capsys.readouterr().out


@pytest.mark.slow
def test_that_few_objects_choose_the_best_epoch_by_chance_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = folder(tmp_path / "data", "car", (64, 64))
    assert main.main(arguments(data_dir, tmp_path / "few", "--num_epoch", "1")) == 0
    said = capsys.readouterr().out
    assert "1 to validate on, 1 object\n" in said
    assert "which epoch scores best is mostly chance" in said
    monkeypatch.setattr(run_description, "FEW_OBJECTS", 1)
    assert main.main(arguments(data_dir, tmp_path / "enough", "--num_epoch", "1")) == 0
    assert "mostly chance" not in capsys.readouterr().out
