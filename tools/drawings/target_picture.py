"""A picture of what the network is trained on: one input, its vectors and flags, and its heat map."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from datasets.targets import IGNORED, Targets
from DOTA_devkit.boxes import DOWN_RATIO, free_quads, horizontal_quads
from tools.drawing import (
    GREY,
    PAPER,
    WHITE,
    Color,
    LegendEntry,
    class_text,
    draw_legend,
    draw_line,
    draw_quad,
    label_quad,
)
from tools.drawings.lettering import draw_text

SIDE_COLORS: dict[str, Color] = {"t": (60, 60, 255), "r": (80, 230, 80), "b": (255, 140, 60), "l": (60, 230, 255)}
ROTATED_COLOR, HORIZONTAL_COLOR = (255, 255, 90), (255, 70, 255)
IGNORED_COLOR, POSITIVE_COLOR = (200, 200, 255), (255, 200, 60)
PANEL_SIDE = 1200  # pixels, about: inputs are shown enlarged by a whole number, each pixel a square
GAP, LINE_HEIGHT = 12, 30
HATCH = 8  # pixels between the lines over what is ignored
TEXT_SCALE = 0.5


def draw_targets(
    name: str, image: np.ndarray, targets: Targets, class_names: Sequence[str], positives: np.ndarray
) -> np.ndarray:
    """The input (H, W, 3) uint8 BGR twice, side by side, under a legend: at the left with the vectors and boxes of its
    objects, at the right with the heat map, the largest value of any class, with a frame around the cells `positives`
    (P, 2), row and column, in which vectors, offset and flag are trained. What is ignored is hatched in both."""
    zoom = max(1, round(PANEL_SIDE / max(image.shape[:2])))
    large = _enlarged(image, zoom)
    ignored = targets.hm == IGNORED
    panels = [
        _draw_vectors(large, targets, zoom, ignored),
        _draw_heat(large, targets, zoom, ignored, class_names, positives),
    ]
    height, width = large.shape[:2]
    body = np.full((LINE_HEIGHT + height + GAP, 2 * width + 3 * GAP, 3), PAPER, np.uint8)
    num_rotated = int((targets.cls_theta > 0).sum())
    texts = (
        f"{name}; objects: {num_rotated} rotated, {len(targets.mask) - num_rotated} horizontal",
        f"heat map, {targets.hm.shape[2]} x {targets.hm.shape[1]} cells; {share_ignored(targets):.1%} ignored",
    )
    for left, panel, text in zip((GAP, 2 * GAP + width), panels, texts, strict=True):
        body[LINE_HEIGHT : LINE_HEIGHT + height, left : left + width] = panel
        draw_text(body[:, left : left + width], text, (0, LINE_HEIGHT - 10), WHITE, TEXT_SCALE)
    return np.concatenate([_legend(body.shape[1]), body])


def target_quads(targets: Targets) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres (M, 2), boxes (M, 4, 2) and horizontal boxes (M, 4, 2) of the targets, in input pixels: what the decoder
    makes of maps that are just these targets."""
    width = targets.hm.shape[2]
    cells = np.stack([targets.ind % width, targets.ind // width], axis=1)
    centers = (cells + targets.reg.astype(np.float64)) * DOWN_RATIO
    wh = targets.wh.astype(np.float64) * DOWN_RATIO
    level = horizontal_quads(centers, wh[:, 8:])
    boxes = np.where(targets.cls_theta[:, :, None] > 0, free_quads(centers, wh[:, :8].reshape(-1, 4, 2)), level)
    return centers, boxes, level


def share_ignored(targets: Targets) -> float:
    """The share of the heat map, over all classes, where nothing is asked of the network."""
    return float((targets.hm == IGNORED).mean())


def _draw_vectors(large: np.ndarray, targets: Targets, zoom: int, ignored: np.ndarray) -> np.ndarray:
    """The enlarged input with horizontal boxes, boxes in the colour of their flag, and the vectors on top."""
    canvas = large.copy()
    _hatch(canvas, ignored, zoom)
    centers, boxes, level = (part * zoom for part in target_quads(targets))
    width = 2 if zoom > 1 else 1
    for row in range(len(centers)):
        is_rotated = bool(targets.cls_theta[row] > 0)
        if is_rotated:
            draw_quad(canvas, level[row], GREY, 1)
        draw_quad(canvas, boxes[row], ROTATED_COLOR if is_rotated else HORIZONTAL_COLOR, width)
    vectors = targets.wh[:, :8].reshape(-1, 4, 2) * float(DOWN_RATIO * zoom)
    for center, arrows in zip(centers, vectors, strict=True):
        for arrow, color in zip(arrows, SIDE_COLORS.values(), strict=True):
            draw_line(canvas, center, center + arrow, color, width)
    return canvas


def _draw_heat(
    large: np.ndarray,
    targets: Targets,
    zoom: int,
    ignored: np.ndarray,
    class_names: Sequence[str],
    positives: np.ndarray,
) -> np.ndarray:
    """The enlarged input, darkened, under the heat map, with a frame around the positive cells and the name of each
    object's class where there is room."""
    heat = _enlarged(targets.hm.max(axis=0).clip(0, 1), DOWN_RATIO * zoom)
    colors = cv2.applyColorMap(np.rint(heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    cover = np.sqrt(heat)[:, :, None] * 0.85  # the root, so that the faint ends of a Gaussian are seen as well
    canvas = np.rint(large * 0.5 * (1 - cover) + colors * cover).astype(np.uint8)
    _hatch(canvas, ignored, zoom)
    learnt = np.zeros(targets.hm.shape[1:], np.uint8)
    learnt[tuple(positives.T)] = 1
    learnt = _enlarged(learnt, DOWN_RATIO * zoom)
    canvas[cv2.erode(learnt, np.ones((3, 3), np.uint8), borderValue=0) < learnt] = POSITIVE_COLOR
    taken: list[tuple[int, int, int, int]] = []
    flat = targets.hm.reshape(len(targets.hm), -1)
    for cell, quad in zip(targets.ind, target_quads(targets)[1] * zoom, strict=True):
        names = [class_text(class_names, int(label)) for label in np.flatnonzero(flat[:, cell] == 1)]
        label_quad(canvas, quad, " + ".join(names), WHITE, taken)
    return canvas


def _hatch(canvas: np.ndarray, ignored: np.ndarray, zoom: int) -> None:
    """Hatch the cells that some class ignores, (C, h, w) bool: once where one or some do, crosswise where all do."""
    some, every = (_enlarged(cells, DOWN_RATIO * zoom) for cells in (ignored.any(axis=0), ignored.all(axis=0)))
    if not some.any():
        return
    rows, columns = np.indices(some.shape, dtype=np.int32)
    lines = some & ((rows + columns) % HATCH == 0) | every & ((rows - columns) % HATCH == 0)
    canvas[some] = np.rint(canvas[some] * 0.7 + np.array(IGNORED_COLOR) * 0.3)
    canvas[lines] = IGNORED_COLOR


def _legend(width: int) -> np.ndarray:
    names = {"t": "top", "r": "right", "b": "bottom", "l": "left"}
    entries = [LegendEntry(f"vector {side}, {names[side]}", color, "patch") for side, color in SIDE_COLORS.items()]
    entries += [
        LegendEntry("rotated: box of the vectors", ROTATED_COLOR, "line"),
        LegendEntry("its horizontal box", GREY, "line"),
        LegendEntry("horizontal: this box alone", HORIZONTAL_COLOR, "line"),
        LegendEntry("ignored (crosswise: by all classes)", IGNORED_COLOR, "patch"),
    ]
    levels = (0.1, 0.5, 1.0)
    colors = cv2.applyColorMap(np.rint(np.array(levels) * 255).astype(np.uint8)[None], cv2.COLORMAP_INFERNO)[0]
    entries += [
        LegendEntry(f"heat {level:g}", tuple(color.tolist()), "patch")
        for level, color in zip(levels, colors, strict=True)
    ]
    entries.append(LegendEntry("cells that learn a box", POSITIVE_COLOR, "line"))
    return draw_legend(entries, width, TEXT_SCALE)


def _enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    """An image (H, W) or (H, W, 3), each pixel a square of `factor` pixels."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
