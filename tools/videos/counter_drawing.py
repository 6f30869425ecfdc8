"""Lines and zones at which objects are counted, drawn on frames with the counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from DOTA_devkit.task_files import NO_DETECTIONS, ImageDetections
from tools.drawing import PAPER, WHITE, draw_boxes, draw_line, draw_quad, label_quad, pen_for
from tools.drawings.lettering import text_size
from tools.videos.crossings import LineCounter
from tools.videos.zones import Zone, count_in_zones

HEAD = 8  # times the width of a line: its arrow's head
PLACE = 0.25  # of the line that is seen: where its counts stand; lines that cross each other seldom do so there


def draw_followed(
    canvas: np.ndarray,
    boxes: ImageDetections,
    class_names: Sequence[str],
    numbers: np.ndarray | None,
    counters: Sequence[LineCounter],
    zones: Sequence[Zone] = (),
    **looks: Any,
) -> None:
    """Draw on a frame (H, W, 3) uint8 BGR the boxes with the numbers of their objects over lines and zones, and on top
    what has crossed or lies in these; `looks` as of `draw_boxes`."""
    draw_zones(canvas, zones, looks["line_width"])
    draw_lines(canvas, counters, looks["line_width"])
    draw_boxes(canvas, boxes, class_names, objects=numbers, in_place=True, **looks)
    draw_counts(canvas, counters)
    shown = boxes.at(boxes.reach(looks["min_score"]))
    draw_zone_counts(canvas, zones, count_in_zones(shown, zones, len(class_names)).sum(axis=1).tolist())


def draw_lines(canvas: np.ndarray, counters: Sequence[LineCounter], line_width: int = 0) -> None:
    """Draw the lines, with an arrow where they lead to, on a frame (H, W, 3) uint8 BGR, before its boxes; `line_width`
    in pixels, 0 for that of boxes on such a canvas."""
    width = line_width or pen_for(canvas, NO_DETECTIONS.quads).width
    for counter in counters:
        seen = counter.line.part_in(canvas.shape[:2])
        if seen is None:
            continue
        start, end = np.array(counter.line).reshape(2, 2)
        back = (start - end) / np.linalg.norm(end - start) * HEAD * width
        across = np.array([-back[1], back[0]]) / 2
        start, end = np.array(seen).reshape(2, 2)  # lines may begin and end far outside
        tip = (start + end - back) / 2
        for color, broad in ((PAPER, 2 * width + 2), (WHITE, width)):  # white alone is not seen on bright ground
            for first, last in ((start, end), (tip + back + across, tip), (tip + back - across, tip)):
                draw_line(canvas, first, last, color, broad)


def draw_zones(canvas: np.ndarray, zones: Sequence[Zone], line_width: int = 0) -> None:
    """Draw the outlines of zones on a frame (H, W, 3) uint8 BGR; `line_width` as of `draw_lines`."""
    width = line_width or pen_for(canvas, NO_DETECTIONS.quads).width
    for zone in zones:
        for color, broad in ((PAPER, 2 * width + 2), (WHITE, width)):
            draw_quad(canvas, np.array(zone.corners), color, broad)


def draw_zone_counts(canvas: np.ndarray, zones: Sequence[Zone], counts: Sequence[int]) -> None:
    """Write above the uppermost corner of each zone how much there is in it."""
    for number, (zone, count) in enumerate(zip(zones, counts, strict=True), 1):
        label_quad(canvas, np.array(zone.corners), f"zone {number}: {count}", WHITE, taken=[])


def draw_counts(canvas: np.ndarray, counters: Sequence[LineCounter]) -> None:
    """Write what has crossed the lines so far beside them, on the side that it went to."""
    pen = pen_for(canvas, NO_DETECTIONS.quads)
    for number, counter in enumerate(counters, 1):
        seen = counter.line.part_in(canvas.shape[:2])
        if seen is None:
            continue
        start, end = np.array(seen).reshape(2, 2)
        along = (end - start) / max(np.linalg.norm(end - start), 1e-9)
        to_the_right = np.array([-along[1], along[0]])  # y runs down
        for side, way in (("left", -to_the_right), ("right", to_the_right)):
            text = f"line {number}, {side}: {counter.counts[side]}"
            width, height, baseline = text_size(text, pen.letters)
            reach = np.abs(way) @ (width / 2, height / 2) + HEAD * pen.width  # of the letters, and a gap
            middle = start + PLACE * (end - start) + reach * way
            bottom = middle + np.array([0, height / 2 + baseline])
            label_quad(canvas, bottom[None], text, WHITE, taken=[], scale=pen.letters)
