"""Pictures out of videos: by time, without alike ones, never over what is there."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from datasets.picture_files.images import read_image
from tests.camera_servers import camera_server
from tests.video_clips import clip_frames, write_clip, write_cut_clip
from tools import extract_frames
from tools.extract_frames import main
from tools.split_train_val import main as split
from tools.videos.video_file import VideoFile


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize(("every", "step"), [("0", 1), ("0.4", 2), ("1", 5), ("99", 10)])
def test_a_frame_is_taken_every_so_many_seconds(tmp_path: Path, capsys, every: str, step: int) -> None:
    clip = write_clip(tmp_path / "录像.mp4", 10, rate=5.0)
    before = clip.read_bytes()
    assert main([str(clip), str(tmp_path / "out"), "--every", every, "--suffix", "png"]) == 0
    assert names(tmp_path / "out") == [f"录像_{number:06d}.png" for number in range(0, 10, step)]
    assert f"{-(-10 // step)} written" in capsys.readouterr().out
    expected = clip_frames(10)
    for number in range(0, 10, step):
        picture = read_image(tmp_path / "out" / f"录像_{number:06d}.png")
        assert np.argmin([np.abs(picture.astype(int) - other).mean() for other in expected]) == number
    assert clip.read_bytes() == before


def test_frames_that_show_the_same_as_the_last_one_are_left_out(tmp_path: Path, capsys) -> None:
    """A drone that hovers, flies on, and hovers again."""
    first, *_, last = clip_frames(30, pace=20)
    with VideoFile(tmp_path / "a.mp4", 5) as file:
        for frame in [first] * 4 + [last] * 3 + [first]:
            file.write(frame)
    assert main([str(tmp_path / "a.mp4"), str(tmp_path / "out"), "--every", "0", "--skip_alike"]) == 0
    assert names(tmp_path / "out") == ["a_000000.jpg", "a_000004.jpg", "a_000007.jpg"]
    assert "3 written, 5 alike" in capsys.readouterr().out


def test_a_picture_that_is_there_stays(tmp_path: Path, capsys) -> None:
    write_clip(tmp_path / "a.mp4", 10)
    command = [str(tmp_path / "a.mp4"), str(tmp_path / "out")]
    assert main(command) == 0
    (tmp_path / "out" / "a_000000.jpg").unlink()
    before = (tmp_path / "out" / "a_000005.jpg").stat().st_mtime_ns
    assert main(command) == 0
    assert "1 written, 1 there already" in capsys.readouterr().out
    assert (tmp_path / "out" / "a_000005.jpg").stat().st_mtime_ns == before


def test_a_picture_of_another_video_of_the_same_name_is_refused(tmp_path: Path, capsys) -> None:
    """Every card has a DJI_0001.mp4."""
    for card, pace in (("1", 4), ("2", 11)):
        write_clip(tmp_path / card / "DJI_0001.mp4", 10, pace=pace)
    out = str(tmp_path / "out")
    assert main([str(tmp_path / "1" / "DJI_0001.mp4"), out]) == 0
    before = {name: (tmp_path / "out" / name).read_bytes() for name in names(tmp_path / "out")}
    assert main([str(tmp_path / "2" / "DJI_0001.mp4"), out, "--every", "0"]) == 2
    assert "of the same name as" in capsys.readouterr().err
    assert {name: (tmp_path / "out" / name).read_bytes() for name in names(tmp_path / "out")} == before
    (tmp_path / "1").rename(tmp_path / "moved")
    assert main([str(tmp_path / "moved" / "DJI_0001.mp4"), out, "--every", "0"]) == 0


def test_the_frames_of_a_video_stay_together_by_the_expression_that_the_help_names(tmp_path: Path, capsys) -> None:
    (tmp_path / "videos").mkdir()
    for name in ("north_1", "north_2", "south"):
        write_clip(tmp_path / "a.mp4", 20).rename(tmp_path / "videos" / f"{name}.MP4")
    assert main([str(tmp_path / "videos"), str(tmp_path / "data" / "images")]) == 0
    (tmp_path / "data" / "labelTxt").mkdir()
    (tmp_path / "data" / "classes.txt").write_text("car\n")
    flags = ["--out", str(tmp_path / "lists"), "--missing_labels", "empty", "--val", "0.34", "--dataset", "dota"]
    with pytest.raises(SystemExit):
        main(["--help"])
    expression = r"^(.+)_\d+$"
    assert f"--group_by '{expression}'" in " ".join(capsys.readouterr().out.split())
    assert split([str(tmp_path / "data"), *flags, "--group_by", expression]) == 0
    videos = [
        {line.rpartition("_")[0] for line in (tmp_path / "lists" / f"{part}.txt").read_text().split()}
        for part in ("train", "val")
    ]
    assert len(videos[0]) == 2
    assert len(videos[1]) == 1
    assert not videos[0] & videos[1]


def test_a_video_that_is_cut_off_gives_its_frames_and_exit_code_1(tmp_path: Path, capsys) -> None:
    assert main([str(write_cut_clip(tmp_path / "a.avi")), str(tmp_path / "out")]) == 1
    assert "of the 40 frames that it tells of" in capsys.readouterr().err
    assert len(names(tmp_path / "out")) > 2


def test_a_damaged_video_is_told_and_the_others_taken(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    clip = write_clip(tmp_path / "b.mp4")
    assert main([str(tmp_path / "a.mp4"), str(clip), str(tmp_path / "out")]) == 1
    assert "a.mp4" in capsys.readouterr().err
    assert any(name.startswith("b_") for name in names(tmp_path / "out"))


@pytest.mark.parametrize("text", ["[]", "null", '{"a": 3}', '{"a": {"bytes": 1}}', "{"])
def test_a_damaged_index_is_one_sentence(tmp_path: Path, capsys, text: str) -> None:
    clip = write_clip(tmp_path / "in" / "a.mp4")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".frames.json").write_text(text)
    assert main([str(clip), str(tmp_path / "out")]) == 1
    assert ".frames.json: is damaged" in capsys.readouterr().err


def test_what_cannot_be_is_one_sentence(tmp_path: Path, capsys) -> None:
    clip = write_clip(tmp_path / "in" / "a.mp4")
    twin = write_clip(tmp_path / "other" / "a.mp4")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "._a.mp4").touch()  # macOS leaves such beside every file
    out = str(tmp_path / "out")
    for arguments, code, message in (
        ([str(tmp_path / "none.mp4"), out], 2, "none.mp4: no such video file"),
        ([str(tmp_path / "empty"), out], 2, "empty: no video there"),
        ([str(tmp_path), out], 2, "no video there but in folders of it, such as in; name these folders"),
        ([str(clip), str(clip.parent)], 2, "lies in the inputs"),
        ([str(clip), str(twin), out], 2, "would give frames of the same names"),
        ([str(clip), out, "--max_distance", "64"], 2, "--max_distance is 64; it must lie between 0 and 63"),
        ([str(clip), out, "--every", "-1"], 2, "--every is -1.0; it must be a time in seconds, 0 or more"),
        ([str(clip), out, "--every", "nan"], 2, "--every is nan; it must be a time in seconds, 0 or more"),
    ):
        assert main(arguments) == code
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_camera_is_watched_for_a_time(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    with camera_server(clip_frames(30), pace=0.02) as address:
        assert main([address, str(out), "--every", "0.3", "--seconds", "1.4"]) == 0
        assert main([address, str(tmp_path / "still"), "--every", "0.1", "--seconds", "1", "--skip_alike",
                     "--max_distance", "63"]) == 0  # fmt: skip
    said = capsys.readouterr().out
    written = names(out)
    assert 4 <= len(written) <= 5
    assert all(re.fullmatch(r"127\.0\.0\.1-\d+-\d{4}-\d\d-\d\d_\d{9}\.jpg", name) for name in written)
    assert f"{len(written)} written: {out}" in said
    assert read_image(out / written[0]).shape == (96, 128, 3)
    assert len(names(tmp_path / "still")) == 1
    assert re.search(r"1 written, \d+ alike", said)


@pytest.mark.slow
def test_a_camera_is_watched_until_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = extract_frames.write_pixels

    def stop(*parts: object) -> None:
        write(*parts)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(extract_frames, "write_pixels", stop)
    with camera_server(clip_frames(30), pace=0.02) as address:
        assert main([address, str(tmp_path / "out")]) == 130
    assert len(names(tmp_path / "out")) == 1


def test_what_is_no_camera_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    clip = str(write_clip(tmp_path / "in" / "a.mp4", 2))
    for arguments, code, message in (
        (["99", str(tmp_path / "out")], 1, "99: no such camera here"),
        (["0", clip, str(tmp_path / "out")], 2, "a camera is watched alone, and there are 0, "),
        ([clip, str(tmp_path / "out"), "--seconds", "3"], 2, "--seconds is for a camera"),
    ):
        assert main(arguments) == code
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
