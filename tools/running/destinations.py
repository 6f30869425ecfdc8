"""Where a command may write: neither into its data nor beside its inputs, nor over what somebody else has put there."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path

from tools.running.command_line import SettingsError

LOOKED_AT = 1 << 20  # bytes


def refuse_data_folder(out: Path, data_dir: Path, flag: str = "", what: str = "the data folder") -> None:
    """Raises SettingsError when `out`, a file or folder that `flag` names, is the folder of the data, or of `what` else
    is read, or lies in it."""
    if out.resolve().is_relative_to(data_dir.resolve()):
        raise SettingsError(
            f"{f'{flag} {out}'.strip()} lies in {what}, {data_dir}, where nothing is written; name another"
        )


def refuse_inputs(out: Path, inputs: Path, flag: str = "") -> None:
    """Raises SettingsError when results in the folder `out`, which `flag` names, would lie beside the inputs or over
    them."""
    folder, source = out.resolve(), inputs.resolve()
    source = source.parent if source.is_file() else source
    if source in (folder, folder / "drawings", folder / "results"):
        said = f"{flag} {out}".strip()
        raise SettingsError(f"{said} lies in the inputs, {inputs}, beside which nothing is written; name another")


def refuse_to_replace(
    path: Path | None,
    flag: str,
    heads: Sequence[str] = (),
    marks: Sequence[str] = (),
    remedy: str = "name another file",
) -> None:
    """Raises SettingsError where the file that `flag` names is there, begins with none of the `heads` and holds none of
    the `marks` by which an earlier one of ours is known: it may be somebody's only copy. A mark is one that nothing
    else holds. An empty file is nobody's; None is no file."""
    if path is None or not path.exists():
        return
    said = f"{flag} {path}".strip()
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(LOOKED_AT).removeprefix(codecs.BOM_UTF8)
        known_by = start.startswith(tuple(head.encode() for head in heads)) or any(
            mark.encode() in start for mark in marks
        )
        if not start or known_by:
            return
    elif not path.is_dir():
        raise SettingsError(f"{said} is a device, and no file; name a file")
    raise SettingsError(f"{said} is there, and was not written by this command; {remedy}")


def require_free(out: Path, flag: str = "", or_file: str = "") -> None:
    """Raises SettingsError unless `out`, which `flag` names, is a new or empty folder; `or_file` tells what else the
    user may name."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"{f'{flag} {out}'.strip()} is in use; name a new or empty folder{or_file}")
