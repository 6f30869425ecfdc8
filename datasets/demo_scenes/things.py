"""What stands in a demo scene: cars, trucks and boats, and much that is not to be detected, as flat coloured polygons.

A thing is drawn in its own frame, seen from above: x forward, y to its right, the origin in its middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from datasets.demo_scenes.canvas import BLEED, Colour, Part, box, placed

CLASS_NAMES = ("car", "truck", "boat")
CAR, TRUCK, BOAT = range(3)  # labels

CAR_PAINTS: Sequence[Colour] = (
    *((238, 240, 240),) * 4, *((196, 192, 188),) * 3, *((44, 42, 40),) * 3, *((70, 62, 58),) * 2, *((40, 36, 168),) * 2,
    (36, 30, 120), *((150, 84, 34),) * 2, (104, 56, 30), (170, 130, 70), (136, 168, 184), (52, 84, 48), (48, 176, 216),
)  # fmt: skip
LOAD_PAINTS: Sequence[Colour] = (
    *((236, 238, 238),) * 5, (190, 190, 186), (150, 92, 40), (128, 72, 30), (48, 44, 160), (60, 100, 60),
    (44, 120, 206), (150, 172, 184),
)  # fmt: skip
HULL_PAINTS: Sequence[Colour] = (
    *((240, 242, 242),) * 6, (226, 216, 206), (120, 66, 34), (44, 38, 150), (60, 56, 50), (72, 112, 152)
)  # fmt: skip
ROOF_PAINTS: Sequence[Colour] = (
    (66, 82, 142), (74, 98, 164), (84, 84, 92), (110, 108, 108), (150, 150, 148), (188, 190, 190),
    (92, 104, 120), (120, 96, 80),
)  # fmt: skip
GLASS: Colour = (46, 40, 34)
_CIRCLES = {
    corners: np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    for corners in (5, 6, 7, 12)
    for turn in [np.arange(corners) * (2 * np.pi / corners)]
}


@dataclass(frozen=True)
class Thing:
    """Something that stands on the ground. With a label, it is to be detected, and its outline is its box."""

    centre: np.ndarray  # (2,)
    heading: float  # rad, clockwise on the screen from +x
    outline: np.ndarray  # (n, 2) convex, the place that it takes
    height: float  # px, the length of the shadow at a sun of 45 degrees
    parts: Sequence[Part]  # painted in this order
    label: int | None = None
    body: np.ndarray | None = None  # (n, 2) convex, what casts the shadow if it is not the outline

    @property
    def footprint(self) -> np.ndarray:
        """The outline in the picture, (n, 2)."""
        return placed(self.outline, self.centre, self.heading)

    @property
    def shadow_caster(self) -> np.ndarray:
        """The body in the picture, (n, 2)."""
        return placed(self.outline if self.body is None else self.body, self.centre, self.heading)


def car(rng: np.random.Generator, centre: np.ndarray, heading: float) -> Thing:
    """A saloon, an estate or a small van: dark glass around a roof of the body's colour."""
    long, wide = rng.uniform(17.0, 21.5), rng.uniform(9.0, 10.4)
    paint = _worn(rng, CAR_PAINTS[rng.integers(len(CAR_PAINTS))])
    x, y = long / 2 - BLEED, wide / 2 - BLEED
    rear, front = rng.choice([-0.34, -0.40, -0.45]) * long, rng.uniform(0.17, 0.26) * long
    lamp, tail = (210, 225, 230), (40, 40, 150)
    parts = [
        (_rounded(x, y, 0.30 * wide), _shaded(paint, 0.62)),
        (_rounded(x - 0.5, y - 0.5, 0.26 * wide), paint),
        (np.array([[rear, -0.40 * wide], [front, -0.42 * wide], [front, 0.42 * wide], [rear, 0.40 * wide]]), GLASS),
        (box(rear + 0.07 * long, -0.33 * wide, front - 0.13 * long, 0.33 * wide), _shaded(paint, 1.08)),
    ]
    parts += [(box(x - 1.3, s * 0.36 * wide - 0.8, x - 0.3, s * 0.36 * wide + 0.8), lamp) for s in (-1, 1)]
    parts += [(box(0.3 - x, s * 0.36 * wide - 0.8, 0.9 - x, s * 0.36 * wide + 0.8), tail) for s in (-1, 1)]
    return Thing(centre, heading, _footprint(long, wide), 3.0, parts, CAR, _rounded(x, y, 0.30 * wide))


