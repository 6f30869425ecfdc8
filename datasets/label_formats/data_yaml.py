"""Ultralytics' `data.yaml`, read and written: the class names, and where the pictures of each split lie."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import yaml

from datasets.label_formats.annotations import name_fault
from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.labels import LabelError
from DOTA_devkit.names import as_class_name

FILE_NAME = "data.yaml"
SPLIT_KEYS = {"train": "train", "val": "val", "validation": "val", "test": "test"}
NULLS = ("", "~", "null", "Null", "NULL")  # YAML 1.2, section 10.3.2; in quotes they are text
MOST_BRACKETS = 1000  # the parser's time grows with the square of their depth


class DataYaml(NamedTuple):
    """class_names: by their number.  root: what `path` says, or "".  entries: {split: folders or lists of pictures}."""

    class_names: tuple[str, ...]
    root: str
    entries: dict[str, tuple[str, ...]]


def find_data_yaml(data_dir: Path) -> Path | None:
    """The file of a data folder: data.yaml, else the only *.yaml or *.yml that names classes; None where there is none.

    Raises ValueError where several do.
    """
    if (data_dir / FILE_NAME).is_file():
        return data_dir / FILE_NAME
    if not data_dir.is_dir():
        return None
    found = [path for path in _yaml_files(data_dir, data_dir.stat().st_mtime_ns) if _names_classes(path)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ValueError(f"{data_dir}: holds {names}; call the one that is meant {FILE_NAME}")
    return found[0] if found else None


def read_data_yaml(path: Path) -> DataYaml:
    """Read the file; `names` may be a list or a mapping from numbers, and without it `nc` gives class_0, class_1...

    All words are taken as text, so that a class called `no` keeps its name. Raises LabelError, with the line, for a
    file that is not YAML, and for numbers and names that stand twice or are missing.
    """
    try:
        stat = path.stat()
        return _read(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise LabelError(path, 1, f"cannot be read ({error.strerror or error}); check the path") from error


def write_data_yaml(path: Path, class_names: Sequence[str], folders: dict[str, str], remarks: Iterable[str]) -> None:
    """Write the file; folders: {split: folder of its pictures}. Without `path`, Ultralytics takes the file's own."""
    with atomic_write(path, sync=False) as file:
        file.writelines(f"# {remark}\n" for remark in remarks)
        file.writelines(f"{split}: {folder}\n" for split, folder in folders.items())
        file.write("names:\n" if class_names else "names: []\n")
        # A JSON string is a YAML string in double quotes.
        file.writelines(f"  {i}: {json.dumps(name, ensure_ascii=False)}\n" for i, name in enumerate(class_names))


@lru_cache(maxsize=64)
def _yaml_files(data_dir: Path, time_ns: int) -> tuple[Path, ...]:
    return tuple(path for pattern in ("*.yaml", "*.yml") for path in sorted(data_dir.glob(pattern)))


def _names_classes(path: Path) -> bool:
    try:
        return bool(read_data_yaml(path).class_names)
    except LabelError:
        return False


@lru_cache(maxsize=64)  # by time and size of the file, because every label file asks for the names anew
def _read(path: Path, time_ns: int, num_bytes: int) -> DataYaml:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if text.count("[") + text.count("{") > MOST_BRACKETS:
            raise LabelError(path, 1, "is not YAML of a data set (it is full of brackets); mend it")
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except UnicodeDecodeError as error:
        raise LabelError(path, 1, f"is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = f"is not YAML ({error.problem or error.context}); mend it"
        raise LabelError(path, mark.line + 1 if mark else 1, why) from error
    except (yaml.YAMLError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "nested too deep"
        raise LabelError(path, 1, f"is not YAML ({reason}); mend it") from error
    fields = _mapping(path, root)
    entries: dict[str, tuple[str, ...]] = {}
    for key, split in SPLIT_KEYS.items():
        texts = _texts(fields.get(key))
        if texts and split not in entries:
            entries[split] = texts
    return DataYaml(_class_names(path, fields), "".join(_texts(fields.get("path"))), entries)


def _mapping(path: Path, node: yaml.Node | None) -> dict[str, yaml.Node]:
    """The values of a mapping by their keys, which must differ."""
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1 if node else 1
        raise LabelError(path, line, "is no mapping of keys to values; is it a data.yaml?")
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        text = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
        if text in fields:
            raise LabelError(path, key.start_mark.line + 1, f"the key {text!r} stands twice; remove one of them")
        fields[text] = value
    return fields


def _texts(node: yaml.Node | None) -> tuple[str, ...]:
    """The text of a node, or those of a list's entries; null and the rest count as nothing."""
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    scalars = [item for item in items if isinstance(item, yaml.ScalarNode) and item.value.strip()]
    return tuple(item.value for item in scalars if item.style is not None or item.value not in NULLS)


def _class_names(path: Path, fields: dict[str, yaml.Node]) -> tuple[str, ...]:
    node = fields.get("names")
    if node is None:
        count = "".join(_texts(fields.get("nc")))
        return tuple(f"class_{i}" for i in range(int(count))) if count.isdecimal() and len(count) < 6 else ()
    line = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        by_number = dict(enumerate(node.value))
    else:
        by_number = {_class_number(path, line, key): value for key, value in _mapping(path, node).items()}
    missing = next((i for i in range(len(by_number)) if i not in by_number), None)
    if missing is not None:
        raise LabelError(path, line, f"no name for class {missing}; the numbers must run from 0 without a gap")
    names: dict[str, None] = {}
    for i in range(len(by_number)):
        place = by_number[i].start_mark.line + 1
        name = as_class_name(by_number[i].value) if isinstance(by_number[i], yaml.ScalarNode) else ""
        fault = name_fault(name)
        if fault or name in names:
            raise LabelError(path, place, fault or f"the class name '{name}' stands twice; rename one of them")
        names[name] = None
    told = "".join(_texts(fields.get("nc")))
    if told.isdecimal() and len(told) < 6 and int(told) != len(names):
        line = fields["nc"].start_mark.line + 1
        raise LabelError(path, line, f"nc is {told}, and there are {len(names)} names; correct one of them")
    return tuple(names)


def _class_number(path: Path, line: int, key: str) -> int:
    if not (key.isascii() and key.isdigit() and len(key) < 10):
        raise LabelError(path, line, f"{key!r} among the names is not the number of a class; write 0: name, 1: name")
    return int(key)
