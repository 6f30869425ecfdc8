"""Which list of classes the names in label files stand for, and which of them are slips of the pen."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence, Set
from pathlib import Path

from DOTA_devkit.labels import IGNORED_CLASS, LabelError, Labels, OnBad, did_you_mean, nearest_class, report_faults

_DOTA_V1 = (
    "plane baseball-diamond bridge ground-track-field small-vehicle large-vehicle ship tennis-court basketball-court "
    "storage-tank soccer-ball-field roundabout harbor swimming-pool helicopter"
)
DOTA_CLASSES = {
    "1.0": tuple(_DOTA_V1.split()),
    "1.5": (*_DOTA_V1.split(), "container-crane"),
    "2.0": (*_DOTA_V1.split(), "container-crane", "airport", "helipad"),
}


class UnknownClassError(LabelError):
    """A label of a class that is none of those asked for: `name`."""

    def __init__(self, path: Path, line: int, reason: str, name: str) -> None:
        super().__init__(path, line, reason, "unknown-class")
        self.name = name
        self.args = (path, line, reason, name)  # so that a worker process can send it home


def dota_classes(found: Set[str]) -> tuple[str, ...]:
    """The classes that names found in labelTxt files stand for, where no classes.txt says: the smallest DOTA version
    that holds them all; the names themselves, sorted, where none of them is DOTA's. Empty where some are and others
    are not: slips of the pen."""
    if found and not found & set(DOTA_CLASSES["2.0"]):
        return tuple(sorted(found))
    return next((names for names in DOTA_CLASSES.values() if found <= set(names)), ())


def nearest_dota_classes(found: Set[str]) -> tuple[str, ...]:
    """The classes of the DOTA version that lacks the fewest of the names, the smallest of several."""
    return min(DOTA_CLASSES.values(), key=lambda names: len(found - {*names, IGNORED_CLASS}))


def slips(names: Iterable[str], class_names: Sequence[str]) -> set[str]:
    """The names that are like one of the classes, and none of these nor of DOTA's: slips of the pen, it may be."""
    others = {*names} - {*class_names, *DOTA_CLASSES["2.0"], IGNORED_CLASS}
    return {name for name in others if nearest_class(name, class_names)}


def unknown_class(name: str, class_names: Iterable[str]) -> str:
    """What to say of a name that is none of the classes."""
    known = [known for known in class_names if known != IGNORED_CLASS]
    meant = " ".join(filter(None, [did_you_mean(name, known), f"known: {', '.join(known)}"]))
    return f"unknown class '{name}'; {meant}; correct the line, or write classes.txt with all classes, one a line"


def strangers(
    labels: Labels, known: Container[str], path: Path, reason: Callable[[str], str]
) -> dict[int, UnknownClassError]:
    """The objects of a label file whose classes are not known, by their row. reason: what to say of a name."""
    return {
        row: UnknownClassError(path, int(labels.lines[row]), reason(name), name)
        for row, name in enumerate(labels.names)
        if name not in known
    }


def of_known_classes(
    labels: Labels, known: Container[str], path: Path, reason: Callable[[str], str], on_bad: OnBad
) -> Labels:
    """The objects of known classes. The first of the others raises UnknownClassError; with `on_bad` each goes to that
    function."""
    found = strangers(labels, known, path, reason)
    if not found:
        return labels
    report_faults([*found.values()], on_bad)
    return labels.at([row for row in range(len(labels.names)) if row not in found])
