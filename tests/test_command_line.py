"""What every command does alike: one sentence with a remedy when something refuses, exit codes, help."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from DOTA_devkit.atomic import atomic_write, write_text
from tools.running.command_line import Parser, exit_code, table_lines


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


def test_a_machine_without_torch_is_told_what_to_install(capsys: pytest.CaptureFixture) -> None:
    def train() -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    assert exit_code(train) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        "error: torch is not installed; activate the environment (source .venv/bin/activate), or pip"
    )
    assert said.count("\n") == 1
    with pytest.raises(ModuleNotFoundError):
        exit_code(lambda: importlib.import_module("no_such_module_of_ours"))


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


def test_sigterm_ends_with_143_and_leaves_no_half_written_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def work() -> None:
        with atomic_write(tmp_path / "a.txt") as file:
            file.write("half")
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    assert exit_code(work) == 143
    assert capsys.readouterr().err == "stopped\n"
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_process_that_was_forked_ends_by_sigterm_without_a_word(capfd: pytest.CaptureFixture) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("this system forks no processes")

    def work() -> int:
        child = os.fork()
        if child == 0:
            signal.raise_signal(signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) - 143

    assert exit_code(work) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are told of otherwise")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("num_lines", [1, 100_000])
def test_a_reader_that_has_gone_ends_the_command_without_a_word(num_lines: int, unbuffered: str) -> None:
    said = f"lambda: input() or print(*range({num_lines}), sep=chr(10))"
    program = f"import sys; from tools.running.command_line import exit_code; sys.exit(exit_code({said}))"
    command = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        process.stdout.close()
        _, err = process.communicate(b"\n", timeout=60)
    assert (process.returncode, err) == (141, b"")


def test_what_opencv_cannot_allocate_is_a_sentence(capsys: pytest.CaptureFixture) -> None:
    """Its errors are of a kind of their own."""

    def work() -> None:
        cv2.copyMakeBorder(np.zeros((1, 1), np.uint8), 0, 2**22, 0, 2**22, cv2.BORDER_REPLICATE)

    assert exit_code(work) == 1
    assert capsys.readouterr().err.startswith("error: not enough memory; lower --batch_size")


@pytest.mark.parametrize("words", [["", "out"], ["data", " "], ["data", "out", "--lists", ""]])
def test_an_empty_path_is_not_the_folder_one_stands_in(words: list[str], capsys: pytest.CaptureFixture) -> None:
    """Lists were written into the working folder, for a shell's variable that was not set."""

    def work() -> None:
        parser = Parser("x")
        for name in ("data", "out", "--lists"):
            parser.add_argument(name, type=Path)
        parser.parse_args(words)

    assert exit_code(work) == 2
    assert "is empty" in capsys.readouterr().err


def test_help_keeps_lines_and_lays_notes_beside_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """They ran together to one paragraph of twenty lines."""
    monkeypatch.setenv("COLUMNS", "42")
    notes = {"a": "one two three four five six seven eight", "longer": "nine"}
    parser = Parser("x", epilog="\n".join(["Read:", *table_lines(notes), "", "The end of it, which is folded here."]))
    assert parser.format_help().endswith(
        "Read:\n"
        "  a       one two three four five six\n"
        "          seven eight\n"
        "  longer  nine\n"
        "\n"
        "The end of it, which is folded here.\n"
    )
