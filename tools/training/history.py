"""The history of a run: a table that a spreadsheet opens, a plot, pages of pictures, and TensorBoard where it is."""

from __future__ import annotations

import csv
import importlib.util
import io
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from DOTA_devkit.atomic import write_csv
from tools.drawings.drawing_files import write_picture
from tools.drawings.plots import figure_file
from tools.running.command_line import SettingsError
from tools.running.messages import warn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CSV, PLOT, PAGES, TENSORBOARD = "history.csv", "loss.png", "validation", "tensorboard"
DAMAGED = "history.damaged.csv"
LOSS_TERMS = ("total", "hm", "wh", "reg", "cls_theta", "box")
CLASS_PREFIX, LOSS_PREFIX = "AP50 ", "val_"
PLOT_PAUSE = 19  # times as long as the last plot took, until the next
LOG_SCALE_FROM = 30.0  # ratio of the largest to the smallest loss shown, from which on a logarithmic scale tells more
TIE_BREAKERS = {"mAP50": "mAP50_95"}  # by which other score the best of equal checkpoints is; else by mAP50
MARKED_UP_TO = 40  # epochs: fewer points get a dot each

Value = float | int | None


class History:
    """What a run writes about itself, epoch by epoch; made by rank 0 only.

    `history.csv`: a row an epoch, written whole each time, so that no reader and no kill ever meets half a row.
    `loss.png`: its plot, drawn with a row and at the end; where epochs are short not with every row, so that a
    twentieth of the time goes on it. `validation/epoch_0007.jpg`: pages of pictures. `tensorboard/`: the same and the
    steps between, where the package is installed.

    start_epoch: epochs that are done; rows of later ones, of a run that went further before it was resumed from here,
    are cut off. tensorboard: "auto" where it is installed, "on" (raises SettingsError where it is not), "off".
    best_by: the score that chooses best.pth, which the plot marks.
    """

    def __init__(
        self,
        run_dir: Path,
        start_epoch: int = 0,
        tensorboard: Literal["auto", "on", "off"] = "auto",
        best_by: str = "mAP50",
    ) -> None:
        has_package = tensorboard != "off" and importlib.util.find_spec("tensorboard") is not None
        if tensorboard == "on" and not has_package:
            raise SettingsError(
                "--tensorboard on: the package is not installed; pip install -r requirements-tensorboard.txt"
            )
        self.run_dir, self.best_by = Path(run_dir), best_by
        self._rows = [row for row in _rows_so_far(self.run_dir) if row["epoch"] <= start_epoch]
        self._columns = list(dict.fromkeys(name for row in self._rows for name in row))
        self._uses_tensorboard = has_package
        self._writer: Any = None
        self._step = 0
        self._drawn = 0  # rows in the plot
        self._draw_from = -math.inf  # the time from which on another one may be drawn

    def add(self, row: Mapping[str, Value]) -> None:
        """Add the row of an epoch, in place of one that there was; columns that are new come behind the others.

        "epoch" (counted from 1) is needed; "step" (optimiser steps since the start) places it in TensorBoard. Drawn
        are the loss terms (LOSS_TERMS), "val_total", "mAP50" and "lr". None is an empty cell. Raises
        OSError (disk full).
        """
        row = {name: _plain(value) for name, value in row.items()}
        self._rows = [other for other in self._rows if other["epoch"] < row["epoch"]] + [row]
        self._columns = list(dict.fromkeys([*self._columns, *row]))
        try:
            self._write_table()
            if time.monotonic() >= self._draw_from:
                self._draw()
        except PermissionError as error:  # on Windows, a program that shows a file keeps others from writing it
            warn(f"{error.filename}: cannot be written now ({error.strerror}); the next epoch's row tries again")
        scalars = {_tag(name): value for name, value in row.items() if name not in ("epoch", "step")}
        self.add_step(int(row.get("step") or row["epoch"]), scalars)
        if self._writer is not None:
            self._writer.flush()

    def add_step(self, step: int, scalars: Mapping[str, Value]) -> None:
        """Add values of an optimiser step to TensorBoard, if there is one, under `step/` unless the name has
        a group of its own; every 20 steps or so are enough."""
        self._step = step
        if not self._open_writer():
            return
        for name, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(name if "/" in name else f"step/{name}", float(value), step)

    def page(self, epoch: int, image: np.ndarray) -> Path:
        """Write the page of pictures (H, W, 3) uint8 BGR of an epoch; returns where it lies. Raises OSError."""
        path = self.run_dir / PAGES / f"epoch_{epoch:04d}.jpg"
        write_picture(path, image)
        if self._open_writer():
            self._writer.add_image("validation", np.ascontiguousarray(image[:, :, ::-1]), self._step, dataformats="HWC")
        return path

    def close(self) -> None:
        """Draw the last rows, and hand on what TensorBoard has not written yet. The rest is on the disk already."""
        if self._drawn < len(self._rows):
            try:
                self._draw()
            except OSError as error:  # the run has ended, well or with an error of its own, which must be heard
                warn(f"{error.filename or self.run_dir / PLOT}: cannot be written ({error.strerror or error})")
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _draw(self) -> None:
        started = time.monotonic()
        draw_history(self.run_dir / PLOT, self._rows, self.best_by)
        ended = time.monotonic()
        self._drawn, self._draw_from = len(self._rows), ended + PLOT_PAUSE * (ended - started)

    def _write_table(self) -> None:
        rows = ([_cell(row.get(name)) for name in self._columns] for row in self._rows)
        write_csv(self.run_dir / CSV, [self._columns, *rows])

    def _open_writer(self) -> bool:
        """Whether there is a writer; made at its first use, whose step tells from where on an earlier one is void."""
        if self._writer is None and self._uses_tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.run_dir / TENSORBOARD), purge_step=self._step)
        return self._writer is not None


