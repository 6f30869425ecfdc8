"""The folder that tiles are cut into: whose it is, and the lists and the index that make a data set of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from datasets.class_lists import dota_classes
from datasets.splits import TRAIN_LISTS, VAL_LISTS, ListError, choose_split, lists_in, read_list
from DOTA_devkit.atomic import write_json, write_lines
from DOTA_devkit.tile_index import INDEX_NAME, TileIndex, read_index
from DOTA_devkit.tiling import Tile
from tools.running.command_line import SettingsError
from tools.running.destinations import refuse_data_folder
from tools.running.messages import counted, warn
from tools.tile_pictures import MARKERS, SplitSettings

T = TypeVar("T", dict, list)
SETTINGS = Path(".split/settings.json")
LISTS_WRITTEN = Path(".split/lists.json")


def read_lists(
    src: Path,
    images: Mapping[str, Path],
    is_labelled: bool,
    known: Mapping[str, list[str]],
    lists_dir: Path | None,
) -> dict[str, list[str]]:
    """The lists of the folder, or those in `lists_dir`, file name -> pictures, else the `known` splits of its parts,
    and those of a split by pictures where it has neither.

    A reader that finds only one side, or none, splits by itself; with tiles it would train on a picture that it
    validates on. Another text file that is no list of pictures is passed over.
    """
    lists = {}
    for path in sorted((lists_dir or lists_in(src)).glob("*.txt")):
        if path.name == "classes.txt":
            continue
        try:
            lists[path.name] = read_list(path, images)
        except ListError as error:
            if path.name in (*TRAIN_LISTS, *VAL_LISTS):
                raise
            warn(f"{error}; so {path.name} is not taken for a list")
    has_both = any(name in lists for name in TRAIN_LISTS) and any(name in lists for name in VAL_LISTS)
    if is_labelled and not has_both:
        for role in ("train", "val"):
            split = choose_split(src, images, role, lists_dir=lists_dir, known=known)
            lists[f"{role}.txt"] = split.names
            print(f"{role}.txt: {split.source}")
        if {*lists["train.txt"]} & {*lists["val.txt"]}:
            warn(
                "a single picture is on both sides; to part its tiles by place: python -m tools.split_train_val TILES "
                "--part_pictures --out LISTS, and main.py --lists LISTS"
            )
    if "test" in known and lists_dir is None:
        lists.setdefault("test.txt", known["test"])
    return lists


def check_destination(src: Path, dst: Path, wanted: Mapping[str, object], images: Mapping[str, Path]) -> None:
    """Raises SettingsError for a folder that holds anything but an earlier run by the same settings, `wanted`, or by
    stricter ones of the labels."""
    refuse_data_folder(dst, src)
    path = dst / SETTINGS
    if path.is_file():
        before = _read_json(path, {})
        changed = sorted(key for key in wanted if before.get(key) != wanted[key] and not _is_eased(key, before))
        if changed:
            was = ", ".join(f"{key} {before.get(key)} (now {wanted[key]})" for key in changed)
            raise SettingsError(f"{dst}: holds tiles made otherwise: {was}; name another folder or remove this one")
        vanished = sorted({file.stem for file in (dst / MARKERS).glob("*.json")} - {*images})
        if vanished:
            remedy = "name another folder, or remove it"
            raise SettingsError(f"{dst}: holds tiles of '{vanished[0]}', which is not in {src} any more; {remedy}")
    elif dst.exists() and (not dst.is_dir() or any(item != path.parent for item in dst.iterdir())):
        raise SettingsError(f"{dst}: is in use and not by an earlier run of this command; name a new or empty folder")


def _is_eased(key: str, before: Mapping[str, object]) -> bool:
    """Whether a setting stopped at what may now be passed over: the tiles that it let through are the same."""
    return key in ("missing_labels", "on_bad_label") and before.get(key) == "error"


def unfinished_tiles(data_dir: Path) -> str | None:
    """Why a folder is no data set yet: a run of tools.split_tiles there has not come to its end; None elsewhere. What
    is there lacks pictures, and the lists that keep the tiles of a picture together."""
    if (data_dir / SETTINGS).is_file() and not (data_dir / INDEX_NAME).is_file():
        return f"holds tiles, and no {INDEX_NAME}: tools.split_tiles was stopped, and the same command goes on"
    return None


def index_in(data_dir: Path, names: Iterable[str] = ()) -> TileIndex | None:
    """The index of the tiles in a folder, which are called as `names` spells them; None where there is none, or one
    that cannot be read, of which scoring tells."""
    path = data_dir.resolve() / INDEX_NAME
    try:
        return _read_once(path, path.stat().st_mtime_ns, path.stat().st_size).called_as(names)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=1)
def _read_once(path: Path, *_: int) -> TileIndex:
    """The index as it is by its time and size: one that is asked for by several parts of a command may be large."""
    return read_index(path)


def clear_leftovers(dst: Path) -> None:
    """Remove what a run that was killed left half written."""
    for folder in ("images", "labelTxt", MARKERS):
        for leftover in (dst / folder).glob(".*.tmp"):
            leftover.unlink()


def make_index(src: Path, settings: SplitSettings, records: Mapping[str, dict]) -> TileIndex:
    """The index of all tiles; a picture that could not be read, of height 0, is not in it. Classes: classes.txt, else
    as in training those that the names found stand for."""
    tiles = {
        name: Tile(name, picture, float(scale), x, y)
        for picture, record in records.items()
        for name, (scale, x, y, *_) in record["tiles"].items()
    }
    found = {name for record in records.values() for name in record["classes"]}
    classes = settings.class_names or (dota_classes(found) if found else ())
    pictures = {name: (record["height"], record["width"]) for name, record in records.items() if record["height"]}
    skipped = {name: record["num_skipped"] for name, record in records.items() if record["num_skipped"]}
    return TileIndex(
        settings.size,
        settings.overlap,
        tuple(classes),
        pictures,
        tiles,
        source=str(src.resolve()),
        num_skipped=skipped,
        value_range=settings.value_range,
        bands=settings.bands,
    )


def write_lists(dst: Path, lists: Mapping[str, Sequence[str]], index: TileIndex) -> None:
    """Write the lists of pictures as lists of tiles, those of a picture together; those of an earlier run go."""
    of_picture: dict[str, list[str]] = {name: [] for name in index.pictures}
    for tile in index.tiles.values():
        of_picture[tile.picture].append(tile.name)
    for name, pictures in lists.items():
        tiles = [tile for picture in pictures for tile in of_picture.get(picture, ())]
        if not tiles:
            are_skipped = all(picture in index.num_skipped for picture in pictures)
            why = "the tiles of all its pictures are empty and skipped" if are_skipped else "its pictures are left out"
            warn(f"{dst / name}: lists no tile, since {why}")
        write_lines(dst / name, tiles)
        print(f"{dst / name}: {counted(len(pictures), 'picture')}, {counted(len(tiles), 'tile')}")
    for stale in set(_lists_before(dst)) - lists.keys():  # of a run by other lists
        (dst / stale).unlink(missing_ok=True)
    write_json(dst / LISTS_WRITTEN, sorted(lists))


def _lists_before(dst: Path) -> list[str]:
    """The names of the lists that an earlier run has written; of a damaged file nothing that may be another's."""
    names = _read_json(dst / LISTS_WRITTEN, [])
    return [name for name in names if isinstance(name, str) and name.endswith(".txt") and name == Path(name).name]


def _read_json(path: Path, empty: T) -> T:
    """What a file of ours holds; `empty` where there is none, or one that does not hold something of this type."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return empty
    return found if isinstance(found, type(empty)) else empty
