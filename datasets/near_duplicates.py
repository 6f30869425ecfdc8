"""Pictures that show nearly the same, found by a perceptual hash: frames of one video, re-saved and resized copies.

A hash is 64 bits (`imagehash.phash`: the signs of the lowest frequencies of a 32 x 32 thumbnail against their
median); near twins differ in few of them. Copies that are turned, mirrored or cut out do not count.

Measured on HIT-UAV, 1,344 frames of thermal video, by the pairs of frames that differ in so many bits at most (looking
at 20 pairs of distant frames at 6 to 12 bits, all showed one scene): up to 10 bits 714 pairs, none of two recording
days, 968 groups, the biggest of 42 frames; at 12 bits 7 of 916 pairs join two days, at 16 one group holds 401 frames.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from datasets.picture_files.images import ImageError
from datasets.picture_files.layouts import BY_THE_FILE, Reading
from datasets.picture_files.picture_windows import open_picture

NO_HASH = 0  # of a picture that cannot be read or shows nothing; of any other 32 of the 64 bits are set, or nearly
MAX_DISTANCE = 10  # bits in which near twins differ at most
SIDE = 128  # pixels of the reduced picture that is hashed, for whose aspect the hash does not care
FLAT = 1.0  # grey levels; a picture whose thumbnail deviates less has only noise to hash
MOST_PAIRS = 2_000_000  # that are held at once

OnBadImage = Callable[[Path, ImageError], None] | None


def picture_hashes(
    paths: Sequence[Path],
    num_workers: int = 0,
    on_bad: OnBadImage = None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
    reading: Reading = BY_THE_FILE,
) -> np.ndarray:
    """The hashes (N,) uint64 of picture files, by so many threads (0: in this one).

    A picture that cannot be decoded goes to `on_bad`, by path, and has NO_HASH, like a flat one (see `image_hash`).
    `track` wraps the hashes as they come, for a progress bar.
    """
    faults: dict[Path, ImageError] = {}

    def hash_file(path: Path) -> int:
        try:
            picture = open_picture(path, reading=reading)
            # One that is read in windows is not held whole, as many at a time as there are threads.
            return image_hash(picture if isinstance(picture, np.ndarray) else picture.overview(4 * SIDE)[0])
        except ImageError as error:
            faults[path] = error
            return NO_HASH

    pool = ThreadPoolExecutor(max(num_workers, 1))  # threads: decoding and resizing do not hold Python's lock
    try:
        found = pool.map(hash_file, paths) if num_workers else map(hash_file, paths)
        hashes = np.fromiter(track(found), np.uint64, count=len(paths))
    finally:
        pool.shutdown(cancel_futures=True)  # else Ctrl-C would wait for all pictures
    for path in sorted(faults) if on_bad else ():
        on_bad(path, faults[path])
    return hashes


def image_hash(image: np.ndarray) -> int:
    """The hash of a picture (H, W, 3) uint8 BGR, 64 bits; the same for its grey version, and nearly for other sizes.

    NO_HASH for a flat one, of which only its brightness and noise are left: clear sky, open water and tiles without
    data are not twins of each other.
    """
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    if cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).std() < FLAT:
        return NO_HASH
    return int(str(imagehash.phash(Image.fromarray(grey))), 16)


def are_twins(first: int, second: int, max_distance: int = MAX_DISTANCE) -> bool:
    """Whether two hashes are those of near twins; what has NO_HASH is nobody's."""
    return NO_HASH not in (first, second) and (first ^ second).bit_count() <= max_distance


def twin_rows(hashes: np.ndarray, max_distance: int = MAX_DISTANCE) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Of each of hashes (N,) uint64 that has twins after it: its place, theirs (T,) int64, rising, and the bits (T,) in
    which they differ, `max_distance` at most.

    What has NO_HASH is nobody's twin. All pairs are compared, 100,000 different pictures in seconds; none is kept, for
    of alike frames there are as many as the square of their number.
    """
    places = np.flatnonzero(hashes != NO_HASH)
    values = np.ascontiguousarray(hashes[places], np.uint64)
    for first in range(len(values) - 1):
        distance = np.bitwise_count(values[first + 1 :] ^ values[first])
        near = np.flatnonzero(distance <= max_distance)
        if len(near):
            yield int(places[first]), places[first + 1 + near], distance[near]


def twin_groups(hashes: np.ndarray, max_distance: int = MAX_DISTANCE) -> np.ndarray:
    """The group (N,) int64 of each of the hashes (N,): twins, and twins of twins, have the same number, from 0 on."""
    pairs = [np.zeros((0, 2), np.int64)]
    num_pairs = 0
    for first, seconds, _ in twin_rows(hashes, max_distance):
        pairs.append(np.column_stack([np.broadcast_to(first, len(seconds)), seconds]))
        num_pairs += len(seconds)
        if num_pairs > MOST_PAIRS:
            pairs, num_pairs = [link_equal(join_pairs(len(hashes), np.concatenate(pairs)).tolist())], 0
    return join_pairs(len(hashes), np.concatenate(pairs))


def twins_across(hashes: np.ndarray, side: np.ndarray, max_distance: int = MAX_DISTANCE) -> np.ndarray:
    """Which of the hashes (N,) have a twin on the other side (N,) bool; (N,) bool."""
    found = np.zeros(len(hashes), bool)
    for first, seconds, _ in twin_rows(hashes, max_distance):
        beyond = seconds[side[seconds] != side[first]]
        found[beyond] = True
        found[first] |= len(beyond) > 0
    return found


def link_equal(keys: Iterable[Hashable]) -> np.ndarray:
    """Pairs (P, 2) int64 that join all items with the same key, fewer than there are items; None is no key."""
    last: dict[Hashable, int] = {}
    links = []
    for item, key in enumerate(keys):
        if key is not None:
            if key in last:
                links.append((last[key], item))
            last[key] = item
    return np.array(links, np.int64).reshape(-1, 2)


def join_pairs(num_items: int, pairs: np.ndarray) -> np.ndarray:
    """The group (N,) int64 of each of so many items when the two of every pair (P, 2) belong together.

    Groups are numbered from 0 on, in the order of their first items.
    """
    graph = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(num_items, num_items))
    return connected_components(graph, directed=False)[1].astype(np.int64)
