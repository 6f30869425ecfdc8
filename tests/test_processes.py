"""Work shared out over processes: in order, with its errors as they were, and never waiting for the dead."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from DOTA_devkit.labels import LabelError
from tools.running.processes import run_tasks
from tools.running.stop_request import StopRequest


def die(task: int) -> int:
    if task == 2:
        os._exit(9)
    return task


def fail(task: int) -> int:
    if task == 2:
        raise LabelError(Path("a.txt"), 3, "no good")
    return task


def test_a_dying_worker_ends_the_run_with_a_message():
    """Defect 23: the pool hung."""
    started = time.monotonic()
    with pytest.raises(ChildProcessError, match="a worker process died"):
        run_tasks(die, range(40), 2, StopRequest())
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_worker_raises_arrives_as_it_was(workers):
    with pytest.raises(LabelError, match=r"a\.txt:3: no good"):
        run_tasks(fail, range(40), workers, StopRequest())


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_the_order_of_the_tasks(workers):
    assert run_tasks(abs, range(0, -20, -1), workers, StopRequest()) == list(range(20))
    assert run_tasks(abs, [], workers, StopRequest()) == []
