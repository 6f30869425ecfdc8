"""Names of classes and of pictures as they are compared: what looks the same is the same.

Unicode has two forms of an umlaut: one character (NFC), which most keyboards type, or a letter and a mark of its own
(NFD), which macOS and some archives make of the names of files.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Sequence


def as_class_name(text: str) -> str:
    """A class name as it is read from anywhere: single blanks and none around it, letters in one form (NFC)."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


def as_class_names(names: Sequence[str]) -> tuple[str, ...]:
    """The class names of a file that others or earlier versions may have written, in one form (NFC), as those of labels
    are read; as they are where two would be one."""
    composed = tuple(composed_form(name) for name in names)
    return composed if len({*composed}) == len({*names}) else tuple(names)


def composed_form(name: str) -> str:
    """The name with its letters in one form (NFC), by which names of pictures are compared."""
    return unicodedata.normalize("NFC", name)


def spellings(name: str) -> tuple[str, ...]:
    """The forms in which a picture's name may stand in the system of files or in a list, its own first. Which one it
    has there it keeps: results and labels are called as the file is."""
    return tuple(dict.fromkeys((name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))))


def spelling_in(names: Container[str], name: str) -> str | None:
    """The first of the `spellings` of a name that is among `names`; None where none is."""
    return next((spelt for spelt in spellings(name) if spelt in names), None)


def is_text(text: str) -> bool:
    """Whether UTF-8 can hold the string (bytes that were not UTF-8 are in it as lone surrogates)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
