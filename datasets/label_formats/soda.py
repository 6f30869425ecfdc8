"""SODA-A's JSON, one file a picture (Cheng et al., TPAMI 2023), read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from datasets.label_formats.annotations import (
    Picture,
    Row,
    as_labels,
    clean_name,
    outline_to_quad,
    shown,
    sound_rows,
)
from datasets.label_formats.json_documents import fields_of, numbers, picture_hw, read_document
from DOTA_devkit.labels import IGNORE_FLAG, IGNORED_CLASS, LabelError, OnBad, report_faults

IGNORED = "ignore"  # the category of its ignore regions


def read_soda(
    path: Path, on_bad: OnBad = None, changed: Counter[str] | None = None, class_names: dict[str, None] | None = None
) -> Picture:
    """The picture that a file describes, named as the file is, with the objects of its `annotations`: `poly`, the
    corners of an outline one after the other (of another number than four the minimum-area rectangle, counted in
    `changed`), and `category_id`, the id of an entry of `categories`. The category `ignore` is an ignore region of
    every class. The names of the others go to `class_names`, in their order.

    Raises LabelError for a file or an object that cannot be used, or reports to `on_bad` and leaves it out.
    """
    changed = Counter() if changed is None else changed
    faults: list[LabelError] = []
    document = read_document(path)
    names: dict[Any, str] = {}
    for line, item in document.entries("categories"):
        try:
            category = fields_of(item, "the category")
            if category.get("id") in names:
                raise ValueError(f'the id {shown(category.get("id"))} stands twice in "categories"; correct it')
            names[category.get("id")] = clean_name(category.get("name"))
        except (TypeError, ValueError) as error:  # an id that is a list cannot be looked for
            faults.append(LabelError(path, line, str(error)))
    if class_names is not None:
        class_names |= dict.fromkeys(name for name in names.values() if name != IGNORED)
    rows: list[Row] = []
    for line, item in document.entries("annotations"):
        try:
            rows.append(_row(fields_of(item, "the annotation"), names, line, changed))
        except ValueError as error:
            faults.append(LabelError(path, line, str(error)))
    rows = sound_rows(path, rows, faults)
    report_faults(faults, on_bad)
    told = document.fields.get("images")
    hw = picture_hw(told, "height", "width") if isinstance(told, dict) else None
    return Picture(path.stem, as_labels(rows), hw=hw)


def _row(fields: dict[str, Any], names: dict[Any, str], line: int, changed: Counter[str]) -> Row:
    values = numbers(fields.get("poly"), '"poly"')
    if len(values) % 2:
        raise ValueError(f'"poly" holds {len(values)} numbers, which are no pairs; correct it')
    quad = outline_to_quad(list(zip(values[::2], values[1::2], strict=True)), changed)
    number = fields.get("category_id")
    name = names.get(number) if type(number) is int else None
    if name is None:
        raise ValueError(f'"category_id" is {shown(number)}, which "categories" does not have; correct it')
    if name == IGNORED:
        return Row(quad, IGNORED_CLASS, IGNORE_FLAG, line)
    return Row(quad, name, 0, line)
