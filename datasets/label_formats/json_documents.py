"""JSON from strangers: read whole or refused with a line, and every entry of its lists keeps its line."""

from __future__ import annotations

import bisect
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from datasets.label_formats.annotations import shown
from DOTA_devkit.labels import FARTHEST, FLAGS, LabelError

ROOT = ""  # the key of the entries of a document that is itself a list
SPACE = re.compile(r"[ \t\n\r]*")
LONGEST_WHOLE = 40  # digits, of hashes too; Python refuses to convert thousands of them


class Document(NamedTuple):
    """A JSON file: the fields of its root object, and for each that is a list the line of every entry."""

    path: Path
    fields: dict[str, Any]
    lines: dict[str, list[int]]

    def entries(self, key: str) -> list[tuple[int, Any]]:
        """(line, entry) of a list. Raises LabelError when there is no such list."""
        value = self.fields.get(key)
        if not isinstance(value, list):
            what = "is missing" if key not in self.fields else f"is {shown(value)}, not a list"
            raise LabelError(self.path, 1, f'the list "{key}" {what}; is it a file of another format?')
        return list(zip(self.lines[key], value, strict=True))


def read_document(path: Path) -> Document:
    """Read a JSON file whose root is an object, or a list (then its entries are under `ROOT`).

    Raises LabelError, with the line, for a file that cannot be read, is not UTF-8 or not JSON, is nested deeper than
    Python can follow, or in which a key stands twice in one object.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabelError(path, 1, f"cannot be read ({error.strerror or error}); check the path") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LabelError(path, line, "is not UTF-8 text; save the file with that encoding") from error
    return _Parser(path, text).parse()


def entries_by_line(path: Path) -> Iterator[tuple[int, Any]]:
    """(line, entry) of a file that is a list, one after the other where each has a line of its own, as we write the
    results of a night, which would not fit into memory at once; of any other layout all at once. Raises LabelError as
    `read_document`."""
    if not _has_entries_by_line(path):
        yield from read_document(path).entries(ROOT)
        return
    decoder = _decoder()
    with path.open("rb") as file:
        for number, data in enumerate(file, start=1):
            if data.startswith(b"{"):
                try:
                    entry = decoder.decode(data.decode().strip().removesuffix(","))
                except (ValueError, RecursionError, _RepeatedKeyError):
                    # It tells what is wrong, if anything is: a line may hold two entries.
                    yield from (item for item in read_document(path).entries(ROOT) if item[0] >= number)
                    return
                yield number, entry


def _has_entries_by_line(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.readline().strip() != b"[":
                return False
            is_last = False
            while not is_last:
                line = file.readline()
                is_last = not line.endswith(b"},\n")
                if not line.startswith(b"{") or not line.endswith((b"},\n", b"}\n")):
                    return False
            return file.read(9).strip() == b"]"
    except OSError:  # told of by `read_document`
        return False


def fields_of(value: Any, what: str) -> dict[str, Any]:
    """`value`, if it is an object. Raises ValueError otherwise."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {shown(value)}, not an object; correct it")
    return value


def number(value: Any, what: str) -> float:
    """`value`, if it is a number that can be a place in a picture. Raises ValueError otherwise."""
    if type(value) not in (int, float):
        raise ValueError(f"{what} is {shown(value)}, not a number; correct it")
    if not abs(value) <= FARTHEST:  # nor is NaN
        raise ValueError(f"{what} is {shown(value)}, which is no place in a picture; correct it")
    return float(value)


def numbers(value: Any, what: str) -> list[float]:
    """`value`, if it is a list of such numbers. Raises ValueError otherwise."""
    if not isinstance(value, list):
        raise ValueError(f"{what} is {shown(value)}, not a list of numbers; correct it")
    return [number(item, f"a number of {what}") for item in value]


