"""Lines and what has crossed them are seen on the frames."""

from __future__ import annotations

import numpy as np

from tools.videos.counter_drawing import draw_counters
from tools.videos.crossings import Line, LineCounter


def test_lines_and_counts_are_drawn() -> None:
    canvas = np.zeros((200, 300, 3), np.uint8)
    counter = LineCounter(Line(20, 150, 280, 150))
    draw_counters(canvas, [counter])
    assert canvas[148:152, 30:270].max(axis=(0, 2)).min() > 40  # dark letters are over it
    text = canvas[100:145].astype(int)
    assert text.any()
    counter.counts[0, "left"] += 1
    draw_counters(canvas, [counter])
    assert (canvas[100:145] != text).any()
    draw_counters(canvas, [])
