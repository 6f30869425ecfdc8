"""Lines at which objects are counted, drawn on frames with what has crossed them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from DOTA_devkit.task_files import NO_DETECTIONS
from tools.drawing import WHITE, draw_line, label_quad, pen_for
from tools.videos.crossings import LineCounter

HEAD = 8  # times the width of a line: its arrow's head


def draw_counters(canvas: np.ndarray, counters: Sequence[LineCounter]) -> None:
    """Draw the lines and what has crossed them so far on a frame (H, W, 3) uint8 BGR."""
    width = pen_for(canvas, NO_DETECTIONS.quads).width
    for number, counter in enumerate(counters, 1):
        ends = np.array(counter.line).reshape(2, 2)
        back = (ends[0] - ends[1]) / np.linalg.norm(ends[1] - ends[0]) * HEAD * width
        across = np.array([-back[1], back[0]]) / 2
        for start in (ends[0], ends[1] + back + across, ends[1] + back - across):
            draw_line(canvas, start, ends[1], WHITE, width)
        text = f"line {number}: {counter.total('left')} left, {counter.total('right')} right"
        place = (3 * ends[0] + ends[1]) / 4  # lines that cross each other seldom do so there
        label_quad(canvas, place[None], text, WHITE, taken=[])
