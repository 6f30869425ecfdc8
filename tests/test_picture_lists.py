"""Lists of folds: every picture validates once, where nothing that belongs to it trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.test_split_train_val import make_data, read_lists
from tools.picture_lists import lists_of_folds, write_lists
from tools.running.command_line import SettingsError
from tools.split_train_val import main


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Thirty pictures of ten videos."""
    objects = {f"视频 {k // 3}_{k:02}": ["car"] * (1 + k % 4) + ["ship"] * (k % 5 == 0) for k in range(30)}
    return make_data(tmp_path / "data", objects)


def test_every_picture_validates_once_and_its_group_does_not_train_then(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "folds"
    assert main([str(data_dir), "--out", str(out), "--folds", "4", "--group_by", r"^(.+)_\d+$"]) == 0
    folds = [read_lists(out / f"fold_{number}") for number in (1, 2, 3, 4)]
    names = sorted(path.stem for path in (data_dir / "images").iterdir())
    assert sorted(name for lists in folds for name in lists["val"]) == names
    for lists in folds:
        assert lists["train"] == lists["trainval"]
        assert lists["val"] == lists["test"]
        assert sorted(lists["train"] + lists["val"]) == names
        assert not {name.split("_")[0] for name in lists["train"]} & {name.split("_")[0] for name in lists["val"]}
    said = capsys.readouterr().out
    assert said.split()[:8] == "fold 1 fold 2 fold 3 fold 4".split()
    assert "4 folds" in said
    assert not (out / "train.txt").exists()


def test_classes_are_shared_out_to_the_folds(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    assert main([str(data_dir), "--out", str(out), "--folds", "3"]) == 0
    labels = {path.stem: path.read_text("utf-8") for path in (data_dir / "labelTxt").iterdir()}
    for number in (1, 2, 3):
        texts = [labels[name] for name in read_lists(out / f"fold_{number}")["val"]]
        assert sum("ship" in text for text in texts) == 2
        assert len(texts) in (9, 10, 11)


@pytest.mark.parametrize("flags", [("--val", "0.2"), ("--test", "0.2"), ("--part_pictures",)])
def test_folds_go_without_other_parts(flags: tuple[str, ...], data_dir: Path, tmp_path: Path) -> None:
    assert main([str(data_dir), "--out", str(tmp_path / "folds"), "--folds", "3", *flags]) == 2


def test_more_folds_than_groups_are_one_sentence(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(data_dir), "--out", str(tmp_path / "folds"), "--folds", "31"]) == 1
    assert "30 pictures in fewer groups than the 31 lists" in capsys.readouterr().err
    assert main([str(data_dir), "--out", str(tmp_path / "folds"), "--folds", "1"]) == 2


def test_folds_of_another_split_are_not_left_among_the_new_ones(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(9)]
    write_lists(tmp_path, lists_of_folds(names, np.arange(9) % 3, 3), overwrite=False)
    with pytest.raises(SettingsError, match="other content"):
        write_lists(tmp_path, lists_of_folds(names, np.arange(9) % 2, 2), overwrite=False)
    with pytest.raises(SettingsError, match="fold_3: is of another split"):
        write_lists(tmp_path, lists_of_folds(names, np.arange(9) % 2, 2), overwrite=True)
    assert (tmp_path / "fold_1" / "val.txt").read_text().split() == ["p0", "p3", "p6"]
    (tmp_path / "fold_notes.txt").touch()
    write_lists(tmp_path, {"train": names[:5], "val": names[5:]}, overwrite=False)  # which nobody takes for folds
