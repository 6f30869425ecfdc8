"""Tests of DOTA_devkit/atomic.py: a file is whole or not there."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from DOTA_devkit.atomic import atomic_appends, atomic_write, write_csv, write_json, write_lines, write_text


def test_text_is_utf8_with_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "港口.txt"
    write_text(path, "船\nb\n")
    assert path.read_bytes() == "船\nb\n".encode()


def test_empty_text_makes_an_empty_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "")
    assert (tmp_path / "a.txt").read_bytes() == b""


def test_a_list_is_a_line_each(tmp_path: Path) -> None:
    write_lines(tmp_path / "val.txt", ("a b", "图 1"))
    assert (tmp_path / "val.txt").read_bytes() == "a b\n图 1\n".encode()
    write_lines(tmp_path / "val.txt", iter(()))
    assert (tmp_path / "val.txt").read_bytes() == b""


def test_missing_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.bin"
    with atomic_write(path, "wb", sync=False) as file:
        file.write(b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"


def test_nothing_but_the_file_is_left(tmp_path: Path) -> None:
    for text in ("one", "two"):
        write_text(tmp_path / "a.txt", text)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "two"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), ValueError("x"), OSError(errno.ENOSPC, "disk full")])
def test_an_interruption_keeps_the_old_file_and_leaves_nothing(tmp_path: Path, interruption: BaseException) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(type(interruption)), atomic_write(path) as file:
        file.write("new")
        raise interruption
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_full_disk_names_the_file(tmp_path: Path, number: int) -> None:
    with pytest.raises(OSError, match=r"a\.txt"), atomic_write(tmp_path / "a.txt"):
        raise OSError(number, os.strerror(number))


def test_a_really_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel refuses only at fsync must not replace the old file either."""
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match=r"a\.txt"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_in_place_of_the_folder_is_an_error_that_names_the_target(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(OSError, match=r"folder.c\.txt"):
        write_text(tmp_path / "folder" / "c.txt", "x")


def test_a_folder_in_place_of_the_file_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OSError, match=r"a\.txt"):
        write_text(tmp_path / "a.txt", "x")
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_appends_come_one_after_the_other_and_all_files_at_once(tmp_path: Path) -> None:
    paths = [tmp_path / "new" / "a.txt", tmp_path / "b.txt", tmp_path / "c.txt"]
    write_text(paths[1], "old\n")
    with atomic_appends(paths) as append:
        for text in ("船\n", "y\n"):
            append(0, text)
            append(1, text.upper())
        assert paths[1].read_text() == "old\n"
        assert not paths[0].exists()
    assert [path.read_bytes() for path in paths] == ["船\ny\n".encode(), "船\nY\n".encode(), b""]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "b.txt", "c.txt", "new"]


@pytest.mark.parametrize("sync", [True, False])
def test_appends_to_a_full_disk_name_the_file_and_keep_all_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path in paths:
        write_text(path, "old")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"a\.txt" if sync else r"b\.txt"), atomic_appends(paths, sync) as append:
        append(0, "new")
        if sync:
            monkeypatch.setattr(os, "fsync", refuse)
        else:
            monkeypatch.setattr(Path, "open", refuse)
            append(1, "new")
    monkeypatch.undo()
    assert [path.read_text() for path in paths] == ["old", "old"]
    assert sorted(tmp_path.iterdir()) == paths


@pytest.mark.parametrize("place", ["folder", "file"])
def test_appends_to_a_place_that_is_taken_name_the_target_and_leave_nothing(tmp_path: Path, place: str) -> None:
    write_text(tmp_path / "a.txt", "old")
    taken = tmp_path / "b.txt"
    if place == "folder":
        taken.mkdir()
    else:
        (tmp_path / "sub").write_text("a file")
        taken = tmp_path / "sub" / "b.txt"
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match=r"b\.txt"), atomic_appends([tmp_path / "a.txt", taken]):
        pass
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "a.txt").read_text() == "old"


def test_others_may_read_the_file_as_far_as_the_umask_allows(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("x")
    write_text(tmp_path / "ours.txt", "x")
    assert (tmp_path / "ours.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_a_name_of_the_greatest_length_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("港" * 80)  # 240 bytes of the 255 that file systems allow
    write_text(path, "x")
    assert path.read_text() == "x"


def test_json_has_null_for_what_is_not_a_number(tmp_path: Path) -> None:
    value = {
        "nan": float("nan"),
        "inf": np.float32("inf"),
        "array": np.array([[1.5, np.nan]]),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "pair": (1, None),
        "path": Path("a/b"),
        "名": "船",
    }
    write_json(tmp_path / "m.json", value)
    text = (tmp_path / "m.json").read_text(encoding="utf-8")
    assert "船" in text
    assert json.loads(text) == {
        "nan": None,
        "inf": None,
        "array": [[1.5, None]],
        "count": 3,
        "flag": True,
        "pair": [1, None],
        "path": "a/b",
        "名": "船",
    }


def test_json_of_something_else_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "m.json", {"a": object()})
    assert list(tmp_path.iterdir()) == []


def test_json_floats_are_not_rounded(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", [1 / 3, np.float64(2 / 3)])
    assert json.loads((tmp_path / "m.json").read_text()) == [1 / 3, 2 / 3]


def test_a_table_quotes_what_a_spreadsheet_would_part_and_leaves_none_empty(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [["小车", 'a, "b"'], [None, 1.5]])
    assert (tmp_path / "a.csv").read_bytes() == '\ufeff小车,"a, ""b"""\n,1.5\n'.encode()  # for Excel
    write_csv(tmp_path / "a.csv", [["car", 1], [None, 1.5]])
    assert (tmp_path / "a.csv").read_bytes() == b"car,1\n,1.5\n"
