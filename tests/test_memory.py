"""Free memory: the machine's, or less where a container has a limit; None where nobody tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import memory
from tools.memory import free_memory

GIB = 2**30


@pytest.mark.parametrize(
    ("meminfo", "limit", "used", "expected"),
    [
        ("MemTotal: 9 kB\nMemAvailable:   2097152 kB\n", None, None, 2 * GIB),
        ("MemAvailable: 2097152 kB\n", "max\n", "5\n", 2 * GIB),
        ("MemAvailable: 2097152 kB\n", f"{GIB}\n", f"{GIB // 4}\n", GIB - GIB // 4),
        ("MemAvailable: 2097152 kB\n", "100\n", "200\n", 0),
        ("nothing\n", None, None, None),
        (None, None, None, None),
    ],
)
def test_the_tighter_of_machine_and_container_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    meminfo: str | None,
    limit: str | None,
    used: str | None,
    expected: int | None,
) -> None:
    for name, text in (("MEMINFO", meminfo), ("LIMIT", limit), ("USED", used)):
        path = tmp_path / name
        if text is not None:
            path.write_text(text)
        monkeypatch.setattr(memory, name, path)
    assert free_memory() == expected
