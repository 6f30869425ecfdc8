"""Which pictures of a data folder must be in one list, or in none, for `tools.split_train_val`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.near_duplicates import (
    join_pairs,
    link_equal,
    picture_hashes,
    twin_groups,
    twins_across,
)
from datasets.picture_files.layouts import Reading
from datasets.splits import ListError, split_by_seed
from datasets.tile_parts import part_by_place
from DOTA_devkit.tile_index import INDEX_NAME, read_index
from tools.running.command_line import SettingsError
from tools.running.messages import report_problems, warn
from tools.running.progress import progress_bar

SHOWN_NAMES = 3
MOST_OF_ALL = 0.5  # part of the pictures beyond which one group of twins spoils a split


class Pictures(NamedTuple):
    """The pictures of a data folder, N by name, and their objects of each class (N, C), ignore regions left out."""

    names: list[str]
    paths: list[Path]
    class_names: tuple[str, ...]
    counts: np.ndarray


class Twins(NamedTuple):
    """The hashes (N,) of the pictures, and the groups (N,) of those that are near twins by them."""

    hashes: np.ndarray
    groups: np.ndarray


def group_pictures(
    pictures: Pictures, options: argparse.Namespace, ground: np.ndarray
) -> tuple[np.ndarray, Twins | None]:
    """The group (N,) of each picture, and with --near_duplicates what is known of near twins.

    Together belong pictures of one --group_by text, tiles of one picture, near twins, with --group_by_ground those that
    share `ground` (P, 2), and what these chain together.
    """
    names = pictures.names
    links = []
    if options.group_by is not None:
        links.append(link_equal(_group_texts(names, options.group_by)))
    if (options.data_dir / INDEX_NAME).is_file():
        tiles = read_index(options.data_dir).called_as(names).tiles
        links.append(link_equal([tiles[name].picture if name in tiles else None for name in names]))
        print(f"tiles of one picture stay together, by {options.data_dir / INDEX_NAME}")
    if options.group_by_ground:
        links.append(ground)
    twins = None
    if options.near_duplicates:
        problems: list[str] = []
        track = partial(progress_bar, total=len(names), desc="hashing", unit="picture")
        reading = Reading(bands=options.bands)
        hashes = picture_hashes(
            pictures.paths, options.workers, lambda _, error: problems.append(str(error)), track, reading
        )
        report_problems(problems, "pictures that cannot be read, and so have no twins")
        twins = Twins(hashes, twin_groups(hashes, options.max_distance))
        links.append(link_equal(twins.groups.tolist()))
    return join_pairs(len(names), np.concatenate([np.zeros((0, 2), np.int64), *links])), twins


def part_pictures(
    pictures: Pictures, options: argparse.Namespace, fractions: Sequence[float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The picture (N,) of each tile, by number, and its list (N,), -1 for none. Raises SettingsError where there are no
    tiles, ListError where no picture has enough of them."""
    if not (options.data_dir / INDEX_NAME).is_file():
        raise SettingsError(f"--part_pictures: {options.data_dir} holds no {INDEX_NAME}, and so no tiles")
    index = read_index(options.data_dir).called_as(pictures.names)
    strange = [name for name in pictures.names if name not in index.tiles]
    if strange:
        raise ListError(
            f"{options.data_dir}: '{strange[0]}' is no tile of {INDEX_NAME}; remove it, or cut the pictures anew"
        )
    counts = dict(zip(pictures.names, pictures.counts.sum(axis=1).tolist(), strict=True))
    of_tile = part_by_place(index, counts, fractions, rng)
    list_of = np.array([of_tile[name] for name in pictures.names])
    if list_of.max() < len(fractions) - 1:
        raise ListError(f"{options.data_dir}: no picture has enough tiles to be parted; cut smaller ones")
    numbers = {name: number for number, name in enumerate(index.pictures)}
    between = int((list_of < 0).sum())
    print(f"{len(list_of) - between} tiles parted by place, {between} more reach over a line and are in no list")
    return np.array([numbers[index.tiles[name].picture] for name in pictures.names]), list_of


def print_twins(names: list[str], twins: Twins, options: argparse.Namespace) -> None:
    """How many twins there are, and how many of them a split without regard to them would have torn apart."""
    members = np.bincount(twins.groups)
    united = members[members > 1]
    biggest = int(united.max(initial=0))
    print(f"near twins: {united.sum()} pictures in {len(united)} groups, the biggest of {biggest}")
    in_val = np.isin(names, split_by_seed(names, options.seed, options.val)[1])
    num_seen = int((twins_across(twins.hashes, in_val, options.max_distance) & in_val).sum())
    print(
        f"  in a random split of as many pictures {num_seen} of {in_val.sum()} validation pictures "
        f"({num_seen / in_val.sum():.0%}) would have a twin in training; here none has"
    )
    if biggest > MOST_OF_ALL * len(names):
        warn(f"one group of twins holds {biggest} of {len(names)} pictures; try a lower --max_distance or --group_by")


def _group_texts(names: Sequence[str], pattern: re.Pattern[str]) -> list[str | None]:
    """What the pattern finds in each name: its first group, else all of it; None where it finds nothing."""
    found = [pattern.search(name) for name in names]
    texts = [(match[min(pattern.groups, 1)] or None) if match else None for match in found]
    unmatched = [name for name, text in zip(names, texts, strict=True) if text is None]
    if len(unmatched) == len(names):
        raise SettingsError(f"--group_by {pattern.pattern!r} finds nothing in any name, such as '{names[0]}'")
    if unmatched:
        such = ", ".join(f"'{name}'" for name in unmatched[:SHOWN_NAMES])
        warn(f"--group_by finds nothing in {len(unmatched)} names, such as {such}; each is a group of its own")
    return texts