def truck(rng: np.random.Generator, centre: np.ndarray, heading: float) -> Thing:
    """A cab, a gap that shows the chassis, and a box, an open bed or a tank behind it."""
    long, wide = rng.uniform(27.0, 42.0), rng.uniform(11.6, 14.0)
    x, y = long / 2 - BLEED, wide / 2 - BLEED
    paint = _worn(rng, LOAD_PAINTS[rng.integers(len(LOAD_PAINTS))])
    cab_paint = _worn(rng, CAR_PAINTS[rng.integers(len(CAR_PAINTS))])
    cab, gap = x - rng.uniform(8.5, 10.5), rng.uniform(1.6, 3.0)
    load = cab - gap
    parts = [(box(-x + 1, -0.3 * wide, cab + 1, 0.3 * wide), (38, 38, 40))]
    kind = rng.choice(["box", "box", "box", "open", "tank"])
    parts += [(box(-x, -y, load, y), _shaded(paint, 0.66)), (box(-x + 0.6, -y + 0.6, load - 0.6, y - 0.6), paint)]
    if kind == "open":
        cargo = _worn(rng, ((96, 128, 152), (70, 74, 78), (60, 92, 132))[rng.integers(3)])
        parts += [(box(-x + 1.5, -y + 1.5, load - 1.5, y - 1.5), _shaded(cargo, 0.75))]
        parts += [(_shifted(_rounded(0.22 * long, 0.3 * wide, 2.5), -0.16 * long), cargo)]
    elif kind == "tank":
        parts += [
            (box(-x + 0.6, s * 0.3 * wide - 1.2, load - 0.6, s * 0.3 * wide + 1.2), _shaded(paint, 0.8))
            for s in (-1, 1)
        ]
        parts += [(box(t - 0.8, -1.3, t + 0.8, 1.3), (70, 70, 72)) for t in np.linspace(-0.36, 0.1, 3) * long]
    else:
        ribs = np.arange(-x + 4, load - 2, rng.choice([4.0, 6.5, 40.0]))
        parts += [(box(t, -y + 0.8, t + 0.35, y - 0.8), _shaded(paint, 0.86)) for t in ribs]
        parts += [(box(-x + 0.8, -0.5, load - 0.8, 0.5), _shaded(paint, 0.93))]
    parts += [
        (_shifted(_rounded((x - cab) / 2, y - 0.3, 1.8), (x + cab) / 2), _shaded(cab_paint, 0.62)),
        (_shifted(_rounded((x - cab) / 2 - 0.5, y - 0.8, 1.5), (x + cab) / 2), cab_paint),
        (box(x - 3.2, -y + 1.3, x - 1.0, y - 1.3), GLASS),
        (box(cab + 1.2, -y + 2.2, x - 4.6, y - 2.2), _shaded(cab_paint, 1.1)),
    ]
    return Thing(centre, heading, _footprint(long, wide), 5.5, parts, TRUCK)


