"""A picture set beside new labels: a link to where it is, or a copy where the system allows no links."""

from __future__ import annotations

import shutil
from pathlib import Path

from DOTA_devkit.atomic import atomic_write


def link_or_copy(source: Path, path: Path) -> bool:
    """Set a link at `path`; whether that could be done (Windows asks for a permission, FAT has none), else it is a
    copy."""
    try:
        path.symlink_to(source.resolve())
    except OSError:
        copy_picture(source, path)
        return False
    return True


def copy_picture(source: Path, path: Path) -> None:
    """Copy a picture, whole or not at all. Raises OSError, which names the one of the two that is at fault."""
    with source.open("rb") as original, atomic_write(path, "wb", sync=False) as file:
        shutil.copyfileobj(original, file, 1 << 20)
