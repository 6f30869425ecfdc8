"""The lists that a run keeps in its folder: the pictures that it was trained on, and those that it has held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.splits import Split
from DOTA_devkit.atomic import write_lines
from DOTA_devkit.names import composed_form, spelling_in
from tools.run_folder import SETTINGS
from tools.running.command_line import SettingsError
from tools.running.messages import warn
from tools.tile_folder import index_in

LISTS = "lists"
TILED = "train_pictures"  # the list of the pictures whose tiles a run was trained on


def keep_lists(run_dir: Path, **lists: Sequence[str]) -> None:
    """Write the lists that a run uses to its folder: lists/train.txt, lists/val.txt."""
    for name, names in lists.items():
        write_lines(run_dir / LISTS / f"{name}.txt", names)


def check_lists(run_dir: Path, **lists: Sequence[str]) -> None:
    """Raises SettingsError when the lists that `keep_lists` wrote differ from these: the run cannot go on. Warns where
    they are gone."""
    if not _kept_list(run_dir, "train"):
        warn(
            f"the lists of the run are not in {run_dir / LISTS}: that the data still have its pictures cannot be told, "
            "and the present ones will be taken for those that it was trained on"
        )
    for name, names in lists.items():
        kept = _kept_list(run_dir, name)
        if kept and [*map(composed_form, kept)] != [*map(composed_form, names)]:
            raise SettingsError(
                f"{run_dir / LISTS / name}.txt: the run had {len(kept)} pictures in this list, the data now has "
                f"{len(names)} or others; restore the data, leave out a --split or --lists that the run did not have, "
                "or start a new run from its weights with --resume"
            )


def pictures_of_tiles(data_dir: Path, names: Sequence[str]) -> list[str]:
    """The pictures that the tiles among `names` were cut from; none where the folder has no index of tiles."""
    index = index_in(data_dir, names)
    return sorted({index.tiles[name].picture for name in names if name in index.tiles}) if index else []


def held_out(run_dir: Path, data_dir: Path, images: Mapping[str, Path], split: Split) -> Split:
    """Of the pictures of a folder those that the run has held out, as far as they are there; of another folder, all of
    them; `split` where that is the same or nothing is known. By their names alone: the data may have moved."""
    val = _kept_list(run_dir, "val")
    there = [found for name in val if (found := spelling_in(images, name)) is not None]
    if not val or set(there) == set(split.names):
        return split
    if there:
        if 2 * len(there) < len(val):
            warn(
                f"{data_dir} has {len(there)} of the {len(val)} pictures that the run has held out, by their names; is "
                f"it the same data? --split all takes all {len(images)}"
            )
        gone = f" ({len(val) - len(there)} are gone)" if len(there) < len(val) else ""
        which = f"those of {run_dir / LISTS / 'val.txt'}{gone}"
        return Split(there, f"{data_dir}, {which}; --split all takes all {len(images)}")
    known = _known(list(images), run_dir, data_dir)
    new = [name for name in images if name not in known]
    return Split(new, f"{data_dir}, all that the run was not trained on") if new else split


def warn_of_known_pictures(split: Split, run_dir: Path | None, data_dir: Path | None = None) -> None:
    """Warn when pictures of `data_dir` are scored that the run in a folder was trained on, by their names and by those
    of the pictures that tiles are of."""
    known = sorted(_known(split.names, run_dir, data_dir))
    if known:
        warn(
            f"{len(known)} of the {len(split.names)} pictures of {split.source} have names that the run was trained "
            f"on, such as {known[0]}, or those of its tiles or of their pictures ({run_dir / LISTS / 'train.txt'}); of "
            "the same pictures the score does not tell of new ones"
        )


def _known(names: Sequence[str], run_dir: Path | None, data_dir: Path | None) -> set[str]:
    """Those of the names that the run was trained on, as pictures or as tiles of them."""
    train, wholes, val = ({*map(composed_form, _kept_list(run_dir, name))} for name in ("train", TILED, "val"))
    index = index_in(data_dir, names) if data_dir is not None and train else None
    tiles = index.tiles if index is not None else {}
    pictures = train | wholes

    def is_known(name: str) -> bool:
        own, whole = (composed_form(called) for called in (name, tiles[name].picture if name in tiles else name))
        return own in train or (whole in pictures and own not in val)  # in both: of a picture that is parted by place

    return set(filter(is_known, names))


def _kept_list(run_dir: Path | None, name: str) -> list[str]:
    """The names in a list that `keep_lists` wrote; none where there is no such list, nor in a folder that is no run: a
    checkpoint may have been copied beside the lists of others."""
    if run_dir is None or not (run_dir / SETTINGS).is_file():
        return []
    path = run_dir / LISTS / f"{name}.txt"
    try:
        return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text ({error.reason}); copy the run's list again") from error
