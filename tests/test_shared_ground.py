"""Pictures of the same ground are known by where they lie, whatever they look like."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from rasterio.transform import from_origin

from datasets.picture_files.shared_ground import shared_ground
from tests.label_documents import PNG, write
from tests.test_georeference import geotiff
from tools import check_data
from tools.split_train_val import main


def at(folder: Path, name: str, east: float, crs: str = "EPSG:32632") -> Path:
    """A picture of 20 m x 16 m, so many metres to the east."""
    return geotiff(folder / f"{name}.tif", from_origin(500_000 + east, 5_400_000, 0.1, 0.1), crs)


def test_pictures_that_overlap_by_more_than_a_tenth_share_ground(tmp_path: Path) -> None:
    paths = [at(tmp_path, name, east) for name, east in (("a", 0), ("b", 10), ("c", 29), ("d", 49.5), ("e", 400))]
    (tmp_path / "f.png").write_bytes(PNG)
    assert shared_ground([*paths, tmp_path / "f.png"]).tolist() == [[0, 1]]
    assert shared_ground([tmp_path / "f.png", *paths[:2]]).tolist() == [[1, 2]]


def test_where_nothing_tells_the_place_nothing_is_shared(tmp_path: Path) -> None:
    paths = [geotiff(tmp_path / f"{name}.tif", None, None) for name in "ab"]
    assert shared_ground(paths).shape == shared_ground([]).shape == (0, 2)
    mixed = [at(tmp_path, "c", 0), geotiff(tmp_path / "d.tif", None, None), at(tmp_path, "e", 1)]
    assert shared_ground(mixed).tolist() == [[0, 2]]
    assert shared_ground(mixed[1:] + mixed[:1]).shape == (0, 2), "a glance at the first one"
    assert shared_ground(mixed[1:] + mixed[:1], of_all=True).tolist() == [[1, 2]]
    assert shared_ground(paths, of_all=True).shape == (0, 2)


def test_pictures_that_do_not_tell_where_they_lie_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data_dir = tmp_path / "data"
    for name in "abc":
        (geotiff(data_dir / "images" / f"{name}.tif", None, None))
        write(data_dir / "labelTxt" / f"{name}.txt", "10 10 50 10 50 50 10 50 car 0\n")
    flags = [str(data_dir), "--out", str(tmp_path / "lists"), "--group_by_ground"]
    assert main(flags) == 2
    assert "none of the 3 pictures tells where it lies (such as" in capsys.readouterr().err
    assert not (tmp_path / "lists").exists()
    at(data_dir / "images", "b", 0)
    assert main(flags) == 0
    assert "knows nothing of 2 of the 3 pictures, such as" in capsys.readouterr().err


def test_pictures_of_one_ground_are_told_of_in_two_lists_and_kept_together_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Two maps of one field were in training and in validation, and no near twin was found: they do not look alike."""
    data_dir = tmp_path / "data"
    for number in range(8):
        path = at(data_dir / "images", f"p{number}", 100 * (number // 2) + 5 * (number % 2))
        assert cv2.imread(str(path)) is not None
        write(data_dir / "labelTxt" / f"p{number}.txt", "10 10 50 10 50 50 10 50 car 0\n")
    flags = [str(data_dir), "--val", "0.5", "--out"]
    assert main([*flags, str(tmp_path / "apart")]) == 0
    assert re.search(r"of the 4 held out pictures, such as p\d, show ground that training", capsys.readouterr().err)
    assert check_data.main([str(data_dir), "--lists", str(tmp_path / "apart")]) == 0
    assert re.search(r"shows ground that p\d.tif shows, which is trained on", capsys.readouterr().out)
    assert main([*flags, str(tmp_path / "together"), "--group_by_ground"]) == 0
    assert "show ground" not in capsys.readouterr().err
    assert check_data.main([str(data_dir), "--lists", str(tmp_path / "together")]) == 0
    assert "shows ground" not in capsys.readouterr().out
    val = {int(name[1:]) // 2 for name in (tmp_path / "together" / "val.txt").read_text().split()}
    train = {int(name[1:]) // 2 for name in (tmp_path / "together" / "train.txt").read_text().split()}
    assert len(val) == len(train) == 2
    assert not val & train
    assert np.isfinite(shared_ground([data_dir / "images" / f"p{n}.tif" for n in range(8)])).all()
