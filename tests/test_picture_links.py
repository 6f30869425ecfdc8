"""Pictures are linked, and copied where the system refuses links."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from tools.picture_links import copy_picture, link_or_copy


def test_a_link_leads_to_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "图 1.png").write_bytes(b"1")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    assert link_or_copy(Path("图 1.png"), Path("out/a.png"))
    assert (tmp_path / "out" / "a.png").resolve() == tmp_path / "图 1.png"


def test_where_no_links_can_be_made_pictures_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    (tmp_path / "图 1.png").write_bytes(b"1")
    assert not link_or_copy(tmp_path / "图 1.png", tmp_path / "a.png")
    assert not (tmp_path / "a.png").is_symlink()
    assert (tmp_path / "a.png").read_bytes() == b"1"


def test_a_copy_is_whole_or_not_there_and_a_full_disk_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(original, file, length: int) -> None:
        file.write(original.read(2))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "a.png").write_bytes(b"1234")
    copy_picture(tmp_path / "a.png", tmp_path / "out" / "图 1.png")
    assert (tmp_path / "out" / "图 1.png").read_bytes() == b"1234"
    monkeypatch.setattr(shutil, "copyfileobj", fill)
    with pytest.raises(OSError, match=r"b\.png"):
        copy_picture(tmp_path / "a.png", tmp_path / "out" / "b.png")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["图 1.png"]
    with pytest.raises(OSError, match=r"none\.png"):
        copy_picture(tmp_path / "none.png", tmp_path / "out" / "c.png")
