"""Which pictures train and which validate: list files in a folder, or a split by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.picture_files.image_folders import folder_with_pictures, folders_of, last_part, may_be_one, no_picture_in
from datasets.picture_files.images import IMAGE_SUFFIXES
from DOTA_devkit.labels import LabelError, numbered_lines
from DOTA_devkit.names import spelling_in

TRAIN_LISTS = ("train.txt", "trainval.txt")
VAL_LISTS = ("val.txt", "valid.txt", "validation.txt", "test.txt")
ALL = "all"
VAL_FRACTION = 0.1


class Split(NamedTuple):
    """Names of pictures (without suffix), where the choice came from, for the log, and whether a seed made it, so that
    another seed may change sides. num_repeated: lines of the list that repeat earlier ones, which do not count.
    elsewhere: a line that names a picture in another folder than it was found in; "" for none."""

    names: list[str]
    source: str
    by_seed: bool = False
    num_repeated: int = 0
    elsewhere: str = ""


class ListError(ValueError):
    """A list file that is missing, empty or names a picture that is not there."""


def read_list(path: Path, images: Mapping[str, Path]) -> list[str]:
    """Names in a list file, in order, blank lines and repetitions left out.

    A name may carry a folder and a picture suffix. Raises ListError naming file and line for one without a picture, and
    for two pictures of one name in different folders, of which only one is there.
    """
    return _read_listed(path, images).names


def _read_listed(path: Path, images: Mapping[str, Path]) -> Split:
    """The pictures of a list file."""
    faults: list[LabelError] = []
    try:
        lines = [*numbered_lines(path, faults)]
    except OSError as error:
        raise ListError(f"{path}: cannot be read ({error.strerror or error})") from error
    if faults:
        raise ListError(str(faults[0]))
    folders: dict[str, list[str]] = {}  # that a picture is said to be in, whatever their capitals
    num_entries, elsewhere = 0, ""
    for number, line in lines:
        entry = line.strip()
        if entry:
            num_entries += 1
            name = find_name(entry, images)
            if name is None:
                folder = next(iter(images.values())).parent if images else path.parent
                remedy = "add it or remove the line"
                raise ListError(f"{path}:{number}: no picture named '{entry}' in {folder}; {remedy}")
            told = [part.casefold() for part in folders_of(entry)] if entry != name else []
            if not may_be_one(folders.get(name, []), told):
                raise ListError(
                    f"{path}:{number}: '{entry}' and a line before it name pictures of one name in two folders, and "
                    f"there is {images[name]} alone; have a list for each folder"
                )
            folders[name] = max(folders.get(name, []), told, key=len)
            if told and told[-1] not in map(str.casefold, images[name].absolute().parts):
                elsewhere = elsewhere or f"{path}:{number}: '{entry}' was taken for {images[name]}"
    if not folders:
        raise ListError(f"{path}: the list names no picture")
    return Split(list(folders), str(path), num_repeated=num_entries - len(folders), elsewhere=elsewhere)


def find_name(entry: str, images: Mapping[str, Path]) -> str | None:
    """The picture that an entry of a list means, which may carry a folder, of Windows too, and a picture suffix; None
    where there is no such picture."""
    names = []
    for name in (entry, last_part(entry)):
        stem, dot, suffix = name.rpartition(".")
        names += [name, *[stem] * (bool(dot) and f".{suffix.lower()}" in IMAGE_SUFFIXES)]
    return next((spelt for name in names if (spelt := spelling_in(images, name)) is not None), None)


def choose_split(
    data_dir: Path,
    images: Mapping[str, Path],
    role: str,
    split: str | None = None,
    seed: int = 0,
    lists_dir: Path | None = None,
    known: Mapping[str, Sequence[str]] | None = None,
) -> Split:
    """The pictures of a role, `train` or `val`.

    `split` names another list file (`NAME` or `NAME.txt`, in the data folder, or a path; `all`: every picture). Else
    training reads train.txt, else trainval.txt; validation reads val.txt, else test.txt. A missing side is filled in
    memory: the pictures (of the list that there is) are split by seed, one tenth for validation.

    Where the data folder has no such list, those in its ImageSets/ or ImageSets/Main/ count (`list_folders`).

    `lists_dir` is a folder of lists, such as tools.split_train_val writes, in place of those in the data folder, which
    then do not count. Whoever names one wants its lists, so that nothing is filled in: a missing one raises ListError.

    `known` is the split that the format itself knows (train, val, test), used where the data folder has no list.
    """
    if not images:
        below = folder_with_pictures(data_dir / "images")
        hint = f"; pictures in folders of images/, such as {below}, are not looked at" if below else ""
        raise ListError(f"{no_picture_in(data_dir)}{hint}")
    if split is not None:
        return _named_split(data_dir, images, split, lists_dir, known or {})
    if lists_dir is not None:
        path = _needed_list(lists_dir, TRAIN_LISTS if role == "train" else VAL_LISTS)
        return _read_listed(path, images)
    sides = _listed_sides(data_dir, images) or _known_sides(data_dir, known or {})
    own, other = sides.get(role), sides.get("val" if role == "train" else "train")
    if own is not None:
        listed = own()
        if other is not None or role == "val":
            return listed
        source = f"{listed.source}, less a tenth for validation (seed {seed})"
        return listed._replace(names=split_by_seed(listed.names, seed)[0], source=source, by_seed=True)
    if other is None:
        chosen = split_by_seed(list(images), seed)[0 if role == "train" else 1]
        return Split(chosen, f"{data_dir}, split by seed {seed}", by_seed=True)
    if role == "val":
        listed = other()
        source = f"a tenth of {listed.source} (seed {seed})"
        return Split(split_by_seed(listed.names, seed)[1], source, by_seed=True)
    held_out = other()
    others = set(held_out.names)
    rest = [name for name in images if name not in others]
    if not rest:
        raise ListError(f"{held_out.source}: lists every picture, so none is left to train on; write a train.txt")
    return Split(rest, f"{data_dir}, less {held_out.source}")


def list_folders(data_dir: Path) -> tuple[Path, ...]:
    """Where lists of a data folder may lie, the first that holds one counts: in itself, or as those of VOC and of
    HRSC2016, whose pictures lie in FullDataSet."""
    root = data_dir.parent if data_dir.name == "FullDataSet" else data_dir
    return data_dir, root / "ImageSets", root / "ImageSets" / "Main"


def lists_in(data_dir: Path) -> Path:
    """The folder of the lists of a data folder; itself where there are none."""
    folders = list_folders(data_dir)
    return next((folder for folder in folders if _first_list(folder, (*TRAIN_LISTS, *VAL_LISTS))), data_dir)


# The pictures of a role, read when they are asked for: the list of the other role may have faults.
_Side = Callable[[], Split]


def _listed_sides(data_dir: Path, images: Mapping[str, Path]) -> dict[str, _Side]:
    """The roles that have a list file in the data folder."""
    folder = lists_in(data_dir)
    lists = {"train": _first_list(folder, TRAIN_LISTS), "val": _first_list(folder, VAL_LISTS)}
    return {role: partial(_read_listed, path, images) for role, path in lists.items() if path}


def _known_sides(data_dir: Path, known: Mapping[str, Sequence[str]]) -> dict[str, _Side]:
    """The roles that the format itself knows; `test` serves where there is no `val`."""
    name_of = {"train": "train", "val": "val" if known.get("val") else "test"}
    return {
        role: partial(_listed, known[name], f"{data_dir}, its own {name} split")
        for role, name in name_of.items()
        if known.get(name)
    }


def _named_split(
    data_dir: Path, images: Mapping[str, Path], split: str, lists_dir: Path | None, known: Mapping[str, Sequence[str]]
) -> Split:
    """The list of that name, or the format's own split where the data folder has no such list; `all` is every
    picture, if it is no list."""
    try:
        path = _named_list((lists_dir,) if lists_dir else list_folders(data_dir), split)
    except ListError:
        if split == ALL:
            return Split(list(images), f"{data_dir}, all pictures")
        if lists_dir is not None or not known.get(split):
            if (data_dir / split / "images").is_dir():
                remedy = f"--phase test --input {data_dir / split / 'images'} detects there"
                raise ListError(f"{data_dir / split}: has no labels, and so cannot be scored; {remedy}") from None
            raise
        return Split(list(known[split]), f"{data_dir}, its own {split} split")
    return _read_listed(path, images)


def _listed(entries: Sequence[str], source: str) -> Split:
    names = list(dict.fromkeys(entries))
    return Split(names, source, num_repeated=len(entries) - len(names))


def split_by_seed(names: Sequence[str], seed: int, fraction: float = VAL_FRACTION) -> tuple[list[str], list[str]]:
    """Training and validation names; the same for the same set of names and seed. A single picture serves both."""
    ordered = sorted(names)
    if len(ordered) == 1:
        return ordered, ordered
    order = np.random.default_rng(seed).permutation(len(ordered))
    num_val = max(1, round(len(ordered) * fraction))
    chosen = set(order[:num_val].tolist())
    train = [name for index, name in enumerate(ordered) if index not in chosen]
    return train, [ordered[index] for index in sorted(chosen)]


def _needed_list(lists_dir: Path, candidates: Sequence[str]) -> Path:
    if not lists_dir.is_dir():
        raise ListError(f"{lists_dir}: no such folder of lists; tools.split_train_val makes one")
    path = _first_list(lists_dir, candidates)
    if path is None:
        looked_for = " or ".join(candidates)
        raise ListError(
            f"{lists_dir / candidates[0]}: no such list; looked for {looked_for}, found {_lists_in([lists_dir])}"
        )
    return path


def _first_list(data_dir: Path, candidates: Sequence[str]) -> Path | None:
    return next((data_dir / name for name in candidates if (data_dir / name).is_file()), None)


def _named_list(folders: Sequence[Path], split: str) -> Path:
    candidates = [*(folder / name for folder in folders for name in (f"{split}.txt", split)), Path(split)]
    for path in candidates:
        if path.is_file():
            return path
    remedy = "tools.split_train_val writes lists"
    raise ListError(f"{candidates[0]}: no such list; the folder holds {_lists_in(folders)}; {remedy}")


def _lists_in(folders: Sequence[Path]) -> str:
    """The lists that lie in folders, for people."""
    there = sorted(path.name for folder in folders for path in folder.glob("*.txt") if path.name != "classes.txt")
    return ", ".join(there) or "none"
