"""How much memory is left on this machine, also within the limit of a container."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
LIMIT, USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")  # cgroup v2


def free_memory() -> int | None:
    """Bytes that programs can still take; None where the system does not tell."""
    free = []
    with suppress(OSError, ValueError, IndexError):
        free.append(int(MEMINFO.read_text().split("MemAvailable:")[1].split()[0]) * 1024)
    with suppress(OSError, ValueError):  # "max" where there is no limit
        free.append(int(LIMIT.read_text()) - int(USED.read_text()))
    return max(0, min(free)) if free else None
