"""Where the pictures of an annotated set lie, and how large they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from datasets.label_formats.annotations import (
    AnnotatedSet,
    Ledger,
    Picture,
    Track,
    pictures_of,
    refuse_same_names,
    role_of,
)
from datasets.label_formats.label_folders import read_splits
from datasets.label_formats.yolo_folder import picture_in
from datasets.picture_files.image_folders import find_images, last_part
from datasets.picture_files.image_sizes import read_header, turned_size
from datasets.picture_files.images import ImageError
from DOTA_devkit.labels import LabelError
from DOTA_devkit.names import spelling_in, spellings

PICTURE_FOLDERS = (*("images", "Images", "AllImages", "JPEGImages", "JPEGImages-trainval", "JPEGImages-test"), "")
NOT_FOUND = "pictures were not found, such as {}; name their folder with --images"
NOT_ASKED_FOR = "pictures that are not in --images were left out, with what was found in them"
TURNED = "is turned by EXIF (orientation {}), but read as stored, and others turn it; save it upright"
UNLABELLED = "pictures without a label file, not taken; --unlabelled empty takes them as pictures without objects"
AS_EMPTY = "pictures without a label file were taken as pictures without objects, as asked"
TAKEN_FOR_EMPTY = "pictures without an outline were taken as ones without objects; --unlabelled leave_out drops them"
EMPTY_LEFT_OUT = "pictures without an outline were left out, as asked"
OTHER_SIZE = "pictures have another size than their labels say; were they resized? objects may lie elsewhere in them"


def locate_pictures(
    annotated: AnnotatedSet,
    src: Path,
    images: Path | Mapping[str, Path] | None,
    ledger: Ledger,
    are_needed: bool = False,
) -> AnnotatedSet:
    """The set with the paths of its pictures, as far as they are found: in the folder `images` or, by their names,
    among these, else beside the labels. Others are counted, as left out where `are_needed`.

    A picture that the labels name with a folder is looked for in that folder first. Raises ImageError for a folder
    `images` that is not there, or pictures in it that differ in their suffix only.
    """
    if all(picture.path for picture in annotated.pictures):
        return annotated
    if isinstance(images, Mapping):
        located = [_placed(picture, picture.path or _named(images, picture)) for picture in annotated.pictures]
        _tell_of_missing(located, ledger, are_needed)
        return annotated._replace(pictures=located)
    if images is not None and not images.is_dir():
        raise ImageError(f"{images}: no such folder of pictures")
    folders = list(_likely_folders(images or src, beside=images is None))
    are_predictions = any(picture.scores is not None for picture in annotated.pictures)
    by_name = _pictures_in(folders, skips_previews=are_predictions)
    located = []
    for picture in annotated.pictures:
        named = (_below(folder, picture.file_name) for folder in folders if picture.file_name)
        path = picture.path or next((found for found in map(_file_at, filter(None, named)) if found), None)
        located.append(_placed(picture, path or _named(by_name, picture)))
    _tell_of_missing(located, ledger, are_needed)
    return annotated._replace(pictures=located)


def predicted_pictures(place: Path) -> dict[str, Path]:
    """The pictures by name that predictions may be of, in a folder or where such a folder mostly has them. Raises
    ImageError for pictures in a folder that differ in their suffix only."""
    return _pictures_in(list(_likely_folders(place, beside=False)), skips_previews=True)


def add_unlabelled(
    annotated: AnnotatedSet, src: Path, images: Path | Mapping[str, Path] | None, ledger: Ledger, how: str | None
) -> AnnotatedSet:
    """Of labels that lie in a file for each picture: the set with the pictures beside its own, or among `images`, that
    have no such file, where `how` is "empty"; "leave_out" leaves them out as asked, None unasked (but for `images`,
    which may hold more than was labelled). All are counted, but for those whose file is there and cannot be read."""
    try:
        located = locate_pictures(annotated, src, images, Ledger()).pictures
        by_folder: dict[Path, list[Picture]] = {}
        for picture in located:
            if picture.path:
                by_folder.setdefault(picture.path.parent, []).append(picture)
        if isinstance(images, Mapping):
            others = list(images.values())
        else:
            others = [path for folder in sorted(by_folder) for path in find_images(folder).values()]
    except ImageError:  # pictures of one name, for instance, which is told of where they are needed
        return annotated
    known = {picture.path for picture in located}
    others = [path for path in others if path not in known]
    num_called = Counter(path.stem for path in (*filter(None, known), *others))
    faulty: dict[str, set[str]] = {}
    for fault in ledger.faults:
        for spelt in spellings(fault.path.stem):
            faulty.setdefault(spelt, set()).add(fault.path.parent.name)

    def is_faulty(path: Path) -> bool:
        """Whether its label file is there and cannot be used; of pictures of one name the folder tells which."""
        folders = faulty.get(path.stem, ())
        return bool(folders) and (num_called[path.stem] == 1 or path.parent.name in folders)

    others = [path for path in others if not is_faulty(path)]
    if how != "empty":
        is_asked = how is not None or images is not None
        (ledger.changed if is_asked else ledger.left_out)[UNLABELLED] += len(others)
        return annotated
    split_of = read_splits(src)
    empty = [_without_objects(path, src, by_folder.get(path.parent, ()), split_of) for path in others]
    refuse_same_names((picture.name, picture.path) for picture in (*located, *empty))
    ledger.changed[AS_EMPTY] += len(others)
    return annotated._replace(pictures=[*annotated.pictures, *empty])


def settle_empty(annotated: AnnotatedSet, ledger: Ledger, how: str | None) -> AnnotatedSet:
    """Of labels that do not tell which pictures were looked through: the set without those that have no object, where
    `how` is "leave_out"; else these are told of, unless `how` is "empty"."""
    if how == "leave_out":
        kept = [picture for picture in annotated.pictures if picture.labels.names]
        ledger.changed[EMPTY_LEFT_OUT] += len(annotated.pictures) - len(kept)
        return annotated._replace(pictures=kept)
    if how is None:
        ledger.changed[TAKEN_FOR_EMPTY] += sum(not picture.labels.names for picture in annotated.pictures)
    return annotated


def _without_objects(
    path: Path, src: Path, beside: Sequence[Picture], split_of: Callable[[Sequence[str]], str]
) -> Picture:
    """A picture that is called as those beside it are, in the split that a list gives it, or a folder of `src`."""
    first = next(iter(beside), None)
    prefix = first.name.removesuffix(first.path.stem) if first and first.path else ""
    of_folder = role_of(path.parent.relative_to(src).parts) if path.is_relative_to(src) else ""
    return Picture(f"{prefix}{path.stem}", split=split_of((*path.parent.parts, path.stem)) or of_folder, path=path)


def keep_located(annotated: AnnotatedSet, images: Path | Mapping[str, Path], ledger: Ledger) -> AnnotatedSet:
    """The set of predictions with only the pictures that lie in the folder `images`, or are among these, and their
    paths: of a video the frames that were extracted. Raises ValueError where none is there."""
    located = locate_pictures(annotated, Path(), images, Ledger()).pictures
    kept = [picture for picture in located if picture.path]
    if located and not kept:
        raise ValueError(
            f"--images: none of the {len(located)} pictures is there, such as {located[0].name}; results of a pattern "
            "may call them by folder and name, and need that pattern"
        )
    ledger.changed[NOT_ASKED_FOR] += len(located) - len(kept)
    return annotated._replace(pictures=kept)


def refuse_turned(
    annotated: AnnotatedSet,
    src: Path,
    images: Path | Mapping[str, Path] | None,
    ledger: Ledger,
    by_size: bool = False,
) -> AnnotatedSet:
    """The set without pictures that EXIF turns, each of them a fault: of labels drawn in a program that shows pictures
    turned (labelme, CVAT, labelImg), as far as the pictures are found. `by_size`, of labels of any program, only those
    of which the labels tell the size that they have when turned."""
    if by_size and not any(picture.hw for picture in annotated.pictures):
        return annotated
    try:
        located = locate_pictures(annotated, src, images, Ledger())
    except ImageError:  # pictures of one name, for instance, which is told of where they are needed
        return annotated
    kept = []
    for picture, found in zip(annotated.pictures, located.pictures, strict=True):
        orientation = 1
        if by_size and found.path:
            orientation = turned_size(found.path, picture.hw)
        elif found.path:
            with suppress(ImageError):  # what cannot be read is told of where it is needed
                orientation = read_header(found.path).orientation
        if orientation > 1:
            ledger.faults.append(LabelError(found.path, 1, TURNED.format(orientation)))
        else:
            kept.append(picture)
    return annotated._replace(pictures=kept)


def count_other_sizes(
    annotated: AnnotatedSet, src: Path, images: Path | Mapping[str, Path] | None, ledger: Ledger, track: Track
) -> None:
    """Count the pictures that have another size than their labels say, as far as they are found and can be read: for a
    format that tells no size, whose pictures need not be there."""
    if not any(picture.hw for picture in annotated.pictures):
        return
    with suppress(ImageError):  # pictures of one name, for instance, which is told of where they are needed
        for picture in track(locate_pictures(annotated, src, images, Ledger()).pictures):
            with suppress(ImageError):
                if picture.path and picture.hw:
                    header = read_header(picture.path)
                    ledger.changed[OTHER_SIZE] += (header.height, header.width) != picture.hw


def measure_pictures(
    annotated: AnnotatedSet, ledger: Ledger, track: Track, is_needed: bool, turns: bool = False
) -> AnnotatedSet:
    """The set with the sizes of its pictures by their headers, else as the labels tell. Where a size `is_needed`, a
    picture without one is a fault and left out; there, and where the program they go to `turns` pictures, also one that
    EXIF turns."""
    measured: list[Picture] = []
    for picture in track(annotated.pictures):
        hw = picture.hw
        is_turned = False
        try:
            if picture.path:
                header = read_header(picture.path)
                hw = (header.height, header.width)
                is_turned = (is_needed or turns) and header.orientation > 1
                if is_turned:
                    raise ImageError(f"{picture.path}: {TURNED.format(header.orientation)}")
        except ImageError as error:
            ledger.faults.append(LabelError(picture.path, 1, str(error).removeprefix(f"{picture.path}: ")))
            if is_needed or is_turned:
                continue
            picture = picture._replace(path=None)  # what is no picture is not copied either
        ledger.changed[OTHER_SIZE] += None not in (hw, picture.hw) and hw != picture.hw
        if hw is None and is_needed:
            why = "the size of the picture is not known, and fractions of it are to be written; give --images"
            ledger.faults.append(LabelError(Path(picture.file_name or picture.name), 1, why))
            continue
        measured.append(picture._replace(hw=hw))
    return annotated._replace(pictures=measured)


def _named(images: Mapping[str, Path], picture: Picture) -> Path | None:
    whole = last_part(picture.file_name or "")
    known = spelling_in(images, whole) if _is_cut(picture.name, whole) else None
    return images.get(known or spelling_in(images, picture.name))


def _placed(picture: Picture, path: Path | None) -> Picture:
    """The picture with its place; where that is shot.jpg.png for shot.jpg, it has not been told by its suffix, but by
    its whole name, which it gets back."""
    whole = last_part(picture.file_name or "")
    is_whole = path is not None and _is_cut(picture.name, whole) and path.stem in spellings(whole)
    return picture._replace(path=path, name=path.stem if is_whole else picture.name)


def _is_cut(name: str, whole: str) -> bool:
    """Whether a name is a whole one without its suffix."""
    return name != whole and name == whole.rpartition(".")[0]


def _tell_of_missing(located: Sequence[Picture], ledger: Ledger, are_needed: bool) -> None:
    missing = [picture for picture in located if picture.path is None]
    if missing:
        sentence = NOT_FOUND.format(missing[0].file_name or missing[0].name)
        ledger.changed.pop(sentence, None)  # of a look at them before
        (ledger.left_out if are_needed else ledger.changed)[sentence] = len(missing)


def _file_at(path: Path) -> Path | None:
    """The file, or the picture that is called so but for its suffix."""
    return path if path.is_file() else picture_in(path.parent, path.name)


def _below(folder: Path, file_name: str) -> Path | None:
    """The path in the folder; None for one outside of it: labels of strangers may name ../secret or /etc/passwd."""
    told = Path(file_name.replace("\\", "/"))
    path = folder / told
    return path if ".." not in told.parts and path.is_relative_to(folder) else None


def _pictures_in(folders: Sequence[Path], skips_previews: bool) -> dict[str, Path]:
    """The pictures in all of the folders, by name; of one name that in the first of them."""
    found = (find_images(folder, skips_previews=skips_previews) for folder in reversed(folders))
    return {name: path for images in found for name, path in images.items()}


def _likely_folders(place: Path, beside: bool) -> Iterator[Path]:
    """Folders that may hold pictures, the likeliest first: at a folder or file, and `beside` it."""
    base = place if place.is_dir() else place.parent
    yield from (base / name for name in PICTURE_FOLDERS if (base / name).is_dir())
    if beside:
        yield from (base.parent / name for name in PICTURE_FOLDERS[:-1] if (base.parent / name).is_dir())
        if (twin := pictures_of(base)) != base and twin.is_dir():
            yield twin
