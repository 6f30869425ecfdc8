"""The network and what belongs to it: image -> maps -> boxes. Torch only; opens no files."""

from __future__ import annotations

from models.backbones import BACKBONES, WEIGHTS_URLS, Backbone, build_backbone, known_backbones, load_pretrained
from models.combination import CombinationModule, channel_table
from models.ctrbox import CTRBOX, Maps
from models.decoder import Detections, decode
from models.losses import BatchTargets, BBAVectorsLoss
from models.preprocessing import IMAGENET, PUBLISHED, Preprocessing, normalize

__all__ = [
    "BACKBONES",
    "CTRBOX",
    "IMAGENET",
    "PUBLISHED",
    "WEIGHTS_URLS",
    "BBAVectorsLoss",
    "Backbone",
    "BatchTargets",
    "CombinationModule",
    "Detections",
    "Maps",
    "Preprocessing",
    "build_backbone",
    "channel_table",
    "decode",
    "known_backbones",
    "load_pretrained",
    "normalize",
]
