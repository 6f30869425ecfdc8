"""What is said beside the results, on the standard error stream: warnings, and bad labels and pictures left out."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from DOTA_devkit.names import spellings
from tools.running.ranks import is_main_process

if TYPE_CHECKING:  # else `--help` of every command would wait for their packages
    from datasets.readers import Sample
    from DOTA_devkit.labels import LabelError

SHOWN_PROBLEMS = 5


class _Kept:
    """Warnings that stand in no log yet, and the log of the run, once it has one."""

    lines: ClassVar[deque[str]] = deque(maxlen=1000)  # a command without a log may run for months
    write: ClassVar[Callable[[str], None] | None] = None


def warn(line: str) -> None:
    """A warning, once for all processes; also in the run's log (`log_warnings`)."""
    if is_main_process():
        print(f"warning: {line}", file=sys.stderr, flush=True)
        _Kept.lines.append(f"warning: {line}")
        _hand_on()


def forget_warnings() -> None:
    """Begin a command: warnings so far are not its own."""
    _Kept.lines.clear()
    _Kept.write = None


def log_warnings(write: Callable[[str], None]) -> None:
    """Write the warnings so far, and those to come, to a log: a number that is read later means little without them."""
    _Kept.write = write
    _hand_on()


def _hand_on() -> None:
    while _Kept.write is not None and _Kept.lines:
        _Kept.write(_Kept.lines.popleft())


@contextmanager
def quiet_logging() -> Iterator[None]:
    """A block in which libraries keep their advice to themselves."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


def warn_of_dead_links(pictures: Iterable[Path]) -> None:
    """Warn of links beside pictures, in the folders that these lie in, that lead to no file: nobody misses what is not
    listed."""
    from datasets.picture_files.image_folders import dead_links

    dead = dead_links(path.parent for path in pictures)
    if dead:
        warn(f"{len(dead)} links to pictures lead to no file and are left out, such as {dead[0]}; mend or remove them")


def counted(number: int, what: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def first_of(names: Sequence[str], num: int = 3) -> str:
    """`a, b, c and 4 more`."""
    more = f" and {len(names) - num} more" if len(names) > num else ""
    return ", ".join(names[:num]) + more


def report_problems(problems: Sequence[str], what: str) -> None:
    """Warn of the first few and count them all."""
    for problem in problems[:SHOWN_PROBLEMS]:
        warn(problem)
    if problems:
        warn(f"{len(problems)} {what}")


def report_bad_labels(
    problems: Sequence[LabelError], samples: Sequence[Sample], bad_labels: str, bad_files: str
) -> None:
    """Warn of what `read_samples` reported: of bad labels, and of label files that took their pictures along."""
    kept = {spelt for sample in samples for spelt in spellings(sample.name)}
    report_problems([str(problem) for problem in problems if problem.path.stem in kept], bad_labels)
    report_problems([str(problem) for problem in problems if problem.path.stem not in kept], bad_files)
