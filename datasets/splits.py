"""Which pictures train and which validate: list files in the data folder, or a split by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.images import IMAGE_SUFFIXES

TRAIN_LISTS = ("train.txt", "trainval.txt")
VAL_LISTS = ("val.txt", "test.txt")
VAL_FRACTION = 0.1


class Split(NamedTuple):
    """Names of pictures (without suffix) and where the choice came from, for the log."""

    names: list[str]
    source: str


class ListError(ValueError):
    """A list file that is missing, empty or names a picture that is not there."""


def read_list(path: Path, images: Mapping[str, Path]) -> list[str]:
    """Names in a list file, in order, blank lines and repetitions left out.

    A name may carry a folder and a picture suffix. Raises ListError naming file and line for one without a picture.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ListError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ListError(f"{path}: is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    names: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        entry = line.strip()
        if entry:
            names[_find_name(entry, images, path, number)] = None
    if not names:
        raise ListError(f"{path}: the list names no picture")
    return list(names)


def choose_split(
    data_dir: Path, images: Mapping[str, Path], role: str, split: str | None = None, seed: int = 0
) -> Split:
    """The pictures of a role, `train` or `val`.

    `split` names another list file (`NAME` or `NAME.txt`, in the data folder, or a path). Otherwise training reads
    train.txt, else trainval.txt; validation reads val.txt, else test.txt. A missing side is filled in memory: the
    pictures (of the list that there is) are split by seed, one tenth for validation.
    """
    if not images:
        raise ListError(f"{data_dir}: holds no picture with a known suffix ({', '.join(sorted(IMAGE_SUFFIXES))})")
    if split is not None:
        path = _named_list(data_dir, split)
        return Split(read_list(path, images), str(path))
    lists = {"train": _first_list(data_dir, TRAIN_LISTS), "val": _first_list(data_dir, VAL_LISTS)}
    own, other = lists[role], lists["val" if role == "train" else "train"]
    if own is not None:
        names = read_list(own, images)
        if other is not None or role == "val":
            return Split(names, str(own))
        return Split(split_by_seed(names, seed)[0], f"{own}, less a tenth for validation (seed {seed})")
    if other is None:
        chosen = split_by_seed(list(images), seed)[0 if role == "train" else 1]
        return Split(chosen, f"{data_dir}, split by seed {seed}")
    if role == "val":
        return Split(split_by_seed(read_list(other, images), seed)[1], f"a tenth of {other} (seed {seed})")
    held_out = set(read_list(other, images))
    rest = [name for name in images if name not in held_out]
    if not rest:
        raise ListError(f"{other}: lists every picture, so none is left to train on; write a train.txt beside it")
    return Split(rest, f"{data_dir}, less {other.name}")


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


def _first_list(data_dir: Path, candidates: Sequence[str]) -> Path | None:
    return next((data_dir / name for name in candidates if (data_dir / name).is_file()), None)


def _named_list(data_dir: Path, split: str) -> Path:
    candidates = [data_dir / f"{split}.txt", data_dir / split, Path(split)]
    for path in candidates:
        if path.is_file():
            return path
    there = sorted(path.name for path in data_dir.glob("*.txt"))
    raise ListError(f"{candidates[0]}: no such list; the data folder holds {there or 'no list'}")


def _find_name(entry: str, images: Mapping[str, Path], path: Path, number: int) -> str:
    for name in (entry, entry.replace("\\", "/").rsplit("/", 1)[-1]):
        if name in images:
            return name
        stem, dot, suffix = name.rpartition(".")
        if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES and stem in images:
            return stem
    folder = next(iter(images.values())).parent if images else path.parent
    raise ListError(f"{path}:{number}: no picture named '{entry}' in {folder}; add it or remove the line")
