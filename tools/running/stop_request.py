"""Ctrl-C, SIGTERM and a closed terminal as a request that a loop grants where it is safe to stop."""

from __future__ import annotations

import argparse
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
SECONDS_TO_STOP = 20  # torchrun kills ten seconds later


class StopRequest:
    """Context manager that makes the first Ctrl-C, SIGTERM or SIGHUP (its terminal was closed, unless `nohup` lets that
    pass) a request, which `check` grants between two steps of the work, where all that is held agrees, weights and
    optimiser for instance; a second one stops at once, wherever that is (`at_once`). `exit_code`: 128 + the signal's
    number."""

    def __init__(self) -> None:
        self.exit_code = 128 + signal.SIGINT
        self.at_once = False
        self._requested = False
        self._timer: threading.Timer | None = None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handler
            self._before = {number: signal.signal(number, self._note) for number in _signals()}
        else:
            self._before = {}
        return self

    def __exit__(self, *error: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def around(
        self, run: Callable[[argparse.Namespace, StopRequest], int | None], options: argparse.Namespace
    ) -> int | None:
        """What a command does, `run(options, self)`, within the block."""
        with self:
            return run(options, self)

    @property
    def is_requested(self) -> bool:
        """Whether there was a first signal."""
        return self._requested

    def check(self) -> None:
        """Raises KeyboardInterrupt if a stop was requested."""
        if self._requested:
            raise KeyboardInterrupt

    def between(self, items: Iterable[T]) -> Iterator[T]:
        """Goes through items; raises KeyboardInterrupt before the next one if a stop was requested."""
        for item in items:
            self.check()
            yield item

    def _note(self, number: int, frame: object) -> None:
        if number == getattr(signal, "SIGHUP", None):
            if self._requested:  # a shell and the kernel both send it when a terminal is closed
                return
            _leave_terminal()
        if self._requested:
            self.at_once = True
            raise KeyboardInterrupt
        self._requested, self.exit_code = True, 128 + number
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            # A process whose partner has died waits for it within a step, and would wait for ever.
            self._timer = threading.Timer(SECONDS_TO_STOP, os._exit, (self.exit_code,))
            self._timer.daemon = True
            self._timer.start()
        print("\nstopping after this step; once more stops at once", file=sys.stderr, flush=True)


def _signals() -> list[int]:
    """Those that ask for a stop; SIGHUP, which Windows has not, unless somebody wants it to be ignored."""
    hangup = getattr(signal, "SIGHUP", None)
    is_meant = hangup is not None and signal.getsignal(hangup) == signal.SIG_DFL
    return [signal.SIGINT, signal.SIGTERM, *([hangup] if is_meant else [])]


def _leave_terminal() -> None:
    """What is said from now on goes nowhere: the terminal is gone, and to write to it would be an error. Files and
    pipes stay as they are."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        if stat.S_ISCHR(os.fstat(number).st_mode):
            os.dup2(nowhere, number)
    os.close(nowhere)
