"""Free memory: the machine's, or less where a container has a limit; None where nobody tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.training import memory
from tools.training.memory import free_memory

GIB = 2**30


@pytest.mark.parametrize(
    ("meminfo", "limit", "used", "files", "expected"),
    [
        ("MemTotal: 9 kB\nMemAvailable:   2097152 kB\n", None, None, 0, 2 * GIB),
        ("MemAvailable: 2097152 kB\n", "max\n", "5\n", 0, 2 * GIB),
        ("MemAvailable: 2097152 kB\n", f"{GIB}\n", f"{GIB // 4}\n", 0, GIB - GIB // 4),
        ("MemAvailable: 2097152 kB\n", f"{GIB}\n", f"{GIB}\n", GIB // 2, GIB // 2),  # full of files that were read
        ("MemAvailable: 2097152 kB\n", "100\n", "200\n", 0, 0),
        ("nothing\n", None, None, 0, None),
        (None, None, None, 0, None),
    ],
)
def test_the_tighter_of_machine_and_container_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    meminfo: str | None,
    limit: str | None,
    used: str | None,
    files: int,
    expected: int | None,
) -> None:
    texts = {
        "meminfo": meminfo,
        "memory.max": limit,
        "memory.current": used,
        "memory.stat": f"anon 7\nfile {files}\ninactive_file {files - files // 3}\nactive_file {files // 3}\n",
    }
    for name, text in texts.items():
        if text is not None:
            (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert free_memory() == expected
