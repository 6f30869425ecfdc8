"""Recipes: named sets of training settings. The defaults of the settings are the recipe `default`."""

from __future__ import annotations

from collections.abc import Mapping

# Yi et al., WACV 2021, section 4.2, and the published code: Adam, 1.25e-4, x0.96 an epoch; flips and scales of 0.9 to
# 1.1; smooth L1 in the centre's cell alone, no clipping, no averaging. With the batch norm in the heads that its README
# advises against a diverging loss.
_PUBLISHED = {
    "optimizer": "adam",
    "init_lr": 1.25e-4,
    "schedule": "exponential",
    "lr_decay": 0.96,
    "warmup": 0.0,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "ema": 0.0,
    "head_norm": "batch",
    "sparse_heads": False,
    "positive_radius": 0,
    "vector_beta": 1.0,
    "vector_weight": 1.0,
    "theta_weight": 1.0,
    "theta_rule": "tilt",
    "rotated_weight": 1.0,
    "box_weight": 0.0,
    "augment_mosaic": 0.0,
    "augment_scale": (0.9, 1.1),
    "augment_quarter": False,
    "augment_rotate": 0.0,
    "augment_flip": 0.5,
    "augment_colour": 1.0,
}

RECIPES: Mapping[str, Mapping[str, object]] = {"default": {}, "published": _PUBLISHED}
