"""What every command does alike: wrong flags and other errors as one sentence, and exit codes."""

from __future__ import annotations

import argparse
import errno
import io
import os
import re
import select
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

from tools.running.flag_types import filled, whole
from tools.running.messages import forget_warnings
from tools.running.stop_request import StopRequest

NO_MEMORY = (
    "not enough memory; lower --batch_size, or --input_h and --input_w (or --tile, --batch, --height and --width, "
    "where a command has these)"
)
RUNTIME_REMEDIES = {
    "out of memory": NO_MEMORY,
    "can't allocate": NO_MEMORY,
    "failed to allocate": NO_MEMORY,
    "closed by peer": "another process of this job has ended; its own message says why",
    "reset by peer": "another process of this job has ended; its own message says why",
    "finished reduction": "parts of the backbone have no part in the four maps, which several processes cannot train; "
    "python -m tools.check_backbone names them",
    "symlink loop": "a link leads back to itself; name the folder that it was meant for",
    "dataloader worker": "a process that loads data was killed, for want of memory perhaps; try --num_workers 0",
}


DISK_REMEDIES = {
    errno.ENOENT: "check the path",
    errno.EACCES: "ask for permission, or name another place",
    errno.EPERM: "ask for permission, or name another place",
    errno.EROFS: "name a place that can be written to",
    errno.ENOSPC: "make room, or name another disk",
    errno.EDQUOT: "make room, or name another disk",
    errno.EFBIG: "files so large are not taken there (ulimit -f, FAT32); name another disk",
    errno.EEXIST: "a file is where a folder is needed; move it, or name another place",
    errno.ENOTDIR: "a file is where a folder is needed; move it, or name another place",
    errno.EISDIR: "a folder is where a file is needed; move it, or name another place",
    errno.ENAMETOOLONG: "give it a shorter name",
}

_OF_TRAINING = ("torch", "accelerate")  # which requirements-deploy.txt leaves out
_CODE_OF_A_CLOSED_PIPE = 128 + 13  # of SIGPIPE, as programs in C end in `... | head`


class SettingsError(ValueError):
    """A setting that is unknown, of the wrong kind or contradicts another; the message names the flag."""


class _Terminated(KeyboardInterrupt):
    """SIGTERM, of a scheduler for instance: ends the work as Ctrl-C does, so that half-written files are removed."""


