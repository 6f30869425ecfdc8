"""The data of a run: which folder and format, which classes, which pictures train and which are scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from datasets.augment import Augmentation
from datasets.class_lists import UnknownClassError, slips
from datasets.demo import SCENE_SIZE, ensure_demo
from datasets.picture_files.image_folders import SCENE_SUFFIXES
from datasets.picture_files.layouts import BY_THE_FILE, MOST_IN_COLOURS, Reading
from datasets.readers import (
    NoClassError,
    Sample,
    get_format,
    list_images,
    read_classes,
    read_samples,
)
from datasets.splits import ListError, Split, choose_split
from datasets.tile_parts import tiles_on_shared_ground
from datasets.training_set import TrainingSet
from DOTA_devkit.labels import LabelError, did_you_mean
from DOTA_devkit.tile_index import TileIndex
from DOTA_devkit.truths import ImageTruth
from tools.config import Config
from tools.data_folders import DataFolder, open_folder
from tools.run_lists import held_out
from tools.running.command_line import SettingsError
from tools.running.messages import report_bad_labels, warn
from tools.running.ranks import is_main_process
from tools.tile_folder import index_in

DEMO_DIR = Path("data/demo")
DEFAULT_SIDE = 608

Set = TypeVar("Set", bound=TrainingSet)


def open_data(config: Config, run_dir: Path | None = None) -> DataFolder:
    """The data folder of the settings; without --data_dir the demo set, which is drawn at first use."""
    if config.data_dir is None:
        if config.dataset not in ("auto", "demo"):
            raise SettingsError(f"--dataset {config.dataset} needs --data_dir, the folder of the data")
        if is_main_process():
            print(f"data: the embedded demo set in {DEMO_DIR}", flush=True)
        return DataFolder("demo", DEMO_DIR, list_images("demo", ensure_demo(DEMO_DIR)), run_dir)
    return open_folder(config.data_dir, config.dataset, "--data_dir")._replace(run_dir=run_dir)


def default_input_hw(config: Config, data: DataFolder) -> tuple[int, int]:
    """--input_h and --input_w, else 608 x 608, else the demo's own size."""
    side = SCENE_SIZE if data.dataset == "demo" else DEFAULT_SIDE
    return config.input_h or side, config.input_w or side


def reading_of(config: Config, data: DataFolder) -> Reading:
    """--value_range and --bands, each else as the tiles of the data were cut, so that whole pictures look like them.
    Raises SettingsError as `check_tiles`."""
    index = index_in(data.data_dir)
    tiles = BY_THE_FILE if index is None else Reading(index.value_range, index.bands)
    value_range, bands = config.value_range, config.bands
    reading = Reading(
        tiles.value_range if value_range is None else value_range,
        tiles.bands if bands is None else bands,
    )
    for flag, asked, cut_by in (("value_range", value_range, tiles.value_range), ("bands", bands, tiles.bands)):
        if index is not None and asked is not None and cut_by is None:
            what = "of 8 bits" if flag == "value_range" else "that are no TIFF files"
            warn(f"--{flag} says nothing of tiles {what}; python -m tools.split_tiles takes it, when they are cut")
    may_hold_bands = (path.suffix.lower() in SCENE_SUFFIXES for path in data.images.values())
    if index is None and bands is not None and not any(may_hold_bands):
        warn("--bands says which bands of TIFF files are read, and none of the pictures is one")
    check_tiles(reading, data, "what is asked for")
    return reading


def check_tiles(reading: Reading, data: DataFolder, whose: str) -> None:
    """Raises SettingsError where the data are tiles of other bands, or of another range of values, than are to be read,
    as `whose` says: their pixels do not tell. Of tiles that hold more than four bands some may be read."""
    index = index_in(data.data_dir)
    if index is None:
        return
    pairs = {"bands": (index.bands, reading.bands), "value_range": (index.value_range, reading.value_range)}
    if index.bands is not None and len(index.bands) > MOST_IN_COLOURS and {*(reading.bands or ())} <= {*index.bands}:
        del pairs["bands"]  # such tiles are TIFF files, which tell what they hold
    for flag, (cut_by, wanted) in pairs.items():
        if None not in (cut_by, wanted) and cut_by != wanted:
            said, other = (" ".join(f"{value:g}" for value in values) for values in (cut_by, wanted))
            raise SettingsError(
                f"{data.data_dir}: its tiles were cut with --{flag} {said}, and {whose} is --{flag} {other}; cut them "
                "anew with tools.split_tiles"
            )


