"""Tables that grow: a row is there at once, and whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tools.videos.growing_table import GrowingTable


def test_rows_are_there_while_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with GrowingTable(path, ("time", "class"), ("car",)) as table:
        assert path.read_text() == "time,class\n"
        table.add(1, "a,b")
        assert path.read_text() == 'time,class\n1,"a,b"\n'
    with GrowingTable(tmp_path / "b.csv", ("time",), ("船",)):
        assert (tmp_path / "b.csv").read_bytes() == b"\xef\xbb\xbftime\n"
    with pytest.raises(FileExistsError), GrowingTable(path, ("time",), ()):
        pass


class FullDisk:
    """A file that takes so many bytes more, and then none."""

    def __init__(self, file: object, left: int) -> None:
        self.file, self.left = file, left

    def write(self, data: bytes) -> int:
        if not self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self.file.write(data[: self.left])
        self.left -= taken
        return taken

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)


def test_a_full_disk_leaves_no_half_row_and_is_told_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with GrowingTable(path, ("time", "class"), ()) as table:
        table.add(1, "car")
        table._file = FullDisk(table._file, 4)
        with pytest.raises(OSError, match=r"No space left on device.*a\.csv"):
            table.add(2, "truck")
    assert path.read_text() == "time,class\n1,car\n"
