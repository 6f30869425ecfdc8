"""Detecting in a video: what its frames give as pictures, a row of counts for each, and a video with the boxes."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

import main as program
from datasets.videos import Frame, Video, VideoError
from DOTA_devkit import atomic
from DOTA_devkit.task_files import NO_DETECTIONS
from tests.conftest import REPOSITORY, save_finding_network
from tests.video_clips import write_clip
from tools.checkpoint import CheckpointError
from tools.convert_labels import main as convert
from tools.detect_video import main
from tools.detection.results import ResultFiles, read_origin
from tools.detector import Detector
from tools.extract_frames import main as extract
from tools.infer_onnx import main as infer_onnx


def records(out: Path) -> list[dict]:
    return json.loads((out / "results" / "detections.json").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("tile", [[], ["--tile", "64", "--overlap", "16"]])
@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_frames_have_the_boxes_that_they_have_as_pictures(
    finding_checkpoint: Path, exported, tmp_path: Path, capsys, kind: str, tile: list[str]
) -> None:
    clip, out, there = write_clip(tmp_path / "飞 行.mp4", 4), tmp_path / "out", tmp_path / "there"
    model = finding_checkpoint if kind == "torch" else exported(nms=True)
    assert main([str(model), str(clip), str(out), "--draw_score", "0.06", *tile]) == 0
    assert extract([str(clip), str(tmp_path / "frames"), "--every", "0", "--suffix", "png"]) == 0
    flags = ["--phase", "test", "--resume", str(finding_checkpoint), "--input", str(tmp_path / "frames")]
    assert program.main([*flags, "--out", str(there), "--num_workers", "0", "--num_drawings", "0", *tile]) == 0
    found, expected = records(out), records(there)
    assert [Path(record["image"]).stem for record in found] == [Path(record["image"]).stem for record in expected]
    assert sum(len(record["boxes"]) for record in found) > 20
    for record, other in zip(found, expected, strict=True):
        assert (record["height"], record["width"]) == (96, 128)
        assert [box["class"] for box in record["boxes"]] == [box["class"] for box in other["boxes"]]
        quads, others = (np.array([box["quad"] for box in part["boxes"]]) for part in (record, other))
        np.testing.assert_allclose(quads, others, atol=2e-2)
    assert read_origin(out / "results").keys() - read_origin(there / "results").keys() == {"every", "stopped"}
    with (out / "counts.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [f"飞 行_00000{number}" for number in range(4)]
    assert [float(row["seconds"]) for row in rows] == pytest.approx([0, 0.2, 0.4, 0.6])
    for row, record in zip(rows, found, strict=True):
        for name in ("car", "boat"):
            shown = [box for box in record["boxes"] if box["class"] == name and box["score"] >= 0.06]
            assert int(row[name]) == len(shown)
    assert sum(int(row["car"]) + int(row["boat"]) for row in rows) > 0


@pytest.mark.slow
def test_the_boxes_are_drawn_on_the_frames_that_were_looked_at(finding_checkpoint: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 10, rate=5.0)
    arguments = [str(finding_checkpoint), str(clip), str(tmp_path / "out"), "--every", "0.8"]
    assert main([*arguments, "--draw_score", "0.01"]) == 0
    with Video(tmp_path / "out" / "a_found.mp4") as video, Video(clip) as plain:
        assert (video.num_frames, video.rate) == (3, 1.25)
        for drawn, frame in zip(video.frames(), plain.frames(0.8), strict=True):
            assert np.mean(np.abs(drawn.picture.astype(int) - frame.picture).max(-1) > 60) > 0.02
    assert [record["image"] for record in records(tmp_path / "out")] == [f"a_00000{number}.jpg" for number in (0, 4, 8)]
    assert main([*arguments, "--draw_score", "1"]) == 0  # over its own earlier results
    with Video(tmp_path / "out" / "a_found.mp4") as video, Video(clip) as plain:
        for drawn, frame in zip(video.frames(), plain.frames(0.8), strict=True):
            assert np.abs(drawn.picture.astype(int) - frame.picture).mean() < 4
    (tmp_path / "out" / "a_found.mp4").unlink()
    assert main([*arguments, "--no_draw"]) == 0
    assert not (tmp_path / "out" / "a_found.mp4").exists()


@pytest.mark.slow
def test_a_video_that_cannot_be_read_stops_or_is_left_out(finding_checkpoint: Path, tmp_path: Path, capsys) -> None:
    """One empty file in a folder kept all the others from being looked at."""
    folder = tmp_path / "videos"
    folder.mkdir()
    write_clip(folder / "b.mp4", 2)
    (folder / "a.mp4").write_bytes(b"")
    words = [str(finding_checkpoint), str(folder), str(tmp_path / "out"), "--no_draw"]
    assert main(words) == 1
    assert "a.mp4: cannot be read as a video" in (said := capsys.readouterr().err)
    assert "(--on_bad_video skip leaves such videos out)" in said
    assert not (tmp_path / "out").exists()
    assert main([*words, "--on_bad_video", "skip"]) == 1
    assert "warning: " in capsys.readouterr().err
    assert [record["image"] for record in records(tmp_path / "out")] == ["b_000000.jpg", "b_000001.jpg"]
    (folder / "b.mp4").write_bytes(b"")
    assert main([*words, "--on_bad_video", "skip"]) == 1


@pytest.mark.slow
def test_a_network_of_grey_pictures_sees_the_frames_grey(tmp_path: Path, capsys) -> None:
    clip = write_clip(tmp_path / "a.mp4", 2)
    with Video(clip) as video:
        grey = [cv2.cvtColor(frame.picture, cv2.COLOR_BGR2GRAY)[:, :, None] for frame in video.frames()]
    for channels, code in ((1, 0), (4, 2)):
        path = tmp_path / f"{channels}.pth"
        save_finding_network(path, in_channels=channels)
        assert main([str(path), str(clip), str(tmp_path / f"out{channels}")]) == code
    assert "reads pictures of 4 bands" in capsys.readouterr().err
    expected = Detector(tmp_path / "1.pth").detect(grey)
    for record, boxes in zip(records(tmp_path / "out1"), expected, strict=True):
        assert [box["score"] for box in record["boxes"]] == pytest.approx(boxes.scores.tolist(), abs=1e-5)
        assert record["boxes"]


@pytest.mark.slow
def test_what_was_found_becomes_labels_of_the_frames_that_are_there(
    finding_checkpoint: Path, tmp_path: Path, capsys
) -> None:
    clip = write_clip(tmp_path / "a.mp4", 3)
    assert main([str(finding_checkpoint), str(clip), str(tmp_path / "out"), "--no_draw"]) == 0
    assert extract([str(clip), str(tmp_path / "frames"), "--every", "0"]) == 0
    (tmp_path / "frames" / "a_000001.jpg").unlink()  # not all are to be corrected
    flags = ["--from", "detections", "--to", "rolabelimg", "--images", str(tmp_path / "frames"), "--min_score", "0.05"]
    assert convert([str(tmp_path / "out" / "results"), str(tmp_path / "labels"), *flags]) == 0
    assert "1 pictures that are not in --images were left out" in capsys.readouterr().err
    names = sorted(path.name for path in (tmp_path / "labels").rglob("*.xml"))
    assert names == ["a_000000.xml", "a_000002.xml"]
    flags[flags.index("--images") + 1] = str(tmp_path)  # where no picture is
    assert convert([str(tmp_path / "out" / "results"), str(tmp_path / "more"), *flags]) == 1
    assert "none of the 3 pictures is there, such as a_000000" in capsys.readouterr().err


@pytest.mark.slow
def test_an_exported_file_needs_no_torch(exported, tmp_path: Path) -> None:
    code = (
        "import sys; from tools.detect_video import main; code = main(sys.argv[1:]); "
        "assert not {'torch', 'matplotlib', 'accelerate'} & sys.modules.keys(); sys.exit(code)"
    )
    arguments = [str(exported(nms=True)), str(write_clip(tmp_path / "a.mp4", 2)), str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_is_one_sentence(finding_checkpoint: Path, exported, tmp_path: Path, capsys) -> None:
    clip = str(write_clip(tmp_path / "in" / "a.mp4", 2))
    model, file, out = str(finding_checkpoint), str(exported(nms=True)), str(tmp_path / "out")
    (tmp_path / "file").touch()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "a_found.mp4").write_text("mine")
    for arguments, code, message in (
        (["none.pth", clip, out], 1, "none.pth: no such file"),
        ([str(tmp_path), clip, out], 1, "best.pth: no such file"),
        ([model, "none.mp4", out], 2, "none.mp4: no such video file"),
        ([model, clip, str(tmp_path / "in")], 2, "lies in the inputs"),
        ([model, clip, str(tmp_path / "foreign")], 2, "a_found.mp4 is there, and no earlier result"),
        ([model, str(tmp_path / "foreign" / "none"), out], 2, "none: no such video file"),
        ([model, "rtsp://10.0.0.1/cam", out], 2, "only files are read; python -m tools.detect_camera detects in"),
        ([model, "0", out], 2, "only files are read"),
        ([model, clip, out, "--K", "0"], 2, "--K is 0; it must be at least 1"),
        ([file, clip, out, "--K", "500"], 2, "--K is for checkpoints; export"),
        ([model, clip, clip], 2, "is a file; name a folder"),
        ([model, clip, str(tmp_path / "file")], 2, "is a file; name a folder"),
        ([model, clip, out, "--every", "-1"], 2, "--every is -1.0; it must be a time in seconds, 0 or more"),
        ([model, clip, out, "--track_gap", "2"], 2, "--track_gap goes with --track or --count_line"),
        ([model, clip, out, "--track", "--track_gap", "inf"], 2, "--track_gap is inf; it must be a time in seconds"),
        ([model, clip, out, "--count_line", "1", "2", "1", "2"], 2, "1 2 1 2 must go from one point to another"),
        ([model, clip, out, "--count_line", *"123", "nan"], 2, "1 2 3 nan must go from one point to another"),
        ([model, clip, out, "--count_line", *"00", "1e200", "1e200"], 2, "1e+200 must go from one point to another"),
        ([model, clip, out, "--count_zone", *"0099"], 2, "--count_zone 0 0 9 9: give x and y of three corners or more"),
        ([model, clip, out, "--count_zone", *"200 0 300 0 300 9".split()], 2, "lies outside the frames of 128 x 96"),
        ([model, clip, out, "--count_line", *"900"], 2, "--count_line: expected 4 arguments"),
        ([model, clip, out, "--count_line", "0", "97", "9", "97"], 2, "0 97 9 97 lies outside the frames of 128 x 96"),
        ([model, clip, out, "--track", "--track_frames", "0"], 2, "--track_frames is 0; it must be at least 1"),
        ([model, clip, out, "--draw_score", "nan"], 2, "--draw_score is nan; it must lie between 0 and 1"),
        ([model, clip, out, "--runtime", "openvino"], 2, "are for ONNX files"),
        ([model, clip, out, "--conf_thresh", "2"], 2, "--conf_thresh is 2.0; it must lie between 0 and 1"),
        ([file, clip, out, "--device", "cpu"], 2, "--device is for checkpoints"),
        ([file, clip, out, "--precision", "bf16"], 2, "--precision is for checkpoints"),
        ([file, clip, out, "--tta_views", "2"], 2, "--tta_views is for checkpoints; export"),
        ([file, clip, out, "--line_width", "-1"], 2, "--line_width is -1; it must lie between 0 and 1000"),
    ):
        assert main(arguments) == code, arguments
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["phase test", "infer_onnx"])
def test_commands_for_pictures_name_this_one(
    finding_checkpoint: Path, exported, tmp_path, capsys, command: str
) -> None:

    clip, out = str(write_clip(tmp_path / "a.mp4", 2)), str(tmp_path / "out")
    if command == "infer_onnx":
        assert infer_onnx([str(exported(nms=True)), clip, out]) == 2
    else:
        flags = ["--phase", "test", "--resume", str(finding_checkpoint), "--input", clip, "--out", out]
        assert program.main(flags) == 2
    assert "a.mp4: a video; python -m tools.detect_video" in capsys.readouterr().err


@pytest.mark.slow
def test_pictures_are_not_detected_on_into_the_results_of_a_video(
    exported: Callable[..., Path], tmp_path: Path, capsys
) -> None:
    """The counts and the drawn video stayed beside results that were not theirs."""
    file, clip, out = str(exported(nms=True)), write_clip(tmp_path / "in" / "a.mp4", 5), tmp_path / "out"
    assert main([file, str(clip), str(out)]) == 0
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((60, 90, 3), np.uint8))
    assert infer_onnx([file, str(tmp_path / "a.png"), str(out)]) == 2
    assert f"{out}: holds what tools.detect_video found; name another folder" in capsys.readouterr().err
    assert (out / "counts.csv").is_file()


@pytest.mark.slow
def test_results_of_another_video_and_files_of_others_are_not_replaced(
    finding_checkpoint: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    north, south = write_clip(tmp_path / "north.mp4", 2), write_clip(tmp_path / "south.mp4", 2)
    model, out = str(finding_checkpoint), tmp_path / "out"
    assert main([model, str(north), str(out)]) == 0
    assert main([model, str(south), str(out)]) == 2
    assert f"holds results of {north}; name" in capsys.readouterr().err
    with monkeypatch.context() as patch:  # its own it replaces, also after a run that was broken off

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(ResultFiles, "write", stop)
        assert main([model, str(north), str(out)]) == 130
    assert not (out / "results" / "origin.json").exists()
    assert not (out / "north_found.mp4").exists()
    (out / "results" / ".lock").touch()  # of one that was killed, with a finished video beside
    (out / "north_found.mp4").write_bytes(b"of the run that was killed")
    assert main([model, str(north), str(out)]) == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "counts.csv").write_text("mine")
    assert main([model, str(north), str(tmp_path / "mine")]) == 2
    assert (tmp_path / "mine" / "counts.csv").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("full", ["objects.csv", "origin.json"])
def test_a_disk_that_is_full_at_the_end_leaves_nothing_in_the_next_runs_way(
    finding_checkpoint: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    """The table of sightings and the drawn video stayed, and the next run took them for somebody else's."""
    clip, out = write_clip(tmp_path / "a.mp4", 3), tmp_path / "out"
    command = [str(finding_checkpoint), str(clip), str(out), "--track", "--track_frames", "1", "--draw_score", "0.05"]
    begin = atomic._begin

    def refuse(path: Path, mode: str) -> tuple:
        if path.name == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return begin(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_begin", refuse)
        assert main(command) == 1
    assert f"{full}: no space left on device" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["results"]
    (out / "results" / ".lock").touch()  # of one that was killed while it wrote
    (out / ".tracks.csv.0123456789ab.tmp").write_text("image")
    assert main(command) == 0
    assert {path.name for path in out.iterdir()} == {
        "results", "a_found.mp4", "counts.csv", "objects.csv", "tracks.csv"
    }  # fmt: skip


@pytest.mark.slow
def test_some_of_the_classes_can_be_asked_for(finding_checkpoint: Path, tmp_path: Path, capsys) -> None:
    clip, out = write_clip(tmp_path / "a.mp4", 2), tmp_path / "out"
    command = [str(finding_checkpoint), str(clip), str(out), "--classes", "boat"]
    assert main([*command, "--draw_score", "0.05", "--tile", "64", "--overlap", "8"]) == 0
    assert {box["class"] for record in records(out) for box in record["boxes"]} == {"boat"}
    with (out / "counts.csv").open(encoding="utf-8-sig") as file:
        assert csv.DictReader(file).fieldnames == ["image", "video", "frame", "seconds", "boat"]
    assert main([*command, "bota"]) == 2
    assert "--classes bota: did you mean 'boat'?" in capsys.readouterr().err


@pytest.mark.slow
def test_the_videos_of_a_folder_have_their_results_in_one_place(
    finding_checkpoint: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("north.mp4", "south.MP4"):
        write_clip(tmp_path / "a.mp4", 2).rename(tmp_path / name)
    (tmp_path / "flights").mkdir()
    for name in ("north.mp4", "south.MP4"):
        (tmp_path / name).rename(tmp_path / "flights" / name)
    command = [str(finding_checkpoint), str(tmp_path / "flights"), str(tmp_path / "out")]
    assert main([*command, "--draw_score", "0.9", "--conf_thresh", "0.05"]) == 0
    said = capsys.readouterr()
    assert "so no box was drawn or counted; lower --draw_score" in said.err
    assert [record["image"] for record in records(tmp_path / "out")] == [
        f"{name}_00000{number}.jpg" for name in ("north", "south") for number in (0, 1)
    ]
    with (tmp_path / "out" / "counts.csv").open(encoding="utf-8-sig") as file:
        assert [row["video"] for row in csv.DictReader(file)] == ["north.mp4"] * 2 + ["south.MP4"] * 2
    assert {path.name for path in (tmp_path / "out").glob("*.mp4")} == {"north_found.mp4", "south_found.mp4"}
    (tmp_path / "flights" / "damaged.mp4").write_bytes(b"no")
    assert main([*command[:-1], str(tmp_path / "other")]) == 1  # before the work
    assert "damaged.mp4: cannot be read as a video" in capsys.readouterr().err
    (tmp_path / "flights" / "damaged.mp4").unlink()

    def some_frames(video: Video, every: float = 0.0) -> Iterator[Frame]:
        yield from islice(frames(video, every), 1)
        if video.path.stem == "north" and detecting:
            raise VideoError(f"{video.path}: its middle is damaged")
        yield from frames(video, every)

    frames, detecting = Video.frames, []
    monkeypatch.setattr(Video, "frames", some_frames)
    monkeypatch.setattr(Detector, "detect", lambda *_: detecting.append(1) or [NO_DETECTIONS])
    assert main([*command[:-1], str(tmp_path / "other")]) == 1
    assert "its middle is damaged" in capsys.readouterr().err
    assert [record["image"] for record in records(tmp_path / "other")] == [
        "north_000000.jpg", "south_000000.jpg", "south_000001.jpg"
    ]  # fmt: skip


@pytest.mark.slow
def test_a_run_that_has_no_best_weights_yet_is_used_with_its_last(
    finding_checkpoint: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(finding_checkpoint, tmp_path / "run" / "last.pth")
    assert main([str(tmp_path / "run"), str(write_clip(tmp_path / "a.mp4", 2)), str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err.count("taking last.pth") == 1
    (tmp_path / "model.onnx").write_bytes(b"x" * 300)
    with pytest.raises(CheckpointError, match=r"model\.onnx: an exported file, no checkpoint; tools\.infer_onnx"):
        Detector(tmp_path / "model.onnx")
