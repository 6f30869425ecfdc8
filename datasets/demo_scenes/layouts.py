"""What a demo scene shows: each layout paints its ground and tells what stands where.

Layouts use the scene's frame, u along the road, quay or row and v to its right, in px; it is turned at random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from datasets.demo_scenes.canvas import box, noise, placed
from datasets.demo_scenes.scene import Frame, Make, Scene
from datasets.demo_scenes.things import Thing, boat, car, clutter, container, hall, house, truck

_REACH = 200.0  # px from the middle that layouts fill, whatever their turn
_WHITE, _YELLOW = (214, 216, 216), (70, 176, 208)


def _car_park(scene: Scene) -> None:
    rng, frame, canvas = scene.rng, scene.frame, scene.canvas
    canvas.lay(rng.choice(["grass", "meadow"]))
    canvas.lay(rng.choice(["asphalt", "asphalt", "concrete"]), frame.box(-rng.uniform(70, _REACH), -62, _REACH, 84))
    slant = rng.choice([np.pi / 2, np.pi / 2, 1.1, -1.1])
    pitch, start, share = rng.uniform(11.2, 12.8) / abs(np.sin(slant)), -rng.uniform(40, 100), rng.uniform(0.3, 0.8)
    bays = int(rng.integers(8, 17))
    lean = 11.5 / np.tan(slant)
    for v in (-46.0, 8.0, 34.0):
        if rng.random() < 0.15:
            continue
        for k in range(bays + 1):
            u = start + k * pitch
            canvas.line(
                np.array([frame.at(u - lean, v - 12), frame.at(u + lean, v + 12)]), rng.uniform(0.9, 1.3), _WHITE
            )
            if k < bays and rng.random() < share:
                heading = frame.angle + slant + rng.normal(0, 0.025) + np.pi * rng.integers(2)
                scene.add(car(rng, frame.at(u + pitch / 2 + rng.normal(0, 0.3), v + rng.normal(0, 0.8)), heading))
        if rng.random() < 0.4:
            u = start + bays * pitch + 1.5
            for t in np.arange(0, 22, 3.2):
                canvas.line(np.array([frame.at(u, v - 11 + t), frame.at(u + 10, v - 8 + t)]), 0.8, _YELLOW)
    _traffic(scene, -20.0, 0.012, (car,))
    scene.add(hall(rng, frame.at(rng.uniform(-40, 60), 84 + 40), frame.angle, rng.uniform(90, 200), 66))
    canvas.lay("asphalt", frame.box(-_REACH, -116, _REACH, -92))
    _dashes(scene, -104.0, -104.0)
    for v, way in ((-110.0, 1), (-98.0, -1)):
        _traffic(scene, v, 0.01, (car, car, car, truck), way)
    scene.scatter(clutter, 5, (-120, -60, 120, 80), 0.0)
    scene.plant(12, (-150, -90, 150, -66))
    scene.plant(5, (-150, 14, 150, 28), (4.0, 7.5))


def _street(scene: Scene) -> None:
    rng, frame, canvas = scene.rng, scene.frame, scene.canvas
    canvas.lay("grass")
    for u in rng.uniform(-150, 150, 3):
        canvas.lay("meadow", frame.box(u, -_REACH, u + 30, _REACH))
    wide = rng.uniform(22, 27)
    canvas.lay("concrete", frame.box(-_REACH, -wide - 7, _REACH, wide + 7))
    canvas.lay("asphalt", frame.box(-_REACH, -wide, _REACH, wide))
    cross = rng.uniform(-90, 90)
    if rng.random() < 0.5:
        canvas.lay("asphalt", frame.box(cross - 13, -_REACH, cross + 13, _REACH))
        for v in (-wide - 5, wide + 1):
            for t in np.arange(-11, 11, 4.0):
                canvas.fill(frame.box(cross + t, v - 1, cross + t + 2, v + 6), _WHITE)
        side = Frame(frame.at(cross, 0), frame.angle + np.pi / 2)
        scene.frame = side
        for v, way in ((6.0, -1), (-6.0, 1)):
            _traffic(scene, v, 0.006, (car,), way)
        scene.frame = frame
    else:
        cross = 1e3
    _dashes(scene, 0.0, 0.0)
    lane = wide - 6.0
    for v in (-lane, lane):
        canvas.line(np.array([frame.at(-_REACH, v * 0.66), frame.at(_REACH, v * 0.66)]), 0.8, _WHITE)
    for v, way in ((-6.5, -1), (6.5, 1)):
        _traffic(scene, v, 0.012, (car, car, car, truck), way)
    for v in (-lane, lane):
        _traffic(scene, v, 0.03, (car, car, car, car, truck), rng.choice([-1, 1]), tight=True)
    for side in (-1, 1):
        u = -150 + rng.uniform(0, 20)
        while u < 150:
            long, deep = rng.uniform(30, 52), rng.uniform(24, 34)
            v = side * (wide + 14 + deep / 2 + rng.uniform(4, 16))
            if abs(u + long / 2 - cross) > long / 2 + 18:
                scene.add(
                    house(
                        rng, frame.at(u + long / 2, v), frame.angle + rng.choice([0.0, np.pi]), long, deep, scene.sun
                    ),
                    1.0,
                )
                if rng.random() < 0.6:
                    canvas.lay(
                        "concrete", frame.box(u + long + 3, side * (wide + 7), u + long + 15, side * (wide + 40))
                    )
                    if rng.random() < 0.6:
                        scene.add(car(rng, frame.at(u + long + 9, side * (wide + 24)), frame.angle + np.pi / 2 * side))
            u += long + rng.uniform(17, 30)
        if rng.random() < 0.5:
            pool = frame.at(rng.uniform(-90, 90), side * (wide + 66))
            canvas.fill(placed(box(-11, -7, 11, 7), pool, frame.angle), (206, 212, 214))
            canvas.fill(placed(box(-9, -5, 9, 5), pool, frame.angle), (188, 160, 70))
        scene.plant(8, (-150, side * (wide + 8), 150, side * (wide + 12)), (4.0, 8.0))
        scene.plant(9, (-150, side * (wide + 62), 150, side * 160))
        scene.scatter(clutter, 3, (-120, side * (wide + 50), 120, side * 110))


def _yard(scene: Scene) -> None:
    rng, frame, canvas = scene.rng, scene.frame, scene.canvas
    canvas.lay(rng.choice(["gravel", "grass", "soil"]))
    canvas.lay(rng.choice(["concrete", "asphalt"]), frame.box(-_REACH, -75, rng.uniform(80, _REACH), 110))
    for u in np.arange(-190, 190, rng.uniform(28, 40)):
        canvas.line(np.array([frame.at(u, -75), frame.at(u + rng.normal(0, 2), 110)]), 0.5, (96, 98, 100))
    scene.add(hall(rng, frame.at(rng.uniform(-50, 50), -75 - 38), frame.angle, rng.uniform(120, 240), 72))
    start = -rng.uniform(70, 130)
    scene.row(truck, start, start + rng.uniform(80, 190), -46, np.pi / 2, (0.4, 3.0), rng.uniform(0.5, 0.9))
    if rng.random() < 0.6:
        slant = rng.choice([np.pi / 2, 1.0])
        scene.row(truck, -rng.uniform(20, 110), rng.uniform(10, 100), 62, slant, (0.5, 3.0), rng.uniform(0.4, 0.9))
    else:
        scene.row(car, -rng.uniform(20, 110), rng.uniform(10, 80), 52, np.pi / 2, (0.5, 3.0), rng.uniform(0.5, 0.95))
        scene.row(car, -rng.uniform(20, 110), rng.uniform(10, 80), 76, np.pi / 2, (0.5, 3.0), rng.uniform(0.5, 0.95))
    for _ in range(rng.integers(1, 4)):
        u, v, turn = rng.uniform(-110, 110), rng.uniform(0, 110), rng.choice([0.0, np.pi / 2])
        block = Frame(frame.at(u, v), frame.angle + turn)
        for k in range(rng.integers(1, 5)):
            scene.add(container(rng, block.at(rng.normal(0, 0.8), k * 10.2), block.angle), 0.3)
    scene.scatter(truck, 2, (-100, -12, 100, 30), 0.2, 3.0)
    scene.scatter(car, 4, (-120, -20, 120, 100), None, 3.0)
    scene.scatter(clutter, 8, (-120, -20, 120, 110))
    scene.plant(8, (-150, 112, 150, 150))


def _marina(scene: Scene) -> None:
    rng, frame, canvas = scene.rng, scene.frame, scene.canvas
    _water(scene, rng.choice(["harbour", "sea"]))
    quay = -rng.uniform(40, 90)
    canvas.lay(rng.choice(["concrete", "grass"]), frame.box(-_REACH, -260, _REACH, quay))
    canvas.lay("concrete", frame.box(-_REACH, quay - 44, _REACH, quay))
    canvas.line(np.array([frame.at(-_REACH, quay), frame.at(_REACH, quay)]), 2.0, (176, 180, 182))
    scene.row(car, -rng.uniform(20, 100), rng.uniform(0, 60), quay - 30, np.pi / 2, (1.0, 3.0), rng.uniform(0.2, 0.7))
    scene.scatter(clutter, 4, (-120, quay - 16, 120, quay - 4), 0.0)
    scene.plant(8, (-150, quay - 100, 150, quay - 48))
    u = -150 + rng.uniform(0, 40)
    while u < 140:
        long = rng.uniform(20, 42)
        end = quay + rng.uniform(70, 190)
        finger = Frame(frame.at(u, quay), frame.angle + np.pi / 2)
        pier = finger.box(-2, -2.6, end - quay, 2.6)
        scene.claim(finger.box(1, -2.6, end - quay, 2.6), 0.0)
        canvas.shade([(pier, 2.0)], scene.sun, 0.6)
        canvas.lay("planks", pier, canvas.stripes(finger.angle, 2.0, 30))
        berths, share = int((end - quay - 6) // (long * 0.38)), rng.uniform(0.25, 0.95)
        scene.frame = finger
        make = _sized_boat(long)
        for side in (-1, 1):
            if rng.random() < 0.85 and berths > 1:
                scene.row(make, 8.0, end - quay - 6, side * (3.6 + long / 2), side * np.pi / 2, (0.3, 3.0), share)
        scene.frame = frame
        u += 2 * long + rng.uniform(26, 60)
    scene.scatter(_under_way, 2, (-110, quay + 60, 110, 150), None, 6.0)


def _quay(scene: Scene) -> None:
    """Half harbour basin, half dock: boats along and beside the quay, trucks and containers on it."""
    rng, frame, canvas = scene.rng, scene.frame, scene.canvas
    _water(scene, rng.choice(["harbour", "sea"]))
    dock = frame.box(-_REACH, -260, _REACH, -8)
    canvas.shade([(dock, 4.0)], scene.sun, 0.8)
    canvas.lay(rng.choice(["concrete", "asphalt"]), dock)
    canvas.line(np.array([frame.at(-_REACH, -9), frame.at(_REACH, -9)]), 2.0, (90, 92, 96))
    for u in np.arange(-180, 180, 24.0):
        canvas.fill(frame.box(u, -14, u + 2.4, -11.6), (60, 170, 200))
    u = -140 + rng.uniform(0, 40)
    while u < 140:
        long = rng.uniform(30, 46)
        v = -6.8
        for _ in range(rng.integers(1, 4)):
            ship = boat(rng, np.zeros(2), frame.angle + np.pi * rng.integers(2), long)
            beam = float(np.ptp(ship.outline[:, 1]))
            scene.add(replace(ship, centre=frame.at(u + long / 2 + rng.normal(0, 2), v + beam / 2)))
            v += beam + rng.uniform(0.4, 2.4)
        u += long + rng.uniform(3, 50)
    for v, way in ((-26.0, 1), (-40.0, -1)):
        _traffic(scene, v, 0.007, (truck, truck, car), way)
    _dashes(scene, -33.0, -33.0)
    block = rng.uniform(-100, 60)
    for k in range(int(rng.integers(3, 9))):
        for j in range(3):
            if rng.random() < 0.75:
                scene.add(container(rng, frame.at(block + j * 41, -58 - 10.2 * k), frame.angle), -0.4)
    scene.row(truck, -120, rng.uniform(-40, 120), -82, np.pi / 2, (0.5, 3.0), 0.55)
    scene.scatter(clutter, 8, (-120, -110, 120, -50), 0.0)
    scene.scatter(_under_way, 3, (-110, 50, 110, 120), None, 6.0)
    scene.scatter(boat, 3, (-110, 40, 110, 120), None, 3.0)


def _coast(scene: Scene) -> None:
    """Open water along a beach: boats at anchor, rafted together or under way, with buoys, rocks and jetties."""
    rng, frame, canvas = scene.rng, scene.frame, scene.canvas
    _water(scene, "sea")
    shore = -rng.uniform(20, 130)
    us = np.linspace(-_REACH, _REACH, 40)
    wander = np.cumsum(rng.normal(0, 3.0, us.size))
    wander -= wander.mean()
    for material, back in (("harbour", -9.0), ("sand", 0.0), ("grass", 14.0 + rng.uniform(0, 14))):
        edge = [frame.at(u, shore + w - back) for u, w in zip(us, wander + rng.normal(0, 1.0, us.size), strict=True)]
        canvas.lay(material, np.array([*edge, frame.at(_REACH, -300), frame.at(-_REACH, -300)]))
    for u, w in zip(us, wander, strict=True):
        canvas.line(
            np.array([frame.at(u - 4, shore + w + 1), frame.at(u + 5, shore + w + rng.normal(0, 1))]),
            1.2,
            (206, 206, 196),
        )
    scene.plant(14, (-150, shore - 120, 150, shore - 36))
    water = (-125, shore + 26, 125, 150)
    for _ in range(rng.integers(0, 4)):
        long, where = rng.uniform(20, 38), (rng.uniform(-90, 90), rng.uniform(shore + 40, 110))
        raft = Frame(frame.at(*where), rng.uniform(0, 2 * np.pi))
        scene.frame = raft
        scene.row(_sized_boat(long), 0, rng.uniform(20, 60), 0, np.pi / 2, (0.2, 2.0), 1.0)
        scene.frame = frame
    scene.scatter(boat, int(rng.integers(1, 9)), water, None, 2.0)
    scene.scatter(_under_way, int(rng.integers(0, 4)), water, None, 6.0)
    for where in rng.uniform(0, scene.size, (rng.integers(0, 10), 2)):
        canvas.fill(
            placed(box(-1.3, -1.3, 1.3, 1.3), where, 0.0),
            ((40, 60, 190), (230, 230, 230), (50, 150, 220))[rng.integers(3)],
        )
    if rng.random() < 0.6:
        canvas.lay("gravel", frame.box(-110, shore - 64, 100, shore - 37))
        scene.row(car, -rng.uniform(20, 100), rng.uniform(10, 80), shore - 50, 1.2, (1.0, 6.0), 0.6)


def _country(scene: Scene) -> None:
    """Fields, a lane, a farm; few vehicles, often none."""
    rng, frame, canvas = scene.rng, scene.frame, scene.canvas
    canvas.lay("meadow")
    u = -_REACH
    while u < _REACH:
        wide = rng.uniform(50, 120)
        for v0, v1 in ((-_REACH, -14.0), (14.0, _REACH)):
            material = rng.choice(["crops", "soil", "grass", "meadow", "crops"])
            turn = frame.angle + rng.choice([0.0, np.pi / 2])
            canvas.lay(
                material,
                frame.box(u + 2, v0, u + wide - 2, v1),
                canvas.stripes(turn, rng.uniform(3.5, 7), rng.uniform(0, 36)),
            )
        u += wide
    canvas.lay(rng.choice(["asphalt", "gravel", "soil"]), frame.box(-_REACH, -11, _REACH, 11))
    for v, way in ((-5.5, 1), (5.5, -1)):
        _traffic(scene, v, 0.006, (car, truck), way)
    if rng.random() < 0.5:
        u, v = rng.uniform(-60, 60), rng.choice([-1, 1]) * 62.0
        canvas.lay("gravel", frame.box(u - 50, min(v, 0) - 34 * (v < 0), u + 50, max(v, 0) + 34 * (v > 0)))
        canvas.lay("asphalt", frame.box(-_REACH, -11, _REACH, 11))
        scene.add(house(rng, frame.at(u - 22, v), frame.angle, 40, 28, scene.sun))
        scene.add(hall(rng, frame.at(u + 26, v + 10 * np.sign(v)), frame.angle + np.pi / 2, 52, 30))
        scene.row(car, u - 10, u + 30, v * 0.42, np.pi / 2, (0.6, 3.0), 0.6)
        scene.row(truck, u - 44, u - 20, v * 0.52, np.pi / 2, (0.6, 3.0), 0.7)
    scene.scatter(clutter, 7, (-130, -120, 130, 120))
    scene.plant(8, (-150, 14, 150, 24))
    scene.plant(5, (-150, -100, 150, -16))


def _woods(scene: Scene) -> None:
    """Forest and a clearing, crossed by a road that is often empty."""
    rng, frame, canvas = scene.rng, scene.frame, scene.canvas
    canvas.lay("woods")
    bright = noise(rng, canvas.span, (3, 6, 12, 24)) > 0.9
    canvas.lay("meadow", mask=bright.astype(np.uint8) * 255)
    canvas.lay("grass", frame.box(-_REACH, -19, _REACH, 19))
    canvas.lay("asphalt", frame.box(-_REACH, -12, _REACH, 12))
    _dashes(scene, 0.0, 0.0)
    for v, way in ((-6.0, -1), (6.0, 1)):
        _traffic(scene, v, rng.choice([0.0, 0.008]), (car, car, truck), way)
    scene.plant(30, (-150, 26, 150, 130), (6.0, 12.0))
    scene.plant(30, (-150, -130, 150, -26), (6.0, 12.0))


def _water(scene: Scene, material: str) -> None:
    """Waves across the wind, and the glitter of the sun on their crests."""
    rng, canvas = scene.rng, scene.canvas
    angle = rng.uniform(0, np.pi)
    crest = noise(rng, canvas.span, (40, 90, 200), stretch=3)
    turn = cv2.getRotationMatrix2D((canvas.span / 2,) * 2, np.degrees(angle), 1.5)
    crest = cv2.warpAffine(crest, turn, (canvas.span,) * 2, borderMode=cv2.BORDER_REFLECT)
    glitter = np.clip((crest - rng.uniform(2.2, 2.8)) * 60, 0, 60)
    canvas.lay(
        material,
        relief=crest * rng.uniform(12, 24) + glitter + canvas.stripes(angle, rng.uniform(5, 9), rng.uniform(3, 10)),
    )


def _traffic(
    scene: Scene, v: float, density: float, makes: tuple[Make, ...], way: int = 1, tight: bool = False
) -> None:
    """Vehicles in a lane at v, along +u or -u, so many a pixel; tight: parked, some of them bumper to bumper."""
    rng, frame = scene.rng, scene.frame
    u = -150 + rng.exponential(1 / max(density, 1e-6))
    while u < 150:
        make = makes[rng.integers(len(makes))]
        heading = frame.angle + np.pi * (way < 0) + rng.normal(0, 0.02)
        thing = make(rng, np.zeros(2), heading)
        long = float(np.ptp(thing.outline[:, 0]))
        scene.add(replace(thing, centre=frame.at(u + long / 2, v + rng.normal(0, 0.6))), -0.4 if tight else 1.0)
        u += long + (rng.uniform(1, 3) if tight and rng.random() < 0.6 else 4 + rng.exponential(1 / max(density, 1e-6)))


def _dashes(scene: Scene, v: float, edge: float) -> None:
    """A broken centre line along u."""
    for u in np.arange(-_REACH, _REACH, 18.0):
        scene.canvas.line(np.array([scene.frame.at(u, v), scene.frame.at(u + 9, edge)]), 1.1, _WHITE)


def _sized_boat(long: float) -> Make:
    def make(rng: np.random.Generator, centre: np.ndarray, heading: float) -> Thing:
        return boat(rng, centre, heading, long * rng.uniform(0.9, 1.08))

    return make


def _under_way(rng: np.random.Generator, centre: np.ndarray, heading: float) -> Thing:
    return boat(rng, centre, heading, wake=True)


# How a scene is laid out, and how often.
LAYOUTS: Sequence[tuple[Callable[[Scene], None], float]] = (
    (_car_park, 0.18), (_street, 0.20), (_yard, 0.20), (_marina, 0.12),
    (_quay, 0.11), (_coast, 0.10), (_country, 0.06), (_woods, 0.03),
)  # fmt: skip
