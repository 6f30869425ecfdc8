"""A folder as Ultralytics lays it out: where its pictures, labels, splits and class names are.

Pictures lie in `images/train`, `images/val`..., in `train/images`, `valid/images`... (Roboflow), in `images`, or where
data.yaml says: in folders or in lists of pictures. The label file of a picture lies in `labels` in place of `images`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from datasets.label_formats.annotations import ROLES, file_in, name_fault, refuse_same_names
from datasets.label_formats.data_yaml import DataYaml, find_data_yaml, read_data_yaml
from datasets.picture_files.images import IMAGE_SUFFIXES, ImageError
from DOTA_devkit.labels import LabelError, numbered_lines, read_names, report_faults
from DOTA_devkit.names import as_class_name, spelling_in

IMAGES, LABELS, CLASS_LIST = "images", "labels", "classes.txt"
_TOGETHER = "rename one of them, or have tools.convert_labels (--link_images) call them by folder and name"
SPLIT_FOLDERS = ("train", "val", "valid", "validation", "test")
USUAL_FIRST = (".jpg", ".png", ".jpeg")
USUAL_SUFFIXES = (*USUAL_FIRST, *sorted(IMAGE_SUFFIXES - {*USUAL_FIRST}))  # the likeliest first: each is looked for


class YoloFolder(NamedTuple):
    """images: {name, or path: picture}.  splits: {`train`, `val`, `test`: their keys}, {} where the folder has none.
    class_names: by their number.  label_dirs: the folders called `labels`, of its pictures and of itself.
    image_dirs: its own called `images`.  missing: where data.yaml has pictures for `test` that are not there;
    Ultralytics trains without them, too."""

    images: dict[str, Path]
    splits: dict[str, list[str]]
    class_names: tuple[str, ...]
    label_dirs: tuple[Path, ...]
    image_dirs: tuple[Path, ...]
    missing: tuple[Path, ...] = ()

    def labels_without_picture(self) -> list[Path]:
        """Label files, in any folder of labels, that nothing reads; the classes.txt of labelImg is none."""
        read = {label_of(path) for path in self.images.values()}
        found = {
            path
            for folder in self.label_dirs
            for path in folder.rglob("*.[tT][xX][tT]")
            if path not in read and not is_hidden(path.relative_to(folder))
        }
        return sorted(path for path in found if path.name != CLASS_LIST and picture_of(path) is None)

    def unread_pictures(self) -> list[Path]:
        """Pictures in its own folders of pictures that no split names, and links there that lead nowhere."""
        found = [
            path
            for folder in self.image_dirs
            for path in folder.rglob("*")
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir() and not is_hidden(path.relative_to(folder))
        ]
        # data.yaml may name a folder in another way than it is named here.
        real = {folder: folder.resolve() for folder in {path.parent for path in (*found, *self.images.values())}}
        read = {real[path.parent] / path.name for path in self.images.values()}
        return sorted(path for path in found if real[path.parent] / path.name not in read)


def is_yolo_folder(data_dir: Path) -> bool:
    """Whether the folder holds a data.yaml, or `images` and `labels`."""
    if not data_dir.is_dir():
        return False
    return ((data_dir / IMAGES).is_dir() and (data_dir / LABELS).is_dir()) or find_data_yaml(data_dir) is not None


def open_yolo(data_dir: Path, by_path: bool = False) -> YoloFolder:
    """The pictures, splits and class names of a folder; listed once, unless a folder or list that it names has changed.
    `by_path`, the keys of pictures are their paths instead of their names.

    Raises LabelError for a bad data.yaml, ImageError for a folder without pictures, also where data.yaml has a `train`
    or `val` that is not there, ValueError for two pictures of one name, unless they are told apart by their paths:
    labels and results name a picture without its folder.
    """
    yaml_path = find_data_yaml(data_dir)
    sources, missing = _sources(data_dir, read_data_yaml(yaml_path) if yaml_path else None)
    stamp = tuple(path.stat().st_mtime_ns for paths in sources.values() for path in paths)
    listed = _list_folder(data_dir, tuple(sources.items()), stamp, _class_names(data_dir, yaml_path), by_path)
    return listed._replace(missing=missing)


def label_of(image_path: Path) -> Path:
    """Where Ultralytics looks for the labels of a picture: the last `images` of its path replaced by `labels`. Found
    with its suffix in capitals, too."""
    return file_in(_swap(image_path, IMAGES, LABELS).parent, image_path.stem, ".txt")


def picture_of(label_path: Path) -> Path | None:
    """The picture of a label file, whatever its suffix; None where there is none."""
    return picture_in(_swap(label_path, LABELS, IMAGES).parent, label_path.stem)


def picture_in(folder: Path, name: str) -> Path | None:
    """The picture of this name directly in a folder, whatever its suffix; None where there is none."""
    for suffix in USUAL_SUFFIXES:
        path = file_in(folder, name, suffix)
        if path.is_file():
            return path
    if not folder.is_dir():
        return None
    there = _list_pictures(folder, folder.stat().st_mtime_ns)
    return there.get(spelling_in(there, name))


def class_names_of(label_path: Path) -> tuple[str, ...]:
    """The class names that hold for a label file, by their number. Raises LabelError where nothing tells them."""
    parts = label_path.absolute().parts
    depth = len(parts) - 1 - parts[::-1].index(LABELS) if LABELS in parts[:-1] else len(parts) - 1
    root = Path(*parts[:depth])
    names = class_names_in(root)
    if not names and root.name in SPLIT_FOLDERS:
        names = class_names_in(root.parent)
    if not names:
        raise LabelError(label_path, 1, f"nothing names the classes; write {root / 'data.yaml'} with names")
    return names


def class_names_in(data_dir: Path) -> tuple[str, ...]:
    """The class names that the folder's data.yaml gives, else its classes.txt; () where there is neither."""
    return _class_names(data_dir, find_data_yaml(data_dir))


