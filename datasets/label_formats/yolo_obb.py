"""Ultralytics' YOLO OBB: a line `class x1 y1 x2 y2 x3 y3 x4 y4` an object, read and written.

`class` is a number that data.yaml names; corners are fractions of the picture's width and height.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from datasets.label_formats.annotations import (
    AnnotatedSet,
    Ledger,
    Picture,
    Row,
    Track,
    as_labels,
    is_unusable,
    outline_to_quad,
    sound_rows,
    tell_apart,
    without_picture,
)
from datasets.label_formats.data_yaml import FILE_NAME, write_data_yaml
from datasets.label_formats.yolo_folder import class_names_of, label_of, open_yolo, picture_of
from datasets.picture_files.image_folders import folders_of
from datasets.picture_files.image_sizes import read_header
from datasets.picture_files.images import ImageError
from DOTA_devkit.atomic import atomic_write
from DOTA_devkit.boxes import order_clockwise
from DOTA_devkit.clipping import clip_quads
from DOTA_devkit.labels import (
    BAD_LABEL,
    IGNORED_CLASS,
    NO_LABELS,
    LabelError,
    LabelFault,
    Labels,
    OnBad,
    geometry_faults,
    numbered_lines,
    report_faults,
)

ROUNDING = 1e-12  # of a picture's side
FARTHEST_FRACTION = 10.0  # picture sizes; what lies beyond was given in pixels
NO_PICTURE = "has no picture of this name in the folder images in place of labels; add it or remove the file"
IGNORED = "ignore regions (DontCare, difficult 2), which YOLO cannot hold; --drop_ignored leaves them out as asked"
DROPPED = "ignore regions (DontCare, difficult 2) were left out, as asked"
DIFFICULT = "difficult objects became normal ones, because YOLO has no such flag"
OUTSIDE = "objects of which their picture shows nothing, which Ultralytics does not take"
CUT = (
    "objects were cut to what their picture shows, because Ultralytics passes over a picture, with all its objects, "
    "for an outer box that is larger than it or has its middle outside"
)
UNLISTED = "pictures of no split lie in images/rest, which data.yaml does not name"
NO_TEST = "entries of data.yaml for test pictures were passed over, such as {}, which is not there"
UNLABELLED = "pictures without a label file were taken as pictures without objects, as Ultralytics takes them"
NO_SPLIT = "no split is known: val repeats train; tools.split_train_val makes one"


HORIZONTAL = "horizontal boxes of YOLO detection became boxes with upright sides"
SCORED = "scores of YOLO predictions were left out"


def read_yolo_obb(
    path: Path,
    on_bad: OnBad = None,
    class_names: Sequence[str] | None = None,
    changed: Counter[str] | None = None,
) -> Labels:
    """Objects of a label file, quads (N, 4, 2) in pixels of its picture, which must lie where Ultralytics looks for it:
    in `images` in place of `labels`. Names are `class_names`, those of the data.yaml that led to the file; without
    them those of the data.yaml, else of the classes.txt, in the folder of `labels`. With `changed` Ultralytics' other
    labels and its predictions are read too, and counted there: horizontal boxes, outlines, a score at the end.

    Raises LabelError for a line that cannot be used, or reports to `on_bad` and leaves it out; raises it in any case
    where the size of the picture or the class names are not to be had.
    """
    faults: list[LabelError] = []
    rows: list[Row] = []
    lines = _lines(path, faults)
    labels = NO_LABELS
    if lines:
        height, width = _stored_size(path)
        class_names = class_names or class_names_of(path)
        for number, words in lines:
            try:
                quad, name = _parse(words, class_names, (width, height), changed)
            except LabelFault as fault:
                faults.append(fault.at(path, number))
                continue
            rows.append(Row(quad, name, 0, number))
        labels = as_labels(sound_rows(path, rows, faults))
    report_faults(faults, on_bad)
    return labels


def read_yolo_folder(
    data_dir: Path, on_bad: OnBad = None, track: Track = iter, changed: Counter[str] | None = None
) -> AnnotatedSet:
    """All pictures of a folder, those without a label file as pictures without objects, as Ultralytics takes them;
    label files without a picture are faults. Folders of test pictures that are missing, and pictures without a label
    file, are counted in `changed`. Raises ValueError where no picture has one."""
    folder = open_yolo(data_dir, by_path=True)
    if folder.missing and changed is not None:
        changed[NO_TEST.format(folder.missing[0])] += len(folder.missing)
    split_of = {key: split for split in reversed(folder.splits) for key in folder.splits[split]}
    pictures, unlabelled = [], []
    faults = [LabelError(path, 1, NO_PICTURE) for path in folder.labels_without_picture()]
    for key, path in track(list(folder.images.items())):
        label_path, found = label_of(path), []
        try:
            labels = NO_LABELS
            if label_path.exists():
                labels = read_yolo_obb(label_path, on_bad and found.append, folder.class_names, changed)
            else:
                unlabelled.append(label_path)
        except LabelError as error:
            faults.append(error)
            continue
        faults += found
        if is_unusable(labels, found):
            faults.append(without_picture(label_path, found[0].line, path.stem))
            continue
        pictures.append(Picture(path.stem, labels, path.name, None, split_of.get(key, ""), path))
    if unlabelled and len(unlabelled) == len(folder.images):
        raise ValueError(
            f"{data_dir}: none of the {len(unlabelled)} pictures has a label file, such as {unlabelled[0]}"
        )
    if changed is not None:
        changed[UNLABELLED] += len(unlabelled)
    report_faults(faults, on_bad)
    folders = [folders_of(str(picture.path)) for picture in pictures]
    return AnnotatedSet(
        tell_apart(pictures, folders, data_dir, Counter() if changed is None else changed), folder.class_names
    )


def keep_holdable(annotated: AnnotatedSet, ledger: Ledger, drop_ignored: bool = False) -> AnnotatedSet:
    """The set without what YOLO cannot hold: ignore regions, left out as asked if `drop_ignored`, and objects outside
    their picture; those that reach too far out of it are cut. Difficult objects stay, as normal ones. Pictures must
    know their size."""
    pictures = [picture._replace(labels=_holdable(picture, ledger, drop_ignored)) for picture in annotated.pictures]
    return annotated._replace(pictures=pictures)


def write_yolo_obb(dst: Path, annotated: AnnotatedSet, ledger: Ledger) -> None:
    """Write `labels/<split>/<name>.txt` and `data.yaml` of what `keep_holdable` has left. Reading gives the same
    pixels, to the last bit where fractions can."""
    folder_of = _folders_of_splits(annotated)
    class_names = [name for name in annotated.class_names if name != IGNORED_CLASS]
    numbers = {name: number for number, name in enumerate(class_names)}
    for picture in annotated.pictures:
        height, width = picture.hw
        with atomic_write(dst / "labels" / folder_of[picture.split] / f"{picture.name}.txt", sync=False) as file:
            for quad, name in zip(picture.labels.quads.tolist(), picture.labels.names, strict=True):
                words = [f"{_fraction(x, width)} {_fraction(y, height)}" for x, y in quad]
                file.write(f"{numbers[name]} {' '.join(words)}\n")
    if len(folder_of) > 1 and "" in folder_of:
        ledger.changed[UNLISTED] += sum(picture.split == "" for picture in annotated.pictures)
    folders = {split: f"images/{split}" for split in ("train", "val", "test") if split in folder_of.values()}
    remarks = [
        "YOLO OBB: labels/<split>/<picture>.txt, one object a line: class x1 y1 x2 y2 x3 y3 x4 y4,",
        "corners as fractions of the picture's width and height.",
    ]
    if "val" not in folders:
        remarks.append(NO_SPLIT if len(folders) == 1 else "no val is known: it repeats another split")
        folders["val"] = folders.get("test") or folders.get("train", "images/train")
    folders.setdefault("train", folders["val"])
    write_data_yaml(dst / FILE_NAME, class_names, {key: folders[key] for key in sorted(folders, key=_order)}, remarks)


def yolo_image_folder(annotated: AnnotatedSet) -> Callable[[Picture], str]:
    """Where `write_yolo_obb` expects each of the pictures, below the data folder."""
    folder_of = _folders_of_splits(annotated)
    return lambda picture: f"images/{folder_of[picture.split]}"


def _folders_of_splits(annotated: AnnotatedSet) -> dict[str, str]:
    splits = {picture.split for picture in annotated.pictures}
    return {split: split or ("rest" if len(splits) > 1 else "train") for split in splits}


def _order(split: str) -> int:
    return ("train", "val", "test").index(split)


def _lines(path: Path, faults: list[LabelError]) -> list[tuple[int, list[str]]]:
    try:
        return [(number, line.split()) for number, line in numbered_lines(path, faults) if line.strip()]
    except OSError as error:
        raise LabelError(path, 1, f"cannot be read ({error.strerror or error}); check the path") from error


def _stored_size(label_path: Path) -> tuple[int, int]:
    """Height and width of the picture of a label file. Raises LabelError where they are not to be had."""
    picture = picture_of(label_path)
    if picture is None:
        raise LabelError(label_path, 1, NO_PICTURE)
    try:
        header = read_header(picture)
    except ImageError as error:
        raise LabelError(label_path, 1, f"the size of its picture is not to be had: {error}") from error
    if header.orientation not in (0, 1):
        why = f"its picture {picture.name} is turned by EXIF (orientation {header.orientation}), but read as stored"
        raise LabelError(label_path, 1, f"{why}; save the picture upright")
    return header.height, header.width


def _parse(
    words: list[str], class_names: Sequence[str], size: tuple[int, int], changed: Counter[str] | None
) -> tuple[np.ndarray, str]:
    """Corners (4, 2) in pixels of a picture of size (width, height), and the class name. Raises ValueError with what is
    wrong and what to do."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        reason = "a word is not a number; a line is: class x1 y1 x2 y2 x3 y3 x4 y4"
        raise LabelFault("not-a-number", reason) from None
    kind = _KINDS.get(len(values), "outline of YOLO segmentation" if len(values) % 2 and len(values) > 6 else None)
    if len(values) != 9 and (kind is None or changed is None):
        why = f"{len(values)} numbers{f' (a {kind})'.replace('a outline', 'an outline') if kind else ''}"
        remedy = "write class x1 y1 x2 y2 x3 y3 x4 y4"
        remedy += "" if kind is None else ", or convert all with tools.convert_labels --from yolo_obb --to dota"
        raise LabelFault(BAD_LABEL, f"{why}, where an oriented box has 9; {remedy}")
    if kind is not None and len(values) % 2 == 0:
        changed[SCORED] += 1
        values.pop()
    number, corners = values[0], np.array(values[1:]).reshape(-1, 2)
    if len(values) == 5:
        changed[HORIZONTAL] += 1
        corners = corners[0] + corners[1] * _CORNERS
    if not (np.isfinite(number) and number % 1 == 0 and 0 <= number < len(class_names)):
        reason = f"class {words[0]} has no name; data.yaml names 0 to {len(class_names) - 1}; correct one of them"
        raise LabelFault(BAD_LABEL, reason)
    if not (np.abs(corners) <= FARTHEST_FRACTION).all():  # nor is NaN
        reason = "a corner is no fraction of the picture's size; divide pixels by its width and height"
        raise LabelFault(BAD_LABEL, reason)
    corners = corners * size
    return corners if len(corners) == 4 else outline_to_quad(corners.tolist(), changed), class_names[int(number)]


