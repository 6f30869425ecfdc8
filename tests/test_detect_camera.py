"""Detecting in a camera as it runs: tables that grow, the newest frame with its boxes, and how it ends."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets.cameras
from datasets.cameras import Camera
from datasets.videos import Frame
from tests.camera_servers import camera_server
from tests.video_clips import clip_frames, write_clip
from tools.detect_camera import main
from tools.videos import camera_watch

FLAGS = ("--draw_score", "0.05", "--report_every", "1", "--picture_every", "0.2", "--track_frames", "2")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_tables_grow_while_it_looks(finding_checkpoint: Path, tmp_path: Path, capsys) -> None:
    """The picture moves to the right, and what it shows to the left."""
    out = tmp_path / "out"
    lines = ("--count_line", "64", "96", "64", "0", "--count_line", "-5", "40", "200", "40")
    zones = (
        "--count_zone",
        *"0 0 64 0 64 96 0 96".split(),
        "--count_zone",
        *"-900 -900 2000 -900 2000 2000 -900 2000".split(),
    )
    with camera_server(clip_frames(60, pace=2), pace=0.03) as address:
        assert main([str(finding_checkpoint), address, str(out), "--seconds", "4", *FLAGS, *lines, *zones]) == 0
    said = capsys.readouterr().out
    (folder,) = (path for path in out.iterdir() if path.is_dir())
    assert {path.name for path in out.iterdir()} == {folder.name, "latest.jpg"}
    assert {path.name for path in folder.iterdir()} == {"camera.json", "objects.csv", "counts.csv", "crossings.csv"}
    facts = json.loads((folder / "camera.json").read_text(encoding="utf-8"))
    assert (facts["camera"], facts["width"], facts["height"]) == (address, 128, 96)
    assert facts["lines"] == [[64, 96, 64, 0], [-5, 40, 200, 40]]
    assert facts["zones"][0] == [[0, 0], [64, 0], [64, 96], [0, 96]]

    counts, objects, crossings = (rows_of(folder / f"{name}.csv") for name in ("counts", "objects", "crossings"))
    assert 3 <= len(counts) <= 5
    num_looked = sum(int(row["frames"]) for row in counts)
    assert f"looked at {num_looked} frames" in said
    assert said.endswith(f"written: {folder}\n")
    assert sum(float(row["seconds"]) for row in counts) == pytest.approx(4, abs=1)
    assert max(float(row["car"]) + float(row["boat"]) for row in counts) > 0.5
    for name in ("car", "boat"):
        assert all(row[f"zone_2_{name}"] == row[name] for row in counts), "all of the frame"
        assert all(float(row[f"zone_1_{name}"] or 0) <= float(row[name] or 0) for row in counts)
    assert sum(float(row["zone_1_car"] or 0) + float(row["zone_1_boat"] or 0) for row in counts) > 0
    assert objects
    assert len({row["object"] for row in objects}) == len(objects)
    for row in objects:
        assert folder.name[:10] == row["first_time"][:10]
        assert row["first_time"] < row["last_time"]
        assert 2 <= int(row["frames"]) <= num_looked
    assert "left" in {row["to"] for row in crossings if row["line"] == "1"}
    assert {row["object"] for row in crossings} <= {row["object"] for row in objects}
    for number in "12":
        for side in ("left", "right"):
            went = sum((row["line"], row["to"]) == (number, side) for row in crossings)
            assert sum(int(row[f"line_{number}_{side}"]) for row in counts) == went
            assert f"crossed line {number} to the {side}: {went}\n" in said
    latest = cv2.imread(str(out / "latest.jpg"))
    assert latest.shape == (96, 128, 3)
    assert (latest[60:90, 60:68] > 200).all(axis=-1).any()  # the line


@pytest.mark.slow
def test_a_stop_keeps_what_was_seen_and_a_new_start_begins_a_folder_of_its_own(
    finding_checkpoint: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, detect = tmp_path / "out", camera_watch.detect_in_frame
    calls: list[int] = []

    def stop_at_the_tenth(*parts: object):
        calls.append(1)
        if len(calls) == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        return detect(*parts)

    with camera_server(clip_frames(60, pace=2), pace=0.03) as address:
        with monkeypatch.context() as patch:
            patch.setattr(camera_watch, "detect_in_frame", stop_at_the_tenth)
            assert main([str(finding_checkpoint), address, str(out), "--picture_every", "0", *FLAGS[:4]]) == 143
        (first,) = out.iterdir()
        assert sum(int(row["frames"]) for row in rows_of(first / "counts.csv")) == len(calls) == 10
        assert rows_of(first / "objects.csv")
        assert main([str(finding_checkpoint), address, str(out), "--seconds", "0.5", "--every", "0.2", *FLAGS]) == 0
    second = max(path for path in out.iterdir() if path.is_dir())
    assert second != first
    assert sum(int(row["frames"]) for row in rows_of(second / "counts.csv")) in (2, 3, 4)
    assert not (second / "crossings.csv").exists()
    capsys.readouterr()


@pytest.mark.slow
def test_a_camera_that_goes_for_good_ends_it_where_that_is_asked_for(
    finding_checkpoint: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.cameras, "_FIRST_WAIT", 0.1)
    out, detect = tmp_path / "out", camera_watch.detect_in_frame
    server = camera_server(clip_frames(30), pace=0.03)
    address, calls = server.__enter__(), []

    def close_at_the_fifth(*parts: object):
        calls.append(1)
        if len(calls) == 5:
            server.__exit__(None, None, None)
        return detect(*parts)

    monkeypatch.setattr(camera_watch, "detect_in_frame", close_at_the_fifth)
    assert main([str(finding_checkpoint), address, str(out), "--give_up", "0.5", *FLAGS]) == 1
    said = capsys.readouterr()
    assert f"warning: {address}: gives no more frames; trying to reach it again\n" in said.err
    assert f"error: {address}: gave no frame for 0.5 s; given up\n" in said.err
    (folder,) = (path for path in out.iterdir() if path.is_dir())
    assert sum(int(row["frames"]) for row in rows_of(folder / "counts.csv")) == len(calls)


@pytest.mark.slow
def test_what_cannot_be_is_one_sentence(finding_checkpoint: Path, tmp_path: Path, capsys) -> None:
    clip = str(write_clip(tmp_path / "a.mp4", 2))
    model, out = str(finding_checkpoint), str(tmp_path / "out")
    (tmp_path / "foreign").mkdir()
    cv2.imwrite(str(tmp_path / "foreign" / "latest.jpg"), np.zeros((4, 4, 3), np.uint8))
    for arguments, code, message in (
        ([model, clip, out], 2, "a.mp4: a file; python -m tools.detect_video detects in videos"),
        ([model, "lobby", out], 2, "lobby: no camera; give its number, such as 0, or an address"),
        ([model, "99", out], 1, "99: no such camera here"),
        ([model, "/dev/video99", out], 1, "99: no such camera here"),
        ([model, "rtsp://me:secret@127.0.0.1:9/a", out], 1, "error: rtsp://127.0.0.1:9/a: does not answer, wants"),
        (["none.pth", "0", out], 1, "none.pth: no such file"),
        ([model, "0", clip], 2, "is a file; name a folder"),
        ([model, "0", str(tmp_path / "foreign")], 2, "latest.jpg is there and is no earlier drawing"),
        ([model, "0", out, "--count_line", "1", "2", "1", "2"], 2, "1 2 1 2 must go from one point to another"),
        ([model, "0", out, "--report_every", "0"], 2, "--report_every is 0.0; it must be a second or more"),
        ([model, "0", out, "--seconds", "-1"], 2, "--seconds is -1.0; it must be a time in seconds, 0 or more"),
    ):
        assert main(arguments) == code, arguments
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_line_outside_the_frames_is_told_before_anything_is_written(
    finding_checkpoint: Path, tmp_path: Path, capsys
) -> None:
    with camera_server(clip_frames(5)) as address:
        flags = ["--count_line", "0", "97", "9", "97"]
        assert main([str(finding_checkpoint), address, str(tmp_path / "out"), *flags]) == 2
    assert f"{address}: --count_line 0 97 9 97 lies outside the frames of 128 x 96 pixels" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_camera_that_comes_back_in_another_size_ends_it(
    finding_checkpoint: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lines would lie elsewhere."""
    newest, calls = Camera.newest, []

    def larger(camera: Camera, timeout: float = 0.5) -> Frame | None:
        frame = newest(camera, timeout)
        calls.append(frame)
        wide = np.zeros((120, 160, 3), np.uint8)
        return frame._replace(picture=wide) if frame is not None and len(calls) > 5 else frame

    monkeypatch.setattr(Camera, "newest", larger)
    with camera_server(clip_frames(30), pace=0.03) as address:
        assert main([str(finding_checkpoint), address, str(tmp_path / "out"), *FLAGS]) == 1
    assert "sends frames of 160 x 120 pixels now, and sent 128 x 96; start again" in capsys.readouterr().err


