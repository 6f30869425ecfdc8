"""Pictures of a data folder that show nearly the same, and those that are on both sides of its split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

import numpy as np

from datasets.images import ImageError
from tools.data_checks import Finding, escaped
from tools.data_folder import DataLayout, Pair
from tools.progress import progress_bar
from tools.stop_request import StopRequest


def find_twins(layout: DataLayout, unreadable: Set[str], num_workers: int, stop: StopRequest) -> list[Finding]:
    """Each picture that is a near-twin of one before it, told once; of pictures in two lists those of the second.

    Decodes all pictures but the `unreadable` ones, and tells of those that turn out to be so.
    """
    from datasets.near_duplicates import picture_hashes, twin_pairs  # brings scipy and imagehash with it

    pairs = [pair for pair in layout.pairs if pair.image_path is not None and pair.name not in unreadable]
    names = {str(pair.image_path): pair.name for pair in pairs}
    findings: list[Finding] = []

    def on_bad(error: ImageError) -> None:
        path, _, what = str(error).partition(": ")
        findings.append(Finding("unreadable-picture", names.get(path, ""), escaped(path), 0, escaped(what)))

    def track(hashes: Iterable[int]) -> Iterator[int]:
        for value in progress_bar(hashes, total=len(pairs), desc="looking for near-twins", unit="picture"):
            stop.check()
            yield value

    hashes = picture_hashes([pair.image_path for pair in pairs], num_workers, on_bad, track)
    told: dict[tuple[str, str], Finding] = {}
    for first, second in twin_pairs(hashes).tolist():
        distance = int(np.bitwise_count(hashes[first] ^ hashes[second]))
        finding = _twin_finding(pairs[first], pairs[second], distance)
        key = (finding.kind, finding.picture)
        if key not in told or told[key].badness < finding.badness:
            told[key] = finding
    # A picture that has a twin in the other list is told of for that alone.
    return findings + [
        finding
        for finding in told.values()
        if finding.kind != "near-duplicate" or ("near-duplicate-lists", finding.picture) not in told
    ]


def _twin_finding(first: Pair, second: Pair, distance: int) -> Finding:
    bits = f"{distance} of 64 bits differ" if distance else "no bit differs"
    across = {first.part, second.part} == {"train", "val"}
    if across and second.part == "train":
        first, second = second, first
    where = ", which is trained on" if across else ""
    what = f"shows nearly the same as {escaped(first.image_path.name)}{where} ({bits})"
    kind = "near-duplicate-lists" if across else "near-duplicate"
    return Finding(kind, second.name, escaped(str(second.image_path)), 0, what, -distance, first.name)
