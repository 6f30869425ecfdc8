"""Folders of label files, one a picture: DOTA, roLabelImg, VOC, HRSC2016, labelme, SODA-A; and the lists of splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from datasets.label_formats.annotations import (
    AS_RECTANGLE,
    ROLES,
    AnnotatedSet,
    Ledger,
    Picture,
    Row,
    Track,
    as_labels,
    files_in,
    is_unusable,
    name_fault,
    name_in_list,
    pictures_of,
    refuse_same_names,
    role_of,
    sound_rows,
    tell_apart,
    without_picture,
)
from datasets.label_formats.dota_folder import IMAGES, label_dir_in, names_of_val, parts_of
from datasets.label_formats.labelme import read_labelme
from datasets.label_formats.soda import read_soda
from datasets.label_formats.xml_labels import XML_FOLDERS, read_annotation, read_hrsc
from datasets.label_formats.yolo_folder import is_hidden, picture_in
from datasets.picture_files.image_folders import folders_of, may_be_one
from datasets.splits import list_folders
from DOTA_devkit.atomic import write_lines
from DOTA_devkit.labels import (
    HEADERS,
    IGNORED_CLASS,
    LabelError,
    Labels,
    OnBad,
    numbered_lines,
    read_class_names,
    read_labels,
    read_names,
    report_faults,
    write_labels,
)

CLASS_LIST = "classes.txt"
IMAGES_BESIDE = ("images", "Images", "JPEGImages")  # folders of pictures beside those of labels
# Of two lists with one picture the first counts: trainval, which holds both, must not take the pictures of val.
LIST_NAMES = ("train.txt", "val.txt", "valid.txt", "validation.txt", "trainval.txt", "test.txt")
LABEL_WORDS = 8  # the least on a label line
BLANKS = (
    "class names hold blanks, which this program reads and DOTA_devkit and mmrotate do not; for those rename them, as "
    "DOTA has storage-tank"
)
WIDE_ANGLES = "angles are beyond 2 pi: degrees? they were read as radians"


def read_dota_folder(src: Path, on_bad: OnBad = None, track: Track = iter) -> AnnotatedSet:
    """`labelTxt/*.txt` or `annfiles/*.txt`, also those in `train/`, `val/` and so on, which then are the splits; else
    the *.txt of the folder itself but for lists of names."""
    read = _of_file(read_labels)
    parts = [part for part in parts_of(src) if part != src and label_dir_in(part).is_dir()]
    if not parts:
        return _read_folder(src, (label_dir_in(src).relative_to(src),), ".txt", read, on_bad, track)
    pictures: list[Picture] = []
    for part in parts:
        label_dir = label_dir_in(part).relative_to(part)
        found, elsewhere = _read_folder(part, (label_dir,), ".txt", read, on_bad, track).pictures, names_of_val(part)
        pictures += [
            picture._replace(split=ROLES[part.name], path=picture_in(part / IMAGES, picture.name))
            for picture in found
            if picture.name not in elsewhere
        ]
    refuse_same_names((picture.name, f"{src}: {picture.path or picture.split}") for picture in pictures)
    return AnnotatedSet(pictures, _class_list(src))


def read_rolabelimg_folder(
    src: Path, on_bad: OnBad = None, track: Track = iter, changed: Counter[str] | None = None
) -> AnnotatedSet:
    """`xml/*.xml`, or those of another of `XML_FOLDERS`, or the *.xml of the folder itself, or of the folders in it;
    also VOC, whose `bndbox` is taken as labelImg writes it: no pixel is added or taken away, DIOR-R, FAIR1M and
    DroneVehicle. Angles beyond a full turn, and outlines of another number of corners than four, are counted in
    `changed`."""
    changed = Counter() if changed is None else changed

    def read(path: Path, report: OnBad) -> Picture:
        annotation = read_annotation(path, report)
        changed[WIDE_ANGLES] += len(annotation.wide_angles)
        if outlines := annotation.kinds.count("outline"):
            changed[AS_RECTANGLE] += outlines
        return Picture(path.stem, _sound(path, annotation.labels, report), hw=annotation.hw)

    return _read_folder(src, XML_FOLDERS, ".xml", read, on_bad, track, changed)


def read_hrsc_folder(src: Path, on_bad: OnBad = None, track: Track = iter) -> AnnotatedSet:
    """`Annotations/*.xml`, or the *.xml of the folder itself; the one class is `ship`."""
    return _read_folder(src, ("Annotations",), ".xml", _of_file(read_hrsc), on_bad, track)


def read_labelme_folder(
    src: Path, on_bad: OnBad = None, track: Track = iter, changed: Counter[str] | None = None
) -> AnnotatedSet:
    """The *.json of the folder itself, or of its `labels/`, or of the folders in it."""
    return _read_folder(
        src, ("labels",), ".json", lambda path, report: read_labelme(path, report, changed), on_bad, track, changed
    )


def read_soda_folder(
    src: Path, on_bad: OnBad = None, track: Track = iter, changed: Counter[str] | None = None
) -> AnnotatedSet:
    """SODA-A's `Annotations/*.json`, or the *.json of the folder itself, or of the folders in it."""
    class_names: dict[str, None] = {}

    def read(path: Path, report: OnBad) -> Picture:
        return read_soda(path, report, changed, class_names)

    annotated = _read_folder(src, ("Annotations",), ".json", read, on_bad, track, changed)
    return annotated._replace(class_names=annotated.class_names or tuple(class_names))


