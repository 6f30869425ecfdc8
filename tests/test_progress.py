"""Progress: a line now and then where there is no terminal, nothing for quick work."""

from __future__ import annotations

import time

from tools.running import progress


def test_quick_work_says_nothing(capsys):
    assert list(progress.progress_bar(range(3))) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_long_work_shows_life_in_whole_lines(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.02)
    for _ in progress.progress_bar(range(5), desc="cutting", unit="picture"):
        time.sleep(0.03)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("cutting") for line in lines)
    assert any("picture" in line for line in lines)


def test_nothing_to_do():
    assert list(progress.progress_bar([], total=0)) == []
