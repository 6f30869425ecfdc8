"""Names of classes and of pictures as they are compared: what looks the same is the same.

Unicode has two forms of an umlaut: one character (NFC), which most keyboards type, or a letter and a mark of its own
(NFD), which macOS and some archives make of the names of files.
"""

from __future__ import annotations

import unicodedata


def as_class_name(text: str) -> str:
    """A class name as it is read from anywhere: single blanks and none around it, letters in one form (NFC)."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


def spellings(name: str) -> tuple[str, ...]:
    """The forms in which a picture's name may stand in the system of files or in a list, its own first. Which one it
    has there it keeps: results and labels are called as the file is."""
    return tuple(dict.fromkeys((name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))))
