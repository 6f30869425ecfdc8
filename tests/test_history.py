"""A run's history: a table that is always whole, epochs once each, a plot, and TensorBoard where it is."""

from __future__ import annotations

import csv
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from DOTA_devkit.evaluation import evaluate
from DOTA_devkit.metrics import metrics_dict
from tools.running.command_line import SettingsError
from tools.training import history as history_module
from tools.training.history import DAMAGED, History, best_row, validation_columns

REPOSITORY = Path(__file__).resolve().parent.parent


def _row(epoch: int, **more: float | None) -> dict[str, float | int | None]:
    return {"epoch": epoch, "step": epoch * 10, "lr": 1e-3, "hm": 1.0 / epoch, "total": 2.0 / epoch, **more}


def _table(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _off(folder: Path, start_epoch: int = 0) -> History:
    return History(folder, start_epoch, tensorboard="off")


@pytest.fixture
def no_plot(monkeypatch):
    monkeypatch.setattr(history_module, "draw_history", lambda *_: None)


def test_one_epoch_is_a_table_and_a_plot(tmp_path):
    _off(tmp_path / "图 1").add(_row(1, mAP50=0.25))
    assert _table(tmp_path / "图 1") == [
        {"epoch": "1", "step": "10", "lr": "0.001", "hm": "1", "total": "2", "mAP50": "0.25"}
    ]
    plot = cv2.imdecode(np.fromfile(tmp_path / "图 1" / "loss.png", np.uint8), cv2.IMREAD_COLOR)
    assert min(plot.shape[:2]) > 400
    assert plot.std() > 10


def test_of_short_epochs_not_every_row_is_drawn_but_the_last_one_is(tmp_path, monkeypatch):
    """A plot takes a second, an epoch on a GPU perhaps three."""
    clock, drawn = [0.0], []

    def draw(path, rows, best_by):
        drawn.append(len(rows))
        clock[0] += 1.0

    monkeypatch.setattr(history_module, "draw_history", draw)
    monkeypatch.setattr(history_module.time, "monotonic", lambda: clock[0])
    history = _off(tmp_path)
    for epoch in range(1, 21):
        history.add(_row(epoch))
        clock[0] += 3.0
    assert drawn == [1, 8, 15]
    history.close()
    assert drawn == [1, 8, 15, 20]
    history.close()
    assert drawn == [1, 8, 15, 20]


def test_a_plot_that_cannot_be_written_at_the_end_is_a_warning(tmp_path, no_plot, monkeypatch, capsys):
    history = _off(tmp_path)
    history.add(_row(1))
    history.add(_row(2))

    def full(path, rows, best_by):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(history_module, "draw_history", full)
    history._drawn = 0
    history.close()
    assert "loss.png: cannot be written (No space left on device)" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("rows", [[_row(1)], [_row(1, mAP50=None, lr=0.0, total=float("nan"), hm=0.0)], [{"epoch": 3}]])
def test_rows_with_little_in_them_can_be_plotted(tmp_path, rows):
    for row in rows:
        _off(tmp_path).add(row)
    assert (tmp_path / "loss.png").stat().st_size > 1000


def test_a_spreadsheet_knows_the_encoding_and_names_in_any_script_stay_one_cell(tmp_path, no_plot):
    history = _off(tmp_path)
    history.add(_row(1) | {"AP50 小车": 0.5, 'AP50 a, "b"': None})
    assert (tmp_path / "history.csv").read_bytes().startswith(b"\xef\xbb\xbfepoch,step,")
    (row,) = _table(tmp_path)
    assert (row["AP50 小车"], row['AP50 a, "b"']) == ("0.5", "")


def test_columns_stay_where_they_are_and_new_ones_come_behind(tmp_path, no_plot):
    history = _off(tmp_path)
    history.add(_row(1))
    history.add({"mAP50": 0.5, **_row(2)})
    history.add(_row(3))
    table = _table(tmp_path)
    assert list(table[0]) == ["epoch", "step", "lr", "hm", "total", "mAP50"]
    assert [row["mAP50"] for row in table] == ["", "0.5", ""]


def test_after_a_resume_no_epoch_stands_twice(tmp_path, no_plot):
    """Defect 11: the published resume repeats an epoch."""
    first = _off(tmp_path)
    for epoch in range(1, 6):
        first.add(_row(epoch, mAP50=epoch / 10))
    resumed = _off(tmp_path, start_epoch=3)
    assert [row["epoch"] for row in _table(tmp_path)] == list("12345")  # nothing is cut before there is better
    resumed.add(_row(4, mAP50=0.9))
    assert [(row["epoch"], row["mAP50"]) for row in _table(tmp_path)] == [
        ("1", "0.1"), ("2", "0.2"), ("3", "0.3"), ("4", "0.9")
    ]  # fmt: skip
    resumed.add(_row(4, mAP50=0.8))
    assert [row["mAP50"] for row in _table(tmp_path)] == ["0.1", "0.2", "0.3", "0.8"]


def test_what_is_read_back_is_written_the_same(tmp_path, no_plot):
    history = _off(tmp_path)
    history.add(_row(1, seconds=1 / 3, data_wait=float("nan"), images=123456789, box=None))
    before = (tmp_path / "history.csv").read_bytes()
    _off(tmp_path, start_epoch=1)._write_table()
    assert (tmp_path / "history.csv").read_bytes() == before
    assert b"123456789" in before


def test_numbers_of_numpy_are_numbers(tmp_path, no_plot):
    _off(tmp_path).add({"epoch": np.int64(1), "total": np.float32(0.5)})
    assert _table(tmp_path) == [{"epoch": "1", "total": "0.5"}]


@pytest.mark.parametrize(
    "text", ["epoch;total\n1;0,5\n", "epoch,total\n1\n", "epoch,total\n1,2,3\n", "a,b\n1,2\n", "\x00"]
)
def test_a_table_changed_by_another_program_is_kept_aside(tmp_path, no_plot, capsys, text):
    (tmp_path / "history.csv").write_text(text, encoding="utf-8")
    history = _off(tmp_path, start_epoch=1)
    history.add(_row(2))
    assert (tmp_path / DAMAGED).read_text(encoding="utf-8") == text
    assert [row["epoch"] for row in _table(tmp_path)] == ["2"]
    assert DAMAGED in capsys.readouterr().err


def test_a_write_that_fails_leaves_the_old_table_and_the_next_one_holds_all(tmp_path, no_plot, monkeypatch, capsys):
    history = _off(tmp_path)
    history.add(_row(1))

    def locked(*arguments: object) -> None:
        raise PermissionError(13, "in use", str(tmp_path / "history.csv"))

    with monkeypatch.context() as patch:
        patch.setattr(history_module, "write_csv", locked)
        history.add(_row(2))
    assert "history.csv: cannot be written now (in use)" in capsys.readouterr().err
    assert len(_table(tmp_path)) == 1
    history.add(_row(3))
    assert [row["epoch"] for row in _table(tmp_path)] == ["1", "2", "3"]


def test_a_full_disk_is_told(tmp_path, no_plot, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "history.csv")

    monkeypatch.setattr(history_module, "write_csv", full)
    with pytest.raises(OSError, match="No space left"):
        _off(tmp_path).add(_row(1))


def test_pages_are_numbered_pictures(tmp_path):
    path = _off(tmp_path).page(7, np.full((20, 30, 3), 90, np.uint8))
    assert path == tmp_path / "validation" / "epoch_0007.jpg"
    assert cv2.imread(str(path)).shape == (20, 30, 3)


def test_columns_of_a_validation():
    columns = validation_columns(metrics_dict(evaluate({}, {}, ["car", "小船"])), {"total": 2.0, "hm": 1.5})
    scores = {"mAP50": None, "mAP75": None, "mAP50_95": None, "AP50 car": None, "AP50 小船": None}
    assert columns == scores | {"val_total": 2.0, "val_hm": 1.5}


def test_without_the_package_on_is_an_error_with_a_remedy_and_auto_is_silent(tmp_path, no_plot, monkeypatch, capsys):
    monkeypatch.setattr(history_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install -r requirements-tensorboard\.txt"):
        History(tmp_path, tensorboard="on")
    history = History(tmp_path, tensorboard="auto")
    history.add(_row(1))
    history.add_step(3, {"loss/total": 1.0})
    history.close()
    assert not (tmp_path / "tensorboard").exists()
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_importing_and_making_it_loads_neither_matplotlib_nor_tensorboard_nor_torch(tmp_path):
    code = (
        "import sys, pathlib; from tools.training.history import History; History(pathlib.Path(sys.argv[1]));"
        "print([name for name in ('matplotlib', 'tensorboard', 'torch') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_tensorboard_holds_scalars_and_pages_and_a_resumed_run_voids_what_came_later(tmp_path, no_plot):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    first = History(tmp_path, tensorboard="on")
    for step in (20, 40, 60):
        first.add_step(step, {"loss/total": float(step)})
    first.add(_row(1) | {"mAP50": 0.5, "step": 60, "AP50 小车": None})
    first.page(1, np.zeros((8, 8, 3), np.uint8))
    first.close()
    resumed = History(tmp_path, start_epoch=0, tensorboard="on")
    resumed.add_step(40, {"loss/total": -1.0, "lr": 0.5})
    resumed.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/total")] == [(20, 20.0), (40, -1.0)]
    assert [event.value for event in events.Scalars("step/lr")] == [0.5]
    assert "validation/mAP50" in events.Tags()["scalars"]
    assert "validation/AP50_小车" not in events.Tags()["scalars"]
    assert events.Tags()["images"] == ["validation"]


@pytest.mark.parametrize(
    ("best_by", "first", "second", "best"),
    [
        ("mAP50", (0.5, 0.3), (0.5, 0.2), 0),
        ("mAP50", (0.5, 0.3), (0.5, 0.3), 1),
        ("mAP50_95", (0.5, 0.4), (0.6, 0.3), 0),
        ("mAP50_95", (0.5, 0.4), (0.6, 0.4), 1),
        ("mAP75", (0.5, 0.4), (0.4, 0.5), 0),
    ],
)
def test_the_best_row_is_that_of_the_best_checkpoint(best_by, first, second, best):
    """The plot marked another epoch than that of best.pth, and the comparison of runs told a third."""
    rows = [{"epoch": 1 + k, "mAP50": a, "mAP50_95": b} for k, (a, b) in enumerate((first, second))]
    assert best_row([*rows, {"epoch": 3}], best_by) == best
    assert best_row([{"epoch": 1}], best_by) is None


def test_the_whole_curve_is_on_the_plot_whatever_best_is_by(tmp_path, monkeypatch):
    """By mAP75 the best epoch may have a lower mAP50 than others, whose points were cut off."""
    limits, draw = [], history_module.figure_file

    @contextmanager
    def watched(*arguments, **options):
        with draw(*arguments, **options) as figure:
            yield figure
            limits.extend(axes.get_ylim()[1] for axes in figure.axes if "mAP50" in axes.get_ylabel())

    monkeypatch.setattr(history_module, "figure_file", watched)
    history = History(tmp_path, tensorboard="off", best_by="mAP75")
    for epoch, (score, strict) in enumerate([(0.5, 0.1), (0.8, 0.2), (0.6, 0.3)], 1):
        history.add(_row(epoch, mAP50=score, mAP75=strict))
    history.close()
    assert limits[-1] > 0.8
