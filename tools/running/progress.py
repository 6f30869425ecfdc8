"""Progress of long work: a live bar on a terminal, a line a minute elsewhere, so that a log shows life too."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from tools.running.ranks import is_main_process

SECONDS_BETWEEN_LINES = 60.0


class _Lines:
    """Turns a bar that redraws itself into lines."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(text.strip("\r\n") + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress_bar(work: Iterable, **options: Any) -> tqdm:
    """`work`, iterated under a bar; options as tqdm's (desc, total, unit, initial). Shown by the main process."""
    options["disable"] = not is_main_process()
    if sys.stderr.isatty():
        return tqdm(work, leave=False, **options)
    seconds = SECONDS_BETWEEN_LINES
    return tqdm(work, leave=False, file=_Lines(), mininterval=seconds, maxinterval=seconds, delay=seconds, **options)
