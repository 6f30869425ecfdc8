"""Which values of deep pictures become black and white: two for all bands, or two for each."""

from __future__ import annotations

import math
from collections.abc import Sequence


def are_ranges(values: Sequence[float], num_bands: int | None = None) -> bool:
    """Whether these are values of black, each with a larger one of white behind it: one such pair, or one for each of
    `num_bands`, if that is known."""
    pairs = list(zip(values[::2], values[1::2], strict=False))
    if not pairs or len(values) % 2 or (num_bands is not None and len(pairs) not in (1, num_bands)):
        return False
    return all(-math.inf < black < white < math.inf for black, white in pairs)


def ranges_in_words(values: Sequence[float]) -> str:
    """`0 to 3000`, or of several bands one after the other."""
    return ", ".join(f"{black:g} to {white:g}" for black, white in zip(values[::2], values[1::2], strict=True))
