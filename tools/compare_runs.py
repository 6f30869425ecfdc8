"""The command that sets runs side by side, with what differs in their settings: `python -m tools.compare_runs`."""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DOTA_devkit.atomic import write_csv
from DOTA_devkit.reasons import first_line
from DOTA_devkit.text_table import aligned
from tools.config import settings_dict, settings_from
from tools.drawings.plots import figure_file, plot_text
from tools.run_folder import LOG, RUNS_DIR, SETTINGS
from tools.running.command_line import Parser, SettingsError, exit_code
from tools.running.destinations import refuse_to_replace
from tools.running.messages import warn
from tools.training.history import CSV, best_row, read_history

# Settings that say where and how a run works, and not what it learns.
_NOT_LEARNT = frozenset(
    "phase out num_workers device compile cache tensorboard save_every num_drawings draw_score scores line_width "
    "draw_labels bootstrap".split()
)
# Settings that decide what a validation finds, besides its pictures and classes.
_VALIDATING = ("data_dir", "K", "conf_thresh", "nms_thresh", "agnostic_nms", "ignore_overlap", "tta_views")
_PLOTS = (".png", ".pdf", ".svg")
_PLOT_TITLE = "runs compared, mAP50 over pictures"  # by which such a plot is known
_HEADING = ("run", "mAP50", "at epoch", "epochs", "pictures", "training, min", "validated on")


@dataclass(frozen=True)
class RunSummary:
    """What a run's folder tells of it.

    Attributes:
        settings: plain values by name. best, best_epoch: mAP50 of the validation that best.pth is of, None before the
            first. epochs, pictures, minutes: done so far. seen, scores: pictures trained on and mAP50 at each
            validation.
        val_names: the pictures that it is validated on, sorted. class_names: of the network.
    """

    name: str
    settings: dict[str, Any]
    best: float | None
    best_epoch: int | None
    epochs: int
    pictures: int
    minutes: float
    seen: list[int]
    scores: list[float]
    val_names: tuple[str, ...]
    class_names: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, write the plot; returns the exit code: 0 done, 1 no run to be read, 2 a wrong flag."""
    return exit_code(lambda: _run(_parse(arguments)))


def read_run(folder: Path, name: str) -> RunSummary:
    """What the folder of a run tells. Raises ValueError and OSError where its files cannot be read."""
    rows = read_history(folder)
    # A setting that a run of an older version does not know was what is now the default.
    settings = settings_dict(settings_from(tomllib.loads((folder / SETTINGS).read_text(encoding="utf-8-sig"))))
    if settings.get("num_images") is not None:
        settings.pop("num_epoch")  # it had no effect
    scored = [row for row in rows if row.get("mAP50") is not None]
    number = best_row(rows, settings["best_by"])
    best = {} if number is None else rows[number]
    return RunSummary(
        name,
        {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()},
        best.get("mAP50"),
        best.get("epoch"),
        int(rows[-1]["epoch"]) if rows else 0,
        int(rows[-1].get("images") or 0) if rows else 0,
        sum(row.get("seconds") or 0.0 for row in rows) / 60,
        [int(row.get("images") or 0) for row in scored],
        [row["mAP50"] for row in scored],
        tuple(sorted(_lines(folder / "lists" / "val.txt"))),
        tuple(_lines(folder / "classes.txt")),
    )


def differing_settings(runs: Sequence[RunSummary]) -> dict[str, list[Any]]:
    """{setting: its value in each run, None where it is not set} of the settings that are not the same in all."""
    names = dict.fromkeys(name for run in runs for name in run.settings if name not in _NOT_LEARNT)
    values = {name: [run.settings.get(name) for run in runs] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}


def _run(options: argparse.Namespace) -> int:
    runs = sorted(_runs(options.runs), key=lambda run: (run.best is None, -(run.best or 0.0), run.name))
    differing, groups = differing_settings(runs), _validation_groups(runs)
    changes = [[_plain(values[row]) for values in differing.values()] for row in range(len(runs))]
    usual = [_usual(column) for column in zip(*changes, strict=True)]
    table = [[*_HEADING, "settings unlike those of most"]]
    for run, group, changed in zip(runs, groups, changes, strict=True):
        unlike = zip(differing, changed, usual, strict=True)
        said = (f"{name} {value or 'not set'}" for name, value, common in unlike if value != common)
        table.append([*_cells(run, group), ", ".join(said)])
    print("\n".join(aligned(table, to_the_left=(0, 6, 7))))
    if len(set(groups)) > 1:
        warn("not all were validated alike; compare mAP50 within the runs of one letter only")
    if options.csv:
        rows = [[*_cells(run, group), *changed] for run, group, changed in zip(runs, groups, changes, strict=True)]
        write_csv(options.csv, [(*_HEADING, *differing), *rows])
    if options.plot:
        _draw(options.plot, runs)
    return 0


def _runs(sources: Sequence[Path]) -> list[RunSummary]:
    """The runs in the folders, of which each is a run or holds runs. Raises SettingsError where there is none."""
    folders: dict[Path, Path] = {}
    for source in sources:
        if not source.is_dir():
            raise SettingsError(f"{source}: no such folder")
        inside = sorted(path.parent for path in source.rglob(SETTINGS) if _is_run(path.parent))
        if not inside:
            raise SettingsError(f"{source}: no run with {SETTINGS} and {LOG} there")
        for folder in inside:
            folders.setdefault(folder.resolve(), source if folder == source else folder.relative_to(source))
    names = Counter(map(str, folders.values()))
    runs = []
    for folder, shown in folders.items():
        try:
            runs.append(read_run(folder, str(shown) if names[str(shown)] == 1 else str(folder)))
        except (LookupError, OSError, TypeError, ValueError) as error:
            warn(f"{folder} is left out: {first_line(error)}")
    if not runs:
        raise ValueError("none of the runs can be read")
    return runs


def _is_run(folder: Path) -> bool:
    return (folder / LOG).is_file() or (folder / CSV).is_file()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _validation_groups(runs: Sequence[RunSummary]) -> list[str]:
    """A letter for each run; runs of one letter are validated on the same pictures and classes in the same way."""
    kinds: list[object] = [_validation(run) for run in runs]
    known = list(dict.fromkeys(kinds))
    return [_letters(known.index(kind)) for kind in kinds]


def _validation(run: RunSummary) -> tuple:
    """What a run's mAP50 depends on; a run whose list is lost is like no other."""
    how = tuple(str(run.settings.get(name)) for name in _VALIDATING)
    return run.val_names or run.name, run.class_names, how


