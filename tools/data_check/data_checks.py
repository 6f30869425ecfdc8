"""What can be wrong with annotations: the kinds of finding, and the checks of objects, which know no files."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from datasets.letterbox import letterbox_scale
from datasets.training_set import MIN_SIDE
from DOTA_devkit.boxes import quads_to_boxes, signed_area
from DOTA_devkit.iou import SCRATCH, prepare, shapes_iou
from DOTA_devkit.jit import njit
from DOTA_devkit.labels import BAD_LABEL

DUPLICATE_IOU = 0.95  # two objects of a class that overlap by more are one, drawn twice
OVERHANG = 1.0  # pixels that a corner may lie beyond the border: coordinates are rounded by some tools
UNIT_SQUARE = 1.5  # a picture whose every coordinate is below is labelled from 0 to 1, not in pixels
LARGE_SCALE = 0.5  # a picture that is shrunk more than this loses its small objects
HORIZONTAL_SHARE = 0.95  # above this share of horizontal boxes a network hardly learns to turn them
FEW_OBJECTS = 10  # of a class to train on, in a set of ten times as many and more
MIN_BOXES_FOR_SHARE = 20  # below, the share of horizontal boxes tells nothing
LABELTXT = ("dota", "demo")  # formats whose label files are labelTxt
LISTED = 500  # findings of a kind that are kept; all are counted


class Kind(NamedTuple):
    """A kind of finding: `error` stops training or teaches what is wrong, `warning` costs accuracy, `note` is good to
    know. title: what it is, in a few words. remedy: what to do."""

    severity: str
    title: str
    remedy: str


KINDS = {
    "unreadable-picture": Kind("error", "unreadable picture", "copy it again, or remove it and its labels"),
    "same-name": Kind("error", "pictures of one name", "rename one: labels name a picture without its suffix"),
    "bad-name": Kind("error", "name that no list can hold", "rename the picture and its labels; --fix leaves it out"),
    "no-labels": Kind(
        "error",
        "picture without labels",
        "write an empty file where there are no objects, or train with --missing_labels empty",
    ),
    "bad-list": Kind("error", "list names no picture", "correct or remove the line, or add the picture"),
    "no-list": Kind("error", "list missing", "write it (tools.split_train_val does), or name another --lists folder"),
    "unfinished-tiles": Kind(
        "error", "tiles not finished", "run tools.split_tiles again with the same flags: it goes on"
    ),
    "both-lists": Kind("error", "picture in both lists", "keep it in one: what is trained on cannot be scored on"),
    "nothing-labelled": Kind("error", "no label file", "put the label files where the format has them"),
    "unknown-class": Kind("error", "unknown class", "correct the name, or name all classes in classes.txt"),
    "short-line": Kind("error", "line too short", "give x and y of four corners, a class name and the flag"),
    "not-a-number": Kind("error", "not a number", "correct the value; blanks separate, and a point starts decimals"),
    "not-finite": Kind("error", "NaN, infinite or far too large", "draw the box again or remove the line"),
    "zero-area": Kind("error", "no area", "draw the box again or remove the line"),
    "self-crossing": Kind("error", "crosses itself", "give the corners in their order; in DOTA's form --fix does"),
    "no-class": Kind("error", "no class name", "add the name after the eight numbers"),
    "bad-flag": Kind("error", "unknown difficult flag", "0 is normal, 1 difficult, 2 an ignore region"),
    "encoding": Kind("error", "not UTF-8", "save the file as UTF-8"),
    "no-box": Kind("error", "object without a box", "draw the box again, or remove the object"),
    "two-boxes": Kind("error", "two boxes in one object", "give each an object of its own"),
    BAD_LABEL: Kind("error", "unusable label", "correct it or remove it"),
    "normalised": Kind(
        "error", "coordinates from 0 to 1", "labels are in pixels; tools.convert_labels reads YOLO's form"
    ),
    "degrees": Kind("error", "angle in degrees?", "roLabelImg's angle is in radians: multiply by pi / 180"),
    "outside": Kind("warning", "outside the picture", "remove it, or find the picture that it belongs to; --fix drops"),
    "far-outside": Kind(
        "warning", "reaches far beyond the border", "correct its corners: it ends farther out than the picture is long"
    ),
    "duplicate": Kind("warning", "drawn twice", "remove one of the two; --fix removes this one"),
    "too-small": Kind(
        "warning", "too small for the network", "is ignored in training; cut tiles, or raise --input_h and --input_w"
    ),
    "too-many": Kind("warning", "more objects than --K", "raise --K, or cut the picture into tiles"),
    "large-picture": Kind(
        "warning", "far larger than the input", "tools.split_tiles cuts it, else small objects vanish"
    ),
    "turned-picture": Kind(
        "warning",
        "picture turned by EXIF",
        "most programs show it turned, and labels drawn there do not fit; save it upright and look at its labels",
    ),
    "dead-link": Kind("warning", "link that leads nowhere", "mend the link, or copy the picture; it is never read"),
    "unlisted-picture": Kind(
        "warning", "picture in no split", "name its folder in data.yaml, or move it to one; it is never read"
    ),
    "unread-folder": Kind(
        "warning",
        "folder of pictures that is not read",
        "move its pictures to images/, or to images/ of train/, val/ or test/, and the labels likewise",
    ),
    "no-picture": Kind("warning", "labels without picture", "find the picture or remove the file; it is never read"),
    "no-test": Kind("warning", "test pictures missing", "copy them there, or remove the entry; training needs none"),
    "near-duplicate-lists": Kind(
        "warning",
        "near-twin in the other list",
        "tools.split_train_val --near_duplicates keeps twins together",
    ),
    "shared-ground": Kind(
        "warning",
        "ground of a picture in the other list",
        "tools.split_train_val keeps tiles of a picture together, --group_by_ground pictures that overlap on the map",
    ),
    "alike-classes": Kind(
        "warning", "classes spelt alike", "one class? tools.convert_labels --rename OLD=NEW makes them one"
    ),
    "horizontal": Kind(
        "warning", "boxes are horizontal", "draw them along the objects; the network learns what it is shown"
    ),
    "class-in-one-list": Kind("warning", "class in one list only", "tools.split_train_val splits by class"),
    "near-duplicate": Kind("note", "near-twin pictures", "few lessons are in the second; remove it or keep it"),
    "partly-outside": Kind("note", "reaches beyond the border", "is usual for cut objects; training clips it"),
    "other-size": Kind("note", "size of another picture", "is not used here; other tools may scale boxes by it"),
    "counter-clockwise": Kind("note", "counter-clockwise", "is understood here, but not by every tool; --fix turns it"),
    "unused-class": Kind("note", "class without objects", "remove it from classes.txt, or label some"),
    "taken-for-empty": Kind(
        "note", "picture without a label file", "is one without objects in this form; is its file lost?"
    ),
    "few-objects": Kind("note", "class of few objects", "little is learnt from so few; label more of them"),
    "other-text": Kind("note", "text that is no list", "is not copied by --fix; correct it if it should be a list"),
    "not-looked": Kind("note", "not looked for", "the flag named makes it so"),
}


class Finding(NamedTuple):
    """One thing that is wrong, of a picture (`picture` is its name) or of none (""). line: from 1, 0 for a whole file.
    badness: the higher the worse, among findings of its kind. other: the name of a second picture, "" for none."""

    kind: str
    picture: str
    path: str
    line: int
    what: str
    badness: float = 0.0
    other: str = ""

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


class Flagged(NamedTuple):
    """Objects of which something is wrong: all counted, the worst told. worst: (row, what, badness)."""

    kind: str
    count: int
    worst: list[tuple[int, str, float]]


class Objects(NamedTuple):
    """Objects of several pictures. quads (N, 4, 2) in pixels; labels (N,): a number for each class name; ignored (N,)
    bool: ignore regions; difficult (N,): their flags, 0, 1 or 2; owner (N,), rising: the number of the picture; sizes
    (P, 2): height and width of the pictures, NaN where unknown."""

    quads: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray
    difficult: np.ndarray
    owner: np.ndarray
    sizes: np.ndarray


def check_objects(objects: Objects, input_hw: tuple[int, int]) -> list[Flagged]:
    """What is wrong with objects that could be read; rows are those of `objects`."""
    quads, owner = objects.quads, objects.owner
    if len(quads) == 0:
        return []
    normalised = is_normalised(quads, owner, len(objects.sizes))
    first_of_picture = np.concatenate([[True], owner[1:] != owner[:-1]])
    area = signed_area(quads)
    beyond, is_outside = overhang(quads, objects.sizes[owner])
    partly = (beyond > OVERHANG) & ~is_outside
    far = partly & (beyond > objects.sizes[owner].max(axis=1))
    short = quads_to_boxes(quads, "le90")[:, 3] * input_scales(objects.sizes, input_hw)[owner]
    small = (short < MIN_SIDE) & ~objects.ignored & ~normalised[owner]
    twin = repeated_rows(quads, objects.labels, objects.difficult, owner)

    def repeats(row: int) -> str:
        is_lower = objects.difficult[twin[row]] < objects.difficult[row]
        return f"the same object of the same class stands there {'with a lower flag' if is_lower else 'before'}"

    return [
        flag(
            "normalised",
            normalised[owner] & first_of_picture,
            np.zeros(len(quads)),
            lambda row: "no coordinate of this file is above 1",
        ),
        flag("counter-clockwise", area < 0, -area, lambda row: "the corners run counter-clockwise on the screen"),
        flag("outside", is_outside, beyond, lambda row: f"lies {beyond[row]:.1f} px beyond the border, all of it"),
        flag("far-outside", far, beyond, lambda row: f"reaches {beyond[row]:.1f} px beyond the border"),
        flag("partly-outside", partly & ~far, beyond, lambda row: f"reaches {beyond[row]:.1f} px beyond the border"),
        flag("too-small", small, -short, lambda row: f"its short side is {short[row]:.2f} px of the network's input"),
        flag("duplicate", twin >= 0, area, repeats),
    ]


def check_pictures(sizes: np.ndarray, counts: np.ndarray, input_hw: tuple[int, int], num_kept: int) -> list[Flagged]:
    """What is wrong with pictures of these sizes (P, 2) that hold so many objects (P,); rows are those of the pictures.
    `num_kept` is K, the most detections of a picture."""
    scales = input_scales(sizes, input_hw)

    def shrunk(row: int) -> str:
        height, width = sizes[row].astype(int).tolist()
        return f"{width} x {height} px are shrunk to {scales[row]:.2f} of their size"

    return [
        flag("too-many", counts > num_kept, counts, lambda row: f"{counts[row]} objects, and --K is {num_kept}"),
        flag("large-picture", scales < LARGE_SCALE, -scales, shrunk),
    ]


def flag(kind: str, is_wrong: np.ndarray, badness: np.ndarray, tell: Callable[[int], str]) -> Flagged:
    """The rows (N,) bool that are wrong, the worst first; of equally bad ones the first."""
    rows = np.flatnonzero(is_wrong)
    worst = rows[np.argsort(-badness[rows], kind="stable")[:LISTED]].tolist()
    return Flagged(kind, len(rows), [(row, tell(row), float(badness[row])) for row in worst])


def is_normalised(quads: np.ndarray, owner: np.ndarray, num_pictures: int) -> np.ndarray:
    """Which pictures have objects, and all of them within the unit square, with a little room: (P,) bool."""
    within = ((quads > 1 - UNIT_SQUARE) & (quads < UNIT_SQUARE)).all(axis=(1, 2))
    num_objects = np.bincount(owner, minlength=num_pictures)
    return (num_objects > 0) & (np.bincount(owner, weights=within, minlength=num_pictures) == num_objects)


def overhang(quads: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far quads (N, 4, 2) reach beyond the border of pictures of sizes (N, 2), height and width: (N,) pixels, 0 for
    one inside; and which lie beyond it whole (N,) bool. Of a picture of unknown size (NaN) none does."""
    low, high, far = quads.min(axis=1), quads.max(axis=1), sizes[:, ::-1]
    beyond = np.nan_to_num(np.maximum(-low, high - far).max(axis=1)).clip(min=0)
    is_outside = ((high <= 0) | (low >= far)).any(axis=1) | _passes_a_corner(quads, far)
    return beyond, is_outside & (beyond > 0)


