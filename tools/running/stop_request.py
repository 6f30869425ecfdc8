"""Ctrl-C and SIGTERM as a request that a loop grants where it is safe to stop."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable

SECONDS_TO_STOP = 20  # torchrun kills ten seconds later


class StopRequest:
    """Context manager that makes the first Ctrl-C or SIGTERM a request, which `check` grants between two steps of the
    work, where all that is held agrees, weights and optimiser for instance; a second one stops at once, wherever that
    is (`at_once`). `exit_code`: 128 + the signal's number."""

    def __init__(self) -> None:
        self.exit_code = 128 + signal.SIGINT
        self.at_once = False
        self._requested = False
        self._timer: threading.Timer | None = None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handler
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
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

    def _note(self, number: int, frame: object) -> None:
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
