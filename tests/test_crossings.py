"""Lines that objects cross: to which side, how often, and what is no crossing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from DOTA_devkit.boxes import boxes_to_quads
from tests.test_tracking import boxes_at
from tools.videos.crossings import Line, LineCounter

UP = Line(100, 90, 100, 10)  # its left is the left of the screen


def sides(line: Line, *places: tuple[float, float]) -> list[str]:
    counter = LineCounter(line)
    told = [counter.see(1, boxes_at(place).quads[0]) for place in places]
    assert counter.counts.total() == sum(side is not None for side in told)
    return [side for side in told if side]


def test_sides_are_those_of_who_walks_along_it() -> None:
    assert sides(UP, (80, 50), (120, 50)) == ["right"]
    assert sides(UP, (120, 50), (80, 50)) == ["left"]
    assert sides(Line(100, 10, 100, 90), (80, 50), (120, 50)) == ["left"]
    assert sides(Line(0, 50, 200, 50), (80, 30), (80, 70)) == ["right"]


def test_who_comes_back_counts_again_and_who_trembles_does_not() -> None:
    assert sides(UP, (80, 50), (120, 50), (80, 50)) == ["right", "left"]
    assert sides(UP, *[(96, 50), (104, 50)] * 10) == []  # boxes of 20 x 10: 5 pixels beyond is beyond
    assert sides(UP, (80, 50), *[(96, 50), (104, 50)] * 10, (106, 50)) == ["right"]
    assert sides(UP, (80, 50), *[(96, 50), (104, 50)] * 10, (94, 50)) == []
    assert sides(Line(10, 50, 200, 50), (80, 30), *[(80, 49), (80, 51)] * 10, (80, 54)) == [
        "right"
    ]  # by 3 pixels at least


def test_a_long_box_that_trembles_lengthwise_on_the_line_has_not_crossed() -> None:
    rng = np.random.default_rng(0)
    counter = LineCounter(UP)
    for shift in (-200, *rng.normal(0, 5, 250), -200):
        counter.see(1, boxes_to_quads(np.array([[100 + shift, 50, 200, 30, 0]]), "le90")[0])
    assert not counter.counts


def test_a_small_box_that_trembles_on_the_line_has_not_crossed() -> None:
    """Of five pixels, and by one: it counted every tenth frame."""
    rng = np.random.default_rng(0)
    counter = LineCounter(UP)
    for shift in rng.normal(0, 0.8, 250):
        counter.see(1, boxes_to_quads(np.array([[100 + shift, 50, 5, 5, 0]]), "le90")[0])
    assert not counter.counts


def test_who_is_gone_is_forgotten() -> None:
    counter = LineCounter(UP)
    counter.see(1, boxes_at((80, 50)).quads[0])
    counter.forget(1)
    counter.forget(2)
    assert counter.see(1, boxes_at((120, 50)).quads[0]) is None


def test_past_its_end_is_not_across() -> None:
    assert sides(UP, (80, 100), (120, 100)) == []
    assert sides(UP, (80, 5), (120, 5)) == []
    assert sides(UP, (80, 100), (120, 70)) == ["right"]  # at 85
    assert sides(UP, (80, 100), (120, 90)) == []  # at 95


def test_objects_are_counted_apart() -> None:
    counter = LineCounter(UP)
    for place, number in (((80, 50), 1), ((120, 60), 2), ((120, 50), 1), ((120, 50), 3)):
        counter.see(number, boxes_at(place).quads[0])
    assert counter.counts == {"right": 1}
    counter.see(2, boxes_at((80, 60)).quads[0])
    assert counter.counts == {"right": 1, "left": 1}


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(20, 80)), max_size=12))
def test_across_the_whole_height_crossings_take_turns(places: list[tuple[float, float]]) -> None:
    told = sides(Line(100, 500, 100, -500), *places)
    assert all(first != second for first, second in zip(told, told[1:], strict=False))
    clear = [x > 100 for x, _ in places if abs(x - 100) > 5]
    if clear:
        assert (len(told) % 2 == 1) == (clear[0] != clear[-1])


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (UP, UP),
        (Line(-50, 50, 300, 50), Line(0, 50, 200, 50)),
        (Line(300, 50, -50, 50), Line(200, 50, 0, 50)),
        (Line(-50, -1, 300, -1), None),
        (Line(90, 101, 130, 140), None),
        (Line(-50, 60, 60, -50), Line(0, 10, 10, 0)),
        (Line(-50, 40, 40, -50), None),
    ],
)
def test_the_part_of_a_line_in_a_picture(line: Line, seen: Line | None) -> None:
    assert line.part_in((100, 200)) == (seen if seen is None else pytest.approx(seen))
