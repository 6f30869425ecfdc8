"""Lines and what has crossed them are seen on the frames."""

from __future__ import annotations

import numpy as np

from tools.videos.counter_drawing import draw_counts, draw_lines
from tools.videos.crossings import Line, LineCounter


def test_lines_and_counts_are_drawn() -> None:
    canvas = np.zeros((200, 300, 3), np.uint8)
    counter = LineCounter(Line(20, 150, 280, 150))
    draw_lines(canvas, [counter])
    assert canvas[148:152, 30:270].max(axis=(0, 2)).min() > 150
    assert not canvas[100:140, :140].any()
    before = canvas.copy()
    draw_counts(canvas, [counter])
    zeros = canvas.copy()
    counter.counts["left"] += 1
    canvas = before.copy()
    draw_counts(canvas, [counter])
    above, below = slice(100, 149), slice(152, 200)
    assert (zeros[above] != before[above]).any()
    assert (zeros[below] != before[below]).any()
    assert (canvas[above] != zeros[above]).any(), "who goes up goes to the left of who walks from left to right"
    assert (canvas[below] == zeros[below]).all()


def test_lines_are_seen_on_bright_ground_and_as_broad_as_asked_for() -> None:
    drawn = {}
    for width in (1, 5):
        canvas = np.full((200, 300, 3), 255, np.uint8)
        draw_lines(canvas, [LineCounter(Line(20, 150, 280, 150))], line_width=width)
        drawn[width] = (canvas[100:, 200] < 100).all(axis=-1).nonzero()[0]
        assert len(drawn[width])
    assert np.ptp(drawn[5]) > np.ptp(drawn[1]) + 2


def test_where_a_line_leads_to_is_seen_though_its_ends_are_outside() -> None:
    """The arrow's head lay beyond the frame."""
    rows = []
    for line in (Line(-500, 50, 800, 50), Line(800, 50, -500, 50)):
        canvas = np.zeros((100, 300, 3), np.uint8)
        draw_lines(canvas, [LineCounter(line)], line_width=2)
        rows.append(canvas[60:].any(axis=(0, 2)).nonzero()[0].tolist())  # columns of what stands off the line
    assert all(rows)
    assert rows[0] != rows[1]
    canvas = np.zeros((100, 300, 3), np.uint8)
    draw_lines(canvas, [LineCounter(Line(0, 150, 300, 150))])
    assert not canvas.any()