def write_dota(dst: Path, annotated: AnnotatedSet, ledger: Ledger) -> None:
    """Write `labelTxt/<name>.txt` for every picture; nothing is lost. Class names with blanks are counted, because
    others take what follows the blank for the difficult flag."""
    with_blanks = {name for picture in annotated.pictures for name in picture.labels.names if " " in name}
    if with_blanks:
        ledger.changed[BLANKS] += len(with_blanks)
    for picture in annotated.pictures:
        labels = picture.labels
        path = dst / "labelTxt" / f"{picture.name}.txt"
        write_labels(path, labels.quads, labels.names, labels.difficult, sync=False)


def write_lists(dst: Path, annotated: AnnotatedSet) -> None:
    """Write classes.txt, and train.txt, val.txt and test.txt where the pictures have such a split."""
    names = [name for name in annotated.class_names if name != IGNORED_CLASS]
    if names:
        write_lines(dst / CLASS_LIST, names)
    for split in sorted({picture.split for picture in annotated.pictures} - {""}):
        listed = [picture.name for picture in annotated.pictures if picture.split == split]
        write_lines(dst / f"{split}.txt", listed)


def _of_file(read: Callable[[Path, OnBad], Labels]) -> Callable[[Path, OnBad], Picture]:
    """A reader of labels as one of pictures, whose objects any format can hold."""
    return lambda path, on_bad: Picture(path.stem, _sound(path, read(path, on_bad), on_bad))


def _sound(path: Path, labels: Labels, on_bad: OnBad) -> Labels:
    """The objects that any format can hold; the others are reported."""
    if not any(map(name_fault, labels.names)):
        return labels
    faults: list[LabelError] = []
    rows = [Row(*values) for values in zip(*labels, strict=True)]
    rows = [row._replace(difficult=int(row.difficult), line=int(row.line)) for row in rows]
    labels = as_labels(sound_rows(path, rows, faults))
    report_faults(faults, on_bad)
    return labels


def _read_folder(
    src: Path,
    folders: Sequence[str | Path],
    suffix: str,
    read: Callable[[Path, OnBad], Picture],
    on_bad: OnBad,
    track: Track,
    changed: Counter[str] | None = None,
) -> AnnotatedSet:
    """The label files of a folder; where it holds none itself, those of the folders in it, of several cameras say."""
    label_dir = next((src / name for name in folders if (src / name).is_dir()), src)
    if not label_dir.is_dir():
        raise ValueError(f"{src}: no such folder of labels")
    paths = files_in(label_dir, suffix)
    if suffix == ".txt" and label_dir == src:
        paths = [path for path in paths if not _is_list(path)]
    is_nested = not paths and suffix != ".txt"
    if is_nested:
        paths = _files_below(label_dir, suffix)
    if not paths:
        raise ValueError(f"{label_dir}: holds no *{suffix}; is it the folder of the labels, and --from its format?")
    pictures, read_from, faults = [], [], []
    for path in track(paths):
        found: list[LabelError] = []
        try:
            picture = read(path, None if on_bad is None else found.append)
            if is_unusable(picture.labels, found):
                found.append(without_picture(path, found[0].line, picture.name))
            else:
                pictures.append(picture)
                read_from.append(path)
        except LabelError as error:
            if on_bad is None:
                raise
            found.append(error)
        faults += found
    for fault in faults:  # raised at once where nobody takes them
        on_bad(fault)
    if is_nested:
        pictures = _placed(src, label_dir, pictures, read_from, changed)
    refuse_same_names((picture.name, path) for picture, path in zip(pictures, read_from, strict=True))
    split_of = read_splits(src)
    places = [(*path.parent.relative_to(label_dir).parts, path.stem) for path in read_from]
    return AnnotatedSet(
        [
            picture._replace(split=split_of(place) or role_of(place[:-1]))
            for picture, place in zip(pictures, places, strict=True)
        ],
        _class_list(src),
    )


