"""Tables of what never ends: a row is in the file at once, so that one may look, and a power cut takes none along."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path


class GrowingTable:
    """Context manager that writes a new CSV file row by row, each handed to the system at once; `names` will stand in
    its rows. Raises FileExistsError for a file that is there.
    """

    def __init__(self, path: Path, columns: Sequence[str], names: Sequence[str]) -> None:
        self.path, self.columns = path, columns
        self._is_ascii = all(map(str.isascii, names))

    def __enter__(self) -> GrowingTable:
        self._file = self.path.open("x", encoding="utf-8", newline="\n")
        self._file.write("" if self._is_ascii else "\ufeff")  # as `write_csv` begins
        self._writer = csv.writer(self._file, lineterminator="\n")
        self.add(*self.columns)
        return self

    def add(self, *values: object) -> None:
        """Add a row. Raises OSError."""
        self._writer.writerow(values)
        self._file.flush()

    def __exit__(self, *problem: object) -> None:
        self._file.close()
