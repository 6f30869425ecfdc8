"""How well tools.review_labels finds labels that were spoiled on purpose: spoils them, and looks through its list."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.demo import ensure_demo
from datasets.format_detection import detect_format
from datasets.picture_files.image_sizes import picture_size
from datasets.readers import get_format, list_images, read_classes
from datasets.splits import choose_split
from DOTA_devkit.atomic import write_csv, write_lines
from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.iou import poly_iou
from DOTA_devkit.labels import Labels, read_labels, write_labels
from tools.data import DEMO_DIR
from tools.label_review.doubts import KINDS
from tools.picture_links import link_or_copy
from tools.running.command_line import SettingsError
from tools.running.destinations import refuse_data_folder, require_free
from tools.running.messages import counted

SPOILED = "spoiled.csv"
CHANGES = ("other-class", "not-labelled", "misplaced")  # of labels that are there; as many are invented
LEAST_SHIFT, MOST_SHIFT = 0.35, 0.7  # of a side, by which a label is moved
INVENTED_SIDES = ((14.0, 40.0), (8.0, 16.0))  # pixels, from where to where
SAME_LABEL, SAME_OBJECT = 0.95, 0.4  # overlaps of a doubted label, and of a found object, with a spoiled one


class Spoiled(NamedTuple):
    """A label that was spoiled: the kind of doubt that should find it, its picture, and where it is now, or was."""

    kind: str
    name: str
    quad: np.ndarray


def run(options: argparse.Namespace) -> None:
    """Spoil, or count, as the flags of `python -m tools.benchmark review` say."""
    if options.doubts is None:
        if options.data_dir is None:
            ensure_demo(DEMO_DIR)
        spoil_folder(options.data_dir or DEMO_DIR, options.out, options.share, options.seed)
    else:
        count_found(options.out / SPOILED, options.doubts)


def spoil_folder(data_dir: Path, out: Path, share: float, seed: int) -> list[Spoiled]:
    """Write a copy of a folder in DOTA's form, its pictures as links, in which `share` of the labels to train on lack,
    as many have another class, as many are moved, and as many again were invented; and a list of these."""
    refuse_data_folder(out, data_dir)
    require_free(out)
    dataset = detect_format(data_dir)
    if dataset != "dota":
        raise SettingsError(f"{data_dir}: is of the format {dataset}, and only labels in DOTA's form are spoiled")
    images, label_path = list_images("dota", data_dir), get_format("dota").label_path
    class_names = read_classes("dota", data_dir, list(images))
    if len(class_names) < 2:
        raise SettingsError(f"{data_dir}: has one class; to spoil names there must be two")
    rng, done = np.random.default_rng(seed), []
    train, val = (choose_split(data_dir, images, role).names for role in ("train", "val"))
    for name in [*train, *val]:
        labels = read_labels(label_path(data_dir, name))
        if name in {*train}:
            labels = _spoil(labels, name, picture_size(images[name]), class_names, share, rng, done)
        write_labels(out / "labelTxt" / f"{name}.txt", labels.quads, labels.names, labels.difficult)
        (out / "images").mkdir(exist_ok=True)
        link_or_copy(images[name], out / "images" / images[name].name)
    for listed, names in (("train.txt", train), ("val.txt", val), ("classes.txt", class_names)):
        write_lines(out / listed, names)
    rows = [(item.kind, item.name, *item.quad.reshape(-1).tolist()) for item in done]
    write_csv(out / SPOILED, [("kind", "image", *(f"{axis}{corner}" for corner in "1234" for axis in "xy")), *rows])
    print(f"written: {out}, {counted(len(done), 'label')} to train on spoiled, listed in {out / SPOILED}")
    return done


def _spoil(
    labels: Labels,
    name: str,
    hw: tuple[int, int],
    class_names: Sequence[str],
    share: float,
    rng: np.random.Generator,
    done: list[Spoiled],
) -> Labels:
    """The labels of a picture of this height and width, some of them spoiled; which goes to `done`."""
    quads, names, flags = [], [], []
    for quad, class_name, flag in zip(labels.quads, labels.names, labels.difficult.tolist(), strict=True):
        kind = str(rng.choice(CHANGES)) if flag == 0 and rng.random() < len(CHANGES) * share else ""
        if kind == "other-class":
            class_name = str(rng.choice([other for other in class_names if other != class_name]))
        elif kind == "misplaced":
            side = quad[1] - quad[0] if rng.random() < 0.5 else quad[2] - quad[1]
            quad = quad + rng.choice([-1, 1]) * rng.uniform(LEAST_SHIFT, MOST_SHIFT) * side
        if kind:
            done.append(Spoiled(kind, name, quad))
        if kind != "not-labelled":
            quads, names, flags = [*quads, quad], [*names, class_name], [*flags, flag]
    for _ in range(rng.binomial(len(labels.names), share)):
        middle = rng.uniform((0, 0), hw[::-1])
        sides = [rng.uniform(*ends) for ends in INVENTED_SIDES]
        quad = boxes_to_quads(np.array([[*middle, *sides, rng.uniform(-np.pi / 2, np.pi / 2)]]), "le90")[0]
        done.append(Spoiled("not-found", name, quad))
        quads, names, flags = [*quads, quad], [*names, str(rng.choice(class_names))], [*flags, 0]
    array = np.array(quads).reshape(-1, 4, 2)
    return Labels(array, names, np.array(flags, np.int64), np.arange(1, len(names) + 1))


def count_found(spoiled_csv: Path, doubts_csv: Path) -> dict[str, tuple[int, int, int]]:
    """Print and return, for each kind, how many labels were spoiled so, how many doubts there are of the kind, and how
    many of the first of these, as many as were spoiled, are each about another label that was spoiled so."""
    spoiled: dict[tuple[str, str], list[np.ndarray]] = {}  # by picture and kind; what a doubt has found is taken out
    numbers = dict.fromkeys(KINDS, 0)
    for row in _rows(spoiled_csv):
        spoiled.setdefault((row["image"], row["kind"]), []).append(_quad(row, ""))
        numbers[row["kind"]] += 1
    doubts: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for row in _rows(doubts_csv):
        quad, least = (_quad(row, "label_"), SAME_LABEL) if row["label"] else (_quad(row, "found_"), SAME_OBJECT)
        left = spoiled.get((row["image"], row["kind"]), [])
        overlaps = poly_iou(quad[None], np.array(left).reshape(-1, 4, 2))[0]
        is_right = bool(overlaps.max(initial=0) > least)
        if is_right:
            left.pop(int(overlaps.argmax()))
        doubts[row["kind"]].append(is_right)
    print(f"{'doubt':32} {'spoiled':>8} {'doubts':>8} {'right among as many as were spoiled':>36}")
    counts = {}
    for kind, are_right in doubts.items():
        if not numbers[kind]:
            continue
        counts[kind] = numbers[kind], len(are_right), sum(are_right[: numbers[kind]])
        part = f"{counts[kind][2]} ({counts[kind][2] / numbers[kind]:.0%})"
        print(f"{KINDS[kind].title:32} {numbers[kind]:8} {len(are_right):8} {part:>36}")
    return counts


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror or error})") from error


def _quad(row: dict[str, str], prefix: str) -> np.ndarray:
    return np.array([float(row[f"{prefix}{axis}{corner}"]) for corner in "1234" for axis in "xy"]).reshape(4, 2)
