"""Work shared out to processes: in order, with progress, and without a hang when one of them dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import cv2

from tools.running.progress import progress_bar
from tools.running.stop_request import StopRequest

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_tasks(
    work: Callable[[Task], Result], tasks: Sequence[Task], num_workers: int, stop: StopRequest, **bar: Any
) -> list[Result]:
    """What `work` returns for each of the tasks, in their order, by so many processes (0: in this one), under a bar.

    Raises what `work` raises, KeyboardInterrupt after a stop was requested, ChildProcessError when a process dies; the
    tasks that other processes have begun are finished first, so that nothing is left half done.
    """
    results: dict[int, Result] = {}
    num_threads = cv2.getNumThreads()
    cv2.setNumThreads(0)  # before processes are forked: they would wait for threads that did not come along
    try:
        if num_workers == 0:
            for number, task in enumerate(progress_bar(tasks, **bar)):
                results[number] = work(task)
                stop.check()
        elif tasks:
            with ProcessPoolExecutor(min(num_workers, len(tasks)), initializer=_start_worker) as pool:
                numbers: dict[Future, int] = {pool.submit(work, task): number for number, task in enumerate(tasks)}
                try:
                    for future in progress_bar(as_completed(numbers), total=len(tasks), **bar):
                        results[numbers[future]] = future.result()
                        stop.check()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
    except BrokenProcessPool as error:
        remedy = "the machine may have run out of memory; try fewer --workers"
        raise ChildProcessError(f"a worker process died, and the work with it; {remedy}") from error
    finally:
        cv2.setNumThreads(num_threads)
    return [results[number] for number in range(len(tasks))]


def _start_worker() -> None:
    """Leave Ctrl-C to the main process, and end when that has died: a worker would wait for its next task for ever."""
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