def boat(
    rng: np.random.Generator, centre: np.ndarray, heading: float, long: float | None = None, wake: bool = False
) -> Thing:
    """A hull with a pointed bow: a motor boat, a sailing boat with its mast and boom, or an open boat."""
    long = rng.uniform(20.0, 42.0) if long is None else long
    wide = float(np.clip(long * rng.uniform(0.32, 0.40), 8.0, 16.0))
    paint = _worn(rng, HULL_PAINTS[rng.integers(len(HULL_PAINTS))])
    deck = _worn(rng, ((214, 222, 226), (236, 236, 236), (128, 164, 188), (176, 188, 194))[rng.integers(4)])
    wood, cover = (74, 106, 140), ((128, 74, 38), (66, 60, 56), (60, 48, 140), (180, 170, 160))[rng.integers(4)]
    x, y = long / 2 - BLEED, wide / 2 - BLEED
    parts = _foam(rng, x, y) if wake else []
    parts += [(_hull(x, y), _shaded(paint, 0.7)), (_hull(x - 0.5, y - 0.5), paint), (_hull(x - 1.6, y - 1.5), deck)]
    kind = rng.choice(["motor", "motor", "sail", "open"]) if long > 24 else rng.choice(["motor", "open", "open"])
    if kind == "motor":
        front, rear = 0.16 * long, -0.20 * long
        parts += [
            (box(-x + 1.6, -0.32 * wide, rear, 0.32 * wide), wood if rng.random() < 0.5 else _shaded(deck, 0.8)),
            (np.array([[rear, -0.36 * wide], [front, -0.25 * wide], [front, 0.25 * wide], [rear, 0.36 * wide]]), GLASS),
            (box(rear, -0.30 * wide, front - 0.10 * long, 0.30 * wide), _shaded(paint, 1.0)),
        ]
        if long > 34:
            parts += [
                (box(rear + 2, -0.18 * wide, 0, 0.18 * wide), _shaded(deck, 0.86)),
                (box(-1.5, -0.2 * wide, 0, 0.2 * wide), GLASS),
            ]
    elif kind == "sail":
        parts += [
            (box(-x + 2.0, -0.22 * wide, -0.24 * long, 0.22 * wide), wood),
            (_shifted(_rounded(0.16 * long, 0.2 * wide, 1.6), 0.06 * long), _shaded(deck, 0.84)),
            (box(-0.32 * long, -0.9, 0.1 * long, 0.9), cover),
            (box(0.08 * long, -wide * 0.42, 0.08 * long + 0.5, wide * 0.42), (90, 90, 92)),
        ]
    else:
        inside = wood if rng.random() < 0.6 else cover
        parts += [(_hull(x - 2.2, y - 1.9), _shaded(inside, 0.85))]
        parts += [
            (box(t - 0.9, -0.34 * wide, t + 0.9, 0.34 * wide), _shaded(inside, 1.35))
            for t in np.array([-0.3, -0.02]) * long
        ]
        parts += [(box(-x - 0.1, -1.1, -x + 2.2, 1.1), (40, 40, 42))]
    return Thing(centre, heading, _footprint(long, wide), 2.5, parts, BOAT, _hull(x, y))


def tree(rng: np.random.Generator, centre: np.ndarray, radius: float, sun: np.ndarray) -> Thing:
    """A crown of leaf clumps, lighter towards the sun."""
    green = np.array([(38, 74, 54), (46, 88, 70), (34, 66, 60), (50, 92, 92)][rng.integers(4)]) * rng.uniform(
        0.85, 1.15
    )
    outline = _blob(rng, np.zeros(2), radius)
    count = int(7 + radius * 1.1)
    where = rng.uniform(0, 2 * np.pi, count)
    spots = np.stack([np.cos(where), np.sin(where)], axis=-1) * (np.sqrt(rng.random((count, 1))) * radius * 0.78)
    lit = spots @ sun / (-radius * max(float(np.hypot(*sun)), 1e-6))
    spots, lit = spots[np.argsort(lit)], np.sort(lit)
    reach = radius * rng.uniform(0.2, 0.36, (count, 1, 1)) * rng.uniform(0.82, 1.08, (count, 7, 1))
    clumps = _CIRCLES[7] * reach + spots[:, None]
    colours = green * (1.0 + 0.42 * lit + rng.normal(0, 0.07, count))[:, None]
    parts = [(outline, (green * 0.55).tolist()), *zip(clumps, colours.tolist(), strict=True)]
    return Thing(centre, 0.0, cv2.convexHull(outline.astype(np.float32))[:, 0], 4.5 + radius * 0.6, parts)