def _letters(number: int) -> str:
    """A, B ... Z, AA, AB ..."""
    return (_letters(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def _cells(run: RunSummary, group: str) -> list[str]:
    return [
        run.name,
        "" if run.best is None else f"{run.best:.4f}",
        "" if run.best_epoch is None else str(run.best_epoch),
        str(run.epochs),
        str(run.pictures),
        f"{run.minutes:.1f}",
        f"{group} ({len(run.val_names)})",
    ]


def _usual(values: Sequence[str]) -> str | None:
    """The value that more than half of the runs have, if there is one."""
    value, count = Counter(values).most_common(1)[0]
    return value if 2 * count > len(values) else None


def _plain(value: Any) -> str:
    """A setting as it is written on the command line; nothing where it is not set."""
    if isinstance(value, list):
        return " ".join(map(_plain, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _draw(path: Path, runs: Sequence[RunSummary]) -> None:
    """Plot mAP50 over the pictures trained on, a curve a run, the best on top of the legend. Raises OSError."""
    with figure_file(path, (9, 5.5), [run.name for run in runs], title=_PLOT_TITLE) as figure:
        axes = figure.subplots()
        for number, run in enumerate(run for run in runs if run.scores):
            style = ("-", "--", ":")[number // 10 % 3]
            label = f"{run.best:.3f}  {plot_text(run.name)}"
            looks = {"marker": "o", "markersize": 3.5, "color": f"C{number % 10}"}
            axes.plot(run.seen, run.scores, style, label=label, **looks)
        axes.set_xlabel("pictures trained on")
        axes.set_ylabel("mAP50 in validation")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3, linewidth=0.6)
        if axes.lines:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        "compare_runs",
        description="Set runs side by side, the best in validation first: how far they came, and which of their "
        "settings differ. Runs of one letter were validated on the same pictures and classes, in the same way.",
        epilog="Exit codes: 0 done, 1 no run can be read, 2 a wrong flag.",
    )
    add = parser.add_argument
    add(
        "runs",
        type=Path,
        nargs="*",
        default=[RUNS_DIR],
        metavar="FOLDER",
        help="runs, or folders that hold runs [default: runs]",
    )
    add("--csv", type=Path, metavar="FILE", help="write the table there, a column for each setting that differs")
    add("--plot", type=Path, metavar="FILE.png", help="draw mAP50 over the pictures trained on; also .pdf and .svg")
    options = parser.parse_args(arguments)
    if options.plot is not None and options.plot.suffix.lower() not in _PLOTS:
        parser.error(f"argument --plot: {options.plot} must end in {', '.join(_PLOTS)}")
    refuse_to_replace(options.csv, "--csv", [",".join(_HEADING[:4])])
    refuse_to_replace(options.plot, "--plot", marks=[_PLOT_TITLE])
    return options


if __name__ == "__main__":
    sys.exit(main())
