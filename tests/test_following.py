"""The files of who is who: each sighting, each object, all videos of a command."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from datasets.videos import Frame
from DOTA_devkit.task_files import NO_DETECTIONS
from tests.test_tracking import boxes_at
from tools.videos.crossings import Line
from tools.videos.following import CROSSINGS, OBJECTS, TRACKS, Following
from tools.videos.tracking_flags import Tracking

BLANK = np.zeros((8, 8, 3), np.uint8)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_every_sighting_and_every_object_has_a_row(tmp_path: Path) -> None:
    videos = [Path(name) for name in ("north.mp4", "南.mp4", "empty.mp4")]
    with Following(tmp_path, videos, ("car", "船"), [0.3, 0.3], Tracking(least_frames=2)) as following:
        with following.video(Path("north.mp4")):
            for number in range(4):
                boxes = boxes_at((50 + 2 * number, 40, 0.5 + 0.1 * number), (90, 20, 0.9, 1))
                told = following.follow(Frame(number, number / 5, BLANK), boxes)
                assert told.tolist() == ([1, 2] if number else [0, 0])
        with following.video(Path("南.mp4")):
            for number in (0, 5):
                following.follow(Frame(number, number / 5, BLANK), boxes_at((10, 10, 0.8, 1)))
        with following.video(Path("empty.mp4")):
            following.follow(Frame(0, 0.0, BLANK), NO_DETECTIONS)
    sightings, objects = rows_of(tmp_path / TRACKS), rows_of(tmp_path / OBJECTS)
    assert [(row["image"], row["object"]) for row in sightings[:4]] == [
        ("north_000000", "1"), ("north_000001", "1"), ("north_000000", "2"), ("north_000001", "2"),
    ]  # fmt: skip
    assert len(sightings) == 8 + 2
    first = sightings[0]
    assert (first["video"], first["frame"], first["seconds"], first["class"], first["score"]) == (
        "north.mp4", "0", "0.000", "car", "0.5000",
    )  # fmt: skip
    corners = [float(first[f"{axis}{corner}"]) for corner in range(1, 5) for axis in "xy"]
    np.testing.assert_allclose(corners, boxes_at((50, 40)).quads.reshape(-1))
    assert [list(row.values()) for row in objects] == [
        ["north.mp4", "1", "car", "4", "0", "3", "0.000", "0.600", "50.0", "40.0", "56.0", "40.0", "0.8000"],
        ["north.mp4", "2", "船", "4", "0", "3", "0.000", "0.600", "90.0", "20.0", "90.0", "20.0", "0.9000"],
        ["南.mp4", "1", "船", "2", "0", "5", "0.000", "1.000", "10.0", "10.0", "10.0", "10.0", "0.8000"],
    ]
    assert list(following.summary()) == ["objects that were seen in 2 frames or more: 1 car, 2 船"]
    assert not (tmp_path / CROSSINGS).exists()


def test_who_crosses_a_line_is_listed_and_counted(tmp_path: Path) -> None:
    """Of the two cars one is sure only beyond the line: it has crossed it all the same."""
    how = Tracking(lines=(Line(60, 0, 60, 90), Line(0, 200, 90, 200)))
    videos = [Path("a.mp4"), Path("b.mp4")]
    with Following(tmp_path, videos, ("car", "boat"), [0.3, 0.3], how) as following:
        for path in videos:
            with following.video(path):
                for number in range(6):
                    boxes = boxes_at((54 + 6 * number, 40), (75 - 6 * number, 70, 0.9, 1))
                    following.follow(Frame(number, number / 5, BLANK), boxes)
                assert [counter.counts["left"] for counter in following.counters] == [1, 0]
    rows = rows_of(tmp_path / CROSSINGS)
    assert [list(row.values()) for row in rows[:2]] == [
        ["a_000002", "a.mp4", "1", "1", "car", "2", "0.400", "left", "66.0", "40.0"],
        ["a_000004", "a.mp4", "1", "2", "boat", "4", "0.800", "right", "51.0", "70.0"],
    ]
    assert [row["video"] for row in rows] == ["a.mp4"] * 2 + ["b.mp4"] * 2
    assert list(following.summary())[1:] == [
        "crossed line 1 to the left: 2 car",
        "crossed line 1 to the right: 2 boat",
        "crossed line 2 to the left: none",
        "crossed line 2 to the right: none",
    ]


def test_the_class_of_who_crossed_is_that_of_all_its_sightings(tmp_path: Path) -> None:
    """When it crosses it looks like a car, as it did before; afterwards it is a boat for long."""
    how = Tracking(lines=(Line(70, 0, 70, 90),))
    with (
        Following(tmp_path, [Path("a.mp4")], ("car", "boat"), [0.3, 0.3], how) as following,
        following.video(Path("a.mp4")),
    ):
        for number in range(20):
            following.follow(Frame(number, number / 5, BLANK), boxes_at((50 + 5 * number, 40, 0.8, int(number > 6))))
    (crossing,), (one,) = rows_of(tmp_path / CROSSINGS), rows_of(tmp_path / OBJECTS)
    assert (crossing["class"], crossing["frame"], one["class"]) == ("boat", "6", "boat")
    assert [row["class"] for row in rows_of(tmp_path / TRACKS)] == ["car"] * 7 + ["boat"] * 13
    assert list(following.summary())[1:] == ["crossed line 1 to the left: 1 boat", "crossed line 1 to the right: none"]


def test_tables_begin_with_a_mark_where_they_have_letters_for_it(tmp_path: Path) -> None:
    for name, mark in (("a.mp4", b"image"), ("南.mp4", b"\xef\xbb\xbfimage")):
        with (
            Following(tmp_path, [Path(name)], ("car",), [0.3], Tracking(least_frames=1)) as following,
            following.video(Path(name)),
        ):
            following.follow(Frame(0, 0.0, BLANK), boxes_at((10, 10)))
        assert (tmp_path / TRACKS).read_bytes().startswith(mark)


def test_without_an_object_the_tables_are_empty(tmp_path: Path) -> None:
    with (
        Following(tmp_path, [Path("a.mp4")], ("car",), [0.3], Tracking()) as following,
        following.video(Path("a.mp4")),
    ):
        following.follow(Frame(0, 0.0, BLANK), boxes_at((10, 10)))
    assert (rows_of(tmp_path / TRACKS), rows_of(tmp_path / OBJECTS)) == ([], [])
    assert list(following.summary()) == ["objects that were seen in 3 frames or more: none"]


def test_what_breaks_off_writes_neither(tmp_path: Path) -> None:
    (tmp_path / OBJECTS).write_text("earlier")
    with (
        pytest.raises(KeyboardInterrupt),
        Following(tmp_path, [Path("a.mp4")], ("car",), [0.3], Tracking(least_frames=1)) as following,
        following.video(Path("a.mp4")),
    ):
        following.follow(Frame(0, 0.0, BLANK), boxes_at((10, 10)))
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == [OBJECTS]
    assert (tmp_path / OBJECTS).read_text() == "earlier"
