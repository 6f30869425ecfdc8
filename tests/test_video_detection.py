"""Who is who in the frames of videos, and what crosses a line, by the command: tables, and what is drawn."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from datasets.videos import Video
from tests.test_detect_video import records
from tests.video_clips import write_clip
from tools.detect_video import main


@pytest.mark.slow
def test_objects_are_followed_and_drawn_with_their_numbers(
    finding_checkpoint: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    clip, out = write_clip(tmp_path / "a.mp4", 8, rate=10.0), tmp_path / "out"
    command = [str(finding_checkpoint), str(clip), str(out), "--draw_score", "0.06"]
    assert main(command) == 0
    with Video(out / "a_found.mp4") as video:
        plain = [frame.picture.astype(int) for frame in video.frames()]
    assert not (out / "tracks.csv").exists()
    capsys.readouterr()
    assert main([*command, "--track", "--track_frames", "2"]) == 0
    said = capsys.readouterr().out
    with (out / "tracks.csv").open(encoding="utf-8-sig") as file:
        sightings = list(csv.DictReader(file))
    with (out / "objects.csv").open(encoding="utf-8-sig") as file:
        objects = list(csv.DictReader(file))
    assert objects
    assert f"objects that were seen in 2 frames or more: {objects_in_words(objects)}\n" in said
    assert f"who is who: {out / 'objects.csv'}, {out / 'tracks.csv'}\n" in said
    for one in objects:
        own = [row for row in sightings if row["object"] == one["object"]]
        assert len(own) == int(one["frames"]) >= 2
        assert own[0]["frame"] == one["first_frame"]
        assert own[-1]["frame"] == one["last_frame"]
    by_image = {Path(record["image"]).stem: record["boxes"] for record in records(out)}
    for row in sightings:  # each is a box of the results
        corners = [float(row[f"{axis}{corner}"]) for corner in range(1, 5) for axis in "xy"]
        of_class = [box for box in by_image[row["image"]] if box["class"] == row["class"]]
        assert min(np.abs(np.array(box["quad"]) - corners).max() for box in of_class) < 0.01
    with Video(out / "a_found.mp4") as video:
        drawn = [frame.picture.astype(int) for frame in video.frames()]
    assert np.abs(drawn[0] - plain[0]).mean() < 1  # nobody is sure yet
    assert max(np.abs(a - b).mean() for a, b in zip(drawn, plain, strict=True)) > 1
    capsys.readouterr()
    assert main([*command, "--track", "--track_frames", "99"]) == 0
    said = capsys.readouterr().err
    assert re.search(r"(\d+) of \1 boxes are of no object: an object is seen in 99 frames .*, and there are 8", said)
    monkeypatch.setattr("tools.detect_video.LEAST_TAKEN", 1.1)
    assert main([*command, "--track"]) == 0
    assert "a smaller --every may help" in capsys.readouterr().err
    assert main(command) == 0  # the tables of the run before would be of other results
    assert not (out / "tracks.csv").exists()
    assert not (out / "objects.csv").exists()


@pytest.mark.slow
def test_objects_that_cross_a_line_are_counted(finding_checkpoint: Path, tmp_path: Path, capsys) -> None:
    """The frames move to the right, so that what they show goes to the left."""
    clip, out = write_clip(tmp_path / "a.mp4", 12, rate=10.0), tmp_path / "out"
    command = [str(finding_checkpoint), str(clip), str(out), "--draw_score", "0.05"]
    assert main([*command, "--count_line", "64", "96", "64", "0", "--count_line", "-5", "40", "200", "40"]) == 0
    said = capsys.readouterr().out
    with (out / "crossings.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert "left" in {row["to"] for row in rows if row["line"] == "1"}
    for number in "12":
        for side in ("left", "right"):
            found = [{"class": row["class"]} for row in rows if (row["line"], row["to"]) == (number, side)]
            assert f"crossed line {number} to the {side}: {objects_in_words(found) or 'none'}\n" in said
    with Video(out / "a_found.mp4") as video, Video(clip) as plain:
        for drawn, frame in zip(video.frames(), plain.frames(), strict=True):
            changed = np.abs(drawn.picture.astype(int) - frame.picture).max(-1) > 40
            assert changed[:, 63:65].any(axis=1).mean() > 0.5  # the line is seen


@pytest.mark.slow
def test_boxes_in_a_zone_are_counted_frame_by_frame(finding_checkpoint: Path, tmp_path: Path) -> None:
    """The left half, and all of the frame; without --track."""
    clip, out = write_clip(tmp_path / "a.mp4", 4, rate=10.0), tmp_path / "out"
    zones = (
        "--count_zone",
        *"0 0 64 0 64 96 0 96".split(),
        "--count_zone",
        *"-900 -900 2000 -900 2000 2000 -900 2000".split(),
    )
    assert main([str(finding_checkpoint), str(clip), str(out), "--draw_score", "0.05", *zones]) == 0
    with (out / "counts.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    found = {
        Path(item["image"]).stem: [box for box in item["boxes"] if box["score"] >= 0.05]
        for item in json.loads((out / "results" / "detections.json").read_text(encoding="utf-8"))
    }
    assert len(rows) == 4
    for row in rows:
        for name in ("car", "boat"):
            middles = [
                np.reshape(box["quad"], (4, 2)).mean(axis=0) for box in found[row["image"]] if box["class"] == name
            ]
            assert int(row[f"zone_1_{name}"]) == sum(x < 64 and 0 < y < 96 and x > 0 for x, y in middles)
            assert int(row[f"zone_2_{name}"]) == int(row[name]) == len(middles)
    assert sum(int(row["zone_1_car"]) + int(row["zone_1_boat"]) for row in rows) > 0
    with Video(out / "a_found.mp4") as video, Video(clip) as plain:
        for drawn, frame in zip(video.frames(), plain.frames(), strict=True):
            changed = np.abs(drawn.picture.astype(int) - frame.picture).max(-1) > 40
            assert changed[20:, 63:65].any(axis=1).mean() > 0.5  # the side of the zone is seen


def objects_in_words(objects: list[dict[str, str]]) -> str:
    names = [one["class"] for one in objects]
    return ", ".join(f"{names.count(name)} {name}" for name in ("car", "boat") if name in names)
