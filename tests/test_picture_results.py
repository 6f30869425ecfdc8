"""Results as they come: what ends the work, what is kept of it, and what is said."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.picture_files.images import ImageError
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from tools.detection.picture_results import Report, draw_found, write_found
from tools.detection.results import ResultFiles, read_origin
from tools.drawings.drawing_files import write_picture
from tools.outcomes import Found, Tiling
from tools.running.command_line import SettingsError
from tools.running.folder_lock import locked
from tools.running.stop_request import StopRequest

PATHS = [Path("a.png"), Path("b.png"), Path("c.png")]
BOX = ImageDetections(np.array([[[0.0, 0], [4, 0], [4, 4], [0, 4]]]), np.array([0.4]), np.array([0]))


def work(
    folder: Path,
    found: list[Found],
    on_bad: str = "error",
    stop: StopRequest | None = None,
    tiling: Tiling | None = None,
) -> Report:
    report = Report(on_bad, "--on_bad_label", (100, 100), (100, 100), tiling, [0.5])
    drawn: list[Path] = []
    write_found(
        found,
        {path.stem: path for path in PATHS},
        ResultFiles(folder, ["car"], {}),
        report,
        lambda path, _: drawn.append(path),
        folder / "drawings",
        stop,
    )
    assert drawn == [PATHS[item.row] for item in found if item.picture is not None]
    return report


def test_a_picture_that_cannot_be_read_ends_the_work_and_what_was_found_stays(tmp_path: Path) -> None:
    found = [Found(0, BOX, (9, 9)), Found(1, NO_DETECTIONS, (0, 0), problem="b.png: damaged"), Found(2, BOX, (9, 9))]
    with pytest.raises(ImageError, match=r"b\.png: damaged \(--on_bad_label skip leaves such pictures out\)"):
        work(tmp_path, found)
    origin = read_origin(tmp_path)
    assert (origin["images"], origin["stopped"]) == (["a"], True)
    report = work(tmp_path, found, "skip")
    assert (report.num_boxes, report.num_shown.tolist(), report.problems) == (2, [0], ["b.png: damaged"])
    assert read_origin(tmp_path) == {"classes": ["car"], "images": ["a", "c"]}


def test_boxes_lie_on_the_overview_of_a_picture_that_is_too_large_to_draw(tmp_path: Path) -> None:
    box = ImageDetections(np.array([[[100.0, 200], [300, 200], [300, 280], [100, 280]]]), np.ones(1), np.array([0]))
    overview = np.zeros((40, 50, 3), np.uint8)
    draw_found(tmp_path, ["car"], {"labels": False}, PATHS[0], Found(0, box, (400, 500), overview, picture_scale=0.1))
    rows, columns = np.nonzero(cv2.imread(str(tmp_path / "drawings" / "a.png")).max(axis=2) > 100)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == pytest.approx((10, 30, 20, 28), abs=1)


def test_drawings_of_a_process_that_is_at_work_stay(tmp_path: Path) -> None:
    """They were removed before the lock was looked at."""
    drawing = tmp_path / "drawings" / "a.png"
    drawing.parent.mkdir()
    write_picture(drawing, np.zeros((9, 9, 3), np.uint8))
    with locked(tmp_path), pytest.raises(SettingsError, match="another process"):
        work(tmp_path, [])
    assert drawing.exists()
    work(tmp_path, [])
    assert not drawing.exists()


def test_another_error_writes_nothing(tmp_path: Path) -> None:
    def found():
        yield Found(0, BOX, (9, 9))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        work(tmp_path, found())
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_are_to_be_drawn_come_with_their_pixels(tmp_path: Path) -> None:
    work(tmp_path, [Found(0, BOX, (9, 9), np.zeros((9, 9, 3), np.uint8)), Found(1, BOX, (9, 9))])
    assert len(json.loads((tmp_path / "detections.json").read_text("utf-8"))) == 2


def test_what_is_said_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    report = work(tmp_path, [Found(0, BOX, (900, 900), num_cut=2), Found(1, BOX, (900, 900))])
    report.warn(5, "give --K 10")
    said = capsys.readouterr().err
    assert said.count("much larger than the network is used to") == 1
    assert "in 2 pictures all 5 boxes that are kept of a picture" in said
    assert "give --K 10" in said
    assert "the best score is 0.40, so no box was drawn" in said


def test_tiles_that_change_the_size_of_objects_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """mAP50 went from 0.48 to 0.01 by tiles of half the size, and nothing was said."""
    work(tmp_path, [], tiling=Tiling(50, 10))
    assert "objects come out 2 times as large as in most pictures of training" in capsys.readouterr().err
    for sound in (Tiling(100, 10), Tiling(70, 10), Tiling(50, 10, (0.5,)), Tiling(400, 10, (1.0, 4.0))):
        work(tmp_path, [], tiling=sound)
        assert capsys.readouterr().err == ""


def test_what_was_found_is_told_with_the_numbers_that_stand_for_classes(tmp_path: Path) -> None:
    """Only main.py told of them, not infer_onnx; and drawings were told of where none were asked for."""
    private = chr(0x10FFFD)  # which no font has
    report = Report("error", "--on_bad", (64, 64), (64, 64), None, [0.3])
    told = list(report.lines(tmp_path, ["car", private], 0.01, 2.5, num_drawn=50, num_pictures=50))
    assert told[0] == f"0 boxes of score 0.01 and more, 2.5 pictures/s: {tmp_path / 'results'}"
    assert told[1] == f"drawings, score 0.3 and more: {tmp_path / 'drawings'}"
    assert told[2].endswith(f": #1 is {private}")
    assert list(report.lines(tmp_path, ["car", private], 0.01, 2.5, num_drawn=0, num_pictures=50)) == told[:1]
    report = Report("error", "--on_bad", (64, 64), (64, 64), None, [0.3, 0.5])
    assert report.takes(PATHS[0], Found(0, BOX._replace(labels=np.array([0])), (64, 64)))
    assert report.takes(PATHS[1], Found(1, BOX._replace(labels=np.array([1])), (64, 64)))  # 0.4 is too little
    some = list(report.lines(tmp_path, ["car", "bus"], 0.01, 2.5, num_drawn=50, num_pictures=70))
    assert some[1] == "of score 0.3 to 0.5, by class, and more: 1 car"
    assert some[2].startswith(
        "drawings of the first 50 of 70 pictures (--num_drawings), score 0.3 to 0.5, by class, and more: "
    )


def test_a_stop_before_the_first_picture_leaves_the_earlier_results(tmp_path: Path) -> None:
    """Asked for while the network was loaded, it was granted after the results of yesterday had gone."""
    work(tmp_path, [Found(0, BOX, (9, 9))])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            work(tmp_path, [Found(0, BOX, (9, 9))], stop=stop)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
