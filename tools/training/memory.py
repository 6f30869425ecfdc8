"""How much memory is left on this machine, and within the limit of a container of its own (cgroup v2)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Bytes that programs can still take; None where the system does not tell."""
    free = []
    with suppress(OSError, ValueError, IndexError):
        free.append(int(MEMINFO.read_text().split("MemAvailable:")[1].split()[0]) * 1024)
    with suppress(OSError, ValueError):  # "max" where there is no limit
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        free.append(limit - used + _cached_files())
    return max(0, min(free)) if free else None


def _cached_files() -> int:
    """Bytes of files that the container has read, which count as used and are given back when others need them."""
    lines = (line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    return sum(int(value) for name, value in lines if name in ("inactive_file", "active_file"))
