"""Aerial scenes drawn with numpy and OpenCV, labelled: `draw_scene` is the door.

`canvas.py` is the ground and its materials, `things.py` what stands on it; `scene.py` puts things in their places,
shades, photographs and labels them; `layouts.py` composes car parks, streets, lorry yards, marinas, coasts and fields.
"""

from __future__ import annotations

import numpy as np

from datasets.demo_scenes.layouts import LAYOUTS
from datasets.demo_scenes.scene import Scene
from datasets.demo_scenes.things import CLASS_NAMES

__all__ = ["CLASS_NAMES", "SCENE_SIZE", "draw_scene"]

SCENE_SIZE = 256  # px, square
_EMPTY_SHARE = 0.07  # of the scenes get nothing to detect; a few more come out so by chance


def draw_scene(
    rng: np.random.Generator, size: int = SCENE_SIZE
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw one scene, of up to 60 objects.

    Returns the picture (size, size, 3) uint8 BGR, quads (N, 4, 2) float32 in px, clockwise from each object's own top
    left, labels (N,) int64 into CLASS_NAMES and difficult (N,) int64, 0 or 1. A quad is the whole object's, also where
    the border or a tree hides a part. An object of which less than 40 % is visible is difficult; less than 15 %, and
    it has no label.
    """
    scene = Scene(rng, size)
    empty = rng.random() < _EMPTY_SHARE
    layouts, weights = zip(*LAYOUTS, strict=True)
    layouts[rng.choice(len(layouts), p=np.array(weights) / sum(weights))](scene)
    if empty:
        scene.things = [thing for thing in scene.things if thing.label is None]
    return scene.develop(), *scene.annotate()
