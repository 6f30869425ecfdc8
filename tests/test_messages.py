"""What is said beside the results is short, and tells of what nobody would miss."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.running.messages import first_of, forget_warnings, log_warnings, warn, warn_of_dead_links


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


def test_warnings_stand_in_the_log_also_those_from_before_it_was_there() -> None:
    """A run's log held none of them: that validation pictures are trained on, that a class is ignored ..."""
    first, second = [], []
    warn("of another command")
    forget_warnings()
    warn("early")
    log_warnings(first.append)
    warn("late")
    log_warnings(second.append)
    warn("later")
    assert (first, second) == (["warning: early", "warning: late"], ["warning: later"])
