"""Pictures are linked, and copied where the system refuses links."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.picture_links import link_or_copy


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