def house(
    rng: np.random.Generator, centre: np.ndarray, heading: float, long: float, wide: float, sun: np.ndarray
) -> Thing:
    """A ridged roof, its sunny side lighter, with chimney and roof windows."""
    paint = _worn(rng, ROOF_PAINTS[rng.integers(len(ROOF_PAINTS))])
    x, y, hip = long / 2, wide / 2, rng.choice([0.0, 0.0, wide / 2])
    right = np.array([-np.sin(heading), np.cos(heading)])
    tilt = float(right @ sun) / max(float(np.hypot(*sun)), 1e-6)  # > 0: the right-hand side looks away from the sun
    left_paint, right_paint = _shaded(paint, 1.0 + 0.24 * tilt), _shaded(paint, 1.0 - 0.24 * tilt)
    parts = [(box(-x, -y, x, y), _shaded(paint, 0.94))]
    parts += [(np.array([[-x, -y], [x, -y], [x - hip, 0], [hip - x, 0]]), left_paint)]
    parts += [(np.array([[hip - x, 0], [x - hip, 0], [x, y], [-x, y]]), right_paint)]
    for t in np.arange(-y + 2.5, y, 2.5):
        parts += [
            (box(-x + abs(t) * 0.2, t, x - abs(t) * 0.2, t + 0.3), _shaded(left_paint if t < 0 else right_paint, 0.93))
        ]
    for _ in range(rng.integers(0, 4)):
        u, v = rng.uniform(-0.7, 0.7) * x, rng.choice([-1, 1]) * rng.uniform(0.35, 0.65) * y
        parts += [(box(u - 2.4, v - 1.6, u + 2.4, v + 1.6), GLASS if rng.random() < 0.6 else (190, 180, 170))]
    if rng.random() < 0.4:
        u, v = rng.uniform(-0.3, 0.3) * x, rng.choice([-0.5, 0.5]) * y
        parts += [(box(u - 8, v - 4, u + 8, v + 4), (84, 52, 38))] + [
            (box(u + t, v - 4, u + t + 0.4, v + 4), (130, 110, 96)) for t in (-4, 0, 4)
        ]
    parts += [(box(0.3 * x - 1.3, -1.3, 0.3 * x + 1.3, 1.3), (70, 72, 110))]
    return Thing(centre, heading, box(-x, -y, x, y), rng.uniform(7, 11), parts)


def hall(rng: np.random.Generator, centre: np.ndarray, heading: float, long: float, wide: float) -> Thing:
    """A large flat roof with a rim, roof lights and machines: rectangles of the objects' own sizes and colours."""
    paint = _worn(
        rng, ((150, 150, 148), (186, 188, 188), (118, 122, 126), (98, 100, 104), (150, 136, 122))[rng.integers(5)]
    )
    x, y = long / 2, wide / 2
    parts = [(box(-x, -y, x, y), _shaded(paint, 1.18)), (box(-x + 1.6, -y + 1.6, x - 1.6, y - 1.6), paint)]
    parts += [(box(t, -y + 1.6, t + 0.5, y - 1.6), _shaded(paint, 0.93)) for t in np.arange(-x + 9, x - 4, 9.0)]
    rows = np.arange(-y + 12, y - 10, rng.uniform(16, 24))
    lights = [(u, v) for u in np.arange(-x + 16, x - 14, rng.uniform(22, 34)) for v in rows]
    glazing = ((206, 204, 196), (116, 96, 78), (226, 228, 226))[rng.integers(3)]
    for u, v in lights:
        kind = rng.random()
        if kind < 0.55:
            parts += [
                (box(u - 6, v - 2.6, u + 6, v + 2.6), _shaded(paint, 0.7)),
                (box(u - 5.4, v - 2.1, u + 5.4, v + 2.1), glazing),
            ]
        elif kind < 0.85:
            big, tall = rng.uniform(3, 9), rng.uniform(3, 5)
            body = _worn(rng, CAR_PAINTS[rng.integers(len(CAR_PAINTS))])
            parts += [(box(u - big + 1.5, v - tall + 1.5, u + big + 1.5, v + tall + 1.5), _shaded(paint, 0.55))]
            parts += [
                (box(u - big, v - tall, u + big, v + tall), body),
                (_blob(rng, np.array([u, v]), tall * 0.6), _shaded(body, 0.7)),
            ]
    return Thing(centre, heading, box(-x, -y, x, y), rng.uniform(9, 14), parts)


def container(rng: np.random.Generator, centre: np.ndarray, heading: float) -> Thing:
    """A steel box in the trucks' own colours: ribbed across, and without a cab."""
    long, wide = rng.choice([22.0, 40.0]), 9.6
    rust: Colour = (44, 58, 112)
    paint = _worn(rng, (*LOAD_PAINTS, rust, rust)[rng.integers(len(LOAD_PAINTS) + 2)])
    x, y = long / 2, wide / 2
    parts = [(box(-x, -y, x, y), _shaded(paint, 0.6)), (box(-x + 0.5, -y + 0.5, x - 0.5, y - 0.5), _shaded(paint, 0.9))]
    parts += [(box(t, -y + 0.5, t + 0.8, y - 0.5), _shaded(paint, 0.68)) for t in np.arange(-x + 2, x - 1, 2.4)]
    return Thing(centre, heading, box(-x, -y, x, y), 5.0, parts)


