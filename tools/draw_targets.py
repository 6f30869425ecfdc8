"""The command that draws what the network is trained on: `python -m tools.draw_targets DATA_DIR OUT_DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from DOTA_devkit.atomic import write_json
from tools.config import Config
from tools.running.command_line import Parser, exit_code
from tools.running.destinations import refuse_data_folder, refuse_to_replace
from tools.running.flag_types import whole
from tools.running.messages import counted, warn
from tools.running.progress import progress_bar
from tools.setting_flags import parse_settings, split_settings

if TYPE_CHECKING:
    from datasets.readers import Sample
    from datasets.targets import Targets
    from datasets.training_set import TrainingSet

SUMMARY = "summary.json"
SUMMARY_HEAD = '{\n  "input_hw": ['  # by which it is known


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw and print the counts; returns the exit code: 0 done, 2 a wrong flag, 1 anything else that a person can
    mend, 130 stopped by Ctrl-C."""

    def work() -> None:
        options = _parse(arguments)
        refuse_data_folder(options.out_dir, options.data_dir)
        refuse_to_replace(options.out_dir / SUMMARY, "", [SUMMARY_HEAD], remedy="name another folder")
        config = _config_of(options)
        draw_folder(config, options.out_dir, options.num, options.augment)

    return exit_code(work)


def draw_folder(config: Config, out_dir: Path, num_drawn: int, augment: bool) -> None:
    """Draw the first epoch's inputs of some pictures of the split, count all of it, print and write the counts.

    Raises SettingsError, ImageError, LabelError and ListError for what is wrong with the settings or the data.
    """
    from models import IMAGENET
    from tools.data import (
        data_classes,
        default_input_hw,
        make_training_set,
        open_data,
        read_split,
        reading_of,
    )
    from tools.data_check.data_checks import HORIZONTAL_SHARE
    from tools.drawing import numbered_classes
    from tools.target_statistics import MeasuredSet, format_summary, summarize

    data = open_data(config)
    class_names = data_classes(config, data)
    split, samples = read_split(config, data, "train" if config.split is None else "val", class_names)
    input_hw = default_input_hw(config, data)
    reading = reading_of(config, data)
    fill = IMAGENET.for_channels(reading.num_channels(config.in_channels) or 3).fill_bgr
    training_set = make_training_set(
        config,
        samples,
        len(class_names),
        input_hw,
        fill,
        reading,
        augment=augment,
        kind=MeasuredSet,
    )
    print(f"{split.source}; input {input_hw[0]} x {input_hw[1]} (height x width)", flush=True)
    drawn = choose_rows(samples, num_drawn, config.seed)
    inputs = _draw_and_count(config, training_set, class_names, out_dir, drawn)
    summary = summarize(training_set.counts, inputs, class_names)
    settings = {"input_hw": input_hw, "source": split.source, "augment": augment, "recipe": config.recipe}
    settings |= {"min_visible": config.min_visible, "seed": config.seed}
    write_json(out_dir / SUMMARY, settings | summary)
    print(format_summary(summary, config.min_visible))
    if drawn and (numbered := numbered_classes(class_names)):
        print(numbered)
    print(f"written: {out_dir}, {counted(len(drawn), 'picture')} and {SUMMARY}")
    if summary["horizontal"] is not None and summary["horizontal"] > HORIZONTAL_SHARE:
        warn(
            f"{summary['horizontal']:.1%} of the labelled boxes are horizontal. Were they drawn as horizontal boxes? "
            "The network learns boxes as they are labelled, and horizontal ones do not tell it where objects point to"
        )


def choose_rows(samples: Sequence[Sample], number: int, seed: int) -> list[int]:
    """The rows of so many pictures, drawn by seed, those with objects before those without; in order."""
    order = np.random.default_rng(seed).permutation(len(samples)).tolist()
    order.sort(key=lambda row: bool(samples[row].ignored.all()))  # stable; true for no object at all
    return sorted(order[:number])


def positive_cells(targets: Targets, radius: int) -> np.ndarray:
    """Rows and columns (P, 2) int64 of the map's cells in which vectors, offset and flag are trained."""
    import torch

    from datasets.targets import Targets
    from models import find_positives

    batch = Targets(*(torch.from_numpy(part)[None] for part in targets))
    cells = find_positives(batch, radius).cells
    return torch.stack([cells.y, cells.x], dim=1).numpy()


