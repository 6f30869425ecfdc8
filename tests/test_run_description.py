"""A run says at its start what looks wrong about its data."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import main
from tests.label_documents import write
from tests.test_train import arguments
from tools import run_description

SQUARE = "10 10 50 10 50 50 10 50 {} 0\n"


def folder(data_dir: Path, class_name: str, hw: tuple[int, int]) -> Path:
    (data_dir / "images").mkdir(parents=True)
    for name in "ab":
        picture = cv2.imencode(".png", np.zeros((*hw, 3), np.uint8))[1].tobytes()
        (data_dir / "images" / f"{name}.png").write_bytes(picture)
        write(data_dir / "labelTxt" / f"{name}.txt", SQUARE.format(class_name))
    return data_dir


def test_one_class_that_is_dotas_is_told_that_it_got_all_of_them(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data_dir = folder(tmp_path / "data", "ship", (64, 64))
    assert main.main(arguments(data_dir, tmp_path / "a", "--num_epoch", "1")) == 0
    assert "the labels name 1 of DOTA's 15 classes" in capsys.readouterr().out
    write(data_dir / "classes.txt", "ship\n")
    assert main.main(arguments(data_dir, tmp_path / "b", "--num_epoch", "1")) == 0
    assert "of DOTA's" not in capsys.readouterr().out


@pytest.mark.parametrize(("hw", "is_told"), [((64, 400), True), ((64, 150), False)])
def test_pictures_that_are_shrunk_much_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture, hw: tuple[int, int], is_told: bool
) -> None:
    data_dir = folder(tmp_path / "data", "car", hw)
    assert main.main(arguments(data_dir, tmp_path / "run", "--num_epoch", "1")) == 0
    assert (".png is 400 x 64 and is shrunk" in capsys.readouterr().err) == is_told


def test_a_run_that_goes_on_is_not_told_to_take_a_larger_batch_which_it_may_not(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_description, "is_batch_small_for_gpu", lambda config, device: True)
    data_dir, run_dir = folder(tmp_path / "data", "ship", (64, 64)), tmp_path / "run"
    assert main.main(arguments(data_dir, run_dir, "--num_epoch", "1")) == 0
    assert "a batch of 2 leaves a GPU waiting" in capsys.readouterr().err
    assert main.main(["--resume_train", str(run_dir), "--num_epoch", "2"]) == 0
    assert "leaves a GPU waiting" not in capsys.readouterr().err
