"""The network and what belongs to it: image -> maps -> boxes. Torch only; opens no files."""

from __future__ import annotations

from models.backbones import BACKBONES, WEIGHTS_URLS, Backbone, build_backbone, known_backbones, load_pretrained
from models.combination import CombinationModule, channel_table
from models.ctrbox import CTRBOX, Maps, MapsAtCells
from models.decoder import Detections, decode
from models.input_channels import adapt_input, adapt_weights
from models.losses import BBAVectorsLoss
from models.positives import BatchTargets, Cells, Positives, find_positives
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
    "Cells",
    "CombinationModule",
    "Detections",
    "Maps",
    "MapsAtCells",
    "Positives",
    "Preprocessing",
    "adapt_input",
    "adapt_weights",
    "build_backbone",
    "channel_table",
    "decode",
    "find_positives",
    "known_backbones",
    "load_pretrained",
    "normalize",
]
