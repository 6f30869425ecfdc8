"""What numbers flags may have: the `type` of an argument, which says what is wrong with a value."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable


def whole(least: int = 0, most: int | None = None) -> Callable[[str], int]:
    """Whole numbers from `least` to `most`; None: without an end."""

    def value_of(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ArgumentTypeError(f"is {text!r}; it must be a whole number") from None
        if most is None and value < least:
            raise ArgumentTypeError(f"is {value}; it must be at least {least}")
        if most is not None and not least <= value <= most:
            raise ArgumentTypeError(f"is {value}; it must lie between {least} and {most}")
        return value

    return value_of


def multiple(of: int) -> Callable[[str], int]:
    """Whole numbers above 0 that are so many times `of`."""

    def value_of(text: str) -> int:
        value = whole(1)(text)
        if value % of:
            raise ArgumentTypeError(f"is {value}; it must be a multiple of {of}")
        return value

    return value_of


def filled(kind: type) -> Callable[[str], object]:
    """Texts or paths with something in them: an empty one, as of a shell's variable that is not set, would be the
    folder in which one stands."""

    def value_of(text: str) -> object:
        if not text.strip():
            raise ArgumentTypeError("is empty; give it, or leave the flag out")
        return kind(text)

    return value_of


def seconds(text: str) -> float:
    """Lengths of time, 0 or more."""
    value = _number(text)
    if not 0 <= value < math.inf:
        raise ArgumentTypeError(f"is {value}; it must be a time in seconds, 0 or more")
    return value


def share(text: str) -> float:
    """Numbers from 0 to 1, of scores and overlaps."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"is {value}; it must lie between 0 and 1")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"is {text!r}; it must be a number") from None
