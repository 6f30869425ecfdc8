"""Files that are either whole or not there: written beside their place, then moved into it."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

_TEXT: dict[str, Any] = {"encoding": "utf-8", "newline": "\n"}


@contextmanager
def atomic_write(path: Path, mode: Literal["w", "wb"] = "w", sync: bool = True) -> Iterator[IO[Any]]:
    """Open a file for writing that takes the place of `path` only when the block ends well.

    The data goes to a temporary file in the same folder (made if missing), is flushed and moved over `path` in one
    step. Whatever ends the block early (disk full, Ctrl-C, an error) removes the temporary file and leaves the old
    `path` as it was. Text is UTF-8 with `\\n` line ends.

    `sync` also waits for the disk, so that a power cut cannot leave an empty file; a caller who writes very many
    small files that can be made again may leave that out.

    Raises OSError (permission, disk full, a folder in the way), naming `path` and not the temporary file.
    """
    path = Path(path)
    temporary, file = _begin(path, mode)
    try:
        with _told_of(path, temporary):
            with file:
                yield file
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_appends(paths: Sequence[Path], sync: bool = True) -> Iterator[Callable[[int, str], None]]:
    """Write any number of text files, of which one at a time is open: yields `append(number, text)`.

    As with `atomic_write`, files take the places of `paths`, in their order, only when the block ends well, those that
    nothing was appended to as empty ones. Raises OSError as that does; for folders in the way before the block begins.
    """
    temporaries: list[Path] = []

    def append(number: int, text: str) -> None:
        with _told_of(paths[number], temporaries[number]), temporaries[number].open("a", **_TEXT) as file:
            file.write(text)

    try:
        for path in paths:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            temporary, file = _begin(path, "w")
            temporaries.append(temporary)
            file.close()
        yield append
        for path, temporary in zip(paths if sync else (), temporaries, strict=False):
            with _told_of(path, temporary), temporary.open("a") as file:
                os.fsync(file.fileno())
        for path, temporary in zip(paths, temporaries, strict=True):
            with _told_of(path, temporary):
                temporary.replace(path)
    except BaseException:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with atomic_write(path) as file:
        file.write(text)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a list, of names for instance, a line each, as `atomic_write` does."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write a table, the heading its first row, whole or not at all.

    With letters beyond ASCII it begins with a byte-order mark: without one Excel takes UTF-8 for its own code page.
    """
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    text = table.getvalue()
    write_text(path, text if text.isascii() else f"\ufeff{text}")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all.

    numpy arrays and numbers, tuples and paths are written as what they mean. NaN and the infinities, for which JSON
    has no word, become null. Raises TypeError for what JSON cannot hold, before anything is written.
    """
    write_text(path, json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=2) + "\n")


def _begin(path: Path, mode: Literal["w", "wb"]) -> tuple[Path, IO[Any]]:
    """A new temporary file beside `path`, and that file open for writing. An error names `path`."""
    # Opened by hand and not by `tempfile`, whose files nobody else may read.
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return temporary, temporary.open("xb") if mode == "wb" else temporary.open("x", **_TEXT)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error


@contextmanager
def _told_of(path: Path, temporary: Path) -> Iterator[None]:
    """Errors of the temporary file (a folder may be in the way of the move), and of one that is too large for the disk
    or its system of files, name `path`."""
    try:
        yield
    except OSError as error:
        if error.filename == str(temporary):
            raise type(error)(error.errno, error.strerror, str(path)) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) and error.filename is None:
            error.filename = str(path)
        raise


def _plain(value: Any) -> Any:
    """`value` made of dict, list, str, int, float, bool and None alone, as far as it can be."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case np.ndarray() | np.generic():
            return _plain(value.tolist())
        case float():
            return value if math.isfinite(value) else None
        case Path():
            return str(value)
        case _:
            return value
