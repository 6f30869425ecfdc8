"""Objects cut out by the command: of labels and of predictions, in folders of their classes, with a table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.picture_files.images import read_image
from DOTA_devkit.task_files import ImageDetections, write_results
from tests.label_documents import source
from tools import cut_objects
from tools.cut_objects import main


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "cuts.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def data_in(folder: Path, lines: str, name: str = "图 1", hw: tuple[int, int] = (80, 100)) -> Path:
    for part in ("images", "labelTxt"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    picture = np.random.default_rng(0).integers(0, 256, (*hw, 3), np.uint8)
    (folder / "images" / f"{name}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    (folder / "labelTxt" / f"{name}.txt").write_text(lines, encoding="utf-8")
    return folder


LINES = """10 20 40 20 40 30 10 30 a/b 0
50 40 60 40 60 60 50 60 船 1
70 10 90 10 90 20 70 20 DontCare 0
5 5 8 5 8 8 5 8 船 0
"""


def test_labels_are_cut_into_folders_of_their_classes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    src, out = data_in(tmp_path / "data", LINES), tmp_path / "out"
    assert main([str(src), str(out), "--from", "dota", "--min_side", "5"]) == 0
    said = capsys.readouterr()
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        "a%2Fb/图 1_0000.png", "船/图 1_0001.png", "cuts.csv"
    }  # fmt: skip
    picture = read_image(src / "images" / "图 1.png")
    np.testing.assert_array_equal(read_image(out / "a%2Fb" / "图 1_0000.png"), picture[20:30, 10:40])
    turned = np.rot90(picture[40:60, 50:60], -1)  # its longer side lies down, the angle is -90 degrees
    np.testing.assert_array_equal(read_image(out / "船" / "图 1_0001.png"), turned)
    first, second = rows_of(out)
    assert (first["file"], first["image"], first["class"], first["length"]) == (
        "a%2Fb/图 1_0000.png", "图 1", "a/b", "30.000",
    )  # fmt: skip
    assert (second["difficult"], second["angle_degrees"]) == ("1", "-90.000")
    assert "1 ignore regions were not cut out" in said.err
    assert "1 objects with a side shorter than 5 px were left out, as asked" in said.err
    assert f"written: {out}, with cuts.csv" in said.out


def test_the_first_side_and_a_margin(tmp_path: Path) -> None:
    src = data_in(tmp_path / "data", "60 40 60 60 50 60 50 40 car 0\n")  # the first side goes down
    flags = ["--from", "dota", "--upright", "first_side", "--margin", "0.1"]
    assert main([str(src), str(tmp_path / "out"), *flags]) == 0
    expected = np.rot90(read_image(src / "images" / "图 1.png")[38:62, 49:61], 1)
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "car" / "图 1_0000.png"), expected)
    assert main([str(src), str(tmp_path / "jpg"), *flags, "--suffix", "jpg"]) == 0
    assert read_image(tmp_path / "jpg" / "car" / "图 1_0000.jpg").shape == (12, 24, 3)


@pytest.mark.slow
def test_predictions_are_cut_with_their_scores(finding_checkpoint: Path, tmp_path: Path, dota_folder) -> None:
    import main as program

    images, run = dota_folder() / "images", tmp_path / "run"
    flags = ["--resume", str(finding_checkpoint), "--input", str(images), "--num_workers", "0", "--num_drawings", "0"]
    assert program.main(["--phase", "test", *flags, "--out", str(run)]) == 0
    command = [str(run), str(tmp_path / "out"), "--from", "detections", "--min_score", "0.05"]
    assert main(command) == 0  # where the pictures are the results tell
    rows = rows_of(tmp_path / "out")
    assert rows
    for row in rows:
        assert float(row["score"]) >= 0.05
        cut = read_image(tmp_path / "out" / row["file"])
        sides = (float(row["width"]), float(row["length"]))
        assert np.abs(np.subtract(cut.shape[:2], sides)).max() <= 1


def test_pictures_of_results_are_found_in_the_folder_of_their_list(tmp_path: Path) -> None:
    """As --phase eval leaves them, which knows the list and not the pictures."""
    src, results = data_in(tmp_path / "data", LINES), tmp_path / "run" / "results"
    (src / "val.txt").write_text("图 1\n", encoding="utf-8")
    found = ImageDetections(np.array([[[10, 20], [40, 20], [40, 30], [10, 30.0]]]), np.array([0.5]), np.array([0]))
    write_results(results, ["car"], {"图 1": found})
    origin = {"classes": ["car"], "images": ["图 1"], "pictures": str(src / "val.txt")}
    (results / "origin.json").write_text(json.dumps(origin), encoding="utf-8")
    assert main([str(tmp_path / "run"), str(tmp_path / "out"), "--from", "task1"]) == 0
    assert [(row["file"], row["score"]) for row in rows_of(tmp_path / "out")] == [("car/图 1_0000.png", "0.5000")]


def test_a_damaged_picture_and_one_that_is_missing_are_told_and_the_others_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    line = "10 20 40 20 40 30 10 30 car 0\n"
    for name in ("a", "b", "c"):
        src = data_in(tmp_path / "data", line, name)
    (src / "images" / "a.png").write_bytes(b"no picture")
    (src / "images" / "b.png").unlink()
    assert main([str(src), str(tmp_path / "out"), "--from", "dota"]) == 1
    said = capsys.readouterr().err
    assert "a.png:1: cannot be decoded" in said
    assert "left out: 1 pictures were not found, such as b" in said
    assert [row["file"] for row in rows_of(tmp_path / "out")] == ["car/c_0000.png"]


def test_those_cut_before_a_stop_are_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for name in ("a", "b", "c"):
        src = data_in(tmp_path / "data", "10 20 40 20 40 30 10 30 car 0\n", name)
    cut = cut_objects.cut_object

    def stop_at_the_second(*parts: object) -> np.ndarray:
        if (tmp_path / "out" / "car").exists():
            raise KeyboardInterrupt
        return cut(*parts)

    monkeypatch.setattr(cut_objects, "cut_object", stop_at_the_second)
    assert main([str(src), str(tmp_path / "out"), "--from", "dota"]) == 130
    assert [row["file"] for row in rows_of(tmp_path / "out")] == ["car/a_0000.png"]
    assert "stopped; cuts.csv lists the cuts so far" in capsys.readouterr().err


def test_deep_pictures_share_a_range_of_values(tmp_path: Path) -> None:
    src = data_in(tmp_path / "data", "10 20 40 20 40 30 10 30 car 0\n")
    picture = np.full((80, 100), 7500, np.uint16)
    picture[0] = 60000
    (src / "images" / "图 1.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    assert main([str(src), str(tmp_path / "out"), "--from", "dota", "--value_range", "7000", "8000"]) == 0
    assert set(read_image(tmp_path / "out" / "car" / "图 1_0000.png").flat) <= {127, 128}


def test_an_object_of_many_times_the_size_of_its_picture_is_left_out(tmp_path: Path, capsys) -> None:
    src = data_in(tmp_path / "data", "-9000 -9000 9000 -9000 9000 9000 -9000 9000 car 0\n")
    assert main([str(src), str(tmp_path / "out"), "--from", "dota"]) == 1
    said = capsys.readouterr()
    assert "left out: 1 objects of many times the size of their picture" in said.err
    assert said.out.endswith("nothing was cut\n")
    assert not (tmp_path / "out").exists()


def test_an_object_outside_of_its_picture_is_no_blank_cut(tmp_path: Path, capsys) -> None:
    src = data_in(tmp_path / "data", "-90 -90 -80 -90 -80 -80 -90 -80 car 0\n1 1 9 1 9 9 1 9 car 0\n")
    assert main([str(src), str(tmp_path / "out"), "--from", "dota"]) == 1
    assert "left out: 1 objects of which their picture shows nothing" in capsys.readouterr().err
    assert [row["file"] for row in rows_of(tmp_path / "out")] == ["car/图 1_0001.png"]


def test_what_cannot_be_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    src = data_in(tmp_path / "data", LINES)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").touch()
    for arguments, message in (
        ([str(src), str(tmp_path / "used"), "--from", "dota"], "used is in use; name a new or empty folder"),
        ([str(src), str(src / "cuts"), "--from", "dota"], "lies in the source"),
        ([str(tmp_path / "none"), str(tmp_path / "out"), "--from", "dota"], "none: no such file or folder"),
        (
            [str(src), str(tmp_path / "out"), "--from", "dota", "--margin", "2"],
            "--margin is 2.0; it must lie between 0",
        ),
        (
            [str(src), str(tmp_path / "out"), "--from", "dota", "--min_score", "0.5"],
            "--min_score goes with --from task1",
        ),
        ([str(src), str(tmp_path / "out"), "--from", "dota", "--bands", "0"], "--bands 0: give the numbers of"),
        ([str(src), str(tmp_path / "out"), "--from", "dota", "--bands", *"1234"], "cuts show one band, or three"),
    ):
        assert main(arguments) == 2, arguments
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["rolabelimg", "yolo_obb", "coco", "cvat", "labelme"])
def test_labels_of_every_program_are_cut(tmp_path: Path, name: str) -> None:
    assert main([str(source(tmp_path, name)), str(tmp_path / "out"), "--from", name]) == 0
    assert {row["class"] for row in rows_of(tmp_path / "out")} >= {"船 船"}