_KINDS = {
    5: "horizontal box of YOLO detection",
    6: "horizontal box of YOLO detection, and its score",
    10: "box with its score, as Ultralytics predicts it",
}
_CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])  # of a box from its middle, in its sides


def _holdable(picture: Picture, ledger: Ledger, drop_ignored: bool) -> Labels:
    """The objects that YOLO can hold, as normal ones; the others and the flags that get lost go to the ledger."""
    labels = picture.labels
    counts = Counter({DROPPED if drop_ignored else IGNORED: int(labels.ignored.sum())})
    labels = labels.at(np.flatnonzero(~labels.ignored))
    quads, fits = _fitting(labels.quads, picture.hw)
    counts[OUTSIDE] = int((~fits).sum())
    counts[CUT] = int((quads != labels.quads).any(axis=(1, 2))[fits].sum())
    labels = labels._replace(quads=quads).at(np.flatnonzero(fits))
    counts[DIFFICULT] = int((labels.difficult == 1).sum())
    for sentence, count in (+counts).items():
        (ledger.left_out if sentence in (IGNORED, OUTSIDE) else ledger.changed)[sentence] += count
    return labels._replace(difficult=np.zeros(len(labels.names), np.int64))


def _fitting(quads: np.ndarray, hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Quads (N, 4, 2) as Ultralytics takes them, and which of them it does (N,) bool.

    What it takes as it is, stays. Another becomes the smallest rectangle around what the picture of (height, width)
    shows of it, shortened where that is turned and reaches too far out again.
    """
    quads, side = quads.copy(), np.array(hw[::-1], np.float64)
    bad = np.flatnonzero(~_is_taken(quads, side))
    pieces, visible = clip_quads(quads[bad], 0, 0, *side)
    far = (visible > 0) & ~_is_taken(pieces, side)
    pieces[far] = _shortened(pieces[far], side)
    fits = np.ones(len(quads), bool)
    fits[bad] = visible > 0
    quads[bad] = pieces
    fits[bad[[*geometry_faults(pieces)]]] = False  # a sliver without area
    return quads, fits


def _shortened(rectangles: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Rectangles (N, 4, 2), centred in the picture or nearly so, with an outer box no larger than it: the longer side
    becomes shorter than it is, and where it would become the shorter one, both do."""
    centre = rectangles.mean(axis=1).clip(0, side)
    halves = (rectangles[:, [1, 3]] - rectangles[:, :1]) / 2
    order = np.argsort(-np.hypot(halves[..., 0], halves[..., 1]), axis=1)
    long, short = np.take_along_axis(halves, order[..., None], axis=1).swapaxes(0, 1)
    room = side * (0.5 - ROUNDING)
    with np.errstate(divide="ignore"):
        factor = ((room - np.abs(short)) / np.abs(long)).min(axis=1)
        both = (room / (np.abs(long) + np.abs(short))).min(axis=1)
    is_long = factor * np.hypot(*long.T) >= np.hypot(*short.T)
    long = long * np.minimum(np.where(is_long, factor, both), 1)[:, None]
    short = short * np.where(is_long, 1, np.minimum(both, 1))[:, None]
    corners = np.stack([-long - short, long - short, long + short, short - long], axis=1)
    return order_clockwise(centre[:, None] + corners)


def _is_taken(quads: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Whether centre and size of the outer box lie within 0 and 1 (N,): `verify_image_label` of Ultralytics' data/utils
    refuses a picture for one that does not. Since 2025 it allows a hundredth more; releases before do not."""
    low, high = quads.min(axis=1), quads.max(axis=1)
    centre = (low + high) / 2 / side
    # By either order of the operations, for the last bit decides where a box is as large as its picture.
    is_small = ((high - low) / side <= 1) & (high / side - low / side <= 1)
    return ((centre >= 0) & (centre <= 1) & is_small).all(axis=1)


def _fraction(pixel: float, side: int) -> str:
    """The shortest number from six digits on that times `side` is `pixel` again, or else the nearest one.

    So numbers that came from YOLO files are found again, and what was written once is written the same for ever.
    """
    fraction = pixel / side
    for digits in range(6, 18):
        text = f"{fraction:.{digits}g}"
        if float(text) * side == pixel:
            return text
    return repr(fraction).removesuffix(".0")