def _files_below(folder: Path, suffix: str) -> list[Path]:
    """The files of this suffix in the folders of a folder, at any depth, hidden ones left out."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() == suffix and path.is_file())
    return sorted(path for path in found if not is_hidden(path.relative_to(folder)))


def _placed(
    src: Path, label_dir: Path, pictures: Sequence[Picture], paths: Sequence[Path], changed: Counter[str] | None
) -> list[Picture]:
    """Pictures whose label files lie in folders of a folder, told apart by them; each picture lies beside its file, in
    a folder of the same name in images/, in images/ beside its folder or, if it has a name of its own, in `src`, or is
    looked for later."""
    have_own_names = len({path.stem for path in paths}) == len(paths)
    folders = [path.parent.relative_to(label_dir) for path in paths]
    placed = []
    for picture, path, folder in zip(pictures, paths, folders, strict=True):
        beside = [
            *(src / name / folder for name in IMAGES_BESIDE),
            *(path.parent.parent / name for name in IMAGES_BESIDE),
            *(src / name for name in IMAGES_BESIDE if have_own_names),
        ]
        near = (path.parent, pictures_of(path.parent), *beside)
        where = next(filter(None, (picture_in(place, path.stem) for place in near)), None)
        is_within = where is not None and where.is_relative_to(src)
        file_name = where.relative_to(src) if is_within else folder / (where.name if where else path.stem)
        placed.append(picture._replace(path=where, file_name=file_name.as_posix()))
    return tell_apart(placed, [folder.parts for folder in folders], src, Counter() if changed is None else changed)


def _class_list(src: Path) -> tuple[str, ...]:
    listed = src / CLASS_LIST
    is_there = listed.is_file() and _is_list(listed)
    return read_class_names(listed) if is_there else ()


def _is_list(path: Path) -> bool:
    """Whether a file beside label files lists names: it is called so, and does not begin like the labels of a picture
    that is called `test`, say."""
    if path.name not in (*LIST_NAMES, CLASS_LIST):
        return False
    first = next((line for _, line in numbered_lines(path, []) if line.strip()), "")
    return len(first.split()) < LABEL_WORDS and not first.strip().lower().startswith(HEADERS)


def read_splits(src: Path) -> Callable[[Sequence[str]], str]:
    """What gives the split of a picture by its place, folders and name without suffix: that of the lists in a data
    folder, "" where none names it; of two lists with one picture the first counts. Lists and places may name more or
    fewer of the folders."""
    listed: dict[str, list[tuple[list[str], str]]] = {}
    for folder in list_folders(src):
        for name in LIST_NAMES:
            path = folder / name
            if path.is_file() and _is_list(path):
                for entry, line in read_names(path).items():
                    # Whether shot.jpg is the picture's file, or its name, that of shot.jpg.png, the list does not tell.
                    for called in dict.fromkeys(name_in_list(path, line, entry, has) for has in (False, True)):
                        listed.setdefault(called, []).append((folders_of(entry), ROLES[path.stem]))
        if listed:
            break

    def split_of(place: Sequence[str]) -> str:
        *folders, stem = place
        for told, split in listed.get(stem, listed.get(stem.strip(), ())):
            if may_be_one(told, folders):
                return split
        return ""

    return split_of
