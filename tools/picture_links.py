"""A picture set beside new labels: a link to where it is, or a copy where the system allows no links."""

from __future__ import annotations

import shutil
from pathlib import Path


def link_or_copy(source: Path, path: Path) -> bool:
    """Set a link at `path`; whether that could be done (Windows asks for a permission, FAT has none), else it is a
    copy."""
    try:
        path.symlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, path)
        return False
    return True