class _Lines(argparse.HelpFormatter):
    """Fills each line of a text by itself; what stands behind a name and blanks stays behind them."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(self._fill_line(line, width, indent) for line in text.split("\n"))

    @staticmethod
    def _fill_line(line: str, width: int, indent: str) -> str:
        named = re.match(r"  \S+ +", line)
        start = named[0] if named else ""
        return textwrap.fill(
            line[len(start) :], width, initial_indent=indent + start, subsequent_indent=indent + " " * len(start)
        )


def table_lines(notes: Mapping[str, str]) -> list[str]:
    """Names and what is told of each as lines of an epilog."""
    width = max(map(len, notes)) + 2
    return [f"  {name:{width}}{note}" for name, note in notes.items()]


class Parser(argparse.ArgumentParser):
    """The flags of `python -m tools.COMMAND`, written out in full. Raises SettingsError for a wrong one, so that it is
    told like every other error."""

    def __init__(self, command: str | None = None, **options: Any) -> None:
        if command is not None:
            options["prog"] = f"python -m tools.{command}"
        super().__init__(**{"allow_abbrev": False, "formatter_class": _Lines, **options})

    def error(self, message: str) -> NoReturn:
        what = re.sub(r"^argument (--\w+): is ", r"\1 is ", message)  # as the flags of main.py are told
        raise SettingsError(f"{what}; {self.prog} --help lists all flags")

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        """As argparse has it; a path is never empty."""
        if options.get("type") is Path:
            options["type"] = filled(Path)
        return super().add_argument(*names, **options)

    def add_dataset(self, formats: Iterable[str]) -> None:
        """Add --dataset: the name of a format, or auto."""
        self.add_argument(
            "--dataset",
            choices=("auto", *formats),
            default="auto",
            help="format of the data [default: %(default)s, by what lies in its folder]",
        )

    def add_bands(self, effect: str = "") -> None:
        """Add --bands: a tuple of numbers, or None."""
        self.add_argument(
            "--bands",
            type=int,
            nargs="+",
            action=_Tuple,
            metavar="N",
            help="of TIFF files, the numbers of the bands to read, from 1 on: red, green and blue, such as 5 3 2, any "
            f"number of others behind these, or one for grey{effect} [default: those that the file calls so, else the "
            "first]",
        )

    def add_value_range(self, effect: str = "") -> None:
        """Add --value_range: a tuple of numbers, or None."""
        self.add_argument(
            "--value_range",
            type=float,
            nargs="+",
            action=_Tuple,
            metavar="V",
            help="in pictures of 16 bits or floating point, the values that become black and white in all of them, or "
            f"such a pair for each band, in their order{effect} [default: percentiles 0.5 and 99.5 of each picture]",
        )

    def add_reading_told(self) -> None:
        """Add --bands and --value_range of a command on results, which tell both where neither is given."""
        self.add_bands(", as the results tell where neither this nor --value_range is given")
        self.add_value_range(", as the results tell where neither this nor --bands is given")

    def add_picture_seed(self) -> None:
        """Add --seed, of a choice of pictures."""
        what = "of the choice of pictures, 0 or more [default: %(default)s]"
        self.add_argument("--seed", type=whole(0), default=0, metavar="N", help=what)

    def add_missing_labels(self, effect: str = "is an error, or has no objects", where: str = "") -> None:
        """Add --missing_labels: error or empty."""
        self.add_argument(
            "--missing_labels",
            choices=("error", "empty"),
            default="error",
            help=f"a picture without a label file{where} {effect} [default: %(default)s]",
        )

    def add_workers(self, what: str = "processes; 0 works in the main process") -> None:
        """Add --workers, by default one for each core that this process may use, which may be less than there are."""
        has_affinity = hasattr(os, "sched_getaffinity")
        self.add_argument(
            "--workers",
            type=whole(0),
            default=len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1,
            metavar="N",
            help=f"{what}; the result is the same [default: one for each core, here %(default)s]",
        )


class _Tuple(argparse.Action):
    """Keeps several values as a tuple, as frozen settings hold them."""

    def __call__(self, parser: argparse.ArgumentParser, options: argparse.Namespace, values: Any, *_: object) -> None:
        setattr(options, self.dest, tuple(values))


def exit_code(work: Callable[[], int | None], stop: StopRequest | None = None, stopped: str = "stopped") -> int:
    """Do the work; errors that a person can mend become one line on the standard error stream.

    Returns what `work` returns (None: 0, done), 2 for a wrong setting, 1 for anything else that a person can mend, and
    when stopped 130 (Ctrl-C), 143 (SIGTERM) or the code of `stop`, with the sentence `stopped`; 141, silently,
    when the program that it is piped into has ended.
    """
    forget_warnings()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a class name that the terminal cannot show must not end a run
            stream.reconfigure(errors="backslashreplace")
    try:
        with _terminable():
            code = work() or 0
            sys.stdout.flush()  # what reads it may have gone: told here, not while the interpreter shuts down
            return code
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _has_lost_its_reader(sys.stdout):
            return _CODE_OF_A_CLOSED_PIPE
        print(f"error: {_disk_sentence(error)}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name not in _OF_TRAINING:
            raise
        remedy = "activate the environment (source .venv/bin/activate), or pip install -r requirements.txt"
        print(f"error: {error.name} is not installed; {remedy}", file=sys.stderr)
        return 1
    except Exception as error:  # of torch, of OpenCV ...
        remedy = next((what for word, what in RUNTIME_REMEDIES.items() if word in str(error).lower()), None)
        if remedy is None and not isinstance(error, MemoryError):
            raise  # a mistake of ours, which its traceback tells best
        print(f"error: {remedy or NO_MEMORY}", file=sys.stderr)
        return 1
    except _Terminated:
        print(stopped, file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return stop.exit_code if stop else 128 + signal.SIGINT
    finally:
        forget_warnings()


@contextmanager
def _terminable() -> Iterator[None]:
    """Within, SIGTERM raises `_Terminated` in this process; processes that it forks end by it silently, as ever."""
    number, own_id = signal.SIGTERM, os.getpid()

    def end(*_: object) -> NoReturn:
        if os.getpid() != own_id:
            os._exit(128 + number)
        raise _Terminated

    is_free = threading.current_thread() is threading.main_thread() and signal.getsignal(number) is signal.SIG_DFL
    if is_free:
        signal.signal(number, end)
    try:
        yield
    finally:
        if is_free:
            signal.signal(number, signal.SIG_DFL)


def _has_lost_its_reader(stream: TextIO) -> bool:
    """Whether what the stream is piped into has ended, as `head` does; what is still to be said then goes nowhere."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # no file of the system's
        return False
    if not hasattr(select, "poll"):  # Windows
        return False
    poll = select.poll()
    poll.register(number, 0)
    has_lost = any(event & select.POLLERR for _, event in poll.poll(0))
    if has_lost:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    return has_lost


def _disk_sentence(error: OSError) -> str:
    """What the system refused and where, without its number, and what to do; as it is when it names no file."""
    if error.filename is None or error.strerror is None:
        return str(error)
    remedy = DISK_REMEDIES.get(error.errno)
    return f"{os.fsdecode(error.filename)}: {error.strerror.lower()}{f'; {remedy}' if remedy else ''}"
