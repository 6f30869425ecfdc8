"""One process a folder, and what is left of a lock when its process ends."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from tools.running import folder_lock
from tools.running.command_line import SettingsError
from tools.running.folder_lock import LOCK, locked

fcntl = pytest.importorskip("fcntl")
REPOSITORY = Path(__file__).resolve().parent.parent


def test_a_second_process_is_refused_and_a_later_one_is_not(tmp_path):
    with (
        locked(tmp_path / "new"),
        pytest.raises(SettingsError, match="new: another process is training in this folder"),
        locked(tmp_path / "new"),
    ):
        pass
    assert list((tmp_path / "new").iterdir()) == []
    with locked(tmp_path / "new", "cutting tiles into"):
        assert (tmp_path / "new" / LOCK).exists()


def test_a_disk_without_locks_is_no_other_training(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path):
        assert "its disk knows no locks" in capsys.readouterr().err


def test_where_the_system_has_no_locks_no_file_is_held_open(tmp_path, monkeypatch):
    """Windows does not remove an open file: every training there ended with exit code 1."""
    monkeypatch.setattr(folder_lock, "fcntl", None)
    with locked(tmp_path / "new"), locked(tmp_path / "new"):
        assert list((tmp_path / "new").iterdir()) == []


def test_a_lock_that_its_owner_has_just_removed_is_none(tmp_path, monkeypatch):
    """The owner ends between another's opening and locking of the file: two then held locks, of two files."""
    flock, removed = fcntl.flock, []

    def locking_too_late(file, how):
        if not removed:
            removed.append((tmp_path / LOCK).unlink())
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", locking_too_late)
    with locked(tmp_path), pytest.raises(SettingsError, match="another process"), locked(tmp_path):
        pass
    assert removed


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom tools.running.folder_lock import locked\n"
        "with locked(Path(sys.argv[1])):\n    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY, check=False)
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        pass