def _class_names(data_dir: Path, yaml_path: Path | None) -> tuple[str, ...]:
    if yaml_path:
        return read_data_yaml(yaml_path).class_names
    listed = data_dir / CLASS_LIST
    return _names_by_line(listed) if listed.is_file() else ()


def _names_by_line(path: Path) -> tuple[str, ...]:
    """The names of a classes.txt, where the first line names class 0. Raises LabelError for a blank line before the
    last name and for a name that stands twice: one left out would shift the numbers of those behind it."""
    faults: list[LabelError] = []
    lines = {number: as_class_name(line) for number, line in numbered_lines(path, faults)}
    report_faults(faults, None)
    last = max((number for number, name in lines.items() if name), default=0)
    if not last:
        raise LabelError(path, 1, "the list is empty; write one name a line")
    names: dict[str, None] = {}
    for number, name in list(lines.items())[:last]:
        if not name:
            raise LabelError(path, number, f"the line is blank, and stands for class {number - 1}; name or remove it")
        fault = name_fault(name)
        if fault or name in names:
            raise LabelError(path, number, fault or f"the class name '{name}' stands twice; rename one of them")
        names[name] = None
    return tuple(names)


def _sources(data_dir: Path, told: DataYaml | None) -> tuple[dict[str, tuple[Path, ...]], tuple[Path, ...]]:
    """{split: folders and lists of pictures}, as data.yaml tells or as they lie there, under "" those of no split; and
    those of `test` that are not there."""
    if told and told.entries:
        there: dict[str, tuple[Path, ...]] = {}
        missing: tuple[Path, ...] = ()
        for split, texts in told.entries.items():
            for path in (_place(data_dir, told.root, text) for text in texts):
                if path.exists():
                    there[split] = (*there.get(split, ()), path)
                elif split == "test":
                    missing = (*missing, path)
                else:
                    why = "no such folder of pictures, though data.yaml names it; correct the entry"
                    raise ImageError(f"{path}: {why}")
        return there, missing
    found: dict[str, tuple[Path, ...]] = {}
    for name in SPLIT_FOLDERS:
        for folder in (data_dir / IMAGES / name, data_dir / name / IMAGES):
            if folder.is_dir():
                found[ROLES[name]] = (*found.get(ROLES[name], ()), folder)
    if found:
        return found, ()
    if not (data_dir / IMAGES).is_dir():
        raise ImageError(f"{data_dir / IMAGES}: no such folder of pictures")
    return {"": (data_dir / IMAGES,)}, ()


