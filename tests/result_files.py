"""Result files and label files of a small set, and the command that scores them, for the tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from DOTA_devkit.task_files import result_path
from tools import evaluate

SQUARE = "0 0 10 0 10 10 0 10"


BESIDE = "50 0 60 0 60 10 50 10"


FAR = "500 0 510 0 510 10 500 10"


class Files:
    """A folder of results and one of labels, and the command run on them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.results, self.labels = folder, folder / "results", folder / "labelTxt"
        self.results.mkdir()
        self.labels.mkdir()

    def label(self, picture: str, *lines: str) -> Path:
        return self._write(self.labels / f"{picture}.txt", lines)

    def result(self, class_name: str, *lines: str, task: int = 1) -> Path:
        return self._write(result_path(self.results, class_name, task), lines)

    def list(self, *lines: str, name: str = "list.txt") -> str:
        return str(self._write(self.folder / name, lines))

    def run(self, *flags: str) -> int:
        return evaluate.main([str(self.results), str(self.labels), "--json", str(self.folder / "metrics.json"), *flags])

    def metrics(self, *flags: str) -> dict:
        assert self.run(*flags) == 0
        return json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))

    def _write(self, path: Path, lines: Sequence[str]) -> Path:
        path.write_bytes("".join(f"{line}\n" for line in lines).encode())
        return path
