"""The lists that pictures are shared out to, and the table of what is in each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from DOTA_devkit.atomic import write_text
from DOTA_devkit.text_table import aligned
from tools.picture_groups import Pictures
from tools.running.command_line import SettingsError
from tools.running.messages import warn

LISTS = ("train", "val", "test")
FOLD = "fold_{}"  # folder of the lists of a fold, counted from 1
SHOWN_CLASSES = 10


def lists_of_split(names: Sequence[str], list_of: np.ndarray, has_test: bool) -> dict[str, list[str]]:
    """The four lists. Whichever pair a reader takes, train and val or trainval and test, no group is on both sides."""
    train, val, test = ([name for name, k in zip(names, list_of.tolist(), strict=True) if k == n] for n in range(3))
    if not has_test:
        return {"trainval": train, "train": train, "val": val, "test": val}
    trainval = [name for name, k in zip(names, list_of.tolist(), strict=True) if k in (0, 1)]
    return {"trainval": trainval, "train": train, "val": val, "test": test}


def lists_of_folds(names: Sequence[str], fold_of: np.ndarray, num_folds: int) -> dict[str, list[str]]:
    """Four lists for each fold, in a folder of its own: its pictures validate, all others train."""
    lists = {}
    for fold in range(num_folds):
        of_fold = lists_of_split(names, (fold_of == fold).astype(int), has_test=False)
        lists |= {f"{FOLD.format(fold + 1)}/{name}": entries for name, entries in of_fold.items()}
    return lists


def write_lists(out: Path, lists: dict[str, list[str]], overwrite: bool) -> None:
    """Write each list to `out`. Raises SettingsError where other lists are there, which only `overwrite` replaces, or,
    of folds, others that would not be replaced: taken together they would be of two splits."""
    texts = {out / f"{name}.txt": "".join(f"{entry}\n" for entry in names) for name, names in lists.items()}
    others = [path for path, text in texts.items() if path.exists() and path.read_bytes() != text.encode()]
    if others and not overwrite:
        raise SettingsError(f"{others[0]}: is there with other content; name another --out, or give --overwrite")
    folds = {path.parent for path in texts} - {out}
    left = sorted(path.parent for path in out.glob(f"{FOLD.format('*')}/train.txt") if path.parent not in folds)
    if folds and left:
        raise SettingsError(f"{left[0]}: is of another split; name another --out, or remove it")
    for path, text in texts.items():
        write_text(path, text)


def print_shares(pictures: Pictures, groups: np.ndarray, list_of: np.ndarray, titles: Sequence[str]) -> None:
    """Pictures, groups and objects of each class, by list, with the list's share of them; warns of classes that are not
    in every list."""
    chosen = [list_of == number for number in range(len(titles))]
    rows = [("pictures", [int(part.sum()) for part in chosen])]
    rows += [("groups", [len(set(groups[part].tolist())) for part in chosen])]
    for label, name in enumerate(pictures.class_names):
        rows.append((name, [int(pictures.counts[part, label].sum()) for part in chosen]))
    table = [["", *(cell for title in titles for cell in (title, ""))]]
    for name, numbers in rows:
        total = max(sum(numbers), 1)
        table.append([name, *(cell for number in numbers for cell in (str(number), f"{number / total:.1%}"))])
    print("\n".join(aligned(table)))
    lacking = []
    for label, name in enumerate(pictures.class_names):
        holders = len(set(groups[pictures.counts[:, label] > 0].tolist()))
        absent = [titles[k] for k, part in enumerate(chosen) if not pictures.counts[part, label].any()]
        if holders and absent:
            lacking.append(f"class '{name}', which is in {holders} of the groups, is not in {' and '.join(absent)}")
    for sentence in lacking[:SHOWN_CLASSES]:
        warn(sentence)
    if len(lacking) > SHOWN_CLASSES:
        warn(f"and {len(lacking) - SHOWN_CLASSES} more classes are not in every list")