def picture_hw(fields: dict[str, Any], height: str, width: str) -> tuple[int, int] | None:
    """The size that a document tells of a picture; None where it does not, or it can be none."""
    sides = [fields.get(height), fields.get(width)]
    if any(type(side) not in (int, float) or not 1 <= side <= FARTHEST or side % 1 for side in sides):
        return None
    return int(sides[0]), int(sides[1])


def difficult_flag(value: Any) -> int:
    """0, 1 or 2 of what a document has for `difficult`; missing is 0. Raises ValueError for anything else."""
    if value is None:
        return 0
    if type(value) not in (bool, int, float) or value not in FLAGS.values():
        raise ValueError(f'"difficult" is {shown(value)}; it must be 0, 1 or 2')
    return int(value)


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_distinct, parse_int=_whole)


class _Parser:
    """Walks through the outer two levels of a document by hand, and leaves their entries to the json module."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text, self.place = path, text, 0
        self.ends = [match.start() for match in re.finditer("\n", text)]
        self.decoder = _decoder()

    def parse(self) -> Document:
        try:
            document = self._document()
        except json.JSONDecodeError as error:
            why = f"is not JSON ({error.msg}, column {error.colno}); mend or delete the file"
            raise LabelError(self.path, error.lineno, why) from error
        except RecursionError as error:
            raise LabelError(self.path, self._line(), "is nested too deep; mend or delete the file") from error
        except _RepeatedKeyError as error:
            why = f"the key {shown(error.args[0])} stands twice in one object; remove one of them"
            raise LabelError(self.path, self._line(), why) from error
        return document

    def _document(self) -> Document:
        fields: dict[str, Any] = {}
        lines: dict[str, list[int]] = {}
        if self._next() == "[":
            lines[ROOT] = []
            fields[ROOT] = self._entries("]", lambda: self._entry(lines[ROOT]))
        elif self._next() == "{":
            self._entries("}", lambda: self._field(fields, lines))
        else:
            value = self._value()
            raise LabelError(self.path, 1, f"holds {shown(value)} and nothing else; mend or delete the file")
        if self._next():
            raise json.JSONDecodeError("Extra data", self.text, self.place)
        return Document(self.path, fields, lines)

    def _field(self, fields: dict[str, Any], lines: dict[str, list[int]]) -> None:
        if self._next() != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self.text, self.place)
        key = self._value()
        if key in fields:
            raise _RepeatedKeyError(key)
        self._take(":")
        if self._next() != "[":
            fields[key] = self._value()
            return
        lines[key] = []
        fields[key] = self._entries("]", lambda: self._entry(lines[key]))

    def _entry(self, lines: list[int]) -> Any:
        self._next()
        lines.append(self._line())
        return self._value()

    def _entries(self, end: str, read: Callable[[], Any]) -> list[Any]:
        """What `read` returns for each of the entries between brackets, of which the first is next."""
        self.place += 1
        if self._next() == end:
            self.place += 1
            return []
        entries = [read()]
        while self._next() == ",":
            self.place += 1
            entries.append(read())
        self._take(end)
        return entries

    def _value(self) -> Any:
        self._next()
        value, self.place = self.decoder.raw_decode(self.text, self.place)
        return value

    def _take(self, char: str) -> None:
        if self._next() != char:
            raise json.JSONDecodeError(f"Expecting {char!r} delimiter", self.text, self.place)
        self.place += 1

    def _next(self) -> str:
        """The character that is next after white space; "" at the end."""
        self.place = SPACE.match(self.text, self.place).end()
        return self.text[self.place : self.place + 1]

    def _line(self) -> int:
        return bisect.bisect_left(self.ends, self.place) + 1


class _RepeatedKeyError(ValueError):
    """A key that stands twice: which of the values is meant, nobody knows."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        raise _RepeatedKeyError(next(key for key, _ in pairs if key in seen or seen.add(key)))
    return fields


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= LONGEST_WHOLE else math.copysign(math.inf, -1 if digits[0] == "-" else 1)
