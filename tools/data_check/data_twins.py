"""Pictures of a data folder that show nearly the same, and those that are on both sides of its split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path

import numpy as np

from datasets.picture_files.images import ImageError
from datasets.picture_files.layouts import BY_THE_FILE, Reading
from datasets.tile_parts import tiles_on_shared_ground
from tools.data_check.data_checks import Finding, escaped
from tools.data_check.data_folder import DataLayout, Pair
from tools.running.progress import progress_bar
from tools.running.stop_request import StopRequest
from tools.tile_folder import index_in

NEVER = 65  # bits, more than there are


def find_twins(
    layout: DataLayout, unreadable: Set[str], num_workers: int, stop: StopRequest, reading: Reading = BY_THE_FILE
) -> list[Finding]:
    """Each picture that is a near-twin of one before it, told once; of pictures in two lists those of the second.

    Decodes all pictures but the `unreadable` ones, and tells of those that turn out to be so.
    """
    from datasets.near_duplicates import picture_hashes  # brings scipy and imagehash with it

    pairs = [pair for pair in layout.pairs if pair.name not in unreadable]
    names = {pair.image_path: pair.name for pair in pairs}
    findings: list[Finding] = []

    def on_bad(path: Path, error: ImageError) -> None:
        what = str(error).removeprefix(f"{path}: ")
        findings.append(Finding("unreadable-picture", names[path], escaped(str(path)), 0, escaped(what)))

    def track(hashes: Iterable[int]) -> Iterator[int]:
        return stop.between(progress_bar(hashes, total=len(pairs), desc="looking for near-twins", unit="picture"))

    hashes = picture_hashes([pair.image_path for pair in pairs], num_workers, on_bad, track, reading)
    return findings + _twin_findings(pairs, hashes, stop)


def find_shared_ground(layout: DataLayout) -> list[Finding]:
    """Each validation picture that shows ground which a training picture shows, too, by where both lie on the map, or
    in the picture that they are tiles of."""
    from datasets.picture_files.shared_ground import shared_ground  # brings shapely with it

    pairs = [pair for pair in layout.pairs if pair.part in ("train", "val")]
    found: dict[str, Finding] = {}
    if index := index_in(layout.data_dir, [pair.name for pair in pairs]):
        paths = {pair.name: pair.image_path for pair in pairs}
        train, val = ([pair.name for pair in pairs if pair.part == part] for part in ("train", "val"))
        for name, other in tiles_on_shared_ground(index, train, val).items():
            what = f"shows ground that the tile {escaped(other)} shows, which is trained on"
            found[name] = Finding("shared-ground", name, escaped(str(paths[name])), 0, what, other=other)
    for rows in shared_ground([pair.image_path for pair in pairs]).tolist():
        first, second = sorted((pairs[row] for row in rows), key=lambda pair: pair.part)
        if (first.part, second.part) == ("train", "val"):
            what = f"shows ground that {escaped(first.image_path.name)} shows, which is trained on"
            path = escaped(str(second.image_path))
            found.setdefault(second.name, Finding("shared-ground", second.name, path, 0, what, other=first.name))
    return list(found.values())


def _twin_findings(pairs: Sequence[Pair], hashes: np.ndarray, stop: StopRequest) -> list[Finding]:
    """One finding of each picture that has twins: with the nearest of those in the other list, whichever comes first,
    else with the nearest of those before it."""
    from datasets.near_duplicates import twin_rows

    sides = np.array([{"train": 1, "val": 2}.get(pair.part, 0) for pair in pairs], np.int64)
    # The nearest twin, and in how many bits it differs: [0] any before it, [1] of a validation picture one trained on.
    twins = np.zeros((2, len(pairs)), np.int64)
    bits = np.full((2, len(pairs)), NEVER)
    for first, seconds, distances in twin_rows(hashes):
        stop.check()
        is_leak = sides[first] + sides[seconds] == 3
        _keep_nearest(twins[0], bits[0], seconds[~is_leak], first, distances[~is_leak])
        if sides[first] == 2:  # it is the one to tell of
            nearest = np.argmin(np.where(is_leak, distances, NEVER))
            if is_leak[nearest]:
                _keep_nearest(twins[1], bits[1], np.array([first]), seconds[nearest], distances[[nearest]])
        else:
            _keep_nearest(twins[1], bits[1], seconds[is_leak], first, distances[is_leak])
    is_leak = bits[1] < NEVER
    return [
        _twin_finding(pairs[row], pairs[twins[kind, row]], int(bits[kind, row]), bool(kind))
        for row, kind in enumerate(is_leak.astype(int).tolist())
        if bits[kind, row] < NEVER
    ]


def _keep_nearest(twins: np.ndarray, bits: np.ndarray, rows: np.ndarray, other: int, distances: np.ndarray) -> None:
    """Note `other` as the twin of those rows to which none nearer is known."""
    is_nearer = distances < bits[rows]
    rows = rows[is_nearer]
    twins[rows], bits[rows] = other, distances[is_nearer]


def _twin_finding(pair: Pair, twin: Pair, distance: int, is_leak: bool) -> Finding:
    bits = f"{distance} of 64 bits differ" if distance else "no bit differs"
    where = ", which is trained on" if is_leak else ""
    what = f"shows nearly the same as {escaped(twin.image_path.name)}{where} ({bits})"
    kind = "near-duplicate-lists" if is_leak else "near-duplicate"
    return Finding(kind, pair.name, escaped(str(pair.image_path)), 0, what, -distance, twin.name)
