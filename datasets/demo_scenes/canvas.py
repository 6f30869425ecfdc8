"""The ground of a demo scene: a canvas, the materials that cover it, and noise to make them.

Coordinates are pixels of the finished picture, x right and y down; colours are BGR.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

SUPERSAMPLING = 2  # the canvas is drawn at this multiple of the finished size
BLEED = 0.33  # px by which cv2.fillPoly, anti-aliased, draws beyond each side of a polygon on the canvas
_SHIFT = 4  # fractional bits of cv2's fixed-point corners

Colour = tuple[float, float, float]
Part = tuple[np.ndarray, Colour]  # polygon (n, 2) and its paint

# Ground materials: colours from the darkest speck to the lightest, then the weights of the broad and the fine noise.
MATERIALS: dict[str, tuple[Sequence[Colour], float, float]] = {
    "grass": (((38, 62, 48), (52, 92, 74), (62, 112, 96), (84, 132, 122)), 34, 22),
    "meadow": (((50, 88, 84), (72, 118, 118), (92, 140, 148), (112, 158, 172)), 36, 20),
    "soil": (((58, 78, 98), (82, 108, 132), (104, 134, 160), (132, 160, 184)), 32, 20),
    "asphalt": (((66, 65, 64), (86, 85, 83), (98, 97, 95), (122, 121, 119)), 22, 22),
    "concrete": (((112, 120, 124), (136, 144, 148), (150, 158, 162), (176, 182, 186)), 26, 18),
    "gravel": (((92, 104, 112), (116, 130, 138), (136, 150, 160), (168, 180, 190)), 20, 36),
    "planks": (((64, 84, 100), (92, 116, 134), (108, 136, 154), (132, 158, 176)), 22, 26),
    "sand": (((112, 148, 168), (134, 170, 190), (148, 184, 204), (172, 204, 220)), 26, 16),
    "woods": (((20, 36, 28), (34, 60, 46), (50, 86, 68), (78, 118, 100)), 26, 40),
    "sea": (((78, 58, 28), (96, 76, 40), (110, 90, 52), (150, 134, 98)), 26, 20),
    "harbour": (((66, 66, 40), (80, 84, 52), (92, 98, 64), (134, 140, 108)), 28, 18),
    "crops": (((46, 84, 78), (62, 112, 112), (76, 134, 142), (96, 156, 172)), 18, 18),
}


class Canvas:
    """A picture under construction: `image` is (S, S, 3) uint8 BGR with S = SUPERSAMPLING * size."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size = rng, size
        self.span = size * SUPERSAMPLING
        self.image = np.zeros((self.span, self.span, 3), np.uint8)
        self.broad = noise(rng, self.span, (3, 6, 12, 24))
        self.fine = noise(rng, self.span, (48, 96, self.span // 2))

    def lay(
        self,
        material: str,
        polygon: np.ndarray | None = None,
        relief: np.ndarray | None = None,
        mask: np.ndarray | None = None,
    ) -> None:
        """Cover a polygon (n, 2), the pixels of a mask (S, S) uint8, or everything, with a material.

        relief (S, S) lightens it, in grey levels of the noise.
        """
        colours, broad, fine = MATERIALS[material]
        flip = int(self.rng.integers(2)) * 2 - 1
        tone = cv2.addWeighted(self.broad[::flip], broad, self.fine[:, ::flip], fine, 128)
        if relief is not None:
            tone += relief
        palette = np.stack(
            [np.interp(np.arange(256), (20, 98, 158, 236), band) for band in zip(*colours, strict=True)], axis=-1
        )
        palette *= self.rng.normal(1.0, 0.012, 3) * self.rng.normal(1.0, 0.05)
        ramp = np.clip(palette, 0, 255).astype(np.uint8)[:, None]
        texture = cv2.applyColorMap(cv2.convertScaleAbs(tone), ramp)
        if polygon is not None:
            mask = self.mask([polygon])
        cv2.copyTo(texture, mask, self.image)

    def stripes(self, angle: float, period: float, strength: float) -> np.ndarray:
        """A relief (S, S) of ridges across the angle (rad), so many px apart and grey levels high."""
        along = np.arange(self.span, dtype=np.float32) * np.float32(2 * np.pi / (period * SUPERSAMPLING))
        return np.float32(strength) * np.sin(
            along * np.float32(np.cos(angle)) + along[:, None] * np.float32(np.sin(angle))
        )

    def mask(self, polygons: Sequence[np.ndarray]) -> np.ndarray:
        """(S, S) uint8, 255 inside any of the polygons."""
        mask = np.zeros((self.span, self.span), np.uint8)
        for polygon in polygons:
            cv2.fillPoly(mask, [fixed_point(polygon)], 255, cv2.LINE_8, _SHIFT)
        return mask

    def fill(self, polygon: np.ndarray, colour: Colour) -> None:
        cv2.fillPoly(self.image, [fixed_point(polygon)], colour, cv2.LINE_AA, _SHIFT)

    def stack(self, parts: Sequence[Part], centre: np.ndarray, heading: float) -> None:
        """Fill a thing's parts, given in its own frame, one upon another."""
        corners = fixed_point(placed(np.concatenate([polygon for polygon, _ in parts]), centre, heading))
        start = 0
        for polygon, colour in parts:
            cv2.fillPoly(self.image, [corners[start : start + len(polygon)]], colour, cv2.LINE_AA, _SHIFT)
            start += len(polygon)

    def line(self, ends: np.ndarray, width: float, colour: Colour) -> None:
        """A painted stroke between two points, ends (2, 2), with square ends and worn paint."""
        along = ends[1] - ends[0]
        side = np.array([-along[1], along[0]]) * (
            0.5 * max(width - 2 * BLEED, 0.1) / max(float(np.hypot(*along)), 1e-6)
        )
        self.fill(np.array([ends[0] - side, ends[1] - side, ends[1] + side, ends[0] + side]), colour)

    def shade(self, outlines: Sequence[tuple[np.ndarray, float]], sun: np.ndarray, softness: float) -> None:
        """Darken where bodies, (convex footprint, height), keep the sun off; sun (2,) is the shadow of height 1."""
        hulls = [cv2.convexHull(np.concatenate([o, o + sun * h]).astype(np.float32))[:, 0] for o, h in outlines]
        if not hulls:
            return
        light = 255 - cv2.GaussianBlur(self.mask(hulls), (0, 0), softness * SUPERSAMPLING)
        # The sky still lights a shadow, and bluer than the sun does.
        tables = [np.interp(np.arange(256), (0, 255), (rest, 255)).astype(np.uint8) for rest in (140, 124, 116)]
        self.image = cv2.multiply(self.image, cv2.merge([cv2.LUT(light, table) for table in tables]), scale=1 / 255)


def noise(rng: np.random.Generator, span: int, cells: Sequence[int], stretch: int = 1) -> np.ndarray:
    """Octaves of random grids with so many cells a side, the coarse ones strongest: (span, span) float32.

    Mean 0, deviation 1. With stretch > 1 the specks are so many times longer in x than in y, as waves are.
    """
    total = np.zeros((2, 2), np.float32)
    for cell in cells:
        grid = rng.standard_normal((cell, max(cell // stretch, 2)), dtype=np.float32)
        total = cv2.resize(total, grid.shape[::-1], interpolation=cv2.INTER_CUBIC) + grid * np.float32(
            (cells[0] / cell) ** 0.5
        )
    total = cv2.resize(total, (span, span), interpolation=cv2.INTER_CUBIC)
    mean, deviation = cv2.meanStdDev(total)
    return (total - np.float32(mean.item())) / np.float32(deviation.item())


def placed(points: np.ndarray, centre: np.ndarray, heading: float) -> np.ndarray:
    """Points (n, 2) of a thing's own frame in the picture; heading in rad, clockwise on the screen from +x."""
    cos, sin = np.cos(heading), np.sin(heading)
    return np.asarray(points, float) @ np.array([[cos, sin], [-sin, cos]]) + centre


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """(4, 2), clockwise on the screen from its top left."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def fixed_point(polygon: np.ndarray) -> np.ndarray:
    """Picture coordinates to cv2's: those of canvas pixel centres, in 1 / 2**_SHIFT."""
    return np.rint((np.asarray(polygon) * SUPERSAMPLING - 0.5) * (1 << _SHIFT)).astype(np.int32)