def with_trained_sizes(targets: Targets) -> Targets:
    """The targets with the horizontal sizes that --theta_rule better teaches in the place of the outer box's."""
    import torch

    from models.better_box import with_moment_sizes

    return targets._replace(wh=with_moment_sizes(torch.from_numpy(targets.wh)).numpy())


def _draw_and_count(
    config: Config, training_set: TrainingSet, class_names: Sequence[str], out_dir: Path, drawn: Sequence[int]
) -> list:
    """Make each input once: draw those of the rows `drawn`, count all. Returns the counts of the inputs."""
    from datasets.picture_files.images import ImageError
    from tools.drawing import as_bgr
    from tools.drawings.drawing_files import check_drawings, write_picture
    from tools.drawings.lettering import drawable
    from tools.drawings.target_picture import draw_targets
    from tools.running.messages import report_problems
    from tools.target_statistics import count_input

    counts, problems, chosen = [], [], set(drawn)
    check_drawings(out_dir / f"{training_set.samples[row].name}.png" for row in drawn)
    for row in progress_bar(range(len(training_set)), desc="making inputs", unit="picture"):
        item = training_set[0, row]
        if isinstance(item, ImageError):
            if config.on_bad_label == "error":
                raise ImageError(f"{item} (--on_bad_label skip leaves such pictures out)")
            problems.append(str(item))
            continue
        image, targets, _ = item
        counts.append(count_input(targets))
        if row in chosen:
            name = training_set.samples[row].name
            cells = positive_cells(targets, config.positive_radius)
            shown = with_trained_sizes(targets) if config.theta_rule == "better" else targets
            picture = draw_targets(drawable(name, f"picture {row + 1}"), as_bgr(image), shown, class_names, cells)
            write_picture(out_dir / f"{name}.png", picture)
    report_problems(problems, "bad pictures left out")
    return counts


def _config_of(options: argparse.Namespace) -> Config:
    """The settings of a training run on this data, checked as they would be there."""
    from tools.data import DEMO_DIR

    is_demo = options.data_dir.resolve() == DEMO_DIR.resolve() and options.dataset in ("auto", "demo")
    # The demo set is the default, is drawn when it is not there, and has an input size of its own.
    place = [] if is_demo else [f"--data_dir={options.data_dir}"]
    return parse_settings([*options.settings, f"--dataset={options.dataset}", *place])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "draw_targets",
        description="Draw what the network is trained on: the input with the boundary vectors, boxes, the flag rotated "
        "or horizontal and ignore regions, beside it the heat map; and count the targets of all pictures. The flag is "
        "that of the tilt; --theta_rule better teaches of either which of its two boxes is better, as the network has "
        "them by then.",
        epilog="Every flag of python main.py --phase train is taken as well: --input_h (pixels), --recipe, --window_h, "
        "--augment_rotate, --seed, --on_bad_label, --config runs/x/settings.toml ... Exit codes: 0 done, 1 something "
        "in the data, 2 a wrong flag.",
    )
    add = parser.add_argument
    add("data_dir", type=Path, metavar="DATA_DIR", help="data folder; nothing is written there")
    add("out_dir", type=Path, metavar="OUT_DIR", help=f"folder to write a PNG a picture and {SUMMARY} to")
    add(
        "--dataset",
        default="auto",
        metavar="NAME",
        help="dota, hrsc, rolabelimg, yolo_obb [default: looks]",
    )
    add(
        "--num", type=whole(0), default=20, metavar="N", help="pictures to draw; all are counted [default: %(default)s]"
    )
    add(
        "--augment",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="as in the first epoch of training, turned, flipped, in mosaics; else upright and whole [default: yes]",
    )
    # Taken out first: the folders may stand behind a flag that the parser does not know to have a value.
    settings, rest = split_settings(sys.argv[1:] if arguments is None else arguments, others=("dataset",))
    options, unknown = parser.parse_known_args(rest)
    if unknown and not unknown[0].startswith("--"):  # what follows a flag may be its value
        parser.error(f"{unknown[0]}: DATA_DIR and OUT_DIR are all that is taken beside flags")
    options.settings = [*settings, *unknown]
    return options


if __name__ == "__main__":
    sys.exit(main())
