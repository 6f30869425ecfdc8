"""What is said beside the results is short, and tells of what nobody would miss."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.messages import first_of, warn_of_dead_links


def test_the_first_of_many_names() -> None:
    assert first_of(["a", "b"]) == "a, b"
    assert first_of(["a", "b", "c", "d"], 2) == "a, b and 2 more"


def test_links_beside_pictures_that_lead_nowhere_are_counted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    warn_of_dead_links([tmp_path / "a.png", tmp_path / "b.png"])
    assert capsys.readouterr().err == ""
    for name in ("c.png", "d.png"):
        (tmp_path / name).symlink_to(tmp_path / "gone.png")
    warn_of_dead_links([tmp_path / "a.png", tmp_path / "b.png"])
    assert f"warning: 2 links to pictures lead to no file and are left out, such as {tmp_path / 'c.png'}" in (
        capsys.readouterr().err
    )
