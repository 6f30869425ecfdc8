"""A folder for one process alone, as long as it works there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tools.running.command_line import SettingsError
from tools.running.messages import warn

try:
    import fcntl
except ImportError:  # Windows has none; there two processes in one folder are not noticed
    fcntl = None

LOCK = ".lock"
HAS_LOCKS = fcntl is not None


@contextmanager
def locked(folder: Path, doing: str = "training in") -> Iterator[None]:
    """The folder, made if it is missing, for one process alone. Raises SettingsError when another one is `doing` the
    same with it. The lock is the system's and ends with the process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    path = folder / LOCK
    file = _open_locked(path, folder, doing)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def _open_locked(path: Path, folder: Path, doing: str) -> IO[str]:
    while True:
        file = path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise SettingsError(f"{folder}: another process is {doing} this folder; wait for it") from error
        except OSError:  # Lustre without -o flock, for instance
            warn(f"{folder}: its disk knows no locks; nothing keeps a second process out of this folder")
            return file
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # the one that had the lock has ended just now and removed the file
