"""The lists that a run keeps in its folder: the pictures that it was trained on, and those that it has held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.splits import Split
from DOTA_devkit.atomic import write_lines
from DOTA_devkit.names import composed_form, spelling_in
from tools.command_line import SettingsError
from tools.messages import warn
from tools.run_folder import SETTINGS

LISTS = "lists"


def keep_lists(run_dir: Path, **lists: Sequence[str]) -> None:
    """Write the lists that a run uses to its folder: lists/train.txt, lists/val.txt."""
    for name, names in lists.items():
        write_lines(run_dir / LISTS / f"{name}.txt", names)


def check_lists(run_dir: Path, **lists: Sequence[str]) -> None:
    """Raises SettingsError when the lists that `keep_lists` wrote differ from these: the run cannot go on."""
    for name, names in lists.items():
        kept = _kept_list(run_dir, name)
        if kept and [*map(composed_form, kept)] != [*map(composed_form, names)]:
            raise SettingsError(
                f"{run_dir / LISTS / name}.txt: the run had {len(kept)} pictures in this list, the data now has "
                f"{len(names)} or others; restore the data, or start a new run from its weights with --resume"
            )


def held_out(run_dir: Path, data_dir: Path, images: Mapping[str, Path], split: Split) -> Split:
    """Of the pictures of a folder those that the run has held out, as far as they are there; of another folder, all of
    them; `split` where that is the same or nothing is known. By their names alone: the data may have moved."""
    train, val = (_kept_list(run_dir, name) for name in ("train", "val"))
    there = [found for name in val if (found := spelling_in(images, name)) is not None]
    if not val or set(there) == set(split.names):
        return split
    if there:
        gone = f" ({len(val) - len(there)} are gone)" if len(there) < len(val) else ""
        which = f"those of {run_dir / LISTS / 'val.txt'}{gone}"
        return Split(there, f"{data_dir}, {which}; --split all takes all {len(images)}")
    new = [name for name in images if composed_form(name) not in {*map(composed_form, train)}]
    return Split(new, f"{data_dir}, all that the run was not trained on") if new else split


def warn_of_known_pictures(split: Split, run_dir: Path | None) -> None:
    """Warn when pictures are scored that the run in a folder was trained on, by their names."""
    trained_on = {*map(composed_form, _kept_list(run_dir, "train"))}
    known = sorted(name for name in split.names if composed_form(name) in trained_on)
    if known:
        warn(
            f"{len(known)} of the {len(split.names)} pictures of {split.source} have names that the run was trained "
            f"on, such as {known[0]} ({run_dir / LISTS / 'train.txt'}); of the same pictures the score does not "
            "tell of new ones"
        )


def _kept_list(run_dir: Path | None, name: str) -> list[str]:
    """The names in a list that `keep_lists` wrote; none where there is no such list, nor in a folder that is no run: a
    checkpoint may have been copied beside the lists of others."""
    if run_dir is None or not (run_dir / SETTINGS).is_file():
        return []
    path = run_dir / LISTS / f"{name}.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
