"""Tables of what never ends: a row is in the file at once, so that one may look, and whoever kills it loses none."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Sequence
from pathlib import Path

SYNC_EVERY = 1.0  # seconds, at most: each time the disk is waited for


class GrowingTable:
    """Context manager that writes a new CSV file row by row, each handed to the system at once and whole or not at all;
    a power cut may take the last ones along. `names` will stand in its rows. Raises FileExistsError for a file that is
    there.
    """

    def __init__(self, path: Path, columns: Sequence[str], names: Sequence[str]) -> None:
        self.path, self.columns = path, columns
        self._is_ascii = all(map(str.isascii, names))

    def __enter__(self) -> GrowingTable:
        self._file = self.path.open("xb", buffering=0)
        self._size, self._synced = 0, time.monotonic()
        self._add(self.columns, mark="" if self._is_ascii else "\ufeff")  # as `write_csv` begins
        return self

    def add(self, *values: object) -> None:
        """Add a row. Raises OSError, naming the file."""
        self._add(values)

    def _add(self, values: Sequence[object], mark: str = "") -> None:
        text = io.StringIO(mark)
        text.seek(0, io.SEEK_END)
        csv.writer(text, lineterminator="\n").writerow(values)
        data = text.getvalue().encode()
        try:
            written = 0
            while written < len(data):  # a disk that is nearly full takes a part
                written += self._file.write(data[written:])
            if time.monotonic() >= self._synced + SYNC_EVERY:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            self._file.truncate(self._size)
            raise type(error)(error.errno, error.strerror, str(self.path)) from error
        self._size += len(data)

    def __exit__(self, *problem: object) -> None:
        self._file.close()