def augmentation_of(config: Config) -> Augmentation:
    """What is done to training inputs, among all settings."""
    usual = Augmentation()
    return Augmentation(
        flip=config.augment_flip,
        quarter_turns=config.augment_quarter,
        rotate=config.augment_rotate,
        scale=tuple(config.augment_scale),
        gain=usual.gain * config.augment_colour,
        offset=usual.offset * config.augment_colour,
        mosaic=config.augment_mosaic,
    )


def make_training_set(
    config: Config,
    samples: Sequence[Sample],
    num_classes: int,
    input_hw: tuple[int, int],
    fill_bgr: tuple[float, ...],
    reading: Reading,
    *,
    augment: bool = True,
    kind: type[Set] = TrainingSet,
) -> Set:
    """The training inputs that the settings ask for; without `augment` the pictures as they are."""
    return kind(
        samples,
        num_classes,
        input_hw,
        fill_bgr,
        augmentation_of(config) if augment else None,
        min_visible=config.min_visible,
        seed=config.seed,
        window_hw=window_size(config, input_hw) if augment else None,
        reading=reading,
    )


def window_size(config: Config, input_hw: tuple[int, int]) -> tuple[int, int] | None:
    """--window_h and --window_w; None where whole inputs are trained on. Raises SettingsError beyond the input."""
    if config.window_h is None or config.window_w is None:
        return None
    if config.window_h > input_hw[0] or config.window_w > input_hw[1]:
        raise SettingsError(
            f"--window_h {config.window_h} and --window_w {config.window_w} exceed the input, "
            f"{input_hw[0]} x {input_hw[1]} (height x width)"
        )
    return config.window_h, config.window_w


def data_classes(config: Config, data: DataFolder) -> tuple[str, ...]:
    """The class names of the training data, or of these --classes; where a seed has parted the two sides, of both, lest
    it decide on them. Raises SettingsError for a class that the data do not have."""
    train = split_of(config, data, "train")
    names = train.names
    if train.by_seed:
        held_out = choose_split(data.data_dir, data.images, "val", seed=config.seed, known=_known_splits(data))
        names = list(dict.fromkeys([*names, *held_out.names]))
    there = read_classes(data.dataset, data.data_dir, names)
    if config.classes is None:
        return there
    for name in config.classes:
        if name not in there:
            meant = " ".join(filter(None, [did_you_mean(name, there), f"the data have the classes {', '.join(there)}"]))
            raise SettingsError(f"--classes {name}: {meant}")
    return config.classes


def left_out_classes(
    config: Config, dataset: str, data_dir: Path, names: Sequence[str], class_names: Sequence[str]
) -> Counter[str]:
    """The classes of the named pictures that --classes leaves out, to count their objects; none without it. A name that
    is like one of `class_names` is a slip of the pen where a network is asked for some of its classes, and no class."""
    if config.classes is None:
        return Counter()
    try:
        there = read_classes(dataset, data_dir, names)
    except (NoClassError, LabelError):  # negative pictures alone, or files that cannot be read, which are told of later
        there = ()
    others = set(there) - set(class_names)
    if config.phase != "train" and "classes" in config.explicit:
        others -= slips(others, class_names)
    return Counter(dict.fromkeys(sorted(others), 0))


def tell_of_left_out(left_out: Counter[str], source: str) -> None:
    """Say how many objects --classes has made background."""
    if left_out.total() and is_main_process():
        counts = ", ".join(f"{count} {name}" for name, count in left_out.items() if count)
        print(f"{source}: objects that are background (--classes): {counts}", flush=True)


def split_of(config: Config, data: DataFolder, role: str) -> Split:
    """The names of the pictures of a role, `train` or `val`; the latter follows --split. A seed decides on the pictures
    that there are now; what a run has held out its own lists tell."""
    split = choose_split(
        data.data_dir,
        data.images,
        role,
        split=config.split if role == "val" else None,
        seed=config.seed,
        lists_dir=config.lists,
        known=_known_splits(data),
    )
    if role != "val" or not split.by_seed or data.run_dir is None:
        return split
    return held_out(data.run_dir, data.data_dir, data.images, split)


def _known_splits(data: DataFolder) -> Mapping[str, Sequence[str]]:
    return get_format(data.dataset).splits(data.data_dir)


