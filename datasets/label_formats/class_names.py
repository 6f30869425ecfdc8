"""Which classes a conversion writes, and in which order: other names than the source's, and a list of the user's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from datasets.class_lists import UnknownClassError, slips, strangers
from datasets.label_formats.annotations import (
    AnnotatedSet,
    Ledger,
    is_unusable,
    name_fault,
    take_objects,
    without_picture,
)
from DOTA_devkit.labels import IGNORED_CLASS, Labels, did_you_mean, nearest_class

NOT_LISTED = "objects of class '{}', which is not in the list of --classes, were left out"
OTHERS = "*"  # as an old name: every class without one of its own


def rename_classes(annotated: AnnotatedSet, renames: Mapping[str, str]) -> AnnotatedSet:
    """The set with other class names, old name -> new one; several may become one. Ignore regions of every class keep
    their name unless it is given.

    Raises ValueError for an old name that neither a label nor the source's list has, and for a new one that cannot be
    written.
    """
    for fault in filter(None, map(name_fault, renames.values())):
        raise ValueError(fault)
    there = {name for picture in annotated.pictures for name in picture.labels.names}.union(annotated.class_names)
    for name in renames.keys() - there - {OTHERS}:
        meant = did_you_mean(name, sorted(there)) or f"there are {', '.join(sorted(there)) or 'none'}"
        raise ValueError(f"no class '{name}' to rename; {meant}")
    new = {name: renames.get(name, name if name == IGNORED_CLASS else renames.get(OTHERS, name)) for name in there}
    pictures = [
        picture._replace(labels=picture.labels._replace(names=[new[name] for name in picture.labels.names]))
        for picture in annotated.pictures
    ]
    listed = dict.fromkeys(new[name] for name in annotated.class_names)
    return AnnotatedSet(pictures, tuple(name for name in listed if name != IGNORED_CLASS))


def keep_classes(annotated: AnnotatedSet, known: Sequence[str], ledger: Ledger) -> AnnotatedSet:
    """The set with these class names, in this order, and the objects of theirs. Objects of others are left out as asked
    and counted, but where the name is like one of the list, and none of the source's own nor of DOTA's: a slip of the
    pen is a fault."""
    pictures = []
    names = {name for picture in annotated.pictures for name in picture.labels.names}
    slipped, unused = slips(names - {*annotated.class_names}, known), [name for name in known if name not in names]
    for picture in annotated.pictures:
        labels = picture.labels
        found = unlisted(labels, known, Path(picture.name))
        faults = [error for error in found.values() if error.name in slipped]
        for error in found.values():
            if error.name in slipped:
                ledger.faults.append(error)
            else:
                meant = nearest_class(error.name, unused)
                doubt = f"; is '{meant}' of the list meant to be that class?" if meant else ""
                ledger.changed[NOT_LISTED.format(error.name) + doubt] += 1
        kept = take_objects(picture, np.setdiff1d(np.arange(len(labels.names)), [*found]))
        if is_unusable(kept.labels, faults):
            ledger.faults.append(without_picture(Path(picture.name), int(faults[0].line), picture.name))
        else:
            pictures.append(kept)
    return AnnotatedSet(pictures, tuple(known))


def unlisted(labels: Labels, listed: Sequence[str], path: Path) -> dict[int, UnknownClassError]:
    """The objects of classes that the list of --classes does not name, by their row."""

    def reason(name: str) -> str:
        remedy = did_you_mean(name, listed) or "add it there, or correct the file"
        return f"class '{name}' is not in the list of --classes; {remedy}"

    return strangers(labels, {*listed, IGNORED_CLASS}, path, reason)
