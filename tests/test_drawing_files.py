"""Drawings are written whole, in any script, and told from pictures that are somebody's own."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from datasets.picture_files.images import read_image
from tools.drawings.drawing_files import check_drawings, remove_drawings, write_picture
from tools.running.command_line import SettingsError


def test_pictures_are_written_to_paths_in_any_script(tmp_path):
    path = tmp_path / "图 1" / "b.png"
    picture = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    write_picture(path, picture)
    assert np.array_equal(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR), picture)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_drawings_are_told_from_other_pictures_and_read_as_ever(tmp_path, suffix):
    picture = np.full((40, 60, 3), 90, np.uint8)
    drawing, other = tmp_path / f"图 1{suffix}", tmp_path / f"b{suffix}"
    write_picture(drawing, picture)
    other.write_bytes(cv2.imencode(suffix, picture)[1].tobytes())
    assert np.abs(read_image(drawing).astype(int) - picture).max() <= 2
    check_drawings([drawing, tmp_path / "none.jpg"])
    with pytest.raises(SettingsError, match=r"b\..* is there and is no earlier drawing"):
        check_drawings([drawing, other])
    with pytest.raises(SettingsError, match="no earlier drawing"):
        check_drawings([tmp_path])


def test_only_drawings_of_ours_are_removed(tmp_path):
    write_picture(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    (tmp_path / "folder").mkdir()
    remove_drawings(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.png", "folder"]
    remove_drawings(tmp_path / "none")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_picture(tmp_path / "file" / "b.png", np.zeros((2, 2, 3), np.uint8))
