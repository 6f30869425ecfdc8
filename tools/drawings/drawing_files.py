"""Files of drawings, marked as such: an earlier drawing may be replaced, another picture never."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from DOTA_devkit.atomic import atomic_write
from tools.picture_coding import encoded
from tools.running.command_line import SettingsError

_MARK = b"Comment\0drawn, not a photograph"  # in the head of what is written here, so that it may be replaced


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture, whole or not at all, coded by the suffix and, as JPEG and PNG, marked as a drawing (see
    `check_drawings`). Raises OSError."""
    data = encoded(path, picture)
    with atomic_write(path, "wb", sync=False) as file:
        file.write(_marked(data))


def check_drawings(paths: Iterable[Path]) -> None:
    """Raises SettingsError when one of the files is there and no drawing of ours: it may be somebody's only copy. An
    empty one is nobody's: a power cut leaves such of those that are not waited for."""
    for path in paths:
        if not path.exists() or (path.is_file() and not path.stat().st_size):
            continue
        if not _is_drawing(path):
            raise SettingsError(f"{path} is there and is no earlier drawing; name another folder")


def remove_drawings(folder: Path) -> None:
    """Remove the drawings of ours in a folder: beside those of other pictures or of a better network they mislead."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if _is_drawing(path):
            path.unlink()


def _is_drawing(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _MARK in file.read(2 * len(_MARK) + 40)


def _marked(data: bytes) -> bytes:
    """A JPEG or PNG file with the mark as a comment in its head; any other as it is."""
    if data.startswith(b"\xff\xd8"):
        return data[:2] + b"\xff\xfe" + (len(_MARK) + 2).to_bytes(2, "big") + _MARK + data[2:]
    if data.startswith(b"\x89PNG"):
        chunk = b"tEXt" + _MARK
        head = 33  # bytes of the signature and of the first chunk
        return data[:head] + len(_MARK).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[head:]
    return data
