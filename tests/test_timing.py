"""Work is timed in turns, and the first ones do not count."""

from __future__ import annotations

from tools.benchmarks.timing import in_turns


def test_each_takes_its_turn_and_those_that_warm_up_are_left_out() -> None:
    done: list[str] = []
    times = in_turns({name: lambda name=name: done.append(name) for name in "ab"}, 3, warm_up=2)
    assert "".join(done) == "ab" * 5
    assert {name: len(each.wall) for name, each in times.items()} == {"a": 3, "b": 3}
    assert all(0 <= seconds < 60 for each in times.values() for seconds in (*each.wall, *each.cpu))
