"""What every command does alike: wrong flags and other errors as one sentence, and exit codes."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from tools.stop_request import StopRequest

RUNTIME_REMEDIES = {
    "out of memory": "not enough memory; lower --batch_size, or --input_h and --input_w",
    "can't allocate": "not enough memory; lower --batch_size, or --input_h and --input_w",
    "closed by peer": "another process of this job has ended; its own message says why",
    "reset by peer": "another process of this job has ended; its own message says why",
    "dataloader worker": "a process that loads data was killed, for want of memory perhaps; try --num_workers 0",
}


DISK_REMEDIES = {
    errno.ENOENT: "check the path",
    errno.EACCES: "ask for permission, or name another place",
    errno.EPERM: "ask for permission, or name another place",
    errno.EROFS: "name a place that can be written to",
    errno.ENOSPC: "make room, or name another disk",
    errno.EDQUOT: "make room, or name another disk",
    errno.EEXIST: "a file is where a folder is needed; move it, or name another place",
    errno.ENOTDIR: "a file is where a folder is needed; move it, or name another place",
    errno.EISDIR: "a folder is where a file is needed; move it, or name another place",
    errno.ENAMETOOLONG: "give it a shorter name",
}


class SettingsError(ValueError):
    """A setting that is unknown, of the wrong kind or contradicts another; the message names the flag."""


class Parser(argparse.ArgumentParser):
    """Raises SettingsError for a wrong flag, so that it is told like every other error."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}; {self.prog} --help lists all flags")


def exit_code(work: Callable[[], int | None], stop: StopRequest | None = None, stopped: str = "stopped") -> int:
    """Do the work; errors that a person can mend become one line on the standard error stream.

    Returns what `work` returns (None: 0, done), 2 for a wrong setting, 1 for anything else that a person can mend, and
    when stopped 130 (Ctrl-C) or the code of `stop`, with the sentence `stopped`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a class name that the terminal cannot show must not end a run
            stream.reconfigure(errors="backslashreplace")
    try:
        return work() or 0
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {_disk_sentence(error)}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        remedy = next((what for word, what in RUNTIME_REMEDIES.items() if word in str(error).lower()), None)
        if remedy is None and not isinstance(error, MemoryError):
            raise  # a mistake of ours, which its traceback tells best
        print(f"error: {remedy or RUNTIME_REMEDIES['out of memory']}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return stop.exit_code if stop else 130


def _disk_sentence(error: OSError) -> str:
    """What the system refused and where, without its number, and what to do; as it is when it names no file."""
    if error.filename is None or error.strerror is None:
        return str(error)
    remedy = DISK_REMEDIES.get(error.errno)
    return f"{os.fsdecode(error.filename)}: {error.strerror.lower()}{f'; {remedy}' if remedy else ''}"