def read_history(run_dir: Path) -> list[dict[str, Value]]:
    """The rows of a run's table, in their order; none where there is no table. Raises ValueError for another table."""
    path = run_dir / CSV
    if not path.is_file():
        return []
    try:
        table = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True)
        rows = [{name: _number(text) for name, text in row.items()} for row in table]
        if "epoch" not in (table.fieldnames or ("epoch",)) or any(row["epoch"] is None for row in rows):
            raise ValueError("no column 'epoch', or a row without it")
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(f"{path}: is not the table that this program wrote ({error})") from error
    return rows


def best_row(rows: Sequence[Mapping[str, Value]], best_by: str) -> int | None:
    """The number of the row that best.pth is of: of the best score, of equal ones by the other (TIE_BREAKERS), and of
    those the last; None where no row was scored. Rows of an older version have mAP50 alone."""
    scored = [number for number, row in enumerate(rows) if row.get("mAP50") is not None]

    def rank(number: int) -> tuple[Value, Value, int]:
        row = rows[number]
        scores = (row.get(name) for name in (best_by, TIE_BREAKERS.get(best_by, "mAP50")))
        first, second = (row["mAP50"] if score is None else score for score in scores)
        return first, second, number

    return max(scored, key=rank, default=None)


def validation_columns(metrics: Mapping[str, Any], losses: Mapping[str, float]) -> dict[str, Value]:
    """The columns of a row that come of a validation: of `metrics_dict` the means and the AP50 of each class, and the
    terms of the loss."""
    terms = {f"{LOSS_PREFIX}{name}": losses[name] for name in LOSS_TERMS if name in losses}
    classes = {f"{CLASS_PREFIX}{name}": item["AP50"] for name, item in metrics["classes"].items()}
    return {name: metrics[name] for name in ("mAP50", "mAP75", "mAP50_95")} | classes | terms


