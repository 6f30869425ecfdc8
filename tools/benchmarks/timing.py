"""Pieces of work timed in turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

from tools.running.progress import progress_bar

Name = TypeVar("Name", bound=Hashable)


class Times(NamedTuple):
    """Seconds of each round, on the clock and of the processor. The least of them tells most of the work itself: what
    else the machine does can only add to it."""

    wall: list[float]
    cpu: list[float]


def in_turns(work: Mapping[Name, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[Name, Times]:
    """The times of each piece of work, after as many turns that do not count as `warm_up` says."""
    times = {name: Times([], []) for name in work}
    for number in progress_bar(range(warm_up + rounds), unit="round", desc="measuring"):
        for name, do in work.items():
            started, busy = time.perf_counter(), time.process_time()
            do()
            if number >= warm_up:
                times[name].wall.append(time.perf_counter() - started)
                times[name].cpu.append(time.process_time() - busy)
    return times
