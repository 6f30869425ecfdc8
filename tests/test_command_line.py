"""What every command says when the disk refuses: one sentence with the path and what to do, and exit code 1."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from DOTA_devkit.atomic import write_text
from tools.command_line import exit_code


def test_a_file_in_the_way_is_a_sentence_without_the_number_of_the_system(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "文件").write_text("")
    (tmp_path / "a.txt").mkdir()
    for place, sentence in (
        (tmp_path / "文件" / "b.txt", "a file is where a folder is needed"),
        (tmp_path / "文件" / "c" / "b.txt", "a file is where a folder is needed"),
        (tmp_path / "a.txt", "a folder is where a file is needed"),
    ):
        assert exit_code(lambda place=place: write_text(place, "x")) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"error: {place}: ")
        assert sentence in err
        assert "Errno" not in err
        assert ".tmp" not in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EACCES, "ask for permission"), (errno.EROFS, "can be written to"), (errno.ENOSPC, "make room")],
)
def test_what_the_system_refuses_comes_with_a_remedy(number: int, remedy: str, capsys: pytest.CaptureFixture) -> None:
    def refuse() -> None:
        raise OSError(number, "No", "data/a.txt")

    assert exit_code(refuse) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: data/a.txt: no; ")
    assert remedy in err


def test_an_error_of_ours_is_told_as_it_is(capsys: pytest.CaptureFixture) -> None:
    def refuse() -> None:
        raise OSError("data/a.png: cannot be coded")

    assert exit_code(refuse) == 1
    assert capsys.readouterr().err == "error: data/a.png: cannot be coded\n"