def clutter(rng: np.random.Generator, centre: np.ndarray, heading: float) -> Thing:
    """A skip, a stack of crates, a market tent or a hut: small rectangles in the cars' colours, without glass."""
    long, wide = rng.uniform(5.0, 17.0), rng.uniform(5.0, 9.0)
    paint = _worn(rng, CAR_PAINTS[rng.integers(len(CAR_PAINTS))])
    x, y = long / 2, wide / 2
    parts = [(box(-x, -y, x, y), paint)]
    kind = rng.integers(3)
    if kind == 0:
        parts += [
            (box(-x + 1, -y + 1, x - 1, y - 1), _shaded(paint, 0.45)),
            (_blob(rng, np.zeros(2), y * 0.6), (86, 98, 108)),
        ]
    elif kind == 1:
        parts += [
            (np.array([[-x, -y], [x, -y], [0, 0]]), _shaded(paint, 1.15)),
            (np.array([[x, -y], [x, y], [0, 0]]), _shaded(paint, 0.8)),
        ]
    else:
        parts += [(box(t, -y, t + 0.5, y), _shaded(paint, 0.6)) for t in np.arange(-x + 3, x - 1, 3.0)]
        parts += [(box(-x, -0.2, x, 0.3), _shaded(paint, 0.6))]
    return Thing(centre, heading, box(-x, -y, x, y), 3.0, parts)


def _footprint(long: float, wide: float) -> np.ndarray:
    """The tight box of a vehicle in its own frame, (4, 2), clockwise on the screen from its top left."""
    return box(-long / 2, -wide / 2, long / 2, wide / 2)


def _rounded(x: float, y: float, radius: float) -> np.ndarray:
    """A rectangle of half-sides x and y with rounded corners, (12, 2)."""
    turn = np.array([0.0, np.pi / 4, np.pi / 2])
    arc = np.stack([np.cos(turn), np.sin(turn)], axis=-1) * radius
    corner = np.array([x - radius, y - radius])
    signs = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    return np.concatenate([(arc[::s] + corner) * (a, b) for (a, b), s in zip(signs, (1, -1, 1, -1), strict=True)])


def _shifted(points: np.ndarray, ahead: float) -> np.ndarray:
    return points + np.array([ahead, 0.0])


def _hull(x: float, y: float) -> np.ndarray:
    """A boat's outline of half-length x and half-beam y, (11, 2).

    The sides are straight aft, which makes the rectangle along the keel its tightest one.
    """
    half = np.array([[-1.0, 0.82], [-0.85, 1.0], [0.08, 1.0], [0.42, 0.80], [0.72, 0.46], [1.0, 0.0]])
    return np.concatenate([half, half[-2::-1] * (1, -1)]) * (x, y)


def _foam(rng: np.random.Generator, x: float, y: float) -> list[Part]:
    """The wake of a boat under way: a churned band behind the stern and two streaks off the bow."""
    parts: list[Part] = []
    for t in np.linspace(1, 0, 44):
        spot = np.array([-0.8 * x - t * 2.2 * x, rng.normal(0, 0.3) * y])
        parts.append(
            (
                _blob(rng, spot, rng.uniform(0.15, 0.4) * y * (1.1 - 0.6 * t), 6),
                (186 - 60 * t, 184 - 64 * t, 174 - 84 * t),
            )
        )
    for side in (-1, 1):
        for t in np.linspace(0, 1, 20):
            spot = np.array([0.6 * x - t * 2.2 * x, side * (0.75 * y + t * 1.3 * y)]) + rng.normal(0, 0.35, 2)
            parts.append((_blob(rng, spot, 1.7 - 1.0 * t, 5), (186 - 64 * t, 184 - 72 * t, 174 - 90 * t)))
    return parts


def _blob(rng: np.random.Generator, centre: np.ndarray, radius: float, corners: int = 12) -> np.ndarray:
    """An uneven round polygon, (corners, 2)."""
    return _CIRCLES[corners] * (radius * rng.uniform(0.82, 1.08, (corners, 1))) + centre


def _worn(rng: np.random.Generator, colour: Colour) -> Colour:
    """The same paint on another day."""
    return tuple(np.clip(np.array(colour) * rng.normal(1.0, 0.05) + rng.normal(0, 4, 3), 0, 255))


def _shaded(colour: Colour, factor: float) -> Colour:
    return tuple(min(band * factor, 255.0) for band in colour)