def _place(data_dir: Path, root: str, text: str) -> Path:
    """Where an entry of data.yaml is, or would be: in the folder that was named if it can be, so that a copy of a data
    set reads itself; else below its `path`. Roboflow writes ../train/images for what is train/images."""
    slashed = text.replace("\\", "/")  # as Windows writes it
    bases = [data_dir, *(data_dir / each for each in dict.fromkeys((root, root.replace("\\", "/"))) if root)]
    texts = dict.fromkeys((text, text.removeprefix("../"), slashed, slashed.removeprefix("../")))
    candidates = [base / each for base in bases for each in texts]
    if ".." not in Path(slashed).parts and candidates[0].exists():
        return candidates[0]
    # ../train/images must not lead to another data set beside this one.
    candidates.sort(key=lambda path: not path.resolve().is_relative_to(data_dir.resolve()))
    return next((path for path in candidates if path.exists()), data_dir / text)


@lru_cache(maxsize=8)
def _list_folder(
    data_dir: Path,
    sources: tuple[tuple[str, tuple[Path, ...]], ...],
    stamp: tuple[int, ...],
    names: tuple[str, ...],
    by_path: bool,
) -> YoloFolder:
    images: dict[str, Path] = {}
    splits: dict[str, list[str]] = {}
    for split, places in sources:
        for path in sorted({path for place in places for path in _pictures_in(place)}):
            key = str(path) if by_path else path.stem
            if images.setdefault(key, path) != path:
                refuse_same_names([(key, images[key]), (key, path)], _TOGETHER)
            if split:
                splits.setdefault(split, []).append(key)
    own = (data_dir / LABELS, *(data_dir / name / LABELS for name in SPLIT_FOLDERS))
    label_dirs = {_label_dir(folder) for folder in {path.parent for path in images.values()}}
    label_dirs = {folder for folder in (*label_dirs, *own) if folder and folder.is_dir()}
    image_dirs = tuple(folder.with_name(IMAGES) for folder in own if folder.with_name(IMAGES).is_dir())
    ordered = sorted(images.items(), key=lambda item: (item[1].stem, item[0]))
    return YoloFolder(dict(ordered), splits, names, tuple(sorted(label_dirs)), image_dirs)


@lru_cache(maxsize=8)  # by the time of the folder, because every label file asks anew
def _list_pictures(folder: Path, time_ns: int) -> dict[str, Path]:
    """The pictures directly in a folder by name."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    paths = sorted(found)
    return {path.stem: path for path in reversed(paths)}


def _pictures_in(place: Path) -> Iterable[Path]:
    """The pictures of a folder and the folders in it, or of a list, whose entries are relative to its own folder."""
    if place.is_dir():
        paths = (path for path in place.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
        return sorted(path for path in paths if not is_hidden(path.relative_to(place)))
    paths = [_listed(place.parent, name) for name in read_names(place)]
    missing = next((path for path in paths if not path.is_file()), None)
    if missing:
        raise ImageError(f"{place}: lists {missing}, which is not there; correct the list")
    return paths


def is_hidden(path: Path) -> bool:
    """Whether the relative path or a folder in it is hidden, as Jupyter's .ipynb_checkpoints is with its copies."""
    return any(part.startswith(".") for part in path.parts)


def _listed(folder: Path, name: str) -> Path:
    """The picture that a list in the folder names, in the words of Windows too."""
    path = folder / name
    return folder / name.replace("\\", "/") if "\\" in name and not path.is_file() else path


def _label_dir(image_dir: Path) -> Path | None:
    """The folder called `labels` of a folder of pictures; None where that is not in `images`."""
    images = next((path for path in (image_dir, *image_dir.parents) if path.name == IMAGES), None)
    return images.with_name(LABELS) if images else None


def _swap(path: Path, old: str, new: str) -> Path:
    """The path with the last folder called `old` renamed."""
    parts = path.parts
    if old not in parts[:-1]:
        return path
    place = len(parts) - 2 - parts[:-1][::-1].index(old)
    return Path(*parts[:place], new, *parts[place + 1 :])
