"""The settings: one flat frozen record, its kinds and its file. Flags: setting_flags.py. Imports no torch."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path

from DOTA_devkit.names import as_class_name
from tools.recipes import RECIPES
from tools.running.command_line import SettingsError
from tools.setting_rules import LEAST_TILE, MOST_LINE_WIDTH, MOST_SEED, OVERLAP, check_settings

PHASES = ("train", "test", "eval")
PRETRAINED = ("auto", "imagenet", "none")
HEAD_NORMS = ("layer", "batch", "none")
PRECISIONS = ("fp32", "bf16", "fp16")
SCORES_HELP = (
    "metrics.json of an evaluation, or its run folder: each class from the score of its best F1 there on; classes "
    "without one as the flag above says"
)
AUTO = ("batch_size",)  # settings of which 0 stands for auto


def _setting(
    default: object,
    text: str,
    choices: Sequence[str | int] | None = None,
    metavar: str | None = None,
    *,
    least: float | None = None,
    most: float | None = None,
) -> typing.Any:
    told = {"help": text, "choices": choices, "metavar": metavar, "least": least, "most": most}
    return field(default=default, metadata=told)


@dataclass(frozen=True)
class Config:
    """All settings of a run. Field names are the flags."""

    phase: str = _setting("train", "what to do", PHASES)
    # data
    dataset: str = _setting(
        "auto", "format of the data: auto, demo, dota, hrsc, rolabelimg or yolo_obb; auto looks", metavar="NAME"
    )
    data_dir: Path | None = _setting(None, "data folder [default: the embedded demo set, drawn into data/demo]")
    lists: Path | None = _setting(
        None, "folder of train.txt, val.txt ..., as tools.split_train_val writes it [default: the data folder]"
    )
    split: str | None = _setting(
        None,
        "list to validate, test or evaluate on, NAME.txt among the lists, or all [default: val, else test]",
        metavar="NAME",
    )
    classes: tuple[str, ...] | None = _setting(
        None,
        "train on these classes of the data alone; objects of others are background. In test: write these of the "
        "network alone; in eval: score these alone [default: all]",
        metavar="NAME",
    )
    input: Path | None = _setting(
        None,
        "test: what to detect on, labelled or not: a picture, a folder of pictures, or a pattern in quotes, such as "
        "'/data/flights/**/*.tif' (** is any folder)",
    )
    tile: int | None = _setting(
        None,
        "test, eval: cut big pictures into tiles of this side and merge what is found, pixels of the scaled picture; "
        "tiles are scaled to fit the input, so that it should be about the side of the training pictures",
        least=LEAST_TILE,
    )
    overlap: int = _setting(
        OVERLAP, "with --tile: what neighbouring tiles share, pixels of the scaled picture", least=0
    )
    scales: tuple[float, ...] = _setting((1.0,), "with --tile: factors on a big picture, which is cut at each of them")
    on_bad_label: str = _setting(
        "error", "a bad label or picture stops the run, or is left out and counted", ("error", "skip")
    )
    missing_labels: str = _setting(
        "error",
        "a listed picture without a label file is an error, or empty; in YOLO's form it is empty, and told of",
        ("error", "empty"),
    )
    min_visible: float = _setting(
        0.5, "fraction of an object's area that a crop must leave; below, it is an ignore region", least=0, most=1
    )
    # network; in test and eval all of these come from the checkpoint
    backbone: str = _setting(
        "resnet18",
        "base network: a name of python -m tools.list_backbones, timm/NAME, or FILE.py:CLASS of your own; that file is "
        "run, and only if you name it here: in test and eval, too, since no checkpoint makes the program run a file",
        metavar="NAME",
    )
    neck: str = _setting(
        "combination", "what merges the backbone's four maps: as published, or the lighter fpn", ("combination", "fpn")
    )
    neck_width: int | None = _setting(None, "channels of --neck fpn [default: 64]", least=1)
    head_width: int = _setting(256, "channels between the two convolutions of each head", least=1)
    head_norm: str = _setting(
        "layer",
        "norm after the first convolution of each head: layer, which is a batch norm in hm and a layer norm in the "
        "others, a batch norm in all, or none, as published",
        HEAD_NORMS,
    )
    in_channels: int | None = _setting(
        None,
        "channels of the pictures: 1 grey or thermal, 3 colours, 4 with near infrared, more with --bands [default: as "
        "many as --bands, else 3]",
    )
    value_range: tuple[float, ...] | None = _setting(
        None,
        "in pictures of 16 bits or floating point, the two values that become black and white in all of them, such as "
        "temperatures, or two for each band, in their order [default: 0.5th and 99.5th percentile of each picture; of "
        "tiles, as they were cut]",
        metavar="V",
    )
    bands: tuple[int, ...] | None = _setting(
        None,
        "of TIFF files, the numbers of the bands that are read, from 1 on: red, green and blue, such as 5 3 2, any "
        "number of others behind these, or one for grey [default: those that the file calls so, else the first; of "
        "tiles, as they were cut]",
        metavar="N",
    )
    input_h: int | None = _setting(
        None,
        "input height, pixels, a multiple of 32 [default: that of --resume, else 608; demo: 256]",
        metavar="PX",
        least=32,
    )
    input_w: int | None = _setting(
        None,
        "input width, pixels, a multiple of 32 [default: that of --resume, else 608; demo: 256]",
        metavar="PX",
        least=32,
    )
    pretrained: str = _setting(
        "auto", "backbone weights to start from: auto (ImageNet if at hand), imagenet, none or a file", metavar="WHICH"
    )
    # training
    recipe: str = _setting(
        "default", "set of training settings below the other flags: ours, or the published one", tuple(RECIPES)
    )
    num_epoch: int = _setting(30, "epochs to train", least=1)
    num_images: int | None = _setting(
        None, "pictures to train on in all, with repetitions, instead of --num_epoch", least=1
    )
    batch_size: int = _setting(
        2, "pictures a step, over all processes; auto (or 0) finds the most that fit on the GPU", metavar="N", least=0
    )
    accumulate: int = _setting(
        1,
        "parts into which a step's pictures are divided, worked off one after the other; more need less memory",
        least=1,
    )
    optimizer: str = _setting("adamw", "what takes the steps", ("adamw", "adam", "sgd"))
    init_lr: float = _setting(3e-4, "highest learning rate, reached after the warm-up")
    backbone_lr_scale: float = _setting(1.0, "factor on the backbone's rate; below 1 for pretrained weights")
    schedule: str = _setting(
        "cosine", "of the rate: half a cosine to zero, or times --lr_decay each epoch", ("cosine", "exponential")
    )
    lr_decay: float = _setting(0.96, "factor on the rate each epoch, with --schedule exponential", least=0, most=1)
    warmup: float = _setting(0.05, "share of all steps in which the rate rises, 0 to 1", least=0, most=1)
    weight_decay: float = _setting(
        0.01, "of the optimiser, on weights of convolutions, linear layers and attention", least=0, most=1
    )
    clip_norm: float = _setting(35.0, "longest gradient, longer ones are shortened; 0 leaves them", least=0)
    ema: float = _setting(0.998, "decay of the averaged weights, which are validated and saved; 0 averages nothing")
    freeze: int = _setting(0, "stages of the backbone that are not trained, counted from the stem, 0 to 5", least=0)
    freeze_norm: str = _setting(
        "none", "batch norms that stay as they are; for small data and batches", ("none", "backbone", "all")
    )
    sync_norm: bool = _setting(False, "batch norm over the batches of all GPUs")
    best_by: str = _setting(
        "mAP50",
        "score of a validation that chooses best.pth; the last two favour tight boxes",
        ("mAP50", "mAP75", "mAP50_95"),
    )
    patience: int = _setting(0, "stop after so many validations without a better --best_by; 0 never stops", least=0)
    val_every: int = _setting(1, "epochs between validations", least=1)
    save_every: float = _setting(10.0, "minutes between saves within an epoch; each epoch saves anyway", least=0)
    sparse_heads: bool = _setting(True, "compute all heads but hm only where the loss reads them; training only")
    positive_radius: int = _setting(
        1,
        "the cells so far around an object's centre learn its box as well; 0 trains the centre's alone, as published",
        least=0,
    )
    vector_beta: float = _setting(
        0.1, "where smooth L1 turns from square to straight, cells; below, it is gentle", least=0
    )
    vector_weight: float = _setting(0.5, "weight of the vectors' loss; 1 is published", least=0)
    theta_weight: float = _setting(0.25, "weight of cls_theta's loss; 1 is published", least=0)
    theta_rule: str = _setting(
        "better",
        "when cls_theta is taught that a box is rotated: where the box by the vectors is better than the horizontal "
        "one, as the network has the two by then; or by the tilt of the object, as published",
        ("better", "tilt"),
    )
    rotated_weight: float = _setting(
        4.0,
        "weight of rotated boxes in cls_theta; 4 makes the decoder's threshold of 0.8 one half, 1 is published",
        least=0,
    )
    box_weight: float = _setting(
        1.0, "weight of the loss on the decoded box, a distance of Gaussians; 0 leaves it out", least=0
    )
    window_h: int | None = _setting(
        None,
        "train on windows of this height about objects, pixels of the input [default: whole inputs]",
        metavar="PX",
        least=32,
    )
    window_w: int | None = _setting(None, "and of this width; both or none", metavar="PX", least=32)
    augment_mosaic: float = _setting(
        0.0,
        "probability that a training input (or window) is made of parts of four pictures, about half as wide and high; "
        "--cache spares reading these",
        least=0,
        most=1,
    )
    augment_scale: tuple[float, ...] = _setting((0.85, 1.18), "smallest and largest factor on a training picture")
    augment_quarter: bool = _setting(False, "turn training pictures by random multiples of 90 degrees")
    augment_rotate: float = _setting(
        0.0, "largest further turn of a training picture, degrees either way, up to 180", least=0, most=180
    )
    augment_flip: float = _setting(
        0.5,
        "probability that a training picture is mirrored, for each axis; 0 where left and right differ",
        least=0,
        most=1,
    )
    augment_colour: float = _setting(
        1.0,
        "how far brightness and contrast change in training, 0 to 3; 1 by up to about a quarter, 0 not at all",
        least=0,
    )
    resume_train: str | None = _setting(
        None, "continue a run: its folder or last.pth [without a value: the newest run]"
    )
    allow_partial: bool = _setting(False, "start from --resume or --pretrained even if little of it fits")
    tensorboard: str = _setting("auto", "write TensorBoard's files; auto: if it is installed", ("auto", "on", "off"))
    cache: bool = _setting(False, "keep the decoded training pictures in memory")
    compile: bool = _setting(False, "compile the network with torch.compile")
    # testing and evaluation
    resume: Path | None = _setting(
        None, "weights: in test and eval the checkpoint [default: best.pth of the newest run]; in train, to start from"
    )
    K: int = _setting(
        500, "most detections of a picture (with --tile of each tile), over all classes", metavar="N", least=1
    )
    conf_thresh: float = _setting(0.01, "lowest score that is written to the results, 0 to 1", least=0, most=1)
    nms_thresh: float = _setting(
        0.3, "of two boxes of a class that overlap by more IoU the better stays, 0 to 1", least=0, most=1
    )
    agnostic_nms: bool = _setting(False, "of overlapping boxes of different classes, too, only the better one stays")
    tta_views: int = _setting(
        1,
        "test-time augmentation: take the mean of so many views of a picture: 2 also from right to left, 4 also upside "
        "down; takes as many times as long",
        (1, 2, 4),
    )
    quads: bool = _setting(False, "write the four free corners instead of true rectangles")
    ignore_overlap: float = _setting(
        0.5,
        "a false positive with more than this share of its area in an ignore region is not counted, 0 to 1",
        least=0,
        most=1,
    )
    bootstrap: int = _setting(
        0, "resamplings of the pictures for 95 % intervals of AP50; 0 for none", metavar="N", least=0
    )
    # drawing
    num_drawings: int = _setting(50, "most pictures to draw boxes on", least=0)
    draw_score: float = _setting(0.3, "lowest score that is drawn, 0 to 1", least=0, most=1)
    scores: Path | None = _setting(None, f"test: {SCORES_HELP}", metavar="PATH")
    line_width: int = _setting(
        0,
        "width of the drawn lines, pixels; 0 chooses by the sizes of picture and boxes",
        least=0,
        most=MOST_LINE_WIDTH,
    )
    draw_labels: bool = _setting(True, "write class and score at the boxes")
    # machine
    out: Path | None = _setting(None, "run folder [default: runs/<data>-<backbone>-<time>]")
    num_workers: int = _setting(
        2, "processes that load data, up to 256; 0 loads in the main process", least=0, most=256
    )
    device: str = _setting("auto", "auto, cpu, cuda, cuda:1 ...", metavar="NAME")
    precision: str = _setting(
        "auto",
        "arithmetic; auto: in training bf16 where the machine has it, in validation, test and eval fp32",
        ("auto", *PRECISIONS),
    )
    seed: int = _setting(0, "of weights, order, augmentation and splits", least=0, most=MOST_SEED)
    # which flags the user gave, on the command line or in the file; not a flag itself
    explicit: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.classes is not None:  # as the data's are read
            object.__setattr__(self, "classes", tuple(map(as_class_name, self.classes)))
        check_settings(self)


def settings_from(values: Mapping[str, object]) -> Config:
    """Settings that a checkpoint or a settings file kept; keys that this version does not know are left out."""
    known = {item.name: item for item in setting_fields()}
    return Config(**{key: converted(known[key], value, key) for key, value in values.items() if key in known})


def settings_dict(config: Config) -> dict[str, str | int | float | bool]:
    """The settings as plain values, those that are None left out."""
    values = {item.name: getattr(config, item.name) for item in setting_fields()}
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items() if value is not None}


def settings_toml(config: Config) -> str:
    """The settings as a TOML file that --config reads back."""
    # JSON's strings, numbers and lists are TOML's, but for infinity and the character DEL.
    text = "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in settings_dict(config).items())
    return re.sub(r"(?m)(?<== )Infinity$", "inf", text).replace("\x7f", "\\u007f")


def with_settings(config: Config, **changes: object) -> Config:
    """A copy with other values, checked again; `explicit` stays."""
    return replace(config, **changes)


def setting_fields() -> list[Field]:
    """The fields of Config that are settings, in their order."""
    return [item for item in fields(Config) if item.metadata]


def kind_of(item: Field) -> type:
    """The type of a setting, where it is set."""
    hint = _hint(item)
    return typing.get_origin(hint) or hint


def entry_of(item: Field) -> type:
    """Of what a tuple holds any number."""
    return typing.get_args(_hint(item))[0]


def _hint(item: Field) -> typing.Any:
    hint = _HINTS[item.name]
    if isinstance(hint, types.UnionType):
        return next(option for option in typing.get_args(hint) if option is not types.NoneType)
    return hint


_HINTS = typing.get_type_hints(Config)


def converted(item: Field, value: object, where: str) -> object:
    """A plain value, from a file or a checkpoint, as the setting has it. Raises SettingsError, which begins with
    `where`, for one of another type."""
    kind = kind_of(item)
    if item.name in AUTO and value == "auto":
        return 0
    if item.name == "head_norm" and isinstance(value, bool):
        return earlier_head_norm(value)
    if kind is tuple and isinstance(value, list | tuple):
        entry_kind = entry_of(item)
        if all(type(entry) in ((int, float) if entry_kind is float else (entry_kind,)) for entry in value):
            return tuple(map(entry_kind, value))
    fitting = {float: (int, float), Path: (str,)}.get(kind, (kind,))
    if not isinstance(value, fitting) or (isinstance(value, bool) and kind is not bool):
        raise SettingsError(f"{where} is {value!r}, not of the kind {kind.__name__}")
    if kind in (str, Path) and (not value.strip() or "\0" in value):
        raise SettingsError(f"{where} is {value!r}; give it, or leave the line out")
    return kind(value)


def earlier_head_norm(is_there: bool) -> str:
    """What the heads' norm of a run is called that was made when there was one kind of it."""
    return "batch" if is_there else "none"


assert all(item.default is not MISSING for item in fields(Config))