def draw_history(path: Path, rows: list[Mapping[str, Value]], best_by: str = "mAP50") -> None:
    """Plot the rows of a history: loss terms above, and their sum in validation, mAP50 and learning rate below, and
    which row was the best by `best_by`. Raises OSError."""
    from matplotlib.ticker import MaxNLocator

    with figure_file(path, (9, 7)) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        epochs = _column(rows, "epoch")
        marker = "o" if len(rows) <= MARKED_UP_TO else ""
        _draw_losses(upper, rows, epochs, marker)
        _draw_accuracy(lower, rows, epochs, marker, best_by)
        lower.set_xlabel("epoch")
        lower.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        lower.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _draw_losses(axes: Axes, rows: list[Mapping[str, Value]], epochs: np.ndarray, marker: str) -> None:
    curves = {name: _column(rows, name) for name in LOSS_TERMS}
    curves = {name: values for name, values in curves.items() if np.nan_to_num(values).any()}
    for number, (name, values) in enumerate(curves.items()):
        is_total = name == "total"
        color, width = ("black", 2.2) if is_total else (f"C{number}", 1.4)
        axes.plot(epochs, values, marker=marker, markersize=3.5, color=color, linewidth=width, label=name)
    in_validation = _column(rows, f"{LOSS_PREFIX}total")
    is_known = np.isfinite(in_validation)
    if is_known.any():
        curves["validation"] = in_validation
        axes.plot(
            epochs[is_known],
            in_validation[is_known],
            "--",
            marker="o",
            markersize=3.5,
            color="black",
            linewidth=1.4,
            label="total in\nvalidation",
        )
    shown = np.concatenate([np.zeros(0), *curves.values()])
    shown = shown[np.isfinite(shown) & (shown > 0)]
    if shown.size and shown.max() >= LOG_SCALE_FROM * shown.min():
        axes.set_yscale("log")
    elif curves:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3, which="both", linewidth=0.6)
    if curves:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _draw_accuracy(axes: Axes, rows: list[Mapping[str, Value]], epochs: np.ndarray, marker: str, best_by: str) -> None:
    rates, scores = _column(rows, "lr"), _column(rows, "mAP50")
    if np.isfinite(rates).any():
        right = axes.twinx()
        right.plot(epochs, rates, "--", marker=marker, markersize=2.5, color="0.6", linewidth=1.2)
        right.set_ylabel("learning rate (dashed)", color="0.45")
        right.set_ylim(0, 1.1 * float(np.nanmax(rates)) or 1.0)
        right.ticklabel_format(axis="y", scilimits=(-2, 3))
        right.tick_params(colors="0.45")
        axes.set_zorder(right.get_zorder() + 1)
        axes.patch.set_visible(False)
    scored = np.isfinite(scores)
    axes.set_ylabel("mAP50 in validation", color="C0")
    axes.grid(alpha=0.3, linewidth=0.6)
    if not scored.any():
        axes.set_ylim(0, 1)
        axes.text(0.5, 0.5, "not validated yet", transform=axes.transAxes, ha="center", color="0.4")
        return
    axes.plot(epochs[scored], scores[scored], marker="o", markersize=3.5, color="C0", linewidth=1.8)
    best = best_row(rows, best_by)
    axes.set_ylim(0, max(0.01, 1.2 * float(np.nanmax(scores))))
    side = "center" if len(rows) == 1 else "right" if best > 0.8 * len(rows) else "left" if best < 2 else "center"
    place = (epochs[best], scores[best])
    axes.annotate(f"best {scores[best]:.3f}", place, (0, 6), textcoords="offset points", ha=side, color="C0")


def _column(rows: list[Mapping[str, Value]], name: str) -> np.ndarray:
    """A column (n,), NaN where it has nothing."""
    values = (row.get(name) for row in rows)
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _tag(name: str) -> str:
    """What TensorBoard files a column under."""
    if name in LOSS_TERMS:
        return f"epoch_loss/{name}"
    if name.startswith(LOSS_PREFIX):
        return f"validation_loss/{name.removeprefix(LOSS_PREFIX)}"
    if name.startswith(("mAP", "AP")):
        return f"validation/{name}"
    return f"run/{name}"


def _plain(value: Any) -> Value:
    """A number of any library as Python's."""
    if value is None or isinstance(value, int | float):
        return value
    return value.item() if hasattr(value, "item") else float(value)


def _cell(value: Value) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _rows_so_far(run_dir: Path) -> list[dict[str, Value]]:
    """The rows of an earlier part of the run. A table that another program has changed beyond reading is kept under
    another name, and a new one begins: a run does not end over it."""
    path = run_dir / CSV
    try:
        return read_history(run_dir)
    except ValueError:
        path.replace(run_dir / DAMAGED)
        warn(f"{path}: is not the table that this program wrote; kept as {DAMAGED}, and a new one begins")
        return []


def _number(text: str) -> Value:
    if text == "":
        return None
    try:
        return int(text)
    except ValueError:
        return float(text)