def warn_of_shared_pictures(train: Split, val: Split, index: TileIndex | None = None) -> None:
    """Warn when pictures are on both sides, or what tiles show: the score would be of what is known by heart."""
    shared = sorted(set(train.names) & set(val.names))
    if shared:
        warn(
            f"{len(shared)} of {len(val.names)} validation pictures are trained on, too, such as {shared[0]}: their "
            "score does not tell of new pictures; tools.split_train_val makes lists that part them"
        )
    ground = {} if index is None else tiles_on_shared_ground(index, train.names, [*{*val.names} - {*shared}])
    if ground:
        tile = min(ground)
        warn(
            f"{len(ground)} of {len(val.names)} validation tiles show what tiles that are trained on show, too, such "
            f"as {tile} and {ground[tile]}: their score does not tell of new pictures; tools.split_train_val keeps the "
            "tiles of a picture together, or parts them by place"
        )


def read_split(config: Config, data: DataFolder, role: str, class_names: Sequence[str]) -> tuple[Split, list[Sample]]:
    """The pictures of a role, `train` or `val`, with their objects; `val` follows --split.

    Bad labels stop, or are reported and left out with --on_bad_label skip, and with them the pictures of which no label
    can be used. Lines that a list repeats are warned of. Raises ListError when no picture is left.
    """
    split = split_of(config, data, role)
    _check_split(data, split, role)
    problems: list[LabelError] = []
    left_out = left_out_classes(config, data.dataset, data.data_dir, split.names, class_names)
    try:
        samples = read_samples(
            data.dataset,
            data.data_dir,
            split.names,
            class_names,
            on_bad_label=problems.append if config.on_bad_label == "skip" else None,
            missing_labels=config.missing_labels,
            left_out=left_out,
        )
    except UnknownClassError as error:
        if config.phase == "train":
            raise
        remedy = (
            f"did you mean other data or another run? Rename classes (tools.convert_labels --rename {error.name}=NEW), "
            "or leave such objects out (--on_bad_label skip)"
        )
        reason = f"class '{error.name}' is none that the network knows: {', '.join(class_names)}; {remedy}"
        raise LabelError(error.path, error.line, reason) from error
    tell_of_left_out(left_out, split.source)
    report_bad_labels(problems, samples, "bad labels left out", "pictures left out, of whose labels none can be used")
    if not samples:
        raise ListError(f"{split.source}: {none_readable(split.names)}")
    _warn_of_repeated(samples, split.source)
    return split._replace(names=[sample.name for sample in samples]), samples


def _warn_of_repeated(samples: Sequence[Sample], source: str) -> None:
    """Warn of objects that stand twice: the second one counts as missed, or is learnt again."""
    counts = {}
    for sample in samples:
        if len(np.unique(sample.quads[:, 0, 0])) < len(sample.quads):  # few have that: it spares the others the rest
            rows = np.column_stack([sample.quads.reshape(-1, 8), sample.labels])
            counts[sample.name] = len(rows) - len(np.unique(rows, axis=0))
    repeated = [name for name, count in counts.items() if count]
    if repeated:
        told = f"{sum(counts.values())} objects stand twice, such as in {repeated[0]}"
        warn(f"{source}: {told}; python -m tools.check_data --fix drops them")


def _check_split(data: DataFolder, split: Split, role: str) -> None:
    """Warn of lines of the list that do not say what they seem to, and, where a picture without a label file is one
    without objects, of such pictures and of labels that nobody will read. Raises ListError where none of the pictures
    has a label file."""
    if split.num_repeated:
        warn(
            f"{split.source}: {split.num_repeated} lines repeat earlier ones and do not count; a picture is taken once "
            "an epoch, however often it is listed"
        )
    if split.elsewhere:
        warn(f"{split.elsewhere}; folders in a list do not count, names do")
    reader = get_format(data.dataset)
    if not reader.missing_is_empty:
        return
    paths = {name: reader.label_path(data.data_dir, name) for name in split.names}
    missing = [name for name, path in paths.items() if not path.exists()]
    if missing and len(missing) == len(paths):
        raise ListError(
            f"{split.source}: none of the {len(paths)} pictures has a label file, such as {paths[missing[0]]}"
        )
    if missing:
        warn(
            f"{split.source}: {len(missing)} of {len(paths)} pictures have no label file and are taken for pictures "
            f"without objects, such as {missing[0]}"
        )
    orphans = reader.orphans(data.data_dir) if role == "train" else ()
    if orphans:
        warn(
            f"{len(orphans)} label files have no picture, such as {orphans[0]}; was one renamed? "
            "python -m tools.check_data lists them"
        )


def truths_of(samples: Sequence[Sample]) -> dict[str, ImageTruth]:
    """What the evaluation scores against, by picture name."""
    return {sample.name: ImageTruth(sample.quads, sample.labels, sample.difficult) for sample in samples}


def none_readable(names: Sequence[str]) -> str:
    """What to say where `read_samples` left out every picture."""
    return f"none of the {len(names)} pictures has labels that can be used; check_data tells what is wrong"