@pytest.mark.slow
def test_counting_goes_on_where_the_picture_cannot_be_written(
    finding_checkpoint: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "latest.jpg").touch()  # as a power cut leaves it
    calls: list[int] = []

    def refuse(path: Path, picture: np.ndarray) -> None:
        calls.append(1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(camera_watch, "write_picture", refuse)
    with camera_server(clip_frames(30), pace=0.03) as address:
        assert main([str(finding_checkpoint), address, str(out), "--seconds", "1", *FLAGS]) == 0
    assert len(calls) > 1
    assert capsys.readouterr().err.count("latest.jpg: cannot be written (No space left on device); counting goes") == 1


@pytest.mark.slow
def test_nothing_is_told_of_the_time_of_an_outage_and_objects_after_it_are_new(
    finding_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.cameras, "_FIRST_WAIT", 2.5)
    with camera_server([clip_frames(1)[0]] * 12, pace=0.03, rounds=1) as address:
        flags = ["--seconds", "5", "--track_gap", "60", *FLAGS]
        assert main([str(finding_checkpoint), address, str(tmp_path / "out"), *flags]) == 0
    (folder,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    counts, objects = rows_of(folder / "counts.csv"), rows_of(folder / "objects.csv")
    assert [row["car"] for row in counts if row["frames"] == "0"][:1] == [""]
    places = [(row["first_x"], row["first_y"]) for row in objects]
    assert len(places) > len(set(places))  # of the same picture, before and after
