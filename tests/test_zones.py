"""Zones: what lies in them, which numbers make one, and their columns."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import Point, Polygon

from DOTA_devkit.boxes import boxes_to_quads
from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from tools.running.command_line import SettingsError
from tools.videos.zones import Zone, add_zone_flag, count_in_zones, refuse_zones_outside, zone_columns, zones_of

TRIANGLE = Zone(((0.0, 0.0), (100.0, 0.0), (0.0, 50.0)))
HOLLOW = Zone(((0.0, 0.0), (90.0, 0.0), (90.0, 90.0), (45.0, 30.0), (0.0, 90.0)))  # a notch from below


def options(*zones: str) -> Namespace:
    parser = ArgumentParser()
    add_zone_flag(parser, "counts.csv")
    return parser.parse_args([word for zone in zones for word in ("--count_zone", *zone.split())])


@given(st.floats(-20, 120), st.floats(-20, 120))
def test_a_point_is_inside_where_shapely_says_so(x: float, y: float) -> None:
    for zone in (TRIANGLE, HOLLOW):
        area, point = Polygon(zone.corners), Point(x, y)
        if area.exterior.distance(point) > 1e-6:
            assert zone.contains(np.array([[x, y]])).tolist() == [area.contains(point)]


def test_the_middles_of_boxes_are_counted_class_by_class() -> None:
    middles = [(10, 10), (80, 5), (80, 40), (20, 20), (45, 60)]
    quads = boxes_to_quads(np.array([[*middle, 30.0, 10.0, 0.4] for middle in middles]), "le90")
    boxes = ImageDetections(quads, np.ones(5), np.array([0, 1, 1, 1, 0]))
    assert count_in_zones(boxes, (TRIANGLE, HOLLOW), 2).tolist() == [[1, 2], [1, 3]]
    assert count_in_zones(NO_DETECTIONS, (TRIANGLE,), 2).tolist() == [[0, 0]]
    assert count_in_zones(boxes, (), 2).shape == (0, 2)


def test_columns_are_named_by_zone_and_class() -> None:
    assert zone_columns((TRIANGLE, HOLLOW), ["car", "船"]) == ["zone_1_car", "zone_1_船", "zone_2_car", "zone_2_船"]
    assert zone_columns((), ["car"]) == []


def test_the_flag_takes_any_number_of_corners_and_stands_there_several_times() -> None:
    assert zones_of(options("0 0 100 0 0 50", "0 0 9 0 9 9 0 9")) == (
        TRIANGLE,
        Zone(((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0))),
    )
    assert zones_of(options()) == ()
    assert str(TRIANGLE) == "0 0 100 0 0 50"


@pytest.mark.parametrize("numbers", ["1 2", "0 0 9 9", "0 0 9 0 9", "0 0 9 9 18 18", "0 0 9 0 1e9 9", "0 0 9 0 nan 9"])
def test_what_is_no_area_is_refused(numbers: str) -> None:
    with pytest.raises(SettingsError, match=r"--count_zone .*: give x and y of three corners or more"):
        zones_of(options(numbers))


def test_a_zone_outside_of_the_frames_is_refused() -> None:
    refuse_zones_outside((TRIANGLE,), "a.mp4", (20, 20))
    away = Zone(((300.0, 0.0), (400.0, 0.0), (400.0, 50.0)))
    with pytest.raises(
        SettingsError, match=r"a\.mp4: --count_zone 300 0 .* lies outside the frames of 200 x 100 pixels"
    ):
        refuse_zones_outside((TRIANGLE, away), "a.mp4", (100, 200))
