"""A demo scene in the making: everything gets a place of its own, is shaded, painted, photographed and labelled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from datasets.demo_scenes.canvas import SUPERSAMPLING, Canvas, box, fixed_point, placed
from datasets.demo_scenes.things import Thing, tree

MAX_OBJECTS = 60  # in a scene
HIDDEN, DIFFICULT = 0.15, 0.40  # visible share below which an object has no label, or is marked difficult
_TALL = 6.5  # px; what is higher shades and hides vehicles
_MARGIN = 64  # px around the picture where things keep their place free too

Make = Callable[[np.random.Generator, np.ndarray, float], Thing]
Area = tuple[float, float, float, float]  # u0, v0, u1, v1 in a frame


@dataclass(frozen=True)
class Frame:
    """A layout's own axes: u along the road, row or pier, v to its right."""

    origin: np.ndarray
    angle: float  # rad, clockwise on the screen from +x

    def at(self, u: float, v: float) -> np.ndarray:
        return placed(np.array([[u, v]]), self.origin, self.angle)[0]

    def box(self, u0: float, v0: float, u1: float, v1: float) -> np.ndarray:
        return placed(box(u0, v0, u1, v1), self.origin, self.angle)


class Scene:
    """A canvas whose ground is painted at once, and the things that will stand on it, none in another's place."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size = rng, size
        self.canvas = Canvas(rng, size)
        self.things: list[Thing] = []
        self.num_objects = 0
        bearing, slant = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.95)
        self.sun = np.array([np.cos(bearing), np.sin(bearing)]) * slant
        self.frame = Frame(np.full(2, size / 2) + rng.uniform(-30, 30, 2), rng.uniform(0, 2 * np.pi))
        self.taken = np.zeros((size + 2 * _MARGIN,) * 2, np.uint8)

    def add(self, thing: Thing, clearance: float = -0.6) -> bool:
        """Put a thing in its place, unless something else is within the clearance (px; below 0 they may touch)."""
        if thing.label is not None and self.num_objects >= MAX_OBJECTS:
            return False
        if not self.claim(thing.footprint, clearance):
            return False
        self.things.append(thing)
        self.num_objects += thing.label is not None
        return True

    def claim(self, footprint: np.ndarray, clearance: float) -> bool:
        """Keep the place of a convex footprint (n, 2) free from now on, unless it is taken."""
        middle = footprint.mean(axis=0)
        out = footprint - middle
        radius = np.hypot(*out.T)[:, None]
        spot = np.rint((out * (1 + 1.4 * clearance / radius) + middle + _MARGIN - 0.5) * 16).astype(np.int32)
        left, top = np.clip(spot.min(axis=0) // 16, 0, self.taken.shape[0])
        right, bottom = np.clip(spot.max(axis=0) // 16 + 2, 0, self.taken.shape[0])
        if right <= left or bottom <= top:
            return False
        place = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillConvexPoly(place, spot - np.array([left, top]) * 16, 1, cv2.LINE_8, 4)
        window = self.taken[top:bottom, left:right]
        if (window & place).any():
            return False
        window |= place
        return True

    def scatter(
        self,
        make: Make,
        count: int,
        area: Area,
        headings: float | None = None,
        clearance: float = 2.0,
    ) -> None:
        """Try to put count things into area (u0, v0, u1, v1) of the frame, at any heading or along the given one."""
        for _ in range(count):
            where = self._somewhere(area)
            heading = (
                self.rng.uniform(0, 2 * np.pi)
                if headings is None
                else self.frame.angle + headings + self.rng.choice([0, np.pi])
            )
            self.add(make(self.rng, where, heading), clearance)

    def plant(self, count: int, area: Area, radii: tuple[float, float] = (5.0, 13.0)) -> None:
        """Trees, singly and in clumps; they may hang over vehicles."""
        for _ in range(count):
            where = self._somewhere(area)
            for _ in range(self.rng.integers(1, 4)):
                self.things.append(tree(self.rng, where, self.rng.uniform(*radii), self.sun))
                where = where + self.rng.normal(0, 9, 2)

    def row(
        self, make: Make, u0: float, u1: float, v: float, heading: float, gaps: tuple[float, float], share: float
    ) -> None:
        """Stand things side by side along u at v, turned so far from u and gaps (least, most; px) apart.

        Only a share of the places is used.
        """
        u, turn = u0, self.frame.angle + heading
        while u < u1:
            thing = make(self.rng, np.zeros(2), turn)
            half = float(np.ptp(thing.outline[:, 1])) / 2 / abs(np.sin(heading))
            u += half
            if self.rng.random() < share:
                where = self.frame.at(u, v + self.rng.normal(0, 0.8))
                self.add(replace(thing, centre=where, heading=turn + np.pi * self.rng.integers(2)))
            u += half + self.rng.uniform(*gaps)

    def develop(self) -> np.ndarray:
        """Shade and paint all things, low ones first, and take the photograph: (size, size, 3) uint8 BGR."""
        canvas, rng = self.canvas, self.rng
        for tall, softness in ((False, 0.7), (True, 1.1)):
            storey = [thing for thing in self.things if (thing.height > _TALL) == tall]
            canvas.shade([(thing.shadow_caster, thing.height) for thing in storey], self.sun, softness)
            for thing in storey:
                canvas.stack(thing.parts, thing.centre, thing.heading)
        image = cv2.resize(canvas.image, (self.size, self.size), interpolation=cv2.INTER_AREA).astype(np.float32)
        along = np.linspace(-1, 1, self.size, dtype=np.float32)
        gradient = 1 + (rng.normal(0, 0.05) * along + rng.normal(0, 0.05) * along[:, None])
        haze, gain = rng.uniform(0, 14), rng.uniform(0.86, 1.08)
        image *= (gradient * gain)[..., None].astype(np.float32)
        image += np.float32(haze)
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.6))
        image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(1.5, 4.0))
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)

    def annotate(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Quads (N, 4, 2), labels (N,) and difficult (N,) of the objects that can be seen."""
        objects = [thing for thing in self.things if thing.label is not None]
        owner = np.zeros((self.canvas.span,) * 2, np.uint8)
        for number, thing in enumerate(objects, start=1):
            cv2.fillConvexPoly(owner, fixed_point(thing.footprint), number, cv2.LINE_8, 4)
        leaves = self.canvas.mask([thing.footprint for thing in self.things if thing.height > _TALL])
        seen = np.bincount(owner[leaves == 0], minlength=len(objects) + 1)[1:] / SUPERSAMPLING**2
        area = np.array([float(np.prod(np.ptp(thing.outline, axis=0))) for thing in objects])
        visible = seen / np.maximum(area, 1e-6)
        keep = [i for i in range(len(objects)) if visible[i] >= HIDDEN]
        quads = np.array([objects[i].footprint for i in keep], np.float32).reshape(-1, 4, 2)
        labels = np.array([objects[i].label for i in keep], np.int64)
        return quads, labels, (visible[keep] < DIFFICULT).astype(np.int64)

    def _somewhere(self, area: Area) -> np.ndarray:
        u0, v0, u1, v1 = area
        return self.frame.at(u0 + (u1 - u0) * self.rng.random(), v0 + (v1 - v0) * self.rng.random())