def _passes_a_corner(quads: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Which quads (N, 4, 2) have a side with their own corners on its one hand and all corners of their picture, from
    (0, 0) to `far` (N, 2), on the other: (N,) bool."""
    sides = np.roll(quads, -1, axis=1) - quads
    across = np.stack((-sides[..., 1], sides[..., 0]), axis=-1)
    corners = far[:, None] * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    with np.errstate(over="ignore", invalid="ignore"):  # of corners that no picture has
        own, picture = quads @ across.swapaxes(1, 2), corners @ across.swapaxes(1, 2)  # (N, corner, side)
        apart = (own.max(axis=1) <= picture.min(axis=1)) | (own.min(axis=1) >= picture.max(axis=1))
    return (apart & across.any(axis=2)).any(axis=1)


def input_scales(sizes: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
    """Input pixels per pixel of pictures of sizes (P, 2), height and width: (P,), NaN for unknown ones."""
    return np.array([letterbox_scale((height, width), input_hw) for height, width in sizes.tolist()]).reshape(-1)


def raw_corners(line: str) -> np.ndarray | None:
    """The four corners (4, 2) on a labelTxt line that was refused for them, None if they are not eight numbers."""
    try:
        values = np.array([float(word) for word in line.split()[:8]])
    except ValueError:
        return None
    return values.reshape(4, 2) if len(values) == 8 and np.isfinite(values).all() else None


def escaped(text: str) -> str:
    """Text that files brought along, fit to be shown anywhere: what has no shape (line ends, terminal codes, marks that
    turn the direction of writing, bytes that are no text) is spelt out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def repeated_rows(quads: np.ndarray, labels: np.ndarray, difficult: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """For each of the quads (N, 4, 2), those of a picture (`owner`) together, the row of the one of its picture and
    label that it repeats, -1 for none: (N,). That is the one with the lowest flag, of equal ones the first: an ignore
    region must not take the place of an object."""
    order = np.lexsort((difficult, owner))
    found = find_duplicates(quads[order], labels[order], owner[order], DUPLICATE_IOU)
    twin = np.full(len(quads), -1)
    twin[order[found >= 0]] = order[found[found >= 0]]
    return twin


@njit
def find_duplicates(quads: np.ndarray, labels: np.ndarray, owner: np.ndarray, threshold: float) -> np.ndarray:
    """For each of the quads (N, 4, 2), those of a picture (`owner`) together, the row of the first one of its picture
    and label that it overlaps by more than the IoU `threshold`, -1 for none: (N,). A duplicate has no duplicates."""
    shapes, work = prepare(quads), np.empty(SCRATCH)
    boxes = shapes.boxes
    twin = np.full(len(quads), -1)
    start = 0
    for j in range(len(quads)):
        if owner[j] != owner[start]:
            start = j
        for i in range(start, j):
            # All pairs of a picture come here, tens of thousands squared of some: what costs nothing goes first.
            if boxes[i, 0] >= boxes[j, 2] or boxes[j, 0] >= boxes[i, 2]:
                continue
            if boxes[i, 1] >= boxes[j, 3] or boxes[j, 1] >= boxes[i, 3]:
                continue
            if labels[i] != labels[j] or twin[i] >= 0:
                continue
            if min(shapes.areas[i], shapes.areas[j]) < threshold * max(shapes.areas[i], shapes.areas[j]):
                continue
            if shapes_iou(shapes, i, shapes, j, work) > threshold:
                twin[j] = i
                break
    return twin
