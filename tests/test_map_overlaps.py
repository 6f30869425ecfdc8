"""What is found in two pictures of one place is one object on the map."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rasterio.transform import from_origin

from datasets.label_formats import map_overlaps
from datasets.label_formats.annotations import AnnotatedSet, Ledger, Picture
from datasets.label_formats.map_overlaps import TWICE, without_repeated
from DOTA_devkit.labels import Labels
from tests.label_documents import write
from tests.test_georeference import geotiff
from tools.convert_labels import main

SQUARE = np.array([[0.0, 0], [20, 0], [20, 20], [0, 20]])


def seen(name: str, path: Path | None, *boxes: tuple[int, float, str]) -> Picture:
    """A picture with squares of 20 pixels at (x, 0): (x, score, class)."""
    quads = np.array([SQUARE + np.array([x, 0]) for x, _, _ in boxes]).reshape(-1, 4, 2)
    count = len(boxes)
    labels = Labels(quads, [box[2] for box in boxes], np.zeros(count, np.int64), np.ones(count, np.int64))
    return Picture(name, labels, path=path, scores=np.array([box[1] for box in boxes]))


@pytest.fixture
def scenes(tmp_path: Path) -> tuple[Path, Path]:
    """Two pictures of 200 pixels; the second begins at pixel 100 of the first."""
    left = geotiff(tmp_path / "images" / "left.tif", from_origin(500_000, 5_400_000, 0.5, 0.5))
    return left, geotiff(tmp_path / "images" / "right.tif", from_origin(500_050, 5_400_000, 0.5, 0.5))


def test_of_an_object_in_two_pictures_the_better_box_stays(scenes: tuple[Path, Path]) -> None:
    left = seen("left", scenes[0], (20, 0.9, "car"), (120, 0.6, "car"), (160, 0.8, "car"), (140, 0.5, "bus"))
    right = seen("right", scenes[1], (22, 0.7, "car"), (61, 0.4, "car"), (40, 0.4, "car"))
    ledger = Ledger()
    first, second = without_repeated(AnnotatedSet([left, right]), ledger, 0.3).pictures
    assert first.scores.tolist() == [0.9, 0.8, 0.5]
    assert first.labels.names == ["car", "car", "bus"]
    assert second.scores.tolist() == [0.7, 0.4]
    assert second.labels.quads[1, 0].tolist() == [40, 0]  # a car beside a bus of another class
    assert ledger.changed == {TWICE: 2}


@pytest.mark.parametrize(
    ("crs", "first", "second"),
    [
        ("EPSG:4326", from_origin(179.999, 10, 1e-5, 1e-5), from_origin(-180.0005, 10, 1e-5, 1e-5)),
        ("EPSG:4326", from_origin(179.9985, 10, 1e-5, 1e-5), from_origin(-180.001, 10, 1e-5, 1e-5)),  # right on it
        ("EPSG:4326", from_origin(-0.0005, 10, 1e-5, 1e-5), from_origin(0, 10, 1e-5, 1e-5)),
        ("EPSG:3413", from_origin(-50, 50, 1, 1), from_origin(0, 50, 1, 1)),
    ],
)
def test_across_the_antimeridian_and_on_a_pole_as_well(tmp_path: Path, crs: str, first, second) -> None:
    paths = [geotiff(tmp_path / f"{name}.tif", place, crs) for name, place in (("a", first), ("b", second))]
    pictures = [seen("a", paths[0], (90, 0.9, "car"), (140, 0.9, "car")), seen("b", paths[1], (40, 0.8, "car"))]
    kept = without_repeated(AnnotatedSet(pictures), Ledger(), 0.3).pictures
    assert [len(picture.scores) for picture in kept] == [2, 0]


def test_pictures_without_a_place_and_without_boxes_stay_as_they_are(scenes: tuple[Path, Path]) -> None:
    pictures = [seen("a", None, (0, 0.9, "car"), (0, 0.8, "car")), seen("b", scenes[0]), seen("c", scenes[1])]
    annotated = AnnotatedSet(pictures)
    assert without_repeated(annotated, Ledger(), 0.3) == annotated


def test_the_command_writes_each_object_once(scenes: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    records = [
        {"image": f"{name}.tif", "height": 160, "width": 200,
         "boxes": [{"class": "car", "score": score, "quad": (SQUARE + np.array([x, 30])).ravel().tolist()}]}
        for name, x, score in (("left", 150, 0.9), ("right", 50, 0.8))
    ]  # fmt: skip
    write(tmp_path / "results" / "detections.json", json.dumps(records))
    flags = ["--from", "detections", "--to", "geojson", "--images", str(tmp_path / "images")]
    for number, (more, count) in enumerate((([], 2), (["--nms_thresh", "0.3"], 1))):
        out = tmp_path / f"{number}.geojson"
        assert main([str(tmp_path / "results"), str(out), *flags, *more]) == 0
        assert len(json.loads(out.read_text("utf-8"))["features"]) == count
    assert f"1 {TWICE}" in capsys.readouterr().err


def test_pictures_in_several_folders_are_found_by_a_pattern(tmp_path: Path, capsys) -> None:
    """They could be detected on, and not put onto the map."""
    for day, x in (("day1", 500_000), ("day2", 501_000)):
        geotiff(tmp_path / "flights" / day / f"{day}.tif", from_origin(x, 5_400_000, 0.5, 0.5))
    records = [
        {"image": f"{day}.tif", "height": 160, "width": 200,
         "boxes": [{"class": "car", "score": 0.9, "quad": (SQUARE + 30).ravel().tolist()}]}
        for day in ("day1", "day2")
    ]  # fmt: skip
    results, pattern = tmp_path / "results", str(tmp_path / "flights" / "**" / "*.tif")
    write(results / "detections.json", json.dumps(records))
    out, flags = tmp_path / "a.geojson", ["--from", "detections", "--to", "geojson"]
    assert main([str(results), str(out), *flags, "--images", pattern]) == 0
    assert len(json.loads(out.read_text("utf-8"))["features"]) == 2
    write(results / "origin.json", json.dumps({"pictures": pattern}))
    assert main([str(results), str(tmp_path / "b.geojson"), *flags]) == 0
    assert (tmp_path / "b.geojson").read_bytes() == out.read_bytes()
    back = ["--from", "geojson", "--to", "dota", "--images", pattern, "--copy_images"]
    assert main([str(out), str(tmp_path / "back"), *back]) == 0
    assert sorted(path.name for path in (tmp_path / "back" / "images").iterdir()) == ["day1.tif", "day2.tif"]
    assert main([str(out), str(tmp_path / "c"), *back[:-3], "--images", str(tmp_path / "flights" / "*.png")]) == 2
    assert "no picture matches" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["--from", "detections", "--to", "dota", "--nms_thresh", "0.3"],
            "--nms_thresh goes with --to geojson, not dota",
        ),
        (["--from", "detections", "--to", "geojson", "--nms_thresh", "2"], "it must lie between 0 and 1"),
        (["--from", "dota", "--to", "coco", "--drop_ignored"], "--drop_ignored goes with --to yolo_obb"),
    ],
)
def test_a_wrong_flag_is_one_sentence(tmp_path: Path, capsys, flags: list[str], sentence: str) -> None:
    assert main([str(write(tmp_path / "in.json", "[]")), str(tmp_path / "out"), *flags]) == 2
    assert sentence in capsys.readouterr().err


def test_a_box_without_a_place_on_the_map_stays_and_disturbs_no_other(scenes: tuple[Path, Path], monkeypatch) -> None:
    """Its longitude, no number, put the cut of the map between two boxes of one object."""
    left = seen("left", scenes[0], (120, 0.6, "car"), (20, 0.9, "car"))
    right = seen("right", scenes[1], (22, 0.7, "car"))
    whole = map_overlaps.between

    def lost(source: object, target: object, points: np.ndarray) -> np.ndarray:
        found = whole(source, target, points)
        if len(found) == 8:  # those of the left picture
            found[4:] = np.inf
        return found

    monkeypatch.setattr(map_overlaps, "between", lost)
    ledger = Ledger()
    first, second = without_repeated(AnnotatedSet([left, right]), ledger, 0.3).pictures
    assert (first.scores.tolist(), second.scores.tolist()) == ([0.9], [0.7])
    assert ledger.changed == {TWICE: 1}
