"""Lines that objects cross: to which side, how often, and what is no crossing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_tracking import boxes_at
from tools.videos.crossings import Line, LineCounter

UP = Line(100, 90, 100, 10)  # its left is the left of the screen


def sides(line: Line, *places: tuple[float, float]) -> list[str]:
    counter = LineCounter(line)
    told = [counter.see(1, 0, boxes_at(place).quads[0]) for place in places]
    assert counter.total("left") + counter.total("right") == sum(side is not None for side in told)
    return [side for side in told if side]


def test_sides_are_those_of_who_walks_along_it() -> None:
    assert sides(UP, (80, 50), (120, 50)) == ["right"]
    assert sides(UP, (120, 50), (80, 50)) == ["left"]
    assert sides(Line(100, 10, 100, 90), (80, 50), (120, 50)) == ["left"]
    assert sides(Line(0, 50, 200, 50), (80, 30), (80, 70)) == ["right"]


def test_who_comes_back_counts_again_and_who_trembles_does_not() -> None:
    assert sides(UP, (80, 50), (120, 50), (80, 50)) == ["right", "left"]
    assert sides(UP, *[(99, 50), (101, 50)] * 10) == []  # boxes of 20 x 10: 2.5 pixels beyond is beyond
    assert sides(UP, (80, 50), *[(99, 50), (101, 50)] * 10, (103, 50)) == ["right"]
    assert sides(UP, (80, 50), *[(99, 50), (101, 50)] * 10, (97, 50)) == []


def test_past_its_end_is_not_across() -> None:
    assert sides(UP, (80, 100), (120, 100)) == []
    assert sides(UP, (80, 5), (120, 5)) == []
    assert sides(UP, (80, 100), (120, 70)) == ["right"]  # at 85
    assert sides(UP, (80, 100), (120, 90)) == []  # at 95


def test_objects_and_classes_are_counted_apart() -> None:
    counter = LineCounter(UP)
    for place, number, label in (((80, 50), 1, 0), ((120, 60), 2, 1), ((120, 50), 1, 0), ((120, 50), 3, 0)):
        counter.see(number, label, boxes_at(place).quads[0])
    assert counter.counts == {(0, "right"): 1}
    counter.see(2, 1, boxes_at((80, 60)).quads[0])
    assert counter.counts == {(0, "right"): 1, (1, "left"): 1}


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(20, 80)), max_size=12))
def test_across_the_whole_height_crossings_take_turns(places: list[tuple[float, float]]) -> None:
    told = sides(Line(100, 500, 100, -500), *places)
    assert all(first != second for first, second in zip(told, told[1:], strict=False))
    clear = [x > 100 for x, _ in places if abs(x - 100) > 2.5]
    if clear:
        assert (len(told) % 2 == 1) == (clear[0] != clear[-1])


@pytest.mark.parametrize(
    ("line", "is_seen"),
    [
        (UP, True),
        (Line(-50, 50, 300, 50), True),
        (Line(-50, -1, 300, -1), False),
        (Line(90, 101, 130, 140), False),
        (Line(-50, 60, 60, -50), True),
        (Line(-50, 40, 40, -50), False),
    ],
)
def test_a_line_meets_a_picture_or_not(line: Line, is_seen: bool) -> None:
    assert line.meets((100, 200)) == is_seen
